/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers to words and back, words to byte planes and back (internal to the codings). A word is as
 * wide as its number and small or alike where the number says little: with a base, the zigzag of
 * the distance between the two in the order of their values; without one, a float turned left by
 * one bit so that its exponent fills whole bytes. All of it is one to one: NaN, -0 and whatever
 * else the bytes may be come back as they were. Buffers need no alignment and must not overlap.
 */
#pragma once

#include "covey/release.h"

/* base may be NULL; else as long as data. count numbers of element->width bytes each. */
void words_from(const struct element *element, const uint8_t *data, const uint8_t *base,
                size_t count, uint8_t *ret_words);
void words_back(const struct element *element, const uint8_t *words, const uint8_t *base,
                size_t count, uint8_t *ret_data);
/* How many of count words of width bytes are not zero. */
size_t words_changed(const uint8_t *words, unsigned width, size_t count);

/* Sparse words: values gets those that are not zero, gaps how many zeros lie before each: a byte,
 * 255 with more to come. gaps holds gaps_max bytes. Returns how many values; SIZE_MAX: no room. */
size_t words_gather(const uint8_t *words, unsigned width, size_t count, uint8_t *values,
                    uint8_t *gaps, size_t gaps_max, size_t *ret_gaps_size);
/* The way back, onto a copy of the base. False: gaps and values do not fit each other or count. */
bool words_scatter(const struct element *element, const uint8_t *values, size_t values_count,
                   const uint8_t *gaps, size_t gaps_size, uint8_t *data, size_t count);

/* Byte p of unit i goes to planes[p * count + i]. */
void planes_split(const uint8_t *units, size_t unit, size_t count, uint8_t *ret_planes);
void planes_join(const uint8_t *planes, size_t unit, size_t count, uint8_t *ret_units);
