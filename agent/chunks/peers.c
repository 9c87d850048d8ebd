/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pair of neighbours has two connections, both made by the one that the coordinator named, and
 * both with the same session number: when one of them ends, both begin anew. The one that connects
 * is up when the other has greeted back on the first connection and the second one stands; the
 * other is up when it was greeted on both. So whoever is up may speak, and is heard.
 *
 * set() only notes what is to be; sockets are opened and closed at the next turn of the loop,
 * because a link must not be closed from inside one of its own callbacks. A connection that came
 * in cannot be closed either (ZeroMQ has no call for it): whoever is no neighbour any more is not
 * heard.
 */
#include "agent/chunks/peer_state.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"

#include <malloc.h>
#include <sodium.h>

enum {
	QUICK_FAILURES = 14, /* it may not have heard of us yet */
	BACKOFF_MIN_MS = 50,
};

/* ---- small helpers ---- */

void peers_do_later(struct peers *peers)
{
	sd_event_source_set_enabled(peers->later, SD_EVENT_ONESHOT);
}

static struct peer *find_number(struct peers *peers, uint32_t number)
{
	for (size_t i = 0; i < LIMIT_NEIGHBOURS; i++)
		if (peers->peers[i].number == number && number != 0)
			return &peers->peers[i];
	return NULL;
}

static bool should_dial(const struct peer *peer)
{
	return peer_is_heard(peer) && peer->of.dial && peer->of.endpoint[0];
}

/* ---- sending ---- */

static void release(void *data, void *hint)
{
	free(data);
}

/* The other end of a connection that came in is gone: ROUTER says so only to whoever sends. */
static int note_broken(struct peer *peer, int r)
{
	if (r != -EHOSTUNREACH)
		return r;
	peer->restart = true;
	peers_do_later(peer->peers);
	return -ENOTCONN;
}

static int ops_send(void *context, uint32_t number, enum peer_way kind, const void *data,
		    size_t size)
{
	struct peers *peers = context;
	struct peer *peer = find_number(peers, number);
	struct way *way;

	if (!peer || !peer->up || !peer_is_heard(peer))
		return -ENOTCONN;
	way = &peer->ways[kind];
	if (way->link)
		return link_send(way->link, data, size);
	return note_broken(peer, server_send(peers->server, way->routing, way->routing_size, data,
					     size));
}

static int ops_send_owned(void *context, uint32_t number, enum peer_way kind, void *data,
			  size_t size)
{
	struct peers *peers = context;
	struct peer *peer = find_number(peers, number);
	struct way *way;

	if (!peer || !peer->up || !peer_is_heard(peer))
		return -ENOTCONN;
	way = &peer->ways[kind];
	if (way->link)
		return link_send_owned(way->link, data, size, release, NULL);
	return note_broken(peer,
			   server_send_owned(peers->server, way->routing, way->routing_size, data,
					     size, release, NULL));
}

int peer_make_hello(const struct way *way, struct bytes *ret_bytes)
{
	const struct peer_hello hello = {.session = way->peer->session,
					 .data = peer_kind_of(way) == PEER_DATA};

	return peer_hello_make(&way->peer->peers->identity, &hello, ret_bytes, NULL);
}

/* ---- up and down ---- */

void peer_go_up(struct peer *peer)
{
	peer->up = true;
	peer->complained = false;
	peer->failures = 0;
	peer->peers->events.up(peer->peers->context, peer->number);
}

void peer_end_session(struct peer *peer)
{
	for (size_t i = 0; i < PEER_WAYS; i++)
		peer->ways[i].greeted = false;
	peer->up = false;
	randombytes_buf(&peer->session, sizeof(peer->session));
}

void peer_go_down(struct peer *peer, enum peer_fault fault, const char *text)
{
	struct peers *peers = peer->peers;
	bool tell = peer->up || !peer->complained;

	peer->complained = true;
	peer_end_session(peer);
	if (tell && !peer->gone)
		peers->events.down(peers->context, peer->number, fault, text);
}

/* It did not prove who it is: nothing more comes of it. */
static void reject(struct peer *peer, const char *why)
{
	char text[LIMIT_REASON_TEXT + 1];

	snprintf(text, sizeof(text), "%s did not prove who it is: %s", peer->of.name, why);
	peer->given_up = true;
	peer_go_down(peer, PEER_NOT_PROVED, text);
	peers_do_later(peer->peers);
}

bool peer_read_hello(struct peer *peer, const void *data, size_t size,
		     struct peer_hello *ret_hello)
{
	const struct peers *peers = peer->peers;
	struct err err = {0};
	int r = peer_hello_check(data, size, peers->config.root, &peer->of,
				 peers->config.unix_ms(), ret_hello, &err);

	if (r < 0)
		reject(peer, err_text(&err, r));
	return r == 0;
}

/* ---- our connections ---- */

static void look_whether_up(struct peer *peer)
{
	if (!peer->up && peer->ways[PEER_NEWS].greeted && peer->ways[PEER_DATA].link_up)
		peer_go_up(peer);
}

static void on_link_up(void *context)
{
	struct way *way = context;
	struct bytes hello = {0};

	way->link_up = true;
	/* Not sent: then nothing comes of the connection, as if nobody were there. */
	if (peer_make_hello(way, &hello) == 0)
		(void)!link_send(way->link, hello.data, hello.size);
	free(hello.data);
	look_whether_up(way->peer);
}

static void on_link_down(void *context, enum link_cause cause, const char *text)
{
	struct way *way = context;
	struct peer *peer = way->peer;
	bool quick = !link_was_silent(way->link) &&
		     (cause == LINK_REFUSED || cause == LINK_UNREACHABLE);

	way->link_up = false;
	if (peer->up) { /* both connections begin anew */
		peer->restart = true;
		peers_do_later(peer->peers);
	} else if (quick && ++peer->failures < QUICK_FAILURES) {
		return;
	}
	peer_go_down(peer, cause == LINK_WRONG_SERVER ? PEER_NOT_PROVED : PEER_UNREACHABLE, text);
}

static void on_link_message(void *context, const void *data, size_t size)
{
	struct way *way = context;
	struct peer *peer = way->peer;
	struct peer_hello hello;

	if (!peer_is_heard(peer))
		return;
	if (peer->up) {
		peer->peers->events.message(peer->peers->context, peer->number,
					    peer_kind_of(way), data, size);
		return;
	}
	if (peer_kind_of(way) != PEER_NEWS || !peer_read_hello(peer, data, size, &hello))
		return;
	way->greeted = hello.session == peer->session;
	look_whether_up(peer);
}

static void dial(struct way *way)
{
	struct peer *peer = way->peer;
	const struct peers *peers = peer->peers;
	const struct link_events events = {
		.up = on_link_up, .down = on_link_down, .message = on_link_message};
	const struct link_config config = {
		.endpoint = peer->of.endpoint,
		.key = &peers->key,
		.server_key = &peer->of.link_key,
		.max_message_size = LIMIT_CHUNK_MESSAGE,
		.send_queue = PEERS_QUEUE,
		.receive_queue = PEERS_QUEUE,
		.backoff_min_ms = BACKOFF_MIN_MS,
		.connect_ms = LIMIT_PEER_CONNECT_MS,
		.handshake_ms = LIMIT_PEER_PROVE_MS,
		.eager = true,
		.whom = "node",
	};
	struct err err = {0};
	int r = link_new(peers->hub, &config, &events, way, &way->link, &err);

	if (r == 0)
		return;
	peer->given_up = true;
	peer_go_down(peer, PEER_UNREACHABLE, err_text(&err, r));
}

/* ---- what is to be ---- */

static void hang_up(struct peer *peer)
{
	for (size_t i = 0; i < PEER_WAYS; i++) {
		link_free(TAKE_PTR(peer->ways[i].link));
		peer->ways[i].link_up = false;
	}
}

static void forget(struct peer *peer)
{
	hang_up(peer);
	codec_free(&codec_msg_neighbour, &peer->of);
	peer->number = 0;
	peer->gone = peer->dropped = peer->given_up = peer->restart = peer->complained = false;
	peer->failures = 0;
	peer_end_session(peer);
}

static void settle_peer(struct peer *peer)
{
	if (peer->gone) {
		forget(peer);
		return;
	}
	if (peer->restart) {
		peer->restart = false;
		hang_up(peer);
		if (peer->up)
			peer_go_down(peer, PEER_UNREACHABLE, "the connection broke");
	}
	if (!should_dial(peer)) {
		hang_up(peer);
		if (peer->up && !peer_is_heard(peer))
			peer_go_down(peer, PEER_UNREACHABLE, "closed");
		return;
	}
	for (size_t i = 0; i < PEER_WAYS && should_dial(peer); i++)
		if (!peer->ways[i].link)
			dial(&peer->ways[i]);
}

static int on_later(sd_event_source *source, void *userdata)
{
	struct peers *peers = userdata;
	bool idle = true;

	if (peers->server && !peer_server_is_wanted(peers))
		peer_server_close(peers);
	if (!peers->server && peer_server_is_wanted(peers) && !peers->cannot_listen)
		peer_server_open(peers);
	for (size_t i = 0; i < LIMIT_NEIGHBOURS; i++)
		if (peers->peers[i].number != 0)
			settle_peer(&peers->peers[i]);
	for (size_t i = 0; i < LIMIT_NEIGHBOURS; i++)
		idle = idle && peers->peers[i].number == 0;
	if (idle)
		malloc_trim(0);
	return 0;
}

static bool is_same(const struct msg_neighbour *a, const struct msg_neighbour *b)
{
	return node_id_equal(&a->id, &b->id) && a->dial == b->dial &&
	       str_equal(a->endpoint, b->endpoint) &&
	       memcmp(a->link_key.bytes, b->link_key.bytes, KEY_SIZE) == 0;
}

static struct peer *place_for(struct peers *peers, const struct peer_place *place)
{
	struct peer *peer = find_number(peers, place->number);

	if (peer && !is_same(&peer->of, place->of)) {
		forget(peer);
		peer = NULL;
	}
	for (size_t i = 0; !peer && i < LIMIT_NEIGHBOURS; i++)
		if (peers->peers[i].number == 0)
			peer = &peers->peers[i];
	return peer;
}

static void take_place(struct peers *peers, const struct peer_place *place)
{
	struct peer *peer = place_for(peers, place);

	if (!peer)
		return;
	codec_free(&codec_msg_neighbour, &peer->of);
	codec_copy(&codec_msg_neighbour, &peer->of, place->of);
	peer->number = place->number;
	peer->gone = peer->given_up = false;
}

static void ops_set(void *context, const struct peer_links *links)
{
	struct peers *peers = context;

	free(peers->identity.data);
	peers->identity = links->identity;
	peers->identity.data = mem_copy(links->identity.data, links->identity.size);
	for (size_t i = 0; i < LIMIT_NEIGHBOURS; i++)
		peers->peers[i].gone = peers->peers[i].number != 0;
	for (size_t i = 0; i < links->count; i++)
		take_place(peers, &links->places[i]);
	if (links->count == 0)
		peers->cannot_listen = false;
	peers_do_later(peers);
}

static void ops_drop(void *context, uint32_t number)
{
	struct peer *peer = find_number(context, number);

	if (!peer)
		return;
	peer->dropped = true;
	peers_do_later(context);
}

/* ---- create, free ---- */

static void init_peers(struct peers *peers)
{
	for (size_t i = 0; i < LIMIT_NEIGHBOURS; i++) {
		peers->peers[i].peers = peers;
		for (size_t k = 0; k < PEER_WAYS; k++)
			peers->peers[i].ways[k].peer = &peers->peers[i];
		peer_end_session(&peers->peers[i]);
	}
}

int peers_new(struct zhub *hub, const struct peers_config *config,
	      const struct peers_events *events, void *context, struct peers **ret_peers,
	      struct err *err)
{
	struct peers *peers = mem_alloc(sizeof(*peers));
	int r;

	peers->hub = hub;
	peers->config = *config;
	if (config->listen)
		STR_CUT(peers->listen, config->listen);
	peers->key = *config->key;
	peers->events = *events;
	peers->context = context;
	init_peers(peers);
	r = sd_event_add_defer(zhub_event(hub), &peers->later, on_later, peers);
	if (r >= 0)
		r = sd_event_source_set_enabled(peers->later, SD_EVENT_OFF);
	if (r < 0) {
		peers_free(peers);
		return err_errno(err, r, "connections to other nodes");
	}
	*ret_peers = peers;
	return 0;
}

void peers_free(struct peers *peers)
{
	if (!peers)
		return;
	for (size_t i = 0; i < LIMIT_NEIGHBOURS; i++) {
		hang_up(&peers->peers[i]);
		codec_free(&codec_msg_neighbour, &peers->peers[i].of);
	}
	server_free(peers->server);
	zap_free(peers->zap);
	sd_event_source_disable_unref(peers->later);
	link_key_wipe(&peers->key);
	free(peers->identity.data);
	free(peers);
}

struct peer_ops peers_ops(struct peers *peers)
{
	return (struct peer_ops){.context = peers,
				 .set = ops_set,
				 .send = ops_send,
				 .send_owned = ops_send_owned,
				 .drop = ops_drop};
}
