/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which chunk to ask whom for: the pure scheduler of one fetch. It holds no sockets, no data and no
 * digests: a chunk is its number in the fetch's list (protocol/chunk_list.h), a source the caller's
 * id.
 *
 * Sources. The origin (the coordinator) has everything; a peer has what it said with HAVE. Rarest
 * first: of about FETCH_SAMPLE random chunks that the source has and we lack, the one that the
 * fewest live sources have (Cohen, "Incentives Build Robustness in BitTorrent", 2003). A role says
 * when a source is asked:
 *   FETCH_SEED       the origin has chunks that it gave to nobody yet: it is asked for "any" of
 *                    them and chooses (coordinator/core/seeding.h). A node that is slow in passing
 *                    on what only it has says so, fetch_is_behind(), and comes after the others.
 *   FETCH_NEIGHBOUR  is asked for what it has, by number.
 *   FETCH_RESERVE    is asked by number only for what no other live source has, after nothing came
 *                    for FETCH_PATIENCE_MS: the origin of a large fleet, peers behind a thin link.
 *
 * Credit. At a source at most so many bytes are open (at least one chunk always may be): what the
 * sender has to queue for us, fetch_set_credit(). End-game: when all that is left and can be
 * asked for is asked for, an idle source is asked for what is overdue elsewhere, or what it brings
 * much sooner by the measured rates; the loser is cancelled. Nothing else is asked for twice.
 *
 * Contract with the shell, in this order after each event, until all are silent:
 *   fetch_next_cancel()  -> send CANCEL
 *   fetch_next_blame()   -> log and report; FETCH_BAD and FETCH_LIAR are final, close the neighbour
 *   fetch_next()         -> send the request (an "any" to a SEED)
 * and fetch_tick() when fetch_deadline() has come. For each chunk that was TAKEN the shell sends
 * HAVE soon to each neighbour for which fetch_lacks() says so and to the one that sent it. It
 * counts every object's bytes, good or not, towards the cumulative "taken" of that connection and
 * tells it with the next message there, at once if there is none (base/uplink.h).
 *
 * Times are milliseconds of CLOCK_BOOTTIME. Memory is allocated in fetch_create() only: about 7
 * bytes a chunk, and a bit for each chunk and source.
 */
#pragma once

#include "base/cleanup.h"
#include "covey/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	FETCH_SOURCES = 32,	/* most sources of one fetch, the origin among them */
	FETCH_ANY = UINT32_MAX, /* as a chunk: whatever the origin has not given out yet */
	FETCH_SAMPLE = 24,
	FETCH_END = 8,	    /* so few chunks not asked for, none of which can be: end-game */
	FETCH_UNSEEN = 8,   /* fresh chunks that no neighbour has: behind */
	FETCH_REQUESTS = 8, /* under way at a peer; LIMIT_FETCH_REQUESTS at the origin */
	FETCH_CREDIT_ORIGIN = 4 << 20, /* bytes; the default of fetch_set_credit() */
	FETCH_CREDIT_PEER = 512 << 10,
	FETCH_TIMEOUT_MS = 10000, /* wait for a chunk while a source's rate is not known */
	FETCH_TIMEOUT_MIN_MS = 2000,
	FETCH_TIMEOUT_MAX_MS = 120000,
	FETCH_PATIENCE_MS = 2000,
	FETCH_LATER_MS = 500,
	FETCH_HOLD_MS = 400, /* an origin that was a seed is not asked by number before, and for
				each source not before so much more: the less it would add */
	FETCH_HOLD_EACH_MS = 30,
	FETCH_STRIKES = 3,   /* time-outs in a row after which a source rests and is named */
	FETCH_LIES = 3,	     /* chunks that a peer said it has and then had not: out */
};

enum fetch_kind { FETCH_ORIGIN, FETCH_PEER };
enum fetch_role { FETCH_SEED, FETCH_NEIGHBOUR, FETCH_RESERVE };

struct fetch_request { /* stays open until an answer, a time-out, a cancel or the link's end */
	uint32_t source;
	uint32_t chunk; /* or FETCH_ANY */
	uint32_t size;	/* bytes; FETCH_ANY: of the largest chunk that is missing */
	bool again;	/* end-game: it is asked of another source too */
};

enum fetch_answer {
	FETCH_TAKEN,	 /* first good copy: store it, tell the neighbours */
	FETCH_DUPLICATE, /* already there: drop it */
};

enum fetch_fault {
	FETCH_BAD,     /* sent bytes that are not the chunk: out for good */
	FETCH_LIAR,    /* said it has chunks and had not, FETCH_LIES times: out for good */
	FETCH_STALLED, /* FETCH_STRIKES time-outs in a row: rests, with a growing pause */
};

struct fetch_blame {
	uint32_t source;
	enum fetch_fault fault;
};

enum fetch_state {
	FETCH_RUNNING,	/* requests are out or can be made */
	FETCH_WAITING,	/* nothing can be asked now: sources are down, rest or lack it; transient */
	FETCH_HOPELESS, /* there was an origin, and a chunk is left that no source can ever have */
	FETCH_COMPLETE,
};

struct fetch_progress {
	uint64_t bytes_done, bytes_total;
	uint64_t bytes_duplicate; /* good copies that came in vain */
	uint64_t rate;		  /* bytes a second over the last seconds that brought something */
	uint32_t chunks_done, chunks_total;
	uint32_t open; /* requests under way */
};

struct fetch;

/* sizes: bytes of each chunk, borrowed for the life of the fetch. count 0: complete at once. */
struct fetch *fetch_create(const uint32_t *sizes, uint32_t count);
void fetch_free(struct fetch *fetch);
COVEY_DEFINE_CLEANUP(struct fetch *, fetch_free)

/* Resumption: lies verified on the disk already. */
void fetch_mark_done(struct fetch *fetch, uint32_t chunk);
/* What is done, one bit a chunk, least significant first: (count + 7) / 8 bytes. For the first HAVE
 * to a neighbour, and to the origin before the first "any". */
void fetch_done_bits(const struct fetch *fetch, uint8_t *ret_bits);

/* id is unique; a source starts up, a peer as NEIGHBOUR without chunks, an origin as NEIGHBOUR.
 * -EEXIST, -ENOSPC. */
int fetch_add_source(struct fetch *fetch, uint32_t id, enum fetch_kind kind) COVEY_MUST_CHECK;
/* No neighbour any more. An origin that is away is down, never removed: there is hope. */
void fetch_remove_source(struct fetch *fetch, uint32_t id);
/* SEED for an origin that takes "any"; its answer "all are out" says what it is from then on. */
void fetch_set_role(struct fetch *fetch, uint32_t id, enum fetch_role role);
void fetch_set_credit(struct fetch *fetch, uint32_t id, uint32_t bytes);
/* Whoever fetches is a source: no chunk comes over several nodes, where each of them would have it
 * wait behind what was asked for ahead. */
void fetch_set_all(struct fetch *fetch, bool all);
/* Link up or down; down gives its requests back. A source that is out stays out. */
void fetch_source_up(struct fetch *fetch, uint32_t id);
void fetch_source_down(struct fetch *fetch, uint32_t id);

/* HAVE. Numbers beyond the list are ignored: false, and
 * think about the sender. */
bool fetch_have(struct fetch *fetch, uint32_t id, uint32_t chunk);
bool fetch_have_bits(struct fetch *fetch, uint32_t id, const uint8_t *bits, size_t size);
/* Should the source hear that we have this chunk? It did not say that it has it. */
bool fetch_lacks(const struct fetch *fetch, uint32_t id, uint32_t chunk);

bool fetch_next(struct fetch *fetch, uint64_t now_ms, uint64_t random,
		struct fetch_request *ret_request);
bool fetch_next_cancel(struct fetch *fetch, struct fetch_request *ret_request);
bool fetch_next_blame(struct fetch *fetch, struct fetch_blame *ret_blame);

/* A chunk came and its digest was right; also when it was late or not asked for. */
enum fetch_answer fetch_received(struct fetch *fetch, uint32_t id, uint32_t chunk, uint64_t now_ms);
/* Bytes came that are not what was asked for: the source is out. */
void fetch_received_bad(struct fetch *fetch, uint32_t id);
/* The source says that it does not have the chunk. */
void fetch_received_missing(struct fetch *fetch, uint32_t id, uint32_t chunk);
/* It will not send the chunk now (REFUSED: closed, no credit): rests FETCH_PATIENCE_MS. */
void fetch_received_refusal(struct fetch *fetch, uint32_t id, uint32_t chunk, uint64_t now_ms);
/* The origin gave it to somebody just now: it is not asked for it again for FETCH_LATER_MS. */
void fetch_received_later(struct fetch *fetch, uint32_t id, uint32_t chunk, uint64_t now_ms);
void fetch_tick(struct fetch *fetch, uint64_t now_ms, uint64_t random);
uint64_t fetch_deadline(const struct fetch *fetch); /* UINT64_MAX: only an event helps */

/* For each "any": it has FETCH_UNSEEN fresh chunks or more that no neighbour took yet. */
bool fetch_is_behind(const struct fetch *fetch);
bool fetch_is_done(const struct fetch *fetch, uint32_t chunk);
enum fetch_state fetch_state(const struct fetch *fetch);
void fetch_progress(const struct fetch *fetch, uint64_t now_ms, struct fetch_progress *ret);
