/* SPDX-License-Identifier: Apache-2.0 */
/* Whole rollouts through the shell, in bytes, with a coordinator that is restarted on the way. */
#include "fixture.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"
#include "protocol/spec.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct fixture *fleet(size_t nodes)
{
	struct fixture *f = fixture_new(NULL);

	for (size_t i = 0; i < nodes; i++) {
		AUTO_FREE char *name = mem_format("edge-%02zu", i + 1);

		fixture_join(f, name, NULL);
	}
	fixture_pass(f, 2000);
	return f;
}

/* Applies and returns the rollout's id. */
static char *start(struct fixture *f, const char *version)
{
	struct deployment_spec spec;

	fixture_spec(&spec, "ocr", "ocr", version);
	if (fixture_apply(f, &spec, false, false) != 0)
		fail_msg("apply: %s", f->reply.error);
	deployment_spec_free(&spec);
	return mem_str(fixture_text(f->body, "rollout"));
}

static void until(struct fixture *f, const char *rollout, const char *state, uint64_t max_ms)
{
	for (uint64_t end = f->now_ms + max_ms; f->now_ms < end; fixture_pass(f, 1000)) {
		if (str_equal(fixture_state(f, rollout), state))
			return;
	}
	fixture_state(f, rollout);
	fail_msg("%s: %s: %s", fixture_text(f->body, "state"), fixture_text(f->body, "text"),
		 fixture_text(f->body, "reason.text"));
}

static size_t serving(struct fixture *f, const struct digest *release)
{
	size_t count = 0;

	for (size_t i = 0; i < f->nodes_count; i++) {
		const struct node_status *status = &f->nodes[i].status;

		count += status->deployments_count == 1 &&
			 digest_equal(&status->deployments[0].release, release);
	}
	return count;
}

static void test_first_install_then_update(void **state)
{
	struct fixture *f = fleet(5);
	struct digest one = fixture_push(f, "ocr", "1.0.0"), two;
	AUTO_FREE char *first = start(f, "1.0.0");
	AUTO_FREE char *second = NULL;

	fixture_pass(f, 3000);
	assert_int_equal(serving(f, &one), 1); /* the canary, and nobody else */
	until(f, first, "completed", 120000);
	assert_int_equal(serving(f, &one), 5);
	assert_true(json_is_null(json_object_get(f->body, "from")));
	assert_string_equal(fixture_text(f->body, "to"), "ocr@1.0.0");
	two = fixture_push(f, "ocr", "2.0.0");
	second = start(f, "2.0.0");
	until(f, second, "completed", 120000);
	assert_int_equal(serving(f, &two), 5);
	assert_string_equal(fixture_text(f->body, "from"), "ocr@1.0.0");
	assert_string_equal(fixture_text(f->body, "nodes.0.state"), "serving");
	assert_string_equal(fixture_text(f->body, "nodes.0.release"), "ocr@2.0.0");
	fixture_free(f);
}

static void test_bad_release_goes_back(void **state)
{
	struct fixture *f = fleet(4);
	struct digest one = fixture_push(f, "ocr", "1.0.0");
	AUTO_FREE char *first = start(f, "1.0.0");
	AUTO_FREE char *second = NULL;
	AUTO_FREE char *third = NULL;

	until(f, first, "completed", 120000);
	f->bad = fixture_push(f, "ocr", "2.0.0");
	second = start(f, "2.0.0");
	until(f, second, "rolled_back", 120000);
	assert_int_equal(serving(f, &one), 4);
	assert_string_equal(fixture_text(f->body, "reason.check"), "health");
	assert_true(strstr(fixture_text(f->body, "reason.node"), "edge-") != NULL);
	/* Applied again it is refused by the node's memory; retry clears that. */
	third = start(f, "2.0.0");
	memset(&f->bad, 0, sizeof(f->bad));
	until(f, third, "rolled_back", 120000);
	assert_int_equal(fixture_admin(f, "rollout.retry", json_pack("{ss}", "rollout", third)), 0);
	AUTO_FREE char *again = mem_str(fixture_text(f->body, "rollout"));
	until(f, again, "completed", 120000);
	assert_int_equal(serving(f, &one), 0);
	fixture_free(f);
}

/* It completed without a node that had failed; retry takes that one in, and begins nothing anew. */
static void test_retry_after_completion(void **state)
{
	struct fixture *f = fleet(4);
	struct digest one = fixture_push(f, "ocr", "1.0.0"), two;
	AUTO_FREE char *first = start(f, "1.0.0");
	AUTO_FREE char *second = NULL;
	struct deployment_spec spec;
	struct fake_node *node = &f->nodes[3];

	until(f, first, "completed", 120000);
	two = fixture_push(f, "ocr", "2.0.0");
	node->vetoed = two;
	node->vetoed_attempt = 1;
	fixture_spec(&spec, "ocr", "ocr", "2.0.0");
	spec.failures.nodes = 1;
	assert_int_equal(fixture_apply(f, &spec, false, false), 0);
	second = mem_str(fixture_text(f->body, "rollout"));
	while (node->status.deployments[0].state != NODE_STATE_ROLLED_BACK)
		fixture_pass(f, 1000);
	node->lazy = true; /* stays where it is, as a node with a veto does */
	until(f, second, "completed", 120000);
	assert_int_equal(serving(f, &two), 3);
	assert_int_equal(fixture_admin(f, "rollout.retry", json_pack("{ss}", "rollout", second)),
			 0);
	fixture_deliver(f);
	node->lazy = false;
	fixture_obey(f, node);
	fixture_pass(f, 30000);
	assert_int_equal(node->desired.assignments[0].goal, GOAL_SERVE);
	assert_int_equal(node->desired.assignments[0].attempt, 2);
	assert_int_equal(serving(f, &two), 4);
	assert_int_equal(serving(f, &one), 0);
	assert_string_equal(fixture_state(f, second), "completed");
	assert_int_equal(fixture_admin(f, "rollout.retry", json_pack("{ss}", "rollout", second)),
			 1);
	deployment_spec_free(&spec);
	fixture_free(f);
}

/* Killed after each second of the rollout, it ends as if nothing had happened. */
/* spec: ROLL-24 */
static void test_restarts_in_the_middle(void **state)
{
	struct fixture *f = fleet(5);
	struct digest one = fixture_push(f, "ocr", "1.0.0");
	AUTO_FREE char *id = start(f, "1.0.0");
	struct err err = {0};

	for (size_t i = 0; i < 120 && !str_equal(fixture_state(f, id), "completed"); i++) {
		fixture_crash(f);
		fixture_start(f);
		for (size_t n = 0; n < f->nodes_count; n++) {
			struct msg_subscribe subscribe = {
				.protocol_version = PROTOCOL_VERSION,
				.epoch = f->nodes[n].desired.epoch,
				.generation = f->nodes[n].desired.generation,
				.boot_epoch = 1};

			fixture_send(f, &f->nodes[n], MESSAGE_SUBSCRIBE, &subscribe);
		}
		fixture_deliver(f);
		fixture_pass(f, 1000);
		if (coordinator_check(f->coordinator, &err) < 0)
			fail_msg("%s", err.text);
	}
	assert_string_equal(fixture_state(f, id), "completed");
	assert_int_equal(serving(f, &one), 5);
	fixture_free(f);
}

/* spec: ROLL-16 */
static void test_same_again_changes_nothing(void **state)
{
	struct fixture *f = fleet(3);
	struct deployment_spec spec;
	size_t told;

	fixture_push(f, "ocr", "1.0.0");
	AUTO_FREE char *first = start(f, "1.0.0");
	until(f, first, "completed", 120000);
	fixture_pass(f, 20000);
	told = f->nodes[0].desired_count;
	fixture_spec(&spec, "ocr", "ocr", "1.0.0");
	assert_int_equal(fixture_apply(f, &spec, false, false), 0);
	assert_true(json_is_null(json_object_get(f->body, "rollout")));
	assert_true(json_is_false(json_object_get(f->body, "changed")));
	fixture_pass(f, 20000);
	assert_int_equal(f->nodes[0].desired_count, told);
	/* Another declaration of the same release is kept without a rollout. */
	spec.keep_warm_ms = 1000;
	assert_int_equal(fixture_apply(f, &spec, false, false), 0);
	assert_true(json_is_null(json_object_get(f->body, "rollout")));
	assert_int_equal(fixture_admin(f, "deployment.show", json_pack("{ss}", "deployment", "ocr")),
			 0);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(f->body, "spec"),
							    "keep_warm_ms")),
			 1000);
	deployment_spec_free(&spec);
	fixture_free(f);
}

/* spec: ROLL-15 */
static void test_second_apply_and_supersede(void **state)
{
	struct fixture *f = fleet(4);
	struct deployment_spec spec;
	struct digest two;

	fixture_push(f, "ocr", "1.0.0");
	AUTO_FREE char *first = start(f, "1.0.0");
	until(f, first, "completed", 120000);
	fixture_push(f, "ocr", "1.1.0");
	two = fixture_push(f, "ocr", "2.0.0");
	AUTO_FREE char *second = start(f, "1.1.0");
	fixture_pass(f, 2000);
	fixture_spec(&spec, "ocr", "ocr", "2.0.0");
	assert_int_equal(fixture_apply(f, &spec, false, false), 1);
	assert_true(strstr(f->reply.error, second) != NULL);
	assert_int_equal(fixture_apply(f, &spec, true, false), 0);
	deployment_spec_free(&spec);
	AUTO_FREE char *third = mem_str(fixture_text(f->body, "rollout"));
	assert_string_equal(fixture_state(f, second), "aborted");
	fixture_state(f, third);
	assert_string_equal(fixture_text(f->body, "from"), "ocr@1.0.0");
	until(f, third, "completed", 120000);
	assert_int_equal(serving(f, &two), 4);
	fixture_free(f);
}

static void test_pause_abort_undo(void **state)
{
	struct fixture *f = fleet(3);
	struct digest one = fixture_push(f, "ocr", "1.0.0"), two;

	AUTO_FREE char *first = start(f, "1.0.0");
	until(f, first, "completed", 120000);
	two = fixture_push(f, "ocr", "2.0.0");
	AUTO_FREE char *second = start(f, "2.0.0");
	fixture_pass(f, 3000);
	assert_int_equal(fixture_admin(f, "rollout.pause", json_pack("{ss}", "rollout", second)), 0);
	assert_string_equal(fixture_text(f->body, "state"), "paused");
	fixture_pass(f, 60000);
	assert_string_equal(fixture_state(f, second), "paused");
	assert_int_equal(serving(f, &two), 1);
	assert_int_equal(fixture_admin(f, "rollout.abort", json_pack("{ss}", "rollout", second)), 0);
	until(f, second, "aborted", 60000);
	assert_int_equal(serving(f, &one), 3);
	assert_int_equal(fixture_admin(f, "rollout.pause", json_pack("{ss}", "rollout", second)), 1);
	AUTO_FREE char *third = start(f, "2.0.0");
	until(f, third, "completed", 120000);
	assert_int_equal(fixture_admin(f, "rollout.undo", json_pack("{ss}", "rollout", third)), 0);
	AUTO_FREE char *back = mem_str(fixture_text(f->body, "rollout"));
	until(f, back, "completed", 120000);
	assert_int_equal(serving(f, &one), 3);
	assert_int_equal(fixture_admin(f, "rollout.undo", json_pack("{ss}", "rollout", first)), 1);
	fixture_free(f);
}

/* spec: ROLL-8 */
static void test_late_and_new_nodes(void **state)
{
	struct fixture *f = fleet(3);
	struct digest one = fixture_push(f, "ocr", "1.0.0");
	struct digest two;

	AUTO_FREE char *first = start(f, "1.0.0");
	until(f, first, "completed", 120000);
	fixture_join(f, "edge-99", NULL);
	fixture_pass(f, 3000);
	assert_int_equal(serving(f, &one), 4);
	fixture_node(f, "edge-99")->off = true;
	fixture_pass(f, 60000);
	assert_int_equal(fixture_admin(f, "node.show", json_pack("{ss}", "node", "edge-99")), 0);
	assert_string_equal(fixture_text(f->body, "state"), "unreachable");
	two = fixture_push(f, "ocr", "2.0.0");
	AUTO_FREE char *second = start(f, "2.0.0");
	fixture_pass(f, 5000);
	fixture_node(f, "edge-99")->off = false;
	until(f, second, "completed", 400000);
	fixture_pass(f, 30000);
	assert_int_equal(serving(f, &two), 4);
	fixture_free(f);
}

/* spec: ROLL-22 */
static void test_removal(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct deployment_spec spec;
	char name[LIMIT_NAME + 1];

	for (size_t i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "edge-%zu", i + 1);
		fixture_join(f, name, json_pack("{ss}", "ring", i < 2 ? "1" : "2"));
	}
	fixture_push(f, "ocr", "1.0.0");
	AUTO_FREE char *first = start(f, "1.0.0");
	until(f, first, "completed", 120000);
	fixture_spec(&spec, "ocr", "ocr", "1.0.0");
	STR_CUT(spec.selector, "ring=1");
	spec.max_unavailable = (struct share){.value = 1};
	assert_int_equal(fixture_apply(f, &spec, false, false), 1);
	assert_true(strstr(f->reply.error, "--allow-removal") != NULL);
	assert_int_equal(f->nodes[3].status.deployments_count, 1);
	assert_int_equal(fixture_apply(f, &spec, false, true), 0);
	AUTO_FREE char *second = mem_str(fixture_text(f->body, "rollout"));
	until(f, second, "completed", 120000);
	fixture_pass(f, 5000);
	assert_int_equal(f->nodes[0].status.deployments_count, 1);
	assert_int_equal(f->nodes[2].status.deployments_count, 0);
	assert_int_equal(f->nodes[3].status.deployments_count, 0);
	assert_int_equal(fixture_admin(f, "deployment.rm", json_pack("{ss}", "deployment", "ocr")),
			 0);
	fixture_pass(f, 5000);
	assert_int_equal(f->nodes[0].status.deployments_count, 0);
	assert_int_equal(fixture_admin(f, "deployment.history",
				       json_pack("{ss}", "deployment", "ocr")),
			 0);
	assert_int_equal(json_array_size(f->body), 2);
	assert_int_equal(fixture_admin(f, "release.rm", json_pack("{ss}", "release", "ocr@1.0.0")),
			 0);
	deployment_spec_free(&spec);
	fixture_free(f);
}

/* An old database was restored: the nodes know a later past than the coordinator. */
/* spec: ROLL-25 */
static void test_epoch_rises(void **state)
{
	struct fixture *f = fleet(2);
	struct digest one = fixture_push(f, "ocr", "1.0.0");
	struct fake_node *node = &f->nodes[0];

	AUTO_FREE char *first = start(f, "1.0.0");
	until(f, first, "completed", 120000);
	node->desired.generation += 1000000; /* of the time that was lost */
	node->status.deployments[0].release = (struct digest){{9}};
	fixture_pass(f, 15000);
	assert_int_equal(node->desired.epoch, 2);
	assert_int_equal(serving(f, &one), 2);
	assert_int_equal(f->nodes[1].desired.epoch, 1);
	fixture_free(f);
}

/* A report of the change under way that has not touched what serves. */
static void say(struct fixture *f, struct fake_node *node, const struct digest *target,
		enum node_state state)
{
	struct deployment_report *report = &node->status.deployments[0];

	report->rollout = node->desired.assignments[0].rollout;
	report->target = *target;
	report->attempt = 1;
	report->staged = true;
	report->state = state;
	fixture_send_status(f, node);
}

/* Two reports come together. The first takes the rollout back; the second was made before its node
 * could know that, and says nothing about whether it went back. */
static void test_report_that_knows_too_little(void **state)
{
	struct fixture *f = fleet(3);
	struct deployment_spec spec;
	struct digest two;

	fixture_push(f, "ocr", "1.0.0");
	AUTO_FREE char *first = start(f, "1.0.0");
	until(f, first, "completed", 120000);
	two = fixture_push(f, "ocr", "2.0.0");
	for (size_t i = 0; i < f->nodes_count; i++)
		f->nodes[i].lazy = true;
	fixture_spec(&spec, "ocr", "ocr", "2.0.0");
	spec.stages[0].nodes.value = 3;
	assert_int_equal(fixture_apply(f, &spec, false, false), 0);
	AUTO_FREE char *second = mem_str(fixture_text(f->body, "rollout"));
	fixture_pass(f, 1000);
	for (size_t i = 0; i < 3; i++)
		say(f, &f->nodes[i], &two, NODE_STATE_STAGED);
	fixture_deliver(f);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(f->nodes[i].desired.assignments[0].goal, GOAL_SERVE);
		say(f, &f->nodes[i], &two, i ? NODE_STATE_STAGED : NODE_STATE_ROLLED_BACK);
	}
	fixture_deliver(f);
	assert_string_equal(fixture_state(f, second), "rolling_back");
	fixture_obey(f, &f->nodes[0]);
	fixture_deliver(f);
	assert_string_equal(fixture_state(f, second), "rolling_back");
	fixture_obey(f, &f->nodes[1]);
	fixture_obey(f, &f->nodes[2]);
	fixture_deliver(f);
	assert_string_equal(fixture_state(f, second), "rolled_back");
	deployment_spec_free(&spec);
	fixture_free(f);
}

/* The wall clock jumps back an hour over a restart: the bake ends when its time is over. */
/* spec: ROLL-25 */
static void test_clock_goes_back(void **state)
{
	struct fixture *f = fleet(3);
	struct digest one = fixture_push(f, "ocr", "1.0.0");

	AUTO_FREE char *id = start(f, "1.0.0");
	fixture_pass(f, 3000);
	fixture_crash(f);
	f->now_ms -= 3600 * 1000;
	for (size_t i = 0; i < f->nodes_count; i++) {
		f->nodes[i].beat_ms -= 3600 * 1000;
		f->nodes[i].bake_ends_ms[0] -= 3600 * 1000;
	}
	fixture_start(f);
	until(f, id, "completed", 120000);
	assert_int_equal(serving(f, &one), 3);
	fixture_free(f);
}

/* A thousand reports at once are a few transactions. */
static int count_commits(void *arg, const char *statement)
{
	*(size_t *)arg += str_equal(statement, "commit");
	return 0;
}

/* spec: ROLL-26 */
static void test_reports_are_committed_together(void **state)
{
	struct fixture *f = fleet(20);
	size_t commits = 0;

	store_sqlite_on_statement(f->store, count_commits, &commits);
	for (size_t i = 0; i < 20; i++)
		fixture_send_status(f, &f->nodes[i]);
	assert_int_equal(commits, 0);
	assert_int_not_equal(f->nodes[19].ack.sequence, f->nodes[19].sequence);
	fixture_deliver(f);
	assert_int_equal(commits, 1);
	for (size_t i = 0; i < 20; i++)
		assert_int_equal(f->nodes[i].ack.sequence, f->nodes[i].sequence);
	/* The same again says nothing new, and writes nothing. */
	for (size_t i = 0; i < 20; i++) {
		fixture_send(f, &f->nodes[i], MESSAGE_STATUS, &f->nodes[i].status);
		f->nodes[i].ack.sequence = 0;
	}
	fixture_deliver(f);
	assert_int_equal(commits, 1);
	assert_int_equal(f->nodes[7].ack.sequence, f->nodes[7].sequence);
	store_sqlite_on_statement(f->store, NULL, NULL);
	fixture_free(f);
}

/* A copy that was delayed comes right behind a newer one: what was acknowledged stays. */
/* spec: ROLL-26 */
static void test_an_older_report_that_comes_with_a_newer_one(void **state)
{
	struct fixture *f = fleet(1);
	struct fake_node *node = &f->nodes[0];
	struct err err = {0};

	fixture_send_status(f, node);
	fixture_deliver(f);
	node->sequence++; /* this one is on its way */
	node->status.inventory.memory_bytes++;
	fixture_send_status(f, node);
	node->status.sequence--;
	fixture_send(f, node, MESSAGE_STATUS, &node->status);
	fixture_deliver(f);
	assert_int_equal(node->ack.sequence, node->sequence);
	assert_int_equal(coordinator_check(f->coordinator, &err), 0);
	fixture_free(f);
}

/* History does not grow without end: the newest hundred rollouts of a deployment stay. */
static void test_history_is_bounded(void **state)
{
	struct fixture *f = fleet(1);

	fixture_push(f, "ocr", "1.0.0");
	for (size_t i = 0; i < 104; i++) {
		AUTO_FREE char *id = start(f, "1.0.0");

		assert_int_equal(fixture_admin(f, "rollout.abort", json_pack("{ss}", "rollout", id)),
				 0);
		until(f, id, "aborted", 10000);
	}
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(fixture_admin(f, "deployment.history",
					       json_pack("{ss}", "deployment", "ocr")),
				 0);
		assert_int_equal(json_array_size(f->body), 100);
		fixture_crash(f);
		fixture_start(f);
	}
	AUTO_FREE char *last = start(f, "1.0.0");
	until(f, last, "completed", 120000);
	fixture_free(f);
}

static void test_long_poll(void **state)
{
	struct fixture *f = fleet(2);
	json_int_t change;

	fixture_push(f, "ocr", "1.0.0");
	AUTO_FREE char *id = start(f, "1.0.0");
	fixture_pass(f, 2000);
	fixture_state(f, id);
	change = json_integer_value(json_object_get(f->body, "change"));
	assert_int_equal(fixture_ask(f, ROLE_VIEWER, "rollout.show",
				     json_pack("{sssIsi}", "rollout", id, "since", change,
					       "wait_ms", 15000),
				     NULL),
			 -1);
	fixture_pass(f, 1000);
	assert_int_not_equal(f->reply_client, f->client);
	fixture_pass(f, 11000);
	assert_int_equal(f->reply_client, f->client);
	assert_true(json_integer_value(json_object_get(f->body, "change")) > change);
	/* Nothing happens to events: it answers empty when the time is over. */
	until(f, id, "completed", 120000);
	fixture_pass(f, 20000);
	assert_int_equal(fixture_admin(f, "events", json_pack("{si}", "limit", 1)), 0);
	change = json_integer_value(json_object_get(json_array_get(f->body, 0), "seq"));
	assert_int_equal(fixture_ask(f, ROLE_VIEWER, "events",
				     json_pack("{sIsi}", "since", change, "wait_ms", 5000), NULL),
			 -1);
	fixture_pass(f, 6000);
	assert_int_equal(f->reply_client, f->client);
	assert_int_equal(json_array_size(f->body), 0);
	fixture_free(f);
}

static void test_logs(void **state)
{
	struct fixture *f = fleet(1);

	assert_int_equal(fixture_ask(f, ROLE_VIEWER, "logs",
				     json_pack("{ssss}", "node", "edge-01", "deployment", "ocr"),
				     NULL),
			 -1);
	fixture_deliver(f);
	assert_int_equal(f->reply_client, f->client);
	assert_string_equal(fixture_text(f->body, "text"), "hello\nworld\n");
	fixture_free(f);
}

static void test_freeze_and_windows(void **state)
{
	struct fixture *f = fleet(3);
	struct digest one = fixture_push(f, "ocr", "1.0.0");
	struct deployment_spec spec;

	assert_int_equal(fixture_admin(f, "freeze", NULL), 0);
	AUTO_FREE char *id = start(f, "1.0.0");
	fixture_pass(f, 60000);
	assert_int_equal(serving(f, &one), 0);
	assert_int_equal(fixture_admin(f, "unfreeze", NULL), 0);
	until(f, id, "completed", 120000);
	/* 1800000000 is 2027-01-15 08:00 UTC, a Friday; the window opens at noon in Paris. */
	struct digest two = fixture_push(f, "ocr", "2.0.0");
	fixture_spec(&spec, "ocr", "ocr", "2.0.0");
	STR_CUT(spec.windows.swap, "12:00-14:00");
	STR_CUT(spec.windows.timezone, "Europe/Paris");
	assert_int_equal(fixture_apply(f, &spec, false, false), 0);
	AUTO_FREE char *second = mem_str(fixture_text(f->body, "rollout"));
	fixture_pass(f, 3600 * 1000);
	assert_int_equal(serving(f, &two), 0);
	until(f, second, "completed", 3 * 3600 * 1000);
	assert_int_equal(f->now_ms / 3600000 % 24, 11);
	STR_CUT(spec.windows.timezone, "Mars/Olympus");
	assert_int_equal(fixture_apply(f, &spec, false, false), 2);
	deployment_spec_free(&spec);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_install_then_update),
		cmocka_unit_test(test_bad_release_goes_back),
		cmocka_unit_test(test_retry_after_completion),
		cmocka_unit_test(test_restarts_in_the_middle),
		cmocka_unit_test(test_same_again_changes_nothing),
		cmocka_unit_test(test_second_apply_and_supersede),
		cmocka_unit_test(test_pause_abort_undo),
		cmocka_unit_test(test_late_and_new_nodes),
		cmocka_unit_test(test_removal),
		cmocka_unit_test(test_epoch_rises),
		cmocka_unit_test(test_report_that_knows_too_little),
		cmocka_unit_test(test_clock_goes_back),
		cmocka_unit_test(test_reports_are_committed_together),
		cmocka_unit_test(test_an_older_report_that_comes_with_a_newer_one),
	cmocka_unit_test(test_history_is_bounded),
		cmocka_unit_test(test_long_poll),
		cmocka_unit_test(test_logs),
		cmocka_unit_test(test_freeze_and_windows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
