/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers grow to the largest chunk that was met and stay: a coder lives as long as a transfer. */
#include "protocol/coding/parts.h"

#include "base/mem.h"

enum { SHRINK_MIN = 256 };

struct coding *coding_create(void)
{
	struct coding *coding = mem_alloc(sizeof(*coding));

	coding->rare = rare_create();
	return coding;
}

void coding_free(struct coding *coding)
{
	if (!coding)
		return;
	ZSTD_freeCCtx(coding->encoder);
	ZSTD_freeDCtx(coding->decoder);
	rare_free(coding->rare);
	for (size_t i = 0; i < SCRATCH_COUNT; i++)
		free(coding->scratch[i].data);
	free(coding);
}

uint8_t *coding_scratch(struct coding *coding, enum coding_scratch which, size_t size)
{
	struct bytes *scratch = &coding->scratch[which];

	if (scratch->size < size) {
		free(scratch->data);
		scratch->data = mem_resize(NULL, size, 1);
		scratch->size = size;
	}
	return scratch->data;
}

bool coding_element_is_valid(const struct element *element)
{
	switch (element->width) {
	case 1:
		return element->stride <= CODING_STRIDE_MAX &&
		       !(element->stride && element->is_float);
	case 2:
	case 4:
	case 8:
		return element->stride == 0;
	default:
		return false;
	}
}

bool coding_shrink(struct coding *coding, struct bytes *object)
{
	const struct coding_chunk chunk = {.data = object->data, .size = object->size};
	AUTO_FREE uint8_t *data = NULL;
	size_t size;

	if (object->size < SHRINK_MIN)
		return false;
	data = mem_resize(NULL, object->size + CODING_HEAD, 1);
	size = coding_encode(coding, &chunk, data);
	if (size >= object->size)
		return false;
	free(object->data);
	object->data = mem_resize(TAKE_PTR(data), size, 1);
	object->size = size;
	return true;
}

int coding_restore(struct coding *coding, struct bytes *object, size_t max)
{
	AUTO_FREE uint8_t *data = NULL;
	size_t size = 0;
	int r = coding_size(object->data, object->size, max, &size);

	if (r < 0)
		return r;
	data = mem_resize(NULL, size, 1);
	r = coding_decode(coding, object->data, object->size, NULL, 0, data);
	if (r < 0)
		return r;
	free(object->data);
	*object = (struct bytes){TAKE_PTR(data), size};
	return 0;
}

bool coding_needs_base(const uint8_t *data)
{
	enum coding_method method = coding_method_of(data);

	return method == CODING_INTEGER || method == CODING_SPARSE || method == CODING_PREFIX ||
	       method == CODING_RARE || method == CODING_SORTED;
}

enum coding_method coding_method_of(const uint8_t *data)
{
	return (enum coding_method)data[0];
}
