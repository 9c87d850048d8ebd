/* SPDX-License-Identifier: Apache-2.0 */
/* The deployment's declaration: its defaults, and each thing that makes no sense. */
#include "base/mem.h"
#include "base/str.h"
#include "protocol/spec.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

/* Two canary stages, as in product documents. */
static void make_spec(struct deployment_spec *s)
{
	deployment_spec_defaults(s);
	STR_CUT(s->name, "ocr");
	STR_CUT(s->model, "ocr");
	STR_CUT(s->version, "2.1.0");
	STR_CUT(s->selector, "site in (lyon,paris),hw!=old");
	s->stages = mem_resize(s->stages, 2, sizeof(*s->stages));
	s->stages[1] = (struct stage_spec){
	    .nodes = {.percent = true, .value = 10}, .bake_ms = 30 * MINUTE, .where = "ring=1"};
	s->stages_count = 2;
	s->gates = mem_array(2, sizeof(*s->gates));
	s->gates_count = 2;
	for (size_t i = 0; i < 2; i++)
		STR_CUT(s->gates[i].metric, "errors");
}

#define REFUSED(says, ...)                                                                     \
	do {                                                                                   \
		struct deployment_spec s;                                                      \
		struct err err = {0};                                                          \
		make_spec(&s);                                                                 \
		__VA_ARGS__;                                                                   \
		if (deployment_spec_check(&s, &err) != -EINVAL || !str_starts(err.text, says)) \
			fail_msg("%s / %s", #__VA_ARGS__, err.text);                           \
		deployment_spec_free(&s);                                                      \
	} while (0)

#define ACCEPTED(...)                                                \
	do {                                                         \
		struct deployment_spec s;                            \
		struct err err = {0};                                \
		make_spec(&s);                                       \
		__VA_ARGS__;                                         \
		if (deployment_spec_check(&s, &err) != 0)            \
			fail_msg("%s / %s", #__VA_ARGS__, err.text); \
		deployment_spec_free(&s);                            \
	} while (0)

static void test_defaults(void **state)
{
	struct deployment_spec s;

	deployment_spec_defaults(&s);
	assert_int_equal(s.swap, SWAP_START_FIRST);
	assert_int_equal(s.drain_ms, 30 * SECOND);
	assert_int_equal(s.keep_warm_ms, 10 * MINUTE);
	assert_int_equal(s.strategy, STRATEGY_CANARY);
	assert_int_equal(s.stages_count, 1);
	assert_false(s.stages[0].nodes.percent);
	assert_int_equal(s.stages[0].nodes.value, 1);
	assert_int_equal(s.stages[0].bake_ms, 5 * MINUTE);
	assert_true(s.batch.percent && s.batch.value == 20);
	assert_true(s.max_unavailable.percent && s.max_unavailable.value == 20);
	assert_int_equal(s.failures.nodes, 0);
	assert_int_equal(s.failures.percent, 0);
	assert_true(s.failures.unreachable.percent && s.failures.unreachable.value == 20);
	assert_int_equal(s.deadlines.node_ms, 10 * MINUTE);
	assert_int_equal(s.deadlines.stage_ms, 2 * HOUR);
	assert_int_equal(s.deadlines.rollout_ms, 24 * HOUR);
	/* Three lines of YAML are enough. */
	STR_CUT(s.name, "ocr");
	STR_CUT(s.model, "ocr");
	STR_CUT(s.version, "2.1.0");
	STR_CUT(s.selector, "all");
	assert_int_equal(deployment_spec_check(&s, NULL), 0);
	deployment_spec_free(&s);
}

static void test_names(void **state)
{
	ACCEPTED((void)0);
	REFUSED("deployment: ", s.name[0] = 0);
	REFUSED("deployment: ", STR_CUT(s.name, "Ocr"));
	REFUSED("release: ", s.model[0] = 0);
	REFUSED("release: ", s.version[0] = 0);
	REFUSED("nodes: ", s.selector[0] = 0);
	REFUSED("nodes: character 5:", STR_CUT(s.selector, "site>1"));
}

static void test_stages(void **state)
{
	REFUSED("strategy.canary.stages: ", s.stages_count = 0);
	REFUSED("strategy.canary.stages[1].percent: ", s.stages[1].nodes.value = 101);
	REFUSED("strategy.canary.stages[1].percent: ", s.stages[1].nodes.value = 0);
	REFUSED("strategy.canary.stages[0].nodes: ", s.stages[0].nodes.value = 0);
	REFUSED("strategy.canary.stages[1].bake: ", s.stages[1].bake_ms = UINT64_MAX);
	REFUSED("strategy.canary.stages[1].where: character 5:",
	        STR_CUT(s.stages[1].where, "ring>1"));
	REFUSED("strategy.canary.batch: ", s.batch.value = 0);
	ACCEPTED(s.stages[1].nodes.value = 100);
	ACCEPTED(s.stages[0].bake_ms = 0);
}

static void test_other_strategies(void **state)
{
	ACCEPTED(s.strategy = STRATEGY_ROLLING);
	ACCEPTED(s.strategy = STRATEGY_BLUE_GREEN, s.batch_bake_ms = 10 * MINUTE);
	/* Stages and batches of another strategy do not count. */
	ACCEPTED(s.strategy = STRATEGY_ROLLING, s.stages_count = 0);
	ACCEPTED(s.strategy = STRATEGY_BLUE_GREEN, s.batch.value = 0);
	REFUSED("strategy.rolling.batch: ", s.strategy = STRATEGY_ROLLING, s.batch.value = 101);
	REFUSED("strategy.rolling.bake: ", s.strategy = STRATEGY_ROLLING,
	        s.batch_bake_ms = UINT64_MAX);
	REFUSED("strategy.blue_green.bake: ", s.strategy = STRATEGY_BLUE_GREEN,
	        s.batch_bake_ms = UINT64_MAX);
	REFUSED("strategy: ", s.strategy = STRATEGY_COUNT);
}

static void test_budgets(void **state)
{
	ACCEPTED(STR_CUT(s.per_label, "site"), s.per_label_nodes = 1);
	ACCEPTED(s.failures.unreachable.value = 0);
	ACCEPTED(s.failures.nodes = 1, s.failures.percent = 10);
	REFUSED("max_unavailable: ", s.max_unavailable.value = 0);
	REFUSED("max_unavailable: ", s.max_unavailable.value = 101);
	REFUSED("max_unavailable_per.label: ", s.per_label_nodes = 1);
	REFUSED("max_unavailable_per.label: ", STR_CUT(s.per_label, "a=b"), s.per_label_nodes = 1);
	REFUSED("max_unavailable_per.nodes: ", STR_CUT(s.per_label, "site"));
	REFUSED("failures.percent: ", s.failures.percent = 101);
	REFUSED("failures.unreachable: ", s.failures.unreachable.value = 101);
}

static void test_deadlines(void **state)
{
	REFUSED("deadlines.node: ", s.deadlines.node_ms = 0);
	REFUSED("deadlines.stage: ", s.deadlines.stage_ms = 0);
	REFUSED("deadlines.rollout: ", s.deadlines.rollout_ms = 0);
	REFUSED("deadlines.rollout: ", s.deadlines.rollout_ms = UINT64_MAX);
	REFUSED("drain: ", s.drain_ms = UINT64_MAX);
	REFUSED("keep_warm: ", s.keep_warm_ms = UINT64_MAX);
	REFUSED("deadlines.stage: 30m is too short: strategy.canary.stages[1] bakes for 30m",
	        s.deadlines.stage_ms = 30 * MINUTE);
	ACCEPTED(s.deadlines.stage_ms = 30 * MINUTE + 1);
	/* 5m + 30m + 1m of the rest */
	REFUSED("deadlines.rollout: 36m is too short: the bakes alone take 36m",
	        s.deadlines.rollout_ms = 36 * MINUTE);
	ACCEPTED(s.deadlines.rollout_ms = 37 * MINUTE);
	REFUSED("deadlines.stage: 2h is too short: the rest of a canary bakes for 3h",
	        s.batch_bake_ms = 3 * HOUR);
	REFUSED("deadlines.stage: ", s.strategy = STRATEGY_ROLLING, s.batch_bake_ms = 2 * HOUR);
}

static void test_windows(void **state)
{
	ACCEPTED(STR_CUT(s.windows.download, "22:00-06:00"),
	         STR_CUT(s.windows.swap, "Mon-Fri 01:00-05:00"),
	         STR_CUT(s.windows.timezone, "America/Port-au-Prince"));
	REFUSED("windows.download: ", STR_CUT(s.windows.download, "22-6"));
	REFUSED("windows.switch: ", STR_CUT(s.windows.swap, "Mo 01:00-05:00"));
	REFUSED("windows.timezone: ", STR_CUT(s.windows.timezone, "../../etc/passwd"));
	REFUSED("windows.timezone: ", STR_CUT(s.windows.timezone, "/etc/passwd"));
	REFUSED("windows.timezone: ", STR_CUT(s.windows.timezone, "Europe/Paris\n"));
}

static void test_gates(void **state)
{
	ACCEPTED(s.gates[1].absolute = true, s.gates[1].slo = 0.01);
	REFUSED("gates[1]: metric: ", s.gates[1].metric[0] = 0);
	REFUSED("gates[0]: tolerance: ", s.gates[0].tolerance = -1);
	REFUSED("gates[0]: margin: ", s.gates[0].margin = NAN);
	REFUSED("gates[1]: weight: ", s.gates[1].weight = INFINITY);
	REFUSED("gates[1]: min_bake: ", s.gates[1].min_bake_ms = 2 * HOUR);
	REFUSED("gates[1]: deadline: ", s.gates[1].min_bake_ms = 2, s.gates[1].deadline_ms = 1);
	REFUSED("gates: ", s.gates = mem_resize(s.gates, LIMIT_GATES + 1, sizeof(*s.gates)),
	        memset(s.gates, 0, (LIMIT_GATES + 1) * sizeof(*s.gates)),
	        s.gates_count = LIMIT_GATES + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_defaults), cmocka_unit_test(test_names),
	    cmocka_unit_test(test_stages),   cmocka_unit_test(test_other_strategies),
	    cmocka_unit_test(test_budgets),  cmocka_unit_test(test_deadlines),
	    cmocka_unit_test(test_windows),  cmocka_unit_test(test_gates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
