/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The graph, kept up link by link. Three moves do everything: link two nodes that can be linked;
 * split an existing link and put a node into its middle, which keeps everybody's degree; and, when
 * a node has lost links, fill it up again with those who have room. Random choices are made by
 * trying: a random node, a few times, then the next one that fits in the order of slots, so that
 * a choice that exists is always found.
 */
#include "coordinator/core/neighbours.h"
#include "base/mem.h"
#include "base/rng.h"

#include <assert.h>
#include <errno.h>

enum { NONE = UINT32_MAX, TRIES = 24, GIVEN_UP = 8, BRIDGE_EVERY = 8 };

struct link {
	uint32_t other;
	bool dial, far;
	bool flipped; /* the other direction was tried before */
};

struct node {
	struct neighbours_node about;
	bool joined, changed;
	uint8_t count, failures, given_up_count;
	uint32_t at;                 /* in present[] */
	uint32_t given_up[GIVEN_UP]; /* a ring */
	struct link links[NEIGHBOURS_MAX];
};

struct neighbours {
	struct node *nodes;
	uint32_t *present; /* slots of those who joined, in no order */
	uint32_t *changed; /* a ring of slots; each at most once */
	uint32_t nodes_count, count, changed_first, changed_count;
	bool sparse; /* the fleet has outgrown NEIGHBOURS_ALL */
	struct rng rng;
};

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

/* ---- links ---- */

static void mark(struct neighbours *g, uint32_t node)
{
	if (g->nodes[node].changed)
		return;
	g->nodes[node].changed = true;
	g->changed[(g->changed_first + g->changed_count++) % (g->nodes_count + 1)] = node;
}

static struct link *find(struct neighbours *g, uint32_t node, uint32_t other)
{
	struct node *n = &g->nodes[node];

	for (uint32_t i = 0; i < n->count; i++)
		if (n->links[i].other == other)
			return &n->links[i];
	return NULL;
}

static bool gave_up(const struct node *n, uint32_t other)
{
	for (uint32_t i = 0; i < GIVEN_UP && i < n->given_up_count; i++)
		if (n->given_up[i] == other)
			return true;
	return false;
}

static bool can_link(struct neighbours *g, uint32_t a, uint32_t b)
{
	const struct node *x = &g->nodes[a], *y = &g->nodes[b];

	return a != b && x->joined && y->joined && !(x->about.closed && y->about.closed) &&
	       x->count < NEIGHBOURS_MAX && y->count < NEIGHBOURS_MAX && !find(g, a, b) &&
	       !gave_up(x, b) && !gave_up(y, a);
}

static bool same_site(const struct neighbours *g, uint32_t a, uint32_t b)
{
	return g->nodes[a].about.site == g->nodes[b].about.site;
}

static void link_nodes(struct neighbours *g, uint32_t a, uint32_t b)
{
	struct node *x = &g->nodes[a], *y = &g->nodes[b];
	bool far = !same_site(g, a, b) && (x->about.thin || y->about.thin);
	bool dial = x->about.closed || (!y->about.closed && rng_next(&g->rng) & 1);

	x->links[x->count++] = (struct link){.other = b, .dial = dial, .far = far};
	y->links[y->count++] = (struct link){.other = a, .dial = !dial, .far = far};
	mark(g, a);
	mark(g, b);
}

static void forget(struct neighbours *g, uint32_t node, uint32_t other)
{
	struct node *n = &g->nodes[node];
	struct link *link = find(g, node, other);

	*link = n->links[--n->count];
	mark(g, node);
}

static void unlink_nodes(struct neighbours *g, uint32_t a, uint32_t b)
{
	forget(g, a, b);
	forget(g, b, a);
}

/* ---- choices ---- */

enum where { SAME_SITE, OTHER_SITE, FROM_THIN };

static bool suits(struct neighbours *g, uint32_t node, uint32_t other, enum where where,
		  uint32_t room)
{
	bool same = same_site(g, node, other);

	if (g->nodes[other].count >= room || (where == SAME_SITE) != same)
		return false;
	if (where == OTHER_SITE && (g->nodes[node].about.thin || g->nodes[other].about.thin))
		return false;
	return can_link(g, node, other);
}

/* A random node with fewer than `room` links that `node` can be linked with. */
static uint32_t choose(struct neighbours *g, uint32_t node, enum where where, uint32_t room)
{
	uint32_t start = (uint32_t)rng_below(&g->rng, g->count);

	for (uint32_t i = 0; i < TRIES; i++) {
		uint32_t other = g->present[rng_below(&g->rng, g->count)];

		if (suits(g, node, other, where, room))
			return other;
	}
	for (uint32_t i = 0; i < g->count; i++) {
		uint32_t other = g->present[(start + i) % g->count];

		if (suits(g, node, other, where, room))
			return other;
	}
	return NONE;
}

/* Puts the node into the middle of a link of its site. */
static bool split(struct neighbours *g, uint32_t node)
{
	for (uint32_t i = 0; i < TRIES; i++) {
		uint32_t a = choose(g, node, SAME_SITE, NEIGHBOURS_MAX), b;

		if (a == NONE || g->nodes[a].count == 0)
			return false;
		b = g->nodes[a].links[rng_below(&g->rng, g->nodes[a].count)].other;
		if (!same_site(g, a, b) || !can_link(g, node, b))
			continue;
		unlink_nodes(g, a, b);
		link_nodes(g, node, a);
		link_nodes(g, node, b);
		return true;
	}
	return false;
}

/* ---- a node's share ---- */

static uint32_t site_size(const struct neighbours *g, uint32_t node, bool *ret_has_far)
{
	uint32_t size = 0, far = 0;

	for (uint32_t i = 0; i < g->count; i++) {
		const struct node *n = &g->nodes[g->present[i]];

		if (n->about.site != g->nodes[node].about.site)
			continue;
		size++;
		for (uint32_t k = 0; k < n->count; k++)
			far += !same_site(g, g->present[i], n->links[k].other);
	}
	*ret_has_far = far >= NEIGHBOURS_FAR;
	return size;
}

static bool add(struct neighbours *g, uint32_t node, enum where where, uint32_t room)
{
	uint32_t other = choose(g, node, where, room);

	if (other == NONE)
		return false;
	link_nodes(g, node, other);
	return true;
}

/* Up to `want` links: with those who have too few, then from the middle of others' links, then with
 * whoever has room. */
static void fill_site(struct neighbours *g, uint32_t node, uint32_t want)
{
	const struct node *n = &g->nodes[node];

	while (n->count < want && add(g, node, SAME_SITE, NEIGHBOURS_LEAST))
		;
	while (n->count + 1u < want && split(g, node))
		;
	while (n->count < want && add(g, node, SAME_SITE, NEIGHBOURS_MOST))
		;
}

static void fill(struct neighbours *g, uint32_t node, uint32_t want)
{
	const struct node *n = &g->nodes[node];
	bool has_far;
	uint32_t size = site_size(g, node, &has_far);

	fill_site(g, node, want);
	while (!n->about.thin && n->count < NEIGHBOURS_LEAST &&
	       add(g, node, OTHER_SITE, NEIGHBOURS_MOST))
		;
	if (size == g->count || n->count >= NEIGHBOURS_MOST)
		return;
	if (n->about.thin && !has_far)
		(void)add(g, node, FROM_THIN, NEIGHBOURS_MOST);
	if (!n->about.thin && (!has_far || size % BRIDGE_EVERY == 0))
		(void)add(g, node, OTHER_SITE, NEIGHBOURS_MOST);
}

static void link_with_all(struct neighbours *g, uint32_t node)
{
	for (uint32_t i = 0; i < g->count; i++)
		if (can_link(g, node, g->present[i]))
			link_nodes(g, node, g->present[i]);
}

static void place(struct neighbours *g, uint32_t node)
{
	if (g->sparse)
		fill(g, node, NEIGHBOURS_DEGREE);
	else
		link_with_all(g, node);
}

/* Draws everything anew, node by node in random order. */
static void redraw(struct neighbours *g)
{
	uint32_t count = g->count;

	rng_shuffle(&g->rng, g->present, count);
	for (uint32_t i = 0; i < count; i++) {
		g->nodes[g->present[i]].count = 0;
		mark(g, g->present[i]);
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
	struct node *n = &neighbours->nodes[node];
	bool changed = n->changed;

	assert(node < neighbours->nodes_count);
	if (n->joined)
		return -EEXIST;
	*n = (struct node){.about = *about, .joined = true, .changed = changed};
	n->at = neighbours->count;
	neighbours->present[neighbours->count++] = node;
	mark(neighbours, node);
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
		if (same_site(g, left[i], left[i + 1]) && can_link(g, left[i], left[i + 1]))
			link_nodes(g, left[i], left[i + 1]);
	for (uint32_t i = 0; i < count; i++)
		repair(g, left[i]);
}

void neighbours_leave(struct neighbours *neighbours, uint32_t node)
{
	struct node *n = &neighbours->nodes[node];
	uint32_t left[NEIGHBOURS_MAX], count = 0, last;

	assert(node < neighbours->nodes_count);
	if (!n->joined)
		return;
	while (n->count) {
		left[count] = n->links[0].other;
		unlink_nodes(neighbours, node, left[count++]);
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
	struct node *n = &g->nodes[node];

	unlink_nodes(g, node, other);
	n->given_up[n->given_up_count % GIVEN_UP] = other;
	n->given_up_count =
	    (uint8_t)(n->given_up_count < GIVEN_UP ? n->given_up_count + 1 : GIVEN_UP);
	repair(g, node);
	repair(g, other);
}

static void set_dial(struct neighbours *g, uint32_t node, uint32_t other)
{
	struct link *mine = find(g, node, other), *theirs = find(g, other, node);

	mine->flipped = theirs->flipped = true;
	mine->dial = true;
	theirs->dial = false;
	mark(g, node);
	mark(g, other);
}

/* Several could not reach it: from now on it dials, and whoever cannot be dialled either goes. */
static void close_node(struct neighbours *g, uint32_t node)
{
	struct node *n = &g->nodes[node];

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
	struct link *link;

	if (node >= neighbours->nodes_count || other >= neighbours->nodes_count)
		return false;
	link = find(neighbours, node, other);
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
	const struct node *n = &neighbours->nodes[node];

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
