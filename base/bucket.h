/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token bucket: bytes a second that an operator allows, up or down. What is taken may overdraw
 * the bucket once (a chunk is larger than a small bucket); then nothing is allowed until the debt
 * is paid, so that over any time t at most rate * t + one burst + one chunk passes. Pure: the
 * caller says what time it is, in milliseconds of any clock that does not jump.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct bucket {		/* zeroed: no limit */
	uint64_t rate;	/* bytes a second; 0: no limit */
	uint64_t burst; /* most that is saved up, bytes */
	int64_t level;	/* in bytes * 1000; below zero: a debt */
	uint64_t at_ms;
};

/* rate 0: no limit. Starts full: burst_ms of the rate. A new rate keeps the debt. */
void bucket_set(struct bucket *bucket, uint64_t rate, uint64_t burst_ms, uint64_t now_ms);
bool bucket_allows(struct bucket *bucket, uint64_t now_ms); /* something, now */
void bucket_take(struct bucket *bucket, uint64_t bytes, uint64_t now_ms);
void bucket_put_back(struct bucket *bucket, int64_t bytes); /* was taken and not needed */
/* When bucket_allows() next says yes; now_ms when it does. */
uint64_t bucket_ready_ms(struct bucket *bucket, uint64_t now_ms);
