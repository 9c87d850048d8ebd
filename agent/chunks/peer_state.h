/* SPDX-License-Identifier: Apache-2.0 */
/* The insides of the sockets for neighbours: peers.c (what is to be, and our connections) and
 * peer_server.c (theirs). Not for others. */
#pragma once

#include "agent/chunks/peer_hello.h"
#include "agent/chunks/peers.h"
#include "protocol/transport/link.h"
#include "protocol/transport/server.h"
#include "protocol/transport/zap.h"

enum { PEERS_QUEUE = 256 }; /* messages for one neighbour; data is bounded by what it asks for */

struct peer;

struct way { /* one of the two connections */
	struct peer *peer;
	struct link *link; /* ours */
	bool link_up;
	bool greeted; /* by the other side, with the session of now */
	uint8_t routing[ZHUB_ROUTING_MAX]; /* theirs */
	size_t routing_size;
};

struct peer {
	struct peers *peers;
	uint32_t number; /* 0: free */
	struct msg_neighbour of;
	bool gone;	 /* not in the newest list */
	bool dropped;	 /* misbehaved */
	bool given_up;	 /* is not who it should be: not before the next list */
	bool up, restart;
	bool complained; /* about the attempts since it was last up */
	unsigned failures;
	uint64_t session;
	struct way ways[PEER_WAYS];
};

struct peers {
	struct zhub *hub;
	struct peers_config config;
	char listen[LIMIT_ENDPOINT + 1];
	struct link_key key;
	struct peers_events events;
	void *context;
	struct zap *zap;
	struct server *server;
	bool cannot_listen;
	struct bytes identity;
	struct peer peers[LIMIT_NEIGHBOURS];
	sd_event_source *later;
};

static inline bool peer_is_heard(const struct peer *peer)
{
	return peer->number != 0 && !peer->gone && !peer->dropped && !peer->given_up;
}

static inline enum peer_way peer_kind_of(const struct way *way)
{
	return way == &way->peer->ways[PEER_DATA] ? PEER_DATA : PEER_NEWS;
}

/* peers.c */
void peers_do_later(struct peers *peers); /* settle everything at the next turn of the loop */
void peer_go_up(struct peer *peer);
void peer_go_down(struct peer *peer, enum peer_fault fault, const char *text);
void peer_end_session(struct peer *peer); /* the next one has another number */
int peer_make_hello(const struct way *way, struct bytes *ret_bytes) COVEY_MUST_CHECK;
/* False: it did not prove who it is, and nothing more comes of it. */
bool peer_read_hello(struct peer *peer, const void *data, size_t size,
		     struct peer_hello *ret_hello);

/* peer_server.c */
bool peer_server_is_wanted(const struct peers *peers);
void peer_server_open(struct peers *peers);
void peer_server_close(struct peers *peers);
