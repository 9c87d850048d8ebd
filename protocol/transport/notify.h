/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a service tells systemd (sd_notify(3)), and the watchdog: while the loop turns, systemd is
 * told so at half of WatchdogSec; a loop that hangs is restarted. Without systemd nothing happens.
 */
#pragma once

#include "base/err.h"

#include <systemd/sd-event.h>

/* Turns the watchdog of the loop on where the unit asks for it (WATCHDOG_USEC). */
int notify_start(sd_event *event, struct err *err) COVEY_MUST_CHECK;
void notify_ready(const char *status);	  /* READY=1; call when the service really serves */
void notify_status(const char *format, ...) /* one line for `systemctl status` */
	__attribute__((format(printf, 1, 2)));
void notify_stopping(const char *status); /* STOPPING=1 */
