/* SPDX-License-Identifier: Apache-2.0 */
/* What several deployments on one node agree upon. */
#include "traces.h"

#include <errno.h>

/* spec: NODE-19 */
static void one_switch_at_a_time(void **state)
{
	struct world w;

	world_init(&w, 1);
	for (int i = 0; i < WORLD_DEPLOYMENTS; i++)
		trace_installed(&w, i, R1);
	w.switches_max = 0;
	for (int i = 0; i < WORLD_DEPLOYMENTS; i++)
		trace_rollout(&w, i, R1, R2, GOAL_SERVE);
	world_run(&w, 500000);
	for (int i = 0; i < WORLD_DEPLOYMENTS; i++)
		assert_serves(&w, i, R2);
	assert_int_equal(w.switches_max, 1);
	world_free(&w);
}

static void who_waits_longest_switches_first(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 1, R2); /* known first, waits last */
	w.behaviour[1].ready_ms = 3000;
	trace_rollout(&w, 0, R0, R1, GOAL_SERVE);
	world_run(&w, 1000);
	trace_rollout(&w, 2, R0, R1, GOAL_SERVE);
	world_run(&w, 1000);
	trace_rollout(&w, 1, R2, R1, GOAL_SERVE);
	world_run(&w, 1000);
	assert_phase(&w, 1, PREPARED);
	assert_phase(&w, 2, PREPARED);
	world_run(&w, 2000);
	assert_phase(&w, 0, BAKING);
	assert_phase(&w, 1, PREPARED);
	assert_phase(&w, 2, READYING);
	world_free(&w);
}

static void proven_deployments_that_wait_do_not_hold_the_switch(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_rollout(&w, 0, R1, R2, GOAL_PREPARE);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_PREPARE);
	world_run(&w, 10000);
	assert_phase(&w, 0, PROVEN);
	trace_rollout(&w, 1, R0, R3, GOAL_SERVE);
	world_run(&w, 10000);
	assert_phase(&w, 1, BAKING);
	world_free(&w);
}

static void the_switch_is_free_again_after_a_failure(void **state)
{
	struct world w;

	world_init(&w, 1);
	w.behaviour[2].ready_ms = WORLD_NEVER_READY;
	trace_rollout(&w, 0, R0, R2, GOAL_SERVE);
	trace_rollout(&w, 1, R0, R1, GOAL_SERVE);
	world_run(&w, 5000);
	assert_phase(&w, 0, READYING);
	assert_phase(&w, 1, PREPARED);
	world_run(&w, 10000);
	assert_state(&w, 0, ROLLED_BACK);
	assert_phase(&w, 1, BAKING);
	world_free(&w);
}

/* spec: NODE-19 */
static void going_back_does_not_wait_for_the_switch(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[2].exit_ms = 20000;
	w.behaviour[3].ready_ms = 4000;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 17500);
	trace_rollout(&w, 1, R0, R3, GOAL_SERVE);
	world_run(&w, 3500);
	assert_phase(&w, 1, READYING);
	assert_serves(&w, 0, R1);
	world_free(&w);
}

/* spec: NODE-22 */
static void an_older_desired_state_is_refused(void **state)
{
	struct node_event event = {.kind = NODE_DESIRED, .event = {.now_ms = 1}};
	struct desired_state desired = {.epoch = 2, .generation = 1};
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	event.desired = &desired;
	desired.epoch = 0;
	desired.generation = 999;
	assert_false(node_core_admits(w.core, &event));
	assert_int_equal(node_core_apply(w.core, &event), -ESTALE);
	desired.epoch = 1;
	desired.generation = 1;
	assert_int_equal(node_core_apply(w.core, &event), -ESTALE);
	assert_state(&w, 0, SERVING);
	desired.epoch = 2; /* the higher epoch wins, whatever its generation */
	assert_true(node_core_admits(w.core, &event));
	assert_int_equal(node_core_apply(w.core, &event), 0);
	assert_phase(&w, 0, REMOVING);
	world_free(&w);
}

/* spec: NODE-22 */
static void the_generation_survives_a_restart(void **state)
{
	uint64_t epoch, generation, before;
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	node_core_generation(w.core, &epoch, &before);
	world_restart(&w);
	node_core_generation(w.core, &epoch, &generation);
	assert_int_equal(epoch, 1);
	assert_int_equal(generation, before);
	world_free(&w);
}

static void more_deployments_than_fit_are_refused(void **state)
{
	struct node_core *core = node_core_create(1);
	struct assignment list[2] = {{.deployment = "a"}, {.deployment = "b"}};
	struct desired_state desired = {1, 1, list, 2};
	struct node_event event = {
		.kind = NODE_DESIRED, .desired = &desired, .event = {.now_ms = 1}};

	assert_int_equal(node_core_apply(core, &event), -ENOSPC);
	assert_non_null(node_core_find(core, "a"));
	assert_null(node_core_find(core, "b"));
	event = (struct node_event){.kind = NODE_DEPLOYMENT,
				    .deployment = "b",
				    .event = {.kind = DEPLOY_EVENT_TICK, .now_ms = 2}};
	assert_false(node_core_admits(core, &event));
	assert_int_equal(node_core_apply(core, &event), -ENOENT);
	node_core_free(core);
}

static void tombstones_give_way(void **state)
{
	struct node_core *core = node_core_create(1);
	struct deploy_record record = {.phase = DEPLOY_GONE, .vetoes_count = 1};
	const struct deploy_record *saved;
	const char *name;
	struct node_event tick = {.kind = NODE_ALL,
				  .event = {.kind = DEPLOY_EVENT_RESUMED, .now_ms = 1}};
	int deleted = 0;

	STR_CUT(record.name, "a");
	assert_int_equal(node_core_restore(core, &record), 0);
	assert_int_equal(node_core_restore(core, &record), -EEXIST);
	STR_CUT(record.name, "b");
	assert_int_equal(node_core_restore(core, &record), 0);
	STR_CUT(record.name, "c");
	assert_int_equal(node_core_restore(core, &record), -ENOSPC);
	assert_int_equal(node_core_apply(core, &tick), 0);
	while (node_core_next_dirty(core, &name, &saved))
		deleted += !saved;
	assert_int_equal(deleted, 1);
	assert_int_equal(node_core_count(core), 1);
	node_core_free(core);
}

/* spec: NODE-30 */
static void serving_previous_and_arriving_stay_on_disk(void **state)
{
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 100000);
	trace_complete(&w, 0, R2);
	world_run(&w, 1000000);
	assert_true(node_core_keeps(w.core, &R1)); /* previous, although its slot is gone */
	assert_true(node_core_keeps(w.core, &R2));
	assert_false(node_core_keeps(w.core, &R3));
	trace_rollout(&w, 0, R2, R3, GOAL_FETCH);
	assert_true(node_core_keeps(w.core, &R3));
	trace_rollout(&w, 0, R2, R3, GOAL_SERVE);
	world_run(&w, 100000);
	trace_complete(&w, 0, R3);
	world_run(&w, 1000000);
	assert_false(node_core_keeps(w.core, &R1));
	assert_true(node_core_keeps(w.core, &R2));
	world_free(&w);
}

static void only_durable_changes_ask_for_a_write(void **state)
{
	const struct deploy_record *record;
	const char *name;
	struct world w;

	world_init(&w, 1);
	trace_installed(&w, 0, R1);
	assert_false(node_core_next_dirty(w.core, &name, &record));
	for (int i = 0; i < 10; i++) {
		struct deploy_event probe = {.kind = DEPLOY_EVENT_PROBE_OK, .release = R1};
		struct node_event event = {NODE_DEPLOYMENT, NULL, "ocr", probe};

		event.event.now_ms = w.now += 1000;
		assert_int_equal(node_core_apply(w.core, &event), 0);
		assert_false(node_core_next_dirty(w.core, &name, &record));
	}
	assert_false(node_core_take_generation_dirty(w.core));
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_switch_at_a_time),
		cmocka_unit_test(who_waits_longest_switches_first),
		cmocka_unit_test(proven_deployments_that_wait_do_not_hold_the_switch),
		cmocka_unit_test(the_switch_is_free_again_after_a_failure),
		cmocka_unit_test(going_back_does_not_wait_for_the_switch),
		cmocka_unit_test(an_older_desired_state_is_refused),
		cmocka_unit_test(the_generation_survives_a_restart),
		cmocka_unit_test(more_deployments_than_fit_are_refused),
		cmocka_unit_test(tombstones_give_way),
		cmocka_unit_test(serving_previous_and_arriving_stay_on_disk),
		cmocka_unit_test(only_durable_changes_ask_for_a_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
