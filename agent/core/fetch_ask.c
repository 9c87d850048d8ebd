/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom to ask for what. Sources take turns; each is filled up to its credit. What it is asked for
 * is the rarest of a sample that begins at a random place. At the end, when next to nothing is left
 * that nobody was asked for, a source with nothing to do is asked for what is late elsewhere, or
 * what it brings much sooner: both by the measured rates, because any fixed time is too short for
 * one link and wastes the other.
 */
#include "agent/core/fetch_state.h"

enum {
	AHEAD_MS = 200,
	AHEAD_ALL_MS = 500,
	FEW_SOURCES = 4, /* so few have to be kept busy across a round trip each */
	LATE_MIN_MS = 150,
	LATE_UNKNOWN_MS = 2500,
	RATE_MIN = 64 << 10, /* bytes a second that a source is given time for */
};

/* ---- choice of the chunk ---- */

struct sample {
	uint32_t left, best, live;
};

/* The candidates of one word, lowest bit first. */
static void look(const struct fetch *f, uint64_t word, uint32_t base, bool alone, struct sample *t)
{
	for (; word && t->left; word &= word - 1) {
		uint32_t c = base + (uint32_t)__builtin_ctzll(word);

		if (alone && f->live[c])
			continue;
		t->left--;
		if (f->live[c] < t->live) {
			t->live = f->live[c];
			t->best = c;
		}
	}
}

/* What a source could be asked for, of one word. */
static uint64_t candidates(const struct fetch *f, const struct fetch_source *s, uint32_t word)
{
	uint64_t bits = f->todo[word] & s->has[word];

	return s->kind == FETCH_ORIGIN ? bits & ~f->later[word] : bits;
}

/* The rarest of a sample; alone: only what no neighbour has. */
static uint32_t choose(const struct fetch *f, const struct fetch_source *s, bool alone,
		       uint64_t random)
{
	uint32_t start = (uint32_t)(random % f->count), at = start / 64;
	struct sample t = {FETCH_SAMPLE, FETCH_FREE, UINT32_MAX};
	uint64_t above = UINT64_MAX << (start % 64);

	look(f, candidates(f, s, at) & above, at * 64, alone, &t);
	for (uint32_t i = 1; i < f->words && t.left; i++) {
		uint32_t w = (at + i) % f->words;

		look(f, candidates(f, s, w), w * 64, alone, &t);
	}
	look(f, candidates(f, s, at) & ~above, at * 64, alone, &t);
	return t.best;
}

/* ---- whether to ask ---- */

static uint32_t requests_limit(const struct fetch_source *s)
{
	if (s->strikes)
		return 1;
	return s->kind == FETCH_ORIGIN ? LIMIT_FETCH_REQUESTS : FETCH_REQUESTS;
}

/* More than AHEAD_MS of what a source delivers only waits there, while others could have sent it.
 */
static uint64_t credit_of(const struct fetch_source *s)
{
	uint64_t ahead = s->rate * AHEAD_MS / 1000;

	return s->rate && s->role != FETCH_SEED && ahead < s->credit ? ahead : s->credit;
}

/* One chunk open at each source leaves some senders idle while others have a queue. Where the sources
 * are everybody there is more, as far as all together are no more than comes in AHEAD_ALL_MS. */
static bool may_double(const struct fetch *f, const struct fetch_source *s, uint32_t size)
{
	if (s->open == 1 && f->sources_count <= FEW_SOURCES)
		return true;
	return f->all && s->kind == FETCH_PEER && s->asked_bytes + size <= s->credit &&
	       f->asked_bytes + size <= f->rate * AHEAD_ALL_MS / 1000;
}

static bool has_room(const struct fetch *f, const struct fetch_source *s, uint32_t size)
{
	if (s->open == 0)
		return true;
	if (s->open >= requests_limit(s))
		return false;
	return s->asked_bytes + size <= credit_of(s) || may_double(f, s, size);
}

static bool may_ask(const struct fetch_source *s, uint64_t now_ms)
{
	return s->up && !s->out && s->open < requests_limit(s) && now_ms >= s->rest_until_ms &&
	       now_ms >= s->hold_until_ms;
}

static uint32_t choose_any(const struct fetch *f, const struct fetch_source *s)
{
	return f->any_open < f->todo_count && has_room(f, s, f->largest) ? FETCH_ANY : FETCH_FREE;
}

static uint32_t choose_for(const struct fetch *f, const struct fetch_source *s, uint64_t now_ms,
			   uint64_t random)
{
	uint32_t c = FETCH_FREE;

	switch (s->role) {
	case FETCH_SEED:
		return choose_any(f, s);
	case FETCH_NEIGHBOUR:
		c = s->useful ? choose(f, s, false, random) : FETCH_FREE;
		break;
	case FETCH_RESERVE:
		if (s->useful && now_ms >= fetch_patience_ms(f))
			c = choose(f, s, true, random);
		break;
	}
	return c != FETCH_FREE && has_room(f, s, f->sizes[c]) ? c : FETCH_FREE;
}

/* ---- asking ---- */

static uint64_t expected_ms(const struct fetch_source *s)
{
	return s->rate ? s->asked_bytes * 1000 / s->rate : LATE_UNKNOWN_MS;
}

/* Time for everything that is open at the source: as it was measured, with a margin. */
static uint64_t timeout_ms(const struct fetch_source *s)
{
	uint64_t wait;

	if (!s->rate)
		wait = FETCH_TIMEOUT_MS + s->asked_bytes * 1000 / RATE_MIN;
	else
		wait = FETCH_TIMEOUT_MIN_MS + 4 * expected_ms(s);
	return wait < FETCH_TIMEOUT_MAX_MS ? wait : FETCH_TIMEOUT_MAX_MS;
}

void fetch_set_times(struct fetch_source *s, struct fetch_open *q, uint64_t now_ms)
{
	bool any = q->chunk == FETCH_ANY; /* keeps nothing from anybody: may take any time */

	q->due_ms = now_ms + expected_ms(s);
	q->late_ms = any ? UINT64_MAX : q->due_ms + LATE_MIN_MS;
	q->deadline_ms = any ? UINT64_MAX : now_ms + timeout_ms(s);
}

static void open_request(struct fetch *f, struct fetch_source *s, uint32_t c, uint64_t now_ms)
{
	struct fetch_open *q = s->requests;

	while (q->chunk != FETCH_FREE)
		q++;
	if (c == FETCH_ANY)
		f->any_open++;
	else
		fetch_todo_remove(f, c);
	if (s->open == 0) {
		s->window_ms = now_ms;
		s->window_bytes = 0;
	}
	if (!f->began_ms)
		f->began_ms = now_ms;
	s->asked_bytes += fetch_request_size(f, c);
	f->asked_bytes += s->kind == FETCH_PEER ? fetch_request_size(f, c) : 0;
	s->open++;
	f->open++;
	*q = (struct fetch_open){.chunk = c};
	fetch_set_times(s, q, now_ms);
}

/* ---- end-game ---- */

static bool better(const struct fetch_source *s, const struct fetch_source *best)
{
	if (!best || (s->strikes == 0) != (best->strikes == 0))
		return !best || s->strikes == 0;
	return s->rate > best->rate;
}

static struct fetch_source *idle_source(struct fetch *f, uint32_t c, uint64_t now_ms)
{
	struct fetch_source *best = NULL;

	for (uint32_t i = 0; i < f->sources_count; i++) {
		struct fetch_source *s = &f->sources[i];

		if (s->open == 0 && may_ask(s, now_ms) && s->role == FETCH_NEIGHBOUR &&
		    fetch_bit(s->has, c) && better(s, best) &&
		    !(s->kind == FETCH_ORIGIN && fetch_bit(f->later, c)))
			best = s;
	}
	return best;
}

/* How much sooner `to` would bring it, in ms; 0: not worth two copies. */
static uint64_t gain(const struct fetch *f, const struct fetch_open *q,
		     const struct fetch_source *to, uint64_t now_ms)
{
	uint64_t there = now_ms + LATE_MIN_MS;

	if (now_ms >= q->due_ms + LATE_MIN_MS)
		return UINT64_MAX;
	if (!to->rate || to->strikes)
		return 0;
	there += f->sizes[q->chunk] * 1000ull / to->rate;
	return q->due_ms > there ? q->due_ms - there : 0;
}

/* The request for which asking another source gains most; the other is late in its turn. */
static struct fetch_open *find_late(struct fetch *f, uint64_t now_ms, struct fetch_source **ret_to)
{
	struct fetch_open *late = NULL;
	uint64_t most = 0;

	for (uint32_t i = 0; i < f->sources_count; i++) {
		struct fetch_source *s = &f->sources[i], *to;

		for (uint32_t k = 0; s->open && k < FETCH_REQUESTS; k++) {
			struct fetch_open *q = &s->requests[k];

			if (q->chunk == FETCH_FREE || q->chunk == FETCH_ANY || q->again ||
			    q->cancel)
				continue;
			if (now_ms >= q->late_ms)
				q->late_ms = now_ms + LATE_MIN_MS;
			to = idle_source(f, q->chunk, now_ms);
			if (!to || gain(f, q, to, now_ms) <= most)
				continue;
			most = gain(f, q, to, now_ms);
			late = q;
			*ret_to = to;
		}
	}
	return late;
}

static bool ask_again(struct fetch *f, uint64_t now_ms, struct fetch_request *ret_request)
{
	struct fetch_source *to = NULL;
	struct fetch_open *late = find_late(f, now_ms, &to);

	if (!late)
		return false;
	late->again = true;
	open_request(f, to, late->chunk, now_ms);
	*ret_request = (struct fetch_request){to->id, late->chunk, f->sizes[late->chunk], true};
	return true;
}

bool fetch_next(struct fetch *fetch, uint64_t now_ms, uint64_t random,
		struct fetch_request *ret_request)
{
	if (fetch->later_until_ms && now_ms >= fetch->later_until_ms) {
		memset(fetch->later, 0, fetch->words * sizeof(fetch->later[0]));
		fetch->later_until_ms = 0;
	}
	for (uint32_t i = 0; i < fetch->sources_count && fetch->todo_count; i++) {
		uint32_t at = (fetch->turn + i) % fetch->sources_count, c;
		struct fetch_source *s = &fetch->sources[at];

		if (s->hold)
			s->hold_until_ms = now_ms + FETCH_HOLD_MS +
					   fetch->sources_count * FETCH_HOLD_EACH_MS;
		s->hold = false;
		if (!may_ask(s, now_ms) || !has_room(fetch, s, fetch->smallest))
			continue;
		c = choose_for(fetch, s, now_ms, random);
		if (c == FETCH_FREE)
			continue;
		open_request(fetch, s, c, now_ms);
		fetch->turn = (at + 1) % fetch->sources_count;
		*ret_request =
			(struct fetch_request){s->id, c, fetch_request_size(fetch, c), false};
		return true;
	}
	if (fetch->todo_count <= FETCH_END && fetch->open && ask_again(fetch, now_ms, ret_request))
		return true;
	fetch->looked_ms = now_ms;
	return false;
}
