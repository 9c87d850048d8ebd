/* SPDX-License-Identifier: Apache-2.0 */
/* Each invariant sees the mistake it is there for: a rollout is brought into a good state, one
 * mistake is planted, and the right sentence comes out. */
#include "trace.h"

#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void begin(struct trace *t)
{
	trace_begin(t);
	t->spec.batch = (struct share){.value = 4};
	t->spec.max_unavailable = (struct share){.value = 2};
	trace_plan(t, 6, false);
	PLAY(t, "start", "all staged", "0 serving", "after 5m", "= places 2");
}

/* The sentence must name the mistake; the state before was fine. */
static void expect_broken(struct trace *t, const char *words)
{
	struct err err = {0};

	assert_int_equal(invariants_check(t->seen, t->rollout, &err), -EPROTO);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" does not say \"%s\"", err.text, words);
	trace_drop(t);
}

static void let_go(struct trace *t, uint32_t node)
{
	struct rollout_node *n = &t->rollout->nodes[node];

	n->told = n->changed = n->place = true;
}

/* spec: ROLL-5 */
static void test_too_many_in_change(void **state)
{
	struct trace t;

	begin(&t);
	let_go(&t, 3);
	expect_broken(&t, "3 nodes in change, 2 allowed");
}

/* spec: ROLL-5 */
static void test_too_many_of_a_group(void **state)
{
	struct trace t;

	begin(&t);
	t.rollout->stages[t.rollout->stage].plan.max_in_change_per_group = 1;
	for (size_t i = 0; i < t.rollout->nodes_count; i++)
		t.rollout->nodes[i].group = 0;
	expect_broken(&t, "2 nodes of group");
}

static void test_let_go_while_others_are_down(void **state)
{
	struct trace t;

	begin(&t);
	PLAY(&t, "0-1 sick", "= places 2");
	t.rollout->nodes[1].place = t.rollout->nodes[2].place = false;
	let_go(&t, 4);
	expect_broken(&t, "let go with 3 out of service, 2 allowed");
}

/* spec: ROLL-4 */
static void test_new_after_a_failed_gate(void **state)
{
	struct trace t;

	begin(&t);
	t.rollout->stages[0].verdict = VERDICT_FAIL;
	assert_int_equal(invariants_check(t.seen, t.rollout, NULL), 0); /* seen now */
	t.rollout->nodes[1].place = false;
	let_go(&t, 3);
	expect_broken(&t, "although a gate had failed");
}

/* spec: ROLL-4 */
static void test_new_while_going_back(void **state)
{
	struct trace t;

	begin(&t);
	PLAY(&t, "1 rolled_back", "= rolling_back");
	let_go(&t, 4);
	expect_broken(&t, "node 4 was let go although the rollout goes back");
}

/* spec: ROLL-4 */
static void test_new_while_paused_frozen_or_out_of_window(void **state)
{
	static const char *const lines[] = {"pause", "freeze", "window-closed"};
	static const char *const words[] = {"is paused", "is frozen", "window is closed"};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct trace t;

		begin(&t);
		trace_play(&t, &lines[i], 1);
		t.rollout->nodes[1].place = false;
		let_go(&t, 4);
		expect_broken(&t, words[i]);
	}
}

static void test_final_states_stay(void **state)
{
	struct trace t;

	begin(&t);
	PLAY(&t, "abort", "all rolled_back", "= aborted");
	t.rollout->state = ROLLOUT_WIDENING;
	expect_broken(&t, "aborted cannot become widening");
}

static void test_moves_are_in_the_table(void **state)
{
	struct trace t;

	begin(&t);
	t.rollout->state = ROLLOUT_PLANNED;
	expect_broken(&t, "widening cannot become planned");
}

static void test_told_is_counted(void **state)
{
	struct trace t;

	begin(&t);
	t.rollout->nodes[1].changed = false;
	expect_broken(&t, "told but not counted");
}

static void test_changed_is_not_forgotten(void **state)
{
	struct trace t;

	begin(&t);
	t.rollout->nodes[1] = (struct rollout_node){.id = t.rollout->nodes[1].id};
	expect_broken(&t, "node 1 was changed and is forgotten");
}

static void test_ended_without_everybody_back(void **state)
{
	struct trace t;

	begin(&t);
	PLAY(&t, "1 rolled_back", "= rolling_back", "0-1 rolled_back");
	for (size_t i = 0; i < t.rollout->nodes_count; i++)
		t.rollout->nodes[i].place = false;
	t.rollout->state = ROLLOUT_ROLLED_BACK;
	expect_broken(&t, "node 2 is not back");
}

static void test_completed_without_a_verdict(void **state)
{
	struct trace t;

	begin(&t);
	PLAY(&t, "1-2 serving");
	for (size_t i = 0; i < t.rollout->nodes_count; i++)
		t.rollout->nodes[i].place = false;
	t.rollout->state = ROLLOUT_COMPLETED;
	expect_broken(&t, "without a verdict on node 3");
}

static void test_stage_before_its_time(void **state)
{
	struct trace t;

	begin(&t);
	t.rollout->stages[2].state = STAGE_RUNNING;
	expect_broken(&t, "stage 2 is running before its time");
}

static void expect_assignment(const struct rollout *r, struct assignment a, const char *words)
{
	struct err err = {0};

	assert_int_equal(invariants_assignment(r, &a, &err), -EPROTO);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" does not say \"%s\"", err.text, words);
}

/* spec: ROLL-6 */
static void test_only_old_or_new(void **state)
{
	struct trace t;
	struct assignment good;

	begin(&t);
	good = (struct assignment){.base = t.from, .next = t.spec.release, .goal = GOAL_SERVE};
	assert_int_equal(invariants_assignment(t.rollout, &good, NULL), 0);
	expect_assignment(t.rollout,
			  (struct assignment){.base = t.from, .next = trace_digest(8),
					      .goal = GOAL_SERVE},
			  "neither the old nor the new");
	expect_assignment(t.rollout, (struct assignment){.base = trace_digest(8)}, "falls back");
	expect_assignment(t.rollout, (struct assignment){.base = t.spec.release}, "before the end");
	expect_assignment(t.rollout, (struct assignment){.base = t.from, .goal = GOAL_FETCH},
			  "without a release");
	good.revert = true;
	expect_assignment(t.rollout, good, "back and on at once");
	trace_drop(&t);
}

static void test_fleet(void **state)
{
	struct trace a, b;
	const struct rollout *list[2];
	struct err err = {0};

	begin(&a);
	begin(&b);
	list[0] = a.rollout;
	list[1] = b.rollout;
	assert_int_equal(invariants_fleet(list, 2, &err), -EPROTO);
	assert_non_null(strstr(err.text, "two rollouts of ocr"));
	STR_CUT(b.rollout->deployment, "speech");
	assert_int_equal(invariants_fleet(list, 2, &err), -EPROTO);
	assert_non_null(strstr(err.text, "same node at once"));
	for (size_t i = 0; i < b.rollout->nodes_count; i++)
		b.rollout->nodes[i].place = false;
	assert_int_equal(invariants_fleet(list, 2, &err), 0);
	trace_drop(&a);
	trace_drop(&b);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_too_many_in_change),
	cmocka_unit_test(test_too_many_of_a_group),
	cmocka_unit_test(test_let_go_while_others_are_down),
	cmocka_unit_test(test_new_after_a_failed_gate),
	cmocka_unit_test(test_new_while_going_back),
	cmocka_unit_test(test_new_while_paused_frozen_or_out_of_window),
	cmocka_unit_test(test_final_states_stay),
	cmocka_unit_test(test_moves_are_in_the_table),
	cmocka_unit_test(test_told_is_counted),
	cmocka_unit_test(test_changed_is_not_forgotten),
	cmocka_unit_test(test_ended_without_everybody_back),
	cmocka_unit_test(test_completed_without_a_verdict),
	cmocka_unit_test(test_stage_before_its_time),
	cmocka_unit_test(test_only_old_or_new),
	cmocka_unit_test(test_fleet),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
