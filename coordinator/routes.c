/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open table with linear probing. Node ids are digests, so their first bytes are the hash; only
 * nodes that are enrolled get this far, so nobody chooses them freely. When too many nodes have come
 * and gone it is emptied: every node is heard again within a heartbeat.
 */
#include "coordinator/routes.h"

#include "base/mem.h"

enum { SLOTS = 65536, FULL = SLOTS / 4 * 3 };

struct route {
	struct node_id node;
	uint8_t size; /* 0: free */
	uint8_t routing[ROUTE_SIZE_MAX];
};

struct routes {
	size_t count;
	struct route slots[SLOTS];
};

_Static_assert(FULL > 2 * LIMIT_FLEET, "a whole fleet fits, with room for those that left");

struct routes *routes_new(void)
{
	return mem_alloc(sizeof(struct routes));
}

void routes_free(struct routes *routes)
{
	free(routes);
}

static size_t find(const struct routes *routes, const struct node_id *node)
{
	size_t at = (size_t)node->bytes[0] << 8 | node->bytes[1];

	while (routes->slots[at].size && !node_id_equal(&routes->slots[at].node, node))
		at = (at + 1) % SLOTS;
	return at;
}

void routes_set(struct routes *routes, const struct node_id *node, const void *routing, size_t size)
{
	struct route *route = &routes->slots[find(routes, node)];

	if (size == 0 || size > ROUTE_SIZE_MAX)
		return;
	if (!route->size && routes->count == FULL) {
		memset(routes, 0, sizeof(*routes));
		route = &routes->slots[find(routes, node)];
	}
	routes->count += !route->size;
	route->node = *node;
	route->size = (uint8_t)size;
	memcpy(route->routing, routing, size);
}

bool routes_get(const struct routes *routes, const struct node_id *node, const void **ret_routing,
		size_t *ret_size)
{
	const struct route *route = &routes->slots[find(routes, node)];

	*ret_routing = route->routing;
	*ret_size = route->size;
	return route->size != 0;
}
