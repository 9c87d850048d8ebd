/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single links. Random choices are made by trying: a random node, a few times, then the next one
 * that fits in the order of slots, so that a choice that exists is always found.
 */
#include "coordinator/core/neighbours_state.h"

void neighbours_mark(struct neighbours *g, uint32_t node)
{
	if (g->nodes[node].changed)
		return;
	g->nodes[node].changed = true;
	g->changed[(g->changed_first + g->changed_count++) % (g->nodes_count + 1)] = node;
}

struct neighbours_link *neighbours_find(struct neighbours *g, uint32_t node, uint32_t other)
{
	struct neighbours_state *n = &g->nodes[node];

	for (uint32_t i = 0; i < n->count; i++)
		if (n->links[i].other == other)
			return &n->links[i];
	return NULL;
}

static bool gave_up(const struct neighbours_state *n, uint32_t other)
{
	for (uint32_t i = 0; i < NEIGHBOURS_GIVEN_UP && i < n->given_up_count; i++)
		if (n->given_up[i] == other)
			return true;
	return false;
}

bool neighbours_can_link(struct neighbours *g, uint32_t a, uint32_t b)
{
	const struct neighbours_state *x = &g->nodes[a], *y = &g->nodes[b];

	return a != b && x->joined && y->joined && !(x->about.closed && y->about.closed) &&
	       x->count < NEIGHBOURS_MAX && y->count < NEIGHBOURS_MAX &&
	       !neighbours_find(g, a, b) && !gave_up(x, b) && !gave_up(y, a);
}

bool neighbours_same_site(const struct neighbours *g, uint32_t a, uint32_t b)
{
	return g->nodes[a].about.site == g->nodes[b].about.site;
}

void neighbours_link(struct neighbours *g, uint32_t a, uint32_t b)
{
	struct neighbours_state *x = &g->nodes[a], *y = &g->nodes[b];
	bool far = !neighbours_same_site(g, a, b) && (x->about.thin || y->about.thin);
	bool dial = x->about.closed || (!y->about.closed && rng_next(&g->rng) & 1);

	x->links[x->count++] = (struct neighbours_link){.other = b, .dial = dial, .far = far};
	y->links[y->count++] = (struct neighbours_link){.other = a, .dial = !dial, .far = far};
	neighbours_mark(g, a);
	neighbours_mark(g, b);
}

static void forget(struct neighbours *g, uint32_t node, uint32_t other)
{
	struct neighbours_state *n = &g->nodes[node];
	struct neighbours_link *link = neighbours_find(g, node, other);

	*link = n->links[--n->count];
	neighbours_mark(g, node);
}

void neighbours_unlink(struct neighbours *g, uint32_t a, uint32_t b)
{
	forget(g, a, b);
	forget(g, b, a);
}

/* ---- choices ---- */

static bool suits(struct neighbours *g, uint32_t node, uint32_t other, enum neighbours_where where,
		  uint32_t room)
{
	bool same = neighbours_same_site(g, node, other);

	if (g->nodes[other].count >= room || (where == NEIGHBOURS_SAME_SITE) != same)
		return false;
	if (where == NEIGHBOURS_OTHER_SITE &&
	    (g->nodes[node].about.thin || g->nodes[other].about.thin))
		return false;
	return neighbours_can_link(g, node, other);
}

uint32_t neighbours_choose(struct neighbours *g, uint32_t node, enum neighbours_where where,
			   uint32_t room)
{
	uint32_t start = (uint32_t)rng_below(&g->rng, g->count);

	for (uint32_t i = 0; i < NEIGHBOURS_TRIES; i++) {
		uint32_t other = g->present[rng_below(&g->rng, g->count)];

		if (suits(g, node, other, where, room))
			return other;
	}
	for (uint32_t i = 0; i < g->count; i++) {
		uint32_t other = g->present[(start + i) % g->count];

		if (suits(g, node, other, where, room))
			return other;
	}
	return NEIGHBOURS_NONE;
}
