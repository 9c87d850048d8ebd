/* SPDX-License-Identifier: Apache-2.0 */
/* Failure limits, silence, deadlines, budgets and evidence, as traces. */
#include "trace.h"

#include "base/mem.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void begin_wide(struct trace *t, uint32_t at_once)
{
	trace_begin(t);
	t->spec.batch = (struct share){.value = 4};
	t->spec.max_unavailable = (struct share){.value = at_once};
}

/* ---- failures ---- */

/* spec: ROLL-7 */
static void test_one_failure_is_tolerated(void **state)
{
	struct trace t;

	begin_wide(&t, 2);
	t.spec.failures.nodes = 1;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "= goals SSSFF", "1 rolled_back",
	     "= widening", "= node 1 rolled_back", "= goals SSSSF", "2-4 serving", "= soaking",
	     "after 1m", "= completed", "= says 4 of 5 nodes serve the release, 1 failed");
	trace_end(&t);
}

/* spec: ROLL-7 */
static void test_two_failures_are_not(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	t.spec.failures.nodes = 1;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "1 rolled_back", "= widening",
	     "3 failed", "= rolling_back", "= goals RRRRR", "= reason start exited",
	     "= reason-node 3");
	trace_end(&t);
}

/* spec: ROLL-7 */
static void test_percent_of_the_changed(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	t.spec.failures.percent = 25;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "1 rolled_back", "= widening",
	     "2 rolled_back", "= rolling_back");
	trace_end(&t);
	begin_wide(&t, 4);
	t.spec.failures.percent = 25;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 rolled_back", "= rolling_back"); /* 1 of 1 */
	trace_end(&t);
}

/* A node that never began cannot take the release: it counts once its stage is open. */
static void test_unfit_node_counts_when_its_stage_opens(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "0 serving", "3 unfit", "= soaking", "after 5m",
	     "= rolling_back", "= reason preflight disk", "= reason-node 3", "= goals R....");
	trace_end(&t);
}

static void test_no_node_of_the_canary_took_it(void **state)
{
	struct trace t;

	begin_wide(&t, 2);
	t.spec.failures.nodes = 3;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "0 rolled_back", "= rolling_back", "= reason-node 0");
	trace_end(&t);
}

static void test_failed_and_out_of_service_holds_its_place(void **state)
{
	struct trace t;

	begin_wide(&t, 1);
	t.spec.failures.nodes = 1;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "1 failed", "= places 1",
	     "= goals SSFFF", "1 rolled_back", "= goals SSSFF");
	trace_end(&t);
}

/* ---- silence ---- */

static void test_silent_canary_is_waited_for(void **state)
{
	struct trace t;

	begin_wide(&t, 1);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "0 baking", "0 silent", "= soaking", "= node 0 unreachable",
	     "after 9m", "= soaking", "0 answers", "0 serving", "= widening");
	trace_end(&t);
}

static void test_canary_lost_for_good(void **state)
{
	struct trace t;

	begin_wide(&t, 1);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "0 baking", "after 1m", "0 silent", "= deadline 4m",
	     "after 9m", "= soaking", "after 1m", "= rolling_back",
	     "= reason coordinator unreachable", "= reason-node 0", "after 10m", "= rolled_back",
	     "= goals R....");
	trace_end(&t);
}

/* Its verdict is in: a committed node may go away. */
static void test_silence_after_commit_is_no_failure(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	t.spec.stages[0].bake_ms = 1800000;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "0 silent", "after 25m",
	     "= widening", "1-4 serving", "after 1m", "= completed");
	trace_end(&t);
}

/* ... but when several go away, something may be wrong with what they were given. */
static void test_committed_nodes_fall_silent(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	t.spec.batch = (struct share){.value = 2};
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "1-2 serving", "0-1 silent",
	     "after 1m", "= soaking", "after 119m", "= paused",
	     "= reason coordinator unreachable 2 of 3");
	trace_end(&t);
}

static void test_silent_node_is_not_let_go(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "1 silent", "after 5m", "= goals SFSSS");
	trace_end(&t);
}

/* Back within its time, it gets the full time again for what it was at. */
static void test_back_in_time(void **state)
{
	struct trace t;

	begin_wide(&t, 1);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "after 1m", "0 silent", "after 9m", "= canary", "0 answers",
	     "after 9m", "= canary", "0 serving", "= soaking");
	trace_end(&t);
}

static void test_lost_node_gives_way_and_may_return(void **state)
{
	struct trace t;

	begin_wide(&t, 1);
	t.spec.failures.unreachable = (struct share){true, 50};
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "= goals SSFFF", "1 silent",
	     "after 9m", "= goals SSFFF", "= places 1", "after 1m", "= goals SSSFF",
	     "= note node_unreachable", "1 answers", "1 baking", "2-4 serving", "after 2m",
	     "= soaking", "1 serving", "= completed", "= says 5 of 5");
	trace_end(&t);
}

/* A node's latest word counts, as long as the coordinator has not taken it back. */
static void test_failed_and_then_not(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	t.spec.failures.nodes = 1;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "1 rolled_back", "1 serving",
	     "2 rolled_back", "= widening", "3-4 serving", "after 1m", "= completed",
	     "= says 4 of 5 nodes serve the release, 1 failed");
	trace_end(&t);
}

static void test_failed_before_its_turn_is_not_let_go(void **state)
{
	struct trace t;

	begin_wide(&t, 1);
	t.spec.failures.nodes = 1;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "= goals SSFFF", "2 rolled_back",
	     "1 serving", "= goals SSFSF");
	trace_end(&t);
}

/* spec: ROLL-8 */
static void test_late_node_is_skipped_and_catches_up(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	t.spec.batch = (struct share){.value = 2};
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "0 serving", "1 silent", "after 5m", "2-4 staged",
	     "= goals SFSFF", "2 serving", "after 1m", "= stage 1 passed", "= goals SFSSS",
	     "1 answers", "= goals SFSSS", "1 staged", "= goals SSSSS", "3-4 serving", "after 1m",
	     "= soaking", "1 serving", "= completed");
	trace_end(&t);
}

static void test_canary_that_never_answers_asks_a_person(void **state)
{
	struct trace t;

	begin_wide(&t, 1);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 silent", "after 119m", "= staging", "after 1m", "= paused",
	     "= hold inconclusive", "= reason coordinator unreachable", "= deadline none", "resume",
	     "= staging", "after 2h", "= paused", "resume", "after 1h", "0 staged", "= canary",
	     "0 baking", "= soaking", "0 serving", "= widening");
	trace_end(&t);
}

/* spec: ROLL-7 */
static void test_many_silent_nodes_ask_a_person(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "0 serving", "3-4 silent", "after 5m", "1-2 staged",
	     "1-2 serving", "after 1m", "= soaking", "= stage 1 baking", "after 2h", "= paused",
	     "= reason coordinator unreachable 2 of 5", "promote", "= completed",
	     "= says 2 unreachable");
	trace_end(&t);
}

static void test_nobody_new_while_many_are_silent(void **state)
{
	struct trace t;

	begin_wide(&t, 2);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "= goals SSSFF", "1 silent",
	     "2 baking", "= goals SSSFF", "1 answers", "= goals SSSSF");
	trace_end(&t);
}

/* ---- deadlines ---- */

static void test_one_slow_node_is_tolerated(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	t.spec.failures.nodes = 1;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "1 starting", "2-4 serving",
	     "= widening", "after 9m", "= widening", "after 1m", "= note node_failed",
	     "= goals SRSSS", "= node 1 failed", "= soaking", "1 reverting", "= node 1 failed",
	     "1 rolled_back", "= node 1 rolled_back", "after 1m", "= completed");
	trace_end(&t);
}

static void test_stage_deadline(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 fetching", "after 119m", "= staging", "after 1m", "= rolled_back",
	     "= reason deadline stage", "= reason-node 0");
	trace_end(&t);
}

static void test_rollout_deadline(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	t.spec.deadlines.rollout_ms = 1800000;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged", "0 serving", "after 30m", "= rolling_back",
	     "= reason deadline rollout");
	trace_end(&t);
}

/* spec: ROLL-13 */
static void test_pause_stops_the_clock(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "after 1h", "= deadline 1h", "pause", "= paused", "= hold operator",
	     "= deadline none", "after 5h", "= paused", "resume", "= staging", "= hold none",
	     "= deadline 1h",
	     "= paused 5h", "after 59m", "= staging", "after 1m", "= rolled_back");
	trace_end(&t);
}

/* The node's bake goes on in a pause; its failure is still a failure. */
/* spec: ROLL-13 */
static void test_pause_keeps_nodes_and_sees_failures(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 baking", "pause", "= goals SFFFF", "after 1h",
	     "0 serving", "= paused", "= goals SFFFF", "resume", "= widening");
	trace_end(&t);
	begin_wide(&t, 4);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 baking", "pause", "0 rolled_back", "= rolling_back");
	trace_end(&t);
}

static void test_window(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	trace_plan(&t, 5, false);
	PLAY(&t, "window-closed", "start", "0 staged", "= staging", "= goals F....",
	     "= says waits for its switching window", "after 20h", "= staging", "window-open",
	     "= canary", "0 baking", "window-closed", "after 5m", "0 serving", "= widening",
	     "1-4 staged", "= goals SFFFF", "after 20h", "window-open", "= goals SSSSS");
	trace_end(&t);
}

/* spec: ROLL-19 */
static void test_freeze(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "freeze", "after 1h",
	     "= soaking", "= goals SFFFF", "unfreeze", "= goals SSSSS", "freeze", "1 rolled_back",
	     "= rolling_back", "= goals RRRRR");
	trace_end(&t);
}

/* ---- budgets ---- */

static void test_out_of_service_nodes_use_the_budget(void **state)
{
	struct trace t;

	begin_wide(&t, 1);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "= goals SSFFF", "0 sick",
	     "1 baking", "= places 0", "= goals SSFFF", "0 serving", "= goals SSSFF");
	trace_end(&t);
}

/* spec: ROLL-5 */
static void test_budget_per_site(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	t.spec.batch = (struct share){.value = 6};
	STR_CUT(t.spec.per_label, "site");
	t.spec.per_label_nodes = 1;
	t.spec.strategy = STRATEGY_ROLLING;
	trace_plan(&t, 6, false); /* two in each of three sites */
	PLAY(&t, "start", "all staged", "= places 3");
	for (uint32_t i = 0; i < 6; i++)
		for (uint32_t j = 0; j < i; j++) {
			const struct rollout_node *a = &t.rollout->nodes[i];
			const struct rollout_node *b = &t.rollout->nodes[j];

			assert_false(a->group == b->group && a->place && b->place);
		}
	PLAY(&t, "all serving", "after 1m", "= completed");
	trace_end(&t);
}

static void test_another_deployment_is_busy_there(void **state)
{
	struct trace t;

	begin_wide(&t, 2);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "1 busy", "after 5m", "= goals SFSFF",
	     "= places 1", "2 baking", "= goals SFSSF", "1 free", "= goals SSSSF");
	trace_end(&t);
}

/* ---- gates and evidence ---- */

static void require_evidence(struct trace *t, uint64_t min_bake_ms, uint64_t deadline_ms)
{
	t->spec.gates = mem_array(1, sizeof(*t->spec.gates));
	t->spec.gates_count = 1;
	t->spec.gates[0].require = GATE_EVIDENCE;
	t->spec.gates[0].min_bake_ms = min_bake_ms;
	t->spec.gates[0].deadline_ms = deadline_ms;
}

static void test_a_failed_gate_takes_everybody_back(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "verdict inconclusive", "= soaking",
	     "verdict fail rates", "= rolling_back", "= reason coordinator errors rates",
	     "= stage 0 failed", "= goals R....", "= refused promote", "= refused promote-full",
	     "= refused resume", "0 rolled_back", "= rolled_back");
	trace_end(&t);
}

/* Evidence keeps adding up: also that of a stage that has passed. */
static void test_an_earlier_stage_turns_out_to_harm(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "= widening",
	     "verdict fail rates 0", "= rolling_back", "= goals RRRRR");
	trace_end(&t);
}

/* spec: ROLL-23 */
static void test_guard_rail_needs_no_evidence(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	require_evidence(&t, 0, 0);
	t.spec.gates[0].require = GATE_GUARD_RAIL;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "= widening");
	trace_end(&t);
}

/* spec: ROLL-23 */
static void test_required_evidence_is_waited_for(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	require_evidence(&t, 600000, 3600000);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "= soaking", "verdict pass",
	     "= soaking", "after 4m", "= soaking", "after 1m", "= widening", "1-4 serving",
	     "after 1h", "= paused", "= hold inconclusive", "= reason coordinator evidence",
	     "promote", "= completed");
	trace_end(&t);
}

static void test_inconclusive_may_mean_rollback_or_promote(void **state)
{
	struct trace t;

	begin_wide(&t, 4);
	require_evidence(&t, 0, 3600000);
	t.spec.on_inconclusive = INCONCLUSIVE_ROLLBACK;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "verdict inconclusive few", "after 59m",
	     "= soaking", "after 1m", "= rolling_back", "= reason coordinator errors few");
	trace_end(&t);
	begin_wide(&t, 4);
	require_evidence(&t, 0, 3600000);
	t.spec.on_inconclusive = INCONCLUSIVE_PROMOTE;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 59m", "= soaking", "after 1m",
	     "= widening");
	trace_end(&t);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_one_failure_is_tolerated),
	cmocka_unit_test(test_two_failures_are_not),
	cmocka_unit_test(test_percent_of_the_changed),
	cmocka_unit_test(test_unfit_node_counts_when_its_stage_opens),
	cmocka_unit_test(test_no_node_of_the_canary_took_it),
	cmocka_unit_test(test_failed_and_out_of_service_holds_its_place),
	cmocka_unit_test(test_silent_canary_is_waited_for),
	cmocka_unit_test(test_canary_lost_for_good),
	cmocka_unit_test(test_silence_after_commit_is_no_failure),
	cmocka_unit_test(test_committed_nodes_fall_silent),
	cmocka_unit_test(test_silent_node_is_not_let_go),
	cmocka_unit_test(test_back_in_time),
	cmocka_unit_test(test_lost_node_gives_way_and_may_return),
	cmocka_unit_test(test_failed_and_then_not),
	cmocka_unit_test(test_failed_before_its_turn_is_not_let_go),
	cmocka_unit_test(test_late_node_is_skipped_and_catches_up),
	cmocka_unit_test(test_canary_that_never_answers_asks_a_person),
	cmocka_unit_test(test_many_silent_nodes_ask_a_person),
	cmocka_unit_test(test_nobody_new_while_many_are_silent),
	cmocka_unit_test(test_one_slow_node_is_tolerated),
	cmocka_unit_test(test_stage_deadline),
	cmocka_unit_test(test_rollout_deadline),
	cmocka_unit_test(test_pause_stops_the_clock),
	cmocka_unit_test(test_pause_keeps_nodes_and_sees_failures),
	cmocka_unit_test(test_window),
	cmocka_unit_test(test_freeze),
	cmocka_unit_test(test_out_of_service_nodes_use_the_budget),
	cmocka_unit_test(test_budget_per_site),
	cmocka_unit_test(test_another_deployment_is_busy_there),
	cmocka_unit_test(test_a_failed_gate_takes_everybody_back),
	cmocka_unit_test(test_an_earlier_stage_turns_out_to_harm),
	cmocka_unit_test(test_guard_rail_needs_no_evidence),
	cmocka_unit_test(test_required_evidence_is_waited_for),
	cmocka_unit_test(test_inconclusive_may_mean_rollback_or_promote),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
