/* SPDX-License-Identifier: Apache-2.0 */
/* The coordinator's veto, ways back that fail, and what is done for a committed release. */
#include "traces.h"

/* spec: NODE-13 */
static void coordinator_veto_goes_back_at_once_and_drains(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	world_assignment(&w, 0)->hold_old = true;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 100000);
	assert_completed(&w, 0, R2);
	world_log(&w);
	world_assignment(&w, 0)->revert = true;
	world_desire(&w);
	assert_state(&w, 0, REVERTING);
	world_run(&w, 150);
	assert_serves(&w, 0, R1);
	assert_state(&w, 0, ROLLED_BACK);
	assert_int_equal(world_report(&w, 0).rollout.bytes[0], 2);
	assert_string_equal(world_report(&w, 0).last.reason.phase, "coordinator");
	world_run(&w, 20000);
	assert_log(&w, "route r1 blue\nstop r2 green\n"); /* no bake, no smoke */
	assert_int_equal(w.resets, 0);
	assert_int_equal(w.deployments[0].dark_ms, 0);
	assert_false(
		deploy_vetoes(world_deploy(&w, 0), &R2, 0)); /* it was not this node's verdict */
	world_free(&w);
}

static void coordinator_veto_in_the_bake(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 30000);
	world_log(&w);
	world_assignment(&w, 0)->revert = true;
	world_desire(&w);
	world_run(&w, 20000);
	assert_log(&w, "route r1 blue\nstop r2 green\n");
	assert_int_equal(w.resets, 0);
	world_free(&w);
}

static void coordinator_veto_starts_base_from_disk_when_it_is_not_warm(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 1000000); /* hold_old is false: r1 was stopped after keep_warm */
	world_log(&w);
	world_assignment(&w, 0)->revert = true;
	world_desire(&w);
	world_run(&w, 20000);
	assert_log(&w, "start r1 blue\nroute r1 blue\nstop r2 green\n");
	assert_int_equal(w.deployments[0].dark_ms, 0);
	world_free(&w);
}

static void coordinator_veto_of_a_first_install_removes_it(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_rollout(&w, 0, R0, R1, GOAL_SERVE);
	world_run(&w, 100000);
	world_log(&w);
	world_assignment(&w, 0)->revert = true;
	world_desire(&w);
	world_run(&w, 20000);
	assert_log(&w, "close\nstop r1 blue\n");
	assert_state(&w, 0, ROLLED_BACK);
	assert_int_equal(w.resets, 0);
	world_free(&w);
}

/* The fleet has r2, which this node has vetoed; r3 is committed here and then taken back. */
static void begin_withdrawal(struct world *w, bool hold_old)
{
	world_init(w, 1);
	trace_installed(w, 0, R1);
	w->behaviour[2].smoke_fails = true;
	trace_rollout(w, 0, R1, R2, GOAL_SERVE);
	world_run(w, 10000);
	trace_complete(w, 0, R2);
	world_assignment(w, 0)->hold_old = hold_old;
	trace_rollout(w, 0, R2, R3, GOAL_SERVE);
	world_run(w, 1000000);
	assert_completed(w, 0, R3);
	world_log(w);
	world_assignment(w, 0)->revert = true;
	world_assignment(w, 0)->next = R0;
	world_assignment(w, 0)->goal = GOAL_NONE;
	world_desire(w);
	world_run(w, 20000);
}

/* spec: NODE-14 */
static void coordinator_veto_with_a_vetoed_base_goes_back_to_what_was_before(void **state)
{
	struct world w;

	begin_withdrawal(&w, true);
	assert_log(&w, "route r1 blue\nstop r3 green\n");
	assert_serves(&w, 0, R1);
	assert_state(&w, 0, ROLLED_BACK);
	assert_int_equal(world_report(&w, 0).rollout.bytes[0], R3.bytes[0]);
	world_restart(&w);
	world_run(&w, 10000);
	world_log(&w); /* the map is set again */
	world_run(&w, 3600000);
	assert_log(&w, ""); /* not on and back for ever */
	assert_serves(&w, 0, R1);
	assert_int_equal(w.deployments[0].dark_ms, 0);
	trace_complete(&w, 0, R2); /* the rollout is forgotten */
	world_run(&w, 3600000);
	assert_serves(&w, 0, R1);
	world_free(&w);

	begin_withdrawal(&w, false); /* cold */
	assert_log(&w, "start r1 blue\nroute r1 blue\nstop r3 green\n");
	assert_int_equal(w.deployments[0].dark_ms, 0);
	world_free(&w);
}

static void coordinator_veto_before_the_switch_drops_the_idle_slot(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_PREPARE);
	world_run(&w, 10000);
	world_log(&w);
	world_assignment(&w, 0)->revert = true;
	world_desire(&w);
	world_run(&w, 20000);
	assert_log(&w, "stop r2 green\n");
	assert_state(&w, 0, ROLLED_BACK);
	world_free(&w);
}

static void coordinator_veto_to_a_base_that_was_never_here_fetches_it(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE); /* a new node in the middle of a rollout */
	world_run(&w, 100000);
	world_log(&w);
	world_assignment(&w, 0)->revert = true;
	world_desire(&w);
	world_run(&w, 100000);
	assert_log(&w, "fetch r1\npreflight r1\nunpack r1\nstart r1 green\nsmoke r1 green\n"
		       "route r1 green\n");
	assert_serves(&w, 0, R1);
	assert_int_equal(w.deployments[0].dark_ms, 0);
	world_free(&w);
}

/* spec: NODE-15 */
static void a_way_back_that_fails_keeps_what_answers_and_never_loops(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 1000000);
	w.behaviour[1].start_fails = true; /* gone from disk */
	world_log(&w);
	world_assignment(&w, 0)->revert = true;
	world_desire(&w);
	world_run(&w, 3600000);
	assert_log(&w, "start r1 blue\nkill r1 blue\n");
	assert_state(&w, 0, FAILED);
	assert_serves(&w, 0, R2);
	assert_int_equal(w.deployments[0].dark_ms, 0);
	world_restart(&w);
	world_run(&w, 3600000);
	assert_state(&w, 0, FAILED);
	w.behaviour[1].start_fails = false;
	world_assignment(&w, 0)->attempt = 1; /* retry */
	world_desire(&w);
	world_run(&w, 60000);
	assert_serves(&w, 0, R1);
	world_free(&w);
}

/* spec: NODE-15 */
static void when_both_are_bad_the_bad_one_that_answers_stays(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[1].start_fails = true;
	w.behaviour[2].sour_ms = 30000;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 20000);
	world_exit(&w, 0, COLOUR_BLUE);
	world_run(&w, 60000);
	assert_state(&w, 0, FAILED);
	assert_true(w.deployments[0].open);
	assert_true(w.deployments[0].slots[COLOUR_GREEN].alive); /* r2: unhealthy, but there */
	/* It exits: r2 may not be started again, r1 is tried with growing distance until it runs.
	 */
	world_exit(&w, 0, COLOUR_GREEN);
	world_run(&w, 600000);
	assert_false(world_answers(&w, 0, NULL));
	w.behaviour[1].start_fails = false;
	world_run(&w, 120000);
	assert_serves(&w, 0, R1);
	world_free(&w);
}

static void what_only_stayed_because_of_a_failed_return_gives_way_when_it_ends(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[1].start_fails = true;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 20000);
	world_exit(&w, 0, COLOUR_BLUE);
	world_assignment(&w, 0)->revert = true;
	world_desire(&w);
	world_run(&w, 60000);
	assert_state(&w, 0, FAILED);
	assert_serves(&w, 0, R2); /* was never committed */
	w.behaviour[1].start_fails = false;
	world_log(&w);
	world_exit(&w, 0, COLOUR_GREEN);
	world_run(&w, 20000);
	assert_log(&w, "close\nstart r1 blue\nkill r2 green\nroute r1 blue\n");
	assert_state(&w, 0, ROLLED_BACK);
	world_free(&w);
}

static void a_map_that_cannot_be_changed_does_not_end_the_way_back(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 20000);
	w.route_fails = true;
	world_assignment(&w, 0)->revert = true;
	world_desire(&w);
	world_run(&w, 3600000);
	assert_state(&w, 0, REVERTING);
	assert_serves(&w, 0, R2);
	w.route_fails = false;
	world_run(&w, 2000);
	assert_serves(&w, 0, R1);
	assert_state(&w, 0, ROLLED_BACK);
	world_free(&w);
}

static void what_answered_against_a_veto_bakes_again_on_retry(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[1].start_fails = true;
	w.behaviour[2].sour_ms = 30000;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 20000);
	world_exit(&w, 0, COLOUR_BLUE);
	world_run(&w, 60000);
	assert_state(&w, 0, FAILED);
	w.behaviour[2].sour_ms = 0; /* somebody put right what it depends on */
	world_log(&w);
	world_run(&w, 600000);
	assert_state(&w, 0, FAILED); /* healthy, but vetoed: only retry helps */
	world_assignment(&w, 0)->attempt = 1;
	world_desire(&w);
	assert_phase(&w, 0, BAKING);
	world_run(&w, 70000);
	assert_log(&w, "");
	assert_completed(&w, 0, R2);
	assert_int_equal(world_report(&w, 0).last.rollout.bytes[0], 2);
	assert_int_equal(world_report(&w, 0).last.attempt, 1);
	world_free(&w);
}

static void a_warm_slot_that_dies_in_the_flip_gets_one_cold_start(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[2].exit_ms = 30000;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	while (world_deploy(&w, 0)->record.phase != DEPLOY_REVERTING)
		world_run(&w, 10);
	world_exit(&w, 0, COLOUR_BLUE);
	world_run(&w, 10000);
	assert_state(&w, 0, ROLLED_BACK);
	assert_serves(&w, 0, R1);
	world_free(&w);
}

static void the_slot_that_is_left_is_not_started_again(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 1000000);
	w.behaviour[1].ready_ms = 4000; /* the way back is cold and slow */
	world_log(&w);
	world_assignment(&w, 0)->revert = true;
	world_desire(&w);
	world_run(&w, 1000);
	w.deployments[0].slots[COLOUR_GREEN].alive = false;
	world_restart(&w);
	world_run(&w, 20000);
	assert_log(&w, "start r1 blue\nclose\nkill r2 green\nroute r1 blue\n");
	assert_serves(&w, 0, R1);
	world_free(&w);
}

static void a_committed_container_that_exits_is_started_again(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	world_exit(&w, 0, COLOUR_BLUE);
	world_run(&w, 5000);
	assert_log(&w, "close\nkill r1 blue\nstart r1 blue\nroute r1 blue\n");
	assert_state(&w, 0, SERVING);
	assert_true(w.deployments[0].dark_ms < 2000);
	world_free(&w);
}

static void a_crash_loop_after_commit_goes_back_to_the_previous_release(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 70000);
	trace_complete(&w, 0, R2);
	world_run(&w, 1000000);
	world_log(&w);
	for (int i = 0; i < 3; i++) {
		world_exit(&w, 0, COLOUR_GREEN);
		world_run(&w, 20000);
	}
	assert_log(&w, "close\nkill r2 green\nstart r2 green\nroute r2 green\n"
		       "close\nkill r2 green\nstart r2 green\nroute r2 green\n"
		       "close\nstart r1 blue\nkill r2 green\nroute r1 blue\n");
	assert_serves(&w, 0, R1);
	assert_string_equal(world_report(&w, 0).last.reason.check, "crash_loop");
	assert_true(deploy_vetoes(world_deploy(&w, 0), &R2, 0));
	world_run(&w, 1000000); /* base is r2, vetoed here */
	assert_serves(&w, 0, R1);
	assert_state(&w, 0, ROLLED_BACK);
	assert_int_equal(world_report(&w, 0).target.bytes[0], R2.bytes[0]);
	world_free(&w);
}

static void a_crash_loop_with_nothing_to_go_back_to_keeps_trying(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[1].exit_ms = 2000;
	world_exit(&w, 0, COLOUR_BLUE);
	world_run(&w, 600000);
	assert_state(&w, 0, FAILED);
	w.behaviour[1].exit_ms = 0;
	world_run(&w, 120000);
	assert_serves(&w, 0, R1);
	assert_state(&w, 0, SERVING);
	world_free(&w);
}

static void a_committed_container_that_hangs_is_started_again(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[1].sour_ms = w.now - w.deployments[0].slots[COLOUR_BLUE].started_ms + 5000;
	world_run(&w, 20000);
	assert_log(&w, "close\nkill r1 blue\nstart r1 blue\nroute r1 blue\n");
	assert_serves(&w, 0, R1);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(coordinator_veto_goes_back_at_once_and_drains),
		cmocka_unit_test(coordinator_veto_in_the_bake),
		cmocka_unit_test(coordinator_veto_starts_base_from_disk_when_it_is_not_warm),
		cmocka_unit_test(coordinator_veto_of_a_first_install_removes_it),
		cmocka_unit_test(
			coordinator_veto_with_a_vetoed_base_goes_back_to_what_was_before),
		cmocka_unit_test(coordinator_veto_before_the_switch_drops_the_idle_slot),
		cmocka_unit_test(coordinator_veto_to_a_base_that_was_never_here_fetches_it),
		cmocka_unit_test(a_way_back_that_fails_keeps_what_answers_and_never_loops),
		cmocka_unit_test(when_both_are_bad_the_bad_one_that_answers_stays),
		cmocka_unit_test(
			what_only_stayed_because_of_a_failed_return_gives_way_when_it_ends),
		cmocka_unit_test(a_map_that_cannot_be_changed_does_not_end_the_way_back),
		cmocka_unit_test(what_answered_against_a_veto_bakes_again_on_retry),
		cmocka_unit_test(a_warm_slot_that_dies_in_the_flip_gets_one_cold_start),
		cmocka_unit_test(the_slot_that_is_left_is_not_started_again),
		cmocka_unit_test(a_committed_container_that_exits_is_started_again),
		cmocka_unit_test(a_crash_loop_after_commit_goes_back_to_the_previous_release),
		cmocka_unit_test(a_crash_loop_with_nothing_to_go_back_to_keeps_trying),
		cmocka_unit_test(a_committed_container_that_hangs_is_started_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
