/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Neighbours that connect here. ZAP lets in only keys of the coordinator's list; what such a
 * connection says is not heard before it has greeted with a record that holds. A connection cannot
 * be closed from here: whoever is no neighbour any more is answered that it is a stranger.
 */
#include "agent/chunks/peer_state.h"

#include "base/str.h"
#include "protocol/digest.h"
#include "protocol/message.h"

static bool admit(void *context, const char *domain, const struct public_key *key,
		  char ret_user_id[ZAP_USER_ID_MAX])
{
	struct peers *peers = context;

	for (size_t i = 0; i < LIMIT_NEIGHBOURS; i++) {
		const struct peer *peer = &peers->peers[i];

		if (!peer_is_heard(peer) ||
		    memcmp(peer->of.link_key.bytes, key->bytes, KEY_SIZE) != 0)
			continue;
		node_id_text(ret_user_id, &peer->of.id);
		return str_equal(domain, ZAP_DOMAIN_PEERS);
	}
	return false;
}

static struct peer *find_user(struct peers *peers, const char *user_id)
{
	struct node_id id;

	if (node_id_parse(user_id, &id) < 0)
		return NULL;
	for (size_t i = 0; i < LIMIT_NEIGHBOURS; i++)
		if (peer_is_heard(&peers->peers[i]) && node_id_equal(&peers->peers[i].of.id, &id))
			return &peers->peers[i];
	return NULL;
}

static void refuse(struct peers *peers, const struct zmessage *message)
{
	const struct msg_refuse refusal = {.reason = REFUSAL_STRANGER};
	struct bytes bytes = {0};

	if (message_encode(MESSAGE_PEER_REFUSE, &refusal, &bytes, NULL) == 0)
		(void)!server_send(peers->server, message->routing, message->routing_size,
				   bytes.data, bytes.size);
	free(bytes.data);
}

static void greet_back(struct way *way)
{
	struct bytes hello = {0};

	if (peer_make_hello(way, &hello) == 0)
		(void)!server_send(way->peer->peers->server, way->routing, way->routing_size,
				   hello.data, hello.size);
	free(hello.data);
}

static void on_greeting(struct peer *peer, const struct zmessage *message)
{
	struct peers *peers = peer->peers;
	struct peer_hello hello;
	struct way *way;

	if (!peer_read_hello(peer, message->data, message->size, &hello)) {
		refuse(peers, message);
		return;
	}
	if (hello.session != peer->session) {
		if (peer->up)
			peer_go_down(peer, PEER_UNREACHABLE, "it connected anew");
		peer_end_session(peer);
		peer->session = hello.session;
	}
	way = &peer->ways[hello.data ? PEER_DATA : PEER_NEWS];
	way->routing_size = message->routing_size;
	memcpy(way->routing, message->routing, message->routing_size);
	way->greeted = true;
	if (!hello.data)
		greet_back(way);
	if (!peer->up && peer->ways[PEER_NEWS].greeted && peer->ways[PEER_DATA].greeted)
		peer_go_up(peer);
}

static struct way *find_way(struct peer *peer, const struct zmessage *message)
{
	for (size_t i = 0; i < PEER_WAYS; i++) {
		struct way *way = &peer->ways[i];

		if (way->greeted && way->routing_size == message->routing_size &&
		    memcmp(way->routing, message->routing, message->routing_size) == 0)
			return way;
	}
	return NULL;
}

static void on_server_message(void *context, const struct zmessage *message)
{
	struct peers *peers = context;
	struct peer *peer = find_user(peers, message->user_id);
	struct way *way;

	if (!peer || peer->of.dial) { /* whoever we connect to has no business here */
		refuse(peers, message);
		return;
	}
	way = find_way(peer, message);
	/* What is left of an old connection is neither heard nor held against it. */
	if (!way && message_is(message->data, message->size, MESSAGE_PEER_HELLO))
		on_greeting(peer, message);
	else if (way && peer->up)
		peers->events.message(peers->context, peer->number, peer_kind_of(way),
				      message->data, message->size);
}

bool peer_server_is_wanted(const struct peers *peers)
{
	for (size_t i = 0; peers->listen[0] && i < LIMIT_NEIGHBOURS; i++)
		if (peer_is_heard(&peers->peers[i]) && !peers->peers[i].of.dial)
			return true;
	return false;
}

void peer_server_close(struct peers *peers)
{
	for (size_t i = 0; i < LIMIT_NEIGHBOURS; i++)
		if (peers->peers[i].up && !peers->peers[i].of.dial)
			peer_go_down(&peers->peers[i], PEER_UNREACHABLE,
				     "this node does not listen");
	server_free(TAKE_PTR(peers->server));
	zap_free(TAKE_PTR(peers->zap));
}

static int open_server(struct peers *peers, struct err *err)
{
	const struct server_config config = {
		.endpoint = peers->listen,
		.zap_domain = ZAP_DOMAIN_PEERS,
		.key = &peers->key,
		.max_message_size = LIMIT_CHUNK_MESSAGE,
		.send_queue = PEERS_QUEUE,
		.receive_queue = PEERS_QUEUE,
		.handshake_ms = LIMIT_PEER_PROVE_MS,
	};
	int r = zap_new(peers->hub, admit, peers, &peers->zap, err);

	if (r == 0)
		r = zap_self_test(peers->zap, ZAP_DOMAIN_PEERS, err);
	if (r == 0)
		r = server_new(peers->hub, &config, on_server_message, peers, &peers->server, err);
	return r;
}

void peer_server_open(struct peers *peers)
{
	struct err err = {0};
	int r = open_server(peers, &err);

	peers->cannot_listen = r < 0;
	if (r < 0)
		peer_server_close(peers);
	peers->events.listens(peers->context, r < 0 ? err_text(&err, r) : "");
}
