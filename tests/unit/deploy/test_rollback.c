/* SPDX-License-Identifier: Apache-2.0 */
/* Changes that go wrong: who decides, how the node goes back, and what it remembers. */
#include "traces.h"

/* Installs r1, rolls r2 out and expects it to be rolled back for this reason. */
static void expect_rolled_back(struct world *w, const char *phase, const char *check)
{
	struct deployment_report report;

	trace_installed(w, 0, R1);
	trace_rollout(w, 0, R1, R2, GOAL_SERVE);
	world_run(w, 120000);
	report = world_report(w, 0);
	assert_int_equal(report.state, NODE_STATE_ROLLED_BACK);
	assert_int_equal(report.last.kind, OUTCOME_ROLLED_BACK);
	assert_int_equal(report.last.rollout.bytes[0], 2);
	assert_true(digest_equal(&report.last.release, &R2));
	assert_string_equal(report.last.reason.phase, phase);
	assert_string_equal(report.last.reason.check, check);
	assert_serves(w, 0, R1);
	assert_true(report.healthy);
	assert_true(deploy_vetoes(world_deploy(w, 0), &R2, 0));
	world_log(w);
	world_run(w, 3600000); /* and it stays so, although desired state still asks for r2 */
	assert_log(w, "");
}

/* spec: NODE-1 */
static void failures_before_the_switch_touch_nothing(void **state)
{
	static const struct {
		struct behaviour behaviour;
		const char *phase, *check;
	} cases[] = {
		{{.fetch_fails = true}, "fetch", "digest"},
		{{.preflight_fails = true}, "preflight", "memory"},
		{{.unpack_fails = true}, "unpack", "disk"},
		{{.start_fails = true}, "start", "start"},
		{{.ready_ms = WORLD_NEVER_READY}, "ready", "health"},
		{{.silent = true}, "ready", "health"},
		{{.ready_ms = 3000, .exit_ms = 1000}, "ready", "exited"},
		{{.smoke_fails = true}, "smoke", "smoke:seven"},
	};
	struct world w;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		world_init(&w, 1);
		w.behaviour[2] = cases[i].behaviour;
		expect_rolled_back(&w, cases[i].phase, cases[i].check);
		assert_int_equal(w.deployments[0].dark_ms, 0);
		assert_int_equal(w.resets, 0);
		world_free(&w);
	}
}

/* spec: NODE-8 */
static void never_ready_is_known_after_start_period_and_failures(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[2].ready_ms = WORLD_NEVER_READY;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 400 + 5000 + 1000); /* steps, start period, the first of three failures */
	assert_phase(&w, 0, READYING);
	world_run(&w, 3000);
	assert_state(&w, 0, ROLLED_BACK);
	world_free(&w);
}

/* spec: NODE-8 */
static void failures_in_the_start_period_do_not_count(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[2].ready_ms = 4900; /* four failed probes, then well */
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 10000);
	assert_phase(&w, 0, BAKING);
	world_free(&w);
}

/* spec: NODE-6, NODE-7 */
static void exit_in_the_bake_is_a_verdict_at_once(void **state)
{
	struct world w;

	world_init(&w, 1);
	w.behaviour[2].exit_ms = 30000;
	expect_rolled_back(&w, "bake", "exited");
	assert_int_equal(w.deployments[0].dark_ms, 100); /* one change of the map */
	world_free(&w);
}

/* spec: NODE-27 */
static void reason_carries_text_and_log(void **state)
{
	struct deployment_report report;
	struct world w;

	world_init(&w, 1);
	w.behaviour[2].exit_ms = 30000;
	expect_rolled_back(&w, "bake", "exited");
	report = world_report(&w, 0);
	assert_string_equal(report.last.reason.text, "exited with status 1");
	assert_string_equal(report.last.reason.log, "out of luck\n");
	world_free(&w);
}

static void a_log_that_comes_later_belongs_to_the_reason(void **state)
{
	struct deploy_event log = {.kind = DEPLOY_EVENT_SLOT_LOG, .release = R1, .log = "not mine"};
	struct world w;

	world_init(&w, 1);
	w.behaviour[2].smoke_fails = true;
	expect_rolled_back(&w, "smoke", "smoke:seven");
	world_event(&w, 0, log);
	assert_null(world_report(&w, 0).last.reason.log);
	log.release = R2;
	log.log = "label 1\n";
	world_event(&w, 0, log);
	log.log = "again";
	world_event(&w, 0, log);
	assert_string_equal(world_report(&w, 0).last.reason.log, "label 1\n");
	world_free(&w);
}

/* spec: NODE-6, NODE-7 */
static void sour_in_the_bake_after_failures_in_a_row(void **state)
{
	struct world w;

	world_init(&w, 1);
	w.behaviour[2].sour_ms = 30000;
	expect_rolled_back(&w, "bake", "health");
	/* at most failures x (interval + timeout), and one change of the map */
	assert_true(w.deployments[0].dark_ms <= 3 * 1500 + 100);
	world_free(&w);
}

static void silence_of_the_probes_in_the_bake_is_a_failure(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 30000);
	w.behaviour[2].silent = true;
	world_run(&w, 30000);
	assert_state(&w, 0, ROLLED_BACK);
	world_free(&w);
}

static void a_jump_of_the_clock_is_one_failure_and_not_three(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 30000);
	w.now += 20000; /* suspended */
	world_run(&w, 60000);
	assert_state(&w, 0, SERVING);
	world_free(&w);
}

/* spec: NODE-9 */
static void rollback_flips_the_map_before_it_kills(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[2].sour_ms = 30000;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 20000);
	world_log(&w);
	world_run(&w, 30000);
	assert_log(&w, "route r1 blue\nkill r2 green\n");
	assert_int_equal(w.resets, 3); /* a reset, not a hang */
	world_free(&w);
}

/* spec: NODE-5 */
static void cold_way_back_when_the_warm_slot_is_gone(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[2].exit_ms = 30000;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 30200);
	world_exit(&w, 0, COLOUR_BLUE); /* the out-of-memory killer takes both */
	world_log(&w);
	world_run(&w, 10000);
	assert_log(&w, "kill r1 blue\nclose\nstart r1 blue\nkill r2 green\nroute r1 blue\n");
	assert_state(&w, 0, ROLLED_BACK);
	assert_serves(&w, 0, R1);
	world_free(&w);
}

static void stop_first_goes_back_by_a_cold_start(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	world_assignment(&w, 0)->swap = SWAP_STOP_FIRST;
	w.behaviour[2].smoke_fails = true;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 30000);
	assert_log(&w, "fetch r2\npreflight r2\nunpack r2\nclose\nstop r1 blue\nstart r2 green\n"
		       "smoke r2 green\nkill r2 green\nstart r1 blue\nroute r1 blue\n");
	assert_state(&w, 0, ROLLED_BACK);
	assert_serves(&w, 0, R1);
	world_free(&w);
}

/* spec: NODE-16 */
static void stop_first_in_the_bake_never_runs_two(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	world_assignment(&w, 0)->swap = SWAP_STOP_FIRST;
	w.behaviour[2].sour_ms = 30000;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 25000);
	world_log(&w);
	world_run(&w, 30000);
	assert_log(&w, "close\nkill r2 green\nstart r1 blue\nroute r1 blue\n");
	assert_state(&w, 0, ROLLED_BACK);
	world_free(&w);
}

/* spec: NODE-17 */
static void first_install_that_fails_leaves_nothing(void **state)
{
	struct world w;

	world_init(&w, 1);
	w.behaviour[1].exit_ms = 10000;
	trace_rollout(&w, 0, R0, R1, GOAL_SERVE);
	world_run(&w, 8000);
	world_log(&w);
	world_run(&w, 3600000);
	assert_log(&w, "close\nkill r1 blue\n");
	assert_state(&w, 0, ROLLED_BACK);
	assert_int_equal(world_report(&w, 0).slots[COLOUR_BLUE].state, SLOT_STATE_EMPTY);
	world_free(&w);
}

/* spec: NODE-28 */
static void node_deadline_goes_back_and_says_so(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	world_assignment(&w, 0)->node_deadline_ms = 4000;
	w.behaviour[2].ready_ms = WORLD_NEVER_READY;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 10000);
	assert_state(&w, 0, ROLLED_BACK);
	assert_string_equal(world_report(&w, 0).last.reason.phase, "deadline");
	assert_string_equal(world_report(&w, 0).last.reason.check, "ready");
	world_free(&w);
}

static void a_map_that_cannot_be_changed_fails_the_switch(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.route_fails = true;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 10000);
	assert_phase(&w, 0, REVERTING);
	w.route_fails = false;
	world_run(&w, 10000);
	assert_state(&w, 0, ROLLED_BACK);
	assert_string_equal(world_report(&w, 0).last.reason.phase, "switch");
	assert_int_equal(w.deployments[0].dark_ms, 0);
	world_free(&w);
}

static void a_late_answer_about_the_map_is_put_right(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	world_event(&w, 0,
		    (struct deploy_event){.kind = DEPLOY_EVENT_ROUTED,
					  .open = true,
					  .colour = COLOUR_GREEN,
					  .release = R3});
	world_run(&w, 1000);
	assert_log(&w, "route r1 blue\n");
	world_free(&w);
}

static void a_way_back_never_leads_to_what_the_node_has_vetoed(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 300000); /* committed here, and then superseded: r1 is the target again */
	w.behaviour[1].ready_ms = WORLD_NEVER_READY;
	trace_complete(&w, 0, R1);
	world_run(&w, 300000);
	assert_true(deploy_vetoes(world_deploy(&w, 0), &R1, 0));
	assert_serves(&w, 0, R2);
	trace_rollout(&w, 0, R1, R3, GOAL_SERVE);
	world_run(&w, 20000);
	assert_phase(&w, 0, BAKING);
	world_assignment(&w, 0)->revert = true;
	trace_rollout(&w, 0, R1, R0, GOAL_NONE);
	world_run(&w, 20000);
	assert_serves(&w, 0, R2); /* and not nothing at all, for as long as a way back may take */
	world_free(&w);
}

/* The fleet has r2, which this node vetoed, and goes back to r1, which it never left. */
static void a_vetoed_base_is_no_failure_of_the_next_rollout(void **state)
{
	struct deployment_report report;
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[2].smoke_fails = true;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 10000);
	trace_complete(&w, 0, R2);
	world_run(&w, 10000);
	assert_int_equal(world_report(&w, 0).state, NODE_STATE_ROLLED_BACK);
	trace_rollout(&w, 0, R2, R1, GOAL_SERVE);
	world_run(&w, 10000);
	report = world_report(&w, 0);
	assert_int_equal(report.state, NODE_STATE_SERVING);
	assert_true(rollout_id_equal(&report.rollout, &world_assignment(&w, 0)->rollout));
	assert_serves(&w, 0, R1);
	world_free(&w);
}

/* spec: NODE-11 */
static void only_a_higher_attempt_clears_the_veto(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	world_assignment(&w, 0)->attempt = 5;
	w.behaviour[2].smoke_fails = true;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 10000);
	w.behaviour[2].smoke_fails = false;
	world_log(&w);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE); /* the same again, a new generation */
	world_run(&w, 10000);
	trace_complete(&w, 0, R2); /* the fleet has it; this node has vetoed it */
	world_run(&w, 10000);
	assert_log(&w, "");
	assert_serves(&w, 0, R1);
	world_assignment(&w, 0)->attempt = 6;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 100000);
	assert_serves(&w, 0, R2);
	assert_state(&w, 0, SERVING);
	assert_false(deploy_vetoes(world_deploy(&w, 0), &R2, 0));
	world_free(&w);
}

static void another_rollout_of_a_vetoed_release_is_refused_and_says_so(void **state)
{
	struct deployment_report report;
	struct world w;

	world_init(&w, 1);
	w.behaviour[2].smoke_fails = true;
	expect_rolled_back(&w, "smoke", "smoke:seven");
	trace_complete(&w, 0, R1);
	assert_state(&w, 0, SERVING);
	trace_rollout(&w, 0, R1, R2, GOAL_FETCH);
	world_assignment(&w, 0)->rollout.bytes[0] = 77;
	world_desire(&w);
	report = world_report(&w, 0);
	assert_int_equal(report.state, NODE_STATE_ROLLED_BACK);
	assert_int_equal(report.rollout.bytes[0], 77);
	assert_string_equal(report.last.reason.check, "veto");
	assert_log(&w, "");
	world_free(&w);
}

/* spec: NODE-12 */
static void vetoes_outlive_removal(void **state)
{
	struct world w;

	world_init(&w, 1);
	w.behaviour[2].smoke_fails = true;
	expect_rolled_back(&w, "smoke", "smoke:seven");
	world_assignment(&w, 0)->deployment[0] = 0;
	world_desire(&w);
	world_run(&w, 60000);
	assert_phase(&w, 0, GONE);
	world_restart(&w);
	world_run(&w, 1000); /* makes sure that the port is closed */
	STR_CUT(w.assignments[0].deployment, "ocr");
	w.behaviour[2].smoke_fails = false;
	world_log(&w);
	trace_complete(&w, 0, R2);
	world_run(&w, 60000);
	assert_log(&w, "");
	world_free(&w);
}

static void the_oldest_veto_goes_first(void **state)
{
	struct deploy d;

	deploy_init(&d, "ocr");
	for (int i = 0; i <= LIMIT_VETOES; i++) {
		struct assignment a = {.deployment = "ocr", .goal = GOAL_SERVE};

		a.next.bytes[0] = (uint8_t)(i + 1);
		deploy_apply(&d,
			     (&(struct deploy_event){
				     .kind = DEPLOY_EVENT_DESIRED, .now_ms = 1, .assignment = &a}));
		deploy_apply(&d, (&(struct deploy_event){.kind = DEPLOY_EVENT_FETCH_FAILED,
							 .now_ms = 1,
							 .permanent = true,
							 .check = "digest",
							 .release = a.next}));
	}
	assert_int_equal(d.record.vetoes_count, LIMIT_VETOES);
	assert_false(deploy_vetoes(&d, &R1, 0));
	assert_true(deploy_vetoes(&d, &R2, 0));
}

/* spec: NODE-28 */
static void the_deadline_counts_only_the_time_of_work(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	world_assignment(&w, 0)->node_deadline_ms = 6500;
	w.behaviour[2].ready_ms = 4500;
	trace_rollout(&w, 0, R1, R2, GOAL_PREPARE);
	world_run(&w, 3600000); /* waiting for a person does not count ... */
	assert_phase(&w, 0, PROVEN);
	w.route_fails = true;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 2000); /* ... but what was used up before is gone */
	w.route_fails = false;
	world_run(&w, 1500);
	assert_state(&w, 0, ROLLED_BACK);
	assert_string_equal(world_report(&w, 0).last.reason.phase, "deadline");
	world_free(&w);
}

static void the_first_cause_is_the_reason(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[2].smoke_fails = true;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	while (world_deploy(&w, 0)->record.phase != DEPLOY_SMOKING)
		world_run(&w, 10);
	w.now += 600000; /* the answer comes together with the end of the deadline */
	world_event(&w, 0,
		    (struct deploy_event){.kind = DEPLOY_EVENT_SMOKE_FAILED,
					  .check = "seven",
					  .colour = COLOUR_GREEN,
					  .release = R2});
	assert_string_equal(world_report(&w, 0).last.reason.phase, "smoke");
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failures_before_the_switch_touch_nothing),
		cmocka_unit_test(never_ready_is_known_after_start_period_and_failures),
		cmocka_unit_test(failures_in_the_start_period_do_not_count),
		cmocka_unit_test(exit_in_the_bake_is_a_verdict_at_once),
		cmocka_unit_test(reason_carries_text_and_log),
		cmocka_unit_test(a_log_that_comes_later_belongs_to_the_reason),
		cmocka_unit_test(sour_in_the_bake_after_failures_in_a_row),
		cmocka_unit_test(silence_of_the_probes_in_the_bake_is_a_failure),
		cmocka_unit_test(a_jump_of_the_clock_is_one_failure_and_not_three),
		cmocka_unit_test(rollback_flips_the_map_before_it_kills),
		cmocka_unit_test(cold_way_back_when_the_warm_slot_is_gone),
		cmocka_unit_test(stop_first_goes_back_by_a_cold_start),
		cmocka_unit_test(stop_first_in_the_bake_never_runs_two),
		cmocka_unit_test(first_install_that_fails_leaves_nothing),
		cmocka_unit_test(node_deadline_goes_back_and_says_so),
		cmocka_unit_test(a_map_that_cannot_be_changed_fails_the_switch),
		cmocka_unit_test(a_late_answer_about_the_map_is_put_right),
		cmocka_unit_test(a_vetoed_base_is_no_failure_of_the_next_rollout),
		cmocka_unit_test(only_a_higher_attempt_clears_the_veto),
		cmocka_unit_test(another_rollout_of_a_vetoed_release_is_refused_and_says_so),
		cmocka_unit_test(a_way_back_never_leads_to_what_the_node_has_vetoed),
		cmocka_unit_test(vetoes_outlive_removal),
		cmocka_unit_test(the_oldest_veto_goes_first),
		cmocka_unit_test(the_deadline_counts_only_the_time_of_work),
		cmocka_unit_test(the_first_cause_is_the_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
