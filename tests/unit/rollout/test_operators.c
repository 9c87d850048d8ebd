/* SPDX-License-Identifier: Apache-2.0 */
/* What people wish for, and who comes and goes, as traces. */
#include "trace.h"

#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void begin_wide(struct trace *t)
{
	trace_begin(t);
	t->spec.batch = (struct share){.value = 2};
	t->spec.max_unavailable = (struct share){.value = 4};
	trace_plan(t, 5, false);
}

static void test_what_is_refused_when(void **state)
{
	struct trace t;

	begin_wide(&t);
	PLAY(&t, "= refused pause", "= refused resume", "= refused promote", "= refused retry",
	     "start", "= refused resume", "= refused retry", "= refused retry 0", "pause",
	     "= refused pause", "resume", "abort", "= aborted", "= refused abort",
	     "= refused supersede", "= refused pause", "= refused retry");
	trace_end(&t);
}

/* spec: ROLL-11 */
static void test_promote_ends_the_bake(void **state)
{
	struct trace t;

	begin_wide(&t);
	PLAY(&t, "start", "all staged", "0 starting", "promote", "= canary", "= stage 0 running",
	     "= refused promote", "0 baking", "= widening", "= stage 0 passed", "= goals SSSFF",
	     "0 serving", "1-2 serving", "= soaking", "promote", "= widening", "3-4 serving",
	     "= soaking", "after 1m", "= completed");
	trace_end(&t);
}

/* spec: ROLL-11 */
static void test_promote_does_not_override_failure(void **state)
{
	struct trace t;

	begin_wide(&t);
	PLAY(&t, "start", "all staged", "promote", "0 rolled_back", "= rolling_back",
	     "= refused promote");
	trace_end(&t);
}

/* spec: ROLL-11 */
static void test_promote_full_opens_all_stages(void **state)
{
	struct trace t;

	begin_wide(&t);
	PLAY(&t, "start", "all staged", "0 baking", "= soaking", "promote-full", "= widening",
	     "= stage 0 passed", "= stage 1 skipped", "= stage 2 running", "= goals SSSSS",
	     "= places 4", "= refused promote-full", "1-4 baking", "= completed");
	trace_end(&t);
}

/* spec: ROLL-11 */
static void test_promote_full_keeps_the_budget(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.max_unavailable = (struct share){.value = 1};
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "promote-full", "= widening", "= places 1", "0 baking",
	     "= places 1", "= goals SSFFF", "1 rolled_back", "= rolling_back", "= goals RR...");
	trace_end(&t);
}

static void test_promote_full_from_blue_green(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.strategy = STRATEGY_BLUE_GREEN;
	t.spec.promote = PROMOTE_MANUAL;
	t.spec.batch_bake_ms = 3600000;
	trace_plan(&t, 3, false);
	PLAY(&t, "start", "0 proven", "promote-full", "= staging", "= goals PPP", "1-2 proven",
	     "= widening", "= goals SSS", "all baking", "= completed");
	trace_end(&t);
}

/* spec: ROLL-12 */
static void test_abort_takes_back(void **state)
{
	struct trace t;

	begin_wide(&t);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "1 baking", "abort",
	     "= rolling_back", "= goals RRR..", "= stage 1 skipped", "= reason coordinator abort",
	     "= refused abort", "0-2 rolled_back", "= aborted", "= goals RRR..");
	trace_end(&t);
}

static void test_abort_before_anything_changed(void **state)
{
	struct trace t;

	begin_wide(&t);
	PLAY(&t, "abort", "= aborted");
	trace_end(&t);
	begin_wide(&t);
	PLAY(&t, "start", "all fetching", "abort", "= aborted", "= goals .....");
	trace_end(&t);
}

static void test_abort_while_paused(void **state)
{
	struct trace t;

	begin_wide(&t);
	PLAY(&t, "start", "0 staged", "0 baking", "pause", "abort", "= rolling_back", "after 9m",
	     "= rolling_back", "0 rolled_back", "= aborted");
	trace_end(&t);
}

/* spec: ROLL-15 */
static void test_supersede_lets_go_of_the_nodes(void **state)
{
	struct trace t;

	begin_wide(&t);
	PLAY(&t, "start", "all staged", "0 baking", "supersede", "= aborted", "= goals -----",
	     "= reason coordinator superseded", "= places 0", "0 rolled_back", "= goals -----");
	assert_true(digest_equal(&t.rollout->from, &t.from)); /* stays the base */
	trace_end(&t);
}

/* spec: ROLL-14 */
static void test_retry_of_a_node_that_failed(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.batch = (struct share){.value = 4};
	t.spec.max_unavailable = (struct share){.value = 4};
	t.spec.failures.nodes = 1;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "1 rolled_back", "= widening",
	     "= refused retry 2", "retry 1", "= attempt 1 2", "= goals SSSSS",
	     "1 starting", "1 serving", "2-4 serving", "after 1m", "= completed",
	     "= says 5 of 5");
	trace_end(&t);
}

/* A report of the first attempt that arrives late is not a failure of the second. */
static void test_retry_is_not_failed_by_old_news(void **state)
{
	struct trace t;
	struct rollout_event old;

	trace_begin(&t);
	t.spec.batch = (struct share){.value = 4};
	t.spec.max_unavailable = (struct share){.value = 4};
	t.spec.failures.nodes = 1;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "1 rolled_back", "retry all",
	     "1 staged", "= goals SSSSS");
	old = rollout_event_make(EVENT_NODE_REPORT, t.now_ms, 1);
	old.state = NODE_STATE_ROLLED_BACK;
	old.release = t.from;
	old.target = t.spec.release;
	old.rollout = t.rollout->id;
	old.attempt = 1;
	rollout_apply(t.rollout, &old);
	assert_false(t.rollout->nodes[1].failed);
	trace_drop(&t);
}

/* spec: ROLL-14 */
static void test_retry_after_completion_raises_the_attempt(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.batch = (struct share){.value = 4};
	t.spec.max_unavailable = (struct share){.value = 4};
	t.spec.failures.nodes = 1;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "1 rolled_back", "2-4 serving",
	     "after 1m", "= completed", "= refused retry 2", "retry 1", "= completed",
	     "= attempt 1 2");
	trace_end(&t);
}

/* ---- the fuse ---- */

/* spec: ROLL-21 */
static void test_fuse(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.stages[0].nodes = (struct share){.value = 3};
	t.spec.max_unavailable = (struct share){.value = 4};
	t.spec.failures.nodes = 3;
	trace_plan(&t, 4, false);
	PLAY(&t, "start", "all staged", "0 serving");
	/* each turn gives one command; 3 for each of 4 nodes and 16 to spare are explained */
	for (int i = 0; t.rollout->state != ROLLOUT_STUCK; i++) {
		assert_true(i < 40);
		PLAY(&t, "1 rolled_back", "retry 1", "1 staged");
	}
	PLAY(&t, "= stuck", "= reason coordinator fuse 29 commands", "= refused promote",
	     "= deadline none", "retry all", "= paused", "resume",
	     "= canary", "after 2m", "1-2 serving", "= soaking", "after 5m", "= widening");
	trace_end(&t);
}

static void test_abort_after_the_fuse(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.stages[0].nodes = (struct share){.value = 3};
	t.spec.max_unavailable = (struct share){.value = 4};
	t.spec.failures.nodes = 3;
	trace_plan(&t, 4, false);
	PLAY(&t, "start", "all staged", "0 serving");
	while (t.rollout->state != ROLLOUT_STUCK)
		PLAY(&t, "1 rolled_back", "retry 1", "1 staged");
	PLAY(&t, "after 1m", "abort", "= rolling_back", "= goals RRR.");
	trace_end(&t);
}

/* ---- nodes that come and go ---- */

static void test_new_node_joins_the_last_stage(void **state)
{
	struct trace t;

	begin_wide(&t);
	PLAY(&t, "start", "all staged", "0 serving", "5 joins", "= goals SFFFFF", "5 staged",
	     "after 5m", "= goals SSSFFF", "1-2 serving", "after 1m", "= goals SSSSSS",
	     "3-5 serving", "6 joins", "= soaking", "after 1m", "= soaking", "6 staged",
	     "6 serving", "= completed");
	trace_end(&t);
}

static void test_nobody_joins_on_the_way_back(void **state)
{
	struct trace t;
	struct rollout_event join;

	begin_wide(&t);
	PLAY(&t, "start", "all staged", "0 rolled_back", "= rolling_back");
	join = rollout_event_make(EVENT_NODE_JOINED, t.now_ms, ROLLOUT_NO_NODE);
	join.id = trace_node_id(999);
	assert_false(rollout_admits(t.rollout, &join, NULL));
	trace_end(&t);
}

static void test_gone_nodes_do_not_count(void **state)
{
	struct trace t;

	begin_wide(&t);
	PLAY(&t, "start", "all staged", "0 gone", "= goals -SSFF", "1-2 serving", "3-4 gone",
	     "after 1m", "= completed", "= says 2 of 2 nodes");
	trace_end(&t);
}

static void test_gone_node_comes_back(void **state)
{
	struct trace t;

	begin_wide(&t);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "1 gone", "= goals S-SFF",
	     "= places 1", "1 joins", "= goals SFSFF", "1 staged", "= goals SSSFF", "1 serving",
	     "2 gone", "after 1m", "= goals SS-SS", "3 failed", "= rolling_back", "2 joins",
	     "= goals RRRRR");
	trace_end(&t);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_what_is_refused_when),
	cmocka_unit_test(test_promote_ends_the_bake),
	cmocka_unit_test(test_promote_does_not_override_failure),
	cmocka_unit_test(test_promote_full_opens_all_stages),
	cmocka_unit_test(test_promote_full_keeps_the_budget),
	cmocka_unit_test(test_promote_full_from_blue_green),
	cmocka_unit_test(test_abort_takes_back),
	cmocka_unit_test(test_abort_before_anything_changed),
	cmocka_unit_test(test_abort_while_paused),
	cmocka_unit_test(test_supersede_lets_go_of_the_nodes),
	cmocka_unit_test(test_retry_of_a_node_that_failed),
	cmocka_unit_test(test_retry_is_not_failed_by_old_news),
	cmocka_unit_test(test_retry_after_completion_raises_the_attempt),
	cmocka_unit_test(test_fuse),
	cmocka_unit_test(test_abort_after_the_fuse),
	cmocka_unit_test(test_new_node_joins_the_last_stage),
	cmocka_unit_test(test_nobody_joins_on_the_way_back),
	cmocka_unit_test(test_gone_nodes_do_not_count),
	cmocka_unit_test(test_gone_node_comes_back),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
