/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A binary range coder with adaptive bits (internal to the codings), after G. N. N. Martin, "Range
 * encoding" (1979), with the carry kept back as 7-Zip's LZMA does. A bit that is p likely costs
 * -log2 p bits. The decoder reads zeros past its end and says so; it never reads beyond.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RANGE_BITS = 15, RANGE_TOP = 1 << 24, RANGE_RATES = 128 };

struct range_bit { /* probability of 0 in units of 2^-16, and how often it was seen */
	uint16_t zero, seen;
};

struct range_rates { /* the n-th observation moves a bit by 1 / (n + 1.5) */
	uint16_t rate[RANGE_RATES];
};

static inline void range_rates_init(struct range_rates *rates)
{
	for (uint32_t i = 0; i < RANGE_RATES; i++)
		rates->rate[i] = (uint16_t)(2 * 65536 / (2 * i + 3));
}

static inline void range_learn(const struct range_rates *rates, struct range_bit *bit, bool one)
{
	int32_t to =
	    one ? 64 : 65535 - 64; /* the first, largest step starts in the middle: no overflow */

	bit->zero =
	    (uint16_t)(bit->zero + (((to - bit->zero) * (int32_t)rates->rate[bit->seen]) >> 16));
	bit->seen = (uint16_t)(bit->seen + (bit->seen < RANGE_RATES - 1));
}

/* The share of the range that a 0 gets: never nothing, never all. */
static inline uint32_t range_bound(uint32_t range, const struct range_bit *bit)
{
	return (range >> RANGE_BITS) * ((uint32_t)(bit->zero >> 1) | 1);
}

/* ---- writing ---- */

struct range_writer {
	uint8_t *data;
	size_t at, max; /* at > max: it did not fit */
	uint64_t low;
	uint32_t range;
	uint8_t held;      /* the byte that a carry may still change */
	size_t held_count; /* with so many 0xff behind it; 0: nothing was written yet */
};

static inline void range_put(struct range_writer *w, uint8_t byte)
{
	if (w->at < w->max)
		w->data[w->at] = byte;
	w->at++;
}

static inline void range_shift(struct range_writer *w)
{
	if (w->low < 0xff000000 || w->low > 0xffffffff) {
		uint8_t carry = (uint8_t)(w->low >> 32);

		if (w->held_count > 0)
			range_put(w, (uint8_t)(w->held + carry));
		for (; w->held_count > 1; w->held_count--)
			range_put(w, (uint8_t)(0xff + carry));
		w->held = (uint8_t)(w->low >> 24);
		w->held_count = 0;
	}
	w->held_count++;
	w->low = (w->low & 0x00ffffff) << 8;
}

static inline void range_write(struct range_writer *w, const struct range_rates *rates,
                               struct range_bit *bit, bool one)
{
	uint32_t bound = range_bound(w->range, bit);

	if (one) {
		w->low += bound;
		w->range -= bound;
	} else {
		w->range = bound;
	}
	range_learn(rates, bit, one);
	for (; w->range < RANGE_TOP; w->range <<= 8)
		range_shift(w);
}

/* Bits that nothing is known about, highest first. */
static inline void range_write_plain(struct range_writer *w, uint64_t bits, unsigned count)
{
	while (count-- > 0) {
		w->range >>= 1;
		w->low += (bits >> count & 1) ? w->range : 0;
		for (; w->range < RANGE_TOP; w->range <<= 8)
			range_shift(w);
	}
}

static inline void range_writer_end(struct range_writer *w)
{
	for (int i = 0; i < 5; i++)
		range_shift(w);
}

/* ---- reading ---- */

struct range_reader {
	const uint8_t *at, *end;
	uint32_t range, code;
	size_t missing; /* bytes that were read past the end */
};

static inline uint8_t range_get(struct range_reader *r)
{
	if (r->at < r->end)
		return *r->at++;
	r->missing++;
	return 0;
}

static inline void range_reader_init(struct range_reader *r, const uint8_t *data, size_t size)
{
	*r = (struct range_reader){.at = data, .end = data + size, .range = 0xffffffff};
	for (int i = 0; i < 4; i++)
		r->code = r->code << 8 | range_get(r);
}

static inline void range_fill(struct range_reader *r)
{
	while (r->range < RANGE_TOP) {
		r->range <<= 8;
		r->code = r->code << 8 | range_get(r);
	}
}

static inline bool range_read(struct range_reader *r, const struct range_rates *rates,
                              struct range_bit *bit)
{
	uint32_t bound = range_bound(r->range, bit);
	bool one = r->code >= bound;

	if (one) {
		r->code -= bound;
		r->range -= bound;
	} else {
		r->range = bound;
	}
	range_learn(rates, bit, one);
	range_fill(r);
	return one;
}

static inline uint64_t range_read_plain(struct range_reader *r, unsigned count)
{
	uint64_t bits = 0;

	while (count-- > 0) {
		uint32_t one;

		r->range >>= 1;
		one = r->code >= r->range;
		r->code -= one ? r->range : 0;
		bits = bits << 1 | one;
		range_fill(r);
	}
	return bits;
}
