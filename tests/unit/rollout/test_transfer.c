/* SPDX-License-Identifier: Apache-2.0 */
/* How long links need: the bound, its terms one by one, and what is not known. */
#include "coordinator/core/transfer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { MB = 1000000 };

static struct transfer fleet(uint32_t nodes, uint64_t bytes, uint64_t rate, uint64_t origin_rate)
{
	struct transfer t = {.origin_bytes = bytes, .origin_rate = origin_rate};

	for (uint32_t i = 0; i < nodes; i++)
		transfer_add(&t, bytes, rate);
	return t;
}

static void test_each_term(void **state)
{
	struct transfer t = fleet(8, 100 * MB, 10 * MB, 5 * MB); /* the origin's line */

	assert_int_equal(transfer_exchange_ms(&t), 20000);
	assert_int_equal(transfer_alone_ms(&t), 160000);
	t = fleet(8, 100 * MB, 2 * MB, 100 * MB); /* each node's own */
	assert_int_equal(transfer_exchange_ms(&t), 50000);
	assert_int_equal(transfer_alone_ms(&t), 50000);
	t = (struct transfer){.origin_bytes = MB, .origin_rate = 10 * MB}; /* all that send */
	transfer_add(&t, 990 * MB, 100 * MB);
	for (int i = 0; i < 10; i++)
		transfer_add(&t, MB, MB);
	assert_int_equal(transfer_exchange_ms(&t), 9900);
	t = fleet(1000, 100 * MB, 1 * MB, 10 * MB);
	assert_int_equal(transfer_exchange_ms(&t), 100000);
	assert_int_equal(transfer_alone_ms(&t), 10000000);
	t = (struct transfer){.origin_rate = 1000};
	transfer_add(&t, 6000, 4000); /* 6000 / 1000 while nobody else can give */
	transfer_add(&t, 6000, 1500);
	assert_int_equal(transfer_exchange_ms(&t), 4000);
	transfer_add(&t, 40000, 20000); /* 52000 / 26500 < 4 s still: the slowest node */
	assert_int_equal(transfer_exchange_ms(&t), 4000);
}

static void test_what_all_can_send(void **state)
{
	struct transfer t = {.origin_bytes = 1000, .origin_rate = 1000};

	for (int i = 0; i < 3; i++)
		transfer_add(&t, 4000, 4000); /* 12000 / 13000 */
	assert_int_equal(transfer_exchange_ms(&t), 1000);
	t = (struct transfer){.origin_bytes = 0, .origin_rate = 10};
	transfer_add(&t, 3000, 1000);
	transfer_add(&t, 3000, 1000);
	assert_int_equal(transfer_exchange_ms(&t), 3000);
}

static void test_not_known(void **state)
{
	struct transfer t = fleet(3, 100 * MB, 0, 0);

	assert_int_equal(transfer_exchange_ms(&t), TRANSFER_UNKNOWN);
	assert_int_equal(transfer_alone_ms(&t), TRANSFER_UNKNOWN);
	transfer_add(&t, 100 * MB, 10 * MB);
	assert_int_equal(transfer_exchange_ms(&t), 10000);
	assert_int_equal(transfer_alone_ms(&t), TRANSFER_UNKNOWN);
	assert_int_equal(t.unknown, 3);
	t.origin_rate = 20 * MB;
	assert_int_equal(transfer_exchange_ms(&t), 10000);
	assert_int_equal(transfer_alone_ms(&t), 20000);
}

static void test_ends(void **state)
{
	struct transfer t = {0};

	assert_int_equal(transfer_exchange_ms(&t), 0);
	assert_int_equal(transfer_alone_ms(&t), 0);
	transfer_add(&t, 0, 5); /* it holds everything */
	assert_int_equal(t.nodes, 0);
	assert_int_equal(transfer_exchange_ms(&t), 0);
	t = fleet(20000, UINT64_C(512) << 30, 1, 1); /* the largest and slowest fleet */
	assert_int_equal(transfer_exchange_ms(&t), (int64_t)((UINT64_C(512) << 30) * 1000));
	assert_true(transfer_alone_ms(&t) > transfer_exchange_ms(&t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_term),
		cmocka_unit_test(test_what_all_can_send),
		cmocka_unit_test(test_not_known),
		cmocka_unit_test(test_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
