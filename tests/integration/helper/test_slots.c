/* SPDX-License-Identifier: Apache-2.0 */
/* Slots on a real kernel: they start, are reached, are confined, survive the helper and go. */
#include "tests/integration/helper/fixture.h"

#include "base/clock.h"
#include "base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct fixture fx;
static struct digest one, two;

static int setup(void **state)
{
	(void)state;
	fixture_up(&fx, "slots", "allow_devices = /dev/null");
	fixture_start(&fx);
	one = fixture_release(&fx, &(struct fixture_release){.text = "one", .model = "weights"});
	two = fixture_release(&fx, &(struct fixture_release){.text = "two", .no_egress = true});
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &one), 0);
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &two), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (getenv("COVEY_HT_SHELL"))
		fixture_shell("", NULL, "bash -x /tmp/dbg.sh >/tmp/dbg.out 2>&1");
	fixture_down(&fx);
	return 0;
}

static void stop_all(void)
{
	assert_int_equal(fixture_traffic(&fx, "", COLOUR_BLUE, NULL, 0), 0);
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_BLUE, true), 0);
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_GREEN, true), 0);
}

static void serve_one(void)
{
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
	assert_int_equal(fixture_traffic(&fx, "web", COLOUR_BLUE, &one, 8080), 0);
	assert_null(fixture_exited(&fx, 100));
	assert_true(fixture_answers(fx.client, "10.90.0.1", 8080, "one", 3000));
}

static void clients_reach_a_slot_from_everywhere(void **state)
{
	(void)state;
	serve_one();
	assert_string_equal(fixture_get(fx.client, "10.90.0.1", 8080), "one");
	assert_true(fixture_answers(fx.client, "fd90::1", 8080, "one", 3000));
	assert_string_equal(fixture_get(fx.node, "127.0.0.1", 8080), "one");
	assert_string_equal(fixture_get(fx.node, "localhost", 8080), "one");
	assert_string_equal(fixture_get(fx.node, "10.90.0.1", 8080), "one");
	stop_all();
	assert_string_equal(fixture_get(fx.client, "10.90.0.1", 8080), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clients_reach_a_slot_from_everywhere),
	};

	if (!fixture_usable())
		return 77;
	return cmocka_run_group_tests(tests, setup, teardown);
}
