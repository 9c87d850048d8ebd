/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sources send, and what they do not. Answers that come late are still taken: what counts is
 * the digest. Each source's rate is measured over the times in which something was asked of it;
 * from it follow the time that it is given and, when all is asked for, what counts as late.
 */
#include "agent/core/backoff.h"
#include "agent/core/fetch_state.h"

enum {
	RATE_WINDOW_MS = 1000,
	RATE_FORGET_MS = 5000,
	SOURCE_WINDOW_MS = 250,
};

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

static void count_source_rate(struct fetch_source *s, uint64_t size, uint64_t now_ms)
{
	uint64_t span = now_ms - s->window_ms, sample;

	s->window_bytes += size;
	if (span < SOURCE_WINDOW_MS && s->rate)
		return;
	sample = s->window_bytes * 1000 / (span ? span : 1);
	s->rate = s->rate ? (s->rate + sample) / 2 : sample;
	s->window_bytes = 0;
	s->window_ms = now_ms;
}

/* The request that this answers: for the chunk, else for any. */
static struct fetch_open *find_open(struct fetch_source *s, uint32_t c)
{
	struct fetch_open *any = NULL;

	for (uint32_t i = 0; s->open && i < FETCH_REQUESTS; i++) {
		if (s->requests[i].chunk == c)
			return &s->requests[i];
		if (s->requests[i].chunk == FETCH_ANY)
			any = &s->requests[i];
	}
	return any;
}

/* Answers come in order: who sends at all is given time for the next one. */
static void heard(struct fetch *f, struct fetch_source *s, uint32_t c, uint64_t now_ms)
{
	struct fetch_open *q = find_open(s, c);

	count_source_rate(s, f->sizes[c], now_ms);
	s->strikes = 0;
	s->told = false;
	s->rest_until_ms = 0;
	if (q)
		fetch_close(f, s, q);
	for (uint32_t i = 0; s->open && i < FETCH_REQUESTS; i++)
		if (s->requests[i].chunk != FETCH_FREE)
			fetch_set_times(s, &s->requests[i], now_ms);
}

enum fetch_answer fetch_received(struct fetch *fetch, uint32_t id, uint32_t chunk, uint64_t now_ms)
{
	struct fetch_source *s = fetch_find_source(fetch, id);
	bool fresh;

	if (chunk >= fetch->count)
		return FETCH_DUPLICATE;
	fresh = s && s->role == FETCH_SEED && fetch->live[chunk] == 0;
	if (s && !s->out)
		heard(fetch, s, chunk, now_ms);
	if (fetch_bit(fetch->done, chunk)) {
		fetch->bytes_duplicate += fetch->sizes[chunk];
		return FETCH_DUPLICATE;
	}
	fetch_finish(fetch, chunk);
	count_rate(fetch, fetch->sizes[chunk], now_ms);
	fetch->unseen_count += fresh;
	fetch_put_bit(fetch->unseen, chunk, fresh);
	return FETCH_TAKEN;
}

void fetch_received_bad(struct fetch *fetch, uint32_t id)
{
	struct fetch_source *s = fetch_find_source(fetch, id);

	if (s && !s->out)
		fetch_throw_out(fetch, s, FETCH_BAD);
}

/* The request ends without the chunk; who was asked before may be asked past again. */
static void give_chunk_back(struct fetch *f, struct fetch_source *s, uint32_t c)
{
	for (uint32_t k = 0; s->open && k < FETCH_REQUESTS; k++)
		if (s->requests[k].chunk == c)
			fetch_close(f, s, &s->requests[k]);
	if (c == FETCH_ANY)
		return;
	for (uint32_t i = 0; i < f->sources_count; i++)
		for (uint32_t k = 0; f->sources[i].open && k < FETCH_REQUESTS; k++)
			if (f->sources[i].requests[k].chunk == c)
				f->sources[i].requests[k].again = false;
	fetch_todo_add(f, c);
}

void fetch_received_missing(struct fetch *fetch, uint32_t id, uint32_t chunk)
{
	struct fetch_source *s = fetch_find_source(fetch, id);
	bool said;

	if (!s || s->out || chunk >= fetch->count)
		return;
	said = fetch_bit(s->has, chunk);
	give_chunk_back(fetch, s, chunk);
	fetch_set_has(fetch, s, chunk, false);
	if (s->kind == FETCH_PEER && said && ++s->lies == FETCH_LIES)
		fetch_throw_out(fetch, s, FETCH_LIAR);
}

void fetch_received_refusal(struct fetch *fetch, uint32_t id, uint32_t chunk, uint64_t now_ms)
{
	struct fetch_source *s = fetch_find_source(fetch, id);

	if (!s || (chunk >= fetch->count && chunk != FETCH_ANY))
		return;
	give_chunk_back(fetch, s, chunk);
	s->rest_until_ms = now_ms + FETCH_PATIENCE_MS;
}

void fetch_received_later(struct fetch *fetch, uint32_t id, uint32_t chunk, uint64_t now_ms)
{
	struct fetch_source *s = fetch_find_source(fetch, id);

	if (!s || chunk >= fetch->count)
		return;
	give_chunk_back(fetch, s, chunk);
	fetch_put_bit(fetch->later, chunk, true);
	if (!fetch->later_until_ms)
		fetch->later_until_ms = now_ms + FETCH_LATER_MS;
}

/* ---- time ---- */

static void strike(struct fetch_source *s, uint64_t now_ms, uint64_t random)
{
	if (s->strikes < UINT8_MAX)
		s->strikes++;
	if (s->strikes < FETCH_STRIKES)
		return;
	s->rest_until_ms =
		now_ms + backoff_ms(LIMIT_BACKOFF_MIN_MS, LIMIT_BACKOFF_MAX_MS, s->strikes, random);
	if (!s->told)
		s->blames |= 1u << FETCH_STALLED;
	s->told = true;
}

void fetch_tick(struct fetch *fetch, uint64_t now_ms, uint64_t random)
{
	for (uint32_t i = 0; i < fetch->sources_count; i++) {
		struct fetch_source *s = &fetch->sources[i];
		bool late = false;

		for (uint32_t k = 0; s->open && k < FETCH_REQUESTS; k++) {
			uint32_t c = s->requests[k].chunk;

			if (c == FETCH_FREE || s->requests[k].cancel ||
			    now_ms < s->requests[k].deadline_ms)
				continue;
			late = true;
			fetch_cancel(fetch, s, &s->requests[k]);
			fetch_todo_add(fetch, c);
		}
		if (s->rest_until_ms && now_ms >= s->rest_until_ms)
			s->rest_until_ms = 0;
		if (late)
			strike(s, now_ms, random);
	}
	fetch->looked_ms = now_ms;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t source_deadline(const struct fetch *f, const struct fetch_source *s)
{
	uint64_t when = UINT64_MAX;

	for (uint32_t k = 0; s->open && k < FETCH_REQUESTS; k++) {
		const struct fetch_open *q = &s->requests[k];

		if (q->chunk == FETCH_FREE || q->cancel)
			continue;
		when = earlier(when, q->deadline_ms);
		if (f->todo_count <= FETCH_END && f->sources_count > 1 && !q->again &&
		    q->late_ms > f->looked_ms)
			when = earlier(when, q->late_ms);
	}
	if (!f->todo_count || !s->up || s->out)
		return when;
	if (s->rest_until_ms && !s->open)
		when = earlier(when, s->rest_until_ms);
	if (s->hold_until_ms > f->looked_ms)
		when = earlier(when, s->hold_until_ms);
	if (s->role == FETCH_RESERVE && s->useful && !s->open &&
	    fetch_patience_ms(f) > f->looked_ms)
		when = earlier(when, fetch_patience_ms(f));
	return when;
}

uint64_t fetch_deadline(const struct fetch *fetch)
{
	uint64_t when = UINT64_MAX;

	if (fetch->later_until_ms > fetch->looked_ms && fetch->todo_count)
		when = fetch->later_until_ms;
	for (uint32_t i = 0; i < fetch->sources_count; i++)
		when = earlier(when, source_deadline(fetch, &fetch->sources[i]));
	return when;
}

/* ---- what the shell asks ---- */

bool fetch_next_cancel(struct fetch *fetch, struct fetch_request *ret_request)
{
	for (uint32_t i = 0; fetch->cancels && i < fetch->sources_count; i++) {
		struct fetch_source *s = &fetch->sources[i];

		for (uint32_t k = 0; s->cancels && k < FETCH_REQUESTS; k++) {
			struct fetch_open *q = &s->requests[k];

			if (!q->cancel)
				continue;
			*ret_request = (struct fetch_request){s->id, q->chunk,
							      fetch->sizes[q->chunk], false};
			fetch_close(fetch, s, q);
			return true;
		}
	}
	return false;
}

bool fetch_next_blame(struct fetch *fetch, struct fetch_blame *ret_blame)
{
	for (uint32_t i = 0; i < fetch->sources_count; i++) {
		struct fetch_source *s = &fetch->sources[i];

		if (!s->blames)
			continue;
		*ret_blame =
			(struct fetch_blame){s->id, (enum fetch_fault)__builtin_ctz(s->blames)};
		s->blames &= (uint8_t)(s->blames - 1);
		return true;
	}
	return false;
}

enum fetch_state fetch_state(const struct fetch *fetch)
{
	if (fetch->done_count == fetch->count)
		return FETCH_COMPLETE;
	if (fetch->nowhere && fetch->had_origin)
		return FETCH_HOPELESS;
	if (fetch->open > fetch->cancels)
		return FETCH_RUNNING;
	for (uint32_t i = 0; i < fetch->sources_count; i++)
		if (fetch->sources[i].up && !fetch->sources[i].rest_until_ms &&
		    fetch->sources[i].useful)
			return FETCH_RUNNING;
	return FETCH_WAITING;
}

void fetch_progress(const struct fetch *fetch, uint64_t now_ms, struct fetch_progress *ret)
{
	bool quiet = !fetch->last_ms || now_ms - fetch->last_ms > RATE_FORGET_MS;

	*ret = (struct fetch_progress){
		.bytes_done = fetch->bytes_done,
		.bytes_total = fetch->bytes_total,
		.bytes_duplicate = fetch->bytes_duplicate,
		.chunks_done = fetch->done_count,
		.chunks_total = fetch->count,
		.rate = quiet ? 0 : fetch->rate,
		.open = fetch->open,
	};
}
