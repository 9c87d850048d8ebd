/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health probes, resident in the agent: an HTTP GET of which only the status line is read, or a TCP
 * connect. Nothing blocks, nothing is linked for it (docs/adr/0006-probes.md): a probe is one
 * socket and at most HEALTH_LINE_MAX bytes. An HTTP probe is healthy from 200 to 399.
 */
#pragma once

#include "agent/world.h"

#include <systemd/sd-event.h>

enum { HEALTH_LINE_MAX = 512, HEALTH_PROBES_MAX = 64 };

struct health;

/* text: one sentence, "" when good. Never called from inside health_start(). */
typedef void health_done_fn(void *context, uint64_t id, enum probe_answer answer, const char *text);

int health_new(sd_event *event, health_done_fn *done, void *context, struct health **ret_health,
	       struct err *err) COVEY_MUST_CHECK;
void health_free(struct health *health); /* no callback afterwards; NULL is fine */

/* Starts a probe; every failure, also to start, comes through `done`. */
void health_start(struct health *health, const struct agent_probe *probe);
void health_cancel(struct health *health, uint64_t id); /* no `done` for it; unknown ids are fine */
