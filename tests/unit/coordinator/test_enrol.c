/* SPDX-License-Identifier: Apache-2.0 */
/* Joining: what gets in, what is refused and with which words, and what survives a lost answer. */
#include "fixture.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"
#include "protocol/enrol.h"
#include "protocol/spec.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct newcomer {
	struct public_key link_key, sign_key;
};

static struct newcomer newcomer(uint8_t n)
{
	struct newcomer keys;

	memset(keys.link_key.bytes, n, KEY_SIZE);
	memset(keys.sign_key.bytes, n + 100, KEY_SIZE);
	return keys;
}

static char *token(struct fixture *f, json_t *body)
{
	if (fixture_admin(f, "token.create", body) != 0)
		fail_msg("%s", f->reply.error);
	return mem_str(fixture_text(f->body, "join"));
}

/* Sends the request; ret_answer is the decoded answer, to be freed. */
static void send_request(struct fixture *f, const struct bytes *request,
			 struct msg_enrolled *ret_answer)
{
	struct message message;
	struct bytes reply;

	coordinator_on_enrol(f->coordinator, "10.0.0.9", request->data, request->size, &reply);
	assert_non_null(reply.data);
	assert_int_equal(message_decode(reply.data, reply.size, CHANNEL_ENROL, FROM_COORDINATOR,
					&message, NULL),
			 0);
	*ret_answer = *(struct msg_enrolled *)message.body;
	free(message.body);
	free(reply.data);
}

static void join(struct fixture *f, const char *join_text, const char *name,
		 const struct newcomer *keys, struct msg_enrolled *ret_answer)
{
	struct bytes request = fixture_enrol_request(join_text, name, &keys->link_key,
						     &keys->sign_key);

	send_request(f, &request, ret_answer);
	free(request.data);
}

static void expect_join(struct fixture *f, const char *join_text, const char *name,
			const struct newcomer *keys)
{
	struct msg_enrolled answer;

	join(f, join_text, name, keys, &answer);
	assert_string_equal(answer.error, "");
	assert_true(answer.identity.size > 0);
	codec_free(&codec_msg_enrolled, &answer);
}

static void expect_refusal(struct fixture *f, const char *join_text, const char *name,
			   const struct newcomer *keys, const char *words)
{
	struct msg_enrolled answer;

	join(f, join_text, name, keys, &answer);
	if (!strstr(answer.error, words))
		fail_msg("refusal is \"%s\", without \"%s\"", answer.error, words);
	assert_int_equal(answer.identity.size, 0);
	assert_int_equal(answer.root.size, 0);
	codec_free(&codec_msg_enrolled, &answer);
}

static void test_identity_is_signed(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct newcomer keys = newcomer(1);
	AUTO_FREE char *text = token(f, json_pack("{s{ssss}}", "labels", "site", "lyon", "hw",
						  "jetson"));
	struct root_document root;
	struct msg_enrolled answer;
	struct identity identity;

	join(f, text, "edge-01", &keys, &answer);
	assert_string_equal(answer.error, "");
	assert_int_equal(root_open(answer.root.data, answer.root.size, NULL, &root, NULL), 0);
	assert_int_equal(identity_open(answer.identity.data, answer.identity.size, &root, &identity,
				       NULL),
			 0);
	assert_string_equal(identity.name, "edge-01");
	assert_memory_equal(identity.link_key.bytes, keys.link_key.bytes, KEY_SIZE);
	assert_memory_equal(identity.sign_key.bytes, keys.sign_key.bytes, KEY_SIZE);
	assert_int_equal(identity.labels_count, 2);
	assert_string_equal(identity.labels[0].key, "hw");
	assert_true(identity.expires_unix_ms > identity.issued_unix_ms);
	codec_free(&codec_identity, &identity);
	codec_free(&codec_root_document, &root);
	codec_free(&codec_msg_enrolled, &answer);
	fixture_free(f);
}

/* spec: TRUST-8 */
static void test_each_refusal_says_which(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct newcomer one = newcomer(1), two = newcomer(2), three = newcomer(3);
	AUTO_FREE char *used = token(f, NULL);
	AUTO_FREE char *expired = token(f, json_pack("{si}", "ttl_ms", 60000));
	AUTO_FREE char *removed = token(f, NULL);
	AUTO_FREE char *wrong = mem_str(used);

	expect_join(f, used, "a", &one);
	expect_refusal(f, used, "b", &two, "used up");
	fixture_pass(f, 60000);
	expect_refusal(f, expired, "b", &two, "expired");
	struct join_string parsed;
	assert_int_equal(join_string_parse(removed, &parsed, NULL), 0);
	assert_int_equal(fixture_admin(f, "token.rm", json_pack("{ss}", "id", parsed.token_id)), 0);
	expect_refusal(f, removed, "b", &two, "not known");
	wrong[strlen(wrong) - 1] = wrong[strlen(wrong) - 1] == '0' ? '1' : '0';
	expect_refusal(f, wrong, "c", &three, "secret is wrong");
	assert_int_equal(fixture_admin(f, "node.ls", NULL), 0);
	assert_int_equal(json_array_size(f->body), 1);
	fixture_free(f);
}

/* A man in the middle who swaps a key in the request. */
static void test_swapped_key_is_refused(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct newcomer one = newcomer(1);
	AUTO_FREE char *text = token(f, NULL);
	struct bytes request = fixture_enrol_request(text, "a", &one.link_key, &one.sign_key);
	uint8_t *key = memmem(request.data, request.size, one.link_key.bytes, KEY_SIZE);
	struct msg_enrolled answer;

	assert_non_null(key);
	key[0] ^= 1;
	send_request(f, &request, &answer);
	assert_non_null(strstr(answer.error, "wrong"));
	codec_free(&codec_msg_enrolled, &answer);
	free(request.data);
	fixture_free(f);
}

/* The answer was lost, or the coordinator died: the same keys ask again with the same token. */
static void test_asking_again_costs_nothing(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct newcomer one = newcomer(1), two = newcomer(2);
	AUTO_FREE char *text = token(f, NULL);

	expect_join(f, text, "a", &one);
	fixture_crash(f);
	fixture_start(f);
	expect_join(f, text, "a", &one);
	expect_refusal(f, text, "b", &two, "used up");
	assert_int_equal(fixture_admin(f, "node.ls", NULL), 0);
	assert_int_equal(json_array_size(f->body), 1);
	fixture_free(f);
}

static void test_taken_keys_and_names(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct newcomer one = newcomer(1), two = newcomer(2), mixed;
	AUTO_FREE char *text = token(f, json_pack("{si}", "uses", 5));

	expect_join(f, text, "edge", &one);
	expect_join(f, text, "edge", &two); /* the name is taken: it gets one beside */
	mixed = (struct newcomer){.link_key = newcomer(3).link_key, .sign_key = one.sign_key};
	expect_refusal(f, text, "x", &mixed, "already");
	mixed = (struct newcomer){.link_key = one.link_key, .sign_key = newcomer(3).sign_key};
	expect_refusal(f, text, "x", &mixed, "already");
	expect_join(f, text, "No Such Name!", &(struct newcomer){newcomer(4).link_key,
								 newcomer(4).sign_key});
	assert_int_equal(fixture_admin(f, "node.show", json_pack("{ss}", "node", "edge-2")), 0);
	assert_int_equal(fixture_admin(f, "token.ls", NULL), 0);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(f->body, 0),
							    "uses_left")),
			 2);
	fixture_free(f);
}

static void test_approval_and_revocation(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct newcomer one = newcomer(1);
	AUTO_FREE char *text = token(f, json_pack("{sbsi}", "approval", true, "uses", 2));
	struct node_id id, found;

	expect_join(f, text, "a", &one);
	node_id_of_key(&id, &one.sign_key);
	assert_int_equal(fixture_admin(f, "node.show", json_pack("{ss}", "node", "a")), 0);
	assert_string_equal(fixture_text(f->body, "state"), "pending");
	assert_int_equal(fixture_admin(f, "node.approve", json_pack("{ss}", "node", "a")), 0);
	assert_string_equal(fixture_text(f->body, "state"), "unreachable"); /* never came */
	assert_true(coordinator_node_of_key(f->coordinator, &one.link_key, &found));
	assert_true(node_id_equal(&found, &id));
	assert_int_equal(fixture_admin(f, "node.revoke", json_pack("{ss}", "node", "a")), 0);
	assert_string_equal(fixture_text(f->body, "state"), "revoked");
	assert_false(coordinator_node_of_key(f->coordinator, &one.link_key, &found));
	assert_false(coordinator_admits_node(f->coordinator, &id));
	expect_refusal(f, text, "a", &one, "revoked");
	fixture_crash(f);
	fixture_start(f);
	assert_false(coordinator_admits_node(f->coordinator, &id));
	fixture_free(f);
}

static void expect_node(struct fixture *f, const char *state, bool seen)
{
	assert_int_equal(fixture_admin(f, "node.show", json_pack("{ss}", "node", "a")), 0);
	assert_string_equal(fixture_text(f->body, "state"), state);
	assert_int_equal(json_is_string(json_object_get(f->body, "last_seen")), seen);
}

/* Joining is not coming: only the agent's own word begins its lease. */
static void test_unreachable_until_the_agent_comes(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct newcomer one = newcomer(1);
	AUTO_FREE char *text = token(f, json_pack("{si}", "uses", 1));
	struct fake_node node = {0};
	struct msg_subscribe subscribe = {.protocol_version = PROTOCOL_VERSION,
					  .agent_version = "0.1.0"};

	expect_join(f, text, "a", &one);
	expect_node(f, "unreachable", false);
	fixture_crash(f);
	fixture_start(f);
	expect_node(f, "unreachable", false);
	node_id_of_key(&node.id, &one.sign_key);
	fixture_send(f, &node, MESSAGE_SUBSCRIBE, &subscribe);
	expect_node(f, "online", true);
	fixture_crash(f);
	fixture_start(f);
	expect_node(f, "online", true);
	fixture_pass(f, LIMIT_GRACE_MS + LIMIT_SILENCE_MS + 1000);
	expect_node(f, "unreachable", true);
	fixture_free(f);
}

/* Who joined by mistake and never came is removed without more ado. */
static void test_who_never_came_is_removed(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct newcomer one = newcomer(1);
	AUTO_FREE char *text = token(f, json_pack("{si}", "uses", 1));

	expect_join(f, text, "a", &one);
	assert_int_equal(fixture_admin(f, "node.rm", json_pack("{ss}", "node", "a")), 0);
	fixture_free(f);
}

static void test_leaving(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct fake_node *node = fixture_join(f, "a", NULL);
	struct fake_node *other = fixture_join(f, "b", NULL);
	struct msg_leave leave = {.boot_epoch = 1};

	fixture_deliver(f);
	fixture_send_status(f, node); /* may still lie in the inbox */
	node->refused = false;
	fixture_send(f, node, MESSAGE_LEAVE, &leave);
	fixture_deliver(f);
	assert_true(node->refused);
	assert_false(other->refused);
	assert_false(coordinator_admits_node(f->coordinator, &node->id));
	node->refused = false;
	fixture_send(f, node, MESSAGE_LEAVE, &leave); /* the answer was lost */
	fixture_deliver(f);
	assert_true(node->refused);
	fixture_crash(f);
	fixture_start(f);
	assert_false(coordinator_admits_node(f->coordinator, &node->id));
	assert_int_equal(fixture_admin(f, "node.ls", NULL), 0);
	assert_int_equal(json_array_size(f->body), 1);
	fixture_free(f);
}

/* A node that waits for approval is told nothing and given nothing; a revoked one is sent away. */
static void test_pending_and_revoked_get_nothing(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct deployment_spec spec;
	struct fake_node *node = fixture_join(f, "a", NULL);
	struct msg_get get = {.kind = OBJECT_MANIFEST};
	struct message message;
	struct bytes data, reply;

	get.digest = fixture_push(f, "ocr", "1.0.0");
	fixture_spec(&spec, "ocr", "ocr", "1.0.0");
	assert_int_equal(message_encode(MESSAGE_GET, &get, &data, NULL), 0);
	coordinator_on_data(f->coordinator, &node->id, data.data, data.size, &reply);
	assert_int_equal(message_decode(reply.data, reply.size, CHANNEL_DATA, FROM_COORDINATOR,
					&message, NULL),
			 0);
	assert_true(((struct msg_object *)message.body)->missing); /* not assigned */
	message_free(&message);
	free(reply.data);
	assert_int_equal(fixture_apply(f, &spec, false, false), 0);
	fixture_pass(f, 3000);
	coordinator_on_data(f->coordinator, &node->id, data.data, data.size, &reply);
	assert_int_equal(message_decode(reply.data, reply.size, CHANNEL_DATA, FROM_COORDINATOR,
					&message, NULL),
			 0);
	assert_false(((struct msg_object *)message.body)->missing);
	message_free(&message);
	free(reply.data);
	assert_int_equal(fixture_admin(f, "node.revoke", json_pack("{ss}", "node", "a")), 0);
	coordinator_on_data(f->coordinator, &node->id, data.data, data.size, &reply);
	assert_int_equal(message_decode(reply.data, reply.size, CHANNEL_DATA, FROM_COORDINATOR,
					&message, NULL),
			 0);
	assert_true(((struct msg_object *)message.body)->missing);
	message_free(&message);
	free(reply.data);
	node->refused = false;
	fixture_send_status(f, node);
	fixture_deliver(f);
	assert_true(node->refused);
	free(data.data);
	deployment_spec_free(&spec);
	fixture_free(f);
}

static void test_rate_limit(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct newcomer one = newcomer(1), two = newcomer(2);
	AUTO_FREE char *text = token(f, NULL);
	AUTO_FREE char *wrong = mem_str(text);
	size_t before;

	f->now_ms += 60000 - f->now_ms % 60000; /* a fresh minute */
	wrong[strlen(wrong) - 1] = wrong[strlen(wrong) - 1] == '0' ? '1' : '0';
	for (size_t i = 0; i < LIMIT_ENROL_PER_MINUTE; i++)
		expect_refusal(f, wrong, "a", &two, "wrong");
	assert_int_equal(fixture_admin(f, "events", json_pack("{si}", "limit", 1000)), 0);
	before = json_array_size(f->body);
	expect_refusal(f, text, "a", &one, "too many");
	assert_int_equal(fixture_admin(f, "events", json_pack("{si}", "limit", 1000)), 0);
	assert_int_equal(json_array_size(f->body), before); /* the flood is not written down */
	f->now_ms += 60000;
	expect_join(f, text, "a", &one);
	fixture_free(f);
}

static void test_garbage(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct newcomer one = newcomer(1);
	AUTO_FREE char *text = token(f, NULL);
	struct bytes request = fixture_enrol_request(text, "a", &one.link_key, &one.sign_key);
	struct bytes reply;
	size_t answered = 0;

	for (size_t size = 0; size < request.size; size++) {
		coordinator_on_enrol(f->coordinator, "x", request.data, size, &reply);
		answered += reply.data != NULL;
		free(reply.data);
	}
	assert_int_equal(answered, 0);
	free(request.data);
	assert_int_equal(fixture_admin(f, "node.ls", NULL), 0);
	assert_int_equal(json_array_size(f->body), 0);
	fixture_free(f);
}

static int fail_at(void *arg, const char *statement)
{
	int *left = arg;

	return --*left == 0 ? -EIO : 0;
}

/* Whichever statement fails: the token is used once, and asking again succeeds. */
static void test_fault_at_each_statement(void **state)
{
	for (int at = 1; at < 16; at++) {
		struct fixture *f = fixture_new(NULL);
		struct newcomer one = newcomer(1), two = newcomer(2);
		AUTO_FREE char *text = token(f, json_pack("{si}", "uses", 2));
		struct msg_enrolled answer;
		int left = at;

		store_sqlite_on_statement(f->store, fail_at, &left);
		join(f, text, "a", &one, &answer);
		codec_free(&codec_msg_enrolled, &answer);
		store_sqlite_on_statement(f->store, NULL, NULL);
		fixture_crash(f);
		fixture_start(f);
		expect_join(f, text, "a", &one);
		expect_join(f, text, "b", &two);
		expect_refusal(f, text, "c",
			       &(struct newcomer){newcomer(3).link_key, newcomer(3).sign_key},
			       "used up");
		fixture_free(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity_is_signed),
		cmocka_unit_test(test_each_refusal_says_which),
		cmocka_unit_test(test_swapped_key_is_refused),
		cmocka_unit_test(test_asking_again_costs_nothing),
		cmocka_unit_test(test_taken_keys_and_names),
		cmocka_unit_test(test_approval_and_revocation),
		cmocka_unit_test(test_unreachable_until_the_agent_comes),
		cmocka_unit_test(test_who_never_came_is_removed),
		cmocka_unit_test(test_leaving),
		cmocka_unit_test(test_pending_and_revoked_get_nothing),
		cmocka_unit_test(test_rate_limit),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_fault_at_each_statement),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
