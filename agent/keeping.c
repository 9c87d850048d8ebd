/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk rule: releases that the core keeps stay, others may go. Whether the list has changed is
 * seen by its digest, so that an idle node asks nobody for anything.
 */
#include "agent/shell.h"

#include "protocol/digest.h"

enum { PRUNE_MS = 3600000 }; /* the disk is looked at again */

static void prune_helper(struct agent *agent, struct digest_item *keep, size_t count)
{
	struct helper_request request = {.op = HELPER_PRUNE, .keep = keep, .keep_count = count};
	struct pending about = {0};
	uint64_t id;

	/* Lost: the next change of the list asks again. */
	if (helping_send(agent, &request, &about, &id) < 0)
		memset(&agent->kept, 0, sizeof(agent->kept));
}

static bool has_item(const struct digest_item *items, size_t count, const struct digest *digest)
{
	for (size_t i = 0; i < count; i++)
		if (digest_equal(&items[i].digest, digest))
			return true;
	return false;
}

static size_t collect_kept(const struct agent *agent, struct digest_item *items, size_t max)
{
	size_t count = 0;
	uint64_t now = agent_now(agent);

	for (size_t i = 0; i < node_core_count(agent->core); i++) {
		struct deploy_effects effects;

		deploy_decide(node_core_at(agent->core, i), now, &effects);
		for (size_t k = 0; k < effects.keep_count && count < max; k++)
			if (!has_item(items, count, &effects.keep[k]))
				items[count++].digest = effects.keep[k];
	}
	return count;
}

void fetching_prune(struct agent *agent, bool must)
{
	bool changed;

	enum { MOST = LIMIT_DEPLOYMENTS_PER_NODE * DEPLOY_KEEP };
	const struct chunk_store_ops *store = &agent->world->store;
	struct digest_item keep[MOST];
	size_t count;
	struct digest digest;
	struct err err = {0};
	bool dropped = false;
	int r;

	if (!agent->resumed) /* records that were not resumed keep more than they say */
		return;
	count = collect_kept(agent, keep, MOST);
	digest_of(&digest, keep, count * sizeof(*keep));
	changed = !digest_equal(&digest, &agent->kept);
	if (!must && !changed && agent_now(agent) < agent->prune_at_ms)
		return;
	agent->kept = digest;
	agent->prune_at_ms = agent_now(agent) + PRUNE_MS;
	r = store->prune(store->context, keep, count, &dropped, &err);
	if (r < 0)
		shell_log(agent, LOG_LEVEL_WARNING, "making room on the disk: %s",
			  err_text(&err, r));
	if (dropped || changed)
		prune_helper(agent, keep, count);
}
