/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a GGUF file: counts, metadata (which only has to be stepped over, but for the
 * alignment), then name, sides, type and offset of each tensor. How long the header is shows only
 * at its end, so that running out of bytes is an answer: -EAGAIN.
 */
#include "coordinator/cli/tensors.h"
#include "base/mem.h"
#include "base/str.h"

enum {
	VERSION_OLDEST = 2,
	VERSION_NEWEST = 3,
	SIDES_MAX = 8,
	NESTING_MAX = 4, /* arrays of arrays */
	TYPE_STRING = 8,
	TYPE_ARRAY = 9,
	ALIGNMENT = 32,
};

/* Block types of ggml.h, by number: numbers and bytes of a block. */
static const struct block {
	const char *name;
	uint32_t numbers, bytes;
	bool is_float;
} blocks[] = {
    [0] = {"F32", 1, 4, true},          [1] = {"F16", 1, 2, true},
    [2] = {"Q4_0", 32, 18, false},      [3] = {"Q4_1", 32, 20, false},
    [6] = {"Q5_0", 32, 22, false},      [7] = {"Q5_1", 32, 24, false},
    [8] = {"Q8_0", 32, 34, false},      [9] = {"Q8_1", 32, 36, false},
    [10] = {"Q2_K", 256, 84, false},    [11] = {"Q3_K", 256, 110, false},
    [12] = {"Q4_K", 256, 144, false},   [13] = {"Q5_K", 256, 176, false},
    [14] = {"Q6_K", 256, 210, false},   [15] = {"Q8_K", 256, 292, false},
    [16] = {"IQ2_XXS", 256, 66, false}, [17] = {"IQ2_XS", 256, 74, false},
    [18] = {"IQ3_XXS", 256, 98, false}, [19] = {"IQ1_S", 256, 50, false},
    [20] = {"IQ4_NL", 32, 18, false},   [21] = {"IQ3_S", 256, 110, false},
    [22] = {"IQ2_S", 256, 82, false},   [23] = {"IQ4_XS", 256, 136, false},
    [24] = {"I8", 1, 1, false},         [25] = {"I16", 1, 2, false},
    [26] = {"I32", 1, 4, false},        [27] = {"I64", 1, 8, false},
    [28] = {"F64", 1, 8, true},         [29] = {"IQ1_M", 256, 56, false},
    [30] = {"BF16", 1, 2, true},        [34] = {"TQ1_0", 256, 54, false},
    [35] = {"TQ2_0", 256, 66, false},   [39] = {"MXFP4", 32, 17, false},
};

struct cursor {
	const uint8_t *at, *end;
	int failed; /* 0, -EAGAIN, -EBADMSG */
};

static const uint8_t *take(struct cursor *c, uint64_t size)
{
	const uint8_t *at = c->at;

	if (c->failed == 0 && size > (uint64_t)(c->end - c->at))
		c->failed = size > TENSORS_HEADER_MAX ? -EBADMSG : -EAGAIN;
	if (c->failed < 0)
		return NULL;
	c->at += size;
	return at;
}

static uint64_t take_number(struct cursor *c, size_t size)
{
	const uint8_t *at = take(c, size);
	uint64_t value = 0;

	for (size_t i = size; at && i > 0; i--)
		value = value << 8 | at[i - 1];
	return value;
}

static size_t size_of_value(uint64_t type)
{
	static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

	return type < ARRAY_SIZE(sizes) ? sizes[type] : 0;
}

static void skip_value(struct cursor *c, uint64_t type, unsigned depth)
{
	uint64_t items_type, items, size = size_of_value(type);

	if (size > 0) {
		(void)take(c, size);
	} else if (type == TYPE_STRING) {
		(void)take(c, take_number(c, 8));
	} else if (type == TYPE_ARRAY && depth < NESTING_MAX) {
		items_type = take_number(c, 4);
		items = take_number(c, 8);
		size = size_of_value(items_type);
		if (items > TENSORS_HEADER_MAX)
			c->failed = c->failed ? c->failed : -EBADMSG;
		else if (size > 0)
			(void)take(c, items * size);
		for (uint64_t i = 0; size == 0 && c->failed == 0 && i < items; i++)
			skip_value(c, items_type, depth + 1);
	} else if (c->failed == 0) {
		c->failed = -EBADMSG;
	}
}

/* Steps over the metadata. Returns the alignment of tensors. */
static uint64_t read_metadata(struct cursor *c, uint64_t count)
{
	static const char wanted[] = "general.alignment";
	uint64_t alignment = ALIGNMENT;

	for (uint64_t i = 0; c->failed == 0 && i < count; i++) {
		uint64_t size = take_number(c, 8);
		const uint8_t *key = take(c, size);
		uint64_t type = take_number(c, 4);

		if (key && type == 4 && size == sizeof(wanted) - 1 &&
		    memcmp(key, wanted, size) == 0)
			alignment = take_number(c, 4);
		else
			skip_value(c, type, 0);
	}
	return alignment;
}

/* Bytes of a tensor; 0: its type is not known or its sides make no sense. */
static uint64_t bytes_of(uint64_t type, const uint64_t *sides, size_t count)
{
	uint64_t numbers = 1;

	if (type >= ARRAY_SIZE(blocks) || !blocks[type].name)
		return 0;
	for (size_t i = 0; i < count; i++)
		if (__builtin_mul_overflow(numbers, sides[i], &numbers) || numbers > INT64_MAX / 8)
			return 0;
	return numbers % blocks[type].numbers ? 0
	                                      : numbers / blocks[type].numbers * blocks[type].bytes;
}

static struct element element_of(uint64_t type)
{
	if (blocks[type].numbers == 1)
		return (struct element){blocks[type].bytes, blocks[type].is_float, 0};
	return (struct element){1, false, blocks[type].bytes};
}

/* Its offset counts from the end of the header, which is not known yet. */
static void read_tensor(struct cursor *c, struct tensors *tensors)
{
	uint64_t name_size = take_number(c, 8), sides[SIDES_MAX], type, offset, size;
	const uint8_t *name = take(c, name_size);
	struct tensor_text text = {.name = (const char *)name, .shape = sides};

	text.dimensions = (size_t)take_number(c, 4);
	if (text.dimensions > SIDES_MAX)
		c->failed = c->failed ? c->failed : -EBADMSG;
	for (size_t i = 0; c->failed == 0 && i < text.dimensions; i++)
		sides[i] = take_number(c, 8);
	type = take_number(c, 4);
	offset = take_number(c, 8);
	if (c->failed < 0)
		return;
	size = bytes_of(type, sides, text.dimensions);
	if (size == 0 || offset > INT64_MAX / 2)
		return; /* of a type that came later: its place is cut in fixed steps */
	text.name_size = (size_t)name_size;
	text.type = blocks[type].name;
	tensors_add(tensors, &text, element_of(type), offset, size);
}

int tensors_read_gguf(const uint8_t *head, size_t size, uint64_t file_size,
                      struct tensors *ret_tensors)
{
	struct cursor c = {.at = head + 4, .end = head + size};
	uint64_t version = take_number(&c, 4), count = take_number(&c, 8);
	uint64_t alignment = read_metadata(&c, take_number(&c, 8)), start;

	if (c.failed == 0 && (version < VERSION_OLDEST || version > VERSION_NEWEST ||
	                      count > LIMIT_TENSORS || alignment == 0 || alignment > 1 << 20))
		return -EBADMSG;
	for (uint64_t i = 0; c.failed == 0 && i < count; i++)
		read_tensor(&c, ret_tensors);
	if (c.failed < 0)
		return size < TENSORS_HEADER_MAX ? c.failed : -EBADMSG;
	start = (uint64_t)(c.at - head);
	start = (start + alignment - 1) / alignment * alignment;
	for (size_t i = 0; i < ret_tensors->count; i++)
		ret_tensors->items[i].offset += start;
	return 0;
}
