/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each gate of the file becomes a judge with that one gate, fed with the periods of the file: the
 * code that judged the rollout. What was frozen before it (test, weight, expectations) is in the
 * file as well.
 */
#include "coordinator/cli/replay.h"

#include "base/mem.h"
#include "base/str.h"
#include "coordinator/judge/judge.h"
#include "coordinator/stats/numeric.h"
#include "coordinator/stats/unequal.h"
#include "covey/evidence.h"

#include <math.h>

struct gate_file {
	const char *file;
	size_t index;
	const json_t *gate;
	struct err *err;
};

static int wrong(const struct gate_file *g, const char *field, const char *what)
{
	return err_set(g->err, -EINVAL, "%s: gates[%zu].%s: %s", g->file, g->index, field, what);
}

static int number(const struct gate_file *g, const char *field, double least, double most,
                  double *ret_number)
{
	const json_t *value = json_object_get(g->gate, field);
	double result = json_number_value(value);

	if (!json_is_number(value) || !(result >= least && result <= most))
		return wrong(g, field, "is missing, or no number that makes sense");
	*ret_number = result;
	return 0;
}

static bool flag(const struct gate_file *g, const char *field)
{
	return json_is_true(json_object_get(g->gate, field));
}

static int read_test(const struct gate_file *g, enum judge_test *ret_test)
{
	const char *name = json_string_value(json_object_get(g->gate, "test"));

	for (enum judge_test i = 0; name && i < TEST_COUNT; i++)
		if (str_equal(judge_test_name(i), name)) {
			*ret_test = i;
			return 0;
		}
	return wrong(g, "test", "is missing, or no test that a gate has");
}

static int read_shares(const struct gate_file *g, struct judge_gate *gate)
{
	int r;

	gate->clump = 1;
	if (gate->test == TEST_UNEQUAL && json_object_get(g->gate, "spread")) {
		r = number(g, "spread", 0, UNEQUAL_VARIANCE_MAX, &gate->variance);
		if (r == 0)
			r = number(g, "freedom", 1, 1e9, &gate->freedom);
		return r == 0 ? number(g, "clump", 1, 1e9, &gate->clump) : r;
	}
	if (gate->test != TEST_HIERARCHICAL)
		return 0;
	r = number(g, "pi0", 1e-9, 1, &gate->pi0);
	if (r == 0)
		r = number(g, "m", 1e-3, (double)STATS_COUNT_MAX, &gate->m);
	return r == 0 ? number(g, "clump", 1, 1e9, &gate->clump) : r;
}

static int read_gate(const struct gate_file *g, struct judge_gate *gate)
{
	const char *metric = json_string_value(json_object_get(g->gate, "metric"));
	int r;

	*gate = (struct judge_gate){.critical = flag(g, "critical"),
	                            .dry_run = flag(g, "dry_run"),
	                            .required = flag(g, "required")};
	if (!metric)
		return wrong(g, "metric", "is missing");
	STR_CUT(gate->metric, metric);
	r = read_test(g, &gate->test);
	if (r == 0)
		r = number(g, "tolerance", 0.0625, 15.999, &gate->tolerance);
	if (r == 0)
		r = number(g, "margin", 0.0626, 16, &gate->margin);
	if (r == 0)
		r = number(g, "weight", 0, 1, &gate->weight);
	if (r == 0 && json_is_number(json_object_get(g->gate, "slo")))
		r = number(g, "slo", 1e-12, 1 - 1e-12, &gate->slo);
	if (r == 0 && gate->test == TEST_ABSOLUTE && !(gate->slo > 0))
		r = wrong(g, "slo", "is missing; an absolute gate has one");
	return r == 0 ? read_shares(g, gate) : r;
}

/* ---- evidence ---- */

static int read_counts(const struct gate_file *g, const json_t *list, size_t wanted,
                       uint64_t *ret_counts)
{
	for (size_t i = 0; i < wanted; i++) {
		const json_t *value = json_array_get(list, i);

		if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		    (uint64_t)json_integer_value(value) > STATS_COUNT_MAX)
			return wrong(g, "periods", "write lists of counts, as they were printed");
		ret_counts[i] = (uint64_t)json_integer_value(value);
	}
	return 0;
}

static int add_period(const struct gate_file *g, const struct judge_gate *gate, const json_t *list,
                      struct judge *judge)
{
	bool latency = gate->test == TEST_LATENCY;
	size_t wanted = latency ? 2 + 2 * LATENCY_THRESHOLDS : 4;
	uint64_t n[2 + 2 * LATENCY_THRESHOLDS];
	struct judge_count counts[COHORT_COUNT] = {0};
	struct judge_row rows[COHORT_COUNT];
	double share = json_number_value(json_array_get(list, wanted));
	int r = read_counts(g, list, wanted, n);

	for (enum cohort c = 0; r == 0 && c < COHORT_COUNT; c++) {
		counts[c].attempts = n[c];
		counts[c].bad = latency ? 0 : n[2 + c];
		counts[c].expected = c == COHORT_CANARY ? share : 1 - share;
		for (size_t t = 0; latency && t < LATENCY_THRESHOLDS; t++)
			counts[c].over[t] = n[2 + c * LATENCY_THRESHOLDS + t];
		rows[c] = (struct judge_row){
		    .cohort = c, .node = JUDGE_NO_NODE, .counts = &counts[c], .counts_count = 1};
	}
	if (r == 0 &&
	    judge_add(judge, &(struct judge_period){.rows = rows, .rows_count = COHORT_COUNT}, 0) <
	        0)
		r = wrong(g, "periods", "more bad events than attempts");
	return r;
}

static int read_bins(const struct gate_file *g, const char *field, uint64_t bins[LIMIT_BINS],
                     size_t *ret_count)
{
	const json_t *list = json_object_get(g->gate, field);

	if (json_array_size(list) < 2 || json_array_size(list) > LIMIT_BINS)
		return wrong(g, field, "is no list of counts");
	*ret_count = json_array_size(list);
	return read_counts(g, list, *ret_count, bins);
}

static int judge_gate_alone(const struct gate_file *g, struct judge_policy *policy,
                            struct judge_result *ret_result)
{
	const struct judge_gate *gate = &policy->gates[0];
	const json_t *periods = json_object_get(g->gate, "periods");
	uint64_t baseline[LIMIT_BINS], windows[COHORT_COUNT][LIMIT_BINS];
	struct judge_feature feature = {.name = judge_gate_subject(gate), .baseline = baseline};
	struct judge_bins bins[COHORT_COUNT] = {
	    {.cohort = COHORT_CANARY, .bins = windows[COHORT_CANARY]},
	    {.cohort = COHORT_CONTROL, .bins = windows[COHORT_CONTROL]}};
	struct judge_frozen frozen = {.policy = policy, .features = &feature, .declared = true};
	COVEY_CLEANUP(judge_free_p) struct judge *judge = NULL;
	int r = 0;

	feature.input = !str_equal(feature.name, FEATURE_SCORE) &&
	                !str_equal(feature.name, FEATURE_CLASS);
	if (gate->test == TEST_DRIFT && json_object_get(g->gate, "baseline")) {
		frozen.features_count = 1;
		r = read_bins(g, "baseline", baseline, &feature.bins);
		if (r == 0)
			r = read_bins(g, "window", windows[0], &bins[0].bins_count);
		if (r == 0 && json_object_get(g->gate, "control_window"))
			r = read_bins(g, "control_window", windows[1], &bins[1].bins_count);
	} else if (gate->test != TEST_DRIFT && !json_is_array(periods)) {
		r = wrong(g, "periods",
		          "is missing: the rollout has not ended, or its evidence "
		          "was not kept");
	}
	if (r < 0)
		return r;
	judge = judge_new(&frozen);
	if (gate->test == TEST_DRIFT)
		r = judge_add(judge, &(struct judge_period){.bins = bins, .bins_count = 2}, 0);
	for (size_t i = 0; r == 0 && i < json_array_size(periods); i++)
		r = add_period(g, gate, json_array_get(periods, i), judge);
	if (r < 0)
		return r;
	judge_result(judge, 0, ret_result);
	judge_bounds(judge, 0, ret_result);
	return 0;
}

/* ---- all gates ---- */

static json_t *real(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

bool replay_is_rollout(const json_t *evidence)
{
	return json_is_array(json_object_get(evidence, "gates")) &&
	       json_object_get(evidence, "stages");
}

int replay_rollout(const char *file, const json_t *rollout, json_t **ret_gates, struct err *err)
{
	const json_t *gates = json_object_get(rollout, "gates");
	json_t *list = json_array();
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(gates); i++) {
		struct gate_file g = {file, i, json_array_get(gates, i), err};
		AUTO_FREE struct judge_policy *policy = mem_alloc(sizeof(*policy));
		struct judge_result result = {0};
		json_t *recorded = json_object_get(g.gate, "verdict");

		policy->gates_count = 1;
		r = read_gate(&g, &policy->gates[0]);
		if (r == 0 && judge_gate_kind(&policy->gates[0]) < 0)
			r = wrong(&g, "metric", "is not known");
		if (r == 0)
			r = judge_gate_alone(&g, policy, &result);
		if (r < 0)
			break;
		json_array_append_new(
		    list,
		    json_pack("{ss ss so so so so so ss sO?}", "metric", policy->gates[0].metric,
		              "test", judge_test_name(policy->gates[0].test), "ln_e_halt",
		              real(result.ln_e), "ln_e_promote", real(result.ln_e_promote), "ratio",
		              real(result.ratio), "ratio_lo", real(result.ratio_lo), "ratio_hi",
		              real(result.ratio_hi), "verdict",
		              judge_result_word(&policy->gates[0], &result), "recorded", recorded));
	}
	if (r < 0)
		json_decref(list);
	else
		*ret_gates = list;
	return r;
}
