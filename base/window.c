/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A window is a set of days, a first minute and a length. Whether a moment lies in it is asked for
 * the windows that began today and yesterday; no window is longer than a day. The wait is found
 * from the next seven days' beginnings, so no loop walks minutes.
 */
#include "base/window.h"

#include <assert.h>
#include <string.h>

struct window {
	bool days[7];    /* 0: Sunday, on which it begins */
	unsigned begin;  /* minute of the day */
	unsigned length; /* minutes, 1..1440 */
};

static const char *const day_names[7] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

static bool take_day(const char **at, unsigned *ret_day)
{
	for (unsigned d = 0; d < 7; d++) {
		if (strncmp(*at, day_names[d], 3) != 0)
			continue;
		*at += 3;
		*ret_day = d;
		return true;
	}
	return false;
}

/* "Mon", "Mon-Fri", "Sat-Mon", with commas between. */
static bool take_days(const char **at, struct window *window)
{
	unsigned first, last;

	do {
		if (!take_day(at, &first))
			return false;
		last = first;
		if (**at == '-') {
			(*at)++;
			if (!take_day(at, &last))
				return false;
		}
		for (unsigned d = first;; d = (d + 1) % 7) {
			window->days[d] = true;
			if (d == last)
				break;
		}
	} while (**at == ',' && (*at)++);
	return true;
}

static bool take_digits(const char **at, unsigned *ret_value)
{
	const char *c = *at;

	if (c[0] < '0' || c[0] > '9' || c[1] < '0' || c[1] > '9')
		return false;
	*ret_value = (unsigned)(c[0] - '0') * 10 + (unsigned)(c[1] - '0');
	*at += 2;
	return true;
}

/* HH:MM, up to 24:00. */
static bool take_time(const char **at, unsigned *ret_minute)
{
	unsigned hour, minute;

	if (!take_digits(at, &hour) || **at != ':')
		return false;
	(*at)++;
	if (!take_digits(at, &minute) || minute > 59 || hour * 60 + minute > WINDOW_DAY_MINUTES)
		return false;
	*ret_minute = hour * 60 + minute;
	return true;
}

static int parse(const char *text, struct window *window, struct err *err)
{
	const char *at = text;
	unsigned end;

	*window = (struct window){0};
	if (*at >= 'A') {
		if (!take_days(&at, window) || *at != ' ')
			return err_set(err, -EINVAL,
			               "days are written Mon, Mon-Fri or Sat,Sun and a space");
		at += strspn(at, " ");
	} else {
		memset(window->days, true, sizeof(window->days));
	}
	if (!take_time(&at, &window->begin) || *at++ != '-' || !take_time(&at, &end) || *at)
		return err_set(err, -EINVAL, "a window is written 22:00-06:00");
	if (window->begin == WINDOW_DAY_MINUTES)
		return err_set(err, -EINVAL, "a window begins at 00:00, not at 24:00");
	if (window->begin == end)
		return err_set(err, -EINVAL, "the window is empty; 00:00-24:00 is the whole day");
	window->length =
	    end > window->begin ? end - window->begin : end + WINDOW_DAY_MINUTES - window->begin;
	return 0;
}

int window_check(const char *text, struct err *err)
{
	struct window window;

	return *text ? parse(text, &window, err) : 0;
}

static bool is_open(const struct window *window, unsigned weekday, unsigned minute)
{
	unsigned yesterday = (weekday + 6) % 7;

	if (window->days[weekday] && minute >= window->begin &&
	    minute < window->begin + window->length)
		return true;
	return window->days[yesterday] &&
	       minute + WINDOW_DAY_MINUTES < window->begin + window->length;
}

bool window_is_open(const char *text, unsigned weekday, unsigned minute_of_day)
{
	return window_minutes_to_open(text, weekday, minute_of_day) == 0;
}

unsigned window_minutes_to_open(const char *text, unsigned weekday, unsigned minute_of_day)
{
	struct window window;

	assert(weekday < 7 && minute_of_day < WINDOW_DAY_MINUTES);
	if (!*text || parse(text, &window, NULL) < 0 || is_open(&window, weekday, minute_of_day))
		return 0;
	for (unsigned d = 0; d < 7; d++) {
		unsigned begin = d * WINDOW_DAY_MINUTES + window.begin;

		if (window.days[(weekday + d) % 7] && begin > minute_of_day)
			return begin - minute_of_day;
	}
	/* Only today's beginning, which is over: the same day next week. */
	return WINDOW_WEEK_MINUTES + window.begin - minute_of_day;
}
