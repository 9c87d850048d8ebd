/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the resident helper tells systemd (sd_notify(3)), without its library: that it serves, and
 * at half of WatchdogSec= that its loop turns. Without systemd nothing happens.
 */
#pragma once

#include <stdint.h>

struct notify {
	int fd;            /* -1: nobody to tell */
	uint64_t every_ms; /* 0: no watchdog */
	uint64_t next_ms;
};

/* Takes the variables out of the environment: a container runtime would act on them. */
void notify_open(struct notify *notify);
void notify_close(struct notify *notify);
void notify_ready(const struct notify *notify);
/* Tells what is due. Returns when to be called again (clock_mono_ms; UINT64_MAX: never). */
uint64_t notify_tick(struct notify *notify, uint64_t now_ms);
