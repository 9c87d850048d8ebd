/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rows of the table do to the state. All ways back go through begin_way_back(): it says
 * where to, whether what is left behind still answers, and what the end will be called; then the
 * phase REVERTING does the same whoever asked for it.
 */
#include "agent/core/deploy_state.h"

#include <stdio.h>

#define ACTION(name)                                                                               \
	void deploy_action_##name(__attribute__((unused)) struct deploy *d,                        \
				  __attribute__((unused)) const struct deploy_event *e)

/* Takes what the change has put into its slot out again, and lets the old one live. */
static void discard(struct deploy *d, bool failed)
{
	struct deploy_record *r = &d->record;
	const struct deploy_slot_record *s = &r->slots[r->target_colour];

	if (r->phase >= DEPLOY_PREPARED && digest_equal(&s->release.digest, &r->target.digest)) {
		if (failed)
			deploy_slot_kill(d, r->target_colour);
		else
			deploy_slot_retire(d, r->target_colour);
	}
	if (r->serves)
		deploy_slot_keep(d, r->serving);
}

static void prepare_way_back(struct deploy *d)
{
	struct deploy_record *r = &d->record;
	enum colour colour = deploy_back_colour(d);
	struct deploy_slot_record *s = &r->slots[colour];

	if (digest_is_zero(&r->back.digest))
		return;
	if (digest_equal(&s->release.digest, &r->back.digest) &&
	    (s->want == DEPLOY_WANT_RUN || s->want == DEPLOY_WANT_DRAIN)) {
		deploy_slot_keep(d, colour);
		s->proven = true;
		d->slots[colour].start_at_ms = 0;
		return;
	}
	deploy_slot_kill(d, colour);
}

static bool back_is_warm(const struct deploy *d)
{
	enum colour colour = deploy_back_colour(d);

	return d->record.slots[colour].want == DEPLOY_WANT_RUN &&
	       d->slots[colour].fact == DEPLOY_SLOT_RUNNING;
}

/* What was wished until now differs from what is known: the wish may be on its way. */
static bool map_may_be_changing(const struct deploy *d)
{
	enum colour colour = COLOUR_BLUE;
	enum deploy_route wanted = deploy_route_wanted(d, &colour);

	return d->record.phase == DEPLOY_SWITCHING || wanted != d->route ||
	       (wanted == DEPLOY_ROUTE_OPEN && colour != d->route_colour);
}

/* target and target_colour name what is left; back may be NULL: to nothing. */
static void begin_way_back(struct deploy *d, const struct deploy_release *back, bool healthy,
			   enum outcome_kind ending)
{
	struct deploy_record *r = &d->record;

	r->back = back ? *back : (struct deploy_release){0};
	r->back_healthy = healthy;
	r->ending = ending;
	r->phase_since_ms = d->now_ms;
	d->verdict = d->back_failed = false;
	d->route_failures = 0;
	d->route_at_ms = 0;
	if (map_may_be_changing(d))
		d->route = DEPLOY_ROUTE_UNKNOWN;
	prepare_way_back(d);
	if (d->slots[r->target_colour].fact != DEPLOY_SLOT_RUNNING)
		deploy_slot_kill(d, r->target_colour);
	if (back && !back_is_warm(d) && r->assignment.swap == SWAP_STOP_FIRST) {
		if (healthy)
			deploy_slot_drain(d, r->target_colour);
		else
			deploy_slot_kill(d, r->target_colour);
	} else if (!healthy && (!r->serves || r->serving != r->target_colour)) {
		deploy_slot_kill(d, r->target_colour); /* has no traffic to lose */
	}
}

static void coordinator_says(struct deploy *d, const struct deploy_event *e)
{
	struct deploy_record *r = &d->record;
	bool revert = r->assignment.revert;

	deploy_outcome(d, e, OUTCOME_NONE, &r->rollout, &r->target.digest, r->attempt);
	deploy_reason(d, "coordinator", revert ? "revert" : "superseded",
		      revert ? "the coordinator took this release back"
			     : "desired state no longer asks for this release",
		      NULL);
}

static enum outcome_kind coordinator_ending(const struct deploy *d)
{
	return d->record.assignment.revert ? OUTCOME_ROLLED_BACK : OUTCOME_ABORTED;
}

/* The slot to leave: what serves, else the one that does not hold where we go to. */
static enum colour colour_to_leave(const struct deploy *d, const struct digest *back)
{
	const struct deploy_record *r = &d->record;
	bool green = digest_equal(&r->slots[COLOUR_GREEN].release.digest, back);

	if (r->serves)
		return r->serving;
	return green ? COLOUR_BLUE : COLOUR_GREEN;
}

/* Makes the release that serves the one that is left. */
static void leave_serving(struct deploy *d, const struct digest *back)
{
	struct deploy_record *r = &d->record;
	const struct assignment *a = &r->assignment;

	r->target_colour = colour_to_leave(d, back);
	r->target = r->serves ? r->slots[r->serving].release : (struct deploy_release){0};
	if (digest_equal(&r->last.release, &r->target.digest))
		r->rollout = r->last.rollout;
	else if (a->revert || digest_equal(&a->next, &r->target.digest))
		r->rollout = a->rollout;
	else
		r->rollout = (struct rollout_id){0};
	r->attempt = a->attempt;
}

ACTION(nothing)
{
}

ACTION(begin_removal)
{
	struct deploy_record *r = &d->record;

	for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++) {
		if (r->serves && r->serving == c && r->slots[c].proven)
			deploy_slot_drain(d, c);
		else if (d->slots[c].fact == DEPLOY_SLOT_RUNNING)
			deploy_slot_retire(d, c);
		else
			deploy_slot_kill(d, c);
	}
	r->serves = false;
	r->phase_since_ms = d->now_ms;
	deploy_clear_change(d);
}

ACTION(begin_fallback)
{
	struct deploy_record *r = &d->record;
	struct digest serving = deploy_serving(d);
	const struct deploy_release *back = deploy_fallback(d, &serving);
	bool loop = d->slots[r->serving].crashes >= DEPLOY_CRASHES;
	char text[LIMIT_REASON_TEXT + 1];

	snprintf(text, sizeof(text), "the serving container ended %u times within %u minutes%s%s",
		 d->slots[r->serving].crashes, DEPLOY_CRASH_WINDOW_MS / 60000, e->text ? ": " : "",
		 e->text ? e->text : "");
	leave_serving(d, &back->digest);
	deploy_veto_add(d, &r->target.digest, r->attempt);
	deploy_outcome(d, e, OUTCOME_NONE, &r->rollout, &r->target.digest, r->attempt);
	deploy_reason(d, "serve", loop ? "crash_loop" : "exited", text, e->log);
	begin_way_back(d, back, false, OUTCOME_ROLLED_BACK);
}

ACTION(note_crash_loop)
{
	struct digest serving = deploy_serving(d);
	struct rollout_id rollout = d->record.last.rollout;

	if (!digest_equal(&d->record.last.release, &serving))
		rollout = (struct rollout_id){0};
	deploy_outcome(d, e, OUTCOME_FAILED, &rollout, &serving, d->record.assignment.attempt);
	deploy_reason(d, "serve", "crash_loop",
		      "the serving container ends again and again; there is nothing to go back to",
		      e->log);
}

ACTION(retire_warm)
{
	deploy_slot_retire(d, colour_other(d->record.serving));
}

ACTION(begin_recovery)
{
	struct deploy_record *r = &d->record;
	enum outcome_kind kind = r->last.kind;

	deploy_clear_change(d);
	r->target_colour = colour_to_leave(d, &r->committed.digest);
	begin_way_back(d, &r->committed, false, kind);
}

ACTION(begin_return)
{
	struct deploy_record *r = &d->record;
	bool healthy = r->serves && d->slots[r->serving].healthy;
	struct deploy_wish wish = deploy_wish(d);
	const struct deploy_release *back = deploy_local(d, &wish.release);

	leave_serving(d, &wish.release);
	coordinator_says(d, e);
	begin_way_back(d, back, healthy, coordinator_ending(d));
}

ACTION(note_refusal)
{
	const struct assignment *a = &d->record.assignment;

	deploy_outcome(d, e, OUTCOME_ROLLED_BACK, &a->rollout, &a->next, a->attempt);
	deploy_reason(d, "preflight", "veto",
		      "this node rolled the release back before; `covey rollout retry` clears that",
		      NULL);
}

ACTION(begin_rebake)
{
	struct deploy_record *r = &d->record;

	r->target = r->slots[r->serving].release;
	r->target_colour = r->serving;
	r->rollout = r->assignment.rollout;
	r->attempt = r->assignment.attempt;
	r->bake_since_ms = 0;
	r->reboots = 0;
}

static enum colour idle_colour(const struct deploy *d, const struct digest *target)
{
	const struct deploy_record *r = &d->record;

	if (r->serves)
		return colour_other(r->serving);
	if (digest_equal(&r->slots[COLOUR_GREEN].release.digest, target) ||
	    r->slots[COLOUR_BLUE].want != DEPLOY_WANT_NONE)
		return COLOUR_GREEN;
	return COLOUR_BLUE;
}

ACTION(begin_change)
{
	struct deploy_record *r = &d->record;
	struct deploy_wish wish = deploy_wish(d);
	const struct deploy_release *known = deploy_local(d, &wish.release);
	struct deploy_release target = {.digest = wish.release};

	if (known)
		target = *known;
	deploy_clear_change(d);
	r->target = target;
	r->target_colour = idle_colour(d, &wish.release);
	if (digest_equal(&wish.release, &r->assignment.next) && !r->assignment.revert)
		r->rollout = r->assignment.rollout;
	r->attempt = r->assignment.attempt;
	r->fetched = (struct deploy_release){0};
}

ACTION(drop)
{
	if (d->record.assigned && !rollout_id_is_zero(&d->record.rollout)) {
		coordinator_says(d, e);
		d->record.last.kind = coordinator_ending(d);
	}
	discard(d, false);
	deploy_clear_change(d);
}

ACTION(drop_and_return)
{
	coordinator_says(d, e);
	begin_way_back(d, deploy_fallback(d, &d->record.target.digest), false,
		       coordinator_ending(d));
}

ACTION(end_failed)
{
	struct deploy_record *r = &d->record;

	deploy_veto_add(d, &r->target.digest, r->attempt);
	r->last.kind = OUTCOME_ROLLED_BACK;
	discard(d, true);
	deploy_clear_change(d);
}

ACTION(begin_rollback)
{
	struct deploy_record *r = &d->record;

	deploy_veto_add(d, &r->target.digest, r->attempt);
	begin_way_back(d, deploy_fallback(d, &r->target.digest), false, OUTCOME_ROLLED_BACK);
}

ACTION(abandon)
{
	struct deploy_record *r = &d->record;
	const struct deploy_release *back = deploy_local(d, &r->assignment.base);
	bool healthy = d->slots[r->target_colour].healthy;

	if (!back || !r->assignment.revert || deploy_barred(d, &back->digest))
		back = deploy_fallback(d, &r->target.digest);
	coordinator_says(d, e);
	begin_way_back(d, back, healthy, coordinator_ending(d));
}

ACTION(begin_clearing)
{
	enum colour colour = d->record.target_colour;

	deploy_slot_retire(d, colour);
}

ACTION(take_warm)
{
	struct deploy_slot_state *s = &d->slots[d->record.target_colour];

	deploy_slot_keep(d, d->record.target_colour);
	s->ready = s->healthy = s->fresh = false; /* it proves itself anew */
	s->probe_failures = 0;
	s->started_ms = d->now_ms;
}

ACTION(begin_stop)
{
	deploy_slot_drain(d, d->record.serving);
}

ACTION(begin_start)
{
	struct deploy_record *r = &d->record;

	deploy_slot_begin(d, r->target_colour, &r->target);
}

ACTION(prove)
{
	d->record.slots[d->record.target_colour].proven = true;
}

/* Reboot before the switch: the idle slot is discarded, the old one serves, and the change begins
 * again. The reboots are counted: a release that brings the machine down is blamed in the end. */
ACTION(begin_again)
{
	struct deploy_record *r = &d->record;
	const struct deploy_release *old = deploy_fallback(d, &r->target.digest);
	enum colour colour = deploy_back_colour(d);

	discard(d, true);
	if (!r->serves && old && r->slots[colour].want == DEPLOY_WANT_NONE) {
		deploy_slot_begin(d, colour, old);
		r->slots[colour].proven = true;
		r->serves = true;
		r->serving = colour;
	}
	r->fetched = (struct deploy_release){0};
}

/* Nothing of it was started. */
ACTION(fetch_again)
{
	d->record.fetched = (struct deploy_release){0};
}

ACTION(begin_bake)
{
	struct deploy_record *r = &d->record;
	enum colour old = deploy_back_colour(d);

	if (r->serves && r->slots[old].want == DEPLOY_WANT_RUN) {
		r->slots[old].drain_until_ms = deploy_after(d->now_ms, r->assignment.drain_ms);
		d->slots[old].connections_known = d->slots[old].overstayed = false;
	}
	r->serves = true;
	r->serving = r->target_colour;
	r->bake_since_ms = d->now_ms;
}

ACTION(rebegin_bake)
{
	d->record.bake_since_ms = d->now_ms;
}

ACTION(commit)
{
	struct deploy_record *r = &d->record;

	if (!digest_equal(&r->committed.digest, &r->target.digest))
		r->previous = r->committed;
	r->committed = r->target;
	r->committed_ms = d->now_ms;
	r->no_return = (struct digest){0};
	deploy_veto_remove(d, &r->target.digest);
	deploy_outcome(d, e, OUTCOME_COMPLETED, &r->rollout, &r->target.digest, r->attempt);
	deploy_clear_change(d);
}
