/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets between this node and its neighbours: one server for those that connect here, two links
 * to each that we connect to; all CURVE with the node's link key. Whom to admit is the
 * coordinator's word (struct peer_links); ZAP refuses every other key. On top of that both sides
 * show the record that the coordinator signed about them, in their first message. Sockets exist
 * only while there are neighbours.
 */
#pragma once

#include "agent/world.h"
#include "protocol/manifest.h"
#include "protocol/transport/keyfile.h"
#include "protocol/transport/zhub.h"

struct peers;

struct peers_config { /* root is borrowed, the rest copied */
	const char *listen; /* tcp://[::]:7410; NULL: nobody may connect here */
	const struct link_key *key;
	const struct root_document *root;
	uint64_t (*unix_ms)(void);
};

struct peers_events {
	void (*up)(void *context, uint32_t peer);
	/* Also once for attempts that came to nothing; fault and text say why (a sentence). */
	void (*down)(void *context, uint32_t peer, enum peer_fault fault, const char *text);
	void (*message)(void *context, uint32_t peer, enum peer_way way, const void *data,
			size_t size);
	/* Listening began ("") or is not possible (a sentence). */
	void (*listens)(void *context, const char *problem);
};

int peers_new(struct zhub *hub, const struct peers_config *config, const struct peers_events *events,
	      void *context, struct peers **ret_peers, struct err *err) COVEY_MUST_CHECK;
void peers_free(struct peers *peers); /* NULL is fine */
struct peer_ops peers_ops(struct peers *peers);
