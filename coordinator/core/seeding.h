/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the origin sends, to whom, in which order: pure. Nodes ask for "any" chunk of a release; the
 * origin gives each chunk out exactly once, in random order, before it repeats one. So after one
 * time the release's size all of it is in the fleet, and the origin's link was never used twice for
 * the same bytes. When all are out, "any" is answered SEEDING_ALL_OUT, and from then on the origin
 * is an ordinary neighbour of SEEDING_NEIGHBOURS nodes and a reserve of the others
 * (agent/core/fetch.h): seeding_is_neighbour() says which.
 *
 * A group is a set of nodes behind one thin link (a site); group 0 is everybody else. The rule
 * holds for each group by itself: each chunk goes once over each thin link, and the nodes there
 * pass it on among themselves. To them the origin is a reserve.
 *
 * What was sent to a node is not repeated to its group for SEEDING_REPEAT_MS
 * (SEEDING_REPEAT_THIN_MS over a thin link): who asks for it by name meanwhile is told
 * SEEDING_LATER, asks for something else, and most often has it from a neighbour before it asks
 * again.
 *
 * Nodes are slots 0..nodes-1 that the shell gives out for connections, releases slots
 * 0..SEEDING_RELEASES-1, chunks numbers of the release's list (protocol/chunk_list.h). Fair order
 * between nodes, the budget of the uplink, the cumulative confirmation ("taken"): base/uplink.h,
 * one for all releases. Whether a node may have a release is the shell's question, before it asks
 * here. Memory is allocated in seeding_create() (about 400 bytes a node) and seeding_open() (12
 * bytes a chunk and group).
 */
#pragma once

#include "base/cleanup.h"
#include "covey/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SEEDING_ANY = UINT32_MAX,
	SEEDING_RELEASES = 64,
	SEEDING_NEIGHBOURS = 20,
	SEEDING_REPEAT_MS = 1000,
	SEEDING_REPEAT_THIN_MS = 10000,
	SEEDING_RECENT = 8, /* chunks of a node that are remembered in case it leaves */
	SEEDING_RECENT_MS = 2000,
};

enum seeding_answer {
	SEEDING_QUEUED,	 /* seeding_next() will bring it */
	SEEDING_ALL_OUT, /* nothing fresh is left for this node's group */
	SEEDING_LATER,	 /* the chunk is on its way into the node's site: ask the neighbours */
	SEEDING_REFUSED, /* more than LIMIT_FETCH_REQUESTS open, no such chunk, slot or release */
};

struct seeding_send {
	uint32_t node, release;
	uint32_t chunk; /* send it now; SEEDING_ANY: the last went to another, say ALL_OUT */
	uint32_t size;
	bool fresh; /* the answer to an "any" */
};

struct seeding;

/* groups: thin sites + 1. */
struct seeding *seeding_create(uint32_t nodes, uint32_t groups, uint64_t seed);
void seeding_free(struct seeding *seeding);
COVEY_DEFINE_CLEANUP(struct seeding *, seeding_free)

void seeding_set_rate(struct seeding *seeding, uint64_t bytes_per_s, uint64_t now_ms); /* 0: none */
/* sizes: bytes of each chunk, borrowed until seeding_close(). The slot is free. */
void seeding_open(struct seeding *seeding, uint32_t release, const uint32_t *sizes, uint32_t count);
void seeding_close(struct seeding *seeding, uint32_t release);

void seeding_join(struct seeding *seeding, uint32_t node, uint32_t group); /* a connection */
/* What it did not confirm, or got too lately to have passed it on, counts as not given out. */
void seeding_leave(struct seeding *seeding, uint32_t node, uint64_t now_ms);
/* What a node has already (resumed, de-duplicated), one bit a chunk, is out as far as its group is
 * concerned. -EINVAL: another length; nothing changes. */
int seeding_have(struct seeding *seeding, uint32_t node, uint32_t release, const uint8_t *bits,
		 size_t size) COVEY_MUST_CHECK;
/* fetch_is_behind() of the node, as its last message said: others are served first. */
void seeding_behind(struct seeding *seeding, uint32_t node, bool behind);

/* chunk: a number, or SEEDING_ANY. */
enum seeding_answer seeding_ask(struct seeding *seeding, uint32_t node, uint32_t release,
				uint32_t chunk, uint64_t now_ms);
void seeding_cancel(struct seeding *seeding, uint32_t node, uint32_t release, uint32_t chunk);
bool seeding_next(struct seeding *seeding, uint64_t now_ms, struct seeding_send *ret_send);
/* False: it cannot be; close the connection. */
bool seeding_taken(struct seeding *seeding, uint32_t node, uint64_t total, uint64_t now_ms);
uint64_t seeding_deadline(struct seeding *seeding, uint64_t now_ms);

bool seeding_is_neighbour(const struct seeding *seeding, uint32_t node);
uint32_t seeding_left(const struct seeding *seeding, uint32_t release, uint32_t group);
uint64_t seeding_sent(const struct seeding *seeding); /* bytes, ever */
uint64_t seeding_rate(const struct seeding *seeding); /* measured, bytes a second; 0: not yet */
