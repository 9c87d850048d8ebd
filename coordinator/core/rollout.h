/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One rollout: a pure machine. The shell decodes an event, asks rollout_admits(), commits the event
 * to its journal, calls rollout_apply(), reads the notes, calls rollout_decide() and makes it true.
 * Nothing here allocates after rollout_new(), reads a clock, draws a random number or logs.
 */
#pragma once

#include "coordinator/core/rollout_state.h"

struct rollout_goal { /* what must be true for a node, as far as this rollout says */
	enum goal goal;
	bool revert;
	uint64_t attempt;
	uint64_t bake_ms;
	bool hold_old;
	bool owned; /* false: gone, or superseded: this rollout says nothing about the node */
};

struct rollout_effects { /* the caller's memory: goals for rollout->nodes_capacity nodes */
	struct rollout_goal *goals;
	size_t goals_count;
	char text[LIMIT_REASON_TEXT + 1]; /* where the rollout is, what it waits for */
	bool evidence_none;		  /* show `evidence: none` */
};

/* spec and plan are copied. spare: room for nodes that join later. attempt: 1, or higher where an
 * earlier rollout of the same release was retried. */
struct rollout *rollout_new(const struct rollout_id *id, const struct deployment_spec *spec,
			    const struct plan *plan, const struct digest *from, uint64_t attempt,
			    uint64_t created_ms, size_t spare);
void rollout_free(struct rollout *rollout);
COVEY_DEFINE_CLEANUP(struct rollout *, rollout_free)

/* May this happen now, and would it change anything? A report that says nothing new is not admitted
 * and need not be stored. err (may be NULL) says why an operator's wish is refused. */
bool rollout_admits(const struct rollout *rollout, const struct rollout_event *event,
		    struct err *err);
/* The only place that changes state. Total: what is not admitted changes nothing. */
void rollout_apply(struct rollout *rollout, const struct rollout_event *event);
/* What must be true outside. Idempotent; the same state gives the same effects. */
void rollout_decide(const struct rollout *rollout, uint64_t now_ms,
		    struct rollout_effects *effects);
/* Fleet time at which to send EVENT_TICK; UINT64_MAX: waits for another event. */
uint64_t rollout_deadline(const struct rollout *rollout);

/* The goal of one node: what rollout_decide() writes for it. */
void rollout_goal(const struct rollout *rollout, uint32_t node, struct rollout_goal *ret_goal);
/* Index of a node, or ROLLOUT_NO_NODE. */
uint32_t rollout_find(const struct rollout *rollout, const struct node_id *id);
/* What people see for a node: unreachable, failed and so on, from reports and decisions. */
enum node_state rollout_node_state(const struct rollout *rollout, uint32_t node);
struct gate_counts rollout_counts(const struct rollout *rollout);
/* The node is being changed right now: nobody else may change it, it may be out of service. */
bool rollout_changes_node(const struct rollout *rollout, uint32_t node);
/* Paused time so far, for paused_seconds. */
uint64_t rollout_paused_ms(const struct rollout *rollout, uint64_t now_ms);
const char *rollout_note_name(enum rollout_note_kind kind);
/* Over everything that decides; equal after a replay. Notes are not part of it. */
uint64_t rollout_hash(const struct rollout *rollout);
