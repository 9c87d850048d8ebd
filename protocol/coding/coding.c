/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers grow to the largest chunk that was met and stay: a coder lives as long as a transfer. */
#include "protocol/coding/parts.h"

#include "base/mem.h"

struct coding *coding_create(void)
{
	struct coding *coding = mem_alloc(sizeof(*coding));

	coding->rare = rare_create();
	return coding;
}

void coding_free(struct coding *coding)
{
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

enum coding_method coding_method_of(const uint8_t *data)
{
	return (enum coding_method)data[0];
}
