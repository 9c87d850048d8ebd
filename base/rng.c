/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded draws reject the biased tail, so that `plan` and `apply` see fair and equal choices. */
#include "base/rng.h"

#include <assert.h>

uint64_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t rng_below(struct rng *rng, uint64_t bound)
{
	uint64_t limit, value;

	assert(bound > 0);
	limit = UINT64_MAX - UINT64_MAX % bound;
	do {
		value = rng_next(rng);
	} while (value >= limit);
	return value % bound;
}

double rng_unit(struct rng *rng)
{
	return (double)(rng_next(rng) >> 11) * 0x1.0p-53;
}

void rng_shuffle(struct rng *rng, uint32_t *items, size_t count)
{
	for (size_t i = count; i > 1; i--) {
		size_t j = (size_t)rng_below(rng, i);
		uint32_t item = items[i - 1];

		items[i - 1] = items[j];
		items[j] = item;
	}
}
