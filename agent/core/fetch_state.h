/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the chunk scheduler: fetch.c knows chunks and sources, fetch_ask.c asks. Not for
 * others. */
#pragma once

#include "agent/core/fetch.h"

enum { FETCH_NONE = UINT32_MAX };

struct fetch_chunk {
	struct digest digest;
	uint64_t size;
	uint32_t todo_at; /* index in todo[]; FETCH_NONE: done or asked for */
	bool done;
	uint8_t live;  /* sources that are up and have it */
	uint8_t could; /* sources that are not out and have it, up or down */
};

struct fetch_open {
	uint32_t chunk; /* FETCH_NONE: free */
	uint64_t deadline_ms;
};

struct fetch_source {
	uint32_t id;
	enum fetch_source_kind kind;
	bool up, out;
	uint32_t open, strikes;
	uint64_t rest_until_ms;
	uint64_t asked_bytes;
	struct fetch_open requests[LIMIT_FETCH_REQUESTS];
	uint8_t *has; /* a bit for each chunk */
};

struct fetch {
	uint32_t count; /* distinct chunks */
	uint32_t listed, done, todo_count, open;
	uint32_t sources_count, turn;
	uint32_t table_mask;
	uint32_t nowhere; /* chunks to do that no source could have */
	uint64_t bytes_done, bytes_total;
	uint64_t rate, window_bytes, window_ms, last_ms;
	bool had_origin;
	struct fetch_chunk *chunks;
	uint32_t *entry; /* list entry -> chunk */
	uint32_t *todo;
	uint32_t *table; /* digest -> chunk, open addressing */
	uint8_t *bits;
	struct fetch_source sources[FETCH_SOURCES];
};

/* FETCH_NONE: not of this fetch. */
uint32_t fetch_find(const struct fetch *f, const struct digest *digest);
struct fetch_source *fetch_find_source(struct fetch *f, uint32_t id);
bool fetch_has(const struct fetch_source *s, uint32_t c);
void fetch_set_has(struct fetch *f, struct fetch_source *s, uint32_t c, bool value);
void fetch_todo_add(struct fetch *f, uint32_t c);
void fetch_todo_remove(struct fetch *f, uint32_t c);
void fetch_close(struct fetch *f, struct fetch_source *s, struct fetch_open *request);
void fetch_give_back(struct fetch *f, struct fetch_source *s); /* all that it was asked for */
void fetch_finish(struct fetch *f, uint32_t c);		       /* the chunk lies on disk */
