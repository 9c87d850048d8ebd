/* SPDX-License-Identifier: Apache-2.0 */
/* Who is told to exchange with whom, when, and what the origin gives to those who do. */
#include "fixture.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/chunk_data.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"
#include "protocol/manifest.h"
#include "protocol/spec.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { CHUNKS = 2 }; /* of each release of the fixture */

static void report(struct fixture *f, struct fake_node *node, uint32_t port)
{
	struct msg_peer_report report = {.port = port};

	fixture_send(f, node, MESSAGE_PEER_REPORT, &report);
}

/* Nodes that hear what they must do and leave it: they stay in need. */
static struct fixture *fleet(size_t nodes)
{
	struct fixture *f = fixture_new(NULL);

	for (size_t i = 0; i < nodes; i++) {
		AUTO_FREE char *name = mem_format("edge-%02zu", i + 1);

		fixture_join(f, name, NULL)->lazy = true;
	}
	fixture_pass(f, 5000);
	for (size_t i = 0; i < nodes; i++)
		report(f, &f->nodes[i], 7410);
	fixture_pass(f, 1000);
	return f;
}

static struct digest roll_out(struct fixture *f, const char *version)
{
	struct digest digest = fixture_push(f, "ocr", version);
	struct deployment_spec spec;

	fixture_spec(&spec, "ocr", "ocr", version);
	spec.stages[0].nodes = (struct share){.percent = true, .value = 100};
	spec.max_unavailable = (struct share){.percent = true, .value = 100};
	if (fixture_apply(f, &spec, false, false) != 0)
		fail_msg("apply: %s", f->reply.error);
	deployment_spec_free(&spec);
	fixture_pass(f, 2000);
	return digest;
}

static const struct msg_neighbour *neighbour_of(const struct fake_node *node,
						const struct fake_node *other)
{
	for (size_t i = 0; i < node->neighbours.neighbours_count; i++)
		if (node_id_equal(&node->neighbours.neighbours[i].id, &other->id))
			return &node->neighbours.neighbours[i];
	return NULL;
}

static void test_everybody_in_a_small_fleet(void **state)
{
	struct fixture *f = fleet(4);
	struct digest release = roll_out(f, "1.0.0");

	for (size_t i = 0; i < 4; i++) {
		const struct fake_node *node = &f->nodes[i];

		assert_int_equal(node->neighbours.neighbours_count, 3);
		assert_true(node->neighbours.all);
		for (size_t k = 0; k < 4; k++) {
			const struct msg_neighbour *there = neighbour_of(node, &f->nodes[k]);
			const struct msg_neighbour *back = neighbour_of(&f->nodes[k], node);

			if (k == i)
				continue;
			assert_non_null(there);
			assert_int_equal(there->dial, !back->dial);
			assert_string_equal(there->endpoint,
					    there->dial ? "tcp://192.0.2.1:7410" : "");
			assert_memory_equal(there->link_key.bytes, f->nodes[k].link_key.bytes,
					    KEY_SIZE);
			assert_int_equal(there->releases_count, 1);
			assert_true(digest_equal(&there->releases[0].digest, &release));
		}
	}
	fixture_free(f);
}

/* The record is the node's own, signed, and young. */
static void test_identity_comes_with_the_list(void **state)
{
	struct fixture *f = fleet(2);
	const struct fake_node *node = &f->nodes[0];
	struct root_document root = {0};
	struct identity identity;

	roll_out(f, "1.0.0");
	assert_int_equal(root_open(f->config.root.data, f->config.root.size, NULL, &root, NULL), 0);
	assert_int_equal(identity_open(node->neighbours.identity.data,
				       node->neighbours.identity.size, &root, &identity, NULL),
			 0);
	assert_true(node_id_equal(&identity.id, &node->id));
	assert_memory_equal(identity.link_key.bytes, node->link_key.bytes, KEY_SIZE);
	assert_true(identity.expires_unix_ms > f->now_ms);
	assert_true(identity.expires_unix_ms < f->now_ms + UINT64_C(8) * 24 * 3600 * 1000);
	codec_free(&codec_identity, &identity);
	codec_free(&codec_root_document, &root);
	fixture_free(f);
}

static void test_a_closed_node_connects_itself(void **state)
{
	struct fixture *f = fleet(3);

	report(f, &f->nodes[0], 0);
	roll_out(f, "1.0.0");
	for (size_t k = 1; k < 3; k++) {
		assert_true(neighbour_of(&f->nodes[0], &f->nodes[k])->dial);
		assert_false(neighbour_of(&f->nodes[k], &f->nodes[0])->dial);
	}
	fixture_free(f);
}

static void test_off_silent_and_revoked_are_left_out(void **state)
{
	struct fixture *f = fleet(4);
	const struct msg_peer_report off = {.off = true};

	fixture_send(f, &f->nodes[3], MESSAGE_PEER_REPORT, &off);
	roll_out(f, "1.0.0");
	assert_int_equal(f->nodes[3].neighbours.neighbours_count, 0);
	assert_int_equal(f->nodes[0].neighbours.neighbours_count, 2);
	assert_int_equal(fixture_admin(f, "node.revoke", json_pack("{ss}", "node", "edge-02")), 0);
	fixture_pass(f, 1000);
	assert_int_equal(f->nodes[0].neighbours.neighbours_count, 1);
	assert_null(neighbour_of(&f->nodes[0], &f->nodes[1]));
	f->nodes[2].off = true;
	fixture_pass(f, 60000);
	assert_int_equal(f->nodes[0].neighbours.neighbours_count, 0);
	fixture_free(f);
}

/* Nobody is told anything when nobody fetches. */
static void test_lists_end_with_the_fetch(void **state)
{
	struct fixture *f = fleet(3);
	size_t told;

	assert_int_equal(f->nodes[0].neighbours.neighbours_count, 0);
	roll_out(f, "1.0.0");
	assert_int_equal(f->nodes[0].neighbours.neighbours_count, 2);
	for (size_t i = 0; i < 3; i++) {
		f->nodes[i].lazy = false;
		fixture_obey(f, &f->nodes[i]);
	}
	fixture_pass(f, 120000);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(f->nodes[i].neighbours.neighbours_count, 0);
	told = f->nodes[0].neighbours_count;
	fixture_pass(f, 120000);
	assert_int_equal(f->nodes[0].neighbours_count, told);
	fixture_free(f);
}

static void test_the_liar_is_named(void **state)
{
	struct fixture *f = fleet(3);
	struct peer_complaint complaint = {.node = f->nodes[1].id,
					   .fault = PEER_SENT_BAD,
					   .text = "it sent bytes that are not the chunk"};
	const struct msg_peer_report bad = {
		.port = 7410, .complaints = &complaint, .complaints_count = 1};

	roll_out(f, "1.0.0");
	fixture_send(f, &f->nodes[0], MESSAGE_PEER_REPORT, &bad);
	fixture_send(f, &f->nodes[0], MESSAGE_PEER_REPORT, &bad); /* said again: the same */
	fixture_pass(f, 1000);
	assert_null(neighbour_of(&f->nodes[0], &f->nodes[1]));
	assert_non_null(neighbour_of(&f->nodes[2], &f->nodes[1]));
	assert_int_equal(fixture_admin(f, "events", json_pack("{si}", "limit", 100)), 0);
	{
		size_t named = 0, i;
		json_t *event;

		json_array_foreach(f->body, i, event)
			named += str_equal(fixture_text(event, "kind"), "peer") &&
				 str_equal(fixture_text(event, "node"), "edge-02");
		assert_int_equal(named, 1);
	}
	assert_int_equal(fixture_admin(f, "node.show", json_pack("{ss}", "node", "edge-02")), 0);
	assert_string_equal(fixture_text(f->body, "peers.state"), "open");
	assert_string_equal(fixture_text(json_array_get(json_object_get(json_object_get(f->body,
											"peers"),
									"troubles"),
							0),
					 "fault"),
			    "sent_bad");
	fixture_free(f);
}

/* ---- the origin ---- */

static void offer(struct fixture *f, struct fake_node *node, const struct digest *release,
		  uint8_t has)
{
	struct msg_offer offer = {
		.release = *release, .chunks = CHUNKS, .bitmap = {&has, 1}, .first = true};

	fixture_send_data(f, node, MESSAGE_SEED_OFFER, &offer);
}

static void ask(struct fixture *f, struct fake_node *node, const struct digest *release, bool any,
		uint32_t chunk)
{
	const struct msg_request request = {.release = *release, .any = any, .chunk = chunk};

	fixture_send_data(f, node, MESSAGE_SEED_REQUEST, &request);
}

/* What was sent last: the number of a chunk, or the refusal's reason below zero. */
static int answer(const struct fixture *f, const struct fake_node *node)
{
	const struct packet *packet = &f->data[f->data_count - 1];
	struct chunk_data chunk;
	struct message message;
	int reason;

	assert_true(f->data_count > 0);
	assert_true(node_id_equal(&packet->node, &node->id));
	if (message_is(packet->data.data, packet->data.size, MESSAGE_SEED_CHUNK)) {
		assert_int_equal(
			chunk_data_open(packet->data.data, packet->data.size, &chunk, NULL), 0);
		return (int)chunk.chunk;
	}
	assert_int_equal(message_decode(packet->data.data, packet->data.size, CHANNEL_DATA,
					FROM_COORDINATOR, &message, NULL),
			 0);
	assert_int_equal(message.type, MESSAGE_SEED_REFUSE);
	reason = (int)((struct msg_refuse *)message.body)->reason;
	message_free(&message);
	return -1 - reason;
}

static void test_each_chunk_goes_out_once(void **state)
{
	struct fixture *f = fleet(3);
	struct digest release = roll_out(f, "1.0.0");
	int first, second;

	for (size_t i = 0; i < 3; i++)
		offer(f, &f->nodes[i], &release, 0);
	ask(f, &f->nodes[0], &release, true, 0);
	first = answer(f, &f->nodes[0]);
	ask(f, &f->nodes[1], &release, true, 0);
	second = answer(f, &f->nodes[1]);
	assert_true(first >= 0 && second >= 0 && first != second);
	ask(f, &f->nodes[2], &release, true, 0);
	assert_int_equal(answer(f, &f->nodes[2]), -1 - REFUSAL_ALL_OUT);
	fixture_free(f);
}

static void test_what_a_node_has_is_out(void **state)
{
	struct fixture *f = fleet(2);
	struct digest release = roll_out(f, "1.0.0");

	offer(f, &f->nodes[0], &release, 1 << 0);
	offer(f, &f->nodes[1], &release, 0);
	ask(f, &f->nodes[1], &release, true, 0);
	assert_int_equal(answer(f, &f->nodes[1]), 1);
	fixture_free(f);
}

/* Whoever comes late asks those who have it. */
static void test_what_others_hold_is_out(void **state)
{
	struct fixture *f = fleet(3);
	struct digest release = roll_out(f, "1.0.0");

	for (size_t i = 0; i < 2; i++)
		offer(f, &f->nodes[i], &release, 0);
	for (size_t i = 0; i < 2; i++) {
		f->nodes[i].lazy = false;
		fixture_obey(f, &f->nodes[i]);
	}
	fixture_pass(f, 5000);
	offer(f, &f->nodes[2], &release, 0);
	ask(f, &f->nodes[2], &release, true, 0);
	assert_int_equal(answer(f, &f->nodes[2]), -1 - REFUSAL_ALL_OUT);
	fixture_free(f);
}

static void test_a_stranger_to_the_release_gets_nothing(void **state)
{
	struct fixture *f = fleet(2);
	struct digest release = roll_out(f, "1.0.0"), other = fixture_push(f, "asr", "1.0.0");

	offer(f, &f->nodes[0], &other, 0);
	assert_int_equal(answer(f, &f->nodes[0]), -1 - REFUSAL_RELEASE);
	ask(f, &f->nodes[0], &other, true, 0);
	assert_int_equal(answer(f, &f->nodes[0]), -1 - REFUSAL_RELEASE);
	ask(f, &f->nodes[0], &release, true, 0); /* without an offer before */
	assert_int_equal(answer(f, &f->nodes[0]), -1 - REFUSAL_RELEASE);
	offer(f, &f->nodes[0], &release, 0);
	ask(f, &f->nodes[0], &release, false, CHUNKS);
	assert_int_equal(answer(f, &f->nodes[0]), -1 - REFUSAL_BUSY);
	fixture_free(f);
}

/* A node that counts otherwise, and the end of an exchange: nobody waits for what never comes. */
static void test_who_counts_otherwise_begins_anew(void **state)
{
	struct fixture *f = fleet(2);
	struct digest release = roll_out(f, "1.0.0");
	const struct msg_taken taken = {.taken = 1 << 30};

	offer(f, &f->nodes[0], &release, 0);
	fixture_send_data(f, &f->nodes[0], MESSAGE_SEED_TAKEN, &taken);
	assert_int_equal(answer(f, &f->nodes[0]), -1 - REFUSAL_RELEASE);
	offer(f, &f->nodes[0], &release, 0);
	ask(f, &f->nodes[0], &release, true, 0);
	assert_true(answer(f, &f->nodes[0]) >= 0);
	fixture_free(f);
}

/* After a restart the coordinator knows of no exchange: nodes report, and it goes on. */
static void test_after_a_restart(void **state)
{
	struct fixture *f = fleet(3);
	struct digest release = roll_out(f, "1.0.0");
	size_t told = f->nodes[0].neighbours_count;

	fixture_crash(f);
	fixture_start(f);
	ask(f, &f->nodes[0], &release, true, 0);
	assert_int_equal(answer(f, &f->nodes[0]), -1 - REFUSAL_RELEASE);
	for (size_t i = 0; i < 3; i++) {
		const struct msg_subscribe subscribe = {.protocol_version = PROTOCOL_VERSION,
							.boot_epoch = f->nodes[i].boot_epoch};

		fixture_send(f, &f->nodes[i], MESSAGE_SUBSCRIBE, &subscribe);
		report(f, &f->nodes[i], 7410);
	}
	fixture_pass(f, 1000);
	assert_int_equal(f->nodes[0].neighbours_count, told); /* not before they had time */
	fixture_pass(f, 5000);
	assert_true(f->nodes[0].neighbours_count > told);
	assert_int_equal(f->nodes[0].neighbours.neighbours_count, 2);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everybody_in_a_small_fleet),
		cmocka_unit_test(test_identity_comes_with_the_list),
		cmocka_unit_test(test_a_closed_node_connects_itself),
		cmocka_unit_test(test_off_silent_and_revoked_are_left_out),
		cmocka_unit_test(test_lists_end_with_the_fetch),
		cmocka_unit_test(test_the_liar_is_named),
		cmocka_unit_test(test_each_chunk_goes_out_once),
		cmocka_unit_test(test_what_a_node_has_is_out),
		cmocka_unit_test(test_what_others_hold_is_out),
		cmocka_unit_test(test_a_stranger_to_the_release_gets_nothing),
		cmocka_unit_test(test_who_counts_otherwise_begins_anew),
		cmocka_unit_test(test_after_a_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
