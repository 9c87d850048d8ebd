/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What exchange.c (who exchanges with whom) and seeds.c (what the origin gives) share. A release is
 * in exchange as long as a node that takes part fetches it; it has the same slot in both.
 */
#pragma once

#include "coordinator/core/neighbours.h"
#include "coordinator/core/seeding.h"
#include "coordinator/shell.h"
#include "protocol/chunk_list.h"

enum { EXCHANGE_SITES = 64 }; /* behind thin links: groups of the seeding core */

struct release_exchange {
	bool used;
	struct digest release;
	struct chunk_list *list;  /* NULL: too large to be exchanged, or damaged */
	struct neighbours *graph; /* by shell_node.slot */
	bool *member, *needs;	  /* by slot; needs: it fetched while this lasted */
};

struct exchange {
	struct release_exchange releases[SEEDING_RELEASES];
	uint32_t slots; /* how many the graphs and the seeding have room for */
	struct seeding *seeding;
	bool *joined; /* at the seeding, by slot */
	char sites[EXCHANGE_SITES][LIMIT_LABEL_VALUE + 1];
	uint32_t sites_count;
};

struct shell_node *exchange_node(const struct coordinator *c, uint32_t slot); /* or NULL */
struct release_exchange *exchange_find(const struct coordinator *c, const struct digest *release,
				       uint32_t *ret_at);
/* The node's site is behind a thin link (label link=thin). */
bool exchange_is_thin(const struct shell_node *node);
const char *exchange_site(const struct shell_node *node); /* its label site, or "" */
