/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must always hold, checked from outside: the watcher keeps its own books of what was asked,
 * sent and taken, and never asks the cores.
 */
#include "tests/swarm/swarm.h"

#include <stdarg.h>
#include <stdio.h>

enum { BURST_MS = 250, DOWN_BURST_MS = 1000 };

void watch_violation(struct swarm *s, const char *format, ...)
{
	va_list args;

	if (s->violations++)
		return;
	va_start(args, format);
	vsnprintf(s->violation, sizeof(s->violation), format, args);
	va_end(args);
}

/* ---- rates: a leaky bucket of the watcher's own ---- */

static bool leaks(double *level, uint64_t *at, uint64_t now, double mbit, double burst_ms,
		  uint32_t bytes, uint32_t spare)
{
	double rate = mbit * 1e6 / 8, most = rate * burst_ms / 1000 + spare;
	double span = (double)(now - *at) / 1e9;

	*at = now;
	*level -= rate * span;
	if (*level < 0)
		*level = 0;
	*level += bytes;
	return *level <= most + rate / 1000; /* the cores count whole milliseconds */
}

/* ---- asking ---- */

static uint32_t size_of(const struct swarm *s, uint32_t chunk)
{
	return chunk == FETCH_ANY ? s->sizes[0] : s->sizes[chunk];
}

static void check_credit(struct swarm *s, const struct wire *w, uint32_t side)
{
	uint64_t credit = w->node[!side] == 0 ? FETCH_CREDIT_ORIGIN : FETCH_CREDIT_PEER;
	uint64_t least = 2 * s->sizes[0]; /* one always; two where there are few sources */

	if (w->side[side].open > (credit > least ? credit : least))
		watch_violation(s, "node %u has %llu bytes open at node %u", w->node[side],
				(unsigned long long)w->side[side].open, w->node[!side]);
}

void watch_request(struct swarm *s, uint32_t wire, uint32_t side, const struct fetch_request *q)
{
	struct wire *w = &s->wires[wire];
	uint32_t node = w->node[side], size = size_of(s, q->chunk);
	struct swarm_node *n = &s->nodes[node];
	struct watch *watch = &n->watch;
	double limit = s->about->limit_down_mbit;

	w->side[side].asked[w->side[side].asked_count++ % (2 * FETCH_REQUESTS)] = q->chunk;
	w->side[side].open += size;
	check_credit(s, w, side);
	if (limit > 0 && !leaks(&watch->down_level, &watch->down_at, s->now, limit, DOWN_BURST_MS,
				size, 2 * s->sizes[0]))
		watch_violation(s, "node %u asks for more than its limit", node);
	if (q->chunk == FETCH_ANY)
		return;
	if (watch->asked[q->chunk] == 0)
		watch->missing--;
	else if (!q->again)
		watch_violation(s, "node %u asks twice for chunk %u", node, q->chunk);
	else if (watch->missing > FETCH_END)
		watch_violation(s, "node %u asks again for chunk %u before the end", node,
				q->chunk);
	watch->asked[q->chunk]++;
}

static void close_chunk(struct swarm *s, uint32_t wire, uint32_t side, uint32_t i)
{
	struct wire_side *from = &s->wires[wire].side[side];
	struct watch *watch = &s->nodes[s->wires[wire].node[side]].watch;
	uint32_t chunk = from->asked[i];

	from->open -= size_of(s, chunk);
	from->asked[i] = from->asked[--from->asked_count];
	if (chunk == FETCH_ANY)
		return;
	if (--watch->asked[chunk] == 0 && !(watch->good[chunk / 64] >> (chunk % 64) & 1))
		watch->missing++;
}

static bool close_one(struct swarm *s, uint32_t wire, uint32_t side, uint32_t chunk)
{
	struct wire_side *from = &s->wires[wire].side[side];

	for (uint32_t i = 0; i < from->asked_count; i++)
		if (from->asked[i] == chunk) {
			close_chunk(s, wire, side, i);
			return true;
		}
	return false;
}

bool watch_closed(struct swarm *s, uint32_t wire, uint32_t side, uint32_t chunk)
{
	return close_one(s, wire, side, chunk) || close_one(s, wire, side, FETCH_ANY);
}

void watch_broken(struct swarm *s, uint32_t wire, uint32_t side)
{
	while (s->wires[wire].side[side].asked_count)
		close_chunk(s, wire, side, 0);
}

/* ---- sending and taking ---- */

void watch_taken(struct swarm *s, uint32_t node, uint32_t chunk, bool bad)
{
	struct watch *watch = &s->nodes[node].watch;

	if (bad)
		watch_violation(s, "node %u uses bytes of chunk %u that are wrong", node, chunk);
	if (watch->good[chunk / 64] >> (chunk % 64) & 1)
		watch_violation(s, "node %u takes chunk %u twice", node, chunk);
	watch->good[chunk / 64] |= 1ull << (chunk % 64);
	if (watch->asked[chunk] == 0)
		watch->missing--;
}

void watch_send(struct swarm *s, uint32_t wire, uint32_t side, uint32_t chunk)
{
	uint32_t node = s->wires[wire].node[side], to = s->wires[wire].node[!side];
	struct watch *watch = &s->nodes[node].watch;
	double limit = s->about->limit_up_mbit;

	if (s->nodes[to].revoked && s->wires[wire].up)
		watch_violation(s, "node %u serves node %u, which is not assigned the release",
				node, to);
	if (!s->nodes[node].corrupt && !(watch->good[chunk / 64] >> (chunk % 64) & 1))
		watch_violation(s, "node %u sends chunk %u, which it has not", node, chunk);
	if (node && limit > 0 &&
	    !leaks(&watch->up_level, &watch->up_at, s->now, limit, BURST_MS, s->sizes[chunk],
		   s->sizes[0]))
		watch_violation(s, "node %u sends more than its limit", node);
}

static uint32_t *given_to(struct swarm *s, uint32_t node)
{
	return s->given + (size_t)s->nodes[node].site * s->chunks;
}

void watch_fresh(struct swarm *s, uint32_t node, uint32_t chunk)
{
	uint32_t *given = given_to(s, node);

	if (given[chunk])
		watch_violation(s, "the origin gives chunk %u out again before all are out", chunk);
	given[chunk] = node;
}

void watch_left(struct swarm *s, uint32_t node)
{
	uint32_t *given = given_to(s, node);

	for (uint32_t c = 0; c < s->chunks; c++)
		if (given[c] == node)
			given[c] = 0;
}
