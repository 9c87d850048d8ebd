/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fleet of thousands of nodes holds a handful of releases: each of those is compared with the one
 * in question once, then nodes are counted by what they hold.
 */
#include "coordinator/fleet_has.h"

#include "base/mem.h"
#include "coordinator/chunk_set.h"
#include "protocol/digest.h"

struct held {
	struct digest release;
	bool shares; /* a chunk with the release in question */
};

struct counter {
	struct coordinator *c;
	struct chunk_set wanted;
	bool *held; /* for each chunk */
	struct held releases[FLEET_HAS_RELEASES];
	size_t releases_count;
};

/* Marks what the release shares with the wanted one; true: there is any. */
static bool compare(struct counter *counter, const struct digest *release)
{
	struct chunk_set have = {0};
	bool shares = false;

	chunk_set_add(counter->c, release, &have);
	for (size_t i = 0; i < have.count; i++) {
		size_t at = chunk_set_find(&counter->wanted, &have.chunks[i].digest);

		if (at == SIZE_MAX)
			continue;
		counter->held[at] = true;
		shares = true;
	}
	chunk_set_free(&have);
	return shares;
}

static bool shares(struct counter *counter, const struct digest *release)
{
	struct held *held = counter->releases;

	if (digest_is_zero(release))
		return false;
	for (size_t i = 0; i < counter->releases_count; i++)
		if (digest_equal(&held[i].release, release))
			return held[i].shares;
	if (counter->releases_count == FLEET_HAS_RELEASES)
		return false;
	held = &held[counter->releases_count++];
	*held = (struct held){*release, compare(counter, release)};
	return held->shares;
}

static bool node_shares(struct counter *counter, const struct shell_node *node)
{
	bool any = false;

	for (size_t i = 0; i < node->status.deployments_count; i++)
		for (size_t s = 0; s < COLOUR_COUNT; s++)
			any |= shares(counter, &node->status.deployments[i].slots[s].release);
	return any;
}

void fleet_has_count(struct coordinator *c, const struct digest *release,
		     struct fleet_has *ret_has)
{
	AUTO_FREE struct counter *counter = mem_alloc(sizeof(*counter));

	*ret_has = (struct fleet_has){0};
	counter->c = c;
	chunk_set_add(c, release, &counter->wanted);
	counter->held = mem_array(counter->wanted.count + 1, sizeof(bool));
	for (size_t i = 0; i < c->nodes_count; i++)
		ret_has->nodes += node_shares(counter, c->nodes[i]);
	ret_has->release_chunks = counter->wanted.count;
	for (size_t i = 0; i < counter->wanted.count; i++) {
		ret_has->release_bytes += counter->wanted.chunks[i].size;
		ret_has->chunks += counter->held[i];
	}
	ret_has->bytes = chunk_set_sum(&counter->wanted, counter->held);
	free(counter->held);
	chunk_set_free(&counter->wanted);
}
