/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three sorted lists answer everything: the base's tensors by key, the base's chunks by digest (what
 * is among them need not move at all), and the target's chunks by digest with a mark for those that
 * were handed out.
 */
#include "coordinator/delta_pairs.h"

#include "base/mem.h"
#include "protocol/codec.h"
#include "protocol/manifest.h"

struct place { /* of a tensor in the base */
	uint64_t key;
	size_t blob;
	const struct tensor_ref *tensor;
};

struct seen {
	struct digest digest;
	bool done;
};

struct delta_pairs {
	const struct delta_side *target, *base;
	struct place *places;
	size_t places_count;
	struct seen *held; /* the base's chunks; then those of the target that came */
	size_t held_count;
	struct seen *wanted;
	size_t wanted_count;
	size_t blob, chunk; /* the next to look at */
};

/* ---- a side ---- */

void delta_side_free(struct delta_side *side)
{
	for (size_t i = 0; i < side->release.blobs_count; i++) {
		if (side->indices)
			codec_free(&codec_chunk_index, &side->indices[i]);
		if (side->offsets)
			free(side->offsets[i]);
	}
	free(side->indices);
	free(side->offsets);
	release_free(&side->release);
	*side = (struct delta_side){0};
}

void delta_side_count(struct delta_side *side)
{
	side->offsets = mem_array(side->release.blobs_count + 1, sizeof(*side->offsets));
	for (size_t i = 0; i < side->release.blobs_count; i++) {
		const struct chunk_index *index = &side->indices[i];
		uint64_t at = 0;

		side->offsets[i] = mem_array(index->chunks_count + 1, sizeof(uint64_t));
		for (size_t k = 0; k < index->chunks_count; k++) {
			side->offsets[i][k] = at;
			at += index->chunks[k].size;
		}
	}
}

/* ---- lists ---- */

static int by_digest(const void *a, const void *b)
{
	return memcmp(((const struct seen *)a)->digest.bytes, ((const struct seen *)b)->digest.bytes,
		      DIGEST_SIZE);
}

static struct seen *list_chunks(const struct delta_side *side, size_t *ret_count)
{
	struct seen *list;
	size_t count = 0;

	for (size_t i = 0; i < side->release.blobs_count; i++)
		count += side->indices[i].chunks_count;
	list = mem_array(count + 1, sizeof(*list));
	count = 0;
	for (size_t i = 0; i < side->release.blobs_count; i++)
		for (size_t k = 0; k < side->indices[i].chunks_count; k++)
			list[count++].digest = side->indices[i].chunks[k].digest;
	qsort(list, count, sizeof(*list), by_digest);
	*ret_count = count;
	return list;
}

static struct seen *find(struct seen *list, size_t count, const struct digest *digest)
{
	const struct seen key = {.digest = *digest};
	struct seen *at = count ? bsearch(&key, list, count, sizeof(*list), by_digest) : NULL;

	while (at && at > list && digest_equal(&at[-1].digest, digest))
		at--; /* of equal ones always the same */
	return at;
}

static int by_key(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->blob < y->blob ? -1 : x->blob > y->blob;
}

static void list_tensors(struct delta_pairs *pairs)
{
	const struct delta_side *side = pairs->base;
	size_t count = 0;

	for (size_t i = 0; i < side->release.blobs_count; i++)
		count += side->indices[i].tensors_count;
	pairs->places = mem_array(count + 1, sizeof(*pairs->places));
	for (size_t i = 0; i < side->release.blobs_count; i++)
		for (size_t k = 0; k < side->indices[i].tensors_count; k++)
			pairs->places[pairs->places_count++] = (struct place){
				side->indices[i].tensors[k].key, i, &side->indices[i].tensors[k]};
	qsort(pairs->places, pairs->places_count, sizeof(*pairs->places), by_key);
}

struct delta_pairs *delta_pairs_create(const struct delta_side *target,
				       const struct delta_side *base)
{
	struct delta_pairs *pairs = mem_alloc(sizeof(*pairs));

	pairs->target = target;
	pairs->base = base;
	list_tensors(pairs);
	pairs->held = list_chunks(base, &pairs->held_count);
	pairs->wanted = list_chunks(target, &pairs->wanted_count);
	return pairs;
}

void delta_pairs_free(struct delta_pairs *pairs)
{
	free(pairs->places);
	free(pairs->held);
	free(pairs->wanted);
	free(pairs);
}

/* ---- the base of a chunk ---- */

/* The tensor in which an offset lies, or NULL. */
static const struct tensor_ref *tensor_at(const struct chunk_index *index, uint64_t offset)
{
	size_t low = 0, high = index->tensors_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (index->tensors[middle].offset <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0 || offset - index->tensors[low - 1].offset >= index->tensors[low - 1].size)
		return NULL;
	return &index->tensors[low - 1];
}

static const struct place *find_tensor(const struct delta_pairs *pairs, uint64_t key)
{
	size_t low = 0, high = pairs->places_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (pairs->places[middle].key < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low < pairs->places_count && pairs->places[low].key == key ? &pairs->places[low]
									   : NULL;
}

/* The chunk that begins at this offset. */
static struct chunk_ref chunk_at(const struct delta_side *side, size_t blob, uint64_t offset)
{
	size_t low = 0, high = side->indices[blob].chunks_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (side->offsets[blob][middle] < offset)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == side->indices[blob].chunks_count || side->offsets[blob][low] != offset)
		return (struct chunk_ref){0};
	return side->indices[blob].chunks[low];
}

static struct chunk_ref chunk_of_path(const struct delta_side *side, const char *path,
				      uint64_t offset)
{
	for (size_t i = 0; i < side->release.blobs_count; i++)
		if (side->release.blobs[i].kind == BLOB_FILE &&
		    strcmp(side->release.blobs[i].path, path) == 0)
			return chunk_at(side, i, offset);
	return (struct chunk_ref){0};
}

static struct delta_pair pair_of(const struct delta_pairs *pairs, size_t blob, size_t chunk)
{
	const struct chunk_index *index = &pairs->target->indices[blob];
	uint64_t offset = pairs->target->offsets[blob][chunk];
	struct delta_pair pair = {.chunk = index->chunks[chunk]};
	const struct tensor_ref *tensor = tensor_at(index, offset);
	const struct place *place;

	if (!tensor) {
		pair.base = chunk_of_path(pairs->base, pairs->target->release.blobs[blob].path,
					  offset);
		return pair;
	}
	if (offset + pair.chunk.size <= tensor->offset + tensor->size)
		pair.element = tensor->element;
	place = find_tensor(pairs, tensor->key);
	if (place)
		pair.base = chunk_at(pairs->base, place->blob,
				     place->tensor->offset + (offset - tensor->offset));
	return pair;
}

bool delta_pairs_next(struct delta_pairs *pairs, struct delta_pair *ret_pair)
{
	const struct delta_side *target = pairs->target;

	for (; pairs->blob < target->release.blobs_count; pairs->blob++, pairs->chunk = 0) {
		const struct chunk_index *index = &target->indices[pairs->blob];

		while (pairs->chunk < index->chunks_count) {
			size_t at = pairs->chunk++;
			const struct digest *digest = &index->chunks[at].digest;
			struct seen *wanted = find(pairs->wanted, pairs->wanted_count, digest);

			if (wanted->done || find(pairs->held, pairs->held_count, digest))
				continue;
			wanted->done = true;
			*ret_pair = pair_of(pairs, pairs->blob, at);
			return true;
		}
	}
	return false;
}
