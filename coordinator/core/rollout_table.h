/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rollout's states and the only moves between them, as tables. rollout.c finds out *why*
 * something moves (a cause); this table alone says *where to*. docs/STATES.md is its print.
 * The names are the contract of `-o json` (product.md).
 */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stdio.h>

/* X(NAME, text, what the state waits for): "deadline" means rollout_deadline() names a time, "" is
 * a final state, anything else names the events that lead on. */
#define ROLLOUT_STATES(X)                                                                          \
	X(PLANNED, "planned", "start")                                                             \
	X(STAGING, "staging", "deadline")                                                          \
	X(CANARY, "canary", "deadline")                                                            \
	X(SOAKING, "soaking", "deadline")                                                          \
	X(WIDENING, "widening", "deadline")                                                        \
	X(PAUSED, "paused", "resume, promote or abort")                                            \
	X(ROLLING_BACK, "rolling_back", "deadline")                                                \
	X(ROLLED_BACK, "rolled_back", "")                                                          \
	X(COMPLETED, "completed", "")                                                              \
	X(ABORTED, "aborted", "")                                                                  \
	X(STUCK, "stuck", "retry or abort")

#define STAGE_STATES(X)                                                                            \
	X(PENDING, "pending")                                                                      \
	X(RUNNING, "running")                                                                      \
	X(BAKING, "baking")                                                                        \
	X(PASSED, "passed")                                                                        \
	X(FAILED, "failed")                                                                        \
	X(SKIPPED, "skipped")

#define ROLLOUT_CAUSES(X)                                                                          \
	X(START, "start")                                                                          \
	X(OPEN_CANARY, "first canary may change")                                                  \
	X(OPEN, "stage may change")                                                                \
	X(SWITCHED, "stage switched")                                                              \
	X(FINISHED, "last stage passed")                                                           \
	X(FAIL, "gate, limit or deadline failed")                                                  \
	X(HOLD, "a person is asked")                                                               \
	X(PAUSE, "pause")                                                                          \
	X(GO_ON, "resume or promote")                                                              \
	X(ABORT, "abort")                                                                          \
	X(SUPERSEDE, "superseded")                                                                 \
	X(RETURNED, "changed nodes are back")                                                      \
	X(NOT_RETURNED, "a node did not go back")                                                  \
	X(FUSE, "fuse")                                                                            \
	X(RETRY, "retry")

#define X(name, text, waits) ROLLOUT_##name,
enum rollout_state { ROLLOUT_STATES(X) ROLLOUT_STATE_COUNT };
#undef X
#define X(name, text) STAGE_##name,
enum stage_state { STAGE_STATES(X) STAGE_STATE_COUNT };
#undef X
#define X(name, text) CAUSE_##name,
enum rollout_cause { ROLLOUT_CAUSES(X) CAUSE_COUNT };
#undef X

/* What must hold besides state and cause. `resume` leads back to where the pause began. */
enum rollout_guard {
	GUARD_NONE,
	GUARD_WAS_STAGING,
	GUARD_WAS_CANARY,
	GUARD_WAS_SOAKING,
	GUARD_WAS_WIDENING,
	GUARD_ENDS_ABORTED, /* the way back began with an abort */
	GUARD_GOING_BACK,   /* the way back had begun */
	GUARD_COUNT
};

struct rollout_move {
	enum rollout_state from;
	enum rollout_cause cause;
	enum rollout_guard guard;
	enum rollout_state to;
};

extern const struct rollout_move rollout_moves[];
extern const size_t rollout_moves_count;

const char *rollout_state_name(enum rollout_state state);
const char *rollout_state_waits(enum rollout_state state); /* see ROLLOUT_STATES */
const char *stage_state_name(enum stage_state state);
const char *rollout_cause_name(enum rollout_cause cause);
const char *rollout_guard_name(enum rollout_guard guard);
bool rollout_state_is_final(enum rollout_state state);
/* A Mermaid state diagram, for docs/STATES.md. */
void rollout_table_print(FILE *out);
