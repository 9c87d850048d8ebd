/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serving side of a node: who may ask, how much, and what is sent next. Pure: no sockets, no
 * data. A neighbour is a slot 0..SERVE_NEIGHBOURS-1 that the shell gives out; a release a slot
 * 0..SERVE_RELEASES-1; a chunk its number in that release's list (protocol/chunk_list.h).
 *
 * Who may ask: a neighbour whose identity record the shell has checked (serve_join()), for releases
 * that the coordinator said are assigned to it (serve_assign()). How much: a neighbour has at most
 * its credit open, SERVE_CREDIT bytes (four chunks always), and SERVE_REQUESTS requests; who asks for
 * more is refused and counted. Order and budget: base/uplink.h. Limits: the operator's rate is a
 * token bucket; a closed door (time window, metered link, `peer: off`) refuses everything.
 *
 * Contract with the shell: a request goes to serve_ask(); its refusal is the answer REFUSED or
 * MISSING on the wire. After each event serve_next() until it is silent: read the chunk from the
 * store and send it; call again at serve_deadline(). Each message of a neighbour carries the
 * cumulative bytes that it took: serve_taken(). A release that goes from the store or is revoked is
 * serve_release_close()d before its chunks go.
 */
#pragma once

#include "base/cleanup.h"
#include "covey/limits.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	SERVE_NEIGHBOURS = 32,
	SERVE_RELEASES = 64,
	SERVE_CREDIT = 1 << 20, /* bytes a neighbour; twice what an honest fetch has open */
	SERVE_REQUESTS = 16,	/* a neighbour */
};

enum serve_verdict {
	SERVE_QUEUED,
	SERVE_STRANGER, /* the neighbour did not join or is not assigned the release */
	SERVE_OVERRUN,	/* more open than the credit; an honest node never does */
	SERVE_CLOSED,	/* window, metered link, off: ask elsewhere */
	SERVE_VERDICTS,
};

struct serve_send { /* send it now */
	uint32_t neighbour, release, chunk, size;
};

struct serve;

struct serve *serve_create(void);
void serve_free(struct serve *serve);
COVEY_DEFINE_CLEANUP(struct serve *, serve_free)

/* open false: nothing new is taken and what waits is dropped. rate: bytes a second; 0: no limit. */
void serve_set_limits(struct serve *serve, bool open, uint64_t rate, uint64_t now_ms);
/* Whoever fetches is a neighbour (fetch_set_all()). */
void serve_set_all(struct serve *serve, bool all);

/* A connection whose other end proved its identity; and its end. */
void serve_join(struct serve *serve, uint32_t neighbour);
void serve_leave(struct serve *serve, uint32_t neighbour);
/* yes false: revoked or assigned something else; what waits of it is dropped. */
void serve_assign(struct serve *serve, uint32_t neighbour, uint32_t release, bool yes);
void serve_release_close(struct serve *serve, uint32_t release); /* for everybody */
bool serve_may(const struct serve *serve, uint32_t neighbour, uint32_t release);

/* The shell has looked: the release's list has the chunk, and it lies verified in the store. */
enum serve_verdict serve_ask(struct serve *serve, uint32_t neighbour, uint32_t release,
			     uint32_t chunk, uint32_t size);
void serve_cancel(struct serve *serve, uint32_t neighbour, uint32_t release, uint32_t chunk);
bool serve_next(struct serve *serve, uint64_t now_ms, struct serve_send *ret_send);
/* False: it cannot be; close the connection. */
bool serve_taken(struct serve *serve, uint32_t neighbour, uint64_t total, uint64_t now_ms);
uint64_t serve_deadline(struct serve *serve, uint64_t now_ms);

struct serve_stats {
	uint64_t sent_bytes;
	uint64_t rate;	  /* measured, bytes a second */
	uint32_t waiting; /* requests */
	uint64_t refused[SERVE_VERDICTS];
};
void serve_stats(const struct serve *serve, struct serve_stats *ret_stats);
