/* SPDX-License-Identifier: Apache-2.0 */
/* What a node says on its own machine about the exchange of chunks: `covey-agent peers`. */
#pragma once

#include "covey/ids.h"

struct peering_neighbour { /* a neighbour, as `covey-agent peers` shows it */
	char name[LIMIT_NAME + 1];
	char node[NODE_ID_TEXT_MAX];
	char endpoint[LIMIT_ENDPOINT + 1]; /* "": it connects here */
	bool up, far;
	uint64_t got, given; /* bytes of chunks since it is a neighbour */
	char text[LIMIT_SHORT_TEXT + 1]; /* what is wrong with it */
};

struct peering_view {
	bool on, open;			 /* by agent.conf; by its window */
	char text[LIMIT_SHORT_TEXT + 1]; /* why nobody can connect here */
	uint64_t from_origin, from_peers; /* bytes of what is being fetched */
	uint64_t rate_down, rate_up;	  /* bytes a second */
	struct peering_neighbour *neighbours;
	size_t neighbours_count;
};
