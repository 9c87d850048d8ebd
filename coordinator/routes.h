/* SPDX-License-Identifier: Apache-2.0 */
/* By which connection a node was last heard: node id -> ZeroMQ routing id. Never an identity. */
#pragma once

#include "covey/ids.h"

struct routes;

enum { ROUTE_SIZE_MAX = 15 };

struct routes *routes_new(void);
void routes_free(struct routes *routes);
void routes_set(struct routes *routes, const struct node_id *node, const void *routing,
		size_t size);
/* False: that node has not been heard. */
bool routes_get(const struct routes *routes, const struct node_id *node, const void **ret_routing,
		size_t *ret_size);
