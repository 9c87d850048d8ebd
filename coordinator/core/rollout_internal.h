/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the rollout's own files; nobody else includes it. rollout.c, rollout_events.c and
 * rollout_operator.c write down facts; rollout_advance.c draws the conclusions, with
 * rollout_judge.c for single nodes and rollout_moves.c for the changes of state; rollout_node.c
 * answers questions.
 */
#pragma once

#include "coordinator/core/rollout.h"

/* ---- rollout_node.c: questions ---- */

uint64_t rollout_clock(const struct rollout *r); /* fleet time without the time it stood still */
/* Its stage was opened: what it does counts. */
bool node_opened(const struct rollout *r, const struct rollout_node *n);
bool node_serves_new(const struct rollout *r, const struct rollout_node *n); /* healthy, may bake */
/* Committed; in a prepare step: proven in the idle slot. */
bool node_done(const struct rollout *r, const struct rollout_node *n);
bool node_returned(const struct rollout *r, const struct rollout_node *n); /* and knows it must */
bool node_return_failed(const struct rollout *r, const struct rollout_node *n);
/* Its last report is a failure of this attempt of this rollout. */
bool node_reports_failure(const struct rollout *r, const struct rollout_node *n);
/* Counts against max_unavailable: holds a place, is told and unwell, or is another's. */
bool node_out_of_service(const struct rollout *r, const struct rollout_node *n);
/* Still to come: neither done nor failed nor lost, and not merely absent. */
bool node_open(const struct rollout *r, const struct rollout_node *n);
/* Until when its present step may take, in the rollout's clock; UINT64_MAX: no step runs. */
uint64_t node_step_deadline(const struct rollout *r, const struct rollout_node *n);
/* Adds a node of an opened stage. */
void node_count(const struct rollout *r, const struct rollout_node *n, struct gate_counts *counts);
bool rollout_is_forward(const struct rollout *r); /* on its way, and not held, paused or frozen */
bool rollout_under_way(const struct rollout *r);  /* started, not ended, not going back */
const struct rollout_stage *rollout_stage_of(const struct rollout *r,
					     const struct rollout_node *n);
static inline bool rollout_prepares(const struct rollout *r)
{
	return r->stages[r->stage].plan.step == STEP_PREPARE;
}

/* ---- rollout.c, rollout_events.c, rollout_operator.c: facts ---- */

struct event_row {
	bool (*admits)(const struct rollout *r, const struct rollout_event *e, struct err *err);
	void (*apply)(struct rollout *r, const struct rollout_event *e);
};

/* Each holds its own kinds; the rest is NULL. */
extern const struct event_row rollout_node_events[EVENT_COUNT],
	rollout_operator_events[EVENT_COUNT];

struct rollout_node *rollout_add_node(struct rollout *r, const struct node_id *id, uint32_t stage,
				      const char *group, uint64_t attempt);

/* ---- rollout_moves.c ---- */

void rollout_note(struct rollout *r, enum rollout_note_kind kind, uint32_t node, const char *format,
		  ...) __attribute__((format(printf, 4, 5)));
/* Where the table leads from here because of cause; false: nowhere. */
bool rollout_can_move(const struct rollout *r, enum rollout_cause cause,
		      enum rollout_state *ret_state);
void rollout_move(struct rollout *r, enum rollout_cause cause);
void stage_set(struct rollout *r, size_t stage, enum stage_state state);
/* The node's goal changed: what it said so far does not answer it. */
void node_goal_changed(struct rollout *r, struct rollout_node *n);
void rollout_hold(struct rollout *r, enum rollout_hold hold, const struct rollout_why *why);
/* Everybody goes back: CAUSE_FAIL or CAUSE_ABORT. */
void rollout_go_back(struct rollout *r, enum rollout_cause cause, const struct rollout_why *why,
		     uint32_t node);

/* ---- rollout_judge.c ---- */

void rollout_judge(struct rollout *r);
void rollout_let_go(struct rollout *r);

/* ---- rollout_advance.c ---- */

void rollout_open_stage(struct rollout *r); /* the current one */
/* Follows from the state until nothing more does. */
void rollout_advance(struct rollout *r);
