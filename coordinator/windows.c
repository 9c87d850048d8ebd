/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wall clock of a time zone, for windows. libc knows one zone at a time, the process's; it is
 * set for the moment of the question. The shell has one thread.
 */
#include "coordinator/rollouts.h"

#include "base/mem.h"
#include "base/str.h"
#include "base/window.h"

#include <time.h>

enum { MINUTE_MS = 60000 };

static void wall(const char *timezone, uint64_t unix_ms, struct tm *ret_tm)
{
	const char *set = getenv("TZ");
	AUTO_FREE char *before = set ? mem_str(set) : NULL;
	AUTO_FREE char *zone = mem_format(":%s", timezone[0] ? timezone : "UTC");
	time_t seconds = (time_t)(unix_ms / 1000);

	setenv("TZ", zone, 1);
	tzset();
	localtime_r(&seconds, ret_tm);
	if (before)
		setenv("TZ", before, 1);
	else
		unsetenv("TZ");
	tzset();
}

bool windows_is_open(const struct window_spec *windows, uint64_t unix_ms)
{
	struct tm tm;

	if (!windows->swap[0])
		return true;
	wall(windows->timezone, unix_ms, &tm);
	return window_is_open(windows->swap, (unsigned)tm.tm_wday,
			      (unsigned)(tm.tm_hour * 60 + tm.tm_min));
}

uint64_t windows_next_change(const struct window_spec *windows, uint64_t unix_ms)
{
	if (!windows->swap[0])
		return UINT64_MAX;
	return unix_ms - unix_ms % MINUTE_MS + MINUTE_MS;
}

int windows_check(const struct window_spec *windows, struct err *err)
{
	AUTO_FREE char *path = NULL;

	if (!windows->timezone[0])
		return 0;
	if (strstr(windows->timezone, "..") || windows->timezone[0] == '/')
		return err_set(err, -EINVAL, "windows.timezone: %s is not a time zone",
			       windows->timezone);
	path = mem_format("/usr/share/zoneinfo/%s", windows->timezone);
	if (access(path, R_OK) < 0)
		return err_set(err, -EINVAL,
			       "windows.timezone: the coordinator does not know %s (tzdata)",
			       windows->timezone);
	return 0;
}
