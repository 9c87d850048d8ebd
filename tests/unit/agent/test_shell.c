/* SPDX-License-Identifier: Apache-2.0 */
/* The node's shell from desired state to a committed release, and what can happen on the way. */
#include "fleetless.h"

#include "base/mem.h"
#include "base/str.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int setup(void **state)
{
	struct node *node = mem_alloc(sizeof(*node));

	node_create(node);
	*state = node;
	return 0;
}

static int teardown(void **state)
{
	node_destroy(*state);
	free(*state);
	return 0;
}

#define assert_digest_equal(a, b)                                                                  \
	do {                                                                                       \
		struct digest left = (a), right = (b);                                             \
		assert_memory_equal(left.bytes, right.bytes, DIGEST_SIZE);                         \
	} while (0)

static const struct digest nothing;

/* 1.0.0 serves and is committed. */
static struct digest install(struct node *node)
{
	struct digest first = node_release(node, "1.0.0", 1, 3, 5000);
	struct assignment a = node_assignment(NULL, &first, GOAL_SERVE);

	node_desire(node, 1, &a, 1);
	assert_true(node_run_until(node, NODE_STATE_SERVING, 60000));
	node_run(node, 500);
	assert_digest_equal(node_reached(node), first);
	return first;
}

static void happy_path_ends_committed_and_reported(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;

	node_start(node);
	assert_int_equal(node->subscribes, 1);
	first = install(node);
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
	first = install(node);
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
	install(node);
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

static struct digest roll_out_bad(struct node *node, const struct digest *first)
{
	struct digest second = node_release(node, "2.0.0", 100, 3, 5000);
	struct assignment a = node_assignment(first, &second, GOAL_SERVE);

	node->bad = second;
	node_desire(node, 2, &a, 1);
	return second;
}

static void assert_went_back(struct node *node, const struct digest *first, const char *phase,
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

static void preflight_that_fails_leaves_the_old_one(void **state)
{
	struct node *node = *state;
	struct digest first;

	node_start(node);
	first = install(node);
	node->bad_preflight = true;
	roll_out_bad(node, &first);
	assert_went_back(node, &first, "preflight", "memory");
	assert_string_equal(node_report(node)->last.reason.text,
			    "the release asks for more than there is");
}

static void unpack_that_fails_leaves_the_old_one(void **state)
{
	struct node *node = *state;
	struct digest first;

	node_start(node);
	first = install(node);
	node->bad_unpack = true;
	roll_out_bad(node, &first);
	assert_went_back(node, &first, "unpack", "layer");
}

/* The helper found damage: nothing is believed before it was read again. */
/* spec: REL-8 */
static void damage_is_looked_at_before_the_next_attempt(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;

	node_start(node);
	first = install(node);
	node->bad_unpack = true;
	second = roll_out_bad(node, &first);
	assert_went_back(node, &first, "unpack", "layer");
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
	first = install(node);
	node->damaged_once = true;
	second = roll_out_bad(node, &first);
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
	first = install(node);
	node->bad_start = true;
	roll_out_bad(node, &first);
	assert_went_back(node, &first, "start", "start");
	assert_string_equal(node_report(node)->last.reason.log, "runc: exec failed\n");
}

static void server_that_never_answers_leaves_the_old_one(void **state)
{
	struct node *node = *state;
	struct digest first;

	node_start(node);
	first = install(node);
	node->bad_probe = true;
	roll_out_bad(node, &first);
	assert_went_back(node, &first, "ready", "health");
}

/* spec: NODE-2 */
static void smoke_test_that_fails_leaves_the_old_one(void **state)
{
	struct node *node = *state;
	struct digest first;

	node_start(node);
	first = install(node);
	node->bad_smoke = true;
	roll_out_bad(node, &first);
	assert_went_back(node, &first, "smoke", "smoke:seven");
	assert_string_equal(node_report(node)->last.reason.text, "expected label 7, got 1");
}

static void health_that_fails_in_the_bake_goes_back(void **state)
{
	struct node *node = *state;
	struct digest first, second;

	node_start(node);
	first = install(node);
	second = roll_out_bad(node, &first);
	assert_true(node_run_until(node, NODE_STATE_BAKING, 60000));
	assert_digest_equal(node_reached(node), second);
	node->bad_probe = true;
	assert_went_back(node, &first, "bake", "health");
}

static void exit_in_the_bake_goes_back_at_once(void **state)
{
	struct node *node = *state;
	struct digest first, second;

	node_start(node);
	first = install(node);
	second = roll_out_bad(node, &first);
	assert_true(node_run_until(node, NODE_STATE_BAKING, 60000));
	node_exit_slot(node, &second);
	node_run(node, 200);
	assert_digest_equal(node_reached(node), first);
	assert_went_back(node, &first, "bake", "exited");
	assert_string_equal(node_report(node)->last.reason.log, "Segfault\n");
}

static void map_that_cannot_be_changed_goes_back(void **state)
{
	struct node *node = *state;
	struct digest first, second;

	node_start(node);
	first = install(node);
	second = node_release(node, "2.0.0", 100, 3, 5000);
	(void)second;
	node->bad_traffic = true;
	roll_out_bad(node, &first);
	node_run(node, 20000);
	node->bad_traffic = false;
	assert_went_back(node, &first, "switch", "route");
}

/* spec: NODE-13 */
static void coordinator_takes_a_committed_release_back(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;

	node_start(node);
	first = install(node);
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
	first = install(node);
	second = node_release(node, "2.0.0", 100, 3, 5000);
	node->bad = second;
	node->bad_probe = true;
	a = node_assignment(&first, &second, GOAL_SERVE);
	a.node_deadline_ms = 1500; /* before the start period of the probe is over */
	node_desire(node, 2, &a, 1);
	assert_went_back(node, &first, "deadline", "ready");
}

static void what_was_rolled_back_does_not_run_again(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;
	size_t starts;

	node_start(node);
	first = install(node);
	node->bad_smoke = true;
	second = roll_out_bad(node, &first);
	assert_went_back(node, &first, "smoke", "smoke:seven");
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

/* ---- fetching ---- */

/* spec: TRUST-3 */
static void corrupt_chunk_never_reaches_the_disk(void **state)
{
	struct node *node = *state;
	struct digest first;

	node_start(node);
	first = install(node);
	{
		size_t before = node->objects_count;
		struct digest second = node_release(node, "2.0.0", 100, 3, 5000);
		struct assignment a = node_assignment(&first, &second, GOAL_SERVE);

		node->objects[before].corrupt = true; /* a chunk of the first blob */
		node_desire(node, 2, &a, 1);
	}
	assert_went_back(node, &first, "fetch", "digest");
	assert_int_equal(node->asked[HELPER_START], 1);
}

static void chunk_that_is_whole_again_is_fetched_again(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;
	size_t before;

	node_start(node);
	first = install(node);
	before = node->objects_count;
	second = node_release(node, "2.0.0", 100, 3, 5000);
	node->objects[before].corrupt = true;
	a = node_assignment(&first, &second, GOAL_SERVE);
	node_desire(node, 2, &a, 1);
	node_run(node, 1000);
	node->objects[before].corrupt = false;
	assert_true(node_run_until(node, NODE_STATE_BAKING, 60000));
	assert_digest_equal(node_reached(node), second);
}

/* spec: TRUST-1 */
static void manifest_of_a_stranger_is_refused(void **state)
{
	struct node *node = *state;
	struct sign_key own = node->key;
	struct digest first, second;
	struct assignment a;

	node_start(node);
	first = install(node);
	sign_key_generate(&node->key);
	second = node_release(node, "2.0.0", 100, 3, 5000);
	node->key = own;
	a = node_assignment(&first, &second, GOAL_SERVE);
	node_desire(node, 2, &a, 1);
	assert_went_back(node, &first, "fetch", "signature");
}

/* Whatever was verified once is not fetched again: after cuts of the channel and kills. */
/* spec: REL-3 */
static void fetch_goes_on_where_it_was(void **state)
{
	struct node *node = *state;
	struct digest first;
	struct assignment a;
	size_t objects;

	node_start(node);
	first = node_release(node, "1.0.0", 1, 20, 5000);
	objects = node->objects_count - 1; /* without the manifest */
	a = node_assignment(NULL, &first, GOAL_FETCH);
	node_desire(node, 1, &a, 1);
	for (int i = 0; i < 6; i++) {
		node_run(node, 45);
		if (i % 2 == 0) {
			node->origin_up = false;
			node->origin_cut = true;
			agent_on_source(node->agent, SOURCE_ORIGIN, false);
			node_run(node, 300);
			node->origin_cut = false;
			node->origin_up = true;
			agent_on_source(node->agent, SOURCE_ORIGIN, true);
		} else {
			node_restart_agent(node);
			node_start(node);
		}
	}
	assert_true(node_run_until(node, NODE_STATE_STAGED, 5000));
	/* what was under way at a cut or a kill is asked for again: at most four each time */
	assert_in_range(node->chunk_gets, objects, objects + 6 * LIMIT_FETCH_REQUESTS);
}

static void full_queue_of_the_channel_is_waited_for(void **state)
{
	struct node *node = *state;
	struct digest first = node_release(node, "1.0.0", 1, 20, 5000);
	struct assignment a = node_assignment(NULL, &first, GOAL_FETCH);

	node_start(node);
	node->busy_gets = 10;
	node_desire(node, 1, &a, 1);
	assert_true(node_run_until(node, NODE_STATE_STAGED, 30000));
	assert_int_equal(node->busy_gets, 0);
}

static void same_content_is_not_fetched_twice(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;
	size_t gets;

	node_start(node);
	first = install(node);
	gets = node->chunk_gets;
	second = node_release(node, "1.0.1", 1, 3, 5000); /* the same files */
	a = node_assignment(&first, &second, GOAL_FETCH);
	node_desire(node, 2, &a, 1);
	assert_true(node_run_until(node, NODE_STATE_STAGED, 30000));
	assert_int_equal(node->chunk_gets, gets);
}

/* ---- restarts ---- */

/* Kills the agent `at` ms after a rollout began. */
static void kill_during_rollout(unsigned at, bool bad)
{
	struct node *node = mem_alloc(sizeof(*node));
	struct digest first, second;

	node_create(node);
	node_start(node);
	first = install(node);
	node->bad_probe = false;
	second = roll_out_bad(node, &first);
	node->bad_smoke = bad;
	node_run(node, at);
	node_restart_agent(node);
	node_start(node);
	if (bad) {
		assert_went_back(node, &first, "smoke", "smoke:seven");
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
	first = install(node);
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
	first = install(node);
	second = roll_out_bad(node, &first);
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
	first = install(node);
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

/* ---- the coordinator away, late, wrong ---- */

/* spec: NODE-26 */
static void verdict_of_an_offline_node_arrives_later(void **state)
{
	struct node *node = *state;
	struct digest first, second;

	node_start(node);
	first = install(node);
	second = roll_out_bad(node, &first);
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
	first = install(node);
	second = roll_out_bad(node, &first);
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
	first = install(node);
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
	install(node);
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
	first = install(node);
	second = roll_out_bad(node, &first);
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
	first = install(node);
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
	first = install(node);
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
	install(node);
	node_run(node, 70000);
	assert_false(node->slots[5].used);
}

static void logs_travel_to_who_asked(void **state)
{
	struct node *node = *state;
	struct msg_logs_wanted wanted = {.id = 9, .deployment = "ocr", .lines = 2};

	node_start(node);
	install(node);
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
	first = install(node);
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
	first = install(node);
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
	first = install(node);
	second = roll_out_bad(node, &first);
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

static void command_probe_survives_the_helper(void **state)
{
	struct node *node = *state;
	size_t probes;

	node->by_command = true;
	node_start(node);
	install(node);
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

static void fetch_keeps_to_the_rate(void **state)
{
	struct node *node = *state;
	struct digest first = node_release(node, "1.0.0", 1, 20, 5000); /* 300 kB */
	struct assignment a = node_assignment(NULL, &first, GOAL_FETCH);
	uint64_t began;

	node->fetch_rate = 50000;
	node_restart_agent(node);
	node_start(node);
	began = node->now_ms;
	node_desire(node, 1, &a, 1);
	assert_true(node_run_until(node, NODE_STATE_STAGED, 60000));
	assert_in_range(node->now_ms - began, 4500, 8000);
}

/* The coordinator may be a new process that knows nothing. */
/* spec: LINK-1 */
static void every_new_link_brings_a_status(void **state)
{
	struct node *node = *state;
	size_t before;

	node_start(node);
	install(node);
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
	install(node);
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
	first = install(node);
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

/* spec: NODE-29 */
static void download_waits_for_its_window(void **state)
{
	struct node *node = *state;
	struct digest first = node_release(node, "1.0.0", 1, 3, 5000);
	struct assignment a = node_assignment(NULL, &first, GOAL_FETCH);

	/* unix_start_ms and now_ms together: 2025-06-15 15:23:20 UTC, 17:23:20 in Paris */
	STR_CUT(a.windows.download, "17:30-18:00");
	STR_CUT(a.windows.timezone, "Europe/Paris");
	node_start(node);
	node_desire(node, 1, &a, 1);
	node_run(node, 5 * 60000);
	assert_int_equal(node->gets, 0);
	assert_true(node_run_until(node, NODE_STATE_STAGED, 3 * 60000));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(happy_path_ends_committed_and_reported),
		TEST(a_lost_journal_does_not_make_reports_look_old),
		TEST(leaving_drains_and_tells),
		TEST(leaving_needs_no_coordinator),
		TEST(preflight_that_fails_leaves_the_old_one),
		TEST(unpack_that_fails_leaves_the_old_one),
		TEST(damage_is_looked_at_before_the_next_attempt),
		TEST(damage_is_mended_without_blame),
		TEST(start_that_fails_leaves_the_old_one),
		TEST(server_that_never_answers_leaves_the_old_one),
		TEST(smoke_test_that_fails_leaves_the_old_one),
		TEST(health_that_fails_in_the_bake_goes_back),
		TEST(exit_in_the_bake_goes_back_at_once),
		TEST(map_that_cannot_be_changed_goes_back),
		TEST(coordinator_takes_a_committed_release_back),
		TEST(deadline_ends_a_change_that_does_not_come_on),
		TEST(what_was_rolled_back_does_not_run_again),
		TEST(corrupt_chunk_never_reaches_the_disk),
		TEST(chunk_that_is_whole_again_is_fetched_again),
		TEST(manifest_of_a_stranger_is_refused),
		TEST(fetch_goes_on_where_it_was),
		TEST(full_queue_of_the_channel_is_waited_for),
		TEST(same_content_is_not_fetched_twice),
		TEST(agent_may_be_killed_at_any_moment),
		TEST(kill_does_not_hide_a_failure),
		TEST(reboot_starts_what_was_committed_without_the_network),
		TEST(reboot_in_the_bake_bakes_again),
		TEST(reboot_before_the_switch_discards_the_idle_slot),
		TEST(verdict_of_an_offline_node_arrives_later),
		TEST(node_commits_without_the_coordinator),
		TEST(older_desired_state_is_refused),
		TEST(garbage_from_the_coordinator_changes_nothing),
		TEST(deployment_that_leaves_is_drained_and_removed),
		TEST(first_install_that_fails_closes_the_port),
		TEST(helper_that_comes_back_is_asked_again),
		TEST(exit_while_the_helper_was_away_is_noticed),
		TEST(release_that_the_helper_forgot_is_unpacked_again),
		TEST(stray_slot_is_emptied_once_desired_state_is_known),
		TEST(logs_travel_to_who_asked),
		TEST(status_is_sent_until_it_is_acknowledged),
		TEST(decision_that_is_not_written_is_not_carried_out),
		TEST(node_with_a_full_disk_goes_on_serving),
		TEST(verdict_that_is_not_written_is_not_told),
		TEST(command_probe_survives_the_helper),
		TEST(fetch_keeps_to_the_rate),
		TEST(every_new_link_brings_a_status),
		TEST(silence_of_a_linked_coordinator_is_noticed),
		TEST(idle_agent_writes_nothing_and_sleeps),
		TEST(shortage_of_memory_stops_the_warm_slot),
		TEST(download_waits_for_its_window),
	};

	return cmocka_run_group_tests_name("agent shell", tests, NULL, NULL);
}
