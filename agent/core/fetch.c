/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What there is to fetch, and who has it. A chunk is done, asked for, or to do; those to do stand
 * in one array without order. For each chunk two counts are kept: sources that are up and have it
 * (what makes it rare) and sources that could ever have it (whether there is hope).
 */
#include "agent/core/fetch_state.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>

static uint32_t hash(const struct fetch *f, const struct digest *digest)
{
	uint32_t value;

	memcpy(&value, digest->bytes, sizeof(value)); /* a digest is as good as random */
	return value & f->table_mask;
}

uint32_t fetch_find(const struct fetch *f, const struct digest *digest)
{
	for (uint32_t i = hash(f, digest);; i = (i + 1) & f->table_mask) {
		uint32_t c = f->table[i];

		if (c == FETCH_NONE || digest_equal(&f->chunks[c].digest, digest))
			return c;
	}
}

static uint32_t find_or_add(struct fetch *f, const struct chunk_ref *ref)
{
	uint32_t i = hash(f, &ref->digest), c = fetch_find(f, &ref->digest);

	if (c != FETCH_NONE)
		return c;
	while (f->table[i] != FETCH_NONE)
		i = (i + 1) & f->table_mask;
	c = f->count++;
	f->table[i] = c;
	f->chunks[c] = (struct fetch_chunk){.digest = ref->digest, .size = ref->size, .todo_at = c};
	f->todo[c] = c;
	f->todo_count++;
	f->bytes_total += ref->size;
	return c;
}

struct fetch *fetch_create(const struct chunk_ref *chunks, size_t count)
{
	struct fetch *f = mem_alloc(sizeof(*f));
	size_t bits = count / 8 + 1, table = 16;

	assert(count < FETCH_NONE / 4);
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

bool fetch_has(const struct fetch_source *s, uint32_t c)
{
	return s->has[c / 8] >> (c % 8) & 1;
}

void fetch_set_has(struct fetch *f, struct fetch_source *s, uint32_t c, bool value)
{
	struct fetch_chunk *chunk = &f->chunks[c];
	uint8_t bit = (uint8_t)(1u << (c % 8));

	if (fetch_has(s, c) == value || s->out)
		return;
	s->has[c / 8] = (uint8_t)(value ? s->has[c / 8] | bit : s->has[c / 8] & ~bit);
	f->nowhere -= value && !chunk->done && chunk->could == 0;
	chunk->could = (uint8_t)(value ? chunk->could + 1 : chunk->could - 1);
	f->nowhere += !value && !chunk->done && chunk->could == 0;
	if (s->up)
		chunk->live = (uint8_t)(value ? chunk->live + 1 : chunk->live - 1);
}

void fetch_todo_add(struct fetch *f, uint32_t c)
{
	if (f->chunks[c].done || f->chunks[c].todo_at != FETCH_NONE)
		return;
	f->chunks[c].todo_at = f->todo_count;
	f->todo[f->todo_count++] = c;
}

void fetch_todo_remove(struct fetch *f, uint32_t c)
{
	uint32_t at = f->chunks[c].todo_at, last;

	if (at == FETCH_NONE)
		return;
	last = f->todo[--f->todo_count];
	f->todo[at] = last;
	f->chunks[last].todo_at = at;
	f->chunks[c].todo_at = FETCH_NONE;
}

void fetch_close(struct fetch *f, struct fetch_source *s, struct fetch_open *q)
{
	s->asked_bytes -= f->chunks[q->chunk].size;
	s->open--;
	f->open--;
	q->chunk = FETCH_NONE;
}

void fetch_give_back(struct fetch *f, struct fetch_source *s)
{
	for (size_t i = 0; i < LIMIT_FETCH_REQUESTS; i++) {
		uint32_t c = s->requests[i].chunk;

		if (c == FETCH_NONE)
			continue;
		fetch_close(f, s, &s->requests[i]);
		fetch_todo_add(f, c);
	}
}

void fetch_finish(struct fetch *f, uint32_t c)
{
	struct fetch_chunk *chunk = &f->chunks[c];

	fetch_todo_remove(f, c);
	for (uint32_t i = 0; i < f->sources_count; i++)
		for (size_t k = 0; k < LIMIT_FETCH_REQUESTS; k++)
			if (f->sources[i].requests[k].chunk == c)
				fetch_close(f, &f->sources[i], &f->sources[i].requests[k]);
	f->nowhere -= chunk->could == 0;
	chunk->done = true;
	f->done++;
	f->bytes_done += chunk->size;
}

bool fetch_mark_done(struct fetch *fetch, const struct digest *digest)
{
	uint32_t c = fetch_find(fetch, digest);

	if (c == FETCH_NONE)
		return false;
	if (!fetch->chunks[c].done)
		fetch_finish(fetch, c);
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
			fetch_finish(fetch, fetch->entry[i]);
	return 0;
}

struct fetch_source *fetch_find_source(struct fetch *f, uint32_t id)
{
	for (uint32_t i = 0; i < f->sources_count; i++)
		if (f->sources[i].id == id)
			return &f->sources[i];
	return NULL;
}

int fetch_add_source(struct fetch *fetch, uint32_t id, enum fetch_source_kind kind)
{
	struct fetch_source *s;

	if (fetch_find_source(fetch, id))
		return -EEXIST;
	if (fetch->sources_count == FETCH_SOURCES)
		return -ENOSPC;
	s = &fetch->sources[fetch->sources_count++];
	s->id = id;
	s->kind = kind;
	s->up = true;
	for (size_t i = 0; i < LIMIT_FETCH_REQUESTS; i++)
		s->requests[i].chunk = FETCH_NONE;
	fetch->had_origin |= kind == FETCH_ORIGIN;
	for (uint32_t c = 0; kind == FETCH_ORIGIN && c < fetch->count; c++)
		fetch_set_has(fetch, s, c, true);
	return 0;
}

static void set_up(struct fetch *f, struct fetch_source *s, bool up)
{
	if (s->up == up)
		return;
	s->up = up;
	for (uint32_t c = 0; c < f->count; c++)
		if (fetch_has(s, c))
			f->chunks[c].live = (uint8_t)(up ? f->chunks[c].live + 1
							 : f->chunks[c].live - 1);
}

void fetch_source_up(struct fetch *fetch, uint32_t id)
{
	struct fetch_source *s = fetch_find_source(fetch, id);

	if (!s || s->out)
		return;
	set_up(fetch, s, true);
	for (uint32_t c = 0; s->kind == FETCH_ORIGIN && c < fetch->count; c++)
		fetch_set_has(fetch, s, c, true); /* what it lacked it may have by now */
	s->strikes = 0;
	s->rest_until_ms = 0;
}

void fetch_source_down(struct fetch *fetch, uint32_t id)
{
	struct fetch_source *s = fetch_find_source(fetch, id);

	if (!s)
		return;
	fetch_give_back(fetch, s);
	set_up(fetch, s, false);
}

void fetch_have(struct fetch *fetch, uint32_t id, const struct digest *digest)
{
	struct fetch_source *s = fetch_find_source(fetch, id);
	uint32_t c = fetch_find(fetch, digest);

	if (s && c != FETCH_NONE)
		fetch_set_has(fetch, s, c, true);
}
