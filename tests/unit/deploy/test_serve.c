/* SPDX-License-Identifier: Apache-2.0 */
/* The serving side of a node: who may ask, and how much. */
#include "agent/core/serve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { CHUNK = 256 << 10, PEER = 3, OTHER = 4, RELEASE = 9 };

static struct serve *create(void)
{
	struct serve *s = serve_create();

	serve_join(s, PEER);
	serve_assign(s, PEER, RELEASE, true);
	return s;
}

static void only_what_is_assigned_is_served(void **state)
{
	struct serve *s = create();
	struct serve_send send;
	struct serve_stats stats;

	assert_int_equal(serve_ask(s, PEER, RELEASE, 1, CHUNK), SERVE_QUEUED);
	assert_int_equal(serve_ask(s, PEER, RELEASE + 1, 1, CHUNK), SERVE_STRANGER);
	assert_int_equal(serve_ask(s, OTHER, RELEASE, 1, CHUNK), SERVE_STRANGER);
	assert_int_equal(serve_ask(s, UINT32_MAX, RELEASE, 1, CHUNK), SERVE_STRANGER);
	assert_int_equal(serve_ask(s, PEER, UINT32_MAX, 1, CHUNK), SERVE_STRANGER);
	serve_assign(s, OTHER, RELEASE, true); /* who did not prove who it is gets nothing */
	assert_int_equal(serve_ask(s, OTHER, RELEASE, 1, CHUNK), SERVE_STRANGER);
	assert_true(serve_next(s, 1, &send));
	assert_int_equal(send.neighbour, PEER);
	assert_int_equal(send.release, RELEASE);
	assert_int_equal(send.chunk, 1);
	assert_int_equal(send.size, CHUNK);
	assert_false(serve_next(s, 1, &send));
	serve_stats(s, &stats);
	assert_int_equal(stats.refused[SERVE_STRANGER], 5);
	assert_int_equal(stats.sent_bytes, CHUNK);
	serve_free(s);
}

static void what_is_revoked_is_not_sent_any_more(void **state)
{
	struct serve *s = create();
	struct serve_send send;

	serve_assign(s, PEER, RELEASE + 1, true);
	assert_int_equal(serve_ask(s, PEER, RELEASE, 1, CHUNK), SERVE_QUEUED);
	assert_int_equal(serve_ask(s, PEER, RELEASE + 1, 2, CHUNK), SERVE_QUEUED);
	serve_release_close(s, RELEASE);
	assert_int_equal(serve_ask(s, PEER, RELEASE, 1, CHUNK), SERVE_STRANGER);
	assert_true(serve_next(s, 1, &send));
	assert_int_equal(send.release, RELEASE + 1);
	assert_false(serve_next(s, 1, &send));
	serve_leave(s, PEER);
	serve_join(s, PEER); /* a new connection begins with nothing */
	assert_false(serve_may(s, PEER, RELEASE + 1));
	serve_free(s);
}

static void credit_is_kept(void **state)
{
	struct serve *s = create();
	struct serve_send send;
	uint32_t queued = 0;

	while (serve_ask(s, PEER, RELEASE, queued, CHUNK) == SERVE_QUEUED)
		queued++;
	assert_int_equal(queued, SERVE_CREDIT / CHUNK);
	assert_true(serve_next(s, 1, &send)); /* sent is not taken */
	assert_int_equal(serve_ask(s, PEER, RELEASE, 99, CHUNK), SERVE_OVERRUN);
	assert_true(serve_taken(s, PEER, CHUNK, 2));
	assert_int_equal(serve_ask(s, PEER, RELEASE, 99, CHUNK), SERVE_QUEUED);
	assert_false(serve_taken(s, PEER, 100 * CHUNK, 2));
	serve_free(s);
}

static void four_large_chunks_may_always_be_open(void **state)
{
	struct serve *s = create();

	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(serve_ask(s, PEER, RELEASE, i, LIMIT_CHUNK), SERVE_QUEUED);
	assert_int_equal(serve_ask(s, PEER, RELEASE, 4, LIMIT_CHUNK), SERVE_OVERRUN);
	serve_free(s);
}

static void small_requests_are_bounded_too(void **state)
{
	struct serve *s = create();
	uint32_t queued = 0;

	while (serve_ask(s, PEER, RELEASE, queued, 1) == SERVE_QUEUED)
		queued++;
	assert_int_equal(queued, SERVE_REQUESTS);
	serve_free(s);
}

static void a_cancelled_chunk_is_not_sent(void **state)
{
	struct serve *s = create();
	struct serve_send send;

	assert_int_equal(serve_ask(s, PEER, RELEASE, 1, CHUNK), SERVE_QUEUED);
	assert_int_equal(serve_ask(s, PEER, RELEASE, 2, CHUNK), SERVE_QUEUED);
	serve_cancel(s, PEER, RELEASE, 1);
	serve_cancel(s, PEER, RELEASE, 77);
	assert_true(serve_next(s, 1, &send));
	assert_int_equal(send.chunk, 2);
	assert_false(serve_next(s, 1, &send));
	serve_free(s);
}

static void a_closed_door_refuses_and_forgets(void **state)
{
	struct serve *s = create();
	struct serve_send send;

	assert_int_equal(serve_ask(s, PEER, RELEASE, 1, CHUNK), SERVE_QUEUED);
	serve_set_limits(s, false, 0, 1);
	assert_false(serve_next(s, 1, &send));
	assert_int_equal(serve_ask(s, PEER, RELEASE, 1, CHUNK), SERVE_CLOSED);
	serve_set_limits(s, true, 0, 2);
	assert_int_equal(serve_ask(s, PEER, RELEASE, 1, CHUNK), SERVE_QUEUED);
	assert_true(serve_next(s, 2, &send));
	serve_free(s);
}

static void the_operators_rate_is_kept(void **state)
{
	struct serve *s = create();
	struct serve_send send;
	uint64_t now = 1, sent = 0;

	serve_set_limits(s, true, 1 << 20, now);
	for (; now < 10000; now = serve_deadline(s, now)) {
		while (serve_ask(s, PEER, RELEASE, 1, CHUNK) == SERVE_QUEUED)
			;
		while (serve_next(s, now, &send))
			sent += send.size;
		assert_true(serve_taken(s, PEER, sent, now));
		if (serve_deadline(s, now) == UINT64_MAX)
			assert_int_equal(serve_ask(s, PEER, RELEASE, 1, CHUNK), SERVE_QUEUED);
	}
	assert_in_range(sent, 9 << 20, (10 << 20) + (1 << 18) + 2 * CHUNK);
	serve_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_is_assigned_is_served),
		cmocka_unit_test(what_is_revoked_is_not_sent_any_more),
		cmocka_unit_test(credit_is_kept),
		cmocka_unit_test(four_large_chunks_may_always_be_open),
		cmocka_unit_test(small_requests_are_bounded_too),
		cmocka_unit_test(a_cancelled_chunk_is_not_sent),
		cmocka_unit_test(a_closed_door_refuses_and_forgets),
		cmocka_unit_test(the_operators_rate_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
