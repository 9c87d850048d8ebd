/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time windows of a deployment: "22:00-06:00", "Mon-Fri 01:00-05:00", "Sat,Sun 00:00-24:00". The
 * days are those on which the window begins: a window that passes midnight ends on the next day.
 * The empty text is always open. Pure: the caller says what the clock on the wall shows in the
 * window's time zone (localtime_r's tm_wday and 60 * tm_hour + tm_min).
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>

enum { WINDOW_DAY_MINUTES = 24 * 60, WINDOW_WEEK_MINUTES = 7 * WINDOW_DAY_MINUTES };

/* Says what is wrong with the text. -EINVAL. */
int window_check(const char *text, struct err *err) COVEY_MUST_CHECK;

/* text must have passed window_check; weekday 0 is Sunday; 0 <= minute_of_day < 1440. */
bool window_is_open(const char *text, unsigned weekday, unsigned minute_of_day);

/* Minutes on the wall clock until the window opens; 0: it is open. */
unsigned window_minutes_to_open(const char *text, unsigned weekday, unsigned minute_of_day);
