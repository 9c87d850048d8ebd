/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom to ask for what. Of a random sample of the chunks to do the one that the fewest live sources
 * have is asked first (rarest first, as BitTorrent does it: Cohen, "Incentives Build Robustness in
 * BitTorrent", 2003). With the origin alone every chunk is as rare as the next, and the draw
 * spreads a fleet's nodes over the release. Answers that come late are still taken: what counts is
 * the digest.
 */
#include "agent/core/backoff.h"
#include "agent/core/fetch_state.h"

enum {
	SAMPLE = 24,
	RATE_MIN = 64 << 10, /* bytes a second that a source is given time for */
	RATE_WINDOW_MS = 1000,
	RATE_FORGET_MS = 5000,
};

static uint32_t rarer(const struct fetch *f, const struct fetch_source *s, uint32_t best,
		      uint32_t c)
{
	if (!fetch_has(s, c))
		return best;
	return best == FETCH_NONE || f->chunks[c].live < f->chunks[best].live ? c : best;
}

static uint32_t choose(const struct fetch *f, const struct fetch_source *s, uint64_t random)
{
	uint32_t start = (uint32_t)(random % f->todo_count), best = FETCH_NONE;
	uint32_t step = (uint32_t)(random >> 32) % f->todo_count + 1;

	for (uint32_t i = 0, at = start; i < SAMPLE; i++, at = (at + step) % f->todo_count)
		best = rarer(f, s, best, f->todo[at]);
	for (uint32_t i = 0; best == FETCH_NONE && i < f->todo_count; i++)
		best = rarer(f, s, best, f->todo[(start + i) % f->todo_count]);
	return best;
}

static bool may_ask(const struct fetch_source *s, uint64_t now_ms)
{
	uint32_t limit = s->strikes ? 1 : LIMIT_FETCH_REQUESTS;

	return s->up && !s->out && now_ms >= s->rest_until_ms && s->open < limit;
}

static uint64_t timeout_ms(const struct fetch_source *s)
{
	uint64_t wait = FETCH_TIMEOUT_MS + s->asked_bytes * 1000 / RATE_MIN;

	return wait < FETCH_TIMEOUT_MAX_MS ? wait : FETCH_TIMEOUT_MAX_MS;
}

static void ask(struct fetch *f, struct fetch_source *s, uint32_t c, uint64_t now_ms)
{
	for (size_t i = 0; i < LIMIT_FETCH_REQUESTS; i++) {
		if (s->requests[i].chunk != FETCH_NONE)
			continue;
		fetch_todo_remove(f, c);
		s->asked_bytes += f->chunks[c].size;
		s->open++;
		f->open++;
		s->requests[i] = (struct fetch_open){c, now_ms + timeout_ms(s)};
		return;
	}
}

bool fetch_next(struct fetch *fetch, uint64_t now_ms, uint64_t random,
		struct fetch_request *ret_request)
{
	for (uint32_t i = 0; i < fetch->sources_count && fetch->todo_count; i++) {
		uint32_t at = (fetch->turn + i) % fetch->sources_count, c;
		struct fetch_source *s = &fetch->sources[at];

		if (!may_ask(s, now_ms))
			continue;
		c = choose(fetch, s, random);
		if (c == FETCH_NONE)
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
	struct fetch_source *s = fetch_find_source(fetch, id);
	uint32_t c = fetch_find(fetch, digest);

	if (c == FETCH_NONE)
		return FETCH_UNASKED;
	if (fetch->chunks[c].done)
		return FETCH_DUPLICATE;
	fetch_finish(fetch, c);
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
	struct fetch_source *s = fetch_find_source(fetch, id);

	(void)digest;
	if (!s || s->out)
		return;
	fetch_give_back(fetch, s);
	for (uint32_t c = 0; c < fetch->count; c++)
		fetch_set_has(fetch, s, c, false);
	s->out = true;
	s->up = false;
}

void fetch_received_missing(struct fetch *fetch, uint32_t id, const struct digest *digest)
{
	struct fetch_source *s = fetch_find_source(fetch, id);
	uint32_t c = fetch_find(fetch, digest);

	if (!s || c == FETCH_NONE)
		return;
	for (size_t i = 0; i < LIMIT_FETCH_REQUESTS; i++)
		if (s->requests[i].chunk == c) {
			fetch_close(fetch, s, &s->requests[i]);
			fetch_todo_add(fetch, c);
		}
	fetch_set_has(fetch, s, c, false);
}

void fetch_tick(struct fetch *fetch, uint64_t now_ms, uint64_t random)
{
	for (uint32_t i = 0; i < fetch->sources_count; i++) {
		struct fetch_source *s = &fetch->sources[i];
		bool late = false;

		for (size_t k = 0; k < LIMIT_FETCH_REQUESTS; k++) {
			uint32_t c = s->requests[k].chunk;

			if (c == FETCH_NONE || now_ms < s->requests[k].deadline_ms)
				continue;
			late = true;
			fetch_close(fetch, s, &s->requests[k]);
			fetch_todo_add(fetch, c);
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
		const struct fetch_source *s = &fetch->sources[i];

		for (size_t k = 0; k < LIMIT_FETCH_REQUESTS; k++)
			if (s->requests[k].chunk != FETCH_NONE && s->requests[k].deadline_ms < when)
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
				if (fetch_has(&fetch->sources[i], fetch->todo[k]))
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
