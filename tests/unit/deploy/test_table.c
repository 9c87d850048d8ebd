/* SPDX-License-Identifier: Apache-2.0 */
/* The table itself: reachable, live, and printable. */
#include "traces.h"

static void every_phase_is_reachable(void **state)
{
	bool reached[DEPLOY_PHASE_COUNT] = {[DEPLOY_IDLE] = true};

	for (int round = 0; round < DEPLOY_PHASE_COUNT; round++)
		for (size_t i = 0; i < deploy_rows_count; i++)
			if (reached[deploy_rows[i].phase])
				reached[deploy_rows[i].next] = true;
	for (int p = 0; p < DEPLOY_PHASE_COUNT; p++)
		if (!reached[p])
			fail_msg("%s is not reachable", deploy_phases[p].text);
}

static void every_phase_can_be_left(void **state)
{
	for (int p = 0; p < DEPLOY_PHASE_COUNT; p++) {
		bool left = false;

		for (size_t i = 0; i < deploy_rows_count; i++)
			left |= (int)deploy_rows[i].phase == p && (int)deploy_rows[i].next != p;
		if (!left)
			fail_msg("%s cannot be left", deploy_phases[p].text);
		assert_int_not_equal(deploy_phases[p].waits_for, DEPLOY_EVENT_ANY);
	}
}

/* A phase either waits for a named event that no clock bounds (a person, a link, a window, the
 * switch), or somewhere in it there is a deadline. */
/* spec: NODE-28 */
static void every_phase_has_a_deadline_or_waits_for_somebody(void **state)
{
	static const enum deploy_phase patient[] = {
		DEPLOY_IDLE,   DEPLOY_FETCHING, DEPLOY_STAGED, DEPLOY_PREPARED,
		DEPLOY_PROVEN, DEPLOY_REMOVING, DEPLOY_GONE};
	struct deploy d;

	for (int p = 0; p < DEPLOY_PHASE_COUNT; p++) {
		bool may_wait = false;

		for (size_t i = 0; i < ARRAY_SIZE(patient); i++)
			may_wait |= (int)patient[i] == p;
		deploy_init(&d, "ocr");
		d.now_ms = 5000;
		d.record.phase = (enum deploy_phase)p;
		d.record.assignment.bake_ms = 1000;
		d.record.work_since_ms = d.record.phase_since_ms = d.record.bake_since_ms = 5000;
		if (!may_wait && deploy_deadline(&d) == DEPLOY_NEVER)
			fail_msg("%s has no deadline", deploy_phases[p].text);
		assert_false(may_wait && deploy_phases[p].clock);
	}
}

static void the_deadline_is_the_first_thing_to_come(void **state)
{
	struct deploy d;

	deploy_init(&d, "ocr");
	d.now_ms = 1000;
	assert_int_equal(deploy_deadline(&d), DEPLOY_NEVER);
	d.record.slots[0].want = d.record.slots[1].want = DEPLOY_WANT_RUN;
	d.slots[0].fact = d.slots[1].fact = DEPLOY_SLOT_RUNNING;
	d.record.serves = true;
	d.record.committed_ms = 500;
	d.record.assignment.keep_warm_ms = 9000;
	assert_int_equal(deploy_deadline(&d), 9500); /* the warm slot */
	d.record.slots[1].drain_until_ms = 8000;
	assert_int_equal(deploy_deadline(&d), 8000);
	d.slots[0].probe_due_ms = 7000;
	assert_int_equal(deploy_deadline(&d), 7000);
	d.slots[1].fact = DEPLOY_SLOT_EMPTY;
	d.slots[1].start_at_ms = 6000;
	assert_int_equal(deploy_deadline(&d), 6000);
	d.route_at_ms = 5000;
	assert_int_equal(deploy_deadline(&d), 5000);
	d.record.phase = DEPLOY_SMOKING;
	d.record.work_since_ms = 900;
	d.record.assignment.node_deadline_ms = 4000;
	d.record.work_ms = 1000;
	assert_int_equal(deploy_deadline(&d), 3900);
}

/* Rows for an event must not be hidden by an earlier row of the same phase that always fires. */
static void no_row_hides_a_later_one(void **state)
{
	for (size_t i = 0; i < deploy_rows_count; i++) {
		const struct deploy_row *a = &deploy_rows[i];

		for (size_t k = i + 1; k < deploy_rows_count; k++) {
			const struct deploy_row *b = &deploy_rows[k];

			if (a->phase != b->phase || a->event != b->event)
				continue;
			assert_string_not_equal(a->guard_text, "always");
			assert_false(str_equal(a->guard_text, b->guard_text));
		}
	}
}

static void the_picture_names_every_phase(void **state)
{
	AUTO_STR struct str out = {0};

	deploy_table_print(&out);
	assert_true(str_starts(str_get(&out), "stateDiagram-v2\n"));
	for (int p = 0; p < DEPLOY_PHASE_COUNT; p++)
		assert_non_null(strstr(str_get(&out), deploy_phases[p].text));
	assert_non_null(strstr(str_get(&out), "baking --> reverting: has_failed / begin_rollback"));
	assert_non_null(strstr(str_get(&out), "prepared --> starting: always [grant]"));
}

/* Total: any event in any phase, with any nonsense in it, is survived and settles. */
static void every_event_in_every_phase_is_survived(void **state)
{
	struct assignment a = {
		.deployment = "ocr", .next = {{2}}, .base = {{1}}, .goal = GOAL_SERVE};

	for (int p = 0; p < DEPLOY_PHASE_COUNT; p++)
		for (int e = 0; e <= DEPLOY_EVENT_COUNT; e++)
			for (int c = 0; c <= COLOUR_COUNT; c++)
				for (uint8_t r = 0; r < 4; r++) {
					struct deploy d;
					struct deploy_effects effects;

					deploy_init(&d, "ocr");
					d.record.phase = (enum deploy_phase)p;
					d.record.assigned = r & 1;
					d.record.assignment = a;
					d.record.target.digest = R2;
					deploy_apply(&d, &(struct deploy_event){
								 .kind = (enum deploy_event_kind)e,
								 .colour = (enum colour)c,
								 .release = {{r}},
								 .now_ms = 1,
								 .assignment = &a});
					deploy_decide(&d, 1, &effects);
				}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_phase_is_reachable),
		cmocka_unit_test(every_phase_can_be_left),
		cmocka_unit_test(every_phase_has_a_deadline_or_waits_for_somebody),
		cmocka_unit_test(the_deadline_is_the_first_thing_to_come),
		cmocka_unit_test(no_row_hides_a_later_one),
		cmocka_unit_test(the_picture_names_every_phase),
		cmocka_unit_test(every_event_in_every_phase_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
