/* SPDX-License-Identifier: Apache-2.0 */
/* An array by number and a table by digest: open addressing, half full at most. A digest is as good
 * as random, so its first bytes are the hash. */
#include "protocol/chunk_list.h"
#include "base/mem.h"

#include <assert.h>

struct chunk_list {
	struct digest *digests;
	uint32_t *sizes;
	uint32_t *table;
	uint32_t count, mask;
};

/* The place of the digest in the table, or the free one where it belongs. */
static uint32_t place(const struct chunk_list *list, const struct digest *digest)
{
	uint32_t at;

	memcpy(&at, digest->bytes, sizeof(at));
	for (at &= list->mask;; at = (at + 1) & list->mask)
		if (list->table[at] == CHUNK_NONE ||
		    digest_equal(&list->digests[list->table[at]], digest))
			return at;
}

struct chunk_list *chunk_list_create(const struct chunk_ref *refs, size_t count)
{
	struct chunk_list *list = mem_alloc(sizeof(*list));
	size_t table = 16;

	assert(count < CHUNK_NONE / 4);
	while (table < 2 * count)
		table *= 2;
	list->mask = (uint32_t)(table - 1);
	list->digests = mem_array(count + 1, sizeof(list->digests[0]));
	list->sizes = mem_array(count + 1, sizeof(list->sizes[0]));
	list->table = mem_array(table, sizeof(list->table[0]));
	memset(list->table, 0xff, table * sizeof(list->table[0]));
	for (size_t i = 0; i < count; i++) {
		uint32_t at = place(list, &refs[i].digest);

		if (list->table[at] != CHUNK_NONE)
			continue;
		assert(refs[i].size <= UINT32_MAX);
		list->table[at] = list->count;
		list->digests[list->count] = refs[i].digest;
		list->sizes[list->count++] = (uint32_t)refs[i].size;
	}
	return list;
}

void chunk_list_free(struct chunk_list *list)
{
	if (!list)
		return;
	free(list->digests);
	free(list->sizes);
	free(list->table);
	free(list);
}

uint32_t chunk_list_count(const struct chunk_list *list)
{
	return list->count;
}

const struct digest *chunk_list_digest(const struct chunk_list *list, uint32_t number)
{
	assert(number < list->count);
	return &list->digests[number];
}

const uint32_t *chunk_list_sizes(const struct chunk_list *list)
{
	return list->sizes;
}

uint32_t chunk_list_find(const struct chunk_list *list, const struct digest *digest)
{
	return list->table[place(list, digest)];
}
