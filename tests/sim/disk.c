/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's chunk store: per version a manifest, an index, two chunks and the seal. It verifies like
 * the real one, fails at times, and may be full for a while. What it holds outlives the agent, and
 * may rot.
 */
#include "sim.h"

#include "protocol/digest.h"

static bool holds_chunk(const struct sim_node *node, int version, unsigned i)
{
	const struct sim *sim = node->sim;

	if (node->held[version].chunks[i])
		return true;
	/* another version's copy of the same chunk */
	for (int v = 0; v < SIM_VERSIONS; v++)
		if (node->held[v].chunks[i] &&
		    digest_equal(&sim->versions[v].chunk_digests[i],
				 &sim->versions[version].chunk_digests[i]))
			return true;
	return false;
}

static bool is_complete(const struct sim_node *node, int v)
{
	const struct sim_held *held = &node->held[v];

	for (unsigned i = 0; i < SIM_CHUNKS; i++)
		if (!holds_chunk(node, v, i))
			return false;
	return held->manifest && held->index;
}

static int disk_missing(void *context, const struct digest *release,
			struct wanted_object *ret_items, size_t max, size_t *ret_count,
			struct stage_progress *ret_progress, struct err *err)
{
	struct sim_node *node = context;
	int v = sim_version_of(node->sim, release);
	const struct sim_version *version;

	*ret_count = 0;
	if (v < 0)
		return err_set(err, -ENOENT, "no such release");
	version = &node->sim->versions[v];
	*ret_progress = (struct stage_progress){.manifest = node->held[v].manifest,
						.complete = is_complete(node, v)};
	for (unsigned i = 0; i < SIM_CHUNKS; i++) {
		ret_progress->bytes_total += version->chunks[i].size;
		ret_progress->bytes_done += holds_chunk(node, v, i) ? version->chunks[i].size : 0;
	}
	if (ret_progress->complete || max < SIM_CHUNKS)
		return 0;
	if (!node->held[v].manifest)
		ret_items[(*ret_count)++] = (struct wanted_object){OBJECT_MANIFEST, *release, 0};
	else if (!node->held[v].index)
		ret_items[(*ret_count)++] = (struct wanted_object){
			OBJECT_CHUNK, version->index_digest, version->index.size};
	for (unsigned i = 0; node->held[v].index && i < SIM_CHUNKS; i++)
		if (!holds_chunk(node, v, i))
			ret_items[(*ret_count)++] = (struct wanted_object){
				OBJECT_CHUNK, version->chunk_digests[i], version->chunks[i].size};
	return 0;
}

/* What is bit by bit what was signed needs no look at its signatures. */
static int put_manifest(struct sim_node *node, int v, const struct digest *release,
			const void *data, size_t size, struct err *err)
{
	const struct bytes *known = &node->sim->versions[v].envelope;
	struct release opened;
	int r;

	if (size != known->size || memcmp(data, known->data, size) != 0) {
		r = release_open(data, size, &node->sim->root_document, release, &opened, err);
		if (r < 0)
			return r;
		release_free(&opened);
	}
	node->held[v].manifest = true;
	return 0;
}

static int disk_put(void *context, const struct digest *release, enum object_kind kind,
		    const struct digest *digest, const void *data, size_t size, struct err *err)
{
	struct sim_node *node = context;
	struct sim *sim = node->sim;
	int v = sim_version_of(sim, release);
	struct digest found;
	bool right;

	if (v < 0)
		return -ENOENT;
	if (sim->now_ms < node->disk_full_ms)
		return err_set(err, -ENOSPC, "the disk is full");
	if (sim_chance(sim, sim->weather.put_fails))
		return err_set(err, -EIO, "the disk does not write");
	if (kind == OBJECT_MANIFEST)
		return put_manifest(node, v, release, data, size, err);
	digest_of(&found, data, size);
	right = digest_equal(&found, digest);
	if (!right && !planted(sim, "unverified chunk"))
		return err_set(err, -EBADMSG, "the bytes are not what the digest says");
	node->held[v].wrong |= !right;
	if (digest_equal(digest, &sim->versions[v].index_digest))
		node->held[v].index = true;
	for (unsigned i = 0; i < SIM_CHUNKS; i++)
		if (digest_equal(digest, &sim->versions[v].chunk_digests[i]))
			node->held[v].chunks[i] = true;
	return 0;
}

static int disk_seal(void *context, const struct digest *release, struct err *err)
{
	struct sim_node *node = context;
	int v = sim_version_of(node->sim, release);

	if (v < 0 || !is_complete(node, v))
		return err_set(err, -EBADMSG, "incomplete");
	if (node->held[v].doubted && node->held[v].rotten) { /* reading it tells */
		node->held[v].chunks[SIM_CHUNKS - 1] = node->held[v].rotten = false;
		return err_set(err, -EBADMSG, "a chunk is not what it was");
	}
	node->held[v].doubted = false;
	for (unsigned i = 0; i < SIM_CHUNKS; i++)
		node->held[v].chunks[i] = true;
	node->held[v].sealed = true;
	return 0;
}

static int disk_release(void *context, const struct digest *release, struct release *ret_release,
			struct err *err)
{
	struct sim_node *node = context;
	int v = sim_version_of(node->sim, release);

	if (v < 0 || !node->held[v].manifest)
		return err_set(err, -ENOENT, "no manifest");
	codec_copy(&codec_release, ret_release, &node->sim->versions[v].release);
	return 0;
}

static bool disk_sealed(void *context, const struct digest *release)
{
	struct sim_node *node = context;
	int v = sim_version_of(node->sim, release);

	return v >= 0 && (node->held[v].sealed || (node->held[v].manifest && planted(node->sim, "unsealed")));
}

static void disk_suspect(void *context, const struct digest *release)
{
	struct sim_node *node = context;
	int v = sim_version_of(node->sim, release);

	if (v < 0)
		return;
	node->held[v].sealed = false;
	node->held[v].doubted = true;
}

static bool runs(const struct sim_node *node, uint32_t version)
{
	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++)
		for (unsigned c = 0; c < COLOUR_COUNT; c++)
			if (node->places[d].slots[c].running &&
			    node->places[d].slots[c].version == version)
				return true;
	return false;
}

static int disk_prune(void *context, const struct digest_item *keep, size_t keep_count,
		      bool *ret_dropped, struct err *err)
{
	struct sim_node *node = context;

	*ret_dropped = false;
	if (!sim_chance(node->sim, 0.1))
		return 0;
	for (uint32_t v = 0; v < SIM_VERSIONS; v++) {
		bool kept = false;

		for (size_t i = 0; i < keep_count; i++)
			kept |= digest_equal(&keep[i].digest, &node->sim->versions[v].digest);
		kept &= !planted(node->sim, "pruned");
		if (kept || !node->held[v].manifest)
			continue;
		if (runs(node, v))
			sim_break(node->sim, "%s prunes %s, which a slot runs", node->name,
				  node->sim->versions[v].name);
		/* what is unpacked belongs to the helper, which is told by itself */
		node->held[v] = (struct sim_held){.unpacked = node->held[v].unpacked};
		*ret_dropped = true;
	}
	return 0;
}

static void disk_idle(void *context)
{
}

struct chunk_store_ops sim_disk(struct sim_node *node)
{
	return (struct chunk_store_ops){.context = node,
					.missing = disk_missing,
					.put = disk_put,
					.seal = disk_seal,
					.release = disk_release,
					.sealed = disk_sealed,
					.suspect = disk_suspect,
					.prune = disk_prune,
					.idle = disk_idle};
}
