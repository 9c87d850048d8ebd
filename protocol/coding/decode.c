/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder. It believes nothing: each size is checked against what is left of the input and
 * against what the result's size allows before anything is allocated or written, and a stream must
 * unpack to exactly the length that its place asks for. What comes out of a valid form is then
 * still only a claim, which its digest proves or not.
 */
#include "protocol/coding/parts.h"
#include "protocol/coding/sorted.h"
#include "protocol/coding/words.h"

struct in {
	struct coding *coding;
	const uint8_t *data;
	size_t left;
	const uint8_t *base;
	size_t base_size;
	enum coding_method method;
	struct element element;
	size_t size;    /* of the result */
	size_t numbers; /* bytes of whole units in it */
};

static size_t get_u32(const uint8_t *at)
{
	uint32_t x;

	memcpy(&x, at, sizeof(x));
	return x;
}

/* ---- streams ---- */

/* The size of the next stream once unpacked; SIZE_MAX: there is none. */
static size_t next_size(const struct in *in)
{
	return in->left < CODING_STREAM_HEAD ? SIZE_MAX : get_u32(in->data + 4);
}

static int unpack(struct in *in, const uint8_t *from, size_t stored, uint8_t *to, size_t size)
{
	size_t n;

	if (stored == size) {
		memcpy(to, from, size);
		return 0;
	}
	if (!in->coding->decoder)
		in->coding->decoder = ZSTD_createDCtx();
	if (!in->coding->decoder)
		abort(); /* out of memory, as in base/mem.h */
	if (in->method == CODING_PREFIX)
		ZSTD_DCtx_refPrefix(in->coding->decoder, in->base, in->base_size);
	n = ZSTD_decompressDCtx(in->coding->decoder, to, size, from, stored);
	return ZSTD_isError(n) || n != size ? -EBADMSG : 0;
}

/* Takes a stream that must have `size` bytes. */
static int take(struct in *in, uint8_t *to, size_t size)
{
	const uint8_t *from = in->data + CODING_STREAM_HEAD;
	size_t stored;

	if (next_size(in) != size)
		return -EBADMSG;
	stored = get_u32(in->data);
	if (stored > in->left - CODING_STREAM_HEAD || stored > size)
		return -EBADMSG;
	in->data = from + stored;
	in->left -= CODING_STREAM_HEAD + stored;
	return unpack(in, from, stored, to, size);
}

/* What is left must be the result's tail. */
static int take_tail(const struct in *in, uint8_t *to)
{
	if (in->left != in->size - in->numbers)
		return -EBADMSG;
	memcpy(to + in->numbers, in->data, in->left);
	return 0;
}

/* ---- the forms ---- */

static int take_words(struct in *in, size_t count, enum coding_scratch to, uint8_t **ret_words)
{
	size_t unit = coding_unit(&in->element), size = count * in->element.width;
	uint8_t *planes = coding_scratch(in->coding, SCRATCH_PLANES, size + 1);
	bool blocks = in->element.stride && in->method != CODING_SPARSE;
	int r = 0;

	*ret_words = coding_scratch(in->coding, to, size + 1);
	if (blocks) {
		r = take(in, planes, size);
		if (r == 0)
			planes_join(planes, unit, size / unit, *ret_words);
		return r;
	}
	for (size_t p = 0; r == 0 && p < in->element.width; p++)
		r = take(in, planes + p * count, count);
	if (r == 0)
		planes_join(planes, in->element.width, count, *ret_words);
	return r;
}

static int decode_planes(struct in *in, const uint8_t *base, uint8_t *to)
{
	size_t count = in->numbers / in->element.width;
	uint8_t *words;
	int r = take_words(in, count, SCRATCH_WORDS, &words);

	if (r < 0)
		return r;
	words_back(&in->element, words, base, count, to);
	return take_tail(in, to);
}

static int decode_sparse(struct in *in, uint8_t *to)
{
	size_t count = in->numbers / in->element.width;
	size_t gaps_size = next_size(in), kept;
	uint8_t *gaps, *values;
	int r;

	if (gaps_size > count + 1)
		return -EBADMSG;
	gaps = coding_scratch(in->coding, SCRATCH_GAPS, gaps_size + 1);
	r = take(in, gaps, gaps_size);
	if (r < 0)
		return r;
	kept = next_size(in);
	if (kept > count)
		return -EBADMSG;
	r = take_words(in, kept, SCRATCH_VALUES, &values);
	if (r < 0)
		return r;
	memcpy(to, in->base, in->numbers);
	if (!words_scatter(&in->element, values, kept, gaps, gaps_size, to, count))
		return -EBADMSG;
	return take_tail(in, to);
}

static int decode_rare(struct in *in, uint8_t *to)
{
	size_t tail = in->size - in->numbers, count = in->numbers / in->element.width;
	uint8_t *words;

	if (in->left < tail)
		return -EBADMSG;
	words = coding_scratch(in->coding, SCRATCH_WORDS, in->numbers + 1);
	if (!rare_decode(in->coding->rare, &in->element, in->data + tail, in->left - tail, in->base,
	                 count, words))
		return -EBADMSG;
	words_back(&in->element, words, in->base, count, to);
	memcpy(to + in->numbers, in->data, tail);
	return 0;
}

static int decode_sorted(struct in *in, uint8_t *to)
{
	size_t width = in->element.width, count = in->numbers / width;
	uint8_t *classes = coding_scratch(in->coding, SCRATCH_GAPS, count + 1);
	uint8_t *sorted = coding_scratch(in->coding, SCRATCH_OTHER, in->numbers + 1), *words;
	struct sorted_order order;

	if (!in->element.is_float)
		return -EBADMSG;
	sorted_order(&in->element, in->base, count, classes, &order);
	for (size_t i = 0; i < order.count; i++) {
		size_t size = order.first[i + 1] - order.first[i];
		int r = take_words(in, size, SCRATCH_VALUES, &words);

		if (r < 0)
			return r;
		memcpy(sorted + order.first[i] * width, words, size * width);
	}
	words = coding_scratch(in->coding, SCRATCH_WORDS, in->numbers + 1);
	sorted_together(&order, classes, sorted, in->element.width, count, words);
	words_back(&in->element, words, in->base, count, to);
	return take_tail(in, to);
}

static int decode_with_base(struct in *in, uint8_t *to)
{
	if (!in->base || in->base_size != in->size)
		return -EBADMSG;
	if (in->method == CODING_RARE)
		return decode_rare(in, to);
	if (in->method == CODING_SORTED)
		return decode_sorted(in, to);
	return in->method == CODING_SPARSE ? decode_sparse(in, to)
	                                   : decode_planes(in, in->base, to);
}

static int decode_frame(struct in *in, uint8_t *to)
{
	int r = take(in, to, in->size);

	return r == 0 && in->left > 0 ? -EBADMSG : r;
}

/* ---- the head ---- */

int coding_size(const void *data, size_t size, size_t max, size_t *ret_size)
{
	const uint8_t *head = data;
	size_t result;

	if (size < CODING_HEAD || head[0] >= CODING_METHOD_COUNT)
		return -EBADMSG;
	result = get_u32(head + 4);
	if (result > max)
		return -EMSGSIZE;
	if (result == 0)
		return -EBADMSG;
	*ret_size = result;
	return 0;
}

static int read_element(struct in *in, const uint8_t *head)
{
	uint16_t stride;

	memcpy(&stride, head + 2, sizeof(stride));
	in->element = (struct element){.width = head[1] & CODING_WIDTH,
	                               .is_float = (head[1] & CODING_IS_FLOAT) != 0,
	                               .stride = stride};
	if (!coding_element_is_valid(&in->element))
		return -EBADMSG;
	in->numbers = in->size - in->size % coding_unit(&in->element);
	return 0;
}

static int decode(struct in *in, uint8_t *to)
{
	switch (in->method) {
	case CODING_RAW:
		if (in->left != in->size)
			return -EBADMSG;
		memcpy(to, in->data, in->size);
		return 0;
	case CODING_PREFIX:
		if (!in->base)
			return -EBADMSG;
		return decode_frame(in, to);
	case CODING_ZSTD:
		return decode_frame(in, to);
	case CODING_PLANES:
		return decode_planes(in, NULL, to);
	case CODING_INTEGER:
	case CODING_SPARSE:
	case CODING_RARE:
	case CODING_SORTED:
		return decode_with_base(in, to);
	case CODING_METHOD_COUNT:
		break;
	}
	return -EBADMSG;
}

int coding_decode(struct coding *coding, const void *data, size_t size, const void *base,
                  size_t base_size, void *ret_data)
{
	const uint8_t *head = data;
	struct in in = {.coding = coding, .base = base, .base_size = base_size};
	int r = coding_size(data, size, LIMIT_OBJECT, &in.size);

	if (r < 0)
		return r;
	in.method = (enum coding_method)head[0];
	in.data = head + CODING_HEAD;
	in.left = size - CODING_HEAD;
	if (in.method != CODING_RAW && in.method != CODING_ZSTD && in.method != CODING_PREFIX)
		r = read_element(&in, head);
	return r < 0 ? r : decode(&in, ret_data);
}
