/* SPDX-License-Identifier: Apache-2.0 */
/* The coordinator and the helper away, late or wrong, and what both are told. */
#include "shell_steps.h"

#include "base/mem.h"
#include "base/str.h"

static const struct digest nothing;

/* ---- the coordinator ---- */

/* spec: NODE-26 */
static void verdict_of_an_offline_node_arrives_later(void **state)
{
	struct node *node = *state;
	struct digest first, second;

	node_start(node);
	first = steps_install(node);
	second = steps_bad(node, &first);
	assert_true(node_run_until(node, NODE_STATE_BAKING, 60000));
	node_link(node, false);
	node->bad_probe = true;
	node_run(node, 60000);
	assert_digest_equal(node_reached(node), first);
	assert_int_equal(node_report(node)->last.kind, OUTCOME_COMPLETED); /* still the old news */
	node_link(node, true);
	node_run(node, 1000);
	assert_int_equal(node_report(node)->last.kind, OUTCOME_ROLLED_BACK);
	assert_digest_equal(node_report(node)->last.release, second);
	assert_true(node->subscribed.generation == 2);
}

/* spec: NODE-3 */
static void node_commits_without_the_coordinator(void **state)
{
	struct node *node = *state;
	struct digest first, second;

	node_start(node);
	first = steps_install(node);
	second = steps_bad(node, &first);
	assert_true(node_run_until(node, NODE_STATE_BAKING, 60000));
	node_link(node, false);
	node_run(node, 60000);
	node_restart_agent(node);
	node_start(node);
	assert_digest_equal(node_reached(node), second);
	assert_int_equal(node_report(node)->last.kind, OUTCOME_COMPLETED);
	assert_digest_equal(node_report(node)->last.release, second);
}

/* spec: NODE-22 */
static void older_desired_state_is_refused(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;

	node_start(node);
	first = steps_install(node);
	second = node_release(node, "2.0.0", 100, 3, 5000);
	a = node_assignment(&first, NULL, GOAL_NONE);
	node_desire(node, 7, &a, 1);
	a = node_assignment(&first, &second, GOAL_SERVE);
	node_desire(node, 6, &a, 1);
	node_run(node, 5000);
	assert_digest_equal(node_reached(node), first);
	assert_true(node->status.generation == 7);
	node_restart_agent(node);
	node_start(node);
	assert_true(node->subscribed.generation == 7);
	node_desire(node, 6, &a, 1);
	node_run(node, 5000);
	assert_digest_equal(node_reached(node), first);
}

static void garbage_from_the_coordinator_changes_nothing(void **state)
{
	struct node *node = *state;
	uint8_t bytes[64];

	node_start(node);
	for (unsigned i = 0; i < 2000; i++) {
		for (size_t k = 0; k < sizeof(bytes); k++)
			bytes[k] = (uint8_t)(i * 31 + k * 17 + (i >> 3) * k);
		agent_on_message(node->agent, bytes, i % sizeof(bytes));
	}
	node_run(node, 1000);
	assert_int_equal(node->status.deployments_count, 0);
}

/* spec: NODE-18 */
static void deployment_that_leaves_is_drained_and_removed(void **state)
{
	struct node *node = *state;

	node_start(node);
	steps_install(node);
	node_desire(node, 2, NULL, 0);
	node_run(node, 60000);
	assert_digest_equal(node_reached(node), nothing);
	assert_int_equal(node->map_count, 0);
	for (size_t i = 0; i < NODE_SLOTS; i++)
		assert_false(node->slots[i].used);
	assert_int_equal(node->status.deployments_count, 0);
}

/* spec: NODE-17 */
static void first_install_that_fails_closes_the_port(void **state)
{
	struct node *node = *state;
	struct digest first = node_release(node, "1.0.0", 1, 3, 5000);
	struct assignment a = node_assignment(NULL, &first, GOAL_SERVE);

	node_start(node);
	node->bad = first;
	node->bad_smoke = true;
	node_desire(node, 1, &a, 1);
	assert_true(node_run_until(node, NODE_STATE_ROLLED_BACK, 60000));
	node_run(node, 10000);
	assert_digest_equal(node_reached(node), nothing);
	for (size_t i = 0; i < NODE_SLOTS; i++)
		assert_false(node->slots[i].used);
}

/* ---- the helper ---- */

static void helper_that_comes_back_is_asked_again(void **state)
{
	struct node *node = *state;
	struct digest first, second;

	node_start(node);
	first = steps_install(node);
	second = steps_bad(node, &first);
	for (int i = 0; i < 8; i++) {
		node_run(node, 70);
		node_helper(node, false);
		node_run(node, 100);
		node_helper(node, true);
	}
	assert_true(node_run_until(node, NODE_STATE_BAKING, 60000));
	assert_digest_equal(node_reached(node), second);
	assert_true(node_run_until(node, NODE_STATE_SERVING, 60000));
}

static void exit_while_the_helper_was_away_is_noticed(void **state)
{
	struct node *node = *state;
	struct digest first;
	size_t starts;

	node_start(node);
	first = steps_install(node);
	starts = node->asked[HELPER_START];
	node_helper(node, false);
	node_exit_slot(node, &first);
	node_run(node, 500);
	node_helper(node, true);
	node_run(node, 2500); /* sooner than three probes could tell */
	assert_int_equal(node->asked[HELPER_START], starts + 1);
	node_run(node, 2500);
	assert_digest_equal(node_reached(node), first);
	assert_true(agent_is_healthy(node->agent));
}

static void release_that_the_helper_forgot_is_unpacked_again(void **state)
{
	struct node *node = *state;
	struct digest first;
	size_t unpacks;

	node_start(node);
	first = steps_install(node);
	unpacks = node->asked[HELPER_UNPACK];
	node->forgotten = true;
	node_exit_slot(node, &first);
	node_run(node, 10000);
	assert_int_equal(node->asked[HELPER_UNPACK], unpacks + 1);
	assert_digest_equal(node_reached(node), first);
}

static void stray_slot_is_emptied_once_desired_state_is_known(void **state)
{
	struct node *node = *state;

	node->slots[5] = (struct node_slot){.used = true, .deployment = "old", .number = 7};
	node_start(node);
	node_run(node, 70000);
	assert_true(node->slots[5].used); /* nobody has said yet what shall run here */
	steps_install(node);
	node_run(node, 70000);
	assert_false(node->slots[5].used);
}

static void logs_travel_to_who_asked(void **state)
{
	struct node *node = *state;
	struct msg_logs_wanted wanted = {.id = 9, .deployment = "ocr", .lines = 2};

	node_start(node);
	steps_install(node);
	node_send(node, MESSAGE_LOGS_WANTED, &wanted);
	node_run(node, 100);
	assert_string_equal(node->logs, "line one\nline two\n");
	STR_CUT(wanted.deployment, "none");
	node_send(node, MESSAGE_LOGS_WANTED, &wanted);
	assert_int_equal(node->log_answers, 2);
}

/* ---- reporting and rest ---- */

/* spec: LINK-1 */
static void status_is_sent_until_it_is_acknowledged(void **state)
{
	struct node *node = *state;
	size_t before;

	node->no_acks = true;
	node_start(node);
	before = node->statuses;
	node_run(node, 30000);
	assert_in_range(node->statuses, before + 2, before + 6);
	node->no_acks = false;
	node_run(node, 60000);
	before = node->statuses;
	node_run(node, 150000);
	assert_in_range(node->statuses, before, before + 1);
}

static void command_probe_survives_the_helper(void **state)
{
	struct node *node = *state;
	size_t probes;

	node->by_command = true;
	node_start(node);
	steps_install(node);
	assert_true(node->asked[HELPER_EXEC] > 0);
	for (int i = 0; i < 3; i++) {
		probes = node->asked[HELPER_EXEC];
		while (node->asked[HELPER_EXEC] == probes)
			node_run(node, 5);
		node_helper(node, false); /* with a probe under way */
		node_run(node, 50);
		node_helper(node, true);
	}
	node_run(node, 10000);
	probes = node->asked[HELPER_EXEC];
	node_run(node, 20000);
	assert_in_range(node->asked[HELPER_EXEC], probes + 9, probes + 11);
	assert_int_equal(node->asked[HELPER_START], 1); /* the server was well all the time */
	assert_true(agent_is_healthy(node->agent));
}

/* The coordinator may be a new process that knows nothing. */
/* spec: LINK-1 */
static void every_new_link_brings_a_status(void **state)
{
	struct node *node = *state;
	size_t before;

	node_start(node);
	steps_install(node);
	node_run(node, 60000);
	before = node->statuses;
	node_link(node, false);
	node_run(node, 1000);
	node_link(node, true);
	node_run(node, 1000);
	assert_true(node->statuses > before);
	assert_int_equal(node->subscribes, 2);
}

/* spec: LINK-2 */
static void silence_of_a_linked_coordinator_is_noticed(void **state)
{
	struct node *node = *state;

	node->no_acks = true;
	node_start(node);
	node_run(node, 120000);
	assert_in_range(node->relinks, 1, 3);
}

/* spec: NODE-31 */
static void idle_agent_writes_nothing_and_sleeps(void **state)
{
	struct node *node = *state;
	uint64_t commits, order;
	size_t beats;

	node_start(node);
	steps_install(node);
	node_run(node, 60000);
	commits = journal_commits(node->journal);
	order = node->order;
	beats = node->heartbeats;
	node_run(node, 2 * 3600000);
	assert_int_equal(journal_commits(node->journal), commits);
	/* a probe each two seconds, and nothing else is asked of anybody */
	assert_in_range(node->order - order, 3590, 3610);
	assert_in_range(node->heartbeats - beats, 500, 750);
}

static void shortage_of_memory_stops_the_warm_slot(void **state)
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
	node_run(node, 60000);
	assert_true(node->slots[0].used && node->slots[1].used);
	node->is_short = true;
	node_run(node, 30000);
	assert_true(node->slots[0].used != node->slots[1].used);
	assert_digest_equal(node_reached(node), second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STEPS_TEST(verdict_of_an_offline_node_arrives_later),
		STEPS_TEST(node_commits_without_the_coordinator),
		STEPS_TEST(older_desired_state_is_refused),
		STEPS_TEST(garbage_from_the_coordinator_changes_nothing),
		STEPS_TEST(deployment_that_leaves_is_drained_and_removed),
		STEPS_TEST(first_install_that_fails_closes_the_port),
		STEPS_TEST(helper_that_comes_back_is_asked_again),
		STEPS_TEST(exit_while_the_helper_was_away_is_noticed),
		STEPS_TEST(release_that_the_helper_forgot_is_unpacked_again),
		STEPS_TEST(stray_slot_is_emptied_once_desired_state_is_known),
		STEPS_TEST(logs_travel_to_who_asked),
		STEPS_TEST(status_is_sent_until_it_is_acknowledged),
		STEPS_TEST(command_probe_survives_the_helper),
		STEPS_TEST(every_new_link_brings_a_status),
		STEPS_TEST(silence_of_a_linked_coordinator_is_noticed),
		STEPS_TEST(idle_agent_writes_nothing_and_sleeps),
		STEPS_TEST(shortage_of_memory_stops_the_warm_slot),
	};

	return cmocka_run_group_tests_name("agent shell: link", tests, NULL, NULL);
}
