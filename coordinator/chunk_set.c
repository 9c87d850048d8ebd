/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks of all releases that are added, sorted and made unique after each: a fleet holds a handful
 * of releases at once, and what they share is found by a binary search. */
#include "coordinator/chunk_set.h"

#include "base/mem.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

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

void chunk_set_add(struct coordinator *c, const struct digest *digest, struct chunk_set *set)
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

size_t chunk_set_find(const struct chunk_set *set, const struct digest *digest)
{
	const struct chunk_ref key = {.digest = *digest};
	const struct chunk_ref *at =
		set->count ? bsearch(&key, set->chunks, set->count, sizeof(key), by_digest) : NULL;

	return at ? (size_t)(at - set->chunks) : SIZE_MAX;
}

uint64_t chunk_set_sum(const struct chunk_set *set, const bool *which)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < set->count; i++)
		bytes += which[i] ? set->chunks[i].size : 0;
	return bytes;
}

void chunk_set_free(struct chunk_set *set)
{
	free(set->chunks);
	*set = (struct chunk_set){0};
}
