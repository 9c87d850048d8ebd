/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The graph, kept up link by link. Three moves do everything: link two nodes that can be linked;
 * split an existing link and put a node into its middle, which keeps everybody's degree; and, when
 * a node has lost links, fill it up again with those who have room.
 */
#include "coordinator/core/neighbours_state.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>

enum { BRIDGE_EVERY = 8 };

struct neighbours *neighbours_create(uint32_t nodes, uint64_t seed)
{
	struct neighbours *g = mem_alloc(sizeof(*g));

	g->nodes = mem_array(nodes + 1, sizeof(g->nodes[0]));
	g->present = mem_array(nodes + 1, sizeof(g->present[0]));
	g->changed = mem_array(nodes + 1, sizeof(g->changed[0]));
	g->nodes_count = nodes;
	g->rng.state = seed;
	return g;
}

void neighbours_free(struct neighbours *neighbours)
{
	if (!neighbours)
		return;
	free(neighbours->nodes);
	free(neighbours->present);
	free(neighbours->changed);
	free(neighbours);
}

/* Puts the node into the middle of a link of its site. */
static bool split(struct neighbours *g, uint32_t node)
{
	for (uint32_t i = 0; i < NEIGHBOURS_TRIES; i++) {
		uint32_t a = neighbours_choose(g, node, NEIGHBOURS_SAME_SITE, NEIGHBOURS_MAX), b;

		if (a == NEIGHBOURS_NONE || g->nodes[a].count == 0)
			return false;
		b = g->nodes[a].links[rng_below(&g->rng, g->nodes[a].count)].other;
		if (!neighbours_same_site(g, a, b) || !neighbours_can_link(g, node, b))
			continue;
		neighbours_unlink(g, a, b);
		neighbours_link(g, node, a);
		neighbours_link(g, node, b);
		return true;
	}
	return false;
}

/* ---- a node's share ---- */

static uint32_t site_size(const struct neighbours *g, uint32_t node, bool *ret_has_far)
{
	uint32_t size = 0, far = 0;

	for (uint32_t i = 0; i < g->count; i++) {
		const struct neighbours_state *n = &g->nodes[g->present[i]];

		if (n->about.site != g->nodes[node].about.site)
			continue;
		size++;
		for (uint32_t k = 0; k < n->count; k++)
			far += !neighbours_same_site(g, g->present[i], n->links[k].other);
	}
	*ret_has_far = far >= NEIGHBOURS_FAR;
	return size;
}

static bool add(struct neighbours *g, uint32_t node, enum neighbours_where where, uint32_t room)
{
	uint32_t other = neighbours_choose(g, node, where, room);

	if (other == NEIGHBOURS_NONE)
		return false;
	neighbours_link(g, node, other);
	return true;
}

/* Up to `want` links: with those who have too few, then from the middle of others' links, then with
 * whoever has room. */
static void fill_site(struct neighbours *g, uint32_t node, uint32_t want, uint32_t size)
{
	const struct neighbours_state *n = &g->nodes[node];
	uint32_t room = size <= NEIGHBOURS_LEAST ? NEIGHBOURS_MAX : NEIGHBOURS_MOST;

	while (n->count < want && add(g, node, NEIGHBOURS_SAME_SITE, NEIGHBOURS_LEAST))
		;
	while (size > NEIGHBOURS_DEGREE && n->count + 1u < want && split(g, node))
		;
	while (n->count < want && add(g, node, NEIGHBOURS_SAME_SITE, room))
		;
}

static void fill(struct neighbours *g, uint32_t node, uint32_t want)
{
	const struct neighbours_state *n = &g->nodes[node];
	bool has_far = !n->about.thin;
	uint32_t size = g->mixed ? site_size(g, node, &has_far) : g->count;

	fill_site(g, node, want, size);
	while (!n->about.thin && n->count < NEIGHBOURS_LEAST &&
	       add(g, node, NEIGHBOURS_OTHER_SITE, NEIGHBOURS_MOST))
		;
	if (n->count >= NEIGHBOURS_MOST)
		return;
	if (n->about.thin && !has_far && !add(g, node, NEIGHBOURS_FROM_THIN, NEIGHBOURS_MOST))
		g->lonely = true;
	if (!n->about.thin && size < g->count && (!has_far || size % BRIDGE_EVERY == 0))
		(void)add(g, node, NEIGHBOURS_OTHER_SITE, NEIGHBOURS_MOST);
}

/* Thin sites that were here before there was anybody elsewhere: one link for each who comes. */
static void link_lonely(struct neighbours *g, uint32_t node)
{
	bool has_far;

	if (g->nodes[node].about.thin)
		return;
	for (uint32_t i = 0; i < g->count; i++) {
		uint32_t other = g->present[i];

		if (!g->nodes[other].about.thin || !neighbours_can_link(g, node, other))
			continue;
		(void)site_size(g, other, &has_far);
		if (has_far)
			continue;
		neighbours_link(g, node, other);
		return;
	}
	g->lonely = false;
}

static void link_with_all(struct neighbours *g, uint32_t node)
{
	for (uint32_t i = 0; i < g->count; i++)
		if (neighbours_can_link(g, node, g->present[i]))
			neighbours_link(g, node, g->present[i]);
}

static void place(struct neighbours *g, uint32_t node)
{
	if (!g->sparse) {
		link_with_all(g, node);
		return;
	}
	fill(g, node, NEIGHBOURS_DEGREE);
	if (g->lonely)
		link_lonely(g, node);
}

/* Draws everything anew, node by node in random order. */
static void redraw(struct neighbours *g)
{
	uint32_t count = g->count;

	rng_shuffle(&g->rng, g->present, count);
	for (uint32_t i = 0; i < count; i++) {
		g->nodes[g->present[i]].count = 0;
		neighbours_mark(g, g->present[i]);
	}
	for (g->count = 0; g->count < count;) {
		uint32_t node = g->present[g->count];

		g->nodes[node].at = g->count++;
		place(g, node);
	}
}

static void repair(struct neighbours *g, uint32_t node)
{
	if (!g->sparse)
		link_with_all(g, node);
	else if (g->nodes[node].count < NEIGHBOURS_LEAST)
		fill(g, node, NEIGHBOURS_LEAST);
}

/* ---- changes ---- */

int neighbours_join(struct neighbours *neighbours, uint32_t node,
		    const struct neighbours_node *about)
{
	struct neighbours_state *n = &neighbours->nodes[node];
	bool changed = n->changed;

	assert(node < neighbours->nodes_count);
	if (n->joined)
		return -EEXIST;
	*n = (struct neighbours_state){.about = *about, .joined = true, .changed = changed};
	n->at = neighbours->count;
	if (n->at && !neighbours_same_site(neighbours, node, neighbours->present[0]))
		neighbours->mixed = true;
	neighbours->present[neighbours->count++] = node;
	neighbours_mark(neighbours, node);
	if (!neighbours->sparse && neighbours->count > NEIGHBOURS_ALL) {
		neighbours->sparse = true;
		redraw(neighbours);
	} else {
		place(neighbours, node);
	}
	return 0;
}

/* Those who had the leaver between them are linked with each other. */
static void close_gap(struct neighbours *g, uint32_t *left, uint32_t count)
{
	rng_shuffle(&g->rng, left, count);
	for (uint32_t i = 0; g->sparse && i + 1 < count; i += 2)
		if (neighbours_same_site(g, left[i], left[i + 1]) &&
		    neighbours_can_link(g, left[i], left[i + 1]))
			neighbours_link(g, left[i], left[i + 1]);
	for (uint32_t i = 0; i < count; i++)
		repair(g, left[i]);
}

void neighbours_leave(struct neighbours *neighbours, uint32_t node)
{
	struct neighbours_state *n = &neighbours->nodes[node];
	uint32_t left[NEIGHBOURS_MAX], count = 0, last;

	assert(node < neighbours->nodes_count);
	if (!n->joined)
		return;
	while (n->count) {
		left[count] = n->links[0].other;
		neighbours_unlink(neighbours, node, left[count++]);
	}
	n->joined = false;
	last = neighbours->present[--neighbours->count];
	neighbours->present[n->at] = last;
	neighbours->nodes[last].at = n->at;
	if (neighbours->sparse && neighbours->count <= NEIGHBOURS_ALL * 3 / 4) {
		neighbours->sparse = false; /* well below: it must not flap */
		for (uint32_t i = 0; i < neighbours->count; i++)
			link_with_all(neighbours, neighbours->present[i]);
	} else {
		close_gap(neighbours, left, count);
	}
}

static void give_up(struct neighbours *g, uint32_t node, uint32_t other)
{
	struct neighbours_state *n = &g->nodes[node];

	neighbours_unlink(g, node, other);
	n->given_up[n->given_up_count % NEIGHBOURS_GIVEN_UP] = other;
	n->given_up_count =
		(uint8_t)(n->given_up_count < NEIGHBOURS_GIVEN_UP ? n->given_up_count + 1
								  : NEIGHBOURS_GIVEN_UP);
	repair(g, node);
	repair(g, other);
}

static void set_dial(struct neighbours *g, uint32_t node, uint32_t other)
{
	struct neighbours_link *mine = neighbours_find(g, node, other),
			       *theirs = neighbours_find(g, other, node);

	mine->flipped = theirs->flipped = true;
	mine->dial = true;
	theirs->dial = false;
	neighbours_mark(g, node);
	neighbours_mark(g, other);
}

/* Several could not reach it: from now on it dials, and whoever cannot be dialled either goes. */
static void close_node(struct neighbours *g, uint32_t node)
{
	struct neighbours_state *n = &g->nodes[node];

	n->about.closed = true;
	for (uint32_t i = 0; i < n->count;) {
		uint32_t other = n->links[i].other;

		if (g->nodes[other].about.closed) {
			give_up(g, node, other);
			i = 0;
			continue;
		}
		if (!n->links[i].dial)
			set_dial(g, node, other);
		i++;
	}
}

bool neighbours_failed(struct neighbours *neighbours, uint32_t node, uint32_t other, bool final)
{
	struct neighbours_link *link;

	if (node >= neighbours->nodes_count || other >= neighbours->nodes_count)
		return false;
	link = neighbours_find(neighbours, node, other);
	if (!link)
		return false;
	if (final || link->flipped || neighbours->nodes[node].about.closed)
		give_up(neighbours, node, other);
	else
		set_dial(neighbours, other, node);
	if (!final && !neighbours->nodes[other].about.closed &&
	    ++neighbours->nodes[other].failures >= NEIGHBOURS_CLOSED)
		close_node(neighbours, other);
	return true;
}

/* ---- questions ---- */

size_t neighbours_of(const struct neighbours *neighbours, uint32_t node,
		     struct neighbour ret_items[NEIGHBOURS_MAX])
{
	const struct neighbours_state *n = &neighbours->nodes[node];

	assert(node < neighbours->nodes_count);
	for (uint32_t i = 0; i < n->count; i++)
		ret_items[i] =
			(struct neighbour){n->links[i].other, n->links[i].dial, n->links[i].far};
	return n->count;
}

bool neighbours_next_changed(struct neighbours *neighbours, uint32_t *ret_node)
{
	uint32_t node;

	if (neighbours->changed_count == 0)
		return false;
	node = neighbours->changed[neighbours->changed_first];
	neighbours->changed_first = (neighbours->changed_first + 1) % (neighbours->nodes_count + 1);
	neighbours->changed_count--;
	neighbours->nodes[node].changed = false;
	*ret_node = node;
	return true;
}

bool neighbours_is_sparse(const struct neighbours *neighbours)
{
	return neighbours->sparse;
}
