/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the chunk scheduler: fetch.c knows chunks and sources, fetch_ask.c asks, fetch_answer.c
 * hears and times out. Not for others. */
#pragma once

#include "agent/core/fetch.h"

#include <string.h>

enum { FETCH_FREE = UINT32_MAX - 1 };

struct fetch_open {	/* a request under way */
	uint32_t chunk; /* FETCH_ANY; FETCH_FREE: none */
	bool cancel;	/* not wanted any more; fetch_next_cancel() tells and frees it */
	bool again;	/* another source was asked since */
	uint64_t due_ms, late_ms, deadline_ms; /* expected; to be looked at; given up */
};

struct fetch_source {
	uint32_t id;
	enum fetch_kind kind;
	enum fetch_role role;
	bool up, out;
	bool hold;	/* was a seed: the neighbours' turn comes first */
	bool told;	/* FETCH_STALLED was told and nothing came since */
	uint8_t blames; /* a bit for each fault that is still to be told */
	uint8_t strikes, lies;
	uint8_t open, cancels;
	uint32_t credit;
	uint32_t useful; /* chunks that it has and nobody was asked for */
	uint64_t asked_bytes, rest_until_ms, hold_until_ms;
	uint64_t rate, window_ms, window_bytes; /* measured while something was open */
	struct fetch_open requests[FETCH_REQUESTS];
	uint64_t *has; /* a bit for each chunk */
};

struct fetch {
	const uint32_t *sizes;
	uint32_t count, words, done_count, todo_count, open, cancels, any_open;
	uint32_t sources_count, turn;
	uint32_t nowhere; /* chunks to do that no source could have */
	uint32_t unseen_count, largest, smallest;
	bool had_origin, all;
	uint64_t asked_bytes; /* of peers */
	uint64_t bytes_done, bytes_total, bytes_duplicate;
	uint64_t rate, window_bytes, window_ms, last_ms;
	uint64_t began_ms;	 /* the first request */
	uint64_t later_until_ms; /* 0: nothing is put off */
	uint64_t looked_ms; /* the last tick, or when fetch_next() found nothing: what was due by
			       then is no reason to wake up again */
	uint64_t *bits;
	uint64_t *done, *todo;	     /* todo: neither done nor asked for by number */
	uint64_t *unseen;	     /* fresh from the origin; no neighbour has it */
	uint64_t *later;	     /* the origin gave it to somebody just now */
	uint8_t *live;		     /* neighbours that are up and have it: what makes it rare */
	uint8_t *could;		     /* sources that are not out and have it, up or down */
	uint32_t ids[FETCH_SOURCES]; /* of the sources, close together: looked at all the time */
	struct fetch_source sources[FETCH_SOURCES];
};

static inline bool fetch_bit(const uint64_t *bits, uint32_t c)
{
	return bits[c / 64] >> (c % 64) & 1;
}

static inline void fetch_put_bit(uint64_t *bits, uint32_t c, bool value)
{
	uint64_t bit = 1ull << (c % 64);

	bits[c / 64] = value ? bits[c / 64] | bit : bits[c / 64] & ~bit;
}

static inline bool fetch_is_neighbour(const struct fetch_source *s)
{
	return s->up && s->role == FETCH_NEIGHBOUR;
}

static inline uint64_t fetch_patience_ms(const struct fetch *f)
{
	return (f->last_ms > f->began_ms ? f->last_ms : f->began_ms) + FETCH_PATIENCE_MS;
}

struct fetch_source *fetch_find_source(const struct fetch *f, uint32_t id);
void fetch_set_has(struct fetch *f, struct fetch_source *s, uint32_t c, bool value);
void fetch_todo_add(struct fetch *f, uint32_t c); /* unless another source is asked for it */
void fetch_todo_remove(struct fetch *f, uint32_t c);
uint32_t fetch_request_size(const struct fetch *f, uint32_t c);
void fetch_close(struct fetch *f, struct fetch_source *s, struct fetch_open *q);
void fetch_give_back(struct fetch *f, struct fetch_source *s); /* all that it was asked for */
void fetch_finish(struct fetch *f, uint32_t c);		       /* the chunk lies on disk */
void fetch_cancel(struct fetch *f, struct fetch_source *s, struct fetch_open *q);
void fetch_set_times(struct fetch_source *s, struct fetch_open *q, uint64_t now_ms);
void fetch_throw_out(struct fetch *f, struct fetch_source *s, enum fetch_fault fault);
