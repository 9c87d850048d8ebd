/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shell among neighbours: what it gives to whom, what it takes, what it says about them. The
 * sockets are played by a fake; journal and chunk store are real.
 */
#include "fleetless.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/chunk_data.h"
#include "protocol/chunk_list.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { CHUNK = 5000, SAID_MAX = 512 };

struct said { /* by the node to a neighbour */
	uint32_t peer;
	enum message_type type;
	struct msg_refuse refusal;
	struct msg_request request;
	size_t runs; /* HAVE */
	uint32_t chunks, offered; /* OFFER */
	size_t size;	/* of a chunk */
	bool right;	/* ... whose bytes have the digest that they should have */
};

struct exchange_test {
	struct node node;
	struct said said[SAID_MAX];
	size_t said_count;
	size_t sets, places, dropped;
	struct digest release;
	struct chunk_list *list; /* its chunks */
	int (*get)(void *context, uint32_t source, const struct wanted_object *object);
	struct digest asked; /* of the origin, by digest */
};

static struct exchange_test *test_of; /* the world's context is the node */

/* ---- the fake ---- */

static void ops_set(void *context, const struct peer_links *links)
{
	test_of->sets++;
	test_of->places = links->count;
}

static struct said *note(uint32_t peer, enum message_type type)
{
	struct said *said;

	assert_true(test_of->said_count < SAID_MAX);
	said = &test_of->said[test_of->said_count++];
	*said = (struct said){.peer = peer, .type = type};
	return said;
}

static uint32_t count_bits(const struct bytes *bytes)
{
	uint32_t count = 0;

	for (size_t i = 0; i < bytes->size; i++)
		count += (uint32_t)__builtin_popcount(bytes->data[i]);
	return count;
}

static int ops_send(void *context, uint32_t peer, enum peer_way way, const void *data, size_t size)
{
	struct message message;
	struct said *said;
	const struct msg_offer *offer;

	assert_int_equal(way, PEER_NEWS);
	assert_int_equal(message_decode(data, size, CHANNEL_PEERS, FROM_PEER, &message, NULL), 0);
	said = note(peer, message.type);
	if (message.type == MESSAGE_PEER_REFUSE)
		said->refusal = *(struct msg_refuse *)message.body;
	if (message.type == MESSAGE_PEER_REQUEST)
		said->request = *(struct msg_request *)message.body;
	if (message.type == MESSAGE_PEER_HAVE)
		said->runs = ((const struct msg_have *)message.body)->runs_count;
	if (message.type == MESSAGE_PEER_OFFER) {
		offer = message.body;
		said->chunks = offer->chunks;
		said->offered = count_bits(&offer->bitmap);
	}
	message_free(&message);
	return 0;
}

static int ops_send_owned(void *context, uint32_t peer, enum peer_way way, void *data, size_t size)
{
	struct said *said = note(peer, MESSAGE_PEER_CHUNK);
	struct chunk_data chunk;
	struct digest digest;

	assert_int_equal(way, PEER_DATA);
	assert_int_equal(chunk_data_open(data, size, &chunk, NULL), 0);
	digest_of(&digest, chunk.data, chunk.size);
	said->size = chunk.size;
	said->right = digest_equal(&digest, chunk_list_digest(test_of->list, chunk.chunk));
	free(data);
	return 0;
}

static void ops_drop(void *context, uint32_t peer)
{
	test_of->dropped = peer;
}

/* The origin gives the manifest and the indices, and no chunk. */
static int get_no_chunks(void *context, uint32_t source, const struct wanted_object *object)
{
	return object->kind == OBJECT_CHUNK && object->size >= CHUNK
		       ? -EAGAIN
		       : test_of->get(context, source, object);
}

static int get_and_note(void *context, uint32_t source, const struct wanted_object *object)
{
	test_of->asked = object->digest;
	return 0;
}

static int tell_origin(void *context, const void *data, size_t size)
{
	return 0;
}

/* ---- a node ---- */

static void begin(struct exchange_test *t, const struct agent_peering *peering)
{
	struct node *node = &t->node;

	test_of = t;
	node_create(node);
	node->world.peers = (struct peer_ops){.context = node,
					      .set = ops_set,
					      .send = ops_send,
					      .send_owned = ops_send_owned,
					      .drop = ops_drop};
	node->peering = *peering;
	node_restart_agent(node);
	t->get = node->world.get;
	node_start(node);
}

static int setup(void **state)
{
	static const struct agent_peering peering = {.on = true, .port = 7410};
	struct exchange_test *t = mem_alloc(sizeof(*t));

	begin(t, &peering);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct exchange_test *t = *state;

	node_destroy(&t->node);
	if (t->list)
		chunk_list_free(t->list);
	free(t);
	return 0;
}

static void make_release(struct exchange_test *t)
{
	t->release = node_release(&t->node, "1.0.0", 1, 3, CHUNK);
}

static void learn_list(struct exchange_test *t)
{
	const struct chunk_store_ops *store = &t->node.world.store;
	AUTO_FREE struct chunk_ref *chunks = NULL;
	size_t count = 0;

	assert_int_equal(store->chunks(store->context, &t->release, &chunks, &count, NULL), 0);
	t->list = chunk_list_create(chunks, count);
}

/* The node serves it. */
static void install(struct exchange_test *t)
{
	struct assignment a;

	make_release(t);
	a = node_assignment(NULL, &t->release, GOAL_SERVE);
	node_desire(&t->node, 1, &a, 1);
	assert_true(node_run_until(&t->node, NODE_STATE_SERVING, 60000));
	learn_list(t);
}

/* The node is to fetch it, and the origin gives no chunk. */
static void begin_fetch(struct exchange_test *t)
{
	struct assignment a;

	make_release(t);
	t->node.world.get = get_no_chunks;
	a = node_assignment(NULL, &t->release, GOAL_FETCH);
	node_desire(&t->node, 1, &a, 1);
	node_run(&t->node, 3000);
	learn_list(t);
}

static struct node_id id_of(uint32_t peer)
{
	return (struct node_id){{(uint8_t)peer}};
}

/* Neighbours 1..count; `of` may be given to the first, another release to the others. */
static void tell(struct exchange_test *t, size_t count, const struct digest *of)
{
	struct msg_neighbour neighbours[4] = {0};
	struct release_item items[4];
	const struct msg_neighbours list = {.neighbours = neighbours, .neighbours_count = count};

	for (size_t i = 0; i < count; i++) {
		memset(items[i].digest.bytes, 0xee, DIGEST_SIZE);
		if (i == 0)
			items[i].digest = *of;
		neighbours[i].id = id_of((uint32_t)i + 1);
		neighbours[i].releases = &items[i];
		neighbours[i].releases_count = 1;
	}
	node_send(&t->node, MESSAGE_NEIGHBOURS, &list);
}

static void say(struct exchange_test *t, uint32_t peer, enum message_type type, const void *body)
{
	struct bytes bytes = {0};

	assert_int_equal(message_encode(type, body, &bytes, NULL), 0);
	agent_on_peer_message(t->node.agent, peer, PEER_NEWS, bytes.data, bytes.size);
	free(bytes.data);
}

static void ask(struct exchange_test *t, uint32_t peer, const struct digest *release,
		uint32_t chunk)
{
	const struct msg_request request = {.release = *release, .chunk = chunk};

	say(t, peer, MESSAGE_PEER_REQUEST, &request);
}

static void offer_all(struct exchange_test *t, uint32_t peer, uint32_t chunks)
{
	uint8_t bits[64];
	const struct msg_offer offer = {
		.release = t->release, .chunks = chunks, .bitmap = {bits, (chunks + 7) / 8}};

	memset(bits, 0xff, sizeof(bits));
	say(t, peer, MESSAGE_PEER_OFFER, &offer);
}

static const struct said *last(const struct exchange_test *t, enum message_type type)
{
	for (size_t i = t->said_count; i > 0; i--)
		if (t->said[i - 1].type == type)
			return &t->said[i - 1];
	return NULL;
}

static size_t count_of(const struct exchange_test *t, enum message_type type)
{
	size_t count = 0;

	for (size_t i = 0; i < t->said_count; i++)
		count += t->said[i].type == type;
	return count;
}

/* ---- giving ---- */

static void gives_what_is_assigned(void **state)
{
	struct exchange_test *t = *state;
	uint32_t chunks;

	install(t);
	tell(t, 2, &t->release);
	assert_int_equal(t->places, 2);
	agent_on_peer_up(t->node.agent, 1);
	chunks = chunk_list_count(t->list);
	assert_int_equal(last(t, MESSAGE_PEER_OFFER)->chunks, chunks);
	assert_int_equal(last(t, MESSAGE_PEER_OFFER)->offered, chunks);
	ask(t, 1, &t->release, chunks - 1);
	assert_int_equal(last(t, MESSAGE_PEER_CHUNK)->peer, 1);
	assert_true(last(t, MESSAGE_PEER_CHUNK)->right);
	ask(t, 1, &t->release, chunks);
	assert_int_equal(last(t, MESSAGE_PEER_REFUSE)->refusal.reason, REFUSAL_MISSING);
}

static void a_foreign_release_is_refused(void **state)
{
	struct exchange_test *t = *state;
	struct digest other;

	install(t);
	tell(t, 2, &t->release);
	agent_on_peer_up(t->node.agent, 1);
	agent_on_peer_up(t->node.agent, 2);
	assert_int_equal(count_of(t, MESSAGE_PEER_OFFER), 1); /* the second hears nothing of it */
	ask(t, 2, &t->release, 0);
	assert_int_equal(last(t, MESSAGE_PEER_REFUSE)->peer, 2);
	assert_int_equal(last(t, MESSAGE_PEER_REFUSE)->refusal.reason, REFUSAL_RELEASE);
	memset(&other, 0xee, sizeof(other)); /* its own: assigned, but not here */
	ask(t, 2, &other, 0);
	assert_int_equal(last(t, MESSAGE_PEER_REFUSE)->refusal.reason, REFUSAL_MISSING);
	memset(&other, 0xdd, sizeof(other));
	ask(t, 1, &other, 0);
	assert_int_equal(last(t, MESSAGE_PEER_REFUSE)->refusal.reason, REFUSAL_RELEASE);
	assert_int_equal(count_of(t, MESSAGE_PEER_CHUNK), 0);
}

static void who_is_left_out_is_not_heard(void **state)
{
	struct exchange_test *t = *state;
	size_t before;

	install(t);
	tell(t, 1, &t->release);
	agent_on_peer_up(t->node.agent, 1);
	tell(t, 0, &t->release);
	assert_int_equal(t->places, 0);
	before = t->said_count;
	ask(t, 1, &t->release, 0);
	assert_int_equal(t->said_count, before);
}

static void more_than_the_credit_is_refused(void **state)
{
	struct exchange_test *t = *state;

	install(t);
	tell(t, 1, &t->release);
	agent_on_peer_up(t->node.agent, 1);
	for (int i = 0; i < 400; i++)
		ask(t, 1, &t->release, 0); /* and never says that it took one */
	assert_non_null(last(t, MESSAGE_PEER_REFUSE));
	assert_int_equal(last(t, MESSAGE_PEER_REFUSE)->refusal.reason, REFUSAL_BUSY);
	assert_true(count_of(t, MESSAGE_PEER_CHUNK) * CHUNK <= 2 << 20);
}

static void metered_gives_nothing(void **state)
{
	static const struct agent_peering peering = {.on = true, .port = 7410, .metered = true};
	struct exchange_test *t = mem_alloc(sizeof(*t));

	begin(t, &peering);
	*state = t;
	install(t);
	tell(t, 1, &t->release);
	agent_on_peer_up(t->node.agent, 1);
	assert_null(last(t, MESSAGE_PEER_OFFER));
	ask(t, 1, &t->release, 0);
	assert_int_equal(last(t, MESSAGE_PEER_REFUSE)->refusal.reason, REFUSAL_CLOSED);
}

static void off_takes_no_part(void **state)
{
	static const struct agent_peering peering = {.port = 7410};
	struct exchange_test *t = mem_alloc(sizeof(*t));

	begin(t, &peering);
	*state = t;
	assert_true(t->node.peers_said.off);
	assert_string_equal(t->node.peers_said.text, "peer: off in agent.conf");
	install(t);
	tell(t, 1, &t->release);
	assert_int_equal(t->sets, 0);
}

/* The clock of the fake begins at 15:23:20 UTC. */
static void a_window_opens(void **state)
{
	static const struct agent_peering peering = {
		.on = true, .port = 7410, .window = "15:25-15:27"};
	struct exchange_test *t = mem_alloc(sizeof(*t));

	begin(t, &peering);
	*state = t;
	make_release(t);
	tell(t, 1, &t->release);
	assert_int_equal(t->sets, 0);
	assert_true(t->node.peers_said.off);
	assert_string_equal(t->node.peers_said.text, "outside of its window");
	node_run(&t->node, 120000);
	assert_int_equal(t->places, 1);
	assert_false(t->node.peers_said.off);
	node_run(&t->node, 120000);
	assert_int_equal(t->places, 0);
	assert_true(t->node.peers_said.off);
}

/* ---- taking ---- */

static const struct node_object *object_of(const struct node *node, const struct digest *digest)
{
	for (size_t i = 0; i < node->objects_count; i++)
		if (digest_equal(&node->objects[i].digest, digest))
			return &node->objects[i];
	return NULL;
}

/* Answers a request; spoiled: with one bit that is not right. */
static void give(struct exchange_test *t, uint32_t peer, uint32_t chunk, bool spoiled)
{
	const struct node_object *object = object_of(&t->node, chunk_list_digest(t->list, chunk));
	AUTO_FREE uint8_t *message = mem_alloc(CHUNK_DATA_HEAD_MAX + object->data.size);
	size_t head = chunk_data_head(message, MESSAGE_PEER_CHUNK, &t->release, chunk,
				      object->data.size);

	memcpy(message + head, object->data.data, object->data.size);
	message[head] ^= spoiled;
	agent_on_peer_message(t->node.agent, peer, PEER_DATA, message, head + object->data.size);
}

static void takes_all_from_a_neighbour(void **state)
{
	struct exchange_test *t = *state;

	begin_fetch(t);
	tell(t, 1, &t->release);
	agent_on_peer_up(t->node.agent, 1);
	assert_null(last(t, MESSAGE_PEER_REQUEST)); /* it has said nothing yet */
	offer_all(t, 1, chunk_list_count(t->list));
	assert_non_null(last(t, MESSAGE_PEER_REQUEST));
	for (size_t i = 0; i < t->said_count; i++)
		if (t->said[i].type == MESSAGE_PEER_REQUEST)
			give(t, 1, t->said[i].request.chunk, false);
	node_run(&t->node, 2000);
	assert_int_equal(node_report(&t->node)->state, NODE_STATE_STAGED);
	assert_int_equal(t->dropped, 0);
}

/* The origin does not look at what it gives as a seed: it is asked to look. */
static void origin_is_asked_to_look_at_a_bad_chunk(void **state)
{
	struct exchange_test *t = *state;
	const struct node_object *object;
	AUTO_FREE uint8_t *message = NULL;
	size_t head;

	t->node.world.tell_origin = tell_origin;
	begin_fetch(t);
	tell(t, 1, &t->release);
	t->node.world.get = get_and_note;
	object = object_of(&t->node, chunk_list_digest(t->list, 1));
	message = mem_alloc(CHUNK_DATA_HEAD_MAX + object->data.size);
	head = chunk_data_head(message, MESSAGE_SEED_CHUNK, &t->release, 1, object->data.size);
	memcpy(message + head, object->data.data, object->data.size);
	message[head + 7] ^= 1;
	agent_on_origin(t->node.agent, message, head + object->data.size);
	assert_true(digest_equal(&t->asked, chunk_list_digest(t->list, 1)));
}

static void wrong_bytes_cost_the_place(void **state)
{
	struct exchange_test *t = *state;

	begin_fetch(t);
	tell(t, 1, &t->release);
	agent_on_peer_up(t->node.agent, 1);
	offer_all(t, 1, chunk_list_count(t->list));
	give(t, 1, last(t, MESSAGE_PEER_REQUEST)->request.chunk, true);
	assert_int_equal(t->dropped, 1);
	assert_int_equal(t->node.peers_said.complaints_count, 1);
	assert_int_equal(t->node.peers_said.complaints[0].fault, PEER_SENT_BAD);
	assert_int_equal(t->node.peers_said.complaints[0].node.bytes[0], 1);
}

static void impossible_lists_cost_the_place(void **state)
{
	struct exchange_test *t = *state;
	struct chunk_run run = {.first = 1, .count = UINT32_MAX};
	struct msg_have have = {.runs = &run, .runs_count = 1};

	begin_fetch(t);
	tell(t, 1, &t->release);
	agent_on_peer_up(t->node.agent, 1);
	offer_all(t, 1, chunk_list_count(t->list) + 1);
	assert_int_equal(t->dropped, 1);
	assert_int_equal(t->node.peers_said.complaints[0].fault, PEER_LIED);
	tell(t, 0, &t->release);
	tell(t, 1, &t->release);
	assert_int_equal(t->node.peers_said.complaints_count, 0);
	t->dropped = 0;
	agent_on_peer_up(t->node.agent, 1);
	offer_all(t, 1, chunk_list_count(t->list));
	have.release = t->release;
	say(t, 1, MESSAGE_PEER_HAVE, &have);
	assert_int_equal(t->dropped, 1);
}

static void refusals_are_lies_in_the_end(void **state)
{
	struct exchange_test *t = *state;

	begin_fetch(t);
	tell(t, 1, &t->release);
	agent_on_peer_up(t->node.agent, 1);
	offer_all(t, 1, chunk_list_count(t->list));
	for (size_t i = 0; i < t->said_count && !t->dropped; i++) {
		const struct msg_refuse refusal = {.reason = REFUSAL_MISSING,
						   .release = t->release,
						   .chunk = t->said[i].request.chunk};

		if (t->said[i].type == MESSAGE_PEER_REQUEST)
			say(t, 1, MESSAGE_PEER_REFUSE, &refusal);
	}
	assert_int_equal(t->dropped, 1);
	assert_int_equal(t->node.peers_said.complaints[0].fault, PEER_LIED);
}

/* What came is said at once to those who lack it, what comes right after it soon and together. */
static void tells_what_came(void **state)
{
	struct exchange_test *t = *state;
	uint32_t chunk;

	begin_fetch(t);
	tell(t, 1, &t->release);
	agent_on_peer_up(t->node.agent, 1);
	assert_int_equal(last(t, MESSAGE_PEER_OFFER)->offered, 0);
	offer_all(t, 1, chunk_list_count(t->list));
	chunk = last(t, MESSAGE_PEER_REQUEST)->request.chunk;
	give(t, 1, chunk, false);
	assert_int_equal(count_of(t, MESSAGE_PEER_HAVE), 1); /* who sent it knows that it came */
	ask(t, 1, &t->release, chunk);
	assert_true(last(t, MESSAGE_PEER_CHUNK)->right);
	for (size_t i = 0, given = 0; i < t->said_count && given < 2; i++) {
		if (t->said[i].type != MESSAGE_PEER_REQUEST || t->said[i].request.chunk == chunk)
			continue;
		give(t, 1, t->said[i].request.chunk, false);
		given++;
	}
	assert_int_equal(count_of(t, MESSAGE_PEER_HAVE), 1);
	node_run(&t->node, 10);
	assert_int_equal(count_of(t, MESSAGE_PEER_HAVE), 2);
	assert_int_equal(last(t, MESSAGE_PEER_HAVE)->runs, 2);
}

static void unreachable_is_reported(void **state)
{
	struct exchange_test *t = *state;

	install(t);
	tell(t, 1, &t->release);
	agent_on_peer_down(t->node.agent, 1, PEER_UNREACHABLE, "cannot reach the node at x");
	assert_int_equal(t->node.peers_said.complaints_count, 1);
	assert_int_equal(t->node.peers_said.complaints[0].fault, PEER_UNREACHABLE);
	agent_on_peer_up(t->node.agent, 1);
	assert_int_equal(t->node.peers_said.complaints_count, 0);
	agent_on_peers_listen(t->node.agent, "the port is taken");
	assert_int_equal(t->node.peers_said.port, 0);
	assert_string_equal(t->node.peers_said.text, "the port is taken");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(gives_what_is_assigned),
		TEST(a_foreign_release_is_refused),
		TEST(who_is_left_out_is_not_heard),
		TEST(more_than_the_credit_is_refused),
		cmocka_unit_test_teardown(metered_gives_nothing, teardown),
		cmocka_unit_test_teardown(off_takes_no_part, teardown),
		cmocka_unit_test_teardown(a_window_opens, teardown),
		TEST(takes_all_from_a_neighbour),
		TEST(origin_is_asked_to_look_at_a_bad_chunk),
		TEST(wrong_bytes_cost_the_place),
		TEST(impossible_lists_cost_the_place),
		TEST(refusals_are_lies_in_the_end),
		TEST(tells_what_came),
		TEST(unreachable_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
