/* SPDX-License-Identifier: Apache-2.0 */
/* A counting sort whose keys are segments: one pass to count, one to move. */
#include "protocol/coding/sorted.h"

enum { SEGMENT_MIN = 8192, TABLES = 4 };

static void fill_classes(const struct element *element, const uint8_t *base, size_t count,
                         uint8_t *classes)
{
	size_t width = element->width;

	if (width == 2) { /* one of the compiler's vector loops */
		for (size_t i = 0; i < count; i++)
			classes[i] = (uint8_t)(base[2 * i + 1] << 1 | base[2 * i] >> 7);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const uint8_t *top = base + (i + 1) * width - 1;

		classes[i] = (uint8_t)(*top << 1 | (width > 1 ? top[-1] >> 7 : 0));
	}
}

/* Four tables: neighbours are often alike, and one counter would wait for itself. */
static void count_classes(const uint8_t *classes, size_t count, uint32_t counts[256])
{
	uint32_t tables[TABLES][256] = {0};
	size_t i = 0;

	for (; i + TABLES <= count; i += TABLES)
		for (size_t t = 0; t < TABLES; t++)
			tables[t][classes[i + t]]++;
	for (; i < count; i++)
		tables[0][classes[i]]++;
	for (size_t c = 0; c < 256; c++)
		counts[c] = tables[0][c] + tables[1][c] + tables[2][c] + tables[3][c];
}

void sorted_order(const struct element *element, const uint8_t *base, size_t count,
                  uint8_t *ret_classes, struct sorted_order *ret_order)
{
	uint32_t counts[256];
	size_t at = 0, segment = 0;

	fill_classes(element, base, count, ret_classes);
	count_classes(ret_classes, count, counts);
	ret_order->first[0] = 0;
	for (size_t c = 0; c < 256; c++) {
		ret_order->segment_of[c] = (uint8_t)segment;
		at += counts[c];
		if (at - ret_order->first[segment] < SEGMENT_MIN || segment == SORTED_SEGMENTS - 1)
			continue;
		ret_order->first[++segment] = at;
	}
	ret_order->count = segment + 1;
	ret_order->first[ret_order->count] = count;
}

#define MOVE(type)                                                                            \
	static void apart_##type(const struct sorted_order *order, const uint8_t *classes,    \
	                         const uint8_t *words, size_t count, uint8_t *sorted)         \
	{                                                                                     \
		size_t at[SORTED_SEGMENTS];                                                   \
                                                                                              \
		memcpy(at, order->first, sizeof(at));                                         \
		for (size_t i = 0; i < count; i++)                                            \
			memcpy(sorted + sizeof(type) * at[order->segment_of[classes[i]]]++,   \
			       words + sizeof(type) * i, sizeof(type));                       \
	}                                                                                     \
                                                                                              \
	static void together_##type(const struct sorted_order *order, const uint8_t *classes, \
	                            const uint8_t *sorted, size_t count, uint8_t *words)      \
	{                                                                                     \
		size_t at[SORTED_SEGMENTS];                                                   \
                                                                                              \
		memcpy(at, order->first, sizeof(at));                                         \
		for (size_t i = 0; i < count; i++)                                            \
			memcpy(words + sizeof(type) * i,                                      \
			       sorted + sizeof(type) * at[order->segment_of[classes[i]]]++,   \
			       sizeof(type));                                                 \
	}
MOVE(uint8_t)
MOVE(uint16_t)
MOVE(uint32_t)
MOVE(uint64_t)
#undef MOVE

void sorted_apart(const struct sorted_order *order, const uint8_t *classes, const uint8_t *words,
                  unsigned width, size_t count, uint8_t *ret_sorted)
{
	switch (width) {
	case 1:
		apart_uint8_t(order, classes, words, count, ret_sorted);
		break;
	case 2:
		apart_uint16_t(order, classes, words, count, ret_sorted);
		break;
	case 4:
		apart_uint32_t(order, classes, words, count, ret_sorted);
		break;
	default:
		apart_uint64_t(order, classes, words, count, ret_sorted);
	}
}

void sorted_together(const struct sorted_order *order, const uint8_t *classes,
                     const uint8_t *sorted, unsigned width, size_t count, uint8_t *ret_words)
{
	switch (width) {
	case 1:
		together_uint8_t(order, classes, sorted, count, ret_words);
		break;
	case 2:
		together_uint16_t(order, classes, sorted, count, ret_words);
		break;
	case 4:
		together_uint32_t(order, classes, sorted, count, ret_words);
		break;
	default:
		together_uint64_t(order, classes, sorted, count, ret_words);
	}
}
