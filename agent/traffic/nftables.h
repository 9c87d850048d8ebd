/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's firewall rules as text: a pure function from the complete list of routes to one
 * nftables transaction. The text says the whole table each time (add what may be missing, flush,
 * fill), so it is right from any state before it, and the kernel applies it at once or not at all.
 * Chains are flushed and never deleted: their hooks stay registered and no packet slips by.
 *
 * What the table does: DNAT of clients' ports to slots (from outside and from the node itself),
 * masquerade of loopback clients and of what slots send, no foreign traffic to 127/8, into slots
 * only what came through the map, from slots nothing to the node or to other slots.
 */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct nftables_route {
	uint32_t port;        /* clients' port on the node, unique in the list */
	const char *address;  /* of the slot; NULL: network: host, redirected to slot_port here */
	const char *address6; /* NULL: none */
	uint32_t slot_port;
};

struct nftables_table {
	const char *name;
	const char *interfaces; /* prefix of the slots' interfaces on the node; those that go on
	                           with `e` may open connections to the outside */
	const char *subnet;     /* of the slots: "10.213.0.0/16" */
	const char *subnet6;    /* "fd../48" */
	bool closed4, closed6;  /* forward nothing else: forwarding was off before we came */
	const struct nftables_route *routes;
	size_t routes_count;
};

void nftables_transaction(const struct nftables_table *table, struct str *ret_text);
