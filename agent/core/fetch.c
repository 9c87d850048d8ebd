/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chunk is done, asked for, or to do. Those to do stand in one array, so that a random sample of
 * them costs nothing; of a sample the chunk that the fewest live sources have is asked first
 * (rarest first, as BitTorrent does it: Cohen, "Incentives Build Robustness in BitTorrent", 2003).
 * With the origin alone every chunk is as rare as the next, and the draw spreads a fleet's nodes
 * over the release. Answers that come late are still taken: what counts is the digest.
 */
#include "agent/core/fetch.h"
#include "agent/core/backoff.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>

enum {
	SAMPLE = 24,
	NONE = UINT32_MAX,
	RATE_MIN = 64 << 10, /* bytes a second that a source is given time for */
	RATE_WINDOW_MS = 1000,
	RATE_FORGET_MS = 5000,
};

struct chunk {
	struct digest digest;
	uint64_t size;
	uint32_t todo_at; /* index in todo[]; NONE: done or asked for */
	bool done;
	uint8_t live;  /* sources that are up and have it */
	uint8_t could; /* sources that are not out and have it, up or down */
};

struct request {
	uint32_t chunk; /* NONE: free */
	uint64_t deadline_ms;
};

struct source {
	uint32_t id;
	enum fetch_source_kind kind;
	bool up, out;
	uint32_t open, strikes;
	uint64_t rest_until_ms;
	uint64_t asked_bytes;
	struct request requests[LIMIT_FETCH_REQUESTS];
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
	struct chunk *chunks;
	uint32_t *entry; /* list entry -> chunk */
	uint32_t *todo;
	uint32_t *table; /* digest -> chunk, open addressing */
	uint8_t *bits;
	struct source sources[FETCH_SOURCES];
};

static uint32_t hash(const struct fetch *f, const struct digest *digest)
{
	uint32_t value;

	memcpy(&value, digest->bytes, sizeof(value)); /* a digest is as good as random */
	return value & f->table_mask;
}

static uint32_t find(const struct fetch *f, const struct digest *digest)
{
	for (uint32_t i = hash(f, digest);; i = (i + 1) & f->table_mask) {
		uint32_t c = f->table[i];

		if (c == NONE || digest_equal(&f->chunks[c].digest, digest))
			return c;
	}
}

static uint32_t find_or_add(struct fetch *f, const struct chunk_ref *ref)
{
	uint32_t i = hash(f, &ref->digest), c = find(f, &ref->digest);

	if (c != NONE)
		return c;
	while (f->table[i] != NONE)
		i = (i + 1) & f->table_mask;
	c = f->count++;
	f->table[i] = c;
	f->chunks[c] = (struct chunk){.digest = ref->digest, .size = ref->size, .todo_at = c};
	f->todo[c] = c;
	f->todo_count++;
	f->bytes_total += ref->size;
	return c;
}

struct fetch *fetch_create(const struct chunk_ref *chunks, size_t count)
{
	struct fetch *f = mem_alloc(sizeof(*f));
	size_t bits = count / 8 + 1, table = 16;

	assert(count < NONE / 4);
	while (table < 2 * count)
		table *= 2;
	f->listed = (uint32_t)count;
	f->table_mask = (uint32_t)(table - 1);
	f->chunks = mem_array(count + 1, sizeof(f->chunks[0]));
	f->entry = mem_array(count + 1, sizeof(f->entry[0]));
	f->todo = mem_array(count + 1, sizeof(f->todo[0]));
	f->table = mem_array(table, sizeof(f->table[0]));
	f->bits = mem_array(FETCH_SOURCES, bits);
	memset(f->table, 0xff, table * sizeof(f->table[0]));
	for (size_t i = 0; i < FETCH_SOURCES; i++)
		f->sources[i].has = f->bits + i * bits;
	for (size_t i = 0; i < count; i++)
		f->entry[i] = find_or_add(f, &chunks[i]);
	f->nowhere = f->count;
	return f;
}

void fetch_free(struct fetch *fetch)
{
	if (!fetch)
		return;
	free(fetch->chunks);
	free(fetch->entry);
	free(fetch->todo);
	free(fetch->table);
	free(fetch->bits);
	free(fetch);
}

static bool has(const struct source *s, uint32_t c)
{
	return s->has[c / 8] >> (c % 8) & 1;
}

static void set_has(struct fetch *f, struct source *s, uint32_t c, bool value)
{
	struct chunk *chunk = &f->chunks[c];
	uint8_t bit = (uint8_t)(1u << (c % 8));

	if (has(s, c) == value || s->out)
		return;
	s->has[c / 8] = (uint8_t)(value ? s->has[c / 8] | bit : s->has[c / 8] & ~bit);
	f->nowhere -= value && !chunk->done && chunk->could == 0;
	chunk->could = (uint8_t)(value ? chunk->could + 1 : chunk->could - 1);
	f->nowhere += !value && !chunk->done && chunk->could == 0;
	if (s->up)
		chunk->live = (uint8_t)(value ? chunk->live + 1 : chunk->live - 1);
}

static void todo_add(struct fetch *f, uint32_t c)
{
	if (f->chunks[c].done || f->chunks[c].todo_at != NONE)
		return;
	f->chunks[c].todo_at = f->todo_count;
	f->todo[f->todo_count++] = c;
}

static void todo_remove(struct fetch *f, uint32_t c)
{
	uint32_t at = f->chunks[c].todo_at, last;

	if (at == NONE)
		return;
	last = f->todo[--f->todo_count];
	f->todo[at] = last;
	f->chunks[last].todo_at = at;
	f->chunks[c].todo_at = NONE;
}

static void close_request(struct fetch *f, struct source *s, struct request *q)
{
	s->asked_bytes -= f->chunks[q->chunk].size;
	s->open--;
	f->open--;
	q->chunk = NONE;
}

static void give_back(struct fetch *f, struct source *s)
{
	for (size_t i = 0; i < LIMIT_FETCH_REQUESTS; i++) {
		uint32_t c = s->requests[i].chunk;

		if (c == NONE)
			continue;
		close_request(f, s, &s->requests[i]);
		todo_add(f, c);
	}
}

static void finish(struct fetch *f, uint32_t c)
{
	struct chunk *chunk = &f->chunks[c];

	todo_remove(f, c);
	for (uint32_t i = 0; i < f->sources_count; i++)
		for (size_t k = 0; k < LIMIT_FETCH_REQUESTS; k++)
			if (f->sources[i].requests[k].chunk == c)
				close_request(f, &f->sources[i], &f->sources[i].requests[k]);
	f->nowhere -= chunk->could == 0;
	chunk->done = true;
	f->done++;
	f->bytes_done += chunk->size;
}

bool fetch_mark_done(struct fetch *fetch, const struct digest *digest)
{
	uint32_t c = find(fetch, digest);

	if (c == NONE)
		return false;
	if (!fetch->chunks[c].done)
		finish(fetch, c);
	return true;
}

size_t fetch_bitmap_size(const struct fetch *fetch)
{
	return (fetch->listed + 7) / 8;
}

void fetch_bitmap(const struct fetch *fetch, uint8_t *ret_bitmap)
{
	memset(ret_bitmap, 0, fetch_bitmap_size(fetch));
	for (uint32_t i = 0; i < fetch->listed; i++)
		if (fetch->chunks[fetch->entry[i]].done)
			ret_bitmap[i / 8] |= (uint8_t)(1u << (i % 8));
}

int fetch_restore(struct fetch *fetch, const uint8_t *bitmap, size_t size)
{
	if (size != fetch_bitmap_size(fetch))
		return -EINVAL;
	for (uint32_t i = 0; i < fetch->listed; i++)
		if (bitmap[i / 8] >> (i % 8) & 1 && !fetch->chunks[fetch->entry[i]].done)
			finish(fetch, fetch->entry[i]);
	return 0;
}

static struct source *find_source(struct fetch *f, uint32_t id)
{
	for (uint32_t i = 0; i < f->sources_count; i++)
		if (f->sources[i].id == id)
			return &f->sources[i];
	return NULL;
}

int fetch_add_source(struct fetch *fetch, uint32_t id, enum fetch_source_kind kind)
{
	struct source *s;

	if (find_source(fetch, id))
		return -EEXIST;
	if (fetch->sources_count == FETCH_SOURCES)
		return -ENOSPC;
	s = &fetch->sources[fetch->sources_count++];
	s->id = id;
	s->kind = kind;
	s->up = true;
	for (size_t i = 0; i < LIMIT_FETCH_REQUESTS; i++)
		s->requests[i].chunk = NONE;
	fetch->had_origin |= kind == FETCH_ORIGIN;
	for (uint32_t c = 0; kind == FETCH_ORIGIN && c < fetch->count; c++)
		set_has(fetch, s, c, true);
	return 0;
}

static void set_up(struct fetch *f, struct source *s, bool up)
{
	if (s->up == up)
		return;
	s->up = up;
	for (uint32_t c = 0; c < f->count; c++)
		if (has(s, c))
			f->chunks[c].live = (uint8_t)(up ? f->chunks[c].live + 1
							 : f->chunks[c].live - 1);
}

void fetch_source_up(struct fetch *fetch, uint32_t id)
{
	struct source *s = find_source(fetch, id);

	if (!s || s->out)
		return;
	set_up(fetch, s, true);
	for (uint32_t c = 0; s->kind == FETCH_ORIGIN && c < fetch->count; c++)
		set_has(fetch, s, c, true); /* what it lacked it may have by now */
	s->strikes = 0;
	s->rest_until_ms = 0;
}

void fetch_source_down(struct fetch *fetch, uint32_t id)
{
	struct source *s = find_source(fetch, id);

	if (!s)
		return;
	give_back(fetch, s);
	set_up(fetch, s, false);
}

void fetch_have(struct fetch *fetch, uint32_t id, const struct digest *digest)
{
	struct source *s = find_source(fetch, id);
	uint32_t c = find(fetch, digest);

	if (s && c != NONE)
		set_has(fetch, s, c, true);
}

static uint32_t rarer(const struct fetch *f, const struct source *s, uint32_t best, uint32_t c)
{
	if (!has(s, c))
		return best;
	return best == NONE || f->chunks[c].live < f->chunks[best].live ? c : best;
}

static uint32_t choose(const struct fetch *f, const struct source *s, uint64_t random)
{
	uint32_t start = (uint32_t)(random % f->todo_count), best = NONE;
	uint32_t step = (uint32_t)(random >> 32) % f->todo_count + 1;

	for (uint32_t i = 0, at = start; i < SAMPLE; i++, at = (at + step) % f->todo_count)
		best = rarer(f, s, best, f->todo[at]);
	for (uint32_t i = 0; best == NONE && i < f->todo_count; i++)
		best = rarer(f, s, best, f->todo[(start + i) % f->todo_count]);
	return best;
}

static bool may_ask(const struct source *s, uint64_t now_ms)
{
	uint32_t limit = s->strikes ? 1 : LIMIT_FETCH_REQUESTS;

	return s->up && !s->out && now_ms >= s->rest_until_ms && s->open < limit;
}

static uint64_t timeout_ms(const struct source *s)
{
	uint64_t wait = FETCH_TIMEOUT_MS + s->asked_bytes * 1000 / RATE_MIN;

	return wait < FETCH_TIMEOUT_MAX_MS ? wait : FETCH_TIMEOUT_MAX_MS;
}

static void ask(struct fetch *f, struct source *s, uint32_t c, uint64_t now_ms)
{
	for (size_t i = 0; i < LIMIT_FETCH_REQUESTS; i++) {
		if (s->requests[i].chunk != NONE)
			continue;
		todo_remove(f, c);
		s->asked_bytes += f->chunks[c].size;
		s->open++;
		f->open++;
		s->requests[i] = (struct request){c, now_ms + timeout_ms(s)};
		return;
	}
}

bool fetch_next(struct fetch *fetch, uint64_t now_ms, uint64_t random,
		struct fetch_request *ret_request)
{
	for (uint32_t i = 0; i < fetch->sources_count && fetch->todo_count; i++) {
		uint32_t at = (fetch->turn + i) % fetch->sources_count, c;
		struct source *s = &fetch->sources[at];

		if (!may_ask(s, now_ms))
			continue;
		c = choose(fetch, s, random);
		if (c == NONE)
			continue;
		ask(fetch, s, c, now_ms);
		fetch->turn = (at + 1) % fetch->sources_count;
		*ret_request = (struct fetch_request){s->id, fetch->chunks[c].digest,
						      fetch->chunks[c].size};
		return true;
	}
	return false;
}

static void count_rate(struct fetch *f, uint64_t size, uint64_t now_ms)
{
	uint64_t span;

	if (f->window_bytes == 0 && (!f->last_ms || now_ms - f->last_ms > RATE_FORGET_MS))
		f->window_ms = f->last_ms ? now_ms - RATE_WINDOW_MS : now_ms;
	f->window_bytes += size;
	f->last_ms = now_ms ? now_ms : 1;
	span = now_ms - f->window_ms;
	if (span < RATE_WINDOW_MS)
		return;
	span = f->window_bytes * 1000 / span;
	f->rate = f->rate ? (f->rate * 3 + span) / 4 : span;
	f->window_bytes = 0;
	f->window_ms = now_ms;
}

enum fetch_answer fetch_received(struct fetch *fetch, uint32_t id, const struct digest *digest,
				 uint64_t now_ms)
{
	struct source *s = find_source(fetch, id);
	uint32_t c = find(fetch, digest);

	if (c == NONE)
		return FETCH_UNASKED;
	if (fetch->chunks[c].done)
		return FETCH_DUPLICATE;
	finish(fetch, c);
	count_rate(fetch, fetch->chunks[c].size, now_ms);
	if (!s)
		return FETCH_TAKEN;
	s->strikes = 0;
	s->rest_until_ms = 0;
	/* Answers come in order: who sends at all is given time for the next one. */
	for (size_t i = 0; i < LIMIT_FETCH_REQUESTS; i++)
		s->requests[i].deadline_ms = now_ms + timeout_ms(s);
	return FETCH_TAKEN;
}

void fetch_received_bad(struct fetch *fetch, uint32_t id, const struct digest *digest)
{
	struct source *s = find_source(fetch, id);

	(void)digest;
	if (!s || s->out)
		return;
	give_back(fetch, s);
	for (uint32_t c = 0; c < fetch->count; c++)
		set_has(fetch, s, c, false);
	s->out = true;
	s->up = false;
}

void fetch_received_missing(struct fetch *fetch, uint32_t id, const struct digest *digest)
{
	struct source *s = find_source(fetch, id);
	uint32_t c = find(fetch, digest);

	if (!s || c == NONE)
		return;
	for (size_t i = 0; i < LIMIT_FETCH_REQUESTS; i++)
		if (s->requests[i].chunk == c) {
			close_request(fetch, s, &s->requests[i]);
			todo_add(fetch, c);
		}
	set_has(fetch, s, c, false);
}

void fetch_tick(struct fetch *fetch, uint64_t now_ms, uint64_t random)
{
	for (uint32_t i = 0; i < fetch->sources_count; i++) {
		struct source *s = &fetch->sources[i];
		bool late = false;

		for (size_t k = 0; k < LIMIT_FETCH_REQUESTS; k++) {
			uint32_t c = s->requests[k].chunk;

			if (c == NONE || now_ms < s->requests[k].deadline_ms)
				continue;
			late = true;
			close_request(fetch, s, &s->requests[k]);
			todo_add(fetch, c);
		}
		if (s->rest_until_ms && now_ms >= s->rest_until_ms)
			s->rest_until_ms = 0;
		if (!late)
			continue;
		s->strikes++;
		if (s->strikes >= FETCH_STRIKES)
			s->rest_until_ms = now_ms + backoff_ms(LIMIT_BACKOFF_MIN_MS,
							       LIMIT_BACKOFF_MAX_MS, s->strikes,
							       random);
	}
}

uint64_t fetch_deadline(const struct fetch *fetch)
{
	uint64_t when = UINT64_MAX;

	for (uint32_t i = 0; i < fetch->sources_count; i++) {
		const struct source *s = &fetch->sources[i];

		for (size_t k = 0; k < LIMIT_FETCH_REQUESTS; k++)
			if (s->requests[k].chunk != NONE && s->requests[k].deadline_ms < when)
				when = s->requests[k].deadline_ms;
		if (fetch->todo_count && s->up && !s->out && s->rest_until_ms && !s->open &&
		    s->rest_until_ms < when)
			when = s->rest_until_ms;
	}
	return when;
}

enum fetch_state fetch_state(const struct fetch *fetch)
{
	if (fetch->done == fetch->count)
		return FETCH_COMPLETE;
	if (fetch->nowhere && fetch->had_origin)
		return FETCH_HOPELESS;
	if (fetch->open)
		return FETCH_RUNNING;
	for (uint32_t i = 0; i < fetch->sources_count; i++)
		if (fetch->sources[i].up && !fetch->sources[i].rest_until_ms)
			for (uint32_t k = 0; k < fetch->todo_count; k++)
				if (has(&fetch->sources[i], fetch->todo[k]))
					return FETCH_RUNNING;
	return FETCH_WAITING;
}

void fetch_progress(const struct fetch *fetch, uint64_t now_ms, struct fetch_progress *ret)
{
	bool quiet = !fetch->last_ms || now_ms - fetch->last_ms > RATE_FORGET_MS;

	*ret = (struct fetch_progress){
		.bytes_done = fetch->bytes_done,
		.bytes_total = fetch->bytes_total,
		.chunks_done = fetch->done,
		.chunks_total = fetch->count,
		.rate = quiet ? 0 : fetch->rate,
		.open = fetch->open,
	};
}
