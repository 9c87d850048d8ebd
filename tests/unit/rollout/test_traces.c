/* SPDX-License-Identifier: Apache-2.0 */
/* How rollouts go: each test is a trace that reads like the story it tells. */
#include "trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* spec: ROLL-1 */
static void test_canary_then_batches(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.batch = (struct share){.value = 2};
	t.spec.max_unavailable = (struct share){.value = 2};
	trace_plan(&t, 5, false);
	PLAY(&t, "= planned", "= deadline none", "= goals .....",
	     "start", "= staging", "= goals F....", "= stage 0 running", "= stage 1 pending",
	     "0 fetching", "= staging", "= says 0 of 1 nodes have the release on disk",
	     "0 staged", "= canary", "= goals S....", "= places 1", "= note node_told",
	     "0 starting", "= canary",
	     "0 baking", "= soaking", "= places 0", "= stage 0 baking", "= goals SFFFF",
	     "= says bakes for another 5m", "= deadline 5m",
	     "1-4 staged", "= goals SFFFF", "after 4m", "= soaking",
	     "0 serving", "= note node_done", "= soaking", "after 1m", "= widening",
	     "= stage 0 passed", "= goals SSSFF", "= places 2", "= stage 1 running",
	     "1 baking", "= places 1", "= widening", "2 baking", "= soaking",
	     "1-2 serving", "after 1m", "= widening", "= goals SSSSS",
	     "3-4 baking", "3-4 serving", "= soaking", "after 59s", "= soaking", "after 1s",
	     "= completed", "= stage 2 passed", "= goals .....", "= deadline none",
	     "= says 5 of 5 nodes serve the release");
	trace_end(&t);
}

/* Nobody is let go before the release lies complete on its disk, and a word from before the goal
 * counts only where it names this rollout. */
/* spec: ROLL-2 */
static void test_nothing_before_staged(void **state)
{
	struct trace t;

	trace_begin(&t);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 pending", "= goals F....", "0 fetching", "= goals F....", "after 1h",
	     "= staging", "0 staged", "= goals S....");
	trace_end(&t);
}

/* News of another rollout, to another release, says nothing about this one. */
static void test_foreign_news(void **state)
{
	struct trace t;

	trace_begin(&t);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 foreign staged", "= goals F....", "0 foreign rolled_back", "= staging",
	     "= node 0 pending", "0 staged", "= canary", "0 foreign failed", "= canary", "0 failed",
	     "= rolling_back");
	trace_end(&t);
}

/* Once a node has answered its newest goal it need not say so again: other deployments change its
 * desired state too. */
static void test_an_answer_stays(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.stages[0].nodes = t.spec.max_unavailable = (struct share){.value = 2};
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0-1 staged", "0-1 baking", "0 rolled_back", "= rolling_back",
	     "0 rolled_back", "0 stale old", "1 rolled_back", "= rolled_back");
	trace_end(&t);
}

static void test_time_does_not_run_backwards(void **state)
{
	struct trace t;
	struct rollout_event late;

	trace_begin(&t);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "after 4m", "0 baking");
	late = rollout_event_make(EVENT_NODE_UNREACHABLE, 5, 0);
	rollout_apply(t.rollout, &late);
	assert_int_equal(t.rollout->now_ms, t.now_ms);
	PLAY(&t, "= deadline 5m");
	trace_drop(&t);
}

/* The node's own bake decides when it commits; the stage waits for the later of the two. */
/* spec: ROLL-1 */
static void test_stage_waits_for_commit(void **state)
{
	struct trace t;

	trace_begin(&t);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "0 baking", "after 6m", "= soaking", "= stage 0 baking",
	     "0 serving", "= widening");
	trace_end(&t);
}

/* spec: ROLL-3 */
static void test_failed_canary_goes_back(void **state)
{
	struct trace t;

	trace_begin(&t);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "0 baking", "1-4 staged", "0 rolled_back", "= rolling_back",
	     "= reason bake health three", "= reason-node 0", "= goals R....", "= stage 0 failed",
	     "= stage 1 skipped", "= note node_failed health", "= deadline 10m",
	     "0 stale old", "= rolling_back", /* has not heard of it yet: may be on its way */
	     "0 starting", "= rolling_back",
	     "0 rolled_back", "= rolled_back", "= goals R....", "= node 0 rolled_back",
	     "= reason bake health three", "= says three probes", "= deadline none");
	trace_end(&t);
}

/* spec: ROLL-3 */
static void test_failure_while_widening_takes_all_back_at_once(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.batch = (struct share){.value = 2};
	t.spec.max_unavailable = (struct share){.value = 1};
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "0 serving", "1-4 staged", "after 5m", "= widening",
	     "= goals SSFFF", "1 baking", "= goals SSSFF", "2 failed", "= rolling_back",
	     "= goals RRR..", "= reason start exited", "= reason-node 2",
	     "0 reverting", "1 reverting", "= rolling_back", "0 old", "1 rolled_back",
	     "= note node_rolled_back", "= rolling_back", "2 rolled_back", "= rolled_back",
	     "= stage 0 passed", "= stage 1 failed", "= stage 2 skipped");
	trace_end(&t);
}

/* A node that reports failed on the way back: the others still go back first. */
/* spec: ROLL-20 */
static void test_a_node_that_cannot_go_back_is_stuck(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.stages[0].nodes = (struct share){.value = 2};
	t.spec.max_unavailable = (struct share){.value = 2};
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0-1 staged", "0-1 baking", "0 rolled_back", "= rolling_back", "1 broken",
	     "= rolling_back", "0 rolled_back", "= stuck", "= reason serve rollback 1 could",
	     "= reason-node 1", "= goals RR...", "= deadline none", "= node 0 rolled_back",
	     "= refused pause", "= refused promote", "after 1h", "retry all", "= rolling_back",
	     "= attempt 1 2", "= attempt 0 1", "= deadline 10m",
	     "1 rolled_back", "= rolled_back");
	trace_end(&t);
}

/* It bars the old release: it goes back to what it served before, and the rollout ends. */
/* spec: NODE-14 */
static void test_a_node_that_bars_the_old_release_is_back(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.max_unavailable = (struct share){.value = 2};
	trace_plan(&t, 3, false);
	PLAY(&t, "start", "0 staged", "0 baking", "0 serving", "after 10m", "1 staged", "1 baking",
	     "2 staged", "1 rolled_back", "= rolling_back", "1 rolled_back", "0 stale elsewhere",
	     "= rolling_back", "0 reverting", "= rolling_back", "0 elsewhere", "= rolled_back",
	     "= node 0 rolled_back");
	trace_end(&t);
}

static void test_stuck_can_be_given_up(void **state)
{
	struct trace t;

	trace_begin(&t);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "0 broken", "= rolling_back", "0 broken", "= stuck", "abort",
	     "= aborted", "= goals R....");
	trace_end(&t);
}

/* Silent nodes are waited for until the deadline, named, and taken back when they return. */
static void test_silent_node_on_the_way_back(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.stages[0].nodes = (struct share){.value = 2};
	t.spec.max_unavailable = (struct share){.value = 2};
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0-1 staged", "0-1 baking", "1 silent", "0 rolled_back", "= rolling_back",
	     "0 rolled_back", "= rolling_back", "= says 1 of 2 changed nodes are back",
	     "after 10m", "= rolled_back", "= note node_unreachable goes", "= goals RR...",
	     "= node 1 unreachable", "1 baking", "= rolled_back", "= goals RR...",
	     "1 rolled_back", "= note late", "= rolled_back");
	trace_end(&t);
}

static void test_a_reachable_node_that_does_not_return_is_stuck(void **state)
{
	struct trace t;

	trace_begin(&t);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "0 baking", "verdict fail", "= rolling_back", "0 reverting",
	     "after 10m", "= stuck", "= reason serve rollback 1 did");
	trace_end(&t);
}

static void test_first_install_goes_back_to_nothing(void **state)
{
	struct trace t;

	trace_begin(&t);
	trace_plan(&t, 5, true);
	PLAY(&t, "start", "0 staged", "= canary", "= places 1", "0 baking", "= places 0",
	     "0 rolled_back", "= rolling_back", "= goals R....", "0 rolled_back", "= rolled_back");
	trace_end(&t);
}

static void test_first_install_completes(void **state)
{
	struct trace t;

	trace_begin(&t);
	trace_plan(&t, 2, true);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "= goals SS", "1 serving",
	     "after 1m", "= completed");
	trace_end(&t);
}

/* spec: ROLL-18 */
static void test_rolling_has_no_canary(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.strategy = STRATEGY_ROLLING;
	t.spec.batch = (struct share){.value = 3};
	t.spec.max_unavailable = (struct share){.value = 1};
	trace_plan(&t, 4, false);
	PLAY(&t, "start", "= goals FFF.", "all staged", "= widening", "= goals SFF.", "0 baking",
	     "= goals SSF.", "1 baking", "= goals SSS.", "2 baking", "= soaking", "= goals SSSF",
	     "0-2 serving", "after 1m", "= widening", "3 serving", "after 1m", "= completed");
	trace_end(&t);
}

/* spec: ROLL-17 */
static void test_blue_green_waits_for_promote(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.strategy = STRATEGY_BLUE_GREEN;
	t.spec.promote = PROMOTE_MANUAL;
	t.spec.batch_bake_ms = 60000;
	trace_plan(&t, 4, false);
	PLAY(&t, "start", "= staging", "= goals PPPP", "all staged", "= goals PPPP", "0-2 proven",
	     "= staging", "= says 3 of 4 nodes are prepared", "3 proven", "= paused",
	     "= hold promote", "= reason coordinator promote", "= goals PPPP", "= stage 0 passed",
	     "= stage 1 pending", "= refused resume", "= deadline none", "after 7d", "= paused",
	     "promote", "= widening", "= goals SSSS", "= places 4", "= paused 7d", "all baking",
	     "= soaking", "all serving", "after 1m", "= completed");
	trace_end(&t);
}

static void test_blue_green_by_itself(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.strategy = STRATEGY_BLUE_GREEN;
	t.spec.batch_bake_ms = 60000;
	trace_plan(&t, 3, false);
	PLAY(&t, "start", "0-1 proven", "= goals PPP", "2 proven", "= widening", "= goals SSS",
	     "1 failed", "= rolling_back", "= goals RRR", "all rolled_back", "= rolled_back");
	trace_end(&t);
}

static void test_blue_green_that_is_not_proven_changes_nothing(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.strategy = STRATEGY_BLUE_GREEN;
	trace_plan(&t, 3, false);
	PLAY(&t, "start", "0 proven", "1 rolled_back", "= rolled_back", "= goals ...",
	     "= stage 0 failed");
	trace_end(&t);
}

/* A release that sours after it was committed. */
static void test_committed_node_turns_sick(void **state)
{
	struct trace t;

	trace_begin(&t);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "0 serving", "1-4 staged", "after 5m", "= widening", "0 sick",
	     "after 29s", "= widening", "after 1s", "= rolling_back", "= reason serve health");
	trace_end(&t);
}

static void test_short_sickness_is_forgiven(void **state)
{
	struct trace t;

	trace_begin(&t);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "0 serving", "after 1m", "0 sick", "after 20s", "0 serving",
	     "after 10m", "= widening");
	trace_end(&t);
}

/* In mid-bake the node reboots; its bake starts again, and so does the time it may take. */
static void test_reboot_while_baking(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.stages[0].bake_ms = 1800000;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "0 baking", "after 25m", "0 silent", "after 1m", "0 answers",
	     "0 starting", "= soaking", "after 1m", "0 baking", "after 29m", "= soaking",
	     "0 serving", "= widening");
	trace_end(&t);
}

/* The bake has its own time; what the start took does not come off it. */
static void test_slow_start_then_long_bake(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.stages[0].bake_ms = 1800000;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "after 9m", "0 baking", "after 35m", "= soaking", "0 serving",
	     "= widening");
	trace_end(&t);
}

static void test_node_that_missed_the_switch(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.strategy = STRATEGY_BLUE_GREEN;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "4 silent", "0-3 proven", "= widening", "= goals SSSSP", "4 answers",
	     "4 staged", "= goals SSSSP", "4 proven", "= goals SSSSS");
	trace_end(&t);
}

static void test_first_install_goes_on_past_a_failure(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.spec.strategy = STRATEGY_ROLLING;
	t.spec.batch = (struct share){.value = 3};
	t.spec.max_unavailable = (struct share){.value = 1};
	t.spec.failures.nodes = 1;
	trace_plan(&t, 3, true);
	PLAY(&t, "start", "all staged", "= goals SFF", "0 rolled_back", "= goals SSF");
	trace_end(&t);
}

static void test_all_on_the_release_already(void **state)
{
	struct trace t;

	trace_begin(&t);
	t.from = t.spec.release;
	trace_plan(&t, 3, false);
	PLAY(&t, "start", "= completed");
	trace_end(&t);
}

/* spec: ROLL-9 */
static void test_late_verdict_after_the_end(void **state)
{
	struct trace t;

	trace_begin(&t);
	trace_plan(&t, 2, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "1 serving", "after 1m",
	     "= completed", "1 rolled_back", "= completed", "= note late health", "= goals ..",
	     "verdict fail", "= completed", "= note late", "1 silent", "= completed");
	trace_end(&t);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_canary_then_batches),
	cmocka_unit_test(test_nothing_before_staged),
	cmocka_unit_test(test_foreign_news),
	cmocka_unit_test(test_an_answer_stays),
	cmocka_unit_test(test_time_does_not_run_backwards),
	cmocka_unit_test(test_stage_waits_for_commit),
	cmocka_unit_test(test_failed_canary_goes_back),
	cmocka_unit_test(test_failure_while_widening_takes_all_back_at_once),
	cmocka_unit_test(test_a_node_that_bars_the_old_release_is_back),
	cmocka_unit_test(test_a_node_that_cannot_go_back_is_stuck),
	cmocka_unit_test(test_stuck_can_be_given_up),
	cmocka_unit_test(test_silent_node_on_the_way_back),
	cmocka_unit_test(test_a_reachable_node_that_does_not_return_is_stuck),
	cmocka_unit_test(test_first_install_goes_back_to_nothing),
	cmocka_unit_test(test_first_install_completes),
	cmocka_unit_test(test_rolling_has_no_canary),
	cmocka_unit_test(test_blue_green_waits_for_promote),
	cmocka_unit_test(test_blue_green_by_itself),
	cmocka_unit_test(test_blue_green_that_is_not_proven_changes_nothing),
	cmocka_unit_test(test_committed_node_turns_sick),
	cmocka_unit_test(test_short_sickness_is_forgiven),
	cmocka_unit_test(test_reboot_while_baking),
	cmocka_unit_test(test_slow_start_then_long_bake),
	cmocka_unit_test(test_node_that_missed_the_switch),
	cmocka_unit_test(test_first_install_goes_on_past_a_failure),
	cmocka_unit_test(test_all_on_the_release_already),
	cmocka_unit_test(test_late_verdict_after_the_end),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
