/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The picture of a rollout as rows. Whoever wants to know whether something can happen reads here;
 * a row that is missing is a move that cannot be made. The first row that fits wins, so guarded
 * rows stand before the plain one.
 */
#include "coordinator/core/rollout_table.h"

#include <assert.h>

#define X(from, cause, guard, to) {ROLLOUT_##from, CAUSE_##cause, GUARD_##guard, ROLLOUT_##to},
const struct rollout_move rollout_moves[] = {
	X(PLANNED, START, NONE, STAGING)
	X(PLANNED, ABORT, NONE, ABORTED)
	X(PLANNED, SUPERSEDE, NONE, ABORTED)

	X(STAGING, OPEN_CANARY, NONE, CANARY)
	X(STAGING, OPEN, NONE, WIDENING)
	X(STAGING, FINISHED, NONE, COMPLETED)
	X(STAGING, FAIL, NONE, ROLLING_BACK)
	X(STAGING, HOLD, NONE, PAUSED)
	X(STAGING, PAUSE, NONE, PAUSED)
	X(STAGING, ABORT, NONE, ROLLING_BACK)
	X(STAGING, SUPERSEDE, NONE, ABORTED)
	X(STAGING, FUSE, NONE, STUCK)

	X(CANARY, SWITCHED, NONE, SOAKING)
	X(CANARY, OPEN, NONE, WIDENING)
	X(CANARY, FAIL, NONE, ROLLING_BACK)
	X(CANARY, HOLD, NONE, PAUSED)
	X(CANARY, PAUSE, NONE, PAUSED)
	X(CANARY, ABORT, NONE, ROLLING_BACK)
	X(CANARY, SUPERSEDE, NONE, ABORTED)
	X(CANARY, FUSE, NONE, STUCK)

	X(SOAKING, OPEN, NONE, WIDENING)
	X(SOAKING, FINISHED, NONE, COMPLETED)
	X(SOAKING, FAIL, NONE, ROLLING_BACK)
	X(SOAKING, HOLD, NONE, PAUSED)
	X(SOAKING, PAUSE, NONE, PAUSED)
	X(SOAKING, ABORT, NONE, ROLLING_BACK)
	X(SOAKING, SUPERSEDE, NONE, ABORTED)
	X(SOAKING, FUSE, NONE, STUCK)

	X(WIDENING, SWITCHED, NONE, SOAKING)
	X(WIDENING, FAIL, NONE, ROLLING_BACK)
	X(WIDENING, HOLD, NONE, PAUSED)
	X(WIDENING, PAUSE, NONE, PAUSED)
	X(WIDENING, ABORT, NONE, ROLLING_BACK)
	X(WIDENING, SUPERSEDE, NONE, ABORTED)
	X(WIDENING, FUSE, NONE, STUCK)

	X(PAUSED, GO_ON, WAS_STAGING, STAGING)
	X(PAUSED, GO_ON, WAS_CANARY, CANARY)
	X(PAUSED, GO_ON, WAS_SOAKING, SOAKING)
	X(PAUSED, GO_ON, WAS_WIDENING, WIDENING)
	X(PAUSED, FAIL, NONE, ROLLING_BACK)
	X(PAUSED, ABORT, NONE, ROLLING_BACK)
	X(PAUSED, SUPERSEDE, NONE, ABORTED)
	X(PAUSED, FUSE, NONE, STUCK)

	X(ROLLING_BACK, RETURNED, ENDS_ABORTED, ABORTED)
	X(ROLLING_BACK, RETURNED, NONE, ROLLED_BACK)
	X(ROLLING_BACK, NOT_RETURNED, NONE, STUCK)
	X(ROLLING_BACK, SUPERSEDE, NONE, ABORTED)
	X(ROLLING_BACK, FUSE, NONE, STUCK)

	X(STUCK, RETRY, GOING_BACK, ROLLING_BACK)
	X(STUCK, RETRY, NONE, PAUSED)
	X(STUCK, ABORT, GOING_BACK, ABORTED)
	X(STUCK, ABORT, NONE, ROLLING_BACK)
	X(STUCK, SUPERSEDE, NONE, ABORTED)
};
#undef X
const size_t rollout_moves_count = ARRAY_SIZE(rollout_moves);

#define X(name, text, waits) {text, waits},
static const struct {
	const char *name, *waits;
} states[] = {ROLLOUT_STATES(X)};
#undef X
#define X(name, text) text,
static const char *const stage_states[] = {STAGE_STATES(X)};
static const char *const causes[] = {ROLLOUT_CAUSES(X)};
#undef X

static const char *const guards[GUARD_COUNT] = {
	[GUARD_NONE] = "",
	[GUARD_WAS_STAGING] = "was staging",
	[GUARD_WAS_CANARY] = "was canary",
	[GUARD_WAS_SOAKING] = "was soaking",
	[GUARD_WAS_WIDENING] = "was widening",
	[GUARD_ENDS_ABORTED] = "aborted",
	[GUARD_GOING_BACK] = "was going back",
};

const char *rollout_state_name(enum rollout_state state)
{
	assert(state < ROLLOUT_STATE_COUNT);
	return states[state].name;
}

const char *rollout_state_waits(enum rollout_state state)
{
	assert(state < ROLLOUT_STATE_COUNT);
	return states[state].waits;
}

const char *stage_state_name(enum stage_state state)
{
	assert(state < STAGE_STATE_COUNT);
	return stage_states[state];
}

const char *rollout_cause_name(enum rollout_cause cause)
{
	assert(cause < CAUSE_COUNT);
	return causes[cause];
}

const char *rollout_guard_name(enum rollout_guard guard)
{
	assert(guard < GUARD_COUNT);
	return guards[guard];
}

bool rollout_state_is_final(enum rollout_state state)
{
	return rollout_state_waits(state)[0] == '\0';
}

void rollout_table_print(FILE *out)
{
	fputs("stateDiagram-v2\n    [*] --> planned\n", out);
	for (size_t i = 0; i < rollout_moves_count; i++) {
		const struct rollout_move *move = &rollout_moves[i];

		fprintf(out, "    %s --> %s : %s", states[move->from].name, states[move->to].name,
			causes[move->cause]);
		if (move->guard != GUARD_NONE)
			fprintf(out, " [%s]", guards[move->guard]);
		fputc('\n', out);
	}
	for (enum rollout_state state = 0; state < ROLLOUT_STATE_COUNT; state++)
		if (rollout_state_is_final(state))
			fprintf(out, "    %s --> [*]\n", states[state].name);
}
