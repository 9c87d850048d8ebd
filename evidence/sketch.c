/* SPDX-License-Identifier: Apache-2.0 */
/* i = ceil(ln x / ln gamma); the value 2 gamma^i / (gamma + 1) is 1 % from both ends of bucket i. */
#include "evidence/sketch.h"

#include <math.h>

static const double LN_GAMMA = 0.020000666706669435; /* ln(1.01 / 0.99) */

uint32_t sketch_index(uint64_t us)
{
	double index = us <= 1 ? 0 : ceil(log((double)us) / LN_GAMMA);

	return index < LIMIT_LATENCY_BUCKETS ? (uint32_t)index : LIMIT_LATENCY_BUCKETS - 1;
}

double sketch_value(uint32_t index)
{
	return exp(LN_GAMMA * index) * 2 / (exp(LN_GAMMA) + 1);
}

double sketch_quantile(const struct latency_bucket *buckets, size_t count, double q)
{
	uint64_t total = 0, seen = 0;

	for (size_t i = 0; i < count; i++)
		total += buckets[i].count;
	for (size_t i = 0; i < count; i++) {
		seen += buckets[i].count;
		if ((double)seen >= q * (double)total)
			return sketch_value(buckets[i].index);
	}
	return 0;
}
