/* SPDX-License-Identifier: Apache-2.0 */
/* The picture itself: every state can be reached and left, or is an end; the documents show it. */
#include "coordinator/core/event.h"
#include "coordinator/core/rollout_table.h"

#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static bool reaches(enum rollout_state from, enum rollout_state to)
{
	bool reached[ROLLOUT_STATE_COUNT] = {false};

	reached[from] = true;
	for (size_t round = 0; round < ROLLOUT_STATE_COUNT; round++)
		for (size_t i = 0; i < rollout_moves_count; i++)
			if (reached[rollout_moves[i].from])
				reached[rollout_moves[i].to] = true;
	return reached[to];
}

static void test_every_state_is_reached_from_planned(void **state)
{
	for (enum rollout_state s = 0; s < ROLLOUT_STATE_COUNT; s++)
		if (!reaches(ROLLOUT_PLANNED, s))
			fail_msg("%s cannot be reached", rollout_state_name(s));
}

static void test_every_state_can_end(void **state)
{
	static const enum rollout_state ends[] = {ROLLOUT_COMPLETED, ROLLOUT_ABORTED,
						  ROLLOUT_ROLLED_BACK};

	for (enum rollout_state s = 0; s < ROLLOUT_STATE_COUNT; s++) {
		if (rollout_state_is_final(s))
			continue;
		assert_true(reaches(s, ROLLOUT_ABORTED));
		for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
			if (s != ROLLOUT_ROLLING_BACK && s != ROLLOUT_STUCK)
				assert_true(reaches(s, ends[i]));
	}
}

static void test_final_states_are_left_by_nothing(void **state)
{
	size_t finals = 0;

	for (size_t i = 0; i < rollout_moves_count; i++)
		assert_false(rollout_state_is_final(rollout_moves[i].from));
	for (enum rollout_state s = 0; s < ROLLOUT_STATE_COUNT; s++)
		finals += rollout_state_is_final(s);
	assert_int_equal(finals, 3);
}

/* What a state waits for is either a deadline (test_traces and the walks see that it exists) or
 * events by name; those names must be events, and the table must lead on by them. */
/* spec: ROLL-20 */
static void test_waiting_states_name_their_events(void **state)
{
	for (enum rollout_state s = 0; s < ROLLOUT_STATE_COUNT; s++) {
		const char *waits = rollout_state_waits(s);
		bool named = false;

		if (!waits[0] || str_equal(waits, "deadline"))
			continue;
		for (enum rollout_event_kind kind = 0; kind < EVENT_COUNT; kind++)
			named |= str_starts(waits, rollout_event_name(kind));
		assert_true(named);
		assert_true(reaches(s, ROLLOUT_ABORTED));
	}
}

/* No plain row hides a guarded one below it, and no row is there twice. */
static void test_rows_do_not_hide_each_other(void **state)
{
	for (size_t i = 0; i < rollout_moves_count; i++)
		for (size_t j = i + 1; j < rollout_moves_count; j++) {
			const struct rollout_move *a = &rollout_moves[i], *b = &rollout_moves[j];

			if (a->from == b->from && a->cause == b->cause)
				assert_true(a->guard != GUARD_NONE && a->guard != b->guard);
		}
}

static void test_every_cause_and_guard_is_used(void **state)
{
	bool causes[CAUSE_COUNT] = {false}, guards[GUARD_COUNT] = {false};

	for (size_t i = 0; i < rollout_moves_count; i++) {
		causes[rollout_moves[i].cause] = true;
		guards[rollout_moves[i].guard] = true;
	}
	for (size_t i = 0; i < CAUSE_COUNT; i++)
		assert_true(causes[i]);
	for (size_t i = 0; i < GUARD_COUNT; i++)
		assert_true(guards[i]);
}

static void test_the_print_shows_every_row(void **state)
{
	AUTO_FREE char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	size_t lines = 0, finals = 0;

	rollout_table_print(out);
	fclose(out);
	for (size_t i = 0; i < size; i++)
		lines += text[i] == '\n';
	for (enum rollout_state s = 0; s < ROLLOUT_STATE_COUNT; s++)
		finals += rollout_state_is_final(s);
	assert_int_equal(lines, 2 + rollout_moves_count + finals);
	assert_non_null(strstr(text, "paused --> canary : resume or promote [was canary]\n"));
	assert_non_null(strstr(text, "completed --> [*]\n"));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_every_state_is_reached_from_planned),
	cmocka_unit_test(test_every_state_can_end),
	cmocka_unit_test(test_final_states_are_left_by_nothing),
	cmocka_unit_test(test_waiting_states_name_their_events),
	cmocka_unit_test(test_rows_do_not_hide_each_other),
	cmocka_unit_test(test_every_cause_and_guard_is_used),
	cmocka_unit_test(test_the_print_shows_every_row),
};

int main(int argc, char **argv)
{
	if (argc > 1 && str_equal(argv[1], "--print")) { /* for docs/STATES.md */
		rollout_table_print(stdout);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
