/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server's /metrics in Prometheus' text format [prometheus.io/docs/instrumenting/exposition_formats]:
 * the few series that a release names, and how much they rose since the last look. A counter that
 * fell was reset: what it shows now is its rise. Pure; believes nothing, allocates nothing.
 */
#pragma once

#include "agent/observe/tally.h"
#include "covey/release.h"

enum { METRICS_BUCKETS_MAX = 64 };

struct metrics_bucket {
	double le; /* seconds; INFINITY for the last */
	double count; /* cumulative */
};

struct metrics { /* one look */
	bool has_requests, has_errors;
	double requests, errors;
	double counters[LIMIT_NAMED_COUNTERS]; /* in the order of release_observe */
	struct metrics_bucket buckets[METRICS_BUCKETS_MAX]; /* le rises */
	size_t buckets_count;
};

/* Lines that cannot be read are passed over. */
void metrics_read(const char *text, size_t size, const struct release_observe *wanted,
		  struct metrics *ret_metrics);

/* Counts what came between two looks. before all zero: since the server started. */
void metrics_count(const struct metrics *before, const struct metrics *now,
		   const struct release_observe *wanted, struct tally *tally, uint64_t now_ms);
