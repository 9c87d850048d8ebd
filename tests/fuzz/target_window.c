/* SPDX-License-Identifier: Apache-2.0 */
/* A time window: minutes_to_open() must lead to a minute at which it is open, and not past one. */
#include "base/window.h"
#include "fuzz.h"

enum { STEP = 37 };

static bool is_open(const char *text, unsigned minute)
{
	minute %= WINDOW_WEEK_MINUTES;
	return window_is_open(text, minute / WINDOW_DAY_MINUTES, minute % WINDOW_DAY_MINUTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	AUTO_FREE char *text = fuzz_text(&input);
	struct err err = {0};

	if (window_check(text, &err) < 0) {
		assert(err.text[0]);
		return 0;
	}
	for (unsigned at = 0; at < WINDOW_WEEK_MINUTES; at += STEP) {
		unsigned wait = window_minutes_to_open(text, at / WINDOW_DAY_MINUTES,
						       at % WINDOW_DAY_MINUTES);

		assert(wait < WINDOW_WEEK_MINUTES && is_open(text, at + wait));
		assert((wait == 0) == is_open(text, at));
		assert(wait == 0 || !is_open(text, at + wait - 1));
	}
	return 0;
}
