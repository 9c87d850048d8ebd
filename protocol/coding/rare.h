/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differences of which few are not zero (internal to the codings). What a training step changes in
 * a weight is about as large for all of them, and so it shows in the small ones: whether a number
 * changed, and by how many units in the last place, follows from its exponent in the base, which
 * both sides know.
 */
#pragma once

#include "covey/release.h"

struct rare; /* the adaptive bits; reused from chunk to chunk, each of which starts anew */

struct rare *rare_create(void);
void rare_free(struct rare *rare);

/* words: words_from() with base. Returns the bytes written; 0: they are more than max. */
size_t rare_encode(struct rare *rare, const struct element *element, const uint8_t *words,
                   const uint8_t *base, size_t count, uint8_t *ret_data, size_t max);
/* False: data is damaged. */
bool rare_decode(struct rare *rare, const struct element *element, const uint8_t *data, size_t size,
                 const uint8_t *base, size_t count, uint8_t *ret_words);
