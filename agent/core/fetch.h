/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which chunk to ask whom for: a pure scheduler for one release. It holds no sockets and no data.
 * The shell asks the release's chunk indexes first (one struct fetch over the index objects), then
 * everything that they list (a second one); the manifest is one request of its own.
 *
 * A source is the coordinator (the origin: it has everything) or a peer (it has what it said with
 * fetch_have()). Rarest first by the number of live sources that have a chunk; ties are drawn from
 * the caller's random number. A source holds at most LIMIT_FETCH_REQUESTS requests, fewer after it
 * was slow. A source whose chunk failed its digest loses its place for the whole fetch.
 *
 * Times are milliseconds of CLOCK_BOOTTIME. Memory is allocated in fetch_create() only.
 */
#pragma once

#include "base/cleanup.h"
#include "covey/release.h"

enum {
	FETCH_SOURCES = 32,	    /* most sources of one fetch */
	FETCH_TIMEOUT_MS = 10000,   /* least wait for a chunk; more when the source is slow */
	FETCH_TIMEOUT_MAX_MS = 120000,
	FETCH_STRIKES = 3,	    /* time-outs in a row after which a source rests */
};

enum fetch_source_kind { FETCH_ORIGIN, FETCH_PEER };

struct fetch_request { /* make it now; stays open until an answer, a time-out, the link's end */
	uint32_t source; /* as given to fetch_add_source() */
	struct digest digest;
	uint64_t size; /* of the chunk, what the answer must have */
};

enum fetch_answer {
	FETCH_TAKEN,	 /* first good copy: store it */
	FETCH_DUPLICATE, /* already there: drop it */
	FETCH_UNASKED,	 /* not of this fetch: drop it, and think about the sender */
};

enum fetch_state {
	FETCH_RUNNING, /* requests are out or can be made */
	FETCH_WAITING, /* nothing can be asked now: sources are down or resting; transient */
	FETCH_HOPELESS, /* a chunk is missing and no source is left that could ever have it: every
			   source gave bad data, or the origin said that it has no such chunk */
	FETCH_COMPLETE,
};

struct fetch_progress {
	uint64_t bytes_done, bytes_total; /* each distinct chunk once */
	uint32_t chunks_done, chunks_total;
	uint64_t rate; /* bytes a second over the last seconds that brought something */
	uint32_t open; /* requests under way */
};

struct fetch;

/* chunks are copied; the same digest twice counts once. count may be 0: complete at once. */
struct fetch *fetch_create(const struct chunk_ref *chunks, size_t count);
void fetch_free(struct fetch *fetch);
COVEY_DEFINE_CLEANUP(struct fetch *, fetch_free)

/* Resumption: what lies verified on disk already. False: the digest is not of this fetch. */
bool fetch_mark_done(struct fetch *fetch, const struct digest *digest);
/* The same from fetch_bitmap() of an earlier run over the same list; bits of other lengths are
 * refused with -EINVAL and change nothing. */
int fetch_restore(struct fetch *fetch, const uint8_t *bitmap, size_t size) COVEY_MUST_CHECK;
/* One bit for each entry of the list given to fetch_create(), least significant first. */
size_t fetch_bitmap_size(const struct fetch *fetch);
void fetch_bitmap(const struct fetch *fetch, uint8_t *ret_bitmap);

/* id is the caller's, unique among the sources; a source starts up. -EEXIST, -ENOSPC. */
int fetch_add_source(struct fetch *fetch, uint32_t id, enum fetch_source_kind kind)
	COVEY_MUST_CHECK;
/* Link up or down; down gives its requests back. A source that lost its place stays out. */
void fetch_source_up(struct fetch *fetch, uint32_t id);
void fetch_source_down(struct fetch *fetch, uint32_t id);
/* A peer has this chunk (HAVE). Unknown digests are ignored. */
void fetch_have(struct fetch *fetch, uint32_t id, const struct digest *digest);

/* The next request to make now; call until it returns false. random breaks ties. */
bool fetch_next(struct fetch *fetch, uint64_t now_ms, uint64_t random,
		struct fetch_request *ret_request);

/* An answer came and its digest was right. */
enum fetch_answer fetch_received(struct fetch *fetch, uint32_t id, const struct digest *digest,
				 uint64_t now_ms);
/* An answer came and its bytes were not what was asked for: the source is out. */
void fetch_received_bad(struct fetch *fetch, uint32_t id, const struct digest *digest);
/* The source says that it does not have the chunk. */
void fetch_received_missing(struct fetch *fetch, uint32_t id, const struct digest *digest);
/* Gives up what is overdue. Call when fetch_deadline() has come. */
void fetch_tick(struct fetch *fetch, uint64_t now_ms, uint64_t random);
/* When to call fetch_tick() (and fetch_next()) again; UINT64_MAX: only an event helps. */
uint64_t fetch_deadline(const struct fetch *fetch);

enum fetch_state fetch_state(const struct fetch *fetch);
void fetch_progress(const struct fetch *fetch, uint64_t now_ms, struct fetch_progress *ret);
