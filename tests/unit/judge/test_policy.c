/* SPDX-License-Identifier: Apache-2.0 */
/* What `gates:` mean: defaults, weights, refusals, how long evidence takes. */
#include "coordinator/judge/policy.h"

#include "base/str.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct judge_policy policy;

static int make(struct gate_spec *gates, size_t count, struct err *err)
{
	struct deployment_spec spec = {.gates = gates, .gates_count = count};

	return judge_policy_make(&spec, &policy, err);
}

static void test_guard_rail(void **state)
{
	double sum = 0;

	assert_int_equal(make(NULL, 0, NULL), 0);
	assert_int_equal(policy.gates_count, 4);
	for (size_t i = 0; i < policy.gates_count; i++) {
		sum += policy.gates[i].weight;
		assert_false(policy.gates[i].required);
		assert_true(policy.gates[i].tolerance == 1 && policy.gates[i].margin == 2);
	}
	assert_true(fabs(sum - 1) < 1e-12);
	assert_string_equal(policy.gates[0].metric, "error_rate");
	assert_int_equal(policy.gates[2].kind, METRIC_INVALID_OUTPUT);
	assert_int_equal(policy.gates[3].test, TEST_LATENCY);
}

/* Invalid output is added with a tenth of alpha; a dry run has none of it. */
static void test_own_gates(void **state)
{
	struct gate_spec gates[] = {
	    {.metric = "label_error", .weight = 3, .critical = true, .require = GATE_EVIDENCE},
	    {.metric = "prometheus:oom_total", .absolute = true, .slo = 0.01},
	    {.metric = "drift.score", .dry_run = true}};

	assert_int_equal(make(gates, 3, NULL), 0);
	assert_int_equal(policy.gates_count, 4);
	assert_int_equal(policy.gates[0].test, TEST_EXACT);
	assert_true(policy.gates[0].required);
	assert_true(fabs(policy.gates[0].weight - 0.675) < 1e-12);
	assert_int_equal(policy.gates[1].test, TEST_ABSOLUTE);
	assert_string_equal(judge_gate_subject(&policy.gates[1]), "oom_total");
	assert_true(policy.gates[2].weight == 0);
	assert_string_equal(judge_gate_subject(&policy.gates[2]), "score");
	assert_true(fabs(policy.gates[3].weight - 0.1) < 1e-12);
	assert_true(fabs(judge_gate_ln_fail(&policy.gates[0]) - log(1 / 0.05 / 0.675)) < 1e-12);
	policy.gates[0].weight = 0.01; /* critical: at 100, however small its part of alpha */
	assert_true(fabs(judge_gate_ln_fail(&policy.gates[0]) - log(100)) < 1e-12);
}

static void test_refusals(void **state)
{
	static const struct {
		struct gate_spec gate;
		const char *sentence;
	} rows[] = {
	    {{.metric = "errors"}, "gates[0]: metric: `errors` is not known"},
	    {{.metric = "drift."}, "gates[0]: metric: "},
	    {{.metric = "prometheus:"}, "gates[0]: metric: "},
	    {{.metric = "error_rate", .absolute = true}, "gates[0]: slo: "},
	    {{.metric = "error_rate", .slo = 1}, "gates[0]: slo: "},
	    {{.metric = "latency", .absolute = true, .slo = 0.1}, "gates[0]: bound: "},
	    {{.metric = "latency", .absolute = true, .bound_ms = 9}, "gates[0]: slo: "},
	    {{.metric = "latency", .bound_ms = 9}, "gates[0]: bound: "},
	    {{.metric = "latency", .tolerance = 20}, "gates[0]: tolerance: "},
	    {{.metric = "latency", .margin = 1}, "gates[0]: margin: "},
	    {{.metric = "drift.light", .require = GATE_EVIDENCE}, "gates[0]: require: "},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct gate_spec gate = rows[i].gate;
		struct err err = {0};

		assert_int_equal(make(&gate, 1, &err), -EINVAL);
		if (!str_starts(err.text, rows[i].sentence))
			fail_msg("%s", err.text);
	}
}

/* 20 against 80 requests a minute, 0.5 % errors: 137 minutes for a healthy release; and 354
 * requests without a failure prove 1 %. */
static void test_needs(void **state)
{
	struct gate_spec gates[] = {
	    {.metric = "error_rate", .require = GATE_EVIDENCE},
	    {.metric = "timeouts", .absolute = true, .slo = 0.01, .require = GATE_EVIDENCE}};

	assert_int_equal(make(gates, 2, NULL), 0);
	assert_true(fabs(judge_gate_needs(&policy.gates[0], 0.005, 0.2) / 20 - 137) < 1);
	assert_true(fabs(judge_gate_needs(&policy.gates[1], 0, 0.2) - 298) < 1);
	assert_true(isinf(judge_gate_needs(&policy.gates[0], 0, 0.2)));
	assert_true(isinf(judge_gate_needs(&policy.gates[0], 0.1, 1)));
}

static void test_deadlines(void **state)
{
	struct gate_spec gate = {
	    .metric = "error_rate", .require = GATE_EVIDENCE, .deadline_ms = 200000};
	struct deployment_spec spec = {.gates = &gate, .gates_count = 1};
	struct err err = {0};

	assert_int_equal(judge_deadlines_check(&spec, 60000, &err), -EINVAL);
	assert_true(str_starts(err.text, "gates[0]: deadline: 3m20s is too short for evidence"));
	assert_int_equal(judge_deadlines_check(&spec, 50000, NULL), 0);
	gate.dry_run = true;
	assert_int_equal(judge_deadlines_check(&spec, 60000, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_guard_rail), cmocka_unit_test(test_own_gates),
	    cmocka_unit_test(test_refusals),   cmocka_unit_test(test_needs),
	    cmocka_unit_test(test_deadlines),
	};

	return cmocka_run_group_tests_name("judge: policy", tests, NULL, NULL);
}
