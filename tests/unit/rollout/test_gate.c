/* SPDX-License-Identifier: Apache-2.0 */
/* The order of decision, row by row. */
#include "coordinator/core/gate.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct failure_spec strict = {.unreachable = {true, 20}};
static const struct failure_spec loose = {.nodes = 2, .unreachable = {true, 20}};
static const struct rollout_why harm = {"coordinator", "errors", "twice as many"};

#define HOLD INCONCLUSIVE_HOLD
#define BACK INCONCLUSIVE_ROLLBACK
#define ON INCONCLUSIVE_PROMOTE

struct row {
	const char *name;
	const struct failure_spec *limits;
	struct gate_counts counts; /* opened changed failed silent lost */
	struct gate_stage stage;   /* done open bake_over deadline_over skip_wait */
	enum verdict verdict;
	bool required;
	enum inconclusive_kind inconclusive;
	enum gate_decision decision;
	const char *check;
};

static const struct row rows[] = {
	{"bakes", &strict, {5, 5, 0, 0, 0}, {5, 0, 0, 0, 0},
	 VERDICT_NONE, false, HOLD, GATE_CONTINUE, ""},
	{"baked", &strict, {5, 5, 0, 0, 0}, {5, 0, 1, 0, 0},
	 VERDICT_NONE, false, HOLD, GATE_PASS, ""},
	{"baked, one to come", &strict, {5, 5, 0, 0, 0}, {4, 1, 1, 0, 0},
	 VERDICT_NONE, false, HOLD, GATE_CONTINUE, ""},
	{"one failed", &strict, {5, 5, 1, 0, 0}, {4, 0, 1, 0, 0},
	 VERDICT_NONE, false, HOLD, GATE_FAIL, "failures"},
	{"one failed, others come", &strict, {5, 5, 1, 0, 0}, {0, 4, 0, 0, 0},
	 VERDICT_NONE, false, HOLD, GATE_FAIL, "failures"},
	{"two may fail", &loose, {5, 5, 2, 0, 0}, {3, 0, 1, 0, 0},
	 VERDICT_NONE, false, HOLD, GATE_PASS, ""},
	{"three may not", &loose, {5, 5, 3, 0, 0}, {2, 0, 1, 0, 0},
	 VERDICT_NONE, false, HOLD, GATE_FAIL, "failures"},
	{"nobody took it", &loose, {2, 2, 2, 0, 0}, {0, 0, 1, 0, 0},
	 VERDICT_NONE, false, HOLD, GATE_FAIL, "failures"},
	{"two of five lost", &loose, {5, 5, 0, 2, 2}, {3, 0, 0, 0, 0},
	 VERDICT_NONE, false, HOLD, GATE_FAIL, "unreachable"},
	{"one of five lost", &loose, {5, 5, 0, 1, 1}, {4, 0, 1, 0, 0},
	 VERDICT_NONE, false, HOLD, GATE_PASS, ""},
	{"many silent", &loose, {5, 3, 0, 2, 0}, {3, 0, 1, 0, 0},
	 VERDICT_NONE, false, HOLD, GATE_CONTINUE, ""},
	{"... for long", &loose, {5, 3, 0, 2, 0}, {3, 0, 1, 1, 0},
	 VERDICT_NONE, false, HOLD, GATE_HOLD, "unreachable"},
	{"nobody answers", &loose, {1, 0, 0, 1, 0}, {0, 0, 1, 1, 0},
	 VERDICT_NONE, false, ON, GATE_HOLD, "unreachable"},
	{"... roll back", &loose, {1, 0, 0, 1, 0}, {0, 0, 1, 1, 0},
	 VERDICT_NONE, false, BACK, GATE_FAIL, "unreachable"},
	{"everybody left", &strict, {0, 0, 0, 0, 0}, {0, 0, 1, 0, 0},
	 VERDICT_NONE, false, HOLD, GATE_PASS, ""},
	{"harm", &strict, {5, 5, 0, 0, 0}, {5, 0, 0, 0, 0},
	 VERDICT_FAIL, false, HOLD, GATE_FAIL, "errors"},
	{"harm beats promote", &strict, {5, 5, 0, 0, 0}, {5, 0, 1, 0, 1},
	 VERDICT_FAIL, false, ON, GATE_FAIL, "errors"},
	{"failures beat promote", &strict, {5, 5, 1, 0, 0}, {4, 0, 1, 0, 1},
	 VERDICT_NONE, false, ON, GATE_FAIL, "failures"},
	{"promoted", &strict, {5, 5, 0, 0, 0}, {5, 0, 0, 0, 1},
	 VERDICT_NONE, true, HOLD, GATE_PASS, ""},
	{"no traffic is no evidence", &strict, {5, 5, 0, 0, 0}, {5, 0, 1, 0, 0},
	 VERDICT_INCONCLUSIVE, false, HOLD, GATE_PASS, ""},
	{"evidence wanted", &strict, {5, 5, 0, 0, 0}, {5, 0, 1, 0, 0},
	 VERDICT_NONE, true, HOLD, GATE_CONTINUE, ""},
	{"evidence there", &strict, {5, 5, 0, 0, 0}, {5, 0, 1, 0, 0},
	 VERDICT_PASS, true, HOLD, GATE_PASS, ""},
	{"evidence there, bakes", &strict, {5, 5, 0, 0, 0}, {5, 0, 0, 0, 0},
	 VERDICT_PASS, true, HOLD, GATE_CONTINUE, ""},
	{"evidence too late", &strict, {5, 5, 0, 0, 0}, {5, 0, 1, 1, 0},
	 VERDICT_NONE, true, HOLD, GATE_HOLD, "evidence"},
	{"... promote", &strict, {5, 5, 0, 0, 0}, {5, 0, 1, 1, 0},
	 VERDICT_NONE, true, ON, GATE_PASS, ""},
	{"... roll back", &strict, {5, 5, 0, 0, 0}, {5, 0, 1, 1, 0},
	 VERDICT_INCONCLUSIVE, true, BACK, GATE_FAIL, "errors"},
};

static void test_order_of_decision(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		struct gate_input input = {.limits = row->limits,
					   .counts = row->counts,
					   .stage = row->stage,
					   .evidence = {row->verdict, row->required, &harm},
					   .on_inconclusive = row->inconclusive};
		struct gate_result result;

		gate_decide(&input, &result);
		if (result.decision != row->decision || !str_equal(result.why.check, row->check))
			fail_msg("%s: decision %d, check \"%s\"", row->name, (int)result.decision,
				 result.why.check);
		assert_int_equal(result.has_evidence, row->verdict != VERDICT_NONE);
	}
}

static void test_limits(void **state)
{
	struct failure_spec percent = {.percent = 10};
	struct failure_spec both = {.nodes = 3, .percent = 10};
	struct gate_counts one = {.changed = 20, .failed = 1}, two = {.changed = 10, .failed = 2};
	struct gate_counts many = {.changed = 100, .failed = 4};

	assert_false(gate_limits_exceeded(&percent, &one, NULL)); /* the count is unused */
	assert_true(gate_limits_exceeded(&percent, &two, NULL));
	assert_true(gate_limits_exceeded(&both, &two, NULL));
	assert_false(gate_limits_exceeded(&percent, &many, NULL));
	assert_true(gate_limits_exceeded(&both, &many, NULL)); /* more than 3 */
}

static void test_too_silent(void **state)
{
	assert_false(gate_too_silent(&strict, 10, 2));
	assert_true(gate_too_silent(&strict, 10, 3));
	assert_true(gate_too_silent(&strict, 4, 1));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_order_of_decision),
	cmocka_unit_test(test_limits),
	cmocka_unit_test(test_too_silent),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
