/* SPDX-License-Identifier: Apache-2.0 */
/* The order of decision on periods written by hand, and that the journal gives the same judge. */
#include "coordinator/judge/record.h"
#include "coordinator/stats/numeric.h"

#include "base/mem.h"
#include "base/str.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct judge_policy policy;
static const uint64_t flat[] = {100, 100, 100, 100, 0, 0, 0, 0};
static const struct judge_feature features[] = {{"light", true, flat, 8},
                                                {"score", false, flat, 8}};

static struct judge *make(struct gate_spec *gates, size_t count)
{
	struct deployment_spec spec = {.gates = gates, .gates_count = count};
	struct judge_frozen frozen = {&policy, features, 2, true};

	assert_int_equal(judge_policy_make(&spec, &policy, NULL), 0);
	return judge_new(&frozen);
}

/* One period: canary nodes 0, 1, ... each with n and their own x; a control with n_b and x_b. */
static void add(struct judge *judge, uint64_t without, size_t nodes, uint64_t n, const uint64_t *x,
                uint64_t n_b, uint64_t x_b)
{
	struct judge_count counts[9][JUDGE_GATES_MAX] = {0};
	struct judge_row rows[9];

	for (size_t i = 0; i <= nodes; i++) {
		bool control = i == nodes;

		counts[i][0] = (struct judge_count){.attempts = control ? n_b : n,
		                                    .bad = control ? x_b : x[i]};
		rows[i] = (struct judge_row){control ? COHORT_CONTROL : COHORT_CANARY,
		                             0,
		                             control ? JUDGE_NO_NODE : (uint32_t)i,
		                             1,
		                             counts[i],
		                             policy.gates_count};
	}
	assert_int_equal(judge_add(judge,
	                           &(struct judge_period){.rows = rows, .rows_count = nodes + 1},
	                           without),
	                 0);
}

static void add_one(struct judge *judge, uint64_t n, uint64_t x, uint64_t n_b, uint64_t x_b)
{
	add(judge, 0, 1, n, &x, n_b, x_b);
}

static void add_feature(struct judge *judge, enum cohort cohort, uint32_t feature, uint64_t first)
{
	uint64_t bins[8] = {first, 100, 100, 100};
	struct judge_bins row = {cohort, feature, bins, 8};

	assert_int_equal(judge_add(judge, &(struct judge_period){.bins = &row, .bins_count = 1}, 0),
	                 0);
}

static enum judge_decision decision(const struct judge *judge, const char *why)
{
	struct judge_verdict verdict;

	judge_look(judge, &verdict);
	if (why && !strstr(verdict.why, why))
		fail_msg("%s", verdict.why);
	return verdict.decision;
}

/* No traffic is no evidence; one side alone is none either; harmless traffic lets the rail pass. */
static void test_guard_rail(void **state)
{
	struct judge *judge = make(NULL, 0);

	assert_int_equal(decision(judge, "no traffic"), JUDGE_NO_EVIDENCE);
	add_one(judge, 1000, 50, 0, 0);
	assert_int_equal(decision(judge, "no traffic"), JUDGE_NO_EVIDENCE);
	add_one(judge, 100, 1, 400, 4);
	assert_int_equal(decision(judge, "no evidence of harm"), JUDGE_PROMOTE);
	add_one(judge, 100, 20, 400, 4);
	assert_int_equal(decision(judge, "error_rate: 71 of 1200 on the new release"), JUDGE_HALT);
	judge_free(judge);
}

/* Nothing is known from before: the same counts prove harm where the controls are alike, and none
 * where they are not, or where the canary's errors came at once. */
static void add_fleet(struct judge *judge, size_t periods, uint64_t x, const uint64_t controls[4])
{
	for (size_t p = 0; p < periods; p++) {
		struct judge_count counts[5][JUDGE_GATES_MAX] = {0};
		struct judge_row rows[5];

		for (uint32_t i = 0; i < 5; i++) {
			uint64_t every = i ? controls[i - 1] : x; /* one event in so many periods */

			counts[i][0] = (struct judge_count){
			    .attempts = 100, .bad = every && p % every == every - 1};
			rows[i] = (struct judge_row){i ? COHORT_CONTROL : COHORT_CANARY, 0, i, 1,
			                             counts[i], policy.gates_count};
		}
		assert_int_equal(
		    judge_add(judge, &(struct judge_period){.rows = rows, .rows_count = 5}, 0), 0);
	}
}

static void test_unequal(void **state)
{
	struct gate_spec gate = {.metric = "error_rate"};
	struct judge *judge = make(&gate, 1);
	struct judge_result result;

	judge_free(judge);
	policy.gates[0].test = TEST_UNEQUAL;
	judge = judge_new(&(struct judge_frozen){.policy = &policy});
	add_fleet(judge, 400, 3, (const uint64_t[]){16, 16, 16, 16});
	judge_result(judge, 0, &result);
	assert_true(result.failed && result.spread < 0.1 && result.clump < 1.01);
	judge_bounds(judge, 0, &result);
	assert_true(result.ratio_lo > 1 && result.ratio_hi > result.ratio);
	judge_free(judge);
	judge = judge_new(&(struct judge_frozen){.policy = &policy});
	add_fleet(judge, 400, 3, (const uint64_t[]){40, 40, 40, 5}); /* as many in all */
	judge_result(judge, 0, &result);
	assert_true(!result.failed && result.spread > 0.3);
	judge_free(judge);
	judge = judge_new(&(struct judge_frozen){.policy = &policy});
	add_fleet(judge, 400, 0, (const uint64_t[]){16, 16, 16, 16});
	add(judge, 0, 1, 100, (const uint64_t[]){40}, 400, 1);
	judge_result(judge, 0, &result);
	assert_true(!result.failed && result.clump > 5);
	judge_free(judge);
}

static void test_required(void **state)
{
	struct gate_spec gate = {.metric = "error_rate", .require = GATE_EVIDENCE, .slo = 0.2};
	struct judge *judge = make(&gate, 1);

	assert_int_equal(decision(judge, "there is none yet"), JUDGE_NO_EVIDENCE);
	add_one(judge, 100, 1, 400, 4);
	assert_int_equal(decision(judge, "more observations"), JUDGE_CONTINUE);
	add_one(judge, 10000, 50, 40000, 400);
	assert_int_equal(decision(judge, "has it"), JUDGE_PROMOTE);
	judge_free(judge);
}

/* A promise that is proven while the comparison is still open, and one that is broken. */
static void test_promise(void **state)
{
	struct gate_spec gate = {.metric = "error_rate", .require = GATE_EVIDENCE, .slo = 0.05};
	struct gate_spec ceiling = {.metric = "error_rate", .absolute = true, .slo = 0.05};
	struct judge *judge = make(&gate, 1);

	assert_false(judge_promised(judge));
	add_one(judge, 100, 0, 10, 0);
	assert_int_equal(decision(judge, "nothing has failed yet"), JUDGE_CONTINUE);
	assert_true(judge_promised(judge));
	judge_free(judge);
	judge = make(&ceiling, 1);
	add_one(judge, 100, 20, 0, 0); /* without any control */
	assert_int_equal(decision(judge, "20 of 100 on the new release, 0.05 promised"),
	                 JUDGE_ROLL_BACK);
	judge_free(judge);
}

static void test_critical_and_dry_run(void **state)
{
	struct gate_spec gates[] = {{.metric = "error_rate", .critical = true}};
	struct judge *judge = make(gates, 1);

	add_one(judge, 100, 30, 400, 4);
	assert_int_equal(decision(judge, "error_rate"), JUDGE_ROLL_BACK);
	judge_free(judge);
	gates[0].dry_run = true;
	judge = make(gates, 1);
	add_one(judge, 100, 30, 400, 4);
	assert_int_equal(decision(judge, "no evidence of harm"), JUDGE_PROMOTE);
	judge_free(judge);
}

/* Inputs that differ: pause, and no comparison is believed. The same on both sides: the world. */
static void test_inputs(void **state)
{
	struct gate_spec gates[] = {{.metric = "drift.light"}, {.metric = "drift.score"}};
	struct judge *judge = make(NULL, 0);

	add_one(judge, 100, 30, 400, 4);
	add_feature(judge, COHORT_CONTROL, 0, 100);
	add_feature(judge, COHORT_CANARY, 0, 1500);
	assert_int_equal(decision(judge, "light differs"), JUDGE_PAUSE);
	judge_free(judge);
	judge = make(gates, 2);
	add_feature(judge, COHORT_CONTROL, 0, 1500);
	add_feature(judge, COHORT_CANARY, 0, 1500);
	assert_true(judge_drift(judge, 0, COHORT_CANARY) > log(1000));
	assert_int_not_equal(decision(judge, NULL), JUDGE_HALT);
	add_feature(judge, COHORT_CONTROL, 1, 100);
	add_feature(judge, COHORT_CANARY, 1, 1500); /* not what the release declares */
	assert_int_equal(decision(judge, "drift.score has moved"), JUDGE_HALT);
	judge_free(judge);
}

/* One of three canaries carries the verdict; when all are bad nobody does. */
static void test_carrier(void **state)
{
	static const uint64_t one[] = {1, 40, 1}, all[] = {14, 14, 14};
	const uint64_t *rows[] = {one, all};

	for (size_t k = 0; k < 2; k++) {
		struct gate_spec gate = {.metric = "error_rate"};
		struct judge *whole = make(&gate, 1), *without[3];

		add(whole, 0, 3, 100, rows[k], 1000, 10);
		assert_int_equal(decision(whole, NULL), JUDGE_HALT);
		for (size_t i = 0; i < 3; i++) {
			without[i] = make(&gate, 1);
			add(without[i], UINT64_C(1) << i, 3, 100, rows[k], 1000, 10);
		}
		assert_int_equal(judge_carrier(without, 3, 0), k == 0 ? 1 : 3);
		assert_int_equal(judge_carrier(without, 1, 0), 1);
		for (size_t i = 0; i < 3; i++)
			judge_free(without[i]);
		judge_free(whole);
	}
}

/* Strata are compared each for itself: a bad site alone on one side is no evidence. */
static void test_strata(void **state)
{
	struct gate_spec gate = {.metric = "error_rate"};
	struct judge *judge = make(&gate, 1);
	struct judge_count counts[2][JUDGE_GATES_MAX] = {{{.attempts = 100, .bad = 50}},
	                                                 {{.attempts = 100, .bad = 1}}};
	struct judge_row rows[] = {{COHORT_CANARY, 0, 0, 1, counts[0], 2},
	                           {COHORT_CONTROL, 1, JUDGE_NO_NODE, 1, counts[1], 2}};

	assert_int_equal(judge_add(judge, &(struct judge_period){.rows = rows, .rows_count = 2}, 0),
	                 0);
	assert_int_equal(decision(judge, NULL), JUDGE_NO_EVIDENCE);
	rows[1].stratum = 0;
	assert_int_equal(judge_add(judge, &(struct judge_period){.rows = rows, .rows_count = 2}, 0),
	                 0);
	assert_int_equal(decision(judge, NULL), JUDGE_HALT);
	judge_free(judge);
}

/* A period through its stored form changes nothing. */
static void test_journal(void **state)
{
	uint64_t bins[] = {3, 0, UINT64_C(1) << 40};
	struct judge_count counts[2] = {
	    {.attempts = 7, .bad = 2, .expected = 0.125, .over = {4, 3, 2, 1}}, {0}};
	struct judge_row row = {COHORT_CONTROL, 3, JUDGE_NO_NODE, 5, counts, 2};
	struct judge_bins drift = {COHORT_CONTROL, 9, bins, 3};
	struct judge_entry entry = {.kind = JUDGE_PERIOD,
	                            .at_ms = 5,
	                            .seen = 6,
	                            .period = {77, &row, 1, &drift, 1}},
	                   back;
	struct bytes bytes = {0};

	assert_int_equal(codec_encode(&codec_judge_entry, &entry, 1 << 20, &bytes, NULL), 0);
	assert_int_equal(codec_decode(&codec_judge_entry, bytes.data, bytes.size, &back, NULL), 0);
	assert_true(codec_equal(&codec_judge_entry, &entry, &back));
	assert_true(back.period.rows[0].counts[0].expected == 0.125);
	assert_int_equal(back.period.rows[0].node, JUDGE_NO_NODE);
	codec_free(&codec_judge_entry, &back);
	free(bytes.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_guard_rail), cmocka_unit_test(test_required),
	    cmocka_unit_test(test_unequal),
	    cmocka_unit_test(test_promise),    cmocka_unit_test(test_critical_and_dry_run),
	    cmocka_unit_test(test_inputs),     cmocka_unit_test(test_carrier),
	    cmocka_unit_test(test_strata),     cmocka_unit_test(test_journal),
	};

	return cmocka_run_group_tests_name("judge: verdict", tests, NULL, NULL);
}
