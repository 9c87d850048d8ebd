/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a plan: what each node must fetch is counted chunk by chunk against the releases that
 * it reports in its slots, less what deltas make of them. Deltas that are not made yet are wanted
 * from now on, and the plan says that it will be less.
 */
#include "coordinator/plan_bytes.h"

#include "base/mem.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

struct chunk_set { /* sorted by digest, each once */
	struct chunk_ref *chunks;
	size_t count, cap;
	uint64_t unpacked_bytes; /* of the layers */
};

static int by_digest(const void *a, const void *b)
{
	return memcmp(((const struct chunk_ref *)a)->digest.bytes,
		      ((const struct chunk_ref *)b)->digest.bytes, DIGEST_SIZE);
}

static void sort_once(struct chunk_set *set)
{
	size_t kept = 0;

	if (set->count > 1)
		qsort(set->chunks, set->count, sizeof(*set->chunks), by_digest);
	for (size_t i = 0; i < set->count; i++) {
		if (kept == 0 || by_digest(&set->chunks[kept - 1], &set->chunks[i]) != 0)
			set->chunks[kept++] = set->chunks[i];
	}
	set->count = kept;
}

/* What cannot be read is left out: the plan then says more bytes than will move. */
static void add_release(struct coordinator *c, const struct digest *digest, struct chunk_set *set)
{
	struct envelope envelope;
	struct release release;

	if (artifacts_open(c, digest, &release, &envelope, NULL) < 0)
		return;
	for (size_t i = 0; i < release.blobs_count; i++) {
		struct chunk_index index;

		if (release.blobs[i].kind == BLOB_LAYER)
			set->unpacked_bytes += release.blobs[i].size;
		if (artifacts_index(c, &release.blobs[i].index, &index, NULL) < 0)
			continue;
		for (size_t k = 0; k < index.chunks_count; k++) {
			MEM_GROW(set->chunks, &set->cap, set->count);
			set->chunks[set->count++] = index.chunks[k];
		}
		codec_free(&codec_chunk_index, &index);
	}
	release_free(&release);
	codec_free(&codec_envelope, &envelope);
	sort_once(set);
}

static size_t find_chunk(const struct chunk_set *set, const struct digest *digest)
{
	const struct chunk_ref key = {.digest = *digest};
	const struct chunk_ref *at =
		set->count ? bsearch(&key, set->chunks, set->count, sizeof(key), by_digest) : NULL;

	return at ? (size_t)(at - set->chunks) : SIZE_MAX;
}

/* Nodes that hold the same releases need the same bytes; most fleets have a handful of such sets. */
enum { HELD_MAX = 8, HELD_SETS = 64 };

struct held {
	struct digest releases[HELD_MAX];
	size_t count;
	uint64_t chunk_bytes; /* without deltas */
	uint64_t bytes, disk_bytes;
};

struct counter {
	struct coordinator *c;
	const struct digest *to;
	struct chunk_set wanted;
	bool *moves; /* for each chunk: some node needs it whole */
	struct held sets[HELD_SETS];
	size_t sets_count;
	uint64_t delta_bytes; /* of different sets */
	bool pending;	      /* deltas are being made */
};

static void add_held(struct held *held, const struct digest *release)
{
	if (digest_is_zero(release) || held->count == HELD_MAX)
		return;
	for (size_t i = 0; i < held->count; i++) {
		if (digest_equal(&held->releases[i], release))
			return;
	}
	held->releases[held->count++] = *release;
}

static void held_by(const struct shell_node *node, struct held *held)
{
	*held = (struct held){0};
	for (size_t i = 0; node && i < node->status.deployments_count; i++) {
		const struct deployment_report *report = &node->status.deployments[i];

		for (size_t s = 0; s < COLOUR_COUNT; s++)
			add_held(held, &report->slots[s].release);
		if (report->staged)
			add_held(held, &report->target);
	}
}

/* The smallest set that makes `to` of what is held; zero: none. What is not made yet is wanted. */
static struct store_delta best_delta(struct counter *counter, const struct held *held)
{
	struct store_delta best = {0};

	for (size_t i = 0; i < held->count; i++) {
		const struct shell_delta *delta =
			deltas_want(counter->c, counter->to, &held->releases[i]);

		if (!delta)
			continue;
		counter->pending |= delta->state == SHELL_DELTA_WANTED;
		if (!digest_is_zero(&delta->record.set) &&
		    (digest_is_zero(&best.set) || delta->record.bytes < best.bytes))
			best = delta->record;
	}
	return best;
}

/* Takes out of `missing` what the set makes. Returns the bytes of the set and its objects. */
static uint64_t use_deltas(struct counter *counter, const struct store_delta *delta, bool *missing)
{
	struct bytes data = {0};
	struct delta_set set = {0};
	uint64_t bytes = 0;

	if (digest_is_zero(&delta->set) ||
	    counter->c->world.object_get(counter->c->world.user, &delta->set, &data, NULL) < 0)
		return 0;
	if (delta_set_open(data.data, data.size, &delta->set, &set, NULL) == 0) {
		for (size_t i = 0; i < set.items_count; i++) {
			size_t at = find_chunk(&counter->wanted, &set.items[i].chunk);

			if (at != SIZE_MAX)
				missing[at] = false;
		}
		bytes = delta->bytes;
	}
	codec_free(&codec_delta_set, &set);
	free(data.data);
	return bytes;
}

static uint64_t sum(const struct chunk_set *set, const bool *which)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < set->count; i++)
		bytes += which[i] ? set->chunks[i].size : 0;
	return bytes;
}

static void count_held(struct counter *counter, struct held *held)
{
	const struct chunk_set *wanted = &counter->wanted;
	AUTO_FREE bool *missing = mem_array(wanted->count + 1, sizeof(*missing));
	struct chunk_set have = {0};
	struct store_delta delta;
	uint64_t delta_bytes = 0;
	bool unpacked = false;

	for (size_t i = 0; i < held->count; i++) {
		add_release(counter->c, &held->releases[i], &have);
		unpacked |= digest_equal(&held->releases[i], counter->to);
	}
	for (size_t i = 0; i < wanted->count; i++)
		missing[i] = find_chunk(&have, &wanted->chunks[i].digest) == SIZE_MAX;
	free(have.chunks);
	held->chunk_bytes = sum(wanted, missing);
	held->disk_bytes = held->chunk_bytes + (unpacked ? 0 : wanted->unpacked_bytes);
	if (held->chunk_bytes > 0) {
		delta = best_delta(counter, held);
		delta_bytes = use_deltas(counter, &delta, missing);
	}
	held->bytes = sum(wanted, missing) + delta_bytes;
	counter->delta_bytes += delta_bytes;
	for (size_t i = 0; i < wanted->count; i++)
		counter->moves[i] |= missing[i];
}

static const struct held *count_node(struct counter *counter, const struct node_id *id,
				     struct held *scratch)
{
	held_by(agents_find(counter->c, id), scratch);
	for (size_t i = 0; i < counter->sets_count; i++) {
		const struct held *set = &counter->sets[i];

		if (set->count == scratch->count &&
		    memcmp(set->releases, scratch->releases, sizeof(set->releases)) == 0)
			return set;
	}
	count_held(counter, scratch);
	if (counter->sets_count < HELD_SETS)
		counter->sets[counter->sets_count++] = *scratch;
	return scratch;
}

json_t *plan_bytes_show(struct coordinator *c, const struct plan *plan, const struct digest *to,
			struct plan_bytes *ret_bytes)
{
	AUTO_FREE struct counter *counter = mem_alloc(sizeof(*counter));
	json_t *nodes = json_array();
	struct held scratch;

	*ret_bytes = (struct plan_bytes){0};
	counter->c = c;
	counter->to = to;
	add_release(c, to, &counter->wanted);
	counter->moves = mem_array(counter->wanted.count + 1, sizeof(bool));
	for (size_t i = 0; i < plan->nodes_count; i++) {
		const struct shell_node *node = agents_find(c, &plan->nodes[i].id);
		const struct held *held = count_node(counter, &plan->nodes[i].id, &scratch);

		ret_bytes->total += held->bytes;
		ret_bytes->chunks += held->chunk_bytes;
		json_array_append_new(
			nodes, json_pack("{ss so so so so}", "node", node->record.name, "bytes",
					 json_u64(held->bytes), "chunk_bytes",
					 json_u64(held->chunk_bytes), "disk_bytes",
					 json_u64(held->disk_bytes), "rate",
					 json_u64(node->fetch_rate)));
	}
	ret_bytes->distinct = sum(&counter->wanted, counter->moves) + counter->delta_bytes;
	ret_bytes->deltas_pending = counter->pending;
	free(counter->moves);
	free(counter->wanted.chunks);
	return nodes;
}
