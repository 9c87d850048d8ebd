/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes, gates and windows tell a rollout. These functions write facts down and nothing else;
 * a report that says nothing new is not admitted, so the journal holds changes only.
 */
#include "coordinator/core/rollout_internal.h"

#include "base/str.h"

/* ---- nodes ---- */

static bool is_known(const struct rollout *r, const struct rollout_event *e)
{
	return e->node < r->nodes_count && !r->nodes[e->node].gone && !r->superseded;
}

static bool why_equal(const struct rollout_why *a, const struct rollout_why *b)
{
	return str_equal(a->phase, b->phase) && str_equal(a->check, b->check) &&
	       str_equal(a->text, b->text);
}

static bool admits_report(const struct rollout *r, const struct rollout_event *e, struct err *err)
{
	const struct rollout_node *n;
	bool ours;

	if (!is_known(r, e) || e->state >= NODE_STATE_COUNT)
		return false;
	n = &r->nodes[e->node];
	ours = rollout_id_equal(&e->rollout, &r->id);
	return !n->reachable || n->state != e->state || !digest_equal(&n->release, &e->release) ||
	       !digest_equal(&n->target, &e->target) || n->report_attempt != e->attempt ||
	       n->ours != ours || n->staged != e->staged || n->proven != e->proven ||
	       n->healthy != e->healthy || (e->current && !n->current) ||
	       (e->why.phase[0] && !n->timed_out && !why_equal(&r->node_whys[e->node], &e->why));
}

static void take_report(struct rollout *r, struct rollout_node *n, const struct rollout_event *e)
{
	n->state = e->state;
	n->release = e->release;
	n->target = e->target;
	n->report_attempt = e->attempt;
	n->ours = rollout_id_equal(&e->rollout, &r->id);
	n->staged = e->staged;
	n->proven = e->proven;
	n->healthy = e->healthy;
	n->current = n->current || e->current; /* until the goal changes again */
	if (e->why.phase[0] && !n->timed_out)
		r->node_whys[e->node] = e->why;
}

static void note_report(struct rollout *r, const struct rollout_event *e, bool was_done,
                        bool was_back, bool had_failed)
{
	const struct rollout_node *n = &r->nodes[e->node];
	bool ended = rollout_state_is_final(r->state);
	bool done = node_done(r, n), back = n->changed && node_returned(r, n);
	bool failed = node_reports_failure(r, n);
	enum rollout_note_kind kind = ended ? NOTE_LATE : NOTE_NODE_DONE;

	if (done && !was_done)
		rollout_note(r, kind, e->node,
		             node_serves_new(r, n) ? "serves the release, committed"
		                                   : "the release is proven in the idle slot");
	if (ended && failed && !had_failed)
		rollout_note(r, NOTE_LATE, e->node, "%s: %.180s", e->why.check, e->why.text);
	if (back && !was_back && (r->going_back || n->timed_out))
		rollout_note(r, ended ? NOTE_LATE : NOTE_NODE_BACK, e->node,
		             "is back on its old release");
}

static void becomes_reachable(struct rollout *r, struct rollout_node *n)
{
	if (n->reachable)
		return;
	n->reachable = true;
	n->lost = false;
	n->step_clock_ms = rollout_clock(r); /* what it did meanwhile is still to be heard */
}

static void apply_report(struct rollout *r, const struct rollout_event *e)
{
	struct rollout_node *n = &r->nodes[e->node];
	bool was_done = node_done(r, n), was_back = n->changed && node_returned(r, n);
	bool had_failed = node_reports_failure(r, n), served = node_serves_new(r, n);

	becomes_reachable(r, n);
	take_report(r, n, e);
	if (served != node_serves_new(r, n))
		n->step_clock_ms = rollout_clock(r); /* another step: its bake, or after a reboot */
	note_report(r, e, was_done, was_back, had_failed);
}

static bool admits_unreachable(const struct rollout *r, const struct rollout_event *e,
                               struct err *err)
{
	return is_known(r, e) && r->nodes[e->node].reachable;
}

static void apply_unreachable(struct rollout *r, const struct rollout_event *e)
{
	struct rollout_node *n = &r->nodes[e->node];

	n->reachable = false;
	n->silent_clock_ms = rollout_clock(r);
	rollout_note(r, NOTE_NODE_SILENT, e->node, "does not answer");
}

static bool admits_reachable(const struct rollout *r, const struct rollout_event *e,
                             struct err *err)
{
	return is_known(r, e) && !r->nodes[e->node].reachable;
}

static void apply_reachable(struct rollout *r, const struct rollout_event *e)
{
	becomes_reachable(r, &r->nodes[e->node]);
	rollout_note(r, NOTE_NODE_CHANGED, e->node, "answers again");
}

static bool admits_gone(const struct rollout *r, const struct rollout_event *e, struct err *err)
{
	return is_known(r, e);
}

static void apply_gone(struct rollout *r, const struct rollout_event *e)
{
	struct rollout_node *n = &r->nodes[e->node];

	n->gone = true;
	n->place = n->busy = n->lost = n->current = false;
	rollout_note(r, NOTE_NODE_CHANGED, e->node, "no longer part of the rollout");
}

static bool admits_joined(const struct rollout *r, const struct rollout_event *e, struct err *err)
{
	uint32_t known = rollout_find(r, &e->id);

	if (r->superseded)
		return false;
	if (known != ROLLOUT_NO_NODE)
		return r->nodes[known].gone;
	return r->nodes_count < r->nodes_capacity && !r->going_back &&
	       !rollout_state_is_final(r->state);
}

static void apply_joined(struct rollout *r, const struct rollout_event *e)
{
	uint32_t node = rollout_find(r, &e->id);
	struct rollout_node *n;

	if (node == ROLLOUT_NO_NODE) {
		node = (uint32_t)r->nodes_count;
		n = rollout_add_node(r, &e->id, (uint32_t)r->stages_count - 1, e->group,
		                     r->attempt);
	} else {
		n = &r->nodes[node]; /* what it did meanwhile is not known: it begins anew */
		n->gone = n->told = n->current = n->ours = false;
	}
	n->reachable = e->reachable;
	n->silent_clock_ms = n->step_clock_ms = rollout_clock(r);
	rollout_note(r, NOTE_NODE_CHANGED, node, "joins the last stage");
}

static bool admits_busy(const struct rollout *r, const struct rollout_event *e, struct err *err)
{
	return is_known(r, e) && !rollout_state_is_final(r->state) &&
	       r->nodes[e->node].busy != (e->kind == EVENT_NODE_BUSY);
}

static void apply_busy(struct rollout *r, const struct rollout_event *e)
{
	r->nodes[e->node].busy = e->kind == EVENT_NODE_BUSY;
}

/* ---- gates and windows ---- */

static bool admits_verdict(const struct rollout *r, const struct rollout_event *e, struct err *err)
{
	const struct rollout_stage *stage;

	if (e->stage >= r->stages_count || e->verdict == VERDICT_NONE ||
	    e->verdict >= VERDICT_COUNT || r->superseded)
		return false;
	stage = &r->stages[e->stage];
	if (stage->state == STAGE_PENDING || stage->state == STAGE_SKIPPED)
		return false;
	return stage->verdict != e->verdict ||
	       (e->why.text[0] && !str_equal(stage->verdict_why.text, e->why.text));
}

static void apply_verdict(struct rollout *r, const struct rollout_event *e)
{
	struct rollout_stage *stage = &r->stages[e->stage];

	stage->verdict = e->verdict;
	stage->verdict_why = e->why;
	if (stage->verdict_why.phase[0] == '\0')
		STR_CUT(stage->verdict_why.phase, "coordinator");
	if (stage->verdict_why.check[0] == '\0')
		STR_CUT(stage->verdict_why.check, "gate");
	if (e->verdict == VERDICT_FAIL && stage->verdict_why.text[0] == '\0')
		STR_CUT(stage->verdict_why.text, "a gate failed");
	rollout_note(r, rollout_state_is_final(r->state) ? NOTE_LATE : NOTE_GATE, ROLLOUT_NO_NODE,
	             "%s: %s %s %.120s", stage->plan.name, verdict_name(e->verdict), e->why.check,
	             e->why.text);
}

static bool admits_quarantine(const struct rollout *r, const struct rollout_event *e,
                              struct err *err)
{
	return is_known(r, e) && r->nodes[e->node].told && !r->nodes[e->node].failed &&
	       !rollout_state_is_final(r->state) && !r->going_back;
}

static void apply_quarantine(struct rollout *r, const struct rollout_event *e)
{
	struct rollout_node *n = &r->nodes[e->node];

	n->failed = n->timed_out = n->quarantined = true;
	n->place = false;
	r->node_whys[e->node] = e->why;
	rollout_note(r, NOTE_NODE_FAILED, e->node, "%s: %.180s", e->why.check, e->why.text);
	node_goal_changed(r, n);
}

static bool admits_window(const struct rollout *r, const struct rollout_event *e, struct err *err)
{
	return r->window_closed != (e->kind == EVENT_WINDOW_CLOSED) &&
	       !rollout_state_is_final(r->state);
}

static void apply_window(struct rollout *r, const struct rollout_event *e)
{
	r->window_closed = e->kind == EVENT_WINDOW_CLOSED;
	rollout_note(r, NOTE_STAGE, ROLLOUT_NO_NODE, "%s",
	             r->window_closed ? "waits for its switching window" : "its window is open");
}

const struct event_row rollout_node_events[EVENT_COUNT] = {
    [EVENT_NODE_REPORT] = {admits_report, apply_report},
    [EVENT_NODE_UNREACHABLE] = {admits_unreachable, apply_unreachable},
    [EVENT_NODE_REACHABLE] = {admits_reachable, apply_reachable},
    [EVENT_NODE_GONE] = {admits_gone, apply_gone},
    [EVENT_NODE_JOINED] = {admits_joined, apply_joined},
    [EVENT_NODE_BUSY] = {admits_busy, apply_busy},
    [EVENT_NODE_FREE] = {admits_busy, apply_busy},
    [EVENT_GATE_VERDICT] = {admits_verdict, apply_verdict},
    [EVENT_QUARANTINE] = {admits_quarantine, apply_quarantine},
    [EVENT_WINDOW_CLOSED] = {admits_window, apply_window},
    [EVENT_WINDOW_OPEN] = {admits_window, apply_window},
};
