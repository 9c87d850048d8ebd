/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a plan: what each node must fetch is counted chunk by chunk against the releases that
 * it reports in its slots, less what deltas make of them. Deltas that are not made yet are wanted
 * from now on, and the plan says that it will be less. How long that takes follows from the rates
 * that were measured last, or that the operator says.
 */
#include "coordinator/plan_bytes.h"

#include "base/mem.h"
#include "coordinator/chunk_set.h"
#include "coordinator/core/transfer.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

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
			size_t at = chunk_set_find(&counter->wanted, &set.items[i].chunk);

			if (at != SIZE_MAX)
				missing[at] = false;
		}
		bytes = delta->bytes;
	}
	codec_free(&codec_delta_set, &set);
	free(data.data);
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
		chunk_set_add(counter->c, &held->releases[i], &have);
		unpacked |= digest_equal(&held->releases[i], counter->to);
	}
	for (size_t i = 0; i < wanted->count; i++)
		missing[i] = chunk_set_find(&have, &wanted->chunks[i].digest) == SIZE_MAX;
	chunk_set_free(&have);
	held->chunk_bytes = chunk_set_sum(wanted, missing);
	held->disk_bytes = held->chunk_bytes + (unpacked ? 0 : wanted->unpacked_bytes);
	if (held->chunk_bytes > 0) {
		delta = best_delta(counter, held);
		delta_bytes = use_deltas(counter, &delta, missing);
	}
	held->bytes = chunk_set_sum(wanted, missing) + delta_bytes;
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

static json_t *ms_or_null(int64_t ms)
{
	return ms == TRANSFER_UNKNOWN ? json_null() : json_u64((uint64_t)ms);
}

static json_t *show_time(const struct transfer *transfer)
{
	return json_pack("{so so so so}", "exchange_ms", ms_or_null(transfer_exchange_ms(transfer)),
			 "alone_ms", ms_or_null(transfer_alone_ms(transfer)), "origin_rate",
			 json_u64(transfer->origin_rate), "rates_unknown",
			 json_u64(transfer->unknown));
}

static json_t *show_nodes(struct counter *counter, const struct plan *plan, uint64_t rate,
			  struct plan_bytes *bytes, struct transfer *transfer)
{
	json_t *nodes = json_array();
	struct held scratch;

	for (size_t i = 0; i < plan->nodes_count; i++) {
		const struct shell_node *node = agents_find(counter->c, &plan->nodes[i].id);
		const struct held *held = count_node(counter, &plan->nodes[i].id, &scratch);

		bytes->total += held->bytes;
		bytes->chunks += held->chunk_bytes;
		transfer_add(transfer, held->bytes, rate ? rate : node->fetch_rate);
		json_array_append_new(
			nodes, json_pack("{ss so so so so}", "node", node->record.name, "bytes",
					 json_u64(held->bytes), "chunk_bytes",
					 json_u64(held->chunk_bytes), "disk_bytes",
					 json_u64(held->disk_bytes), "rate",
					 json_u64(node->fetch_rate)));
	}
	return nodes;
}

void plan_bytes_count(struct coordinator *c, const struct plan *plan, const struct digest *to,
		      const struct plan_rates *rates, struct plan_bytes *ret_bytes)
{
	AUTO_FREE struct counter *counter = mem_alloc(sizeof(*counter));
	struct transfer transfer = {.origin_rate = rates->origin ? rates->origin : rates->links};

	*ret_bytes = (struct plan_bytes){0};
	counter->c = c;
	counter->to = to;
	chunk_set_add(c, to, &counter->wanted);
	counter->moves = mem_array(counter->wanted.count + 1, sizeof(bool));
	ret_bytes->nodes = show_nodes(counter, plan, rates->links, ret_bytes, &transfer);
	ret_bytes->distinct =
		chunk_set_sum(&counter->wanted, counter->moves) + counter->delta_bytes;
	ret_bytes->deltas_pending = counter->pending;
	transfer.origin_bytes = ret_bytes->distinct;
	if (!transfer.origin_rate)
		transfer.origin_rate = seeds_rate(c);
	ret_bytes->time = show_time(&transfer);
	free(counter->moves);
	chunk_set_free(&counter->wanted);
}
