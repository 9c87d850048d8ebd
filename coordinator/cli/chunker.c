/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of obligatory cuts, and fixed steps between them. A tensor boundary is a cut when one of
 * the tensors beside it is large: runs of small tensors (norms, biases) share chunks, and the
 * number of chunks stays bounded by the size of the file. Steps start anew at each cut, so a header
 * that changes its length moves no chunk of the weights. Format:
 * https://huggingface.co/docs/safetensors (8 bytes little-endian header length, JSON header with
 * data_offsets from the header's end).
 */
#include "coordinator/cli/chunker.h"
#include "base/mem.h"

#include <jansson.h>

enum { KIB = 1024, MIB = 1024 * KIB };

static uint64_t step_of(enum blob_kind kind, uint64_t size)
{
	const uint64_t gib = UINT64_C(1) << 30;

	if (kind == BLOB_LAYER)
		return size <= (uint64_t)LIMIT_CHUNKS * MIB ? MIB : LIMIT_CHUNK;
	if (size < 256 * (uint64_t)MIB)
		return 256 * KIB;
	return size < 32 * gib ? MIB : LIMIT_CHUNK;
}

void chunker_init(struct chunker *chunker, enum blob_kind kind, uint64_t size)
{
	*chunker = (struct chunker){.size = size, .step = step_of(kind, size)};
}

void chunker_free(struct chunker *chunker)
{
	free(chunker->cuts);
	*chunker = (struct chunker){0};
}

/* ---- safetensors ---- */

uint64_t chunker_header_size(const uint8_t first[8], uint64_t file_size)
{
	uint64_t size = 0;

	for (int i = 7; i >= 0; i--)
		size = size << 8 | first[i];
	if (size < 2 || size > CHUNKER_HEADER_MAX - 8 || size + 8 > file_size)
		return 0;
	return size + 8;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* All boundaries of tensors, from the start of the file; 0 when one makes no sense. */
static size_t boundaries(const json_t *header, uint64_t start, uint64_t file_size, uint64_t *edges)
{
	const char *name;
	json_t *tensor;
	size_t count = 0;

	json_object_foreach((json_t *)(uintptr_t)header, name, tensor)
	{
		const json_t *offsets = json_object_get(tensor, "data_offsets");

		for (size_t i = 0; i < 2 && offsets; i++) {
			json_int_t at = json_integer_value(json_array_get(offsets, i));

			if (json_array_size(offsets) != 2 || at < 0 ||
			    (uint64_t)at > file_size - start)
				return 0;
			edges[count++] = start + (uint64_t)at;
		}
	}
	return count;
}

static size_t unique(uint64_t *edges, size_t count)
{
	size_t kept = 0;

	qsort(edges, count, sizeof(*edges), compare_u64);
	for (size_t i = 0; i < count; i++)
		if (!kept || edges[kept - 1] != edges[i])
			edges[kept++] = edges[i];
	return kept;
}

/* Keeps the edges beside something at least half a step long, and the first: the header's end. */
static size_t keep_large(const struct chunker *c, uint64_t *edges, size_t count)
{
	uint64_t least = c->step / 2, before = 0;
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t at = edges[i], after = i + 1 < count ? edges[i + 1] : c->size;

		if (at > 0 && at < c->size &&
		    (i == 0 || at - before >= least || after - at >= least))
			edges[kept++] = at;
		before = at;
	}
	return kept;
}

static uint64_t count_chunks(const struct chunker *c, const uint64_t *cuts, size_t cuts_count)
{
	uint64_t count = 0, before = 0;

	for (size_t i = 0; i <= cuts_count; i++) {
		uint64_t at = i < cuts_count ? cuts[i] : c->size;

		count += (at - before + c->step - 1) / c->step;
		before = at;
	}
	return count;
}

void chunker_use_tensors(struct chunker *chunker, const uint8_t *header, size_t header_size)
{
	json_t *json = NULL;
	uint64_t *edges;
	size_t count;

	if (header_size > 8)
		json = json_loadb((const char *)header + 8, header_size - 8, 0, NULL);
	if (!json_is_object(json)) {
		json_decref(json);
		return;
	}
	edges = mem_array(2 * json_object_size(json), sizeof(*edges));
	count = boundaries(json, header_size, chunker->size, edges);
	json_decref(json);
	count = keep_large(chunker, edges, unique(edges, count));
	if (count && count_chunks(chunker, edges, count) <= LIMIT_CHUNKS) {
		free(chunker->cuts);
		chunker->cuts = TAKE_PTR(edges);
		chunker->cuts_count = count;
	}
	free(edges);
}

/* ---- cutting ---- */

size_t chunker_next(struct chunker *chunker, const uint8_t *window, size_t window_size)
{
	uint64_t end = chunker->size, size;

	while (chunker->cuts_next < chunker->cuts_count &&
	       chunker->cuts[chunker->cuts_next] <= chunker->at)
		chunker->cuts_next++;
	if (chunker->cuts_next < chunker->cuts_count)
		end = chunker->cuts[chunker->cuts_next];
	size = end - chunker->at;
	if (size > chunker->step)
		size = chunker->step;
	if (size > window_size)
		size = window_size;
	chunker->at += size;
	return (size_t)size;
}
