/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few ways in which a rollout's state changes: a move of the table, a stage's state, a hold,
 * the way back. Each leaves a note for the event log, and each command to a node is counted against
 * the fuse.
 */
#include "coordinator/core/rollout_internal.h"

#include "base/str.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

void rollout_note(struct rollout *r, enum rollout_note_kind kind, uint32_t node, const char *format,
                  ...)
{
	struct rollout_note *note;
	va_list args;

	if (r->notes_count == r->notes_capacity) {
		r->notes_dropped++;
		return;
	}
	note = &r->notes[r->notes_count++];
	note->kind = kind;
	note->node = node;
	va_start(args, format);
	vsnprintf(note->text, sizeof(note->text), format, args);
	va_end(args);
}

/* ---- moves ---- */

static bool guard_holds(const struct rollout *r, enum rollout_guard guard)
{
	switch (guard) {
	case GUARD_NONE:
		return true;
	case GUARD_WAS_STAGING:
		return r->before_pause == ROLLOUT_STAGING;
	case GUARD_WAS_CANARY:
		return r->before_pause == ROLLOUT_CANARY;
	case GUARD_WAS_SOAKING:
		return r->before_pause == ROLLOUT_SOAKING;
	case GUARD_WAS_WIDENING:
		return r->before_pause == ROLLOUT_WIDENING;
	case GUARD_ENDS_ABORTED:
		return r->end == END_ABORTED;
	case GUARD_GOING_BACK:
		return r->going_back;
	case GUARD_COUNT:
	default:
		return false;
	}
}

bool rollout_can_move(const struct rollout *r, enum rollout_cause cause,
                      enum rollout_state *ret_state)
{
	for (size_t i = 0; i < rollout_moves_count; i++) {
		const struct rollout_move *move = &rollout_moves[i];

		if (move->from != r->state || move->cause != cause || !guard_holds(r, move->guard))
			continue;
		*ret_state = move->to;
		return true;
	}
	return false;
}

void rollout_move(struct rollout *r, enum rollout_cause cause)
{
	enum rollout_state next = r->state;
	bool known = rollout_can_move(r, cause, &next);

	assert(known);
	if (next == ROLLOUT_PAUSED && r->state != ROLLOUT_STUCK)
		r->before_pause = r->state;
	if (next != ROLLOUT_PAUSED)
		r->hold = HOLD_NONE;
	if (next == ROLLOUT_STUCK && r->state != ROLLOUT_PAUSED && !r->going_back)
		r->before_pause = r->state;
	r->state = next;
	if (rollout_state_is_final(next)) {
		r->ended_ms = r->now_ms;
		for (size_t i = 0; i < r->nodes_count; i++)
			r->nodes[i].place = false;
	}
	rollout_note(r, NOTE_STATE, ROLLOUT_NO_NODE, "%s (%s)", rollout_state_name(next),
	             rollout_cause_name(cause));
}

void stage_set(struct rollout *r, size_t index, enum stage_state state)
{
	struct rollout_stage *stage = &r->stages[index];

	if (stage->state == state)
		return;
	stage->state = state;
	if (state == STAGE_RUNNING) {
		stage->started_ms = r->now_ms;
		stage->opened_clock_ms = rollout_clock(r);
	} else if (state == STAGE_BAKING) {
		stage->baking_ms = r->now_ms;
		stage->baking_clock_ms = rollout_clock(r);
	} else {
		stage->ended_ms = r->now_ms;
	}
	rollout_note(r, NOTE_STAGE, ROLLOUT_NO_NODE, "%s is %s", stage->plan.name,
	             stage_state_name(state));
}

/* More commands in a minute than the plan can explain are a bug by definition: stop, ask. */
static void fuse_count(struct rollout *r)
{
	uint64_t minute = r->now_ms / ROLLOUT_FUSE_MS;
	enum rollout_state next;

	if (minute != r->fuse_minute) {
		r->fuse_minute = minute;
		r->fuse_count = 0;
	}
	r->fuse_count++;
	if (r->fuse_count <= 3 * r->nodes_count + ROLLOUT_FUSE_SPARE ||
	    !rollout_can_move(r, CAUSE_FUSE, &next))
		return;
	STR_CUT(r->why.phase, "coordinator");
	STR_CUT(r->why.check, "fuse");
	snprintf(r->why.text, sizeof(r->why.text),
	         "%u commands within a minute for %zu nodes: more than the plan can explain",
	         r->fuse_count, r->nodes_count);
	r->why_node = ROLLOUT_NO_NODE;
	rollout_note(r, NOTE_FUSE, ROLLOUT_NO_NODE, "%.200s", r->why.text);
	rollout_move(r, CAUSE_FUSE);
}

void node_goal_changed(struct rollout *r, struct rollout_node *n)
{
	n->current = false;
	fuse_count(r);
}

void rollout_hold(struct rollout *r, enum rollout_hold hold, const struct rollout_why *why)
{
	r->why = *why;
	r->why_node = ROLLOUT_NO_NODE;
	rollout_move(r, hold == HOLD_OPERATOR ? CAUSE_PAUSE : CAUSE_HOLD);
	r->hold = hold;
}

void rollout_go_back(struct rollout *r, enum rollout_cause cause, const struct rollout_why *why,
                     uint32_t node)
{
	enum stage_state ended = cause == CAUSE_FAIL ? STAGE_FAILED : STAGE_SKIPPED;

	r->end = cause == CAUSE_FAIL ? END_ROLLED_BACK : END_ABORTED;
	r->why = *why;
	r->why_node = node;
	for (size_t i = r->stage; i < r->stages_count; i++) {
		enum stage_state state = r->stages[i].state;

		if (state == STAGE_RUNNING || state == STAGE_BAKING)
			stage_set(r, i, ended);
		else if (state == STAGE_PENDING)
			stage_set(r, i, STAGE_SKIPPED);
	}
	rollout_move(r, cause);
	r->going_back = true;
	r->back_since_ms = r->now_ms;
	for (size_t i = 0; i < r->nodes_count; i++) {
		struct rollout_node *n = &r->nodes[i];

		n->place = false;
		if (n->changed && !n->gone)
			node_goal_changed(r, n);
	}
}
