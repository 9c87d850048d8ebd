/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator dies, or its database fails, at each statement of two rollouts in turn: one that
 * completes and one that is taken back. Whatever was acknowledged is still there afterwards, memory
 * equals journal, and both rollouts end as if nothing had happened.
 */
#include "fixture.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec.h"
#include "protocol/spec.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { NODES = 3 };

struct fault {
	long left;     /* statements until it happens; 0: never */
	bool stays;    /* everything after it fails too: the process is as good as dead */
	bool happened;
	long seen;
};

static int on_statement(void *arg, const char *statement)
{
	struct fault *fault = arg;

	fault->seen++;
	if (fault->happened)
		return fault->stays ? -EIO : 0;
	if (fault->left == 0 || --fault->left > 0)
		return 0;
	fault->happened = true;
	return -EIO;
}

static int check_report(void *arg, const struct store_report *report)
{
	struct fixture *f = arg;

	for (size_t i = 0; i < f->nodes_count; i++) {
		const struct fake_node *node = &f->nodes[i];

		if (node_id_equal(&node->id, &report->node) &&
		    (report->boot_epoch != node->ack.boot_epoch ||
		     report->sequence < node->ack.sequence))
			fail_msg("%s: status %llu was acknowledged, the store has %llu", node->name,
				 (unsigned long long)node->ack.sequence,
				 (unsigned long long)report->sequence);
	}
	return 0;
}

static void restart(struct fixture *f)
{
	store_sqlite_on_statement(f->store, NULL, NULL);
	fixture_crash(f);
	assert_int_equal(f->store->ops->report_each(f->store, check_report, f, NULL), 0);
	fixture_start(f);
	for (size_t i = 0; i < f->nodes_count; i++) {
		struct msg_subscribe subscribe = {.protocol_version = PROTOCOL_VERSION,
						  .agent_version = "0.1.0",
						  .epoch = f->nodes[i].desired.epoch,
						  .generation = f->nodes[i].desired.generation,
						  .boot_epoch = 1};

		fixture_send(f, &f->nodes[i], MESSAGE_SUBSCRIBE, &subscribe);
	}
	fixture_deliver(f);
}

/* Passes time; when the fault has struck and stays, the process is restarted. */
static void pass(struct fixture *f, struct fault *fault, uint64_t ms)
{
	if (fault->happened && fault->stays) {
		restart(f);
		fault->stays = false;
	}
	fixture_pass(f, ms);
}

/* The newest rollout of ocr to this release; NULL when there is none. */
static char *find_rollout(struct fixture *f, const char *to)
{
	assert_int_equal(fixture_admin(f, "rollout.ls", NULL), 0);
	if (!str_equal(fixture_text(f->body, "0.to"), to))
		return NULL;
	return mem_str(fixture_text(f->body, "0.id"));
}

static char *start(struct fixture *f, struct fault *fault, const char *version, const char *to)
{
	struct deployment_spec spec;
	char *id = NULL;

	fixture_spec(&spec, "ocr", "ocr", version);
	for (int tries = 0; !id; tries++) {
		assert_true(tries < 3);
		fixture_apply(f, &spec, false, false);
		pass(f, fault, 1000);
		id = find_rollout(f, to);
	}
	deployment_spec_free(&spec);
	return id;
}

static void until(struct fixture *f, struct fault *fault, const char *id, const char *state)
{
	for (size_t i = 0; i < 200; i++) {
		if (str_equal(fixture_state(f, id), state))
			return;
		pass(f, fault, 1000);
	}
	fixture_state(f, id);
	fail_msg("%s is %s (%s), not %s", id, fixture_text(f->body, "state"),
		 fixture_text(f->body, "text"), state);
}

static void check_fleet(struct fixture *f, const struct digest *release)
{
	struct err err = {0};

	if (coordinator_check(f->coordinator, &err) < 0)
		fail_msg("%s", err.text);
	for (size_t i = 0; i < NODES; i++) {
		assert_int_equal(f->nodes[i].status.deployments_count, 1);
		assert_memory_equal(f->nodes[i].status.deployments[0].release.bytes,
				    release->bytes, DIGEST_SIZE);
	}
}

static long run(long at, bool stays)
{
	struct fixture *f = fixture_new(NULL);
	struct fault fault = {.left = at, .stays = stays};
	struct digest good;
	long seen;

	fixture_join(f, "a", NULL);
	fixture_join(f, "b", NULL);
	fixture_join(f, "c", NULL);
	good = fixture_push(f, "ocr", "1.0.0");
	f->bad = fixture_push(f, "ocr", "2.0.0");
	store_sqlite_on_statement(f->store, on_statement, &fault);
	AUTO_FREE char *first = start(f, &fault, "1.0.0", "ocr@1.0.0");
	until(f, &fault, first, "completed");
	check_fleet(f, &good);
	AUTO_FREE char *second = start(f, &fault, "2.0.0", "ocr@2.0.0");
	until(f, &fault, second, "rolled_back");
	pass(f, &fault, 20000);
	check_fleet(f, &good);
	assert_string_equal(fixture_state(f, first), "completed");
	seen = fault.seen;
	store_sqlite_on_statement(f->store, NULL, NULL);
	fixture_free(f);
	return seen;
}

/* spec: ROLL-24 */
static void test_dies_at_each_statement(void **state)
{
	long statements = run(0, false);

	assert_true(statements > 100);
	for (long at = 1; at <= statements; at++)
		run(at, true);
}

static void test_each_statement_fails_once(void **state)
{
	long statements = run(0, false);

	for (long at = 1; at <= statements; at++)
		run(at, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dies_at_each_statement),
		cmocka_unit_test(test_each_statement_fails_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
