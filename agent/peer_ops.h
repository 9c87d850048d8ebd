/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to neighbours. One is there only after both sides have proved who they are; until then
 * nothing is heard of it. Answers: agent_on_peer_...().
 */
#pragma once

#include "covey/message.h"

/* The two connections of a pair of neighbours: chunks go over the second, everything else over the
 * first. */
enum peer_way { PEER_NEWS, PEER_DATA, PEER_WAYS };

struct peer_place { /* a neighbour and its number here, 1..LIMIT_NEIGHBOURS */
	uint32_t number;
	const struct msg_neighbour *of; /* borrowed for the call */
};

struct peer_links { /* what is to be */
	struct bytes identity; /* borrowed; our record, shown to neighbours */
	const struct peer_place *places;
	size_t count;
};

struct peer_ops {
	void *context; /* first argument of every function */
	/* Makes it so, soon: whoever is not in it is a stranger; what stays is not disturbed. Without
	 * places there is no socket. */
	void (*set)(void *context, const struct peer_links *links);
	/* 0; -ENOTCONN; -EAGAIN: its queue is full. Copies. */
	int (*send)(void *context, uint32_t peer, enum peer_way way, const void *data, size_t size);
	/* The same for heap memory, without a copy: on success it is freed by whom it was given to. */
	int (*send_owned)(void *context, uint32_t peer, enum peer_way way, void *data, size_t size);
	/* It misbehaves: its connections end, and no other is made until set() has left it out. */
	void (*drop)(void *context, uint32_t peer);
};
