/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A swarm in virtual time: the cores that agents and the origin run (agent/core/fetch.h,
 * agent/core/serve.h, coordinator/core/seeding.h, coordinator/core/neighbours.h), and links between
 * them. One process, one thread, one seed; the same seed gives the same run.
 *
 * Links. Each node has an uplink and a downlink. Data goes in segments; on an uplink the
 * connections that have something to send take turns (as TCP flows share a link), on a downlink and
 * on a site's link segments wait in the order of arrival. Control messages take the latency and no
 * bandwidth: beside a chunk of 256 KiB a HAVE of 40 bytes to ten neighbours is 0.2 %.
 */
#pragma once

#include "agent/core/fetch.h"
#include "agent/core/serve.h"
#include "base/bucket.h"
#include "base/rng.h"
#include "coordinator/core/neighbours.h"
#include "coordinator/core/seeding.h"

#include <string.h>

enum {
	SWARM_NONE = UINT32_MAX,
	SWARM_QUEUE = 32, /* chunks of one connection in the sender's sockets */
	SWARM_SLOTS = 32,
	SWARM_MAX_SITES = 8,
	SWARM_MAX_FAULTS = 16,
};

#define SWARM_MS 1000000ull /* virtual time is in nanoseconds */
#define SWARM_START (1000 * SWARM_MS)

enum fault_kind {
	FAULT_KILL,    /* the process dies: its connections break */
	FAULT_STALL,   /* it takes requests and sends nothing */
	FAULT_CORRUPT, /* it sends wrong bytes from now on */
	FAULT_LIE,     /* it says that it has everything, and has not */
	FAULT_REVOKE,  /* it is thrown out of the fleet */
	FAULT_ORIGIN,  /* the origin dies */
	FAULT_JOIN,    /* it was not there before */
	FAULT_FULL,    /* its disk is full: it takes nothing more, and serves what it has */
	FAULT_CLOSE,   /* its window for serving closes */
};

enum bug { /* planted in the simulator's shell, one for each invariant */
	   BUG_NONE,
	   BUG_UNVERIFIED,
	   BUG_CREDIT,
	   BUG_RATE_UP,
	   BUG_RATE_DOWN,
	   BUG_TWICE,
	   BUG_STRANGER,
	   BUG_SEED,
	   BUG_COUNT,
};

struct fault {
	enum fault_kind kind;
	uint32_t first, count; /* nodes 1.. */
	uint32_t at_percent;   /* of the time of the bound */
};

struct swarm_case {
	const char *name;
	uint32_t nodes, chunk, segment; /* bytes; segment 0: 64 KiB */
	uint64_t size;
	double seed_mbit, up_mbit, down_mbit;
	double latency_ms;
	uint32_t slow, slow_divisor; /* so many nodes (the first) have so much less */
	uint32_t sites;		     /* thin sites; nodes are dealt out in turn */
	double site_mbit;
	double limit_up_mbit, limit_down_mbit; /* an operator's limits on all nodes; 0: none */
	struct fault faults[SWARM_MAX_FAULTS];
	/* bars; 0: none */
	double least_share; /* bound / time of the last node */
	double most_seconds;
	double most_origin;    /* times the size */
	double most_site;      /* bytes over each site's link, times the size */
	double most_duplicate; /* share of what was received */
	uint32_t names;	       /* faults that must be named, a bit for each enum fetch_fault */
};

struct wire { /* one connection; side 0 made it */
	uint32_t node[2], slot[2];
	bool up;
	struct wire_side {
		uint64_t taken, open; /* as receiver: bytes that it took, that it has asked for */
		uint32_t queued[SWARM_QUEUE];
		uint32_t first, count, left, next; /* of queued; left: bytes of the first */
		uint32_t asked_count, asked[2 * FETCH_REQUESTS];
		bool active;
	} side[2];
};

struct swarm_node {
	uint64_t ns_per_mib_up, ns_per_mib_down, down_free, finish, timer_at;
	struct fetch *fetch;
	struct serve *serve;
	struct bucket bucket; /* the operator's limit on what it fetches */
	uint32_t wires[SWARM_SLOTS];
	uint32_t first, last; /* wires with something to send */
	uint32_t site;
	bool busy, here, killed, stalled, corrupt, liar, revoked, full, done;
	bool excused; /* from the bars: it has a fault */
	struct watch {
		uint8_t *asked;		     /* open requests of each chunk */
		uint64_t *good;		     /* a bit for each chunk whose bytes were verified */
		double up_level, down_level; /* leaky buckets of the watcher's own */
		uint64_t up_at, down_at, bytes_in, bytes_duplicate;
		uint32_t missing; /* chunks that are neither verified nor asked for */
	} watch;
};

struct site_link {
	uint64_t free_in, free_out, bytes;
};

struct swarm_event {
	uint64_t at;
	uint32_t sequence, kind, a, b;
	uint64_t c, d;
};

struct swarm {
	const struct swarm_case *about;
	enum bug bug;
	struct rng rng;
	uint64_t now, limit, began;
	uint32_t chunks, sequence;
	uint32_t *sizes;
	uint8_t *bits;		  /* a HAVE on its way */
	struct swarm_node *nodes; /* 0: the origin */
	struct wire *wires;
	uint32_t wires_count, wires_cap;
	struct neighbours *graph;
	struct seeding *seeding;
	bool origin_gone;
	uint64_t ns_per_mib_site;
	struct site_link sites[SWARM_MAX_SITES + 1];
	struct swarm_event *heap, *line; /* by time; of constant delay, a ring */
	uint32_t heap_count, heap_cap, line_first, line_count, line_cap;
	uint32_t *given; /* watcher: whom the origin gave each chunk, for each group; 0: nobody */
	uint32_t unfinished, violations, blamed[3];
	uint64_t events;
	char violation[256];
};

struct swarm_result {
	double bound, first, median, last, share, seconds_cpu;
	double origin, site, duplicate; /* times the size; share */
	uint32_t unfinished, violations, blamed[3];
	uint64_t events;
	char violation[256];
};

/* ---- links.c: time, links, messages ---- */

enum swarm_kind {
	/* of constant delay */
	SAY_REQUEST, /* wire, side that asks, chunk */
	SAY_CANCEL,
	SAY_HAVE,    /* node, wire that it came over, chunk, bytes taken over that wire */
	SAY_MISSING, /* wire, side that hears, chunk */
	SAY_REFUSED,
	SAY_LATER,
	SAY_ALL_OUT,
	SAY_DOWN, /* wire */
	/* by time */
	AT_UPLINK, /* node: a segment has left */
	AT_SITE,   /* wire, side that takes, bytes, chunk: a segment is at the receiver's site */
	AT_ARRIVE, /* wire, side that takes, chunk */
	AT_TIMER,  /* node */
	AT_FAULT,  /* index, node */
};

static inline uint64_t swarm_ms(const struct swarm *s)
{
	return s->now / SWARM_MS;
}

void links_at(struct swarm *s, uint64_t at, enum swarm_kind kind, uint32_t a, uint32_t b,
	      uint64_t c, uint64_t d);
void links_say(struct swarm *s, enum swarm_kind kind, uint32_t a, uint32_t b, uint64_t c,
	       uint64_t d);
bool links_next(struct swarm *s, struct swarm_event *ret_event);
/* Side `side` of the wire sends a chunk; bad: wrong bytes. */
void links_send(struct swarm *s, uint32_t wire, uint32_t side, uint32_t chunk, bool bad);
void links_on_uplink(struct swarm *s, uint32_t node);
void links_on_site(struct swarm *s, const struct swarm_event *event);
uint32_t links_connect(struct swarm *s, uint32_t a, uint32_t b); /* a wire, slots by the caller */

enum { CHUNK_BAD = 1u << 31 }; /* flag beside a chunk's number */

/* ---- peer.c: what a node does ---- */

void peer_start(struct swarm *s, uint32_t node);
void peer_rewire(struct swarm *s); /* as the graph says now */
void peer_step(struct swarm *s, uint32_t node);
void peer_hear(struct swarm *s, const struct swarm_event *event);
void peer_break(struct swarm *s, uint32_t wire); /* both ends see it a latency later */
void peer_fault(struct swarm *s, const struct fault *fault, uint32_t node);

/* ---- origin.c ---- */

void origin_hear(struct swarm *s, const struct swarm_event *event);
void origin_taken(struct swarm *s, uint32_t node, uint64_t total);
void origin_step(struct swarm *s);

/* ---- watch.c: the invariants ---- */

void watch_request(struct swarm *s, uint32_t wire, uint32_t side, const struct fetch_request *q);
/* A request for the chunk, else one for any, came to its end; false: there was none. */
bool watch_closed(struct swarm *s, uint32_t wire, uint32_t side, uint32_t chunk);
void watch_broken(struct swarm *s, uint32_t wire, uint32_t side);
void watch_taken(struct swarm *s, uint32_t node, uint32_t chunk, bool bad);
void watch_send(struct swarm *s, uint32_t wire, uint32_t side, uint32_t chunk);
void watch_fresh(struct swarm *s, uint32_t node, uint32_t chunk);
void watch_left(struct swarm *s, uint32_t node); /* the origin: what it had may be given again */
void watch_violation(struct swarm *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- run.c ---- */

double swarm_bound(const struct swarm_case *about);
void swarm_run(const struct swarm_case *about, uint64_t seed, enum bug bug,
	       struct swarm_result *ret_result);

/* ---- cases.c ---- */

extern const struct swarm_case swarm_bars[], swarm_faults[], swarm_planted[];
extern const size_t swarm_bars_count, swarm_faults_count; /* planted: one for each bug */
