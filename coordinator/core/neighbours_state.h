/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the graph: neighbours_link.c makes and finds links, neighbours.c decides which. Not for
 * others. */
#pragma once

#include "base/rng.h"
#include "coordinator/core/neighbours.h"

enum { NEIGHBOURS_NONE = UINT32_MAX, NEIGHBOURS_TRIES = 24, NEIGHBOURS_GIVEN_UP = 8 };

struct neighbours_link {
	uint32_t other;
	bool dial, far;
	bool flipped; /* the other direction was tried before */
};

struct neighbours_state {
	struct neighbours_node about;
	bool joined, changed;
	uint8_t count, failures, given_up_count;
	uint32_t at;				/* in present[] */
	uint32_t given_up[NEIGHBOURS_GIVEN_UP]; /* a ring */
	struct neighbours_link links[NEIGHBOURS_MAX];
};

struct neighbours {
	struct neighbours_state *nodes;
	uint32_t *present; /* slots of those who joined, in no order */
	uint32_t *changed; /* a ring of slots; each at most once */
	uint32_t nodes_count, count, changed_first, changed_count;
	bool sparse; /* the fleet has outgrown NEIGHBOURS_ALL */
	bool mixed;  /* there is more than one site */
	bool lonely; /* a thin site has found nobody elsewhere */
	struct rng rng;
};

enum neighbours_where { NEIGHBOURS_SAME_SITE, NEIGHBOURS_OTHER_SITE, NEIGHBOURS_FROM_THIN };

bool neighbours_same_site(const struct neighbours *g, uint32_t a, uint32_t b);
void neighbours_mark(struct neighbours *g, uint32_t node); /* its links have changed */
struct neighbours_link *neighbours_find(struct neighbours *g, uint32_t node, uint32_t other);
bool neighbours_can_link(struct neighbours *g, uint32_t a, uint32_t b);
void neighbours_link(struct neighbours *g, uint32_t a, uint32_t b);
void neighbours_unlink(struct neighbours *g, uint32_t a, uint32_t b);
/* A random node with fewer than `room` links that `node` can be linked with; NEIGHBOURS_NONE. */
uint32_t neighbours_choose(struct neighbours *g, uint32_t node, enum neighbours_where where,
			   uint32_t room);
