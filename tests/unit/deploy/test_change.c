/* SPDX-License-Identifier: Apache-2.0 */
/* Changes that go well: every step in its order, and nothing before its time. */
#include "traces.h"

/* spec: NODE-1, NODE-2 */
static void first_install_serves_after_smoke_and_commits_after_bake(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_rollout(&w, 0, R0, R1, GOAL_SERVE);
	world_run(&w, 5000);
	assert_log(&w, "fetch r1\npreflight r1\nunpack r1\nstart r1 blue\nsmoke r1 blue\n"
		       "route r1 blue\n");
	assert_phase(&w, 0, BAKING);
	assert_state(&w, 0, BAKING);
	world_run(&w, 60000);
	assert_phase(&w, 0, IDLE);
	assert_state(&w, 0, SERVING);
	assert_completed(&w, 0, R1);
	assert_log(&w, "");
	world_free(&w);
}

/* A node that cannot ask knows nothing: it neither commits nor blames the release, and what serves
 * goes on. */
static void probes_that_cannot_be_asked_decide_nothing(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.blind = true;
	world_run(&w, 600000);
	assert_serves(&w, 0, R1);
	w.blind = false;
	world_run(&w, 5000);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 5000);
	assert_phase(&w, 0, BAKING);
	w.blind = true;
	world_run(&w, 600000);
	assert_phase(&w, 0, BAKING);
	assert_serves(&w, 0, R2);
	w.blind = false;
	world_run(&w, 5000);
	assert_completed(&w, 0, R2);
	assert_int_equal(w.deployments[0].dark_ms, 0);
	world_free(&w);
}

/* spec: NODE-4 */
static void swap_keeps_the_old_slot_until_keep_warm_is_over(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 65000);
	assert_log(&w, "fetch r2\npreflight r2\nunpack r2\nstart r2 green\nsmoke r2 green\n"
		       "route r2 green\n");
	assert_phase(&w, 0, IDLE);
	assert_int_equal(world_report(&w, 0).slots[COLOUR_BLUE].state, SLOT_STATE_WARM);
	world_run(&w, 110000);
	assert_log(&w, "");
	world_run(&w, 20000); /* 120 s after the commit */
	assert_log(&w, "stop r1 blue\n");
	assert_serves(&w, 0, R2);
	assert_int_equal(w.deployments[0].dark_ms, 0);
	assert_int_equal(w.resets, 0);
	world_free(&w);
}

/* spec: NODE-4 */
static void old_slot_stays_warm_while_the_rollout_has_not_ended(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	world_assignment(&w, 0)->hold_old = true;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 3600000);
	assert_int_equal(world_report(&w, 0).slots[COLOUR_BLUE].state, SLOT_STATE_WARM);
	trace_complete(&w, 0, R2);
	world_run(&w, 1000);
	assert_int_equal(world_report(&w, 0).slots[COLOUR_BLUE].state, SLOT_STATE_EMPTY);
	world_free(&w);
}

/* spec: NODE-5 */
static void memory_pressure_stops_a_warm_slot_early(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	world_assignment(&w, 0)->hold_old = true;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 30000);
	world_log(&w);
	world_all(&w, DEPLOY_EVENT_MEMORY_PRESSURE); /* in the bake the old slot is needed */
	world_run(&w, 1000);
	assert_log(&w, "");
	world_run(&w, 60000);
	world_all(&w, DEPLOY_EVENT_MEMORY_PRESSURE);
	world_run(&w, 1000);
	assert_log(&w, "stop r1 blue\n");
	world_free(&w);
}

/* spec: NODE-10 */
static void drain_lasts_until_connections_end_or_drain_is_over(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 3000);
	assert_int_equal(world_report(&w, 0).slots[COLOUR_BLUE].state, SLOT_STATE_DRAINING);
	world_run(&w, 4000); /* connections last 3 s, counted each second */
	assert_int_equal(world_report(&w, 0).slots[COLOUR_BLUE].state, SLOT_STATE_WARM);
	world_free(&w);

	world_init(&w, 1);
	w.connections_last_ms = 10000000;
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 9000);
	assert_int_equal(world_report(&w, 0).slots[COLOUR_BLUE].state, SLOT_STATE_DRAINING);
	world_run(&w, 3000);
	assert_int_equal(world_report(&w, 0).slots[COLOUR_BLUE].state, SLOT_STATE_WARM);
	assert_int_equal(w.closed, 3); /* once, and only then */
	world_run(&w, 300000);
	assert_int_equal(w.closed, 3);
	assert_int_equal(w.resets, 0); /* nobody is left when it is stopped */
	assert_log(&w, "fetch r2\npreflight r2\nunpack r2\nstart r2 green\nsmoke r2 green\n"
		       "route r2 green\nreset r1 blue\nstop r1 blue\n");
	world_free(&w);
}

static void goal_fetch_stops_when_the_release_is_on_disk(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_FETCH);
	world_run(&w, 100000);
	assert_log(&w, "fetch r2\n");
	assert_state(&w, 0, STAGED);
	assert_true(world_report(&w, 0).staged);
	assert_false(world_report(&w, 0).proven);
	assert_serves(&w, 0, R1);
	world_free(&w);
}

static void goal_prepare_stops_when_proven_and_switches_on_promote(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_PREPARE);
	world_run(&w, 3600000); /* the node deadline does not run while it waits for a person */
	assert_log(&w, "fetch r2\npreflight r2\nunpack r2\nstart r2 green\nsmoke r2 green\n");
	assert_phase(&w, 0, PROVEN);
	assert_true(world_report(&w, 0).proven);
	assert_serves(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 200);
	assert_log(&w, "route r2 green\n");
	assert_serves(&w, 0, R2);
	world_free(&w);
}

static void proven_slot_is_watched_while_it_waits(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[2].sour_ms = 100000;
	trace_rollout(&w, 0, R1, R2, GOAL_PREPARE);
	world_run(&w, 90000);
	assert_true(world_report(&w, 0).proven);
	world_log(&w);
	world_run(&w, 20000);
	assert_log(&w, "kill r2 green\n");
	assert_state(&w, 0, ROLLED_BACK);
	assert_serves(&w, 0, R1);
	assert_int_equal(w.deployments[0].dark_ms, 0);
	world_free(&w);
}

/* spec: NODE-16 */
static void stop_first_never_runs_two(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	world_assignment(&w, 0)->swap = SWAP_STOP_FIRST;
	trace_rollout(&w, 0, R1, R2, GOAL_PREPARE);
	world_run(&w, 30000);
	assert_log(&w, "fetch r2\npreflight r2\nunpack r2\n"); /* as far as one can get beside r1 */
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 100000);
	assert_log(&w, "close\nstop r1 blue\nstart r2 green\nsmoke r2 green\nroute r2 green\n");
	assert_int_equal(w.resets, 0); /* drained before it was stopped */
	assert_state(&w, 0, SERVING);
	world_free(&w);
}

/* spec: NODE-29 */
static void time_windows_hold_download_and_switch(void **state)
{
	struct assignment *a;
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	a = world_assignment(&w, 0);
	STR_CUT(a->windows.download, "22:00-06:00");
	STR_CUT(a->windows.swap, "01:00-05:00");
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 10000);
	assert_log(&w, "");
	world_event(&w, 0,
		    (struct deploy_event){.kind = DEPLOY_EVENT_WINDOWS, .download_open = true});
	world_run(&w, 10000);
	assert_log(&w, "fetch r2\n");
	world_event(&w, 0,
		    (struct deploy_event){.kind = DEPLOY_EVENT_WINDOWS, .switch_open = true});
	world_run(&w, 250); /* closes again while it is being prepared */
	world_event(&w, 0, (struct deploy_event){.kind = DEPLOY_EVENT_WINDOWS});
	world_run(&w, 3600000);
	assert_phase(&w, 0, PROVEN);
	assert_serves(&w, 0, R1);
	world_log(&w);
	world_event(&w, 0,
		    (struct deploy_event){.kind = DEPLOY_EVENT_WINDOWS, .switch_open = true});
	world_run(&w, 1000);
	assert_log(&w, "route r2 green\n");
	world_free(&w);
}

static void a_dead_link_is_waited_for(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.link_down = true;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 3600000);
	assert_phase(&w, 0, FETCHING);
	world_event(&w, 0, (struct deploy_event){.kind = DEPLOY_EVENT_FETCH_FAILED, .release = R2});
	assert_phase(&w, 0, FETCHING); /* not permanent */
	w.link_down = false;
	world_run(&w, 10000);
	assert_phase(&w, 0, BAKING);
	world_free(&w);
}

/* spec: NODE-3 */
static void bake_commits_without_the_coordinator(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 2000);
	w.link_down = true;
	world_run(&w, 100000);
	assert_completed(&w, 0, R2);
	world_free(&w);
}

/* spec: NODE-3 */
static void bake_ends_only_on_a_healthy_answer(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[2].sour_ms = 60000; /* two failures, not three, when the bake is over */
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 61500);
	assert_phase(&w, 0, BAKING);
	world_run(&w, 5000);
	assert_state(&w, 0, ROLLED_BACK);
	world_free(&w);
}

static void a_late_node_takes_the_full_pipeline_to_base(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_complete(&w, 0, R2);
	world_run(&w, 100000);
	assert_log(&w, "fetch r2\npreflight r2\nunpack r2\nstart r2 green\nsmoke r2 green\n"
		       "route r2 green\n");
	assert_completed(&w, 0, R2);
	world_free(&w);
}

static void a_late_node_gets_base_until_its_stage_opens(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_rollout(&w, 0, R1, R2, GOAL_FETCH);
	world_run(&w, 100000);
	assert_log(&w, "fetch r1\npreflight r1\nunpack r1\nstart r1 blue\nsmoke r1 blue\n"
		       "route r1 blue\nfetch r2\n");
	assert_serves(&w, 0, R1);
	assert_state(&w, 0, STAGED);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 100000);
	assert_serves(&w, 0, R2);
	world_free(&w);
}

static void undo_reuses_the_warm_slot_but_proves_it_anew(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 70000);
	trace_complete(&w, 0, R2);
	world_log(&w);
	trace_rollout(&w, 0, R2, R1, GOAL_SERVE);
	world_run(&w, 110);
	assert_phase(&w, 0, READYING); /* an answer from before does not count */
	world_run(&w, 100000);
	assert_log(&w, "fetch r1\nsmoke r1 blue\nroute r1 blue\n");
	assert_state(&w, 0, SERVING);
	assert_int_equal(w.deployments[0].dark_ms, 0);
	world_free(&w);
}

static void nothing_happens_when_the_release_runs_already(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R1, GOAL_SERVE);
	world_run(&w, 100000);
	assert_log(&w, "");
	assert_state(&w, 0, SERVING);
	assert_true(world_report(&w, 0).staged);
	assert_true(world_report(&w, 0).proven);
	assert_int_equal(world_report(&w, 0).rollout.bytes[0], 1);
	world_free(&w);
}

static void superseded_before_the_switch_discards_the_idle_slot(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_PREPARE);
	world_run(&w, 5000);
	world_log(&w);
	trace_rollout(&w, 0, R1, R3, GOAL_SERVE);
	world_run(&w, 5000);
	assert_log(&w, "fetch r3\nstop r2 green\npreflight r3\nunpack r3\nstart r3 green\n"
		       "smoke r3 green\nroute r3 green\n");
	assert_false(deploy_vetoes(world_deploy(&w, 0), &R2, 0));
	world_free(&w);
}

static void superseded_in_the_bake_goes_back_first_and_drains(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 30000);
	world_log(&w);
	trace_rollout(&w, 0, R1, R3, GOAL_SERVE);
	world_run(&w, 30000);
	assert_log(&w, "route r1 blue\nfetch r3\nstop r2 green\npreflight r3\nunpack r3\n"
		       "start r3 green\nsmoke r3 green\nroute r3 green\n");
	assert_int_equal(w.resets, 0);
	assert_int_equal(w.deployments[0].dark_ms, 0);
	world_free(&w);
}

static void rollout_that_completes_in_a_late_bake_changes_nothing(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 30000);
	world_log(&w);
	trace_complete(&w, 0, R2);
	world_run(&w, 35000);
	assert_log(&w, "");
	assert_completed(&w, 0, R2);
	world_free(&w);
}

/* spec: NODE-18 */
static void removal_drains_then_stops(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	world_assignment(&w, 0)->deployment[0] = 0;
	world_desire(&w);
	world_run(&w, 2500);
	assert_log(&w, "close\n");
	world_run(&w, 20000);
	assert_log(&w, "stop r1 blue\n");
	assert_int_equal(w.resets, 0);
	assert_null(world_deploy(&w, 0));
	assert_false(w.deployments[0].is_saved);
	world_free(&w);
}

static void removal_can_be_taken_back_while_it_drains(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	world_assignment(&w, 0)->deployment[0] = 0;
	world_desire(&w);
	world_run(&w, 500);
	STR_CUT(w.assignments[0].deployment, "ocr");
	world_desire(&w);
	world_run(&w, 20000);
	assert_log(&w, "close\nroute r1 blue\n");
	assert_state(&w, 0, SERVING);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_install_serves_after_smoke_and_commits_after_bake),
		cmocka_unit_test(swap_keeps_the_old_slot_until_keep_warm_is_over),
		cmocka_unit_test(old_slot_stays_warm_while_the_rollout_has_not_ended),
		cmocka_unit_test(memory_pressure_stops_a_warm_slot_early),
		cmocka_unit_test(drain_lasts_until_connections_end_or_drain_is_over),
		cmocka_unit_test(goal_fetch_stops_when_the_release_is_on_disk),
		cmocka_unit_test(goal_prepare_stops_when_proven_and_switches_on_promote),
		cmocka_unit_test(proven_slot_is_watched_while_it_waits),
		cmocka_unit_test(stop_first_never_runs_two),
		cmocka_unit_test(time_windows_hold_download_and_switch),
		cmocka_unit_test(a_dead_link_is_waited_for),
		cmocka_unit_test(bake_commits_without_the_coordinator),
		cmocka_unit_test(bake_ends_only_on_a_healthy_answer),
		cmocka_unit_test(a_late_node_takes_the_full_pipeline_to_base),
		cmocka_unit_test(a_late_node_gets_base_until_its_stage_opens),
		cmocka_unit_test(undo_reuses_the_warm_slot_but_proves_it_anew),
		cmocka_unit_test(nothing_happens_when_the_release_runs_already),
		cmocka_unit_test(probes_that_cannot_be_asked_decide_nothing),
		cmocka_unit_test(superseded_before_the_switch_discards_the_idle_slot),
		cmocka_unit_test(superseded_in_the_bake_goes_back_first_and_drains),
		cmocka_unit_test(rollout_that_completes_in_a_late_bake_changes_nothing),
		cmocka_unit_test(removal_drains_then_stops),
		cmocka_unit_test(removal_can_be_taken_back_while_it_drains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
