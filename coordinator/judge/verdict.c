/* SPDX-License-Identifier: Apache-2.0 */
/* From sums to sentences: numbers of each gate, then the first decision of the order that holds. */
#include "coordinator/judge/judge_internal.h"

#include "base/str.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- one gate ---- */

static double ln_harm(const struct judge *judge, const struct gate_state *g)
{
	switch (g->gate.test) {
	case TEST_EXACT:
		return exact_ln_halt(&g->exact);
	case TEST_HIERARCHICAL:
		return share_null_ln_halt(g->share);
	case TEST_LATENCY:
		return latency_ln_halt(&g->latency);
	case TEST_ABSOLUTE:
		return promised_ln_halt(&g->promised);
	case TEST_DRIFT:
		return judge_drift_gate(judge, g);
	case TEST_UNEQUAL:
		return judge_nodes(g)->ln_halt;
	case TEST_RATE_RATIO:
	case TEST_COUNT:
	default:
		return rate_ratio_ln_halt(&g->ratio);
	}
}

static double ln_no_harm(const struct gate_state *g)
{
	switch (g->gate.test) {
	case TEST_HIERARCHICAL:
		return share_null_ln_promote(g->share);
	case TEST_ABSOLUTE:
		return promised_ln_promote(&g->promised);
	case TEST_DRIFT:
		return -INFINITY;
	case TEST_UNEQUAL:
		return judge_nodes(g)->ln_promote;
	case TEST_RATE_RATIO:
	case TEST_EXACT:
	case TEST_LATENCY:
	case TEST_COUNT:
	default:
		return rate_ratio_ln_promote(&g->ratio);
	}
}

static bool has_evidence(const struct judge *judge, const struct gate_state *g, double ln_e)
{
	if (g->gate.test == TEST_ABSOLUTE)
		return g->promised.attempts > 0;
	return g->gate.test == TEST_DRIFT ? isfinite(ln_e) : g->compared;
}

/* In proportion to what is still missing of ln E. */
static double still_needed(const struct gate_state *g, const struct judge_result *result)
{
	const struct judge_sum *c = &g->sums[COHORT_CANARY], *b = &g->sums[COHORT_CONTROL];
	double n = (double)(c->attempts + b->attempts);
	double needs = n > 0 ? judge_gate_needs(&g->gate, (double)(c->bad + b->bad) / n,
	                                        (double)c->attempts / n)
	                     : HUGE_VAL;
	double all = g->gate.required ? result->ln_pass : result->ln_fail;

	if (g->gate.required)
		return needs * fmax(all - result->ln_e_promote, 0) / all;
	return fmax(needs - (double)c->attempts, 0); /* until a doubled rate would have shown */
}

void judge_result(const struct judge *judge, size_t gate, struct judge_result *ret_result)
{
	const struct gate_state *g = &judge->gates[gate];
	const struct judge_sum *c = &g->sums[COHORT_CANARY], *b = &g->sums[COHORT_CONTROL];
	struct judge_result result = {
	    .ln_e = ln_harm(judge, g),
	    .ln_fail = judge_gate_ln_fail(&g->gate),
	    .ln_e_promote = ln_no_harm(g),
	    .ln_pass = -log(JUDGE_BETA),
	    .ratio = NAN,
	    .ratio_lo = NAN,
	    .ratio_hi = NAN,
	    .cohorts = {*c, *b},
	};

	if (g->nodes) {
		result.spread = judge_nodes(g)->learned.variance;
		result.clump = judge_nodes(g)->learned.clump;
		result.freedom = judge_nodes(g)->learned.freedom;
	}
	if (g->gate.test == TEST_DRIFT)
		result.ln_fail = fmax(result.ln_fail, log(JUDGE_DRIFT_E));
	result.evidence = has_evidence(judge, g, result.ln_e);
	if (g->compared && b->bad > 0)
		result.ratio =
		    (double)c->bad * (double)b->attempts / ((double)b->bad * (double)c->attempts);
	result.failed = result.evidence && result.ln_e >= result.ln_fail;
	result.passed = result.evidence && result.ln_e_promote >= result.ln_pass;
	result.more = still_needed(g, &result);
	*ret_result = result;
}

static void fill_bounds(const struct gate_state *g, struct judge_result *result)
{
	if (g->compared && g->nodes)
		unequal_bounds(&judge_nodes(g)->learned, &g->ratio, JUDGE_ALPHA, &result->ratio_lo,
		               &result->ratio_hi);
	else if (g->compared)
		rate_ratio_bounds(&g->ratio, JUDGE_ALPHA, &result->ratio_lo, &result->ratio_hi);
}

void judge_bounds(const struct judge *judge, size_t gate, struct judge_result *result)
{
	fill_bounds(&judge->gates[gate], result);
}

const char *judge_result_word(const struct judge_gate *gate, const struct judge_result *result)
{
	if (!result->evidence)
		return "none";
	if (result->failed)
		return "fail";
	return gate->required && !result->passed ? "inconclusive" : "pass";
}

/* ---- the verdict ---- */

__attribute__((format(printf, 4, 5))) static void decide(struct judge_verdict *verdict,
                                                         enum judge_decision decision, size_t gate,
                                                         const char *format, ...)
{
	va_list args;

	verdict->decision = decision;
	verdict->gate = (uint32_t)gate;
	va_start(args, format);
	vsnprintf(verdict->why, sizeof(verdict->why), format, args);
	va_end(args);
}

/* Inputs that differ between the cohorts; the threshold is shared by the features. */
static bool cohorts_differ(const struct judge *judge, struct judge_verdict *verdict)
{
	double ln_alarm = log(JUDGE_DRIFT_E * (double)(judge->features_count + 1));

	for (size_t i = 0; i < judge->features_count; i++) {
		double ln_e;

		if (!judge->features[i].feature.input)
			continue;
		ln_e = judge_drift(judge, i, COHORT_COUNT);
		if (ln_e < ln_alarm)
			continue;
		decide(verdict, JUDGE_PAUSE, JUDGE_NO_GATE,
		       "canaries and controls do not get the same input, so they cannot be "
		       "compared: %s differs (ln E %.1f, alarm at %.1f)",
		       judge->features[i].feature.name, ln_e, ln_alarm);
		return true;
	}
	return false;
}

static void say_failed(const struct gate_state *g, size_t gate, struct judge_result *r,
                       struct judge_verdict *verdict)
{
	bool at_once = g->gate.test == TEST_ABSOLUTE || g->gate.critical;
	enum judge_decision decision = at_once ? JUDGE_ROLL_BACK : JUDGE_HALT;
	const struct judge_sum *c = &r->cohorts[COHORT_CANARY], *b = &r->cohorts[COHORT_CONTROL];
	char bound[32] = "";

	fill_bounds(g, r);
	if (g->gate.bound_us)
		snprintf(bound, sizeof(bound), " above %g ms", (double)g->gate.bound_us / 1000);
	if (g->gate.test == TEST_DRIFT)
		decide(verdict, decision, gate, "%s has moved (ln E %.1f, fails at %.1f)",
		       g->gate.metric, r->ln_e, r->ln_fail);
	else if (g->gate.test == TEST_ABSOLUTE)
		decide(verdict, decision, gate,
		       "%s%s: %llu of %llu on the new release, %g promised (ln E %.1f, fails at "
		       "%.1f)",
		       g->gate.metric, bound, (unsigned long long)c->bad,
		       (unsigned long long)c->attempts, g->gate.slo, r->ln_e, r->ln_fail);
	else
		decide(verdict, decision, gate,
		       "%s: %llu of %llu on the new release, %llu of %llu on the old one, %.2f "
		       "times as many (%.2f to %.2f; ln E %.1f, fails at %.1f)",
		       g->gate.metric, (unsigned long long)c->bad, (unsigned long long)c->attempts,
		       (unsigned long long)b->bad, (unsigned long long)b->attempts, r->ratio,
		       r->ratio_lo, r->ratio_hi, r->ln_e, r->ln_fail);
}

/* First what rolls back at once, then what halts. incomparable: comparisons do not count. */
static bool harmed(const struct judge *judge, bool incomparable, struct judge_verdict *verdict)
{
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < judge->gates_count; i++) {
			const struct gate_state *g = &judge->gates[i];
			bool at_once = g->gate.test == TEST_ABSOLUTE || g->gate.critical;
			struct judge_result result;

			if (g->gate.dry_run || at_once != (round == 0) ||
			    (incomparable && g->gate.test != TEST_ABSOLUTE))
				continue;
			judge_result(judge, i, &result);
			if (!result.failed)
				continue;
			say_failed(g, i, &result, verdict);
			return true;
		}
	return false;
}

static void say_waiting(const struct gate_state *g, size_t gate, const struct judge_result *r,
                        struct judge_verdict *verdict)
{
	if (!r->evidence)
		decide(verdict, JUDGE_CONTINUE, gate, "%s requires evidence, and there is none yet",
		       g->gate.metric);
	else if (isfinite(r->more))
		decide(verdict, JUDGE_CONTINUE, gate,
		       "%s requires evidence: E is %.3g of %.0f, about %.0f more observations",
		       g->gate.metric, exp(r->ln_e_promote), exp(r->ln_pass), ceil(r->more));
	else
		decide(verdict, JUDGE_CONTINUE, gate,
		       "%s requires evidence: E is %.3g of %.0f; nothing has failed yet that "
		       "could be compared",
		       g->gate.metric, exp(r->ln_e_promote), exp(r->ln_pass));
}

/* Every gate that requires evidence has it; without such gates there must be some evidence. */
static void unharmed(const struct judge *judge, struct judge_verdict *verdict)
{
	bool required = false, evidence = false, missing = false;

	for (size_t i = 0; i < judge->gates_count; i++) {
		const struct gate_state *g = &judge->gates[i];
		struct judge_result result;

		judge_result(judge, i, &result);
		evidence = evidence || result.evidence;
		required = required || g->gate.required;
		if (!g->gate.required || result.passed || missing)
			continue;
		missing = true;
		say_waiting(g, i, &result, verdict);
	}
	if (missing)
		verdict->decision = evidence ? JUDGE_CONTINUE : JUDGE_NO_EVIDENCE;
	else if (!evidence)
		decide(verdict, JUDGE_NO_EVIDENCE, JUDGE_NO_GATE,
		       "no traffic that could be judged");
	else
		decide(verdict, JUDGE_PROMOTE, JUDGE_NO_GATE, "%s",
		       required ? "every gate that requires evidence has it"
		                : "no evidence of harm so far");
}

bool judge_promised(const struct judge *judge)
{
	for (size_t i = 0; i < judge->gates_count; i++) {
		const struct gate_state *g = &judge->gates[i];
		struct judge_result result;

		if (!g->gate.required)
			continue;
		judge_result(judge, i, &result);
		if (!result.passed && !(g->gate.slo > 0 && g->gate.test != TEST_LATENCY &&
		                        promised_ln_promote(&g->promised) >= result.ln_pass))
			return false;
	}
	return true;
}

void judge_look(const struct judge *judge, struct judge_verdict *ret_verdict)
{
	struct judge_verdict verdict = {.gate = JUDGE_NO_GATE}, paused = {0};
	bool incomparable = cohorts_differ(judge, &paused);

	if (!harmed(judge, incomparable, &verdict)) {
		if (incomparable)
			verdict = paused;
		else
			unharmed(judge, &verdict);
	}
	*ret_verdict = verdict;
}
