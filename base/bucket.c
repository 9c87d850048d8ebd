/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The level is kept in thousandths of a byte: rate (bytes a second) times time (milliseconds) is
 * exact in them. It may fall below zero, which is what makes chunks that are larger than the
 * bucket possible.
 */
#include "base/bucket.h"

enum { SCALE = 1000 };

static int64_t most(const struct bucket *bucket)
{
	return (int64_t)(bucket->burst * SCALE);
}

static void refill(struct bucket *bucket, uint64_t now_ms)
{
	uint64_t span = now_ms > bucket->at_ms ? now_ms - bucket->at_ms : 0;
	uint64_t room = (uint64_t)(most(bucket) - bucket->level);

	bucket->at_ms = now_ms;
	if (span >= room / bucket->rate + 1)
		bucket->level = most(bucket);
	else
		bucket->level += (int64_t)(bucket->rate * span);
	if (bucket->level > most(bucket))
		bucket->level = most(bucket);
}

void bucket_set(struct bucket *bucket, uint64_t rate, uint64_t burst_ms, uint64_t now_ms)
{
	bool fresh = bucket->rate == 0;

	if (!fresh && rate)
		refill(bucket, now_ms);
	bucket->rate = rate;
	bucket->burst = rate * burst_ms / 1000 + 1;
	bucket->at_ms = now_ms;
	if (fresh || !rate || bucket->level > most(bucket))
		bucket->level = most(bucket);
}

bool bucket_allows(struct bucket *bucket, uint64_t now_ms)
{
	if (bucket->rate == 0)
		return true;
	refill(bucket, now_ms);
	return bucket->level > 0;
}

void bucket_take(struct bucket *bucket, uint64_t bytes, uint64_t now_ms)
{
	if (bucket->rate == 0)
		return;
	refill(bucket, now_ms);
	bucket->level -= (int64_t)(bytes * SCALE);
}

void bucket_put_back(struct bucket *bucket, int64_t bytes)
{
	if (bucket->rate)
		bucket->level += bytes * SCALE;
	if (bucket->level > most(bucket))
		bucket->level = most(bucket);
}

uint64_t bucket_ready_ms(struct bucket *bucket, uint64_t now_ms)
{
	if (bucket_allows(bucket, now_ms))
		return now_ms;
	return now_ms + (uint64_t)-bucket->level / bucket->rate + 1;
}
