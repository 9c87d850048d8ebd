/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following a rollout to its end: `apply`, `rollout undo`, `rollout watch`. Ctrl-C stops the
 * following, never the rollout.
 */
#pragma once

#include "coordinator/cli/client.h"

enum follow_style {
	FOLLOW_PEOPLE, /* a tree or lines */
	FOLLOW_STREAM, /* each state as one line of JSON */
	FOLLOW_RESULT, /* the last state as one JSON object */
};

/* The contract's exit code for how it ended, the sentence in cli->err where that is not 0. */
int follow_rollout(struct cli *cli, const char *rollout, enum follow_style style);
/* The exit code for a rollout's state; -1: it goes on. */
int follow_exit_code(const char *state);
