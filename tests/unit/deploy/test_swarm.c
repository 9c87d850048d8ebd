/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk scheduler among peers: roles, credit, the end-game, and whom to name. */
#include "agent/core/fetch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

enum { ORIGIN = 7, PEER = 1, OTHER = 2, SIZE = 256 << 10, MOST = 200 };

static struct fetch *create(uint32_t count)
{
	static uint32_t sizes[MOST];

	for (uint32_t i = 0; i < MOST; i++)
		sizes[i] = SIZE;
	return fetch_create(sizes, count);
}

static void add(struct fetch *f, uint32_t id, enum fetch_kind kind, enum fetch_role role)
{
	assert_int_equal(fetch_add_source(f, id, kind), 0);
	fetch_set_role(f, id, role);
}

static void have(struct fetch *f, uint32_t id, uint32_t from, uint32_t to)
{
	for (uint32_t c = from; c < to; c++)
		assert_true(fetch_have(f, id, c));
}

static uint32_t ask_all(struct fetch *f, uint64_t now, struct fetch_request *q, uint32_t max)
{
	uint32_t count = 0;

	while (count < max && fetch_next(f, now, 0x9e3779b97f4a7c15ull * (now + count), &q[count]))
		count++;
	return count;
}

static void a_seed_is_asked_for_any(void **state)
{
	struct fetch_request q[16];
	struct fetch *f = create(20);

	add(f, ORIGIN, FETCH_ORIGIN, FETCH_SEED);
	assert_int_equal(ask_all(f, 1, q, 16), LIMIT_FETCH_REQUESTS);
	for (uint32_t i = 0; i < LIMIT_FETCH_REQUESTS; i++)
		assert_int_equal(q[i].chunk, FETCH_ANY);
	assert_int_equal(fetch_received(f, ORIGIN, 13, 2), FETCH_TAKEN);
	assert_int_equal(ask_all(f, 2, q, 16), 1);
	assert_int_equal(fetch_received(f, ORIGIN, 13, 3), FETCH_DUPLICATE);
	fetch_free(f);
}

static void no_more_any_than_chunks_are_missing(void **state)
{
	struct fetch_request q[16];
	struct fetch *f = create(3);

	fetch_mark_done(f, 0);
	add(f, ORIGIN, FETCH_ORIGIN, FETCH_SEED);
	assert_int_equal(ask_all(f, 1, q, 16), 2);
	fetch_free(f);
}

/* "All are out": what was asked for by "any" is free, and after a while is asked for by number. */
static void after_all_are_out_the_neighbours_come_first(void **state)
{
	const uint64_t hold = FETCH_HOLD_MS + 2 * FETCH_HOLD_EACH_MS;
	struct fetch_request q[32];
	struct fetch *f = create(20);

	add(f, ORIGIN, FETCH_ORIGIN, FETCH_SEED);
	add(f, PEER, FETCH_PEER, FETCH_NEIGHBOUR);
	have(f, PEER, 0, 20);
	assert_int_equal(ask_all(f, 1, q, 32), LIMIT_FETCH_REQUESTS + 2);
	fetch_set_role(f, ORIGIN, FETCH_NEIGHBOUR);
	assert_int_equal(ask_all(f, 2, q, 32), 0);
	assert_in_range(fetch_deadline(f), 2 + hold, 2 + hold);
	assert_int_equal(ask_all(f, 2 + hold, q, 32), LIMIT_FETCH_REQUESTS);
	for (uint32_t i = 0; i < LIMIT_FETCH_REQUESTS; i++) {
		assert_int_equal(q[i].source, ORIGIN);
		assert_int_not_equal(q[i].chunk, FETCH_ANY);
	}
	fetch_free(f);
}

static void a_reserve_is_asked_only_for_what_nobody_else_has(void **state)
{
	struct fetch_request q[32];
	struct fetch *f = create(20);
	uint64_t late = 1 + FETCH_PATIENCE_MS;

	add(f, ORIGIN, FETCH_ORIGIN, FETCH_RESERVE);
	add(f, PEER, FETCH_PEER, FETCH_NEIGHBOUR);
	have(f, PEER, 0, 19);
	assert_int_equal(ask_all(f, 1, q, 32), 2); /* of the neighbour */
	assert_int_equal(fetch_deadline(f), late);
	assert_int_equal(ask_all(f, late - 1, q, 32), 0);
	assert_int_equal(ask_all(f, late, q, 32), 1);
	assert_int_equal(q[0].source, ORIGIN);
	assert_int_equal(q[0].chunk, 19);
	fetch_free(f);
}

static void credit_is_in_bytes(void **state)
{
	struct fetch_request q[32];
	struct fetch *f = create(100);

	for (uint32_t id = 0; id < 6; id++) {
		add(f, id, FETCH_PEER, FETCH_NEIGHBOUR);
		have(f, id, 0, 100);
	}
	fetch_set_credit(f, 0, SIZE - 1); /* one always may be open */
	fetch_set_credit(f, 1, 5 * SIZE);
	assert_int_equal(ask_all(f, 1, q, 32), 1 + 5 + 4 * (FETCH_CREDIT_PEER / SIZE));
	fetch_free(f);
}

/* Eight neighbours, a chunk from each every 200 ms: how many are open after three seconds? */
static uint32_t open_at_eight(bool all)
{
	struct fetch_request q[64];
	uint32_t open[8][FETCH_REQUESTS], count[8] = {0};
	struct fetch *f = create(200);
	struct fetch_progress progress;

	for (uint32_t id = 0; id < 8; id++) {
		add(f, id, FETCH_PEER, FETCH_NEIGHBOUR);
		have(f, id, 0, 200);
	}
	fetch_set_all(f, all);
	for (uint64_t now = 1; now < 3000; now += 200) {
		uint32_t asked = ask_all(f, now, q, 64);

		for (uint32_t i = 0; i < asked; i++)
			open[q[i].source][count[q[i].source]++] = q[i].chunk;
		for (uint32_t id = 0; id < 8; id++) {
			fetch_received(f, id, open[id][0], now + 199);
			memmove(&open[id][0], &open[id][1], --count[id] * sizeof(open[id][0]));
		}
	}
	ask_all(f, 3001, q, 64);
	fetch_progress(f, 3001, &progress);
	fetch_free(f);
	return progress.open;
}

/* Where everybody is a neighbour no sender is to be idle while others have a queue. */
static void more_is_open_where_all_are_neighbours(void **state)
{
	assert_int_equal(open_at_eight(false), 8);
	assert_int_equal(open_at_eight(true), 16);
}

/* A source that delivers little is not given more to queue than it delivers in a moment. */
static void a_slow_source_gets_less(void **state)
{
	struct fetch_request q[32];
	struct fetch *f = create(200);
	uint64_t now = 1;

	for (uint32_t id = 0; id < 6; id++)
		add(f, id, FETCH_PEER, FETCH_NEIGHBOUR);
	have(f, 0, 0, 200);
	for (uint32_t i = 0; i < 10; i++) {
		uint32_t asked = ask_all(f, now, q, 32);

		assert_int_equal(asked, i ? 1 : 2); /* two, before its rate is known */
		for (uint32_t k = 0; k < asked; k++) {
			now += 1500;
			assert_int_equal(fetch_received(f, 0, q[k].chunk, now), FETCH_TAKEN);
		}
	}
	fetch_free(f);
}

static void what_is_late_is_asked_again_at_the_end_and_the_loser_cancelled(void **state)
{
	struct fetch_request q[8], again;
	struct fetch *f = create(1);

	add(f, PEER, FETCH_PEER, FETCH_NEIGHBOUR);
	add(f, OTHER, FETCH_PEER, FETCH_NEIGHBOUR);
	have(f, PEER, 0, 1);
	assert_int_equal(ask_all(f, 1, q, 8), 1);
	have(f, OTHER, 0, 1);
	assert_int_equal(ask_all(f, 2, q, 8), 0);
	assert_true(fetch_deadline(f) < FETCH_TIMEOUT_MS);
	assert_int_equal(ask_all(f, 9000, &again, 1), 1);
	assert_int_equal(again.source, OTHER);
	assert_true(again.again);
	assert_int_equal(ask_all(f, 9000, q, 8), 0);
	assert_int_equal(fetch_received(f, OTHER, 0, 9100), FETCH_TAKEN);
	assert_true(fetch_next_cancel(f, &again));
	assert_int_equal(again.source, PEER);
	assert_int_equal(again.chunk, 0);
	assert_false(fetch_next_cancel(f, &again));
	assert_int_equal(fetch_state(f), FETCH_COMPLETE);
	fetch_free(f);
}

/* A shell that may not ask now (the operator's rate) must not be woken for what is due. */
static void what_was_due_wakes_nobody_twice(void **state)
{
	struct fetch_request q[8];
	struct fetch *f = create(2);

	add(f, ORIGIN, FETCH_ORIGIN, FETCH_NEIGHBOUR);
	add(f, PEER, FETCH_PEER, FETCH_NEIGHBOUR);
	have(f, PEER, 0, 1);
	assert_int_equal(ask_all(f, 1, q, 8), 2);
	fetch_received_later(f, ORIGIN, 1, 2);
	for (uint64_t now = fetch_deadline(f); now < 9000; now = fetch_deadline(f)) {
		fetch_tick(f, now, 1);
		assert_true(fetch_deadline(f) > now);
	}
	fetch_free(f);
}

static void in_the_middle_nothing_is_asked_twice(void **state)
{
	struct fetch_request q[32];
	struct fetch *f = create(100);

	add(f, PEER, FETCH_PEER, FETCH_NEIGHBOUR);
	add(f, OTHER, FETCH_PEER, FETCH_NEIGHBOUR);
	have(f, PEER, 0, 100);
	assert_true(ask_all(f, 1, q, 32) > 0);
	have(f, OTHER, q[0].chunk, q[0].chunk + 1); /* it has nothing but what is asked for */
	assert_int_equal(ask_all(f, 9000, q, 32), 0);
	fetch_free(f);
}

static void who_says_that_it_has_and_has_not_is_a_liar(void **state)
{
	struct fetch_request q[8];
	struct fetch_blame blame;
	struct fetch *f = create(20);

	add(f, PEER, FETCH_PEER, FETCH_NEIGHBOUR);
	have(f, PEER, 0, 20);
	for (uint32_t i = 0; i < FETCH_LIES; i++) {
		assert_false(fetch_next_blame(f, &blame));
		assert_true(ask_all(f, 1, q, 1) == 1);
		fetch_received_missing(f, PEER, q[0].chunk);
	}
	assert_true(fetch_next_blame(f, &blame));
	assert_int_equal(blame.source, PEER);
	assert_int_equal(blame.fault, FETCH_LIAR);
	assert_int_equal(ask_all(f, 1, q, 8), 0);
	fetch_free(f);
}

static void who_stalls_is_named_once_until_it_delivers(void **state)
{
	struct fetch_request q[8];
	struct fetch_blame blame;
	struct fetch *f = create(20);
	uint64_t now = 1;
	uint32_t named = 0;

	add(f, PEER, FETCH_PEER, FETCH_NEIGHBOUR);
	have(f, PEER, 0, 20);
	for (int i = 0; i < 20; i++) {
		while (fetch_next_cancel(f, q))
			;
		ask_all(f, now, q, 8);
		now = fetch_deadline(f);
		fetch_tick(f, now, 5);
		while (fetch_next_blame(f, &blame)) {
			assert_int_equal(blame.fault, FETCH_STALLED);
			named++;
		}
	}
	assert_int_equal(named, 1);
	fetch_free(f);
}

static void a_refusal_lets_the_source_rest(void **state)
{
	struct fetch_request q[8];
	struct fetch *f = create(20);

	add(f, PEER, FETCH_PEER, FETCH_NEIGHBOUR);
	have(f, PEER, 0, 20);
	assert_int_equal(ask_all(f, 1, q, 8), 2);
	fetch_received_refusal(f, PEER, q[0].chunk, 5);
	fetch_received_refusal(f, PEER, q[1].chunk, 5);
	assert_int_equal(ask_all(f, 6, q, 8), 0);
	assert_int_equal(fetch_deadline(f), 5 + FETCH_PATIENCE_MS);
	fetch_tick(f, 5 + FETCH_PATIENCE_MS, 1);
	assert_int_equal(ask_all(f, 5 + FETCH_PATIENCE_MS, q, 8), 2);
	fetch_free(f);
}

static void what_is_put_off_is_not_asked_of_the_origin(void **state)
{
	struct fetch_request q[8];
	struct fetch *f = create(2);
	uint32_t chunk;

	add(f, ORIGIN, FETCH_ORIGIN, FETCH_NEIGHBOUR);
	assert_int_equal(ask_all(f, 1, q, 1), 1);
	chunk = q[0].chunk;
	fetch_received_later(f, ORIGIN, chunk, 2);
	assert_int_equal(ask_all(f, 3, q, 8), 1);
	assert_int_not_equal(q[0].chunk, chunk);
	assert_int_equal(fetch_deadline(f), 2 + FETCH_LATER_MS);
	assert_int_equal(ask_all(f, 2 + FETCH_LATER_MS, q, 8), 1);
	assert_int_equal(q[0].chunk, chunk);
	fetch_free(f);
}

static void fresh_chunks_that_nobody_takes_put_a_node_behind(void **state)
{
	struct fetch_request q[8];
	struct fetch *f = create(100);

	add(f, ORIGIN, FETCH_ORIGIN, FETCH_SEED);
	add(f, PEER, FETCH_PEER, FETCH_NEIGHBOUR);
	for (uint32_t i = 0; i < FETCH_UNSEEN; i++) {
		assert_false(fetch_is_behind(f));
		ask_all(f, i + 1, q, 8);
		assert_int_equal(fetch_received(f, ORIGIN, i, i + 1), FETCH_TAKEN);
	}
	assert_true(fetch_is_behind(f));
	assert_true(fetch_lacks(f, PEER, 3));
	have(f, PEER, 3, 4);
	assert_false(fetch_lacks(f, PEER, 3));
	assert_false(fetch_is_behind(f));
	fetch_free(f);
}

static void bits_of_another_length_are_refused(void **state)
{
	struct fetch_request q[8];
	struct fetch *f = create(12);
	uint8_t bits[3] = {0, 0xff, 0};

	add(f, PEER, FETCH_PEER, FETCH_NEIGHBOUR);
	assert_false(fetch_have_bits(f, PEER, bits, 3));
	assert_false(fetch_have_bits(f, OTHER, bits, 2));
	assert_int_equal(ask_all(f, 1, q, 8), 0);
	assert_true(fetch_have_bits(f, PEER, bits, 2)); /* bits beyond the list are nothing */
	assert_int_equal(ask_all(f, 1, q, 8), 2);
	assert_in_range(q[0].chunk, 8, 11);
	fetch_free(f);
}

static void a_source_that_was_removed_leaves_nothing_behind(void **state)
{
	struct fetch_request q[8];
	struct fetch *f = create(10);

	for (uint32_t round = 0; round < 3 * FETCH_SOURCES; round++) {
		add(f, round, FETCH_PEER, FETCH_NEIGHBOUR);
		add(f, 1000 + round, FETCH_PEER, FETCH_NEIGHBOUR);
		have(f, round, 0, 10);
		assert_int_equal(ask_all(f, 1, q, 8), 2);
		fetch_remove_source(f, round);
		assert_int_equal(fetch_state(f), FETCH_WAITING);
		assert_true(fetch_lacks(f, 1000 + round, 1));
		fetch_remove_source(f, 1000 + round);
	}
	fetch_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_seed_is_asked_for_any),
		cmocka_unit_test(no_more_any_than_chunks_are_missing),
		cmocka_unit_test(after_all_are_out_the_neighbours_come_first),
		cmocka_unit_test(a_reserve_is_asked_only_for_what_nobody_else_has),
		cmocka_unit_test(credit_is_in_bytes),
		cmocka_unit_test(more_is_open_where_all_are_neighbours),
		cmocka_unit_test(a_slow_source_gets_less),
		cmocka_unit_test(what_is_late_is_asked_again_at_the_end_and_the_loser_cancelled),
		cmocka_unit_test(what_was_due_wakes_nobody_twice),
		cmocka_unit_test(in_the_middle_nothing_is_asked_twice),
		cmocka_unit_test(who_says_that_it_has_and_has_not_is_a_liar),
		cmocka_unit_test(who_stalls_is_named_once_until_it_delivers),
		cmocka_unit_test(a_refusal_lets_the_source_rest),
		cmocka_unit_test(what_is_put_off_is_not_asked_of_the_origin),
		cmocka_unit_test(fresh_chunks_that_nobody_takes_put_a_node_behind),
		cmocka_unit_test(bits_of_another_length_are_refused),
		cmocka_unit_test(a_source_that_was_removed_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
