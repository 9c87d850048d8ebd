/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What there is to fetch, and who has it. A chunk is done, asked for, or to do; what each source
 * has is a bit for each chunk, so that "what could I ask it for" is an AND of words. Counts are
 * kept beside the bits: for each chunk the neighbours that are up and have it (what makes it rare)
 * and the sources that could ever have it (whether there is hope); for each source how much of the
 * to-do it has, so that nobody is searched in vain.
 */
#include "agent/core/fetch_state.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>

enum { EXTRA_BITMAPS = 4 }; /* done, todo, unseen, later */

struct fetch *fetch_create(const uint32_t *sizes, uint32_t count)
{
	struct fetch *f = mem_alloc(sizeof(*f));

	assert(count < FETCH_FREE);
	f->sizes = sizes;
	f->count = f->todo_count = f->nowhere = count;
	f->words = count / 64 + 1;
	f->bits = mem_array(FETCH_SOURCES + EXTRA_BITMAPS, f->words * sizeof(f->bits[0]));
	f->live = mem_alloc(count + 1);
	f->could = mem_alloc(count + 1);
	for (uint32_t i = 0; i < FETCH_SOURCES; i++)
		f->sources[i].has = f->bits + (size_t)i * f->words;
	f->done = f->bits + (size_t)FETCH_SOURCES * f->words;
	f->todo = f->done + f->words;
	f->unseen = f->todo + f->words;
	f->later = f->unseen + f->words;
	for (uint32_t c = 0; c < count; c++) {
		fetch_put_bit(f->todo, c, true);
		f->bytes_total += sizes[c];
		f->largest = sizes[c] > f->largest ? sizes[c] : f->largest;
		f->smallest = c == 0 || sizes[c] < f->smallest ? sizes[c] : f->smallest;
	}
	return f;
}

void fetch_free(struct fetch *fetch)
{
	if (!fetch)
		return;
	free(fetch->bits);
	free(fetch->live);
	free(fetch->could);
	free(fetch);
}

/* ---- chunks ---- */

static void see(struct fetch *f, uint32_t c)
{
	f->unseen_count -= fetch_bit(f->unseen, c);
	fetch_put_bit(f->unseen, c, false);
}

void fetch_set_has(struct fetch *f, struct fetch_source *s, uint32_t c, bool value)
{
	bool done = fetch_bit(f->done, c);
	int one = value ? 1 : -1;

	if (fetch_bit(s->has, c) == value || s->out)
		return;
	fetch_put_bit(s->has, c, value);
	f->nowhere -= value && !done && f->could[c] == 0;
	f->could[c] = (uint8_t)(f->could[c] + one);
	f->nowhere += !value && !done && f->could[c] == 0;
	if (fetch_is_neighbour(s))
		f->live[c] = (uint8_t)(f->live[c] + one);
	if (fetch_bit(f->todo, c))
		s->useful += (uint32_t)one;
	if (value && s->kind == FETCH_PEER)
		see(f, c);
}

static void set_todo(struct fetch *f, uint32_t c, bool value)
{
	uint32_t one = value ? 1 : UINT32_MAX;

	if (fetch_bit(f->todo, c) == value)
		return;
	fetch_put_bit(f->todo, c, value);
	f->todo_count += one;
	for (uint32_t i = 0; i < f->sources_count; i++)
		if (fetch_bit(f->sources[i].has, c))
			f->sources[i].useful += one;
}

void fetch_todo_add(struct fetch *f, uint32_t c)
{
	if (fetch_bit(f->done, c))
		return;
	for (uint32_t i = 0; i < f->sources_count; i++)
		for (uint32_t k = 0; f->sources[i].open && k < FETCH_REQUESTS; k++)
			if (f->sources[i].requests[k].chunk == c &&
			    !f->sources[i].requests[k].cancel)
				return;
	set_todo(f, c, true);
}

void fetch_todo_remove(struct fetch *f, uint32_t c)
{
	set_todo(f, c, false);
}

uint32_t fetch_request_size(const struct fetch *f, uint32_t c)
{
	return c == FETCH_ANY ? f->largest : f->sizes[c];
}

void fetch_close(struct fetch *f, struct fetch_source *s, struct fetch_open *q)
{
	s->asked_bytes -= fetch_request_size(f, q->chunk);
	f->asked_bytes -= s->kind == FETCH_PEER ? fetch_request_size(f, q->chunk) : 0;
	s->open--;
	f->open--;
	s->cancels = (uint8_t)(s->cancels - q->cancel);
	f->cancels -= q->cancel;
	f->any_open -= q->chunk == FETCH_ANY && !q->cancel;
	*q = (struct fetch_open){.chunk = FETCH_FREE};
}

void fetch_give_back(struct fetch *f, struct fetch_source *s)
{
	for (uint32_t i = 0; s->open && i < FETCH_REQUESTS; i++) {
		uint32_t c = s->requests[i].chunk;

		if (c == FETCH_FREE)
			continue;
		fetch_close(f, s, &s->requests[i]);
		if (c != FETCH_ANY)
			fetch_todo_add(f, c);
	}
}

void fetch_cancel(struct fetch *f, struct fetch_source *s, struct fetch_open *q)
{
	if (q->cancel)
		return;
	f->any_open -= q->chunk == FETCH_ANY;
	q->cancel = true;
	s->cancels++;
	f->cancels++;
}

static void cancel_open(struct fetch *f, uint32_t c)
{
	for (uint32_t i = 0; i < f->sources_count; i++) {
		struct fetch_source *s = &f->sources[i];

		for (uint32_t k = 0; s->open && k < FETCH_REQUESTS; k++)
			if (s->requests[k].chunk == c)
				fetch_cancel(f, s, &s->requests[k]);
	}
}

void fetch_finish(struct fetch *f, uint32_t c)
{
	if (!fetch_bit(f->todo, c))
		cancel_open(f, c);
	fetch_todo_remove(f, c);
	f->nowhere -= f->could[c] == 0;
	fetch_put_bit(f->done, c, true);
	f->done_count++;
	f->bytes_done += f->sizes[c];
}

void fetch_mark_done(struct fetch *fetch, uint32_t chunk)
{
	assert(chunk < fetch->count);
	if (!fetch_bit(fetch->done, chunk))
		fetch_finish(fetch, chunk);
}

void fetch_done_bits(const struct fetch *fetch, uint8_t *ret_bits)
{
	for (uint32_t i = 0; i < (fetch->count + 7) / 8; i++)
		ret_bits[i] = (uint8_t)(fetch->done[i / 8] >> (i % 8 * 8));
}

bool fetch_is_behind(const struct fetch *fetch)
{
	return fetch->unseen_count >= FETCH_UNSEEN;
}

bool fetch_is_done(const struct fetch *fetch, uint32_t chunk)
{
	return chunk < fetch->count && fetch_bit(fetch->done, chunk);
}

/* ---- sources ---- */

struct fetch_source *fetch_find_source(const struct fetch *f, uint32_t id)
{
	for (uint32_t i = 0; i < f->sources_count; i++)
		if (f->ids[i] == id)
			return (struct fetch_source *)&f->sources[i];
	return NULL;
}

int fetch_add_source(struct fetch *fetch, uint32_t id, enum fetch_kind kind)
{
	uint64_t *bits = fetch->sources[fetch->sources_count % FETCH_SOURCES].has;
	struct fetch_source *s;

	if (fetch_find_source(fetch, id))
		return -EEXIST;
	if (fetch->sources_count == FETCH_SOURCES)
		return -ENOSPC;
	fetch->ids[fetch->sources_count] = id;
	s = &fetch->sources[fetch->sources_count++];
	*s = (struct fetch_source){
		.id = id,
		.kind = kind,
		.role = FETCH_NEIGHBOUR,
		.up = true,
		.credit = kind == FETCH_ORIGIN ? FETCH_CREDIT_ORIGIN : FETCH_CREDIT_PEER,
		.has = bits,
	};
	memset(bits, 0, fetch->words * sizeof(bits[0]));
	for (uint32_t i = 0; i < FETCH_REQUESTS; i++)
		s->requests[i].chunk = FETCH_FREE;
	fetch->had_origin |= kind == FETCH_ORIGIN;
	for (uint32_t c = 0; kind == FETCH_ORIGIN && c < fetch->count; c++)
		fetch_set_has(fetch, s, c, true);
	return 0;
}

/* Everything that depends on whether this source counts as a neighbour. */
static void set_standing(struct fetch *f, struct fetch_source *s, bool up, enum fetch_role role)
{
	bool before = fetch_is_neighbour(s), after;

	s->up = up;
	s->role = role;
	after = fetch_is_neighbour(s);
	for (uint32_t c = 0; before != after && c < f->count; c++)
		if (fetch_bit(s->has, c))
			f->live[c] = (uint8_t)(f->live[c] + (after ? 1 : -1));
}

static void lose_all(struct fetch *f, struct fetch_source *s)
{
	fetch_give_back(f, s);
	for (uint32_t c = 0; c < f->count; c++)
		fetch_set_has(f, s, c, false);
	s->up = false;
}

void fetch_throw_out(struct fetch *f, struct fetch_source *s, enum fetch_fault fault)
{
	lose_all(f, s);
	s->out = true;
	s->blames |= (uint8_t)(1u << fault);
}

void fetch_remove_source(struct fetch *fetch, uint32_t id)
{
	struct fetch_source *s = fetch_find_source(fetch, id), *last, gone;

	if (!s)
		return;
	lose_all(fetch, s);
	last = &fetch->sources[--fetch->sources_count];
	gone = *s;
	*s = *last;
	last->has = gone.has;
	fetch->ids[s - fetch->sources] = s->id;
	fetch->turn = 0;
}

void fetch_set_role(struct fetch *fetch, uint32_t id, enum fetch_role role)
{
	struct fetch_source *s = fetch_find_source(fetch, id);

	if (!s)
		return;
	for (uint32_t i = 0; role != FETCH_SEED && i < FETCH_REQUESTS; i++)
		if (s->requests[i].chunk == FETCH_ANY)
			fetch_close(fetch, s, &s->requests[i]);
	s->hold |= s->role == FETCH_SEED && role != FETCH_SEED;
	set_standing(fetch, s, s->up, role);
}

void fetch_set_credit(struct fetch *fetch, uint32_t id, uint32_t bytes)
{
	struct fetch_source *s = fetch_find_source(fetch, id);

	if (s)
		s->credit = bytes;
}

void fetch_set_all(struct fetch *fetch, bool all)
{
	fetch->all = all;
}

void fetch_source_up(struct fetch *fetch, uint32_t id)
{
	struct fetch_source *s = fetch_find_source(fetch, id);

	if (!s || s->out)
		return;
	set_standing(fetch, s, true, s->role);
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
	set_standing(fetch, s, false, s->role);
}

bool fetch_have(struct fetch *fetch, uint32_t id, uint32_t chunk)
{
	struct fetch_source *s = fetch_find_source(fetch, id);

	if (!s || chunk >= fetch->count)
		return false;
	fetch_set_has(fetch, s, chunk, true);
	return true;
}

bool fetch_have_bits(struct fetch *fetch, uint32_t id, const uint8_t *bits, size_t size)
{
	struct fetch_source *s = fetch_find_source(fetch, id);

	if (!s || size != (fetch->count + 7) / 8)
		return false;
	for (uint32_t c = 0; c < fetch->count; c++)
		if (bits[c / 8] >> (c % 8) & 1)
			fetch_set_has(fetch, s, c, true);
	return true;
}

bool fetch_lacks(const struct fetch *fetch, uint32_t id, uint32_t chunk)
{
	const struct fetch_source *s = fetch_find_source(fetch, id);

	return s && s->kind == FETCH_PEER && s->up && chunk < fetch->count &&
	       !fetch_bit(s->has, chunk);
}
