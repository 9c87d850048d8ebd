/* SPDX-License-Identifier: Apache-2.0 */
/*
 * systemd is told about the service over the socket in NOTIFY_SOCKET; where that is not set every
 * call here does nothing. A line that cannot be delivered is no reason to fail.
 */
#include "protocol/transport/notify.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

int notify_start(sd_event *event, struct err *err)
{
	int r = sd_event_set_watchdog(event, true);

	if (r < 0)
		return err_errno(err, r, "cannot serve the watchdog that the unit asks for");
	return 0;
}

/* A status is one line: what comes after a line break would be read as another assignment. */
static void tell(const char *state, const char *status)
{
	AUTO_FREE char *line = mem_str(status ? status : "");

	for (char *c = line; *c; c++) {
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	}
	(void)sd_notifyf(false, "%s%s%s", state, *line ? "STATUS=" : "", line);
}

void notify_ready(const char *status)
{
	tell("READY=1\n", status);
}

void notify_status(const char *format, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	tell("", line);
}

void notify_stopping(const char *status)
{
	tell("STOPPING=1\n", status);
}
