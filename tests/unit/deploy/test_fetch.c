/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk scheduler: whom to ask for what, and what to do about sources that fail. */
#include "agent/core/backoff.h"
#include "agent/core/fetch.h"
#include "base/mem.h"
#include "base/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { ORIGIN = 0, PEER = 1, OTHER = 2, SIZE = 1000 };

enum { MOST = 1000 };

static struct fetch *create(uint32_t count)
{
	static uint32_t sizes[MOST];

	for (uint32_t i = 0; i < MOST; i++)
		sizes[i] = SIZE;
	return fetch_create(sizes, count);
}

static void have_all(struct fetch *f, uint32_t id, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		assert_true(fetch_have(f, id, i));
}

static uint32_t ask_all(struct fetch *f, uint64_t now, struct fetch_request *requests, uint32_t max)
{
	struct fetch_request cancelled;
	uint32_t count = 0;

	while (fetch_next_cancel(f, &cancelled))
		;
	while (count < max && fetch_next(f, now, 12345 + count, &requests[count]))
		count++;
	return count;
}

static void nothing_to_fetch_is_complete(void **state)
{
	struct fetch_request request;
	struct fetch *f = create(0);

	assert_int_equal(fetch_state(f), FETCH_COMPLETE);
	assert_int_equal(fetch_add_source(f, ORIGIN, FETCH_ORIGIN), 0);
	assert_false(fetch_next(f, 1, 1, &request));
	assert_int_equal(fetch_deadline(f), UINT64_MAX);
	fetch_free(f);
}

static void at_most_four_requests_to_a_source(void **state)
{
	struct fetch_request q[16];
	struct fetch *f = create(10);

	assert_int_equal(ask_all(f, 1, q, 16), 0); /* nobody to ask */
	assert_int_equal(fetch_state(f), FETCH_WAITING);
	assert_int_equal(fetch_add_source(f, ORIGIN, FETCH_ORIGIN), 0);
	assert_int_equal(fetch_add_source(f, ORIGIN, FETCH_ORIGIN), -EEXIST);
	assert_int_equal(ask_all(f, 1, q, 16), LIMIT_FETCH_REQUESTS);
	assert_int_equal(fetch_state(f), FETCH_RUNNING);
	assert_int_equal(fetch_received(f, ORIGIN, q[0].chunk, 2), FETCH_TAKEN);
	assert_int_equal(ask_all(f, 2, q, 16), 1);
	fetch_free(f);
}

static void every_chunk_is_asked_once_and_the_end_is_complete(void **state)
{
	struct fetch_request request;
	struct fetch_progress p;
	struct fetch *f = create(1000);
	uint32_t asked = 0;

	assert_int_equal(fetch_add_source(f, ORIGIN, FETCH_ORIGIN), 0);
	while (fetch_next(f, asked, asked * 7919ull, &request)) {
		asked++;
		assert_int_equal(request.size, SIZE);
		assert_int_equal(fetch_received(f, ORIGIN, request.chunk, asked), FETCH_TAKEN);
		assert_int_equal(fetch_received(f, ORIGIN, request.chunk, asked), FETCH_DUPLICATE);
	}
	assert_int_equal(asked, 1000);
	assert_int_equal(fetch_state(f), FETCH_COMPLETE);
	fetch_progress(f, 1000, &p);
	assert_int_equal(p.bytes_done, 1000 * SIZE);
	assert_int_equal(p.bytes_total, p.bytes_done);
	assert_int_equal(p.chunks_done, 1000);
	assert_int_equal(p.open, 0);
	fetch_free(f);
}

/* spec: REL-3 */
static void what_lies_there_is_not_asked_for(void **state)
{
	struct fetch *f = create(20);
	struct fetch_request request;
	uint8_t bits[3];
	uint32_t asked = 0;

	fetch_mark_done(f, 7);
	fetch_mark_done(f, 19);
	fetch_mark_done(f, 19); /* again: nothing changes */
	fetch_done_bits(f, bits);
	assert_int_equal(bits[0], 0x80);
	assert_int_equal(bits[1], 0);
	assert_int_equal(bits[2], 0x08);
	assert_int_equal(fetch_add_source(f, ORIGIN, FETCH_ORIGIN), 0);
	while (fetch_next(f, 1, asked, &request)) {
		asked++;
		assert_int_not_equal(request.chunk, 7);
		assert_int_equal(fetch_received(f, ORIGIN, request.chunk, 1), FETCH_TAKEN);
	}
	assert_int_equal(asked, 18);
	fetch_free(f);
}

static void a_source_that_goes_down_gives_its_requests_back(void **state)
{
	struct fetch_request q[16];
	struct fetch *f = create(4);

	assert_int_equal(fetch_add_source(f, ORIGIN, FETCH_ORIGIN), 0);
	assert_int_equal(ask_all(f, 1, q, 16), 4);
	fetch_source_down(f, ORIGIN);
	assert_int_equal(fetch_state(f), FETCH_WAITING);
	assert_int_equal(ask_all(f, 1, q, 16), 0);
	assert_int_equal(fetch_deadline(f), UINT64_MAX);
	fetch_source_up(f, ORIGIN);
	assert_int_equal(ask_all(f, 1, q, 16), 4);
	fetch_free(f);
}

/* spec: REL-6 */
static void a_bad_chunk_costs_the_source_its_place(void **state)
{
	struct fetch_request q[16];
	struct fetch_blame blame;
	struct fetch *f = create(8);

	assert_int_equal(fetch_add_source(f, ORIGIN, FETCH_ORIGIN), 0);
	assert_int_equal(fetch_add_source(f, PEER, FETCH_PEER), 0);
	have_all(f, PEER, 8);
	fetch_set_credit(f, PEER, 4 * SIZE);
	assert_int_equal(ask_all(f, 1, q, 16), 8);
	fetch_received_bad(f, PEER);
	assert_true(fetch_next_blame(f, &blame));
	assert_int_equal(blame.source, PEER);
	assert_int_equal(blame.fault, FETCH_BAD);
	assert_false(fetch_next_blame(f, &blame));
	fetch_source_up(f, PEER); /* no way back */
	have_all(f, PEER, 8);
	for (uint32_t i = 0; i < 8; i++)
		if (q[i].source == ORIGIN)
			assert_int_equal(fetch_received(f, ORIGIN, q[i].chunk, 2), FETCH_TAKEN);
	assert_int_equal(ask_all(f, 2, q, 16), 4); /* what the peer was asked, from the origin */
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(q[i].source, ORIGIN);
	fetch_received_bad(f, ORIGIN);
	assert_int_equal(fetch_state(f), FETCH_HOPELESS);
	fetch_free(f);
}

static void a_chunk_that_nobody_has_is_hopeless_until_a_peer_has_it(void **state)
{
	struct fetch_request q[4];
	struct fetch *f = create(1);

	assert_int_equal(fetch_add_source(f, ORIGIN, FETCH_ORIGIN), 0);
	assert_int_equal(ask_all(f, 1, q, 4), 1);
	fetch_received_missing(f, ORIGIN, q[0].chunk);
	assert_int_equal(fetch_state(f), FETCH_HOPELESS);
	assert_int_equal(fetch_add_source(f, PEER, FETCH_PEER), 0);
	fetch_have(f, PEER, q[0].chunk);
	assert_int_equal(fetch_state(f), FETCH_RUNNING);
	assert_int_equal(ask_all(f, 1, q, 4), 1);
	assert_int_equal(q[0].source, PEER);
	fetch_free(f);
}

static void peers_are_asked_only_for_what_they_have(void **state)
{
	struct fetch_request q[16];
	struct fetch *f = create(100);

	assert_int_equal(fetch_add_source(f, PEER, FETCH_PEER), 0);
	assert_int_equal(ask_all(f, 1, q, 16), 0);
	assert_int_equal(fetch_state(f), FETCH_WAITING);
	assert_true(fetch_have(f, PEER, 3));
	assert_true(fetch_have(f, PEER, 3));
	assert_false(fetch_have(f, 77, 3));
	assert_false(fetch_have(f, PEER, 100));
	assert_int_equal(ask_all(f, 1, q, 16), 1);
	assert_int_equal(q[0].chunk, 3);
	fetch_free(f);
}

static void the_rarest_chunk_is_asked_first(void **state)
{
	struct fetch_request request;
	struct fetch *f = create(16);

	assert_int_equal(fetch_add_source(f, PEER, FETCH_PEER), 0);
	assert_int_equal(fetch_add_source(f, OTHER, FETCH_PEER), 0);
	have_all(f, PEER, 16);
	for (uint32_t i = 0; i < 16; i++)
		if (i != 5)
			assert_true(fetch_have(f, OTHER, i));
	fetch_source_down(f, OTHER);
	fetch_source_up(f, OTHER);
	assert_true(fetch_next(f, 1, 0, &request));
	assert_int_equal(request.source, PEER);
	assert_int_equal(request.chunk, 5);
	fetch_free(f);
}

static void overdue_requests_are_given_to_others(void **state)
{
	struct fetch_request q[16];
	struct fetch *f = create(2);
	uint64_t deadline;

	assert_int_equal(fetch_add_source(f, ORIGIN, FETCH_ORIGIN), 0);
	assert_int_equal(ask_all(f, 1000, q, 16), 2);
	deadline = fetch_deadline(f);
	assert_in_range(deadline, 1000 + FETCH_TIMEOUT_MS, 1000 + FETCH_TIMEOUT_MAX_MS);
	fetch_tick(f, deadline - 1, 1);
	assert_int_equal(ask_all(f, deadline - 1, q, 16), 0);
	fetch_tick(f, deadline + 100, 1);
	assert_int_equal(ask_all(f, deadline + 100, q, 16), 1); /* a slow source gets one only */
	assert_int_equal(fetch_received(f, ORIGIN, q[0].chunk, deadline + 200), FETCH_TAKEN);
	assert_int_equal(ask_all(f, deadline + 200, q, 16), 1);
	fetch_free(f);
}

static void a_late_answer_is_still_taken(void **state)
{
	struct fetch_request q[4];
	struct fetch *f = create(1);

	assert_int_equal(fetch_add_source(f, ORIGIN, FETCH_ORIGIN), 0);
	assert_int_equal(ask_all(f, 1, q, 4), 1);
	fetch_tick(f, 1000000, 1);
	assert_int_equal(fetch_received(f, ORIGIN, q[0].chunk, 1000001), FETCH_TAKEN);
	assert_int_equal(fetch_state(f), FETCH_COMPLETE);
	fetch_free(f);
}

static void a_source_that_never_answers_rests_longer_and_longer(void **state)
{
	struct fetch_request q[4];
	struct fetch *f = create(1);
	uint64_t now = 1000, rests = 0;

	assert_int_equal(fetch_add_source(f, ORIGIN, FETCH_ORIGIN), 0);
	for (int i = 0; i < 20; i++) {
		rests += fetch_state(f) == FETCH_WAITING;
		ask_all(f, now, q, 4);
		assert_true(fetch_deadline(f) > now);
		assert_true(fetch_deadline(f) < now + FETCH_TIMEOUT_MAX_MS);
		now = fetch_deadline(f);
		fetch_tick(f, now, 99);
	}
	assert_true(rests > 5);
	fetch_source_up(f, ORIGIN); /* a new link: it may try at once */
	assert_int_equal(ask_all(f, now, q, 4), 1);
	fetch_free(f);
}

static void big_chunks_on_a_thin_link_get_time(void **state)
{
	static const uint32_t sizes[] = {LIMIT_CHUNK, LIMIT_CHUNK, LIMIT_CHUNK, LIMIT_CHUNK};
	struct fetch_request q[4];
	struct fetch_progress p;
	struct fetch *f;

	f = fetch_create(sizes, 4);
	assert_int_equal(fetch_add_source(f, ORIGIN, FETCH_ORIGIN), 0);
	fetch_set_credit(f, ORIGIN, 4 * LIMIT_CHUNK);
	assert_int_equal(ask_all(f, 0, q, 4), 4);
	assert_true(fetch_deadline(f) > 60000);
	/* An answer each minute keeps the others alive. */
	for (uint32_t i = 0; i < 4; i++) {
		fetch_tick(f, 60000 * (i + 1), 1);
		fetch_progress(f, 60000 * (i + 1), &p);
		assert_int_equal(p.open, 4 - i);
		assert_int_equal(fetch_received(f, ORIGIN, q[i].chunk, 60000 * (i + 1)),
				 FETCH_TAKEN);
	}
	assert_int_equal(fetch_state(f), FETCH_COMPLETE);
	fetch_free(f);
}

static void the_rate_is_measured(void **state)
{
	struct fetch_request request;
	struct fetch_progress p;
	struct fetch *f = create(1000);
	uint64_t now = 5000;

	assert_int_equal(fetch_add_source(f, ORIGIN, FETCH_ORIGIN), 0);
	for (int i = 0; i < 500; i++, now += 10) { /* 1000 bytes each 10 ms */
		assert_true(fetch_next(f, now, (uint64_t)i, &request));
		assert_int_equal(fetch_received(f, ORIGIN, request.chunk, now), FETCH_TAKEN);
	}
	fetch_progress(f, now, &p);
	assert_in_range(p.rate, 90000, 110000);
	fetch_progress(f, now + 60000, &p);
	assert_int_equal(p.rate, 0);
	fetch_free(f);
}

/* Sources that drop, lie, stall and come back: no chunk is lost, none is stored twice. */
static void a_random_fetch_ends(uint64_t seed)
{
	struct rng rng = {seed};
	struct fetch *f = create(200);
	uint64_t now = 1;
	uint32_t taken = 0;

	assert_int_equal(fetch_add_source(f, ORIGIN, FETCH_ORIGIN), 0);
	for (uint32_t s = 1; s < 6; s++)
		assert_int_equal(fetch_add_source(f, s, FETCH_PEER), 0);
	for (int step = 0; fetch_state(f) != FETCH_COMPLETE; step++) {
		uint32_t source = (uint32_t)rng_below(&rng, 6);
		uint32_t any = (uint32_t)rng_below(&rng, 210);
		struct fetch_request q;

		assert_true(step < 100000);
		assert_int_not_equal(fetch_state(f), FETCH_HOPELESS);
		now += rng_below(&rng, 2000);
		fetch_tick(f, now, rng_next(&rng));
		if (rng_below(&rng, 10) == 0)
			fetch_source_down(f, source);
		if (rng_below(&rng, 5) == 0)
			fetch_source_up(f, source);
		if (rng_below(&rng, 500) == 0 && source)
			fetch_received_bad(f, source);
		if (source)
			(void)fetch_have(f, source, any);
		if (rng_below(&rng, 20) == 0 && source)
			fetch_received_missing(f, source, any);
		while (fetch_next_cancel(f, &q))
			;
		while (fetch_next(f, now, rng_next(&rng), &q)) {
			struct fetch_progress p;

			fetch_progress(f, now, &p);
			assert_true(p.open <= LIMIT_FETCH_REQUESTS + 5 * FETCH_REQUESTS);
			if (rng_below(&rng, 2))
				taken += fetch_received(f, q.source, q.chunk, now) == FETCH_TAKEN;
		}
	}
	assert_int_equal(taken, 200);
	fetch_free(f);
}

static void random_fetches_end(void **state)
{
	for (uint64_t seed = 1; seed <= 50; seed++)
		a_random_fetch_ends(seed);
}

/* spec: LINK-4 */
static void backoff_doubles_caps_and_jitters(void **state)
{
	uint64_t before = 0;

	assert_int_equal(backoff_ms(500, 30000, 0, 7), 0);
	for (uint32_t failures = 1; failures < 12; failures++) {
		uint64_t step = 500ull << (failures - 1), low;

		step = step < 30000 ? step : 30000;
		low = backoff_ms(500, 30000, failures, 0);
		assert_int_equal(low, step - step / 2);
		assert_int_equal(backoff_ms(500, 30000, failures, step / 2), step);
		assert_true(low >= before);
		before = low;
		for (uint64_t random = 0; random < 1000; random++)
			assert_in_range(backoff_ms(500, 30000, failures, random * 7919), low, step);
	}
	assert_in_range(backoff_ms(1, UINT64_MAX, UINT32_MAX, UINT64_MAX), UINT64_MAX / 2,
			UINT64_MAX);
	assert_in_range(backoff_ms(100, 10, 1, 3), 5, 10); /* a base above the cap */
	assert_int_equal(backoff_ms(0, 0, 5, 3), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_to_fetch_is_complete),
		cmocka_unit_test(at_most_four_requests_to_a_source),
		cmocka_unit_test(every_chunk_is_asked_once_and_the_end_is_complete),
		cmocka_unit_test(what_lies_there_is_not_asked_for),
		cmocka_unit_test(a_source_that_goes_down_gives_its_requests_back),
		cmocka_unit_test(a_bad_chunk_costs_the_source_its_place),
		cmocka_unit_test(a_chunk_that_nobody_has_is_hopeless_until_a_peer_has_it),
		cmocka_unit_test(peers_are_asked_only_for_what_they_have),
		cmocka_unit_test(the_rarest_chunk_is_asked_first),
		cmocka_unit_test(overdue_requests_are_given_to_others),
		cmocka_unit_test(a_late_answer_is_still_taken),
		cmocka_unit_test(a_source_that_never_answers_rests_longer_and_longer),
		cmocka_unit_test(big_chunks_on_a_thin_link_get_time),
		cmocka_unit_test(the_rate_is_measured),
		cmocka_unit_test(random_fetches_end),
		cmocka_unit_test(backoff_doubles_caps_and_jitters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
