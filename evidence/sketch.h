/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The latency histogram: buckets whose bounds grow by gamma = 1.01 / 0.99, so that the middle of a
 * bucket is within 1 % of every value in it, and histograms merge exactly [DDSketch: Masson, Rim,
 * Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees",
 * VLDB 2019]. For people and for choosing thresholds: no test is run on it.
 */
#pragma once

#include "covey/evidence.h"

/* Bucket of a latency, less than LIMIT_LATENCY_BUCKETS. */
uint32_t sketch_index(uint64_t us);
/* The value that stands for a bucket, in microseconds. */
double sketch_value(uint32_t index);
/* The q-quantile (0 < q <= 1) of sparse buckets whose index rises; 0 when there is nothing. */
double sketch_quantile(const struct latency_bucket *buckets, size_t count, double q);
