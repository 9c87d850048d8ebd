/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a server's /metrics as the health probes do (probe/health.h): one socket, nothing that
 * blocks, one bounded buffer while it lasts. HTTP/1.0, so that the answer ends where the connection
 * does and is not cut into pieces.
 */
#pragma once

#include "agent/world.h"

#include <systemd/sd-event.h>

enum { SCRAPE_BYTES_MAX = 256 << 10, SCRAPES_MAX = 8 };

struct scrape;

/* data is NULL when it failed. Never called from inside scrape_start(). */
typedef void scrape_done_fn(void *context, uint64_t id, const char *data, size_t size);

struct scrape *scrape_new(sd_event *event, scrape_done_fn *done, void *context);
void scrape_free(struct scrape *scrape); /* no callback afterwards; NULL is fine */

/* What cannot be started is told as failed as well, or forgotten: whoever asks, asks again later. */
void scrape_start(struct scrape *scrape, const struct agent_probe *wanted);
void scrape_cancel(struct scrape *scrape, uint64_t id); /* unknown ids are fine */
