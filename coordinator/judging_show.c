/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the judge knows, as JSON: each gate with its numbers, in the unit that it counted (events or
 * incidents). Of a rollout that has ended also every period, so that `covey gate replay` can judge
 * it again with nothing but the file.
 */
#include "coordinator/control.h"
#include "coordinator/judging.h"

#include "base/str.h"

#include <math.h>

static json_t *real(double value) /* JSON has neither infinity nor NaN */
{
	return isfinite(value) ? json_real(value) : json_null();
}

/* ---- periods ---- */

static void add_numbers(json_t *list, const struct judge_gate *gate, const struct judge_count *c,
                        const struct judge_count *b)
{
	const struct judge_count *sides[] = {c, b};

	for (size_t i = 0; i < 2; i++)
		json_array_append_new(
		    list, json_u64(gate->incidents ? sides[i]->minutes : sides[i]->attempts));
	for (size_t i = 0; i < 2; i++) {
		if (gate->test != TEST_LATENCY)
			json_array_append_new(
			    list, json_u64(gate->incidents ? sides[i]->incidents : sides[i]->bad));
		for (size_t t = 0; t < LATENCY_THRESHOLDS && gate->test == TEST_LATENCY; t++)
			json_array_append_new(list, json_u64(sides[i]->over[t]));
	}
	if (gate->test == TEST_HIERARCHICAL)
		json_array_append_new(list, real(c->expected / (c->expected + b->expected)));
}

static void add_period(json_t *list, const struct shell_judging *j,
                       const struct judge_period *period, size_t gate)
{
	for (uint32_t s = 0; s <= JUDGE_JOINED; s++) {
		struct judge_count sums[COHORT_COUNT];
		json_t *numbers;

		if (!judge_sum(period, s, gate, j->quarantined, sums))
			continue;
		numbers = json_array();
		add_numbers(numbers, &j->policy.gates[gate], &sums[COHORT_CANARY],
		            &sums[COHORT_CONTROL]);
		json_array_append_new(list, numbers);
	}
}

static json_t *show_periods(const struct shell_judging *j, size_t gate)
{
	json_t *list = json_array();

	for (size_t i = 0; i < j->periods_count; i++)
		add_period(list, j, &j->periods[i], gate);
	return list;
}

static json_t *show_bins(const uint64_t *bins, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_u64(bins[i]));
	return list;
}

static void add_drift(json_t *object, const struct shell_judging *j, const char *feature)
{
	for (size_t i = 0; i < j->baseline.features_count; i++) {
		const struct baseline_feature *f = &j->baseline.features[i];

		if (!str_equal(f->name, feature))
			continue;
		json_object_set_new(object, "baseline", show_bins(f->counts, f->counts_count));
		json_object_set_new(
		    object, "window",
		    show_bins(judge_bins_of(j->judge, i, COHORT_CANARY), f->counts_count));
		json_object_set_new(
		    object, "control_window",
		    show_bins(judge_bins_of(j->judge, i, COHORT_CONTROL), f->counts_count));
	}
}

/* ---- gates ---- */

static json_t *show_side(const char *release, const struct judge_sum *sum)
{
	return json_pack("{so so so}", "release", json_text_or_null(release), "observations",
	                 json_u64(sum->attempts), "bad", json_u64(sum->bad));
}

static json_t *show_words(const struct judge_gate *gate, const struct judge_result *r)
{
	const struct judge_sum *c = &r->cohorts[COHORT_CANARY], *b = &r->cohorts[COHORT_CONTROL];
	AUTO_STR struct str s = {0};

	if (!r->evidence)
		return json_string("nothing to judge yet");
	str_addf(&s, "%llu of %llu", (unsigned long long)c->bad, (unsigned long long)c->attempts);
	if (gate->test == TEST_DRIFT)
		str_addf(&s, ", ln E %.1f of %.1f", r->ln_e, r->ln_fail);
	else if (gate->test != TEST_ABSOLUTE)
		str_addf(&s, " against %llu of %llu", (unsigned long long)b->bad,
		         (unsigned long long)b->attempts);
	if (isfinite(r->ratio))
		str_addf(&s, ", ratio %.2f (%.2f to %.2f)", r->ratio, r->ratio_lo, r->ratio_hi);
	if (gate->test != TEST_DRIFT)
		str_addf(&s, ", E %.3g of %.3g", exp(gate->required ? r->ln_e_promote : r->ln_e),
		         exp(gate->required ? r->ln_pass : r->ln_fail));
	if (isfinite(r->more) && r->more >= 1)
		str_addf(&s, ", about %.0f more", ceil(r->more));
	return json_string(str_get(&s));
}

static void add_frozen(json_t *object, const struct judge_gate *gate)
{
	json_object_set_new(object, "tolerance", json_real(gate->tolerance));
	json_object_set_new(object, "margin", json_real(gate->margin));
	json_object_set_new(object, "weight", json_real(gate->weight));
	json_object_set_new(object, "slo", gate->slo > 0 ? json_real(gate->slo) : json_null());
	json_object_set_new(object, "critical", json_boolean(gate->critical));
	json_object_set_new(object, "dry_run", json_boolean(gate->dry_run));
	json_object_set_new(object, "required", json_boolean(gate->required));
	if (gate->bound_us)
		json_object_set_new(object, "bound_ms",
		                    json_real((double)gate->bound_us / 1000));
	if (gate->test != TEST_HIERARCHICAL)
		return;
	json_object_set_new(object, "pi0", json_real(gate->pi0));
	json_object_set_new(object, "m", json_real(gate->m));
	json_object_set_new(object, "clump", json_real(gate->clump));
}

static void add_result(json_t *object, const struct judge_result *r)
{
	if (r->spread > 0) {
		json_object_set_new(object, "spread", json_real(r->spread));
		json_object_set_new(object, "clump", json_real(r->clump));
		json_object_set_new(object, "freedom", json_real(r->freedom));
	}
	json_object_set_new(object, "ln_e", real(r->ln_e));
	json_object_set_new(object, "e", real(exp(r->ln_e)));
	json_object_set_new(object, "ln_e_fail", real(r->ln_fail));
	json_object_set_new(object, "ln_e_promote", real(r->ln_e_promote));
	json_object_set_new(object, "ln_e_pass", real(r->ln_pass));
	json_object_set_new(object, "ratio", real(r->ratio));
	json_object_set_new(object, "ratio_lo", real(r->ratio_lo));
	json_object_set_new(object, "ratio_hi", real(r->ratio_hi));
	json_object_set_new(object, "observations",
	                    json_u64(r->cohorts[0].attempts + r->cohorts[1].attempts));
	json_object_set_new(object, "expected_more",
	                    isfinite(r->more) ? json_u64((uint64_t)ceil(r->more)) : json_null());
}

static json_t *show_gate(const struct coordinator *c, const struct shell_rollout *ro, size_t i)
{
	const struct shell_judging *j = ro->judging;
	const struct judge_gate *gate = &j->policy.gates[i];
	const struct rollout *machine = ro->machine;
	char from[SHELL_TEXT_RELEASE] = "", to[SHELL_TEXT_RELEASE];
	struct judge_result result;
	json_t *object;

	artifacts_name(c, &machine->to, to);
	if (!digest_is_zero(&machine->from))
		artifacts_name(c, &machine->from, from);
	judge_result(j->judge, i, &result);
	judge_bounds(j->judge, i, &result);
	object = json_pack(
	    "{ss ss ss ss ss ss so so so ss}", "name", gate->metric, "metric", gate->metric,
	    "stage", machine->stages[machine->stage].plan.name, "verdict",
	    judge_result_word(gate, &result), "test", judge_test_name(gate->test), "against",
	    gate->absolute ? "absolute" : "control", "text", show_words(gate, &result), "canary",
	    show_side(to, &result.cohorts[COHORT_CANARY]), "control",
	    show_side(from, &result.cohorts[COHORT_CONTROL]), "evidence",
	    result.evidence ? "counts" : "none");
	json_object_set_new(object, "unit", json_string(gate->incidents ? "incidents" : "events"));
	add_result(object, &result);
	add_frozen(object, gate);
	if (!ro->head.ended)
		return object;
	if (gate->test == TEST_DRIFT)
		add_drift(object, j, judge_gate_subject(gate));
	else
		json_object_set_new(object, "periods", show_periods(j, i));
	return object;
}

json_t *show_gates(const struct coordinator *c, const struct shell_rollout *ro)
{
	json_t *gates = json_array();

	for (size_t i = 0; ro->judging && i < ro->judging->policy.gates_count; i++)
		json_array_append_new(gates, show_gate(c, ro, i));
	return gates;
}

json_t *show_verdict(const struct shell_rollout *ro)
{
	static const char *const words[JUDGE_DECISION_COUNT] = {
	    "no_evidence", "continue", "promote", "pause", "halt", "roll_back"};
	const struct judge_verdict *verdict = ro->judging ? &ro->judging->verdict : NULL;

	if (!verdict || verdict->decision >= JUDGE_DECISION_COUNT)
		return json_null();
	return json_pack("{ss so so}", "decision", words[verdict->decision], "gate",
	                 verdict->gate < ro->judging->policy.gates_count
	                     ? json_string(ro->judging->policy.gates[verdict->gate].metric)
	                     : json_null(),
	                 "text", json_text(verdict->why));
}
