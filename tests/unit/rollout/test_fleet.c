/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes are told, leases, and several deployments on one fleet. */
#include "trace.h"

#include "base/str.h"
#include "coordinator/core/fleet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static struct fleet_deployment deployment_of(const struct trace *t)
{
	return (struct fleet_deployment){.spec = &t->spec, .base = t->from, .rollout = t->rollout};
}

static struct fleet_member member_of(const struct trace *t, uint32_t node)
{
	return (struct fleet_member){
		.id = t->rollout->nodes[node].id, .selected = true, .release = t->from};
}

static struct assignment assign(const struct trace *t, uint32_t node, bool *ret_wanted)
{
	struct fleet_deployment deployment = deployment_of(t);
	struct fleet_member member = member_of(t, node);
	struct assignment assignment = {0};
	struct err err = {0};

	if (t->rollout->state == ROLLOUT_COMPLETED)
		deployment.base = t->rollout->to;
	*ret_wanted = fleet_assign(&deployment, &member, &assignment);
	if (*ret_wanted && invariants_assignment(t->rollout, &assignment, &err) < 0)
		fail_msg("%s", err.text);
	return assignment;
}

static void test_assignments_of_a_rollout(void **state)
{
	struct trace t;
	struct assignment a;
	bool wanted;

	trace_begin(&t);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged");
	a = assign(&t, 0, &wanted);
	assert_true(wanted);
	assert_string_equal(a.deployment, "ocr");
	assert_int_equal(a.goal, GOAL_SERVE);
	assert_true(digest_equal(&a.base, &t.from) && digest_equal(&a.next, &t.spec.release));
	assert_true(rollout_id_equal(&a.rollout, &t.rollout->id));
	assert_int_equal(a.attempt, 1);
	assert_int_equal(a.bake_ms, 300000);
	assert_int_equal(a.drain_ms, 30000);
	assert_int_equal(a.node_deadline_ms, 600000);
	assert_true(a.hold_old && !a.revert);
	a = assign(&t, 3, &wanted); /* its stage has not opened */
	assert_true(wanted && a.goal == GOAL_NONE && digest_is_zero(&a.next) && !a.hold_old);
	PLAY(&t, "0 rolled_back");
	a = assign(&t, 0, &wanted);
	assert_true(wanted && a.revert && a.goal == GOAL_NONE && digest_is_zero(&a.next));
	assert_true(digest_equal(&a.base, &t.from));
	trace_end(&t);
}

static void test_first_install(void **state)
{
	struct trace t;
	struct assignment a;
	bool wanted;

	trace_begin(&t);
	trace_plan(&t, 5, true);
	PLAY(&t, "start", "0 staged");
	assign(&t, 3, &wanted);
	assert_false(wanted); /* nothing there and nothing to do yet */
	PLAY(&t, "0 rolled_back", "= rolling_back");
	a = assign(&t, 0, &wanted);
	assert_true(wanted && a.revert && digest_is_zero(&a.base));
	trace_end(&t);
}

static void test_after_completion(void **state)
{
	struct trace t;
	struct assignment a;
	struct fleet_member late;
	struct fleet_deployment deployment;
	bool wanted;

	trace_begin(&t);
	t.spec.batch = t.spec.max_unavailable = (struct share){.value = 4};
	t.spec.failures.nodes = 1;
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "all staged", "0 serving", "after 5m", "1-3 serving", "4 rolled_back",
	     "after 1m", "= completed");
	a = assign(&t, 0, &wanted);
	assert_true(wanted && a.goal == GOAL_NONE && !a.hold_old);
	assert_true(digest_equal(&a.base, &t.spec.release));
	PLAY(&t, "retry 4");
	a = assign(&t, 4, &wanted);
	assert_true(a.goal == GOAL_SERVE && a.attempt == 2);
	late = member_of(&t, 0);
	late.id = trace_node_id(777); /* joined after the end */
	deployment = deployment_of(&t);
	deployment.base = t.spec.release;
	assert_true(fleet_assign(&deployment, &late, &a));
	assert_true(digest_equal(&a.base, &t.spec.release) && a.goal == GOAL_NONE);
	trace_end(&t);
}

static void test_members(void **state)
{
	struct trace t;
	struct fleet_deployment deployment;
	struct fleet_member member;
	struct assignment a;

	trace_begin(&t);
	trace_plan(&t, 5, false);
	PLAY(&t, "start", "0 staged");
	deployment = deployment_of(&t);
	member = member_of(&t, 0);
	member.selected = false;
	assert_false(fleet_assign(&deployment, &member, &a)); /* drained and removed */
	member = member_of(&t, 0);
	member.cordoned = true;
	member.release = trace_digest(5);
	assert_true(fleet_assign(&deployment, &member, &a)); /* keeps what it serves */
	assert_true(digest_equal(&a.base, &member.release) && a.goal == GOAL_NONE);
	member.release = trace_digest(0);
	assert_false(fleet_assign(&deployment, &member, &a)); /* never had it, and does not get it */
	member.present = true; /* had it, and serves nothing just now: it is not emptied */
	assert_true(fleet_assign(&deployment, &member, &a));
	assert_true(digest_equal(&a.base, &t.from) && a.goal == GOAL_NONE);
	PLAY(&t, "supersede");
	member = member_of(&t, 0);
	assert_true(fleet_assign(&deployment, &member, &a));
	assert_true(a.goal == GOAL_NONE && !a.revert && digest_equal(&a.base, &t.from));
	deployment.rollout = NULL;
	deployment.base = trace_digest(0);
	assert_false(fleet_assign(&deployment, &member, &a));
	trace_end(&t);
}

static void test_leases(void **state)
{
	const uint64_t start = 1000000;

	/* a coordinator that has just started does not count silence */
	assert_false(fleet_silent(0, start, start));
	assert_false(fleet_silent(0, start, start + LIMIT_GRACE_MS - 1));
	assert_true(fleet_silent(0, start, start + LIMIT_GRACE_MS));
	/* later the lease alone counts */
	assert_false(fleet_silent(start + 100000, start, start + 100000 + LIMIT_SILENCE_MS - 1));
	assert_true(fleet_silent(start + 100000, start, start + 100000 + LIMIT_SILENCE_MS));
	assert_int_equal(fleet_silent_at(start + 100000, start), start + 100000 + LIMIT_SILENCE_MS);
}

/* ---- two deployments ---- */

static void settle(struct trace *const *traces, size_t count)
{
	const struct rollout *rollouts[4];
	struct fleet_busy busy;
	struct err err = {0};

	for (size_t i = 0; i < count; i++)
		rollouts[i] = traces[i]->rollout;
	for (size_t round = 0; fleet_next_busy(rollouts, count, &busy); round++) {
		struct rollout_event e =
			rollout_event_make(busy.busy ? EVENT_NODE_BUSY : EVENT_NODE_FREE,
					   traces[busy.rollout]->now_ms, busy.node);

		assert_true(round < 100);
		assert_true(rollout_admits(traces[busy.rollout]->rollout, &e, NULL));
		rollout_apply(traces[busy.rollout]->rollout, &e);
	}
	if (invariants_fleet(rollouts, count, &err) < 0)
		fail_msg("%s", err.text);
}

static void begin_named(struct trace *t, const char *name, uint8_t id)
{
	trace_begin(t);
	STR_CUT(t->spec.name, name);
	t->spec.strategy = STRATEGY_ROLLING;
	t->spec.batch = t->spec.max_unavailable = (struct share){.value = 3};
	trace_plan(t, 3, false);
	t->rollout->id.bytes[0] = id;
}

static void test_one_change_at_a_time_on_a_node(void **state)
{
	struct trace a, b, *both[] = {&a, &b};
	const char *lines[1];
	char gone[32], joins[32], staged[32];
	uint32_t same;

	begin_named(&a, "ocr", 1);
	begin_named(&b, "speech", 2);
	same = rollout_find(b.rollout, &a.rollout->nodes[0].id);
	snprintf(gone, sizeof(gone), "%u gone", same);
	snprintf(joins, sizeof(joins), "%u joins", same);
	snprintf(staged, sizeof(staged), "%u staged", same);
	PLAY(&a, "start", "0-1 staged", "= places 2");
	settle(both, 2);
	PLAY(&b, "start", "all staged", "= places 1"); /* where the other is not */
	settle(both, 2);
	lines[0] = gone; /* nothing is said about a node that left, until it is back */
	trace_play(&b, lines, 1);
	settle(both, 2);
	lines[0] = joins;
	trace_play(&b, lines, 1);
	settle(both, 2);
	lines[0] = staged;
	trace_play(&b, lines, 1);
	PLAY(&b, "= places 1");
	settle(both, 2);
	PLAY(&a, "2 staged");
	settle(both, 2);
	PLAY(&a, "0-1 baking"); /* done there: the other may go */
	settle(both, 2);
	PLAY(&b, "= places 3");
	settle(both, 2);
	trace_drop(&a);
	trace_drop(&b);
}

/* A budget of two counts a node that the other deployment changes, once. */
/* spec: ROLL-5 */
static void test_budget_counts_a_node_once(void **state)
{
	struct trace a, b, *both[] = {&a, &b};

	begin_named(&a, "ocr", 1);
	begin_named(&b, "speech", 2);
	for (size_t i = 0; i < b.rollout->stages_count; i++)
		b.rollout->stages[i].plan.max_in_change = 2;
	PLAY(&a, "start", "0 staged");
	settle(both, 2);
	PLAY(&b, "start", "all staged", "= places 1");
	PLAY(&a, "0 rolled_back", "= rolling_back"); /* on the way back it is still in change */
	settle(both, 2);
	PLAY(&b, "= places 1");
	PLAY(&a, "0 rolled_back", "= rolled_back");
	settle(both, 2);
	PLAY(&b, "= places 2");
	trace_drop(&a);
	trace_drop(&b);
}

/* One node becomes free and the next one taken, both because of one report: the other deployment
 * may not use the first news to take what the second forbids. */
static void test_taken_is_heard_before_free(void **state)
{
	struct trace a, b, *both[] = {&a, &b};
	const char *lines[1];
	char staged[32];

	begin_named(&a, "ocr", 1);
	begin_named(&b, "speech", 2);
	a.rollout->stages[0].plan.max_in_change = b.rollout->stages[0].plan.max_in_change = 1;
	snprintf(staged, sizeof(staged), "%u staged",
		 rollout_find(b.rollout, &a.rollout->nodes[1].id));
	PLAY(&a, "start", "0 staged", "1 staged", "= places 1");
	settle(both, 2);
	PLAY(&b, "start");
	lines[0] = staged;
	trace_play(&b, lines, 1);
	PLAY(&b, "= places 0");
	settle(both, 2);
	PLAY(&a, "0 baking", "= places 1");
	settle(both, 2);
	PLAY(&b, "= places 0");
	trace_drop(&a);
	trace_drop(&b);
}

/* What a superseded rollout has begun on a node counts, until the node is well. */
static void test_what_moves_already_counts(void **state)
{
	struct trace a;

	begin_named(&a, "ocr", 1);
	a.rollout->stages[0].plan.max_in_change = 1;
	a.rollout->nodes[0].state = NODE_STATE_STARTING; /* planned as moving */
	PLAY(&a, "start", "1 staged", "= places 0", "0 staged", "= places 1");
	trace_drop(&a);
}

static void test_one_rollout_for_a_deployment(void **state)
{
	struct trace t;
	const struct rollout *list[1];
	struct err err = {0};

	trace_begin(&t);
	trace_plan(&t, 3, false);
	list[0] = t.rollout;
	PLAY(&t, "start");
	assert_int_equal(fleet_may_apply(list, 1, "ocr", false, &err), -EBUSY);
	assert_non_null(strstr(err.text, "0700000000000000"));
	assert_int_equal(fleet_may_apply(list, 1, "ocr", true, &err), 0);
	assert_int_equal(fleet_may_apply(list, 1, "speech", false, &err), 0);
	PLAY(&t, "abort");
	assert_int_equal(fleet_may_apply(list, 1, "ocr", false, &err), 0);
	trace_end(&t);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_assignments_of_a_rollout),
	cmocka_unit_test(test_first_install),
	cmocka_unit_test(test_after_completion),
	cmocka_unit_test(test_members),
	cmocka_unit_test(test_leases),
	cmocka_unit_test(test_one_change_at_a_time_on_a_node),
	cmocka_unit_test(test_budget_counts_a_node_once),
	cmocka_unit_test(test_taken_is_heard_before_free),
	cmocka_unit_test(test_what_moves_already_counts),
	cmocka_unit_test(test_one_rollout_for_a_deployment),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
