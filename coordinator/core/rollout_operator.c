/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What operators may wish for, and when. A refusal is a sentence that says why. None of these
 * overrides a failed gate: that has begun the way back, on which only `retry` of what is stuck and
 * `abort` of what cannot go back are left.
 */
#include "coordinator/core/rollout_internal.h"

#include "base/str.h"

static bool refuse(struct err *err, const struct rollout *r, const char *why)
{
	err_set(err, -EINVAL, "the rollout is %s: %s", rollout_state_name(r->state), why);
	return false;
}

static bool table_admits(const struct rollout *r, enum rollout_cause cause, struct err *err)
{
	enum rollout_state next;

	if (rollout_can_move(r, cause, &next))
		return true;
	err_set(err, -EINVAL, "the rollout is %s: %s is not possible", rollout_state_name(r->state),
	        rollout_cause_name(cause));
	return false;
}

static void note_operator(struct rollout *r, const struct rollout_event *e)
{
	rollout_note(r, NOTE_OPERATOR, e->node, "%s%s%.180s", rollout_event_name(e->kind),
	             e->why.text[0] ? ": " : "", e->why.text);
}

static bool admits_pause(const struct rollout *r, const struct rollout_event *e, struct err *err)
{
	return table_admits(r, CAUSE_PAUSE, err);
}

static void apply_pause(struct rollout *r, const struct rollout_event *e)
{
	struct rollout_why why = e->why;

	STR_CUT(why.phase, "coordinator");
	if (!str_equal(why.check, "input")) /* else the judge's: it cannot compare */
		STR_CUT(why.check, "operator");
	if (!why.text[0])
		STR_CUT(why.text, "paused by an operator");
	note_operator(r, e);
	rollout_hold(r, HOLD_OPERATOR, &why);
}

static void go_on(struct rollout *r)
{
	r->why = (struct rollout_why){0};
	r->why_node = ROLLOUT_NO_NODE;
	rollout_move(r, CAUSE_GO_ON);
}

static bool admits_resume(const struct rollout *r, const struct rollout_event *e, struct err *err)
{
	if (r->state == ROLLOUT_PAUSED && r->hold == HOLD_PROMOTE)
		return refuse(err, r, "it waits for promote, not for resume");
	return table_admits(r, CAUSE_GO_ON, err);
}

static void apply_resume(struct rollout *r, const struct rollout_event *e)
{
	struct rollout_stage *stage = &r->stages[r->stage];

	note_operator(r, e);
	if (r->hold == HOLD_INCONCLUSIVE) { /* look again, for as long as the first time */
		stage->deadline_over = false;
		stage->opened_clock_ms = stage->baking_clock_ms = rollout_clock(r);
	}
	go_on(r);
}

static bool admits_promote(const struct rollout *r, const struct rollout_event *e, struct err *err)
{
	const struct rollout_stage *stage = &r->stages[r->stage];

	if (r->state == ROLLOUT_PAUSED)
		return true;
	if (r->state == ROLLOUT_STUCK || !rollout_under_way(r))
		return refuse(err, r, "there is nothing to promote");
	if (e->kind == EVENT_PROMOTE_FULL)
		return !r->full || refuse(err, r, "it was promoted in full before");
	if (rollout_prepares(r))
		return (r->stage + 1 < r->stages_count && stage[1].plan.wait_promote) ||
		       refuse(err, r, "its switch does not wait for anybody");
	return !stage->promoted || refuse(err, r, "this stage was promoted before");
}

static void apply_promote(struct rollout *r, const struct rollout_event *e)
{
	struct rollout_stage *stage = &r->stages[r->stage];
	enum rollout_hold hold = r->hold;

	note_operator(r, e);
	if (e->kind == EVENT_PROMOTE_FULL) {
		r->full = true;
		r->stages[r->stages_count - 1].promoted = true;
	}
	if (rollout_prepares(r) && hold != HOLD_INCONCLUSIVE)
		stage[1].plan.wait_promote = false;
	else if (hold != HOLD_PROMOTE)
		stage->promoted = true;
	if (r->state == ROLLOUT_PAUSED)
		go_on(r);
	if (hold == HOLD_PROMOTE)
		rollout_open_stage(r);
}

static bool admits_abort(const struct rollout *r, const struct rollout_event *e, struct err *err)
{
	return table_admits(r, CAUSE_ABORT, err);
}

static void apply_abort(struct rollout *r, const struct rollout_event *e)
{
	struct rollout_why why = e->why;

	STR_CUT(why.phase, "coordinator");
	STR_CUT(why.check, "abort");
	if (!why.text[0])
		STR_CUT(why.text, "aborted by an operator");
	note_operator(r, e);
	if (rollout_under_way(r)) {
		rollout_go_back(r, CAUSE_ABORT, &why, ROLLOUT_NO_NODE);
		return;
	}
	r->why = why;
	r->end = END_ABORTED;
	rollout_move(r, CAUSE_ABORT);
}

static bool admits_supersede(const struct rollout *r, const struct rollout_event *e,
                             struct err *err)
{
	return table_admits(r, CAUSE_SUPERSEDE, err);
}

static void apply_supersede(struct rollout *r, const struct rollout_event *e)
{
	r->why = e->why;
	STR_CUT(r->why.phase, "coordinator");
	STR_CUT(r->why.check, "superseded");
	if (!r->why.text[0])
		STR_CUT(r->why.text, "a newer rollout of this deployment took over");
	r->why_node = ROLLOUT_NO_NODE;
	r->end = END_ABORTED;
	note_operator(r, e);
	for (size_t i = r->stage; i < r->stages_count; i++) {
		enum stage_state state = r->stages[i].state;

		if (state == STAGE_PENDING || state == STAGE_RUNNING || state == STAGE_BAKING)
			stage_set(r, i, STAGE_SKIPPED);
	}
	rollout_move(r, CAUSE_SUPERSEDE);
	r->superseded = true;
}

static bool can_retry(const struct rollout *r, const struct rollout_node *n)
{
	if (n->gone)
		return false;
	if (r->state == ROLLOUT_STUCK && r->going_back)
		return n->changed && !node_returned(r, n);
	return n->failed || (r->state == ROLLOUT_COMPLETED && node_reports_failure(r, n));
}

static bool admits_retry(const struct rollout *r, const struct rollout_event *e, struct err *err)
{
	if (r->superseded ||
	    (!rollout_under_way(r) && r->state != ROLLOUT_STUCK && r->state != ROLLOUT_COMPLETED))
		return refuse(err, r, "retry is not possible");
	if (e->node != ROLLOUT_NO_NODE)
		return (e->node < r->nodes_count && can_retry(r, &r->nodes[e->node])) ||
		       refuse(err, r, "this node has not failed");
	if (r->state == ROLLOUT_STUCK)
		return true;
	for (size_t i = 0; i < r->nodes_count; i++)
		if (can_retry(r, &r->nodes[i]))
			return true;
	return refuse(err, r, "no node has failed");
}

static void retry_node(struct rollout *r, uint32_t node)
{
	struct rollout_node *n = &r->nodes[node];

	n->attempt++;
	n->place = n->sick = n->current = false;
	n->step_clock_ms = rollout_clock(r);
	if (!r->going_back)
		n->told = n->failed = n->timed_out = n->quarantined = false;
	if (r->last_failed == node)
		r->last_failed = ROLLOUT_NO_NODE;
	rollout_note(r, NOTE_NODE_CHANGED, node, "attempt %llu", (unsigned long long)n->attempt);
}

static void apply_retry(struct rollout *r, const struct rollout_event *e)
{
	static const struct rollout_why waits = {"coordinator", "fuse",
	                                         "stopped by the fuse; resume or abort"};

	note_operator(r, e);
	for (uint32_t i = 0; i < r->nodes_count; i++)
		if ((e->node == i || e->node == ROLLOUT_NO_NODE) && can_retry(r, &r->nodes[i]))
			retry_node(r, i);
	if (r->state != ROLLOUT_STUCK)
		return;
	rollout_move(r, CAUSE_RETRY);
	if (r->going_back) {
		r->back_since_ms = r->now_ms;
		return;
	}
	r->why = waits;
	r->hold = HOLD_OPERATOR;
}

static bool admits_freeze(const struct rollout *r, const struct rollout_event *e, struct err *err)
{
	return r->frozen != (e->kind == EVENT_FREEZE) && !rollout_state_is_final(r->state);
}

static void apply_freeze(struct rollout *r, const struct rollout_event *e)
{
	r->frozen = e->kind == EVENT_FREEZE;
	note_operator(r, e);
}

const struct event_row rollout_operator_events[EVENT_COUNT] = {
    [EVENT_PAUSE] = {admits_pause, apply_pause},
    [EVENT_RESUME] = {admits_resume, apply_resume},
    [EVENT_PROMOTE] = {admits_promote, apply_promote},
    [EVENT_PROMOTE_FULL] = {admits_promote, apply_promote},
    [EVENT_ABORT] = {admits_abort, apply_abort},
    [EVENT_SUPERSEDE] = {admits_supersede, apply_supersede},
    [EVENT_RETRY] = {admits_retry, apply_retry},
    [EVENT_FREEZE] = {admits_freeze, apply_freeze},
    [EVENT_UNFREEZE] = {admits_freeze, apply_freeze},
};
