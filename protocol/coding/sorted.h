/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differences put in order of the base's exponents (internal to the codings): a step of training is
 * about as large for every weight, so how many units in the last place it moves a weight follows
 * from the weight's exponent. Numbers of like exponents, one behind the other, take fewer bits, and
 * both sides know the order without being told.
 */
#pragma once

#include "covey/release.h"

enum { SORTED_SEGMENTS = 16 };

struct sorted_order {
	uint8_t segment_of[256];           /* of the byte that holds the exponent's upper bits */
	size_t first[SORTED_SEGMENTS + 1]; /* where each segment begins, and the last one ends */
	size_t count;
};

/* base: count floats. ret_classes: a byte for each. Segments are made of whole classes, and are
 * long enough to be worth a table of frequencies. */
void sorted_order(const struct element *element, const uint8_t *base, size_t count,
                  uint8_t *ret_classes, struct sorted_order *ret_order);
/* Words into their segments, in which they keep their order, and back. */
void sorted_apart(const struct sorted_order *order, const uint8_t *classes, const uint8_t *words,
                  unsigned width, size_t count, uint8_t *ret_sorted);
void sorted_together(const struct sorted_order *order, const uint8_t *classes,
                     const uint8_t *sorted, unsigned width, size_t count, uint8_t *ret_words);
