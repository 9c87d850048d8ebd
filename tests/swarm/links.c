/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time and links. Events at odd times are in a heap, those after the constant latency in a ring,
 * which is in order by itself; ties go by the order in which they were made, so a run is the same
 * every time. A downlink needs no events of its own: a segment that arrives waits until the link is
 * free, which is a number.
 */
#include "tests/swarm/swarm.h"
#include "base/mem.h"

#include <assert.h>

/* ---- events ---- */

static bool before(const struct swarm_event *a, const struct swarm_event *b)
{
	return a->at != b->at ? a->at < b->at : a->sequence < b->sequence;
}

void links_at(struct swarm *s, uint64_t at, enum swarm_kind kind, uint32_t a, uint32_t b,
	      uint64_t c, uint64_t d)
{
	struct swarm_event event = {at, s->sequence++, kind, a, b, c, d};
	uint32_t i = s->heap_count++;

	assert(at >= s->now);
	if (s->heap_count > s->heap_cap) {
		s->heap_cap = s->heap_cap ? 2 * s->heap_cap : 1024;
		s->heap = mem_resize(s->heap, s->heap_cap, sizeof(s->heap[0]));
	}
	for (; i && before(&event, &s->heap[(i - 1) / 4]); i = (i - 1) / 4)
		s->heap[i] = s->heap[(i - 1) / 4];
	s->heap[i] = event;
}

static struct swarm_event take_from_heap(struct swarm *s)
{
	struct swarm_event top = s->heap[0], last = s->heap[--s->heap_count];
	uint32_t i = 0;

	for (;;) {
		uint32_t least = 4 * i + 1;

		if (least >= s->heap_count)
			break;
		for (uint32_t k = least + 1; k < 4 * i + 5 && k < s->heap_count; k++)
			if (before(&s->heap[k], &s->heap[least]))
				least = k;
		if (!before(&s->heap[least], &last))
			break;
		s->heap[i] = s->heap[least];
		i = least;
	}
	s->heap[i] = last;
	return top;
}

static uint64_t latency(const struct swarm *s)
{
	return (uint64_t)(s->about->latency_ms * (double)SWARM_MS);
}

static void grow_line(struct swarm *s)
{
	uint32_t cap = s->line_cap ? 2 * s->line_cap : 1024;
	struct swarm_event *line = mem_array(cap, sizeof(*line));

	for (uint32_t i = 0; i < s->line_count; i++)
		line[i] = s->line[(s->line_first + i) % s->line_cap];
	free(s->line);
	s->line = line;
	s->line_first = 0;
	s->line_cap = cap;
}

void links_say(struct swarm *s, enum swarm_kind kind, uint32_t a, uint32_t b, uint64_t c,
	       uint64_t d)
{
	struct swarm_event event = {s->now + latency(s), s->sequence++, kind, a, b, c, d};

	if (s->line_count == s->line_cap)
		grow_line(s);
	s->line[(s->line_first + s->line_count++) % s->line_cap] = event;
}

bool links_next(struct swarm *s, struct swarm_event *ret_event)
{
	const struct swarm_event *front = s->line_count ? &s->line[s->line_first] : NULL;

	if (!front && !s->heap_count)
		return false;
	if (front && (!s->heap_count || before(front, &s->heap[0]))) {
		*ret_event = *front;
		s->line_first = (s->line_first + 1) % s->line_cap;
		s->line_count--;
	} else {
		*ret_event = take_from_heap(s);
	}
	s->now = ret_event->at;
	s->events++;
	return true;
}

/* ---- wires ---- */

uint32_t links_connect(struct swarm *s, uint32_t a, uint32_t b)
{
	if (s->wires_count == s->wires_cap) {
		s->wires_cap = s->wires_cap ? 2 * s->wires_cap : 256;
		s->wires = mem_resize(s->wires, s->wires_cap, sizeof(s->wires[0]));
	}
	s->wires[s->wires_count] = (struct wire){.node = {a, b}, .up = true};
	return s->wires_count++;
}

/* ---- data ---- */

static uint64_t takes(uint64_t bytes, uint64_t ns_per_mib)
{
	return (bytes * ns_per_mib) >> 20;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint32_t segment(const struct swarm *s, uint32_t left)
{
	uint32_t most = s->about->segment ? s->about->segment : 64 << 10;

	return left < most ? left : most;
}

static uint32_t side_of(const struct swarm *s, uint32_t wire, uint32_t node)
{
	return s->wires[wire].node[1] == node;
}

static void append(struct swarm *s, uint32_t node, uint32_t wire)
{
	struct swarm_node *n = &s->nodes[node];
	struct wire_side *side = &s->wires[wire].side[side_of(s, wire, node)];

	side->next = SWARM_NONE;
	side->active = true;
	if (n->first == SWARM_NONE)
		n->first = wire;
	else
		s->wires[n->last].side[side_of(s, n->last, node)].next = wire;
	n->last = wire;
}

static uint32_t take_first(struct swarm *s, uint32_t node)
{
	struct swarm_node *n = &s->nodes[node];
	uint32_t wire = n->first;
	struct wire_side *side = &s->wires[wire].side[side_of(s, wire, node)];

	n->first = side->next;
	side->active = false;
	return wire;
}

static void start(struct swarm *s, uint32_t node)
{
	struct swarm_node *n = &s->nodes[node];
	struct wire_side *side;

	if (n->busy)
		return;
	while (n->first != SWARM_NONE && !s->wires[n->first].up)
		take_first(s, node); /* what was queued is lost with the connection */
	if (n->first == SWARM_NONE || n->stalled || n->killed)
		return;
	side = &s->wires[n->first].side[side_of(s, n->first, node)];
	n->busy = true;
	links_at(s, s->now + takes(segment(s, side->left), n->ns_per_mib_up), AT_UPLINK, node, 0, 0,
		 0);
}

void links_send(struct swarm *s, uint32_t wire, uint32_t side, uint32_t chunk, bool bad)
{
	struct wire_side *from = &s->wires[wire].side[side];
	uint32_t node = s->wires[wire].node[side];

	assert(from->count < SWARM_QUEUE);
	if (from->count == 0)
		from->left = s->sizes[chunk];
	from->queued[(from->first + from->count++) % SWARM_QUEUE] = chunk | (bad ? CHUNK_BAD : 0);
	if (!from->active)
		append(s, node, wire);
	start(s, node);
}

static void into_node(struct swarm *s, uint32_t wire, uint32_t side, uint64_t bytes, uint64_t chunk)
{
	struct swarm_node *n = &s->nodes[s->wires[wire].node[side]];
	uint64_t at = s->now + latency(s);

	n->down_free = later(at, n->down_free) + takes(bytes, n->ns_per_mib_down);
	if (chunk != SWARM_NONE)
		links_at(s, n->down_free, AT_ARRIVE, wire, side, chunk, 0);
}

/* A segment on its way; chunk is SWARM_NONE unless it is the last of one. */
static void propagate(struct swarm *s, uint32_t wire, uint32_t side, uint64_t bytes, uint64_t chunk)
{
	uint32_t from = s->nodes[s->wires[wire].node[!side]].site;
	uint32_t to = s->nodes[s->wires[wire].node[side]].site;
	uint64_t at = s->now;

	if (from == to) {
		into_node(s, wire, side, bytes, chunk);
		return;
	}
	if (from) {
		s->sites[from].free_out =
			later(at, s->sites[from].free_out) + takes(bytes, s->ns_per_mib_site);
		s->sites[from].bytes += bytes;
		at = s->sites[from].free_out;
	}
	links_at(s, at, AT_SITE, wire, side, bytes, chunk);
}

void links_on_site(struct swarm *s, const struct swarm_event *event)
{
	uint32_t to = s->nodes[s->wires[event->a].node[event->b]].site;
	struct site_link *link = &s->sites[to];
	uint64_t now = s->now;

	if (to) {
		link->bytes += event->c;
		link->free_in = later(now, link->free_in) + takes(event->c, s->ns_per_mib_site);
		s->now = link->free_in; /* the downlink behind it begins then */
	}
	into_node(s, event->a, event->b, event->c, event->d);
	s->now = now;
}

void links_on_uplink(struct swarm *s, uint32_t node)
{
	struct swarm_node *n = &s->nodes[node];
	uint32_t wire = take_first(s, node), side = side_of(s, wire, node);
	struct wire_side *from = &s->wires[wire].side[side];
	uint32_t bytes = segment(s, from->left), chunk = from->queued[from->first];

	n->busy = false;
	if (s->wires[wire].up) {
		from->left -= bytes;
		propagate(s, wire, !side, bytes, from->left ? SWARM_NONE : chunk);
		if (from->left == 0) {
			from->first = (from->first + 1) % SWARM_QUEUE;
			if (--from->count)
				from->left = s->sizes[from->queued[from->first] & ~CHUNK_BAD];
		}
		if (from->count)
			append(s, node, wire);
	}
	start(s, node);
}
