/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Smoke tests run in a short-lived process of their own (covey-worker-smoke), because an HTTP
 * client and a JSON parser have no place in a process that stays (docs/adr/0006-probes.md). The
 * worker gets the signed manifest on the node's disk and the slot's address, and prints one line of
 * JSON: {"ok":true} or {"ok":false,"test":"<name>","text":"<what differs>"}.
 */
#pragma once

#include "agent/world.h"

#include <systemd/sd-event.h>

struct smoke;

/* test: name of the test that failed, or ""; text: one sentence, "" when ok. */
typedef void smoke_done_fn(void *context, uint64_t id, bool ok, const char *test,
			   const char *text);

struct smoke_config { /* borrowed for the life of the object */
	const char *worker;    /* path of covey-worker-smoke */
	const char *state_dir; /* of the chunk store: releases/<hex>.manifest */
};

int smoke_new(sd_event *event, const struct smoke_config *config, smoke_done_fn *done,
	      void *context, struct smoke **ret_smoke, struct err *err) COVEY_MUST_CHECK;
void smoke_free(struct smoke *smoke); /* kills what runs; NULL is fine */

/* Every failure, also to start, comes through `done`, never from inside the call. */
void smoke_start(struct smoke *smoke, const struct agent_smoke *wanted);
void smoke_cancel(struct smoke *smoke, uint64_t id);

/* Reads the worker's line. False: it is not one. */
bool smoke_parse(const char *line, bool *ret_ok, char ret_test[LIMIT_SHORT_TEXT + 1],
		 char ret_text[LIMIT_REASON_TEXT + 1]);
