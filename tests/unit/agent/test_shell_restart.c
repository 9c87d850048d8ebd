/* SPDX-License-Identifier: Apache-2.0 */
/* Kills, reboots and a disk that takes nothing: what is known afterwards, and what was told. */
#include "shell_steps.h"

#include "base/mem.h"
#include "base/str.h"

#include <sqlite3.h>

/* Kills the agent `at` ms after a rollout began. */
static void kill_during_rollout(unsigned at, bool bad)
{
	struct node *node = mem_alloc(sizeof(*node));
	struct digest first, second;

	node_create(node);
	node_start(node);
	first = steps_install(node);
	node->bad_probe = false;
	second = steps_bad(node, &first);
	node->bad_smoke = bad;
	node_run(node, at);
	node_restart_agent(node);
	node_start(node);
	if (bad) {
		steps_went_back(node, &first, "smoke", "smoke:seven");
	} else {
		assert_true(node_run_until(node, NODE_STATE_SERVING, 60000));
		node_run(node, 15000);
		assert_digest_equal(node_reached(node), second);
		assert_int_equal(node_report(node)->last.kind, OUTCOME_COMPLETED);
		assert_digest_equal(node_report(node)->last.release, second);
	}
	assert_int_equal(node->unroutable, 0);
	node_destroy(node);
	free(node);
}

/* The coordinator keeps the newest status of a node by boot epoch and sequence. */
static void a_lost_journal_does_not_make_reports_look_old(void **state)
{
	struct node *node = mem_alloc(sizeof(*node));
	AUTO_FREE char *command = NULL;
	struct node_status first, second, third;

	node_create(node);
	node_start(node);
	agent_status(node->agent, &first);
	node_restart_agent(node);
	agent_status(node->agent, &second);
	assert_true(second.boot_epoch == first.boot_epoch + 1);
	command = mem_format("rm -f %s/journal.db*", node->dir);
	node->now_ms += 60000;
	assert_int_equal(system(command), 0);
	node_restart_agent(node);
	agent_status(node->agent, &third);
	assert_true(third.boot_epoch > second.boot_epoch);
	codec_free(&codec_node_status, &first);
	codec_free(&codec_node_status, &second);
	codec_free(&codec_node_status, &third);
	node_destroy(node);
	free(node);
}

/* spec: NODE-24 */
static void agent_may_be_killed_at_any_moment(void **state)
{
	for (unsigned at = 0; at < 1200; at += 15)
		kill_during_rollout(at, false);
	for (unsigned at = 1200; at < 12000; at += 450)
		kill_during_rollout(at, false);
}

static void kill_does_not_hide_a_failure(void **state)
{
	for (unsigned at = 0; at < 900; at += 15)
		kill_during_rollout(at, true);
}

static void reboot_starts_what_was_committed_without_the_network(void **state)
{
	struct node *node = *state;
	struct digest first;

	node_start(node);
	first = steps_install(node);
	node_reboot(node);
	agent_start(node->agent);
	node_helper(node, true);
	node_run(node, 5000);
	assert_digest_equal(node_reached(node), first);
	assert_true(agent_is_healthy(node->agent));
	assert_int_equal(node->subscribes, 1);
}

static void reboot_in_the_bake_bakes_again(void **state)
{
	struct node *node = *state;
	struct digest first, second;

	node_start(node);
	first = steps_install(node);
	second = steps_bad(node, &first);
	assert_true(node_run_until(node, NODE_STATE_BAKING, 60000));
	node_run(node, 8000);
	node_reboot(node);
	agent_start(node->agent);
	node_helper(node, true);
	node_run(node, 8000); /* 16 s of bake in all, but not 10 in a row */
	assert_digest_equal(node_reached(node), second);
	node_link(node, true);
	node_run(node, 500);
	assert_int_equal(node_report(node)->state, NODE_STATE_BAKING);
	assert_true(node_run_until(node, NODE_STATE_SERVING, 20000));
}

static void reboot_before_the_switch_discards_the_idle_slot(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;

	node_start(node);
	first = steps_install(node);
	second = node_release(node, "2.0.0", 100, 3, 5000);
	a = node_assignment(&first, &second, GOAL_PREPARE);
	node_desire(node, 2, &a, 1);
	node_run(node, 5000);
	assert_true(node_report(node)->proven);
	node_reboot(node);
	agent_start(node->agent);
	node_helper(node, true);
	node_run(node, 5000);
	assert_digest_equal(node_reached(node), first);
}

/* ---- the journal ---- */

/* Somebody holds the journal: the agent can decide, but not write. */
/* spec: NODE-23 */
static void decision_that_is_not_written_is_not_carried_out(void **state)
{
	struct node *node = *state;
	AUTO_FREE char *path = mem_format("%s/journal.db", node->dir);
	struct digest first, second;
	struct assignment a;
	size_t asked = 0;
	sqlite3 *db;

	node_start(node);
	first = steps_install(node);
	second = node_release(node, "2.0.0", 100, 3, 5000);
	a = node_assignment(&first, &second, GOAL_SERVE);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	node->gets = 0;
	asked = node->asked[HELPER_START] + node->asked[HELPER_PREFLIGHT];
	node_desire(node, 2, &a, 1);
	node_run(node, 3000);
	assert_int_equal(node->gets, 0);
	assert_int_equal(node->asked[HELPER_START] + node->asked[HELPER_PREFLIGHT], asked);
	assert_true(node->errors > 0);
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_true(node_run_until(node, NODE_STATE_BAKING, 60000));
	node_restart_agent(node);
	node_start(node);
	assert_true(node->subscribed.generation == 2);
	assert_digest_equal(node_reached(node), second);
}

static int disk_is_full(void *arg)
{
	return *(const bool *)arg ? -ENOSPC : 0;
}

/* It changes nothing, says nothing that a crash could undo, and takes nobody for dead because it
 * did not look. */
/* spec: REL-7 */
static void node_with_a_full_disk_goes_on_serving(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;
	size_t starts, stops, statuses;
	bool full = true;

	node_start(node);
	first = steps_install(node);
	second = node_release(node, "2.0.0", 100, 3, 5000);
	a = node_assignment(&first, &second, GOAL_SERVE);
	starts = node->asked[HELPER_START];
	stops = node->asked[HELPER_STOP];
	statuses = node->statuses;
	journal_on_write(node->journal, disk_is_full, &full);
	node_desire(node, 2, &a, 1);
	node_run(node, 100000);
	assert_int_equal(node->asked[HELPER_START], starts);
	assert_int_equal(node->statuses, statuses);
	full = false;
	assert_true(node_run_until(node, NODE_STATE_BAKING, 60000));
	assert_int_equal(node->asked[HELPER_START], starts + 1); /* the new one */
	assert_int_equal(node->asked[HELPER_STOP], stops);
	assert_digest_equal(node_reached(node), second);
}

/* What is known but not written is known to nobody else: after a reboot it would not be true. */
static void verdict_that_is_not_written_is_not_told(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;
	bool full = true;
	size_t beats;

	node_start(node);
	first = steps_install(node);
	second = steps_bad(node, &first);
	assert_true(node_run_until(node, NODE_STATE_BAKING, 60000));
	node_run(node, 1000);
	journal_on_write(node->journal, disk_is_full, &full);
	a = node_assignment(&first, &second, GOAL_SERVE);
	a.drain_ms = 5000;
	node_desire(node, 9, &a, 1);
	node->bad_probe = true;
	beats = node->heartbeats;
	node_run(node, 60000);
	assert_true(node->heartbeats > beats + 2);
	assert_true(node->beat.generation < 9);
	assert_int_equal(node_report(node)->state, NODE_STATE_BAKING);
	node_link(node, false);
	node_link(node, true);
	node_run(node, 20000);
	assert_true(node->subscribed.generation < 9);
	assert_int_equal(node_report(node)->state, NODE_STATE_BAKING);
	node->bad_probe = false;
	node_reboot(node);
	agent_start(node->agent);
	node_helper(node, true);
	node_link(node, true);
	node_run(node, 5000);
	assert_digest_equal(node_reached(node), second); /* as everybody was told */
	assert_int_equal(node_report(node)->state, NODE_STATE_BAKING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STEPS_TEST(a_lost_journal_does_not_make_reports_look_old),
		STEPS_TEST(agent_may_be_killed_at_any_moment),
		STEPS_TEST(kill_does_not_hide_a_failure),
		STEPS_TEST(reboot_starts_what_was_committed_without_the_network),
		STEPS_TEST(reboot_in_the_bake_bakes_again),
		STEPS_TEST(reboot_before_the_switch_discards_the_idle_slot),
		STEPS_TEST(decision_that_is_not_written_is_not_carried_out),
		STEPS_TEST(node_with_a_full_disk_goes_on_serving),
		STEPS_TEST(verdict_that_is_not_written_is_not_told),
	};

	return cmocka_run_group_tests_name("agent shell: restarts", tests, NULL, NULL);
}
