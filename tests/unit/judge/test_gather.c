/* SPDX-License-Identifier: Apache-2.0 */
/* Which records count, when a period closes, what history makes of the gates. */
#include "coordinator/judge/history.h"
#include "coordinator/judge/judge.h"

#include "base/rng.h"
#include "base/str.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { P = 60000, T = 1000 };

static struct judge_policy policy;
static struct gather_node nodes[4];

static struct gather *make(void)
{
	struct deployment_spec spec = {0};
	struct gather_setup setup = {.policy = &policy,
	                             .from = {{1}},
	                             .to = {{2}},
	                             .baseline = {{9}},
	                             .period_ms = P,
	                             .nodes = nodes,
	                             .nodes_count = 4};

	assert_int_equal(judge_policy_make(&spec, &policy, NULL), 0);
	memset(nodes, 0, sizeof(nodes));
	return gather_new(&setup);
}

static struct observation_record record(uint8_t release)
{
	return (struct observation_record){
	    .release = {{release}},
	    .length_ms = P,
	    .age_ms = 10 * P,
	    .serving = true,
	    .periods = 1,
	    .counts = {.attempted = 10, .ok = 8, .errors = 1, .crashes = 1}};
}

static bool add(struct gather *g, uint32_t node, uint64_t period, struct observation_record r)
{
	return gather_add(g, node, (period + 1) * P, &r);
}

static void test_left_out(void **state)
{
	struct gather *g = make();
	struct observation_record r = record(2);

	assert_true(add(g, 0, T, r));
	r.age_ms = 2 * P - 1; /* it warms up */
	assert_false(add(g, 0, T, r));
	r = record(1);
	r.age_ms = 0; /* controls too */
	assert_false(add(g, 1, T, r));
	r = record(1);
	r.serving = false;
	assert_false(add(g, 1, T, r));
	r = record(1);
	r.periods = 2; /* a node that was away */
	assert_false(add(g, 1, T, r));
	r = record(1);
	r.length_ms = 3 * P;
	assert_false(add(g, 1, T, r));
	assert_false(add(g, 1, T, record(3))); /* another release */
	assert_false(add(g, 1, T - 2, record(1)));
	assert_false(add(g, 1, T + 4, record(1)));
	assert_int_equal(gather_left_out(g), 8);
	gather_free(g);
}

static void test_closing(void **state)
{
	struct gather *g = make();
	struct judge_period period;

	for (uint32_t i = 0; i < 3; i++)
		assert_true(add(g, i, T, record(i == 0 ? 2 : 1)));
	assert_false(gather_close(g, (T + 1) * P - 1, &period)); /* it is not over */
	assert_true(gather_close(g, (T + 1) * P, &period));
	assert_int_equal(period.index, T);
	assert_int_equal(period.rows_count, 3); /* the canary, the controls */
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(period.rows[i].node, i);
		assert_int_equal(period.rows[i].nodes, 1);
		assert_int_equal(period.rows[i].counts[0].attempts, 10);
		assert_int_equal(period.rows[i].counts[0].bad, 2);
		assert_int_equal(period.rows[i].counts[0].incidents, 1);
	}
	period_free(&period);
	assert_true(add(g, 0, T + 1, record(2)));
	assert_false(gather_close(g, (T + 2) * P, &period)); /* two that reported lately lack */
	assert_int_equal(gather_deadline(g), (T + 3) * P);
	assert_true(gather_close(g, (T + 3) * P, &period)); /* not for ever */
	period_free(&period);
	assert_false(add(g, 1, T + 1, record(1))); /* too late */
	assert_false(gather_close(g, (T + 99) * P, &period));
	assert_int_equal(gather_deadline(g), UINT64_MAX);
	assert_true(add(g, 1, T + 99, record(1))); /* after a long silence */
	assert_true(gather_close(g, (T + 101) * P, &period));
	assert_int_equal(period.index, T + 99);
	period_free(&period);
	gather_free(g);
}

/* Thresholds: from the first controls when nothing was frozen, exact at bucket borders. */
static void test_thresholds(void **state)
{
	struct gather *g = make();
	struct latency_bucket buckets[100];
	struct observation_record r = record(1);
	struct gather_thresholds thresholds;
	struct judge_count count;

	for (uint32_t i = 0; i < 100; i++)
		buckets[i] = (struct latency_bucket){i, 10};
	r.buckets = buckets;
	r.buckets_count = 99;
	assert_true(add(g, 1, T, r));
	assert_false(gather_froze(g, &thresholds)); /* 990 of 1,000 */
	assert_true(add(g, 2, T, r));
	assert_true(gather_froze(g, &thresholds));
	assert_false(gather_froze(g, &thresholds));
	assert_int_equal(thresholds.bucket[0], 49);
	assert_int_equal(thresholds.bucket[3], 98);
	r.buckets_count = 100;
	count = gather_count(&policy.gates[3], &thresholds, &r);
	assert_int_equal(count.attempts, 1000);
	assert_int_equal(count.over[0], 500);
	assert_int_equal(count.over[3], 10);
	gather_free(g);
}

/* A node that joined is in no comparison; what the release promises it must keep as well. */
static void test_joined(void **state)
{
	struct gather *g = make();
	struct judge_period period;
	struct judge_count sums[COHORT_COUNT];

	gather_free(g);
	policy.gates[1].test = TEST_ABSOLUTE;
	g = gather_new(&(struct gather_setup){.policy = &policy,
	                                      .from = {{1}},
	                                      .to = {{2}},
	                                      .period_ms = P,
	                                      .nodes = nodes,
	                                      .nodes_count = 4});
	assert_true(add(g, 0, T, record(2)));
	assert_true(add(g, 1, T, record(1)));
	assert_true(add(g, GATHER_JOINED, T, record(2)));
	assert_false(add(g, GATHER_JOINED, T, record(1)));
	assert_true(gather_close(g, (T + 1) * P, &period)); /* nobody waits for it */
	assert_int_equal(period.rows_count, 3);
	assert_true(judge_sum(&period, JUDGE_JOINED, 0, 0, sums));
	assert_int_equal(sums[COHORT_CANARY].attempts, 0);
	assert_true(judge_sum(&period, JUDGE_JOINED, 1, 0, sums));
	assert_int_equal(sums[COHORT_CANARY].attempts, 10);
	assert_true(judge_sum(&period, 0, 1, 0, sums));
	assert_int_equal(sums[COHORT_CANARY].attempts, 10);
	period_free(&period);
	gather_free(g);
}

/* What nodes counted above the bound of an absolute gate; without that order nothing is known. */
static void test_bound(void **state)
{
	struct judge_gate gate = {.kind = METRIC_LATENCY, .absolute = true, .bound_us = 200000};
	struct gather_thresholds none = {0};
	struct observation_record r = record(2);
	struct judge_count count;

	r.counts.latencies = 50;
	r.exceedances[1] = (struct latency_exceedance){200000, 7};
	count = gather_count(&gate, &none, &r);
	assert_int_equal(count.attempts, 50);
	assert_int_equal(count.bad, 7);
	gate.bound_us = 100000;
	assert_int_equal(gather_count(&gate, &none, &r).attempts, 0);
}

/* Rare errors in bursts are counted as incidents, each node with its own rate. */
static void test_history(void **state)
{
	struct gather *g = make();
	bool canaries[4] = {true};
	struct gather_thresholds thresholds;
	struct history *history = history_new(&policy, 4);
	struct rng rng = {7};

	for (size_t t = 0; t < 2000; t++)
		for (uint32_t i = 0; i < 4; i++) {
			struct observation_record r = record(1);

			r.counts.crashes = 0;
			r.counts.errors = rng_unit(&rng) < (i == 0 ? 0.1 : 0.05) ? 5 : 0;
			history_add(history, i, &r);
		}
	history_settle(history, canaries, &policy, nodes, &thresholds);
	assert_int_equal(policy.gates[0].test, TEST_HIERARCHICAL);
	assert_true(policy.gates[0].incidents);
	assert_true(fabs(policy.gates[0].pi0 - 0.4) < 0.05);
	assert_true(fabs(nodes[0].rates[0] - 0.1) < 0.02);
	assert_true(fabs(nodes[1].rates[0] - 0.05) < 0.02);
	assert_int_equal(policy.gates[1].test, TEST_UNEQUAL); /* no time-out was ever seen */
	assert_false(thresholds.frozen);
	history_free(history);
	gather_free(g);
}

/* Where every minute has a bad event, events are counted, and clumps weigh less. */
static void test_clumps(void **state)
{
	struct gather *g = make();
	bool canaries[4] = {true};
	struct gather_thresholds thresholds;
	struct history *history = history_new(&policy, 4);
	struct rng rng = {7};

	for (size_t t = 0; t < 500; t++)
		for (uint32_t i = 0; i < 4; i++) {
			struct observation_record r = record(1);

			r.counts = (struct observed_counts){.attempted = 1000};
			for (size_t k = 0; k < 250; k++)
				r.counts.errors += rng_unit(&rng) < 0.02 ? 4 : 0;
			history_add(history, i, &r);
		}
	history_settle(history, canaries, &policy, nodes, &thresholds);
	assert_int_equal(policy.gates[0].test, TEST_HIERARCHICAL);
	assert_false(policy.gates[0].incidents);
	assert_true(fabs(policy.gates[0].clump - 4) < 0.4);
	history_free(history);
	gather_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_left_out),   cmocka_unit_test(test_closing),
	    cmocka_unit_test(test_thresholds), cmocka_unit_test(test_history),
	    cmocka_unit_test(test_clumps),     cmocka_unit_test(test_bound),
	    cmocka_unit_test(test_joined),
	};

	return cmocka_run_group_tests_name("judge: gather", tests, NULL, NULL);
}
