/* SPDX-License-Identifier: Apache-2.0 */
/* The agent dies, the machine reboots: at every step the journal is enough to go on. */
#include "traces.h"

#include <errno.h>

static void tell(struct deploy *d, struct deploy_event event)
{
	event.now_ms = d->now_ms;
	deploy_apply(d, &event);
}

/* What a new process knows after the helper's list, the map and the first probes. */
static void relearn(struct deploy *d, const struct deploy *old)
{
	d->now_ms = old->now_ms;
	for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++)
		if (old->slots[c].fact != DEPLOY_SLOT_EMPTY)
			tell(d, (struct deploy_event){
					.kind = DEPLOY_EVENT_ADOPT,
					.colour = c,
					.release = old->record.slots[c].release.digest,
					.running = old->slots[c].fact == DEPLOY_SLOT_RUNNING});
	tell(d, (struct deploy_event){.kind = DEPLOY_EVENT_RESUMED});
	if (old->route != DEPLOY_ROUTE_UNKNOWN)
		tell(d, (struct deploy_event){
				.kind = DEPLOY_EVENT_ROUTED,
				.open = old->route == DEPLOY_ROUTE_OPEN,
				.colour = old->route_colour,
				.release = old->record.slots[old->route_colour].release.digest});
	for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++)
		if (old->slots[c].healthy)
			tell(d,
			     (struct deploy_event){.kind = DEPLOY_EVENT_PROBE_OK,
						   .colour = c,
						   .release = old->record.slots[c].release.digest});
}

static void same_effects(const struct deploy *a, const struct deploy *b)
{
	struct deploy_effects fa, fb;

	deploy_decide(a, a->now_ms, &fa);
	deploy_decide(b, a->now_ms, &fb);
	assert_memory_equal(&fa.fetch, &fb.fetch, sizeof(fa.fetch));
	assert_memory_equal(&fa.preflight, &fb.preflight, sizeof(fa.preflight));
	assert_memory_equal(&fa.unpack, &fb.unpack, sizeof(fa.unpack));
	assert_int_equal(fa.route, fb.route);
	assert_int_equal(fa.route_colour, fb.route_colour);
	assert_int_equal(fa.keep_count, fb.keep_count);
	for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++) {
		assert_int_equal(fa.slots[c].slot, fb.slots[c].slot);
		assert_int_equal(fa.slots[c].kill, fb.slots[c].kill);
		assert_int_equal(fa.slots[c].probe, fb.slots[c].probe);
		assert_int_equal(fa.slots[c].smoke, fb.slots[c].smoke);
		assert_int_equal(fa.slots[c].connections, fb.slots[c].connections);
		assert_memory_equal(&fa.slots[c].release, &fb.slots[c].release, DIGEST_SIZE);
	}
}

static int compared;

static void restored_decides_the_same(struct world *w)
{
	const struct deploy *d = world_deploy(w, 0);
	struct deploy copy;

	if (!d)
		return;
	assert_int_equal(deploy_restore(&copy, &d->record), 0);
	relearn(&copy, d);
	assert_int_equal(copy.record.phase, d->record.phase);
	same_effects(d, &copy);
	compared++;
}

/* spec: NODE-24 */
static void every_state_decides_the_same_after_a_restart(void **state)
{
	struct world w;

	world_init(&w, 1);
	w.check = restored_decides_the_same;
	compared = 0;
	w.behaviour[2].sour_ms = 30000;
	w.behaviour[4].smoke_fails = true;
	trace_rollout(&w, 0, R0, R1, GOAL_SERVE);
	world_run(&w, 100000);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE); /* rolled back from its bake */
	world_run(&w, 100000);
	trace_rollout(&w, 0, R1, R3, GOAL_SERVE);
	world_run(&w, 200000);
	world_assignment(&w, 0)->revert = true;
	world_desire(&w);
	world_run(&w, 60000);
	world_assignment(&w, 0)->revert = false;
	world_assignment(&w, 0)->swap = SWAP_STOP_FIRST;
	trace_rollout(&w, 0, R1, R4, GOAL_SERVE);
	world_run(&w, 60000);
	world_assignment(&w, 0)->deployment[0] = 0;
	world_desire(&w);
	world_run(&w, 60000);
	assert_true(compared > 500);
	world_free(&w);
}

/* Runs a change and restarts the agent after `ms`: the end is the same. */
/* spec: NODE-24 */
static void the_agent_may_die_at_any_moment(void **state)
{
	struct world w;

	for (uint64_t ms = 0; ms < 8000; ms += 50) {
		world_init(&w, 1);
		trace_installed(&w, 0, R1);
		trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
		world_run(&w, ms);
		world_restart(&w);
		world_run(&w, 100000);
		assert_serves(&w, 0, R2);
		assert_state(&w, 0, SERVING);
		assert_int_equal(w.deployments[0].dark_ms, 0);
		assert_int_equal(w.resets, 0);
		world_free(&w);
	}
}

/* spec: NODE-23 */
static void the_agent_may_die_before_it_wrote(void **state)
{
	struct world w;

	for (uint64_t ms = 0; ms < 8000; ms += 50) {
		world_init(&w, 1);
		trace_installed(&w, 0, R1);
		trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
		world_run(&w, ms);
		w.lose_next_write = true;
		world_run(&w, 100000);
		assert_serves(&w, 0, R2);
		assert_state(&w, 0, SERVING);
		assert_int_equal(w.deployments[0].dark_ms, 0);
		world_free(&w);
	}
}

static void a_rollback_goes_on_after_the_agent_died(void **state)
{
	struct world w;

	for (uint64_t ms = 0; ms < 5000; ms += 50) {
		world_init(&w, 1);
		trace_installed(&w, 0, R1);
		w.behaviour[2].sour_ms = 30000;
		trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
		world_run(&w, 30000 + ms);
		world_restart(&w);
		world_run(&w, 100000);
		assert_serves(&w, 0, R1);
		assert_state(&w, 0, ROLLED_BACK);
		world_free(&w);
	}
}

static void the_bake_goes_on_with_its_elapsed_time(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 50000);
	world_restart(&w);
	world_run(&w, 12000);
	assert_completed(&w, 0, R2);
	world_free(&w);
}

static void an_exit_while_the_agent_was_away_is_a_verdict(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 20000);
	w.deployments[0].slots[COLOUR_GREEN].alive = false;
	world_restart(&w);
	world_run(&w, 1000);
	assert_state(&w, 0, ROLLED_BACK);
	assert_string_equal(world_report(&w, 0).last.reason.check, "exited");
	assert_serves(&w, 0, R1);
	world_free(&w);
}

/* spec: NODE-20 */
static void reboot_starts_committed_slots_before_the_network_is_there(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.link_down = true;
	world_reboot(&w);
	world_run(&w, 2000);
	assert_log(&w, "close\nstart r1 blue\nroute r1 blue\n");
	assert_state(&w, 0, SERVING);
	world_free(&w);
}

/* spec: NODE-21 */
static void reboot_in_the_bake_begins_the_bake_again(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 50000);
	world_log(&w);
	world_reboot(&w);
	world_run(&w, 55000);
	assert_log(&w, "close\nstart r1 blue\nstart r2 green\nroute r2 green\n");
	assert_phase(&w, 0, BAKING);
	world_run(&w, 10000);
	assert_completed(&w, 0, R2);
	world_free(&w);
}

/* spec: NODE-21 */
static void reboot_before_the_switch_discards_the_idle_slot(void **state)
{
	struct world w;

	for (uint64_t ms = 250; ms < 800; ms += 100) {
		world_init(&w, 1);
		trace_installed(&w, 0, R1);
		trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
		world_run(&w, ms);
		assert_true(world_deploy(&w, 0)->record.phase < DEPLOY_BAKING);
		w.link_down = true;
		world_reboot(&w);
		world_run(&w, 5000);
		assert_serves(&w, 0, R1);
		assert_phase(&w, 0, FETCHING);
		assert_int_equal(world_report(&w, 0).slots[COLOUR_GREEN].state, SLOT_STATE_EMPTY);
		w.link_down = false;
		world_run(&w, 100000);
		assert_serves(&w, 0, R2);
		world_free(&w);
	}
}

static void reboot_with_stop_first_brings_the_old_one_back(void **state)
{
	struct world w;

	for (uint64_t ms = 250; ms < 5000; ms += 100) {
		world_init(&w, 1);
		trace_installed(&w, 0, R1);
		world_assignment(&w, 0)->swap = SWAP_STOP_FIRST;
		w.behaviour[2].ready_ms = 4000;
		trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
		world_run(&w, ms);
		w.link_down = true;
		world_reboot(&w);
		world_run(&w, 5000);
		assert_serves(&w, 0, R1);
		world_free(&w);
	}
}

static void a_release_that_reboots_the_machine_is_blamed(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	for (int i = 0; i < 4; i++) {
		world_run(&w, 20000);
		world_reboot(&w);
	}
	world_run(&w, 10000);
	assert_state(&w, 0, ROLLED_BACK);
	assert_string_equal(world_report(&w, 0).last.reason.check, "reboot");
	assert_serves(&w, 0, R1);
	world_free(&w);
}

static void reboot_in_the_middle_of_a_way_back(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[2].exit_ms = 30000;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	while (world_deploy(&w, 0)->record.phase != DEPLOY_REVERTING)
		world_run(&w, 10);
	world_reboot(&w);
	world_run(&w, 10000);
	assert_serves(&w, 0, R1);
	assert_state(&w, 0, ROLLED_BACK);
	world_free(&w);
}

static void what_nobody_wants_is_killed(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.deployments[0].slots[COLOUR_GREEN] =
		(struct world_slot){.release = R3, .alive = true, .started_ms = w.now};
	world_restart(&w);
	world_run(&w, 5000);
	assert_log(&w, "route r1 blue\nkill r3 green\n");
	assert_int_equal(world_report(&w, 0).slots[COLOUR_GREEN].state, SLOT_STATE_EMPTY);
	assert_int_equal(w.deployments[0].dark_ms, 0);
	world_free(&w);
}

static void nothing_is_decided_before_the_slots_are_known(void **state)
{
	struct deploy_effects effects;
	struct deploy d;
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	assert_int_equal(deploy_restore(&d, &world_deploy(&w, 0)->record), 0);
	deploy_decide(&d, w.now, &effects);
	assert_int_equal(effects.slots[COLOUR_BLUE].slot, DEPLOY_SLOT_LEAVE);
	assert_int_equal(effects.route, DEPLOY_ROUTE_LEAVE);
	assert_int_equal(effects.keep_count, 1);
	assert_int_equal(deploy_deadline(&d), DEPLOY_NEVER);
	tell(&d, (struct deploy_event){.kind = DEPLOY_EVENT_RESUMED});
	deploy_decide(&d, w.now, &effects);
	assert_int_equal(effects.slots[COLOUR_BLUE].slot, DEPLOY_SLOT_RUN);
	world_free(&w);
}

/* spec: NODE-11 */
static void a_vetoed_release_is_not_started_even_if_nothing_else_is_there(void **state)
{
	struct deploy_record record = {.name = "ocr", .assigned = true, .serves = true};
	struct deploy_effects effects;
	struct deploy d;

	STR_CUT(record.assignment.deployment, "ocr");
	record.slots[0] = (struct deploy_slot_record){{R2, {0}}, DEPLOY_WANT_RUN, true, 0};
	record.assignment.base = R2;
	assert_int_equal(deploy_restore(&d, &record), 0);
	tell(&d, (struct deploy_event){.kind = DEPLOY_EVENT_RESUMED});
	deploy_decide(&d, 1, &effects);
	assert_int_equal(effects.slots[0].slot, DEPLOY_SLOT_RUN);
	record.vetoes[0].release = R2;
	record.vetoes_count = 1;
	assert_int_equal(deploy_restore(&d, &record), 0);
	tell(&d, (struct deploy_event){.kind = DEPLOY_EVENT_RESUMED});
	deploy_decide(&d, 1, &effects);
	assert_int_equal(effects.slots[0].slot, DEPLOY_SLOT_LEAVE);
}

static void a_committed_release_comes_back_when_nothing_serves(void **state)
{
	struct deploy_record record = {.name = "ocr", .assigned = true};
	struct deploy d;

	STR_CUT(record.assignment.deployment, "ocr");
	record.assignment.base = R2;
	record.committed.digest = R1;
	assert_int_equal(deploy_restore(&d, &record), 0);
	tell(&d, (struct deploy_event){.kind = DEPLOY_EVENT_RESUMED});
	assert_int_equal(d.record.phase, DEPLOY_REVERTING);
	assert_int_equal(d.record.slots[0].want + d.record.slots[1].want, DEPLOY_WANT_RUN);
}

static void a_reboot_gives_the_change_its_time_again(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	world_assignment(&w, 0)->node_deadline_ms = 6000;
	w.behaviour[2].ready_ms = 4000;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 4000);
	world_reboot(&w);
	world_run(&w, 100000);
	assert_completed(&w, 0, R2);
	world_free(&w);
}

static void broken_records_are_refused(void **state)
{
	struct deploy_record record = {.name = "ocr"};
	struct deploy d;

	assert_int_equal(deploy_restore(&d, &record), 0);
	record.vetoes_count = LIMIT_VETOES + 1;
	assert_int_equal(deploy_restore(&d, &record), -EINVAL);
	record.vetoes_count = 0;
	record.phase = DEPLOY_PHASE_COUNT;
	assert_int_equal(deploy_restore(&d, &record), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_decides_the_same_after_a_restart),
		cmocka_unit_test(the_agent_may_die_at_any_moment),
		cmocka_unit_test(the_agent_may_die_before_it_wrote),
		cmocka_unit_test(a_rollback_goes_on_after_the_agent_died),
		cmocka_unit_test(the_bake_goes_on_with_its_elapsed_time),
		cmocka_unit_test(an_exit_while_the_agent_was_away_is_a_verdict),
		cmocka_unit_test(reboot_starts_committed_slots_before_the_network_is_there),
		cmocka_unit_test(reboot_in_the_bake_begins_the_bake_again),
		cmocka_unit_test(reboot_before_the_switch_discards_the_idle_slot),
		cmocka_unit_test(reboot_with_stop_first_brings_the_old_one_back),
		cmocka_unit_test(a_release_that_reboots_the_machine_is_blamed),
		cmocka_unit_test(reboot_in_the_middle_of_a_way_back),
		cmocka_unit_test(what_nobody_wants_is_killed),
		cmocka_unit_test(nothing_is_decided_before_the_slots_are_known),
		cmocka_unit_test(a_vetoed_release_is_not_started_even_if_nothing_else_is_there),
		cmocka_unit_test(a_committed_release_comes_back_when_nothing_serves),
		cmocka_unit_test(a_reboot_gives_the_change_its_time_again),
		cmocka_unit_test(broken_records_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
