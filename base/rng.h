/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small seeded generator (splitmix64; Steele, Lea, Flood: "Fast splittable pseudorandom number
 * generators", OOPSLA 2014) for choices that must be repeatable: the draw of canaries, jitter in
 * the simulator. Never for keys: those come from libsodium.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct rng {
	uint64_t state;
};

uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t bound); /* 0 <= result < bound; bound > 0 */
double rng_unit(struct rng *rng);		     /* 0 <= result < 1 */
/* Fisher-Yates over an array of indices. */
void rng_shuffle(struct rng *rng, uint32_t *items, size_t count);
