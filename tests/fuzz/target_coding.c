/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coded chunks. Parts: a base, and bytes that are decoded as they are, with and without it; then
 * coded as a chunk of their own, which must come back. The first byte says what the numbers are.
 */
#include "base/mem.h"
#include "fuzz.h"
#include "protocol/coding/coding.h"

#include <string.h>

enum { RESULT_MAX = 256 << 10 };

static struct coding *coding;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	coding = coding_create();
	return 0;
}

/* Memory of exactly the size, so that a sanitizer sees one byte too many. */
static uint8_t *exactly(size_t size)
{
	uint8_t *data = malloc(size ? size : 1);

	assert(data);
	return data;
}

static void decode(const struct bytes *data, const struct bytes *base)
{
	AUTO_FREE uint8_t *result = NULL;
	size_t size = 0;

	if (coding_size(data->data, data->size, RESULT_MAX, &size) < 0)
		return;
	assert(size <= RESULT_MAX && coding_method_of(data->data) < CODING_METHOD_COUNT);
	result = exactly(size);
	(void)!coding_decode(coding, data->data, data->size, base->data, base->size, result);
}

static void there_and_back(const struct bytes *data, const struct bytes *base,
			   struct element element)
{
	const struct coding_chunk chunk = {.data = data->data,
					   .size = data->size,
					   .base = base->size ? base->data : NULL,
					   .base_size = base->size,
					   .element = element};
	AUTO_FREE uint8_t *coded = exactly(data->size + CODING_HEAD), *back = exactly(data->size);
	size_t used = coding_encode(coding, &chunk, coded), size = 0;

	assert(used <= data->size + CODING_HEAD);
	assert(coding_size(coded, used, data->size, &size) == 0 && size == data->size);
	assert(coding_decode(coding, coded, used, chunk.base, base->size, back) == 0);
	assert(memcmp(back, data->data, size) == 0);
}

/* As an object on the wire: restored from whatever came, and there and back. */
static void on_the_wire(const struct bytes *data)
{
	struct bytes object = {mem_copy(data->data, data->size), data->size};

	if (coding_restore(coding, &object, RESULT_MAX) < 0)
		assert(object.size == data->size);
	assert(object.size <= RESULT_MAX || object.size == data->size);
	free(object.data);
	object = (struct bytes){mem_copy(data->data, data->size), data->size};
	if (coding_shrink(coding, &object)) {
		assert(object.size < data->size);
		assert(coding_restore(coding, &object, data->size) == 0);
	}
	assert(object.size == data->size && memcmp(object.data, data->data, data->size) == 0);
	free(object.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	uint8_t kind = fuzz_byte(&input);
	struct bytes base = fuzz_part(&input), chunk = fuzz_part(&input), none = {0};
	struct element element = {.width = 1u << (kind & 3), .is_float = kind & 4};

	if (kind & 8)
		element = (struct element){0};
	if (kind & 16) /* out of an index, which nobody vouches for */
		element = (struct element){.width = kind >> 5, .stride = kind};
	decode(&chunk, &base);
	decode(&chunk, &none);
	if (chunk.size > 0) {
		on_the_wire(&chunk);
		there_and_back(&chunk, &base, element);
		there_and_back(&chunk, &none, element);
	}
	return 0;
}
