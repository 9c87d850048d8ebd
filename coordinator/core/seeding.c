/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For each release and group a shuffled list of what is not out yet, taken from its end, and the
 * chunks' places in it, so that one can also be taken by name and put back. An "any" waits in the
 * uplink without a chunk: it is chosen when it is really sent, so that a slow node never holds what
 * nobody has.
 */
#include "coordinator/core/seeding.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/uplink.h"

#include <assert.h>
#include <errno.h>

enum { OUT = UINT32_MAX };

struct group {
	uint32_t *order; /* chunks that are not out */
	uint32_t *place; /* chunk -> index in order; OUT */
	uint32_t *at_ms; /* when it last went there, cut to 32 bits; 0: never */
	uint32_t left, repeat_ms;
};

struct release {
	const uint32_t *sizes;
	uint32_t count, largest;
	struct group *groups;
};

struct gift {
	uint32_t release, chunk;
	uint64_t at_ms, sent; /* bytes that the node was sent up to its end */
};

struct node {
	bool joined, neighbour;
	uint32_t group;
	uint32_t gifts_count; /* ever; a ring */
	uint64_t sent, taken;
	struct gift gifts[SEEDING_RECENT];
};

struct seeding {
	struct uplink *uplink;
	struct rng rng;
	struct node *nodes;
	uint32_t nodes_count, groups, neighbours;
	struct release releases[SEEDING_RELEASES];
};

static uint64_t item_of(uint32_t release, uint32_t chunk)
{
	return (uint64_t)release << 32 | chunk;
}

struct seeding *seeding_create(uint32_t nodes, uint32_t groups, uint64_t seed)
{
	struct seeding *s = mem_alloc(sizeof(*s));

	assert(groups > 0);
	s->uplink = uplink_create(nodes, nodes * LIMIT_FETCH_REQUESTS);
	s->rng.state = seed;
	s->nodes = mem_array(nodes + 1, sizeof(s->nodes[0]));
	s->nodes_count = nodes;
	s->groups = groups;
	return s;
}

void seeding_free(struct seeding *seeding)
{
	if (!seeding)
		return;
	for (uint32_t i = 0; i < SEEDING_RELEASES; i++)
		seeding_close(seeding, i);
	uplink_free(seeding->uplink);
	free(seeding->nodes);
	free(seeding);
}

void seeding_set_rate(struct seeding *seeding, uint64_t bytes_per_s, uint64_t now_ms)
{
	uplink_set_rate(seeding->uplink, bytes_per_s, now_ms);
}

/* ---- what is out ---- */

static void set_place(struct group *g, uint32_t at, uint32_t chunk)
{
	g->order[at] = chunk;
	g->place[chunk] = at;
}

static void take_out(struct group *g, uint32_t chunk)
{
	uint32_t at = g->place[chunk];

	if (at == OUT)
		return;
	g->left--;
	set_place(g, at, g->order[g->left]);
	g->place[chunk] = OUT;
}

static void put_back(struct seeding *s, struct group *g, uint32_t chunk)
{
	uint32_t at;

	if (g->place[chunk] != OUT)
		return;
	set_place(g, g->left++, chunk);
	at = (uint32_t)rng_below(&s->rng, g->left);
	set_place(g, g->left - 1, g->order[at]);
	set_place(g, at, chunk);
}

static void open_group(struct seeding *s, struct group *g, uint32_t count, bool thin)
{
	g->order = mem_array(count + 1, sizeof(g->order[0]));
	g->place = mem_array(count + 1, sizeof(g->place[0]));
	g->at_ms = mem_array(count + 1, sizeof(g->at_ms[0]));
	g->repeat_ms = thin ? SEEDING_REPEAT_THIN_MS : SEEDING_REPEAT_MS;
	g->left = count;
	for (uint32_t c = 0; c < count; c++)
		g->order[c] = c;
	rng_shuffle(&s->rng, g->order, count);
	for (uint32_t at = 0; at < count; at++)
		g->place[g->order[at]] = at;
}

void seeding_open(struct seeding *seeding, uint32_t release, const uint32_t *sizes, uint32_t count)
{
	struct release *r = &seeding->releases[release];

	assert(release < SEEDING_RELEASES && !r->groups && count < OUT);
	*r = (struct release){.sizes = sizes, .count = count};
	r->groups = mem_array(seeding->groups, sizeof(r->groups[0]));
	for (uint32_t c = 0; c < count; c++)
		r->largest = sizes[c] > r->largest ? sizes[c] : r->largest;
	for (uint32_t i = 0; i < seeding->groups; i++)
		open_group(seeding, &r->groups[i], count, i > 0);
}

void seeding_close(struct seeding *seeding, uint32_t release)
{
	struct release *r = &seeding->releases[release];

	assert(release < SEEDING_RELEASES);
	if (!r->groups)
		return;
	for (uint32_t i = 0; i < seeding->nodes_count; i++)
		uplink_drop(seeding->uplink, i, item_of(UINT32_MAX, 0), item_of(release, 0));
	for (uint32_t i = 0; i < seeding->groups; i++) {
		free(r->groups[i].order);
		free(r->groups[i].place);
		free(r->groups[i].at_ms);
	}
	free(r->groups);
	*r = (struct release){0};
}

/* ---- nodes ---- */

void seeding_join(struct seeding *seeding, uint32_t node, uint32_t group)
{
	struct node *n = &seeding->nodes[node];

	assert(node < seeding->nodes_count && group < seeding->groups && !n->joined);
	*n = (struct node){.joined = true, .group = group};
	n->neighbour = group == 0 && seeding->neighbours < SEEDING_NEIGHBOURS;
	seeding->neighbours += n->neighbour;
	uplink_join(seeding->uplink, node);
}

void seeding_leave(struct seeding *seeding, uint32_t node, uint64_t now_ms)
{
	struct node *n = &seeding->nodes[node];

	assert(node < seeding->nodes_count);
	if (!n->joined)
		return;
	for (uint32_t i = 0; i < SEEDING_RECENT && i < n->gifts_count; i++) {
		const struct gift *gift = &n->gifts[i];
		const struct release *r = &seeding->releases[gift->release];

		if (r->groups && gift->chunk < r->count &&
		    (gift->sent > n->taken || now_ms < gift->at_ms + SEEDING_RECENT_MS))
			put_back(seeding, &r->groups[n->group], gift->chunk);
	}
	seeding->neighbours -= n->neighbour;
	uplink_leave(seeding->uplink, node);
	*n = (struct node){0};
}

int seeding_have(struct seeding *seeding, uint32_t node, uint32_t release, const uint8_t *bits,
		 size_t size)
{
	const struct node *n = &seeding->nodes[node];
	const struct release *r = &seeding->releases[release];

	assert(node < seeding->nodes_count && release < SEEDING_RELEASES);
	if (!n->joined || !r->groups || size != (r->count + 7) / 8)
		return -EINVAL;
	for (uint32_t c = 0; c < r->count; c++)
		if (bits[c / 8] >> (c % 8) & 1)
			take_out(&r->groups[n->group], c);
	return 0;
}

void seeding_behind(struct seeding *seeding, uint32_t node, bool behind)
{
	uplink_set_after(seeding->uplink, node, behind);
}

bool seeding_is_neighbour(const struct seeding *seeding, uint32_t node)
{
	return node < seeding->nodes_count && seeding->nodes[node].neighbour;
}

/* ---- requests ---- */

static bool is_repeat(const struct group *g, uint32_t chunk, uint64_t now_ms)
{
	return g->place[chunk] == OUT && g->at_ms[chunk] &&
	       (uint32_t)now_ms - g->at_ms[chunk] < g->repeat_ms;
}

/* 1 beside 0, which means never. */
static void note_sent(struct group *g, uint32_t chunk, uint64_t now_ms)
{
	g->at_ms[chunk] = (uint32_t)now_ms | 1;
}

enum seeding_answer seeding_ask(struct seeding *seeding, uint32_t node, uint32_t release,
				uint32_t chunk, uint64_t now_ms)
{
	const struct release *r = &seeding->releases[release % SEEDING_RELEASES];
	struct group *g;

	if (node >= seeding->nodes_count || !seeding->nodes[node].joined ||
	    release >= SEEDING_RELEASES || !r->groups ||
	    (chunk != SEEDING_ANY && chunk >= r->count) ||
	    uplink_waiting(seeding->uplink, node) >= LIMIT_FETCH_REQUESTS)
		return SEEDING_REFUSED;
	g = &r->groups[seeding->nodes[node].group];
	if (chunk == SEEDING_ANY && g->left == 0)
		return SEEDING_ALL_OUT;
	if (chunk != SEEDING_ANY && is_repeat(g, chunk, now_ms))
		return SEEDING_LATER;
	if (uplink_push(seeding->uplink, node, item_of(release, chunk),
			chunk == SEEDING_ANY ? r->largest : r->sizes[chunk]) < 0)
		return SEEDING_REFUSED;
	if (chunk != SEEDING_ANY) {
		take_out(g, chunk);
		note_sent(g, chunk, now_ms);
	}
	return SEEDING_QUEUED;
}

void seeding_cancel(struct seeding *seeding, uint32_t node, uint32_t release, uint32_t chunk)
{
	uplink_drop(seeding->uplink, node, UINT64_MAX, item_of(release, chunk));
}

/* The chunk for an "any" whose turn has come; SEEDING_ANY: none is left. */
static uint32_t give(const struct release *r, const struct node *n)
{
	struct group *g = &r->groups[n->group];
	uint32_t chunk;

	if (g->left == 0)
		return SEEDING_ANY;
	chunk = g->order[g->left - 1];
	take_out(g, chunk);
	return chunk;
}

bool seeding_next(struct seeding *seeding, uint64_t now_ms, struct seeding_send *ret_send)
{
	struct uplink_item item;
	struct seeding_send send;
	const struct release *r;
	struct node *n;

	if (!uplink_next(seeding->uplink, now_ms, &item))
		return false;
	n = &seeding->nodes[item.peer];
	send = (struct seeding_send){item.peer, (uint32_t)(item.item >> 32), (uint32_t)item.item,
				     item.size, (uint32_t)item.item == SEEDING_ANY};
	r = &seeding->releases[send.release];
	if (send.fresh) {
		send.chunk = give(r, n);
		send.size = send.chunk == SEEDING_ANY ? 0 : r->sizes[send.chunk];
		uplink_correct(seeding->uplink, &item, send.size);
	}
	n->sent += send.size;
	if (send.chunk != SEEDING_ANY)
		note_sent(&r->groups[n->group], send.chunk, now_ms);
	if (send.chunk != SEEDING_ANY)
		n->gifts[n->gifts_count++ % SEEDING_RECENT] =
			(struct gift){send.release, send.chunk, now_ms, n->sent};
	*ret_send = send;
	return true;
}

bool seeding_taken(struct seeding *seeding, uint32_t node, uint64_t total, uint64_t now_ms)
{
	if (node >= seeding->nodes_count || !uplink_taken(seeding->uplink, node, total, now_ms))
		return false;
	seeding->nodes[node].taken = total;
	return true;
}

uint64_t seeding_deadline(struct seeding *seeding, uint64_t now_ms)
{
	return uplink_deadline(seeding->uplink, now_ms);
}

uint32_t seeding_left(const struct seeding *seeding, uint32_t release, uint32_t group)
{
	const struct release *r = &seeding->releases[release];

	assert(release < SEEDING_RELEASES && group < seeding->groups);
	return r->groups ? r->groups[group].left : 0;
}

uint64_t seeding_sent(const struct seeding *seeding)
{
	return uplink_sent(seeding->uplink);
}

uint64_t seeding_rate(const struct seeding *seeding)
{
	return uplink_rate(seeding->uplink);
}
