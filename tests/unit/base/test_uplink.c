/* SPDX-License-Identifier: Apache-2.0 */
/* The fair queue of a sender, and the token bucket. */
#include "base/rng.h"
#include "base/uplink.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { KIB = 1024, CHUNK = 256 * KIB };

static struct uplink *create(uint32_t peers)
{
	struct uplink *u = uplink_create(peers, 16 * peers);

	for (uint32_t i = 0; i < peers; i++)
		uplink_join(u, i);
	return u;
}

static void push(struct uplink *u, uint32_t peer, uint64_t item, uint32_t size)
{
	assert_int_equal(uplink_push(u, peer, item, size), 0);
}

static void peers_take_turns(void **state)
{
	struct uplink *u = create(3);
	struct uplink_item item;
	uint32_t got[3] = {0};

	for (uint32_t i = 0; i < 4; i++)
		push(u, 0, i, CHUNK);
	push(u, 1, 100, CHUNK);
	push(u, 2, 200, CHUNK);
	for (int i = 0; i < 3; i++) {
		assert_true(uplink_next(u, 1, &item));
		got[item.peer]++;
	}
	assert_int_equal(got[0], 1);
	assert_int_equal(got[1], 1);
	assert_int_equal(got[2], 1);
	uplink_free(u);
}

/* Of small chunks a peer gets as many as others get bytes of large ones. */
static void turns_are_of_bytes(void **state)
{
	struct uplink *u = uplink_create(2, 64);
	struct uplink_item item;
	uint64_t sent[2] = {0}, taken[2] = {0};

	uplink_join(u, 0);
	uplink_join(u, 1);
	for (uint64_t now = 1; now < 200; now++) {
		while (uplink_waiting(u, 0) < 32)
			push(u, 0, 1, CHUNK / 8);
		while (uplink_waiting(u, 1) < 4)
			push(u, 1, 2, CHUNK);
		while (uplink_next(u, now, &item))
			sent[item.peer] += item.size;
		for (uint32_t i = 0; i < 2; i++)
			assert_true(uplink_taken(u, i, taken[i] = sent[i], now));
	}
	assert_true(sent[0] > 40 * CHUNK);
	assert_in_range(sent[0], sent[1] * 9 / 10, sent[1] * 11 / 10);
	uplink_free(u);
}

static void the_budget_holds_back_until_it_is_confirmed(void **state)
{
	struct uplink *u = create(1);
	struct uplink_item item;
	uint32_t count = 0;

	for (uint32_t i = 0; i < 16; i++)
		push(u, 0, i, CHUNK);
	while (uplink_next(u, 1, &item))
		assert_int_equal(item.item, count++);
	assert_int_equal(count, UPLINK_BUDGET_MIN / CHUNK);
	assert_false(uplink_taken(u, 0, 64 * CHUNK, 2)); /* more than was sent */
	assert_true(uplink_taken(u, 0, CHUNK, 2));
	assert_false(uplink_taken(u, 0, 0, 2)); /* less than before */
	assert_true(uplink_next(u, 2, &item));
	assert_false(uplink_next(u, 2, &item));
	uplink_free(u);
}

static void the_budget_follows_the_measured_rate(void **state)
{
	struct uplink *u = create(1);
	struct uplink_item item;
	uint64_t taken = 0, most = 0;

	for (uint64_t now = 10; now < 5000; now += 10) { /* the link carries 10 MB/s */
		while (uplink_waiting(u, 0) < 16)
			push(u, 0, 1, 50000);
		while (uplink_next(u, now, &item))
			;
		most = uplink_open_bytes(u, 0) - 16 * 50000;
		taken += most >= 100000 ? 100000 : 0;
		assert_true(uplink_taken(u, 0, taken, now));
	}
	assert_in_range(uplink_rate(u), 9000000, 11000000);
	assert_in_range(most, 10000000ull * UPLINK_BUDGET_MS / 1000 * 9 / 10,
			10000000ull * UPLINK_BUDGET_MS / 1000 * 12 / 10);
	uplink_free(u);
}

/* Receivers confirm late because others fill their links, the more of what is under way there is
 * ours the sooner: the rate finds its way up to what the link carries. */
static void a_low_rate_is_left_behind(void **state)
{
	enum { LINK = 10000000, OTHERS = 3 << 20, STEP_MS = 10 };
	struct uplink *u = create(1);
	struct uplink_item item;
	uint64_t taken = 0, now;

	uplink_set_searching(u, true);
	for (now = 10; now < 10000; now += STEP_MS) {
		uint64_t flight;

		while (uplink_waiting(u, 0) < 16)
			push(u, 0, 1, 50000);
		while (uplink_next(u, now, &item))
			;
		flight = uplink_open_bytes(u, 0) - 16 * 50000;
		taken += LINK / 1000 * STEP_MS * flight / (flight + OTHERS);
		assert_true(uplink_taken(u, 0, taken, now));
	}
	assert_in_range(uplink_rate(u), LINK / 2, LINK);
	for (; now < 20000; now += STEP_MS) { /* the link is another one now: a tenth */
		while (uplink_waiting(u, 0) < 16)
			push(u, 0, 1, 50000);
		while (uplink_next(u, now, &item))
			;
		taken += LINK / 10000 * STEP_MS;
		assert_true(uplink_taken(u, 0, taken, now));
	}
	assert_in_range(uplink_rate(u), LINK / 11, LINK / 9);
	uplink_free(u);
}

/* A peer that takes nothing does not keep the others waiting, and gets nothing more. */
static void a_silent_peer_does_not_hold_the_others(void **state)
{
	struct uplink *u = create(2);
	struct uplink_item item;
	uint32_t to_silent = 0, to_other = 0;
	uint64_t taken = 0, now;

	for (now = 1; now < 30000; now += 20) {
		while (uplink_waiting(u, 0) < 8)
			push(u, 0, 1, CHUNK);
		while (uplink_waiting(u, 1) < 8)
			push(u, 1, 2, CHUNK);
		while (uplink_next(u, now, &item)) {
			to_silent += item.peer == 0;
			to_other += item.peer == 1;
			taken += item.peer == 1 ? item.size : 0;
		}
		assert_true(uplink_taken(u, 1, taken, now));
	}
	assert_true(to_other > 1000);
	assert_true(to_silent <= UPLINK_BUDGET_MIN / CHUNK);
	assert_true(uplink_taken(u, 0, (uint64_t)to_silent * CHUNK, now)); /* it lives after all */
	assert_true(uplink_next(u, now, &item));
	uplink_free(u);
}

static void who_comes_after_waits_for_all_others(void **state)
{
	struct uplink *u = create(2);
	struct uplink_item item;

	uplink_set_after(u, 0, true);
	push(u, 0, 1, CHUNK);
	push(u, 1, 2, CHUNK);
	push(u, 1, 3, CHUNK);
	assert_true(uplink_next(u, 1, &item));
	assert_int_equal(item.item, 2);
	assert_true(uplink_next(u, 1, &item));
	assert_int_equal(item.item, 3);
	assert_true(uplink_next(u, 1, &item));
	assert_int_equal(item.item, 1);
	uplink_free(u);
}

static void what_is_dropped_is_not_sent(void **state)
{
	struct uplink *u = create(2);
	struct uplink_item item;

	push(u, 0, 7ull << 32 | 1, 100);
	push(u, 0, 8ull << 32 | 1, 100);
	push(u, 0, 7ull << 32 | 2, 100);
	assert_int_equal(uplink_drop(u, 0, UINT64_MAX << 32, 7ull << 32), 2);
	push(u, 0, 9, 100);
	assert_int_equal(uplink_open_bytes(u, 0), 200);
	assert_true(uplink_next(u, 1, &item));
	assert_int_equal(item.item, 8ull << 32 | 1);
	assert_true(uplink_next(u, 1, &item));
	assert_int_equal(item.item, 9);
	assert_false(uplink_next(u, 1, &item));
	push(u, 1, 5, 100);
	uplink_leave(u, 1);
	assert_int_equal(uplink_push(u, 1, 5, 100), -ENOTCONN);
	assert_false(uplink_next(u, 1, &item));
	assert_int_equal(uplink_deadline(u, 1), UINT64_MAX);
	uplink_free(u);
}

static void a_rate_limit_is_kept(void **state)
{
	struct uplink *u = create(1);
	struct uplink_item item;
	uint64_t sent = 0, now;

	uplink_set_rate(u, 1000000, 1);
	for (now = 1; now < 20000; now = uplink_deadline(u, now)) {
		if (uplink_waiting(u, 0) < 8)
			push(u, 0, 1, CHUNK);
		while (uplink_next(u, now, &item))
			sent += item.size;
		assert_true(uplink_taken(u, 0, sent, now));
		if (uplink_waiting(u, 0) == 0)
			push(u, 0, 1, CHUNK);
	}
	assert_in_range(sent, 19000000, 20000000 + 250000 + 2 * CHUNK);
	uplink_free(u);
}

static void a_bucket_never_gives_more_than_its_rate(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct rng rng = {seed};
		struct bucket bucket = {0};
		uint64_t now = 5, taken = 0, largest = 4 * CHUNK;

		bucket_set(&bucket, 500000, 1000, now);
		for (int i = 0; i < 2000; i++) {
			uint64_t bytes = rng_below(&rng, largest);

			now += rng_below(&rng, 300);
			if (!bucket_allows(&bucket, now)) {
				assert_true(bucket_ready_ms(&bucket, now) > now);
				continue;
			}
			assert_int_equal(bucket_ready_ms(&bucket, now), now);
			bucket_take(&bucket, bytes, now);
			taken += bytes;
			assert_true(taken <= 500 * (now - 5) + 500001 + largest);
		}
		assert_true(taken > 500 * (now - 5) * 8 / 10);
	}
}

static void a_bucket_without_a_rate_allows_everything(void **state)
{
	struct bucket bucket = {0};

	bucket_take(&bucket, UINT32_MAX, 1);
	assert_true(bucket_allows(&bucket, 1));
	bucket_set(&bucket, 1000, 1000, 1);
	bucket_take(&bucket, 3000, 1);
	assert_false(bucket_allows(&bucket, 1000));
	bucket_set(&bucket, 2000, 1000, 1000); /* the debt stays */
	assert_false(bucket_allows(&bucket, 1100));
	assert_true(bucket_allows(&bucket, 2100));
	bucket_set(&bucket, 0, 1000, 2100);
	assert_true(bucket_allows(&bucket, 2100));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(peers_take_turns),
		cmocka_unit_test(turns_are_of_bytes),
		cmocka_unit_test(the_budget_holds_back_until_it_is_confirmed),
		cmocka_unit_test(the_budget_follows_the_measured_rate),
		cmocka_unit_test(a_low_rate_is_left_behind),
		cmocka_unit_test(a_silent_peer_does_not_hold_the_others),
		cmocka_unit_test(who_comes_after_waits_for_all_others),
		cmocka_unit_test(what_is_dropped_is_not_sent),
		cmocka_unit_test(a_rate_limit_is_kept),
		cmocka_unit_test(a_bucket_never_gives_more_than_its_rate),
		cmocka_unit_test(a_bucket_without_a_rate_allows_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
