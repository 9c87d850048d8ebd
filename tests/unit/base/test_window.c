/* SPDX-License-Identifier: Apache-2.0 */
/* Time windows: the text, the edges, midnight, and the wait against a walk over a whole week. */
#include "base/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { SUN, MON, TUE, WED, THU, FRI, SAT };

static unsigned at(unsigned hour, unsigned minute)
{
	return hour * 60 + minute;
}

static void test_daily(void **state)
{
	static const char night[] = "22:00-06:00";

	assert_false(window_is_open(night, MON, at(21, 59)));
	assert_true(window_is_open(night, MON, at(22, 0)));
	assert_true(window_is_open(night, TUE, at(0, 0)));
	assert_true(window_is_open(night, TUE, at(5, 59)));
	assert_false(window_is_open(night, TUE, at(6, 0)));
	assert_int_equal(window_minutes_to_open(night, TUE, at(6, 0)), 16 * 60);
	assert_int_equal(window_minutes_to_open(night, TUE, at(23, 0)), 0);
}

static void test_days_are_those_of_the_beginning(void **state)
{
	static const char work[] = "Mon-Fri 22:00-06:00";

	assert_true(window_is_open(work, SAT, at(5, 59))); /* began on Friday */
	assert_false(window_is_open(work, SAT, at(22, 0)));
	assert_false(window_is_open(work, MON, at(5, 0))); /* would have begun on Sunday */
	assert_int_equal(window_minutes_to_open(work, SAT, at(6, 0)), 2 * 24 * 60 + 16 * 60);
	assert_true(window_is_open("Sat-Mon 01:00-02:00", SUN, at(1, 30)));
	assert_false(window_is_open("Sat-Mon 01:00-02:00", TUE, at(1, 30)));
	assert_true(window_is_open("Sat,Sun 00:00-24:00", SUN, at(23, 59)));
	assert_false(window_is_open("Sat,Sun 00:00-24:00", MON, at(0, 0)));
	assert_int_equal(window_minutes_to_open("Wed 10:00-11:00", WED, at(11, 0)),
	                 7 * 24 * 60 - 60);
}

static void test_always(void **state)
{
	assert_int_equal(window_check("", NULL), 0);
	for (unsigned day = 0; day < 7; day++) {
		assert_true(window_is_open("", day, 0));
		assert_true(window_is_open("00:00-24:00", day, at(23, 59)));
	}
}

static void test_wait_agrees_with_a_walk(void **state)
{
	static const char *const texts[] = {
	    "22:00-06:00",     "Mon-Fri 01:00-05:00", "Sun 23:59-00:01", "Tue,Thu-Fri 12:00-11:59",
	    "Sat 00:00-24:00",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		unsigned wait = 0;

		assert_int_equal(window_check(texts[i], NULL), 0);
		/* Backwards over two weeks: the wait grows by one or is 0. */
		for (unsigned m = 2 * WINDOW_WEEK_MINUTES; m-- > 0;) {
			unsigned day = m / WINDOW_DAY_MINUTES % 7, minute = m % WINDOW_DAY_MINUTES;

			wait = window_is_open(texts[i], day, minute) ? 0 : wait + 1;
			if (m < WINDOW_WEEK_MINUTES)
				assert_int_equal(window_minutes_to_open(texts[i], day, minute),
				                 wait);
		}
	}
}

static void test_refused(void **state)
{
	static const char *const texts[] = {
	    " ",
	    "22:00",
	    "22:00-",
	    "22-06",
	    "22:00-06:00 ",
	    " 22:00-06:00",
	    "22:60-06:00",
	    "25:00-26:00",
	    "24:00-06:00",
	    "24:01-06:00",
	    "08:00-08:00",
	    "8:00-9:00",
	    "Mon 1:00-2:00",
	    "Mon",
	    "Mon-",
	    "Mon- 01:00-02:00",
	    "Monday 01:00-02:00",
	    "mon 01:00-02:00",
	    "Mon,,Tue 01:00-02:00",
	    "Mon01:00-02:00",
	    "Mon-Fri01:00-02:00",
	    "22:00\342\200\22306:00",
	    "always",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct err err = {0};

		if (window_check(texts[i], &err) != -EINVAL || !err.text[0])
			fail_msg("accepted: %s", texts[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_daily),   cmocka_unit_test(test_days_are_those_of_the_beginning),
	    cmocka_unit_test(test_always),  cmocka_unit_test(test_wait_agrees_with_a_walk),
	    cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
