/* SPDX-License-Identifier: Apache-2.0 */
/* The node's shell from desired state to a committed release, and what sends it back on the way. */
#include "shell_steps.h"

#include "base/mem.h"
#include "base/str.h"

static const struct digest nothing;

static void happy_path_ends_committed_and_reported(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;

	node_start(node);
	assert_int_equal(node->subscribes, 1);
	first = steps_install(node);
	assert_int_equal(node_report(node)->last.kind, OUTCOME_COMPLETED);
	second = node_release(node, "2.0.0", 100, 4, 5000);
	a = node_assignment(&first, &second, GOAL_SERVE);
	node_desire(node, 2, &a, 1);
	assert_true(node_run_until(node, NODE_STATE_BAKING, 30000));
	assert_digest_equal(node_reached(node), second);
	assert_true(node_run_until(node, NODE_STATE_SERVING, 30000));
	node_run(node, 500);
	assert_digest_equal(node_reached(node), second);
	assert_int_equal(node_report(node)->last.kind, OUTCOME_COMPLETED);
	assert_true(node_report(node)->healthy);
	assert_true(node->status.generation == 2);
	assert_int_equal(node->unroutable, 0);
	assert_int_equal(node->errors, 0);
	assert_true(agent_is_healthy(node->agent));
}

/* ---- leaving ---- */

/* spec: SERV-8 */
static void leaving_drains_and_tells(void **state)
{
	struct node *node = *state;
	struct msg_refused refused = {.text = "this node has left the fleet"};
	struct digest first;
	struct assignment a;

	node_start(node);
	first = steps_install(node);
	agent_leave(node->agent);
	assert_false(agent_is_empty(node->agent));
	a = node_assignment(NULL, &first, GOAL_SERVE);
	node_desire(node, 9, &a, 1); /* was on its way: comes too late */
	node_run(node, 60000);
	assert_true(agent_is_empty(node->agent));
	assert_digest_equal(node_reached(node), nothing);
	assert_true(node->leaves > 0);
	assert_false(agent_was_let_go(node->agent));
	node_send(node, MESSAGE_REFUSED, &refused);
	assert_true(agent_was_let_go(node->agent));
	assert_int_equal(node->unroutable, 0);
}

static void leaving_needs_no_coordinator(void **state)
{
	struct node *node = *state;

	node_start(node);
	steps_install(node);
	node_link(node, false);
	node_restart_agent(node);
	agent_leave(node->agent);
	agent_start(node->agent);
	node_helper(node, true);
	node_run(node, 60000);
	assert_true(agent_is_empty(node->agent));
	assert_digest_equal(node_reached(node), nothing);
	assert_int_equal(node->leaves, 0);
	node_link(node, true);
	node_run(node, 1000);
	assert_int_equal(node->leaves, 1);
	assert_int_equal(node->subscribes, 1); /* of the first start */
}

/* ---- what sends a node back ---- */

static void preflight_that_fails_leaves_the_old_one(void **state)
{
	struct node *node = *state;
	struct digest first;

	node_start(node);
	first = steps_install(node);
	node->bad_preflight = true;
	steps_bad(node, &first);
	steps_went_back(node, &first, "preflight", "memory");
	assert_string_equal(node_report(node)->last.reason.text,
			    "the release asks for more than there is");
}

static void unpack_that_fails_leaves_the_old_one(void **state)
{
	struct node *node = *state;
	struct digest first;

	node_start(node);
	first = steps_install(node);
	node->bad_unpack = true;
	steps_bad(node, &first);
	steps_went_back(node, &first, "unpack", "layer");
}

/* The helper found damage: nothing is believed before it was read again. */
/* spec: REL-8 */
static void damage_is_looked_at_before_the_next_attempt(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;

	node_start(node);
	first = steps_install(node);
	node->bad_unpack = true;
	second = steps_bad(node, &first);
	steps_went_back(node, &first, "unpack", "layer");
	assert_false(node->world.store.sealed(node->world.store.context, &second));
	node->bad_unpack = false;
	a = node_assignment(&first, &second, GOAL_SERVE);
	a.attempt = 1;
	node_desire(node, 3, &a, 1);
	assert_true(node_run_until(node, NODE_STATE_BAKING, 30000));
	assert_true(node->world.store.sealed(node->world.store.context, &second));
}

/* A disk that forgot is not the release's fault. */
static void damage_is_mended_without_blame(void **state)
{
	struct node *node = *state;
	struct digest first, second;

	node_start(node);
	first = steps_install(node);
	node->damaged_once = true;
	second = steps_bad(node, &first);
	assert_true(node_run_until(node, NODE_STATE_BAKING, 30000));
	assert_false(node->damaged_once);
	assert_digest_equal(node_reached(node), second);
	assert_true(node->world.store.sealed(node->world.store.context, &second));
}

static void start_that_fails_leaves_the_old_one(void **state)
{
	struct node *node = *state;
	struct digest first;

	node_start(node);
	first = steps_install(node);
	node->bad_start = true;
	steps_bad(node, &first);
	steps_went_back(node, &first, "start", "start");
	assert_string_equal(node_report(node)->last.reason.log, "runc: exec failed\n");
}

static void server_that_never_answers_leaves_the_old_one(void **state)
{
	struct node *node = *state;
	struct digest first;

	node_start(node);
	first = steps_install(node);
	node->bad_probe = true;
	steps_bad(node, &first);
	steps_went_back(node, &first, "ready", "health");
}

/* spec: NODE-2 */
static void smoke_test_that_fails_leaves_the_old_one(void **state)
{
	struct node *node = *state;
	struct digest first;

	node_start(node);
	first = steps_install(node);
	node->bad_smoke = true;
	steps_bad(node, &first);
	steps_went_back(node, &first, "smoke", "smoke:seven");
	assert_string_equal(node_report(node)->last.reason.text, "expected label 7, got 1");
}

static void health_that_fails_in_the_bake_goes_back(void **state)
{
	struct node *node = *state;
	struct digest first, second;

	node_start(node);
	first = steps_install(node);
	second = steps_bad(node, &first);
	assert_true(node_run_until(node, NODE_STATE_BAKING, 60000));
	assert_digest_equal(node_reached(node), second);
	node->bad_probe = true;
	steps_went_back(node, &first, "bake", "health");
}

static void exit_in_the_bake_goes_back_at_once(void **state)
{
	struct node *node = *state;
	struct digest first, second;

	node_start(node);
	first = steps_install(node);
	second = steps_bad(node, &first);
	assert_true(node_run_until(node, NODE_STATE_BAKING, 60000));
	node_exit_slot(node, &second);
	node_run(node, 200);
	assert_digest_equal(node_reached(node), first);
	steps_went_back(node, &first, "bake", "exited");
	assert_string_equal(node_report(node)->last.reason.log, "Segfault\n");
}

static void map_that_cannot_be_changed_goes_back(void **state)
{
	struct node *node = *state;
	struct digest first, second;

	node_start(node);
	first = steps_install(node);
	second = node_release(node, "2.0.0", 100, 3, 5000);
	(void)second;
	node->bad_traffic = true;
	steps_bad(node, &first);
	node_run(node, 20000);
	node->bad_traffic = false;
	steps_went_back(node, &first, "switch", "route");
}

/* spec: NODE-13 */
static void coordinator_takes_a_committed_release_back(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;

	node_start(node);
	first = steps_install(node);
	second = node_release(node, "2.0.0", 100, 3, 5000);
	a = node_assignment(&first, &second, GOAL_SERVE);
	a.hold_old = true;
	node_desire(node, 2, &a, 1);
	assert_true(node_run_until(node, NODE_STATE_SERVING, 60000));
	node_run(node, 500);
	assert_digest_equal(node_reached(node), second);
	a.revert = true;
	node_desire(node, 3, &a, 1);
	node_run(node, 1000);
	assert_digest_equal(node_reached(node), first);
	assert_int_equal(node_report(node)->last.kind, OUTCOME_ROLLED_BACK);
	assert_string_equal(node_report(node)->last.reason.phase, "coordinator");
}

static void deadline_ends_a_change_that_does_not_come_on(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;

	node_start(node);
	first = steps_install(node);
	second = node_release(node, "2.0.0", 100, 3, 5000);
	node->bad = second;
	node->bad_probe = true;
	a = node_assignment(&first, &second, GOAL_SERVE);
	a.node_deadline_ms = 1500; /* before the start period of the probe is over */
	node_desire(node, 2, &a, 1);
	steps_went_back(node, &first, "deadline", "ready");
}

static void what_was_rolled_back_does_not_run_again(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;
	size_t starts;

	node_start(node);
	first = steps_install(node);
	node->bad_smoke = true;
	second = steps_bad(node, &first);
	steps_went_back(node, &first, "smoke", "smoke:seven");
	node->bad_smoke = false;
	starts = node->asked[HELPER_START];
	a = node_assignment(&first, &second, GOAL_SERVE);
	a.rollout.bytes[0] ^= 1;
	node_desire(node, 3, &a, 1);
	node_run(node, 30000);
	node_restart_agent(node);
	node_start(node);
	node_run(node, 30000);
	assert_int_equal(node->asked[HELPER_START], starts);
	assert_digest_equal(node_reached(node), first);
	a.attempt = 1;
	node_desire(node, 4, &a, 1);
	assert_true(node_run_until(node, NODE_STATE_BAKING, 30000));
	assert_digest_equal(node_reached(node), second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STEPS_TEST(happy_path_ends_committed_and_reported),
		STEPS_TEST(leaving_drains_and_tells),
		STEPS_TEST(leaving_needs_no_coordinator),
		STEPS_TEST(preflight_that_fails_leaves_the_old_one),
		STEPS_TEST(unpack_that_fails_leaves_the_old_one),
		STEPS_TEST(damage_is_looked_at_before_the_next_attempt),
		STEPS_TEST(damage_is_mended_without_blame),
		STEPS_TEST(start_that_fails_leaves_the_old_one),
		STEPS_TEST(server_that_never_answers_leaves_the_old_one),
		STEPS_TEST(smoke_test_that_fails_leaves_the_old_one),
		STEPS_TEST(health_that_fails_in_the_bake_goes_back),
		STEPS_TEST(exit_in_the_bake_goes_back_at_once),
		STEPS_TEST(map_that_cannot_be_changed_goes_back),
		STEPS_TEST(coordinator_takes_a_committed_release_back),
		STEPS_TEST(deadline_ends_a_change_that_does_not_come_on),
		STEPS_TEST(what_was_rolled_back_does_not_run_again),
	};

	return cmocka_run_group_tests_name("agent shell", tests, NULL, NULL);
}
