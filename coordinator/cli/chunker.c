/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of obligatory cuts, and between them fixed steps or cuts by content. A tensor boundary is
 * a cut when one of the tensors beside it is large: runs of small tensors (norms, biases) share
 * chunks, and the number of chunks stays bounded by the size of the file. Steps start anew at each
 * cut, so a header that changes its length moves no chunk of the weights.
 *
 * By content: a gear hash rolls over the bytes; where its highest bits are all zero a chunk ends.
 * Up to the average more bits must be zero, after it fewer, so that sizes stay close together.
 */
#include "coordinator/cli/chunker.h"
#include "base/mem.h"
#include "base/rng.h"

enum { KIB = 1024, MIB = 1024 * KIB, NORMAL_BITS = 2 };

/* Some thousands of chunks: fewer, and nodes that exchange them wait for whole ones (8 nodes with 256
 * MiB reach 0.99 of what their links allow with 256 KiB, 0.95 with 1 MiB). */
static uint64_t step_of(uint64_t size)
{
	const uint64_t gib = UINT64_C(1) << 30;

	if (size < gib)
		return 256 * KIB;
	return size < 32 * gib ? MIB : LIMIT_CHUNK;
}

/* A file of the archive that is long enough makes two cuts, and each of these parts is at least as
 * long as `least` or ends at one of them. */
static void choose_sizes(struct chunker *c)
{
	c->least = 32 * KIB;
	c->step = 128 * KIB;
	c->most = 512 * KIB;
	while (c->size / c->least > LIMIT_CHUNKS / 3 && c->most < LIMIT_CHUNK) {
		c->least *= 2;
		c->step *= 2;
		c->most *= 2;
	}
	if (c->size / c->least <= LIMIT_CHUNKS / 3)
		return;
	c->least = 0;
	c->step = LIMIT_CHUNK;
}

void chunker_init(struct chunker *chunker, enum blob_kind kind, uint64_t size)
{
	*chunker = (struct chunker){.size = size, .step = step_of(size)};
	if (kind == BLOB_LAYER)
		choose_sizes(chunker);
	chunker->step_here = chunker->step;
}

void chunker_free(struct chunker *chunker)
{
	free(chunker->cuts);
	*chunker = (struct chunker){0};
}

/* ---- tensors ---- */

static uint64_t step_in(const struct chunker *c, const struct tensor_ref *tensor)
{
	uint64_t stride = tensor->element.stride;

	return stride > 1 && stride <= c->step ? c->step / stride * stride : c->step;
}

/* Where tensors begin and end, each place once. */
static size_t list_edges(const struct chunker *c, const struct tensors *tensors,
                         struct chunk_cut *edges)
{
	size_t count = 0;

	for (size_t i = 0; i < tensors->count; i++) {
		const struct tensor_ref *tensor = &tensors->items[i];

		if (count && edges[count - 1].at == tensor->offset)
			count--;
		edges[count++] = (struct chunk_cut){tensor->offset, step_in(c, tensor)};
		edges[count++] = (struct chunk_cut){tensor->offset + tensor->size, 0};
	}
	return count;
}

/* Keeps the edges beside something at least half a step long, and the first: the header's end. */
static size_t keep_large(const struct chunker *c, struct chunk_cut *edges, size_t count)
{
	uint64_t least = c->step / 2, before = 0;
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		struct chunk_cut edge = edges[i];
		uint64_t after = i + 1 < count ? edges[i + 1].at : c->size;

		if (after - edge.at < least)
			edge.step = 0;
		if (edge.at > 0 && edge.at < c->size &&
		    (i == 0 || edge.at - before >= least || after - edge.at >= least))
			edges[kept++] = edge;
		before = edge.at;
	}
	return kept;
}

static uint64_t count_chunks(const struct chunker *c, const struct chunk_cut *cuts, size_t count)
{
	uint64_t chunks = 0, before = 0, step = c->step;

	for (size_t i = 0; i <= count; i++) {
		uint64_t at = i < count ? cuts[i].at : c->size;

		chunks += (at - before + step - 1) / step;
		before = at;
		step = i < count && cuts[i].step ? cuts[i].step : c->step;
	}
	return chunks;
}

void chunker_use_tensors(struct chunker *chunker, const struct tensors *tensors)
{
	struct chunk_cut *edges = mem_array(2 * tensors->count + 1, sizeof(*edges));
	size_t count = keep_large(chunker, edges, list_edges(chunker, tensors, edges));

	if (count && count_chunks(chunker, edges, count) <= LIMIT_CHUNKS)
		chunker_use_cuts(chunker, edges, count);
	else
		free(edges);
}

void chunker_use_cuts(struct chunker *chunker, struct chunk_cut *cuts, size_t count)
{
	free(chunker->cuts);
	chunker->cuts = cuts;
	chunker->cuts_count = count;
}

/* ---- by content ---- */

/* 256 fixed random numbers: they are part of what makes chunks equal everywhere. */
static const uint64_t *gear(void)
{
	static uint64_t table[256];
	struct rng rng = {0x636f766579};

	for (size_t i = 0; !table[255] && i < ARRAY_SIZE(table); i++)
		table[i] = rng_next(&rng);
	return table;
}

static uint64_t highest_bits(unsigned count)
{
	return ~UINT64_C(0) << (64 - count);
}

/* The first end of a chunk in window[from, to); to when there is none. */
static size_t find_end(const uint8_t *window, size_t from, size_t to, uint64_t mask, uint64_t *hash)
{
	const uint64_t *table = gear();

	for (size_t i = from; i < to; i++) {
		*hash = (*hash << 1) + table[window[i]];
		if (!(*hash & mask))
			return i + 1;
	}
	return to;
}

static size_t cut_by_content(const struct chunker *c, const uint8_t *window, size_t size)
{
	unsigned bits = 63 - (unsigned)__builtin_clzll(c->step);
	size_t least = (size_t)c->least, middle = (size_t)c->step, at;
	uint64_t hash = 0;

	if (size <= least)
		return size;
	if (middle > size)
		middle = size;
	at = find_end(window, least, middle, highest_bits(bits + NORMAL_BITS), &hash);
	if (at < middle)
		return at;
	return find_end(window, middle, size, highest_bits(bits - NORMAL_BITS), &hash);
}

/* ---- cutting ---- */

size_t chunker_window(const struct chunker *chunker)
{
	uint64_t most = chunker->least ? chunker->most : chunker->step;

	return (size_t)(chunker->size - chunker->at < most ? chunker->size - chunker->at : most);
}

size_t chunker_next(struct chunker *chunker, const uint8_t *window)
{
	uint64_t end = chunker->size, size, most;

	while (chunker->cuts_next < chunker->cuts_count &&
	       chunker->cuts[chunker->cuts_next].at <= chunker->at) {
		uint64_t step = chunker->cuts[chunker->cuts_next++].step;

		chunker->step_here = step ? step : chunker->step;
	}
	if (chunker->cuts_next < chunker->cuts_count)
		end = chunker->cuts[chunker->cuts_next].at;
	size = end - chunker->at;
	most = chunker->least ? chunker->most : chunker->step_here;
	if (size > most)
		size = most;
	if (chunker->least)
		size = cut_by_content(chunker, window, (size_t)size);
	chunker->at += size;
	return (size_t)size;
}
