/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the origin sends: pure, one struct for each release that is being distributed. Nodes ask for
 * "any" chunk; the origin gives each chunk out exactly once, in random order, before it repeats
 * one. So after one time the release's size all of it is in the fleet and the origin's link was
 * never used twice for the same bytes. When all are out, "any" is answered SEEDING_ALL_OUT, with
 * what the origin is to that node from then on: an ordinary neighbour of a few nodes
 * (SEEDING_NEIGHBOURS, drawn by order of joining), a reserve of the others (agent/core/fetch.h).
 *
 * A group is a set of nodes behind one thin link (a site); group 0 is everybody else. The rule
 * holds for each group by itself: each chunk goes once over each thin link, and its nodes pass it
 * on among themselves. To nodes of a thin group the origin is a reserve, and repeats a chunk that
 * went there only SEEDING_REPEAT_MS later.
 *
 * Nodes are slots 0..nodes-1 that the shell gives out for connections. Chunks are numbers of the
 * release's list (protocol/chunk_list.h). Order between nodes, the budget of the uplink and the
 * cumulative confirmation: base/uplink.h. Memory is allocated in seeding_create() only: 8 bytes a
 * chunk and group, about 100 a node.
 */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SEEDING_ANY = UINT32_MAX,
	SEEDING_REQUESTS = 16, /* open requests a node */
	SEEDING_NEIGHBOURS = 20,
	SEEDING_REPEAT_MS = 10000,
};

enum seeding_answer {
	SEEDING_QUEUED,  /* seeding_next() will bring it */
	SEEDING_ALL_OUT, /* nothing fresh is left for this node; see seeding_is_neighbour() */
	SEEDING_LATER,   /* the chunk is on its way into the node's site: ask the neighbours */
	SEEDING_REFUSED, /* too many requests, no such chunk or slot */
};

struct seeding_send { /* send it now */
	uint32_t node, chunk, size;
};

struct seeding_config {
	const uint32_t *sizes; /* bytes of each chunk, borrowed */
	uint32_t count;
	uint32_t nodes;  /* most that are connected at once */
	uint32_t groups; /* thin sites + 1 */
	uint64_t seed;
};

struct seeding;

struct seeding *seeding_create(const struct seeding_config *config);
void seeding_free(struct seeding *seeding);
COVEY_DEFINE_CLEANUP(struct seeding *, seeding_free)

void seeding_set_rate(struct seeding *seeding, uint64_t bytes_per_s, uint64_t now_ms); /* 0: none */
void seeding_join(struct seeding *seeding, uint32_t node, uint32_t group);
/* What was given to it in the last seconds, and nobody can have yet, is given out again. */
void seeding_leave(struct seeding *seeding, uint32_t node, uint64_t now_ms);
/* What a node has already (resumed, de-duplicated; one bit a chunk) is out as far as its group is
 * concerned. -EINVAL: another length; nothing changes. */
int seeding_have(struct seeding *seeding, uint32_t node, const uint8_t *bits,
                 size_t size) COVEY_MUST_CHECK;

/* chunk: a number, or SEEDING_ANY. */
enum seeding_answer seeding_ask(struct seeding *seeding, uint32_t node, uint32_t chunk,
                                uint64_t now_ms);
void seeding_cancel(struct seeding *seeding, uint32_t node, uint32_t chunk);
/* Until it returns false. chunk is a number, or SEEDING_ANY with size 0: the last fresh chunk went
 * to somebody else meanwhile, answer ALL_OUT. */
bool seeding_next(struct seeding *seeding, uint64_t now_ms, struct seeding_send *ret_send);
bool seeding_taken(struct seeding *seeding, uint32_t node, uint64_t total, uint64_t now_ms);
uint64_t seeding_deadline(struct seeding *seeding, uint64_t now_ms);

bool seeding_is_neighbour(const struct seeding *seeding, uint32_t node);
uint32_t seeding_left(const struct seeding *seeding, uint32_t group); /* not yet out */
