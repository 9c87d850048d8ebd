/* SPDX-License-Identifier: Apache-2.0 */
/* Each step ends with what must be true then, so that a test that fails says where. */
#include "shell_steps.h"

#include "base/mem.h"

int steps_setup(void **state)
{
	struct node *node = mem_alloc(sizeof(*node));

	node_create(node);
	*state = node;
	return 0;
}

int steps_teardown(void **state)
{
	node_destroy(*state);
	free(*state);
	return 0;
}

struct digest steps_install(struct node *node)
{
	struct digest first = node_release(node, "1.0.0", 1, 3, 5000);
	struct assignment a = node_assignment(NULL, &first, GOAL_SERVE);

	node_desire(node, 1, &a, 1);
	assert_true(node_run_until(node, NODE_STATE_SERVING, 60000));
	node_run(node, 500);
	assert_digest_equal(node_reached(node), first);
	return first;
}

struct digest steps_bad(struct node *node, const struct digest *first)
{
	struct digest second = node_release(node, "2.0.0", 100, 3, 5000);
	struct assignment a = node_assignment(first, &second, GOAL_SERVE);

	node->bad = second;
	node_desire(node, 2, &a, 1);
	return second;
}

void steps_went_back(struct node *node, const struct digest *first, const char *phase,
		     const char *check)
{
	const struct deployment_report *report;

	assert_true(node_run_until(node, NODE_STATE_ROLLED_BACK, 700000));
	node_run(node, 10000);
	report = node_report(node);
	assert_digest_equal(node_reached(node), *first);
	assert_int_equal(report->last.kind, OUTCOME_ROLLED_BACK);
	assert_string_equal(report->last.reason.phase, phase);
	assert_string_equal(report->last.reason.check, check);
	assert_true(report->healthy);
	assert_true(agent_is_healthy(node->agent));
	assert_int_equal(node->unroutable, 0);
}
