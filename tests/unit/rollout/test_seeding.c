/* SPDX-License-Identifier: Apache-2.0 */
/* The origin: each chunk once before any twice, for each group. */
#include "base/rng.h"
#include "coordinator/core/seeding.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

enum { SIZE = 256 << 10, MOST = 300, NODES = 30, RELEASE = 5 };

static uint32_t sizes[MOST];

static struct seeding *create(uint32_t chunks, uint32_t groups)
{
	struct seeding *s = seeding_create(NODES, groups, 42);

	for (uint32_t i = 0; i < MOST; i++)
		sizes[i] = SIZE + i;
	seeding_open(s, RELEASE, sizes, chunks);
	return s;
}

static uint64_t taken[NODES];

/* Sends everything that waits; the nodes take it at once. Counts what was sent of each chunk. */
static uint32_t send_all(struct seeding *s, uint64_t now, uint32_t *counts)
{
	struct seeding_send send;
	uint32_t sent = 0;

	while (seeding_next(s, now, &send)) {
		if (send.chunk == SEEDING_ANY)
			continue;
		assert_int_equal(send.size, sizes[send.chunk]);
		taken[send.node] += send.size;
		assert_true(seeding_taken(s, send.node, taken[send.node], now));
		if (counts)
			counts[send.chunk]++;
		sent++;
	}
	return sent;
}

static void join(struct seeding *s, uint32_t node, uint32_t group)
{
	seeding_join(s, node, group);
	taken[node] = 0;
}

static enum seeding_answer ask(struct seeding *s, uint32_t node, uint32_t chunk, uint64_t now)
{
	return seeding_ask(s, node, RELEASE, chunk, now);
}

static void each_chunk_goes_out_once(void **state)
{
	struct seeding *s = create(MOST, 1);
	uint32_t counts[MOST] = {0}, sent = 0;

	for (uint32_t node = 0; node < 7; node++)
		join(s, node, 0);
	for (uint64_t now = 1; sent < MOST; now++) {
		for (uint32_t node = 0; node < 7; node++)
			assert_int_not_equal(ask(s, node, SEEDING_ANY, now), SEEDING_REFUSED);
		sent += send_all(s, now, counts);
	}
	for (uint32_t c = 0; c < MOST; c++)
		assert_int_equal(counts[c], 1);
	assert_int_equal(ask(s, 1, SEEDING_ANY, 1000), SEEDING_ALL_OUT);
	assert_int_equal(seeding_left(s, RELEASE, 0), 0);
	seeding_free(s);
}

static void the_order_is_random(void **state)
{
	struct seeding *s = create(MOST, 1);
	struct seeding_send send;
	uint32_t rising = 0, last = 0;

	join(s, 0, 0);
	for (uint32_t i = 0; i < MOST; i++) {
		assert_int_equal(ask(s, 0, SEEDING_ANY, i + 1), SEEDING_QUEUED);
		assert_true(seeding_next(s, i + 1, &send));
		taken[0] += send.size;
		assert_true(seeding_taken(s, 0, taken[0], i + 1));
		rising += send.chunk > last;
		last = send.chunk;
	}
	assert_in_range(rising, MOST / 3, MOST * 2 / 3);
	seeding_free(s);
}

/* The last chunk goes to one of two that wait; the other hears that all are out. */
static void who_comes_too_late_is_told(void **state)
{
	struct seeding *s = create(1, 1);
	struct seeding_send send;

	join(s, 0, 0);
	join(s, 1, 0);
	assert_int_equal(ask(s, 0, SEEDING_ANY, 1), SEEDING_QUEUED);
	assert_int_equal(ask(s, 1, SEEDING_ANY, 1), SEEDING_QUEUED);
	assert_true(seeding_next(s, 1, &send));
	assert_int_equal(send.chunk, 0);
	assert_true(send.fresh);
	assert_true(seeding_next(s, 1, &send));
	assert_int_equal(send.node, 1);
	assert_int_equal(send.chunk, SEEDING_ANY);
	assert_int_equal(send.size, 0);
	assert_int_equal(seeding_sent(s), sizes[0]);
	seeding_free(s);
}

static void each_thin_site_gets_each_chunk_once(void **state)
{
	struct seeding *s = create(50, 3);
	uint32_t counts[MOST] = {0}, sent = 0;

	for (uint32_t node = 0; node < 6; node++)
		join(s, node, node % 3);
	for (uint64_t now = 1; sent < 150; now++) {
		for (uint32_t node = 0; node < 6; node++)
			(void)ask(s, node, SEEDING_ANY, now);
		sent += send_all(s, now, counts);
	}
	for (uint32_t c = 0; c < 50; c++)
		assert_int_equal(counts[c], 3);
	assert_true(seeding_is_neighbour(s, 0));
	assert_false(seeding_is_neighbour(s, 1)); /* over a thin link the origin is a reserve */
	seeding_free(s);
}

static void nothing_is_repeated_at_once(void **state)
{
	struct seeding *s = create(1, 2);

	join(s, 0, 0);
	join(s, 1, 0);
	join(s, 2, 1);
	join(s, 3, 1);
	for (uint32_t node = 0; node < 4; node += 2)
		assert_int_equal(ask(s, node, SEEDING_ANY, 1), SEEDING_QUEUED);
	assert_int_equal(send_all(s, 1, NULL), 2);
	assert_int_equal(ask(s, 1, 0, 500), SEEDING_LATER);
	assert_int_equal(ask(s, 1, 0, 2 + SEEDING_REPEAT_MS), SEEDING_QUEUED);
	assert_int_equal(ask(s, 3, 0, 2 + SEEDING_REPEAT_MS), SEEDING_LATER);
	assert_int_equal(ask(s, 3, 0, 2 + SEEDING_REPEAT_THIN_MS), SEEDING_QUEUED);
	seeding_free(s);
}

static void what_nodes_have_is_out(void **state)
{
	struct seeding *s = create(10, 1);
	uint8_t bits[] = {0xff, 0x01};
	uint32_t counts[MOST] = {0};

	join(s, 0, 0);
	join(s, 1, 0);
	assert_int_equal(seeding_have(s, 0, RELEASE, bits, 1), -EINVAL);
	assert_int_equal(seeding_have(s, 0, RELEASE, bits, 2), 0);
	assert_int_equal(seeding_left(s, RELEASE, 0), 1);
	assert_int_equal(ask(s, 1, SEEDING_ANY, 1), SEEDING_QUEUED);
	assert_int_equal(send_all(s, 1, counts), 1);
	assert_int_equal(counts[9], 1);
	assert_int_equal(ask(s, 1, 3, 2), SEEDING_QUEUED); /* by name, also what is out */
	seeding_free(s);
}

static void what_a_node_took_along_is_given_out_again(void **state)
{
	struct seeding *s = create(10, 1);
	struct seeding_send send;

	join(s, 0, 0);
	join(s, 1, 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(ask(s, 0, SEEDING_ANY, 1), SEEDING_QUEUED);
	for (uint32_t i = 0; i < 2; i++) { /* one is confirmed, one under way, one waits */
		assert_true(seeding_next(s, 1, &send));
		taken[0] += i ? 0 : send.size;
	}
	assert_true(seeding_taken(s, 0, taken[0], 2));
	assert_int_equal(seeding_left(s, RELEASE, 0), 8);
	seeding_leave(s, 0, 2 + SEEDING_RECENT_MS); /* time enough to pass the first one on */
	assert_int_equal(seeding_left(s, RELEASE, 0), 9);
	assert_int_equal(ask(s, 0, SEEDING_ANY, 3), SEEDING_REFUSED);
	assert_false(seeding_next(s, 3, &send));
	seeding_free(s);
}

static void nodes_that_are_behind_come_last(void **state)
{
	struct seeding *s = create(10, 1);
	struct seeding_send send;

	join(s, 0, 0);
	join(s, 1, 0);
	seeding_behind(s, 0, true);
	assert_int_equal(ask(s, 0, SEEDING_ANY, 1), SEEDING_QUEUED);
	assert_int_equal(ask(s, 1, SEEDING_ANY, 1), SEEDING_QUEUED);
	assert_true(seeding_next(s, 1, &send));
	assert_int_equal(send.node, 1);
	assert_true(seeding_next(s, 1, &send));
	assert_int_equal(send.node, 0);
	seeding_free(s);
}

static void requests_are_bounded_and_checked(void **state)
{
	struct seeding *s = create(10, 1);
	struct seeding_send send;

	join(s, 0, 0);
	assert_int_equal(ask(s, 0, 10, 1), SEEDING_REFUSED);
	assert_int_equal(ask(s, NODES, 1, 1), SEEDING_REFUSED);
	assert_int_equal(ask(s, 3, 1, 1), SEEDING_REFUSED);
	assert_int_equal(seeding_ask(s, 0, RELEASE + 1, 1, 1), SEEDING_REFUSED);
	assert_int_equal(seeding_ask(s, 0, UINT32_MAX, 1, 1), SEEDING_REFUSED);
	for (uint32_t i = 0; i < LIMIT_FETCH_REQUESTS; i++)
		assert_int_equal(ask(s, 0, i, 1), SEEDING_QUEUED);
	assert_int_equal(ask(s, 0, 9, 1), SEEDING_REFUSED);
	seeding_cancel(s, 0, RELEASE, 0);
	assert_int_equal(ask(s, 0, 9, 1), SEEDING_QUEUED);
	assert_false(seeding_taken(s, 0, 1, 1)); /* nothing was sent yet */
	seeding_close(s, RELEASE);
	assert_false(seeding_next(s, 1, &send));
	seeding_free(s);
}

static void two_releases_share_the_uplink(void **state)
{
	struct seeding *s = create(5, 1);
	struct seeding_send send;
	uint32_t of[2] = {0};

	seeding_open(s, RELEASE + 1, sizes, 3);
	join(s, 0, 0);
	assert_int_equal(seeding_ask(s, 0, RELEASE, SEEDING_ANY, 1), SEEDING_QUEUED);
	assert_int_equal(seeding_ask(s, 0, RELEASE + 1, SEEDING_ANY, 1), SEEDING_QUEUED);
	while (seeding_next(s, 1, &send))
		of[send.release - RELEASE]++;
	assert_int_equal(of[0], 1);
	assert_int_equal(of[1], 1);
	assert_int_equal(seeding_left(s, RELEASE, 0), 4);
	assert_int_equal(seeding_left(s, RELEASE + 1, 0), 2);
	seeding_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_chunk_goes_out_once),
		cmocka_unit_test(the_order_is_random),
		cmocka_unit_test(who_comes_too_late_is_told),
		cmocka_unit_test(each_thin_site_gets_each_chunk_once),
		cmocka_unit_test(nothing_is_repeated_at_once),
		cmocka_unit_test(what_nodes_have_is_out),
		cmocka_unit_test(what_a_node_took_along_is_given_out_again),
		cmocka_unit_test(nodes_that_are_behind_come_last),
		cmocka_unit_test(requests_are_bounded_and_checked),
		cmocka_unit_test(two_releases_share_the_uplink),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
