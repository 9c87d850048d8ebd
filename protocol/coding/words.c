/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One loop for each width and kind, without branches inside, so that the compiler makes vector
 * code of it. The order of values of sign-and-magnitude numbers (IEEE 754, also bfloat16 and the
 * 8-bit floats) is that of unsigned integers once negative ones are inverted and the sign bit of
 * the others is set; distances there are counted in units in the last place.
 */
#include "protocol/coding/words.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are little-endian on disk, and so is this machine assumed to be"
#endif

struct gaps {
	uint8_t *bytes;
	size_t at, size;
};

static inline bool gaps_add(struct gaps *gaps, size_t gap)
{
	for (; gap >= 255 && gaps->at < gaps->size; gap -= 255)
		gaps->bytes[gaps->at++] = 255;
	if (gaps->at == gaps->size)
		return false;
	gaps->bytes[gaps->at++] = (uint8_t)gap;
	return true;
}

static inline bool gaps_take(struct gaps *gaps, size_t *ret_gap)
{
	size_t gap = 0;

	while (gaps->at < gaps->size && gaps->bytes[gaps->at] == 255) {
		gap += 255;
		gaps->at++;
	}
	if (gaps->at == gaps->size)
		return false;
	*ret_gap = gap + gaps->bytes[gaps->at++];
	return true;
}

/* Eight bytes of zeros. */
static inline bool is_empty(const uint8_t *at, size_t left)
{
	uint64_t x;

	if (left < sizeof(x))
		return false;
	memcpy(&x, at, sizeof(x));
	return x == 0;
}

/* For each width: u unsigned, s signed, top the place of the sign. */
#define WIDTHS(X)             \
	X(8, uint8_t, int8_t) \
	X(16, uint16_t, int16_t) X(32, uint32_t, int32_t) X(64, uint64_t, int64_t)

#define X(bits, u, s)                                                                             \
	static inline u load##bits(const uint8_t *at, size_t i)                                   \
	{                                                                                         \
		u x;                                                                              \
                                                                                                  \
		memcpy(&x, at + i * sizeof(x), sizeof(x));                                        \
		return x;                                                                         \
	}                                                                                         \
                                                                                                  \
	static inline void save##bits(uint8_t *at, size_t i, u x)                                 \
	{                                                                                         \
		memcpy(at + i * sizeof(x), &x, sizeof(x));                                        \
	}                                                                                         \
                                                                                                  \
	static inline u order##bits(u x)                                                          \
	{                                                                                         \
		return (u)(x ^ (u)((u)((s)x >> (bits - 1)) | (u)((u)1 << (bits - 1))));           \
	}                                                                                         \
                                                                                                  \
	static inline u unorder##bits(u x)                                                        \
	{                                                                                         \
		return (u)(x ^ (u)((u)((s)(u)~x >> (bits - 1)) | (u)((u)1 << (bits - 1))));       \
	}                                                                                         \
                                                                                                  \
	static inline u zigzag##bits(u d)                                                         \
	{                                                                                         \
		return (u)((u)(d << 1) ^ (u)((s)d >> (bits - 1)));                                \
	}                                                                                         \
                                                                                                  \
	static inline u unzigzag##bits(u z)                                                       \
	{                                                                                         \
		return (u)((u)(z >> 1) ^ (u)(0 - (u)(z & 1)));                                    \
	}                                                                                         \
                                                                                                  \
	static void float_diff##bits(const uint8_t *data, const uint8_t *base, size_t count,      \
	                             uint8_t *words)                                              \
	{                                                                                         \
		for (size_t i = 0; i < count; i++)                                                \
			save##bits(words, i,                                                      \
			           zigzag##bits((u)(order##bits(load##bits(data, i)) -            \
			                            order##bits(load##bits(base, i)))));          \
	}                                                                                         \
                                                                                                  \
	static void float_undiff##bits(const uint8_t *words, const uint8_t *base, size_t count,   \
	                               uint8_t *data)                                             \
	{                                                                                         \
		for (size_t i = 0; i < count; i++)                                                \
			save##bits(data, i,                                                       \
			           unorder##bits((u)(order##bits(load##bits(base, i)) +           \
			                             unzigzag##bits(load##bits(words, i)))));     \
	}                                                                                         \
                                                                                                  \
	static void whole_diff##bits(const uint8_t *data, const uint8_t *base, size_t count,      \
	                             uint8_t *words)                                              \
	{                                                                                         \
		for (size_t i = 0; i < count; i++)                                                \
			save##bits(words, i,                                                      \
			           zigzag##bits((u)(load##bits(data, i) - load##bits(base, i)))); \
	}                                                                                         \
                                                                                                  \
	static void whole_undiff##bits(const uint8_t *words, const uint8_t *base, size_t count,   \
	                               uint8_t *data)                                             \
	{                                                                                         \
		for (size_t i = 0; i < count; i++)                                                \
			save##bits(                                                               \
			    data, i,                                                              \
			    (u)(load##bits(base, i) + unzigzag##bits(load##bits(words, i))));     \
	}                                                                                         \
                                                                                                  \
	static void turn##bits(const uint8_t *data, size_t count, uint8_t *words)                 \
	{                                                                                         \
		for (size_t i = 0; i < count; i++) {                                              \
			u x = load##bits(data, i);                                                \
                                                                                                  \
			save##bits(words, i, (u)((u)(x << 1) | (u)(x >> (bits - 1))));            \
		}                                                                                 \
	}                                                                                         \
                                                                                                  \
	static void unturn##bits(const uint8_t *words, size_t count, uint8_t *data)               \
	{                                                                                         \
		for (size_t i = 0; i < count; i++) {                                              \
			u x = load##bits(words, i);                                               \
                                                                                                  \
			save##bits(data, i, (u)((u)(x >> 1) | (u)(x << (bits - 1))));             \
		}                                                                                 \
	}                                                                                         \
                                                                                                  \
	static size_t changed##bits(const uint8_t *words, size_t count)                           \
	{                                                                                         \
		size_t changed = 0;                                                               \
                                                                                                  \
		for (size_t i = 0; i < count; i++)                                                \
			changed += load##bits(words, i) != 0;                                     \
		return changed;                                                                   \
	}                                                                                         \
                                                                                                  \
	static size_t gather##bits(const uint8_t *words, size_t count, uint8_t *values,           \
	                           struct gaps *gaps)                                             \
	{                                                                                         \
		size_t kept = 0, last = 0, i = 0;                                                 \
                                                                                                  \
		while (i < count) {                                                               \
			u x;                                                                      \
                                                                                                  \
			if (is_empty(words + i * sizeof(u), (count - i) * sizeof(u))) {           \
				i += sizeof(uint64_t) / sizeof(u);                                \
				continue;                                                         \
			}                                                                         \
			x = load##bits(words, i++);                                               \
			if (x == 0)                                                               \
				continue;                                                         \
			if (!gaps_add(gaps, i - 1 - last))                                        \
				return SIZE_MAX;                                                  \
			save##bits(values, kept++, x);                                            \
			last = i;                                                                 \
		}                                                                                 \
		return kept;                                                                      \
	}                                                                                         \
                                                                                                  \
	static bool scatter##bits(bool is_float, const uint8_t *values, size_t values_count,      \
	                          struct gaps *gaps, uint8_t *data, size_t count)                 \
	{                                                                                         \
		size_t at = 0, gap;                                                               \
                                                                                                  \
		for (size_t i = 0; i < values_count; i++, at++) {                                 \
			u d = unzigzag##bits(load##bits(values, i)), x;                           \
                                                                                                  \
			if (!gaps_take(gaps, &gap) || gap >= count - at)                          \
				return false;                                                     \
			at += gap;                                                                \
			x = load##bits(data, at);                                                 \
			save##bits(data, at,                                                      \
			           is_float ? unorder##bits((u)(order##bits(x) + d))              \
			                    : (u)(x + d));                                        \
		}                                                                                 \
		return gaps->at == gaps->size;                                                    \
	}
WIDTHS(X)
#undef X

void words_from(const struct element *element, const uint8_t *data, const uint8_t *base,
                size_t count, uint8_t *ret_words)
{
	switch (element->width) {
#define X(bits, u, s)                                                   \
	case bits / 8:                                                  \
		if (base && element->is_float)                          \
			float_diff##bits(data, base, count, ret_words); \
		else if (base)                                          \
			whole_diff##bits(data, base, count, ret_words); \
		else if (element->is_float)                             \
			turn##bits(data, count, ret_words);             \
		else                                                    \
			memcpy(ret_words, data, count * sizeof(u));     \
		break;
		WIDTHS(X)
#undef X
	}
}

void words_back(const struct element *element, const uint8_t *words, const uint8_t *base,
                size_t count, uint8_t *ret_data)
{
	switch (element->width) {
#define X(bits, u, s)                                                     \
	case bits / 8:                                                    \
		if (base && element->is_float)                            \
			float_undiff##bits(words, base, count, ret_data); \
		else if (base)                                            \
			whole_undiff##bits(words, base, count, ret_data); \
		else if (element->is_float)                               \
			unturn##bits(words, count, ret_data);             \
		else                                                      \
			memcpy(ret_data, words, count * sizeof(u));       \
		break;
		WIDTHS(X)
#undef X
	}
}

size_t words_changed(const uint8_t *words, unsigned width, size_t count)
{
	switch (width) {
	case 1:
		return changed8(words, count);
	case 2:
		return changed16(words, count);
	case 4:
		return changed32(words, count);
	default:
		return changed64(words, count);
	}
}

/* ---- sparse ---- */

size_t words_gather(const uint8_t *words, unsigned width, size_t count, uint8_t *values,
                    uint8_t *gaps, size_t gaps_max, size_t *ret_gaps_size)
{
	struct gaps out = {.bytes = gaps, .size = gaps_max};
	size_t kept = SIZE_MAX;

	switch (width) {
#define X(bits, u, s)                                            \
	case bits / 8:                                           \
		kept = gather##bits(words, count, values, &out); \
		break;
		WIDTHS(X)
#undef X
	}
	*ret_gaps_size = out.at;
	return kept;
}

bool words_scatter(const struct element *element, const uint8_t *values, size_t values_count,
                   const uint8_t *gaps, size_t gaps_size, uint8_t *data, size_t count)
{
	struct gaps in = {.bytes = (uint8_t *)(uintptr_t)gaps, .size = gaps_size};

	switch (element->width) {
#define X(bits, u, s)  \
	case bits / 8: \
		return scatter##bits(element->is_float, values, values_count, &in, data, count);
		WIDTHS(X)
#undef X
	}
	return false;
}

/* ---- planes ---- */

static void split2(const uint8_t *units, size_t count, uint8_t *low, uint8_t *high)
{
	for (size_t i = 0; i < count; i++) {
		uint16_t x = load16(units, i);

		low[i] = (uint8_t)x;
		high[i] = (uint8_t)(x >> 8);
	}
}

static void join2(const uint8_t *low, const uint8_t *high, size_t count, uint8_t *units)
{
	for (size_t i = 0; i < count; i++)
		save16(units, i, (uint16_t)(low[i] | high[i] << 8));
}

static void join4(const uint8_t *planes, size_t count, uint8_t *units)
{
	const uint8_t *b = planes + count, *c = b + count, *d = c + count;

	for (size_t i = 0; i < count; i++)
		save32(units, i,
		       (uint32_t)planes[i] | (uint32_t)b[i] << 8 | (uint32_t)c[i] << 16 |
		           (uint32_t)d[i] << 24);
}

static void split4(const uint8_t *units, size_t count, uint8_t *planes)
{
	uint8_t *b = planes + count, *c = b + count, *d = c + count;

	for (size_t i = 0; i < count; i++) {
		uint32_t x = load32(units, i);

		planes[i] = (uint8_t)x;
		b[i] = (uint8_t)(x >> 8);
		c[i] = (uint8_t)(x >> 16);
		d[i] = (uint8_t)(x >> 24);
	}
}

void planes_split(const uint8_t *units, size_t unit, size_t count, uint8_t *ret_planes)
{
	if (unit == 1) {
		memcpy(ret_planes, units, count);
	} else if (unit == 2) {
		split2(units, count, ret_planes, ret_planes + count);
	} else if (unit == 4) {
		split4(units, count, ret_planes);
	} else {
		for (size_t i = 0; i < count; i++)
			for (size_t p = 0; p < unit; p++)
				ret_planes[p * count + i] = units[i * unit + p];
	}
}

void planes_join(const uint8_t *planes, size_t unit, size_t count, uint8_t *ret_units)
{
	if (unit == 1) {
		memcpy(ret_units, planes, count);
	} else if (unit == 2) {
		join2(planes, planes + count, count, ret_units);
	} else if (unit == 4) {
		join4(planes, count, ret_units);
	} else {
		for (size_t i = 0; i < count; i++)
			for (size_t p = 0; p < unit; p++)
				ret_units[i * unit + p] = planes[p * count + i];
	}
}
