/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who exchanges with whom: the graph of neighbours of the nodes that fetch or hold one release.
 * Pure and drawn from a seed. Up to NEIGHBOURS_ALL nodes everybody is everybody's neighbour. Above,
 * it is a random regular graph of about NEIGHBOURS_DEGREE links a node (between NEIGHBOURS_LEAST
 * and NEIGHBOURS_MOST): such graphs are expanders, whatever is in one place is everywhere after
 * log(nodes) steps. A node's neighbours are of its own site first; each site has a few links to
 * others, one that is too small for LEAST takes the rest from elsewhere (and passes MOST when it
 * grows). A thin site (its link to the world is scarce) has about NEIGHBOURS_FAR links to others
 * and they are far: reserves, for the time when the origin is away.
 *
 * Stable: a node that joins is put into the middle of existing links (Law, Siu: "Distributed
 * construction of random expander networks", INFOCOM 2003), about half as many as its degree; one
 * that leaves has its neighbours linked with each other; everything else stays. Only when the fleet
 * outgrows NEIGHBOURS_ALL is the graph drawn anew.
 *
 * A link is made by one of the two: `dial` says whether the node is the one. When it could not, the
 * other tries (if it can be dialled at all); when neither could, the pair is given up and both get
 * others. A node that several could not reach dials itself from then on.
 *
 * The shell: neighbours_join() for each node, then neighbours_of() and NEIGHBOURS messages to the
 * nodes that neighbours_next_changed() names. Nodes are slots 0..nodes-1 of the caller. Memory is
 * allocated in neighbours_create() only, about 250 bytes a node.
 */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	NEIGHBOURS_ALL = 20,
	NEIGHBOURS_LEAST = 8,
	NEIGHBOURS_DEGREE = 10,
	NEIGHBOURS_MOST = 12,
	NEIGHBOURS_FAR = 4,		 /* links of a whole thin site to others */
	NEIGHBOURS_MAX = NEIGHBOURS_ALL, /* most that neighbours_of() answers */
	NEIGHBOURS_CLOSED = 2,		 /* so many could not reach a node: it dials itself */
};

struct neighbours_node {
	uint32_t site; /* the caller's number; equal numbers are one site */
	bool thin;     /* its site is behind a thin link */
	bool closed;   /* it cannot be dialled (no peer address): it dials */
};

struct neighbour {
	uint32_t node;
	bool dial; /* the node asked about connects; else it waits for the other */
	bool far;  /* over a thin link: FETCH_RESERVE */
};

struct neighbours;

struct neighbours *neighbours_create(uint32_t nodes, uint64_t seed);
void neighbours_free(struct neighbours *neighbours);
COVEY_DEFINE_CLEANUP(struct neighbours *, neighbours_free)

/* -EEXIST: it is in. */
int neighbours_join(struct neighbours *neighbours, uint32_t node,
		    const struct neighbours_node *about) COVEY_MUST_CHECK;
void neighbours_leave(struct neighbours *neighbours, uint32_t node);
/* `node` says that it could not connect to `other`, or that other lost its place with it (a bad
 * chunk: final true, the other direction is not tried). False: they are no neighbours. */
bool neighbours_failed(struct neighbours *neighbours, uint32_t node, uint32_t other, bool final);

/* Returns how many, at most NEIGHBOURS_MAX. */
size_t neighbours_of(const struct neighbours *neighbours, uint32_t node,
		     struct neighbour ret_items[NEIGHBOURS_MAX]);
bool neighbours_is_sparse(const struct neighbours *neighbours); /* else all are linked */
/* Nodes whose neighbours have changed since they were named here; false: none. */
bool neighbours_next_changed(struct neighbours *neighbours, uint32_t *ret_node);
