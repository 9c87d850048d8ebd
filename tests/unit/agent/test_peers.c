/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections between neighbours, over real sockets: who is let in, who is not, and what a
 * coordinator's new list or a neighbour's end does to them. Each node has a ZeroMQ context of its
 * own, as in real life; all share one loop.
 */
#include "agent/chunks/peers.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"
#include "protocol/transport/link.h"
#include "protocol/transport/zcontext.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { NODES = 3, WAIT_MS = 10000, HEARD_MAX = 2 << 20 };

struct node {
	struct link_key link;
	struct sign_key sign;
	struct node_id id;
	struct bytes identity;
	char endpoint[64];
	void *context;
	struct zhub *hub;
	struct peers *peers;
	struct peer_ops ops;
	unsigned ups, downs, messages[PEER_WAYS], listens;
	enum peer_fault fault;
	char text[512], problem[512];
	size_t size; /* of the last message */
	uint8_t last; /* its last byte */
};

struct fleet {
	sd_event *event;
	struct sign_key online;
	struct root_document root;
	struct node nodes[NODES];
};

static uint64_t unix_ms = UINT64_C(1800000000000);

static uint64_t now(void)
{
	return unix_ms;
}

/* ---- events ---- */

static void on_up(void *context, uint32_t peer)
{
	((struct node *)context)->ups++;
}

static void on_down(void *context, uint32_t peer, enum peer_fault fault, const char *text)
{
	struct node *node = context;

	node->downs++;
	node->fault = fault;
	STR_CUT(node->text, text);
}

static void on_message(void *context, uint32_t peer, enum peer_way way, const void *data,
		       size_t size)
{
	struct node *node = context;

	node->messages[way]++;
	node->size = size;
	node->last = size ? ((const uint8_t *)data)[size - 1] : 0;
}

static void on_listens(void *context, const char *problem)
{
	struct node *node = context;

	node->listens++;
	STR_CUT(node->problem, problem);
}

/* ---- a fleet ---- */

static unsigned free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	close(fd);
	return ntohs(address.sin_port);
}

static struct bytes sign_identity(const struct sign_key *online, const struct node *node,
				  uint64_t expires_unix_ms)
{
	struct identity identity = {.id = node->id,
				    .name = "node",
				    .link_key = node->link.public_key,
				    .sign_key = node->sign.public_key,
				    .expires_unix_ms = expires_unix_ms};
	struct envelope envelope = {0};
	struct bytes document;

	assert_int_equal(codec_encode(&codec_identity, &identity, LIMIT_PEER_HELLO,
				      &envelope.payload, NULL),
			 0);
	envelope_sign(&envelope, SIGNED_IDENTITY, online);
	assert_int_equal(
		codec_encode(&codec_envelope, &envelope, LIMIT_PEER_HELLO, &document, NULL), 0);
	codec_free(&codec_envelope, &envelope);
	return document;
}

static void open_node(struct fleet *fleet, struct node *node)
{
	const struct zcontext_config context = {.max_sockets = 64};
	const struct peers_events events = {
		.up = on_up, .down = on_down, .message = on_message, .listens = on_listens};
	const struct peers_config config = {.listen = node->endpoint,
					    .key = &node->link,
					    .root = &fleet->root,
					    .unix_ms = now};

	assert_int_equal(zcontext_new(&context, &node->context, NULL), 0);
	assert_int_equal(zhub_new(fleet->event, node->context, &node->hub), 0);
	assert_int_equal(peers_new(node->hub, &config, &events, node, &node->peers, NULL), 0);
	node->ops = peers_ops(node->peers);
}

static void close_node(struct node *node)
{
	peers_free(node->peers);
	zhub_free(node->hub);
	zcontext_free(node->context);
	node->peers = NULL;
}

static int setup(void **state)
{
	struct fleet *fleet = mem_alloc(sizeof(*fleet));

	assert_int_equal(sd_event_new(&fleet->event), 0);
	sign_key_generate(&fleet->online);
	fleet->root.online_key = fleet->online.public_key;
	for (size_t i = 0; i < NODES; i++) {
		struct node *node = &fleet->nodes[i];

		link_key_generate(&node->link);
		sign_key_generate(&node->sign);
		node_id_of_key(&node->id, &node->sign.public_key);
		node->identity = sign_identity(&fleet->online, node, unix_ms + 1000);
		snprintf(node->endpoint, sizeof(node->endpoint), "tcp://127.0.0.1:%u", free_port());
		open_node(fleet, node);
	}
	*state = fleet;
	return 0;
}

static int teardown(void **state)
{
	struct fleet *fleet = *state;

	for (size_t i = 0; i < NODES; i++) {
		close_node(&fleet->nodes[i]);
		free(fleet->nodes[i].identity.data);
	}
	sd_event_unref(fleet->event);
	free(fleet);
	return 0;
}

/* node is told that its only neighbours are the others of `mask`; it connects to those of
 * `dial`. */
static void tell(struct fleet *fleet, struct node *node, unsigned mask, unsigned dial)
{
	struct msg_neighbour of[NODES] = {0};
	struct peer_place places[NODES];
	struct peer_links links = {.identity = node->identity, .places = places};

	for (unsigned i = 0; i < NODES; i++) {
		if (!(mask >> i & 1))
			continue;
		of[i].id = fleet->nodes[i].id;
		of[i].link_key = fleet->nodes[i].link.public_key;
		of[i].dial = dial >> i & 1;
		snprintf(of[i].name, sizeof(of[i].name), "n%u", i);
		if (of[i].dial)
			STR_CUT(of[i].endpoint, fleet->nodes[i].endpoint);
		places[links.count++] = (struct peer_place){i + 1, &of[i]};
	}
	node->ops.set(node->ops.context, &links);
}

static bool wait_for(struct fleet *fleet, const unsigned *value, unsigned wanted, uint64_t ms)
{
	uint64_t deadline = clock_mono_ms() + ms;

	while (*value < wanted && clock_mono_ms() < deadline)
		assert_true(sd_event_run(fleet->event, 10000) >= 0);
	return *value >= wanted;
}

static void run_for(struct fleet *fleet, uint64_t ms)
{
	const unsigned never = 0;

	(void)wait_for(fleet, &never, 1, ms);
}

/* 0 connects to 1. */
static void pair(struct fleet *fleet)
{
	tell(fleet, &fleet->nodes[1], 1 << 0, 0);
	tell(fleet, &fleet->nodes[0], 1 << 1, 1 << 1);
	assert_true(wait_for(fleet, &fleet->nodes[0].ups, 1, WAIT_MS));
	assert_true(wait_for(fleet, &fleet->nodes[1].ups, 1, WAIT_MS));
}

static int send_to(struct node *node, uint32_t peer, enum peer_way way, const char *text)
{
	return node->ops.send(node->ops.context, peer, way, text, strlen(text));
}

/* ---- tests ---- */

static void neighbours_find_each_other(void **state)
{
	struct fleet *fleet = *state;
	struct node *a = &fleet->nodes[0], *b = &fleet->nodes[1];
	uint8_t *large = mem_alloc(HEARD_MAX);

	assert_int_equal(send_to(a, 2, PEER_NEWS, "early"), -ENOTCONN);
	pair(fleet);
	assert_int_equal(send_to(a, 2, PEER_NEWS, "x"), 0);
	assert_int_equal(send_to(b, 1, PEER_NEWS, "y"), 0);
	assert_int_equal(send_to(b, 1, PEER_DATA, "z"), 0);
	large[HEARD_MAX - 1] = 7;
	assert_int_equal(a->ops.send_owned(a->ops.context, 2, PEER_DATA, large, HEARD_MAX), 0);
	assert_true(wait_for(fleet, &b->messages[PEER_NEWS], 1, WAIT_MS));
	assert_true(wait_for(fleet, &b->messages[PEER_DATA], 1, WAIT_MS));
	assert_true(wait_for(fleet, &a->messages[PEER_NEWS], 1, WAIT_MS));
	assert_true(wait_for(fleet, &a->messages[PEER_DATA], 1, WAIT_MS));
	assert_int_equal(b->size, HEARD_MAX);
	assert_int_equal(b->last, 7);
	assert_int_equal(a->downs + b->downs, 0);
}

/* A key that the coordinator did not name does not get past the handshake. */
static void strangers_are_refused(void **state)
{
	struct fleet *fleet = *state;
	struct node *b = &fleet->nodes[1], *stranger = &fleet->nodes[2];

	pair(fleet);
	tell(fleet, stranger, 1 << 1, 1 << 1);
	run_for(fleet, 700);
	assert_int_equal(stranger->ups, 0);
	assert_int_equal(b->ups, 1);
	assert_int_equal(b->downs, 0);
	assert_int_equal(send_to(&fleet->nodes[0], 2, PEER_NEWS, "x"), 0);
	assert_true(wait_for(fleet, &b->messages[PEER_NEWS], 1, WAIT_MS));
	assert_int_equal(b->messages[PEER_NEWS], 1);
	/* named at last, it comes by itself */
	tell(fleet, b, 1 << 0 | 1 << 2, 0);
	assert_true(wait_for(fleet, &stranger->ups, 1, WAIT_MS));
	assert_int_equal(b->downs, 0);
}

static void check_rejected(struct fleet *fleet, struct node *liar, struct bytes identity,
			   const char *sentence)
{
	struct node *a = &fleet->nodes[0], *b = &fleet->nodes[1];

	free(liar->identity.data);
	liar->identity = identity;
	tell(fleet, b, 1 << 0, 0);
	tell(fleet, a, 1 << 1, 1 << 1);
	assert_true(wait_for(fleet, liar == a ? &b->downs : &a->downs, 1, WAIT_MS));
	run_for(fleet, 100);
	assert_int_equal((liar == a ? b : a)->ups, 0);
	assert_int_equal((liar == a ? b : a)->fault, PEER_NOT_PROVED);
	if (!strstr((liar == a ? b : a)->text, sentence))
		fail_msg("`%s` is not in: %s", sentence, (liar == a ? b : a)->text);
}

static void record_of_another_fleet(void **state)
{
	struct fleet *fleet = *state;
	struct sign_key other;

	sign_key_generate(&other);
	check_rejected(fleet, &fleet->nodes[0],
		       sign_identity(&other, &fleet->nodes[0], unix_ms + 1000), "did not prove");
}

static void record_of_another_node(void **state)
{
	struct fleet *fleet = *state;

	check_rejected(fleet, &fleet->nodes[0],
		       sign_identity(&fleet->online, &fleet->nodes[2], unix_ms + 1000),
		       "another node's");
}

static void record_that_has_expired(void **state)
{
	struct fleet *fleet = *state;

	check_rejected(fleet, &fleet->nodes[1],
		       sign_identity(&fleet->online, &fleet->nodes[1], unix_ms), "has expired");
}

/* What comes over a connection that has not greeted is nothing, not even a fault. */
static void silence_before_the_greeting(void **state)
{
	struct fleet *fleet = *state;
	struct node *a = &fleet->nodes[0], *b = &fleet->nodes[1];
	const struct link_events events = {0};
	const struct link_config config = {.endpoint = b->endpoint,
					   .key = &a->link,
					   .server_key = &b->link.public_key,
					   .max_message_size = LIMIT_CHUNK_MESSAGE};
	struct link *link = NULL;

	pair(fleet);
	assert_int_equal(link_new(a->hub, &config, &events, NULL, &link, NULL), 0);
	for (int i = 0; i < 50 && !link_is_up(link); i++)
		run_for(fleet, 20);
	assert_int_equal(link_send(link, "\x92\x52\x80", 3), 0); /* HAVE */
	assert_int_equal(link_send(link, "garbage", 7), 0);
	run_for(fleet, 200);
	link_free(link);
	assert_int_equal(b->downs + b->messages[PEER_NEWS] + b->messages[PEER_DATA], 0);
	assert_int_equal(send_to(a, 2, PEER_NEWS, "x"), 0);
	assert_true(wait_for(fleet, &b->messages[PEER_NEWS], 1, WAIT_MS));
}

/* The coordinator leaves it out in the middle: from then on it is not heard. */
static void revoked_in_the_middle(void **state)
{
	struct fleet *fleet = *state;
	struct node *a = &fleet->nodes[0], *b = &fleet->nodes[1];

	pair(fleet);
	tell(fleet, b, 1 << 2, 0); /* still listens, to somebody else */
	run_for(fleet, 50);
	(void)!send_to(a, 2, PEER_NEWS, "x");
	(void)!send_to(a, 2, PEER_DATA, "x");
	run_for(fleet, 300);
	assert_int_equal(b->messages[PEER_NEWS] + b->messages[PEER_DATA], 0);
	assert_int_equal(send_to(b, 1, PEER_NEWS, "y"), -ENOTCONN);
}

static void dropped_for_misbehaving(void **state)
{
	struct fleet *fleet = *state;
	struct node *a = &fleet->nodes[0], *b = &fleet->nodes[1];

	pair(fleet);
	b->ops.drop(b->ops.context, 1);
	assert_int_equal(send_to(a, 2, PEER_NEWS, "x"), 0);
	run_for(fleet, 300);
	assert_int_equal(b->messages[PEER_NEWS], 0);
	assert_int_equal(send_to(b, 1, PEER_NEWS, "y"), -ENOTCONN);
	assert_int_equal(b->ups, 1);
}

static void comes_back_after_its_end(void **state)
{
	struct fleet *fleet = *state;
	struct node *a = &fleet->nodes[0], *b = &fleet->nodes[1];

	pair(fleet);
	close_node(b);
	assert_true(wait_for(fleet, &a->downs, 1, WAIT_MS));
	assert_int_equal(a->fault, PEER_UNREACHABLE);
	open_node(fleet, b);
	tell(fleet, b, 1 << 0, 0);
	assert_true(wait_for(fleet, &a->ups, 2, WAIT_MS));
	assert_true(wait_for(fleet, &b->ups, 2, WAIT_MS));
	assert_int_equal(send_to(a, 2, PEER_DATA, "x"), 0);
	assert_true(wait_for(fleet, &b->messages[PEER_DATA], 1, WAIT_MS));
}

/* Whoever connects ends and comes back: the other side hears a new session. */
static void caller_comes_back(void **state)
{
	struct fleet *fleet = *state;
	struct node *a = &fleet->nodes[0], *b = &fleet->nodes[1];

	pair(fleet);
	close_node(a);
	open_node(fleet, a);
	tell(fleet, a, 1 << 1, 1 << 1);
	assert_true(wait_for(fleet, &b->ups, 2, WAIT_MS));
	assert_true(wait_for(fleet, &a->ups, 2, WAIT_MS));
	assert_int_equal(b->downs, 1);
	assert_int_equal(send_to(b, 1, PEER_DATA, "x"), 0);
	assert_true(wait_for(fleet, &a->messages[PEER_DATA], 1, WAIT_MS));
}

static void nobody_there(void **state)
{
	struct fleet *fleet = *state;
	struct node *a = &fleet->nodes[0];

	tell(fleet, a, 1 << 1, 1 << 1);
	assert_true(wait_for(fleet, &a->downs, 1, 2 * WAIT_MS));
	assert_int_equal(a->fault, PEER_UNREACHABLE);
	assert_non_null(strstr(a->text, "cannot reach the node at"));
	run_for(fleet, 500);
	assert_int_equal(a->downs, 1); /* said once, tried on */
	tell(fleet, &fleet->nodes[1], 1 << 0, 0);
	assert_true(wait_for(fleet, &a->ups, 1, 2 * LIMIT_BACKOFF_MAX_MS));
}

static void port_is_taken(void **state)
{
	struct fleet *fleet = *state;
	struct node *a = &fleet->nodes[0], *b = &fleet->nodes[1];

	pair(fleet);
	assert_string_equal(b->problem, "");
	close_node(a);
	STR_CUT(a->endpoint, b->endpoint);
	open_node(fleet, a);
	tell(fleet, a, 1 << 2, 0);
	assert_true(wait_for(fleet, &a->listens, 1, WAIT_MS));
	assert_non_null(strstr(a->problem, "cannot listen on"));
}

/* Bytes of no protocol, and a caller that says nothing at all. */
static void garbage_on_the_port(void **state)
{
	struct fleet *fleet = *state;
	struct node *b = &fleet->nodes[1];
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	uint8_t bytes[4096];
	int fds[4];

	pair(fleet);
	address.sin_port = htons((uint16_t)atoi(strrchr(b->endpoint, ':') + 1));
	memset(bytes, 0xa5, sizeof(bytes));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&address, sizeof(address)), 0);
		if (i % 2)
			(void)!send(fds[i], bytes, sizeof(bytes), MSG_NOSIGNAL);
	}
	run_for(fleet, 200);
	assert_int_equal(send_to(&fleet->nodes[0], 2, PEER_NEWS, "x"), 0);
	assert_true(wait_for(fleet, &b->messages[PEER_NEWS], 1, WAIT_MS));
	assert_int_equal(b->downs, 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

/* Without neighbours nothing listens. */
static void no_neighbours_no_socket(void **state)
{
	struct fleet *fleet = *state;
	struct node *b = &fleet->nodes[1];
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool closed = false;

	pair(fleet);
	tell(fleet, b, 0, 0);
	address.sin_port = htons((uint16_t)atoi(strrchr(b->endpoint, ':') + 1));
	for (int i = 0; i < 50 && !closed; i++) {
		run_for(fleet, 20);
		closed = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0;
		close(fd);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	}
	close(fd);
	assert_true(closed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(neighbours_find_each_other),
		TEST(strangers_are_refused),
		TEST(record_of_another_fleet),
		TEST(record_of_another_node),
		TEST(record_that_has_expired),
		TEST(silence_before_the_greeting),
		TEST(revoked_in_the_middle),
		TEST(dropped_for_misbehaving),
		TEST(comes_back_after_its_end),
		TEST(caller_comes_back),
		TEST(nobody_there),
		TEST(port_is_taken),
		TEST(garbage_on_the_port),
		TEST(no_neighbours_no_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
