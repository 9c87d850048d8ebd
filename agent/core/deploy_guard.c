/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conditions of the table's rows, each a sentence about the state. They look at levels, so a
 * lost or repeated event changes nothing; the event only counts where a row names one.
 */
#include "agent/core/deploy_state.h"

#define GUARD(name)                                                                                \
	bool deploy_guard_##name(__attribute__((unused)) const struct deploy *d,                   \
				 __attribute__((unused)) const struct deploy_event *e)

static const struct deploy_slot_record *target_slot(const struct deploy *d)
{
	return &d->record.slots[d->record.target_colour];
}

static bool slot_is_empty(const struct deploy *d, enum colour colour)
{
	return d->record.slots[colour].want == DEPLOY_WANT_NONE &&
	       d->slots[colour].fact == DEPLOY_SLOT_EMPTY;
}

static bool target_slot_is(const struct deploy *d, enum deploy_fact fact)
{
	return d->slots[d->record.target_colour].fact == fact &&
	       digest_equal(&target_slot(d)->release.digest, &d->record.target.digest);
}

GUARD(always)
{
	return true;
}

GUARD(must_be_removed)
{
	return !d->record.assigned;
}

static bool crash_loops(const struct deploy *d)
{
	const struct deploy_slot_state *s = &d->slots[d->record.serving];

	return d->record.serves && s->crashes >= DEPLOY_CRASHES &&
	       d->now_ms < deploy_after(s->crash_window_ms, DEPLOY_CRASH_WINDOW_MS);
}

static bool has_fallback(const struct deploy *d)
{
	struct digest serving = deploy_serving(d);

	return deploy_fallback(d, &serving) != NULL;
}

/* The serving release loops; or it is down, and was never committed (it only stayed because a way
 * back had failed) or must not be started. */
GUARD(must_fall_back)
{
	struct digest serving = deploy_serving(d);
	bool own = digest_equal(&serving, &d->record.committed.digest) && !deploy_barred(d, &serving);
	bool down = d->record.serves && d->slots[d->record.serving].fact != DEPLOY_SLOT_RUNNING &&
		    !own;

	return d->record.assigned && (crash_loops(d) || down) && has_fallback(d);
}

GUARD(crash_loops_alone)
{
	const struct deploy_outcome *last = &d->record.last;
	struct digest serving = deploy_serving(d);

	return crash_loops(d) && !has_fallback(d) &&
	       !(last->kind == OUTCOME_FAILED && digest_equal(&last->release, &serving));
}

GUARD(has_warm)
{
	const struct deploy_record *r = &d->record;

	return r->serves && r->slots[colour_other(r->serving)].want == DEPLOY_WANT_RUN &&
	       r->slots[r->serving].want == DEPLOY_WANT_RUN;
}

GUARD(warm_is_over)
{
	const struct assignment *a = &d->record.assignment;

	return deploy_guard_has_warm(d, e) && !a->hold_old &&
	       d->now_ms >= deploy_after(d->record.committed_ms, a->keep_warm_ms);
}

/* Nothing serves although a committed release could. */
GUARD(must_recover)
{
	const struct deploy_record *r = &d->record;
	struct deploy_wish wish = deploy_wish(d);

	return !r->serves && !digest_is_zero(&r->committed.digest) &&
	       !deploy_barred(d, &r->committed.digest) && wish.kind != WISH_RETURN &&
	       wish.kind != WISH_REMOVE;
}

GUARD(must_return)
{
	return deploy_wish(d).kind == WISH_RETURN;
}

/* A rollout wants what this node has rolled back: it must hear so. */
GUARD(is_refused)
{
	const struct deploy_record *r = &d->record;
	const struct assignment *a = &r->assignment;
	struct digest serving = deploy_serving(d);

	return r->assigned && !a->revert && a->goal != GOAL_NONE && !crash_loops(d) &&
	       !digest_is_zero(&a->next) && !digest_equal(&a->next, &serving) &&
	       deploy_barred(d, &a->next) && !rollout_id_equal(&r->last.rollout, &a->rollout);
}

/* After a way back that failed an uncommitted release is still there, and is wanted again. */
GUARD(must_bake_again)
{
	const struct deploy_record *r = &d->record;
	const struct assignment *a = &r->assignment;
	struct digest serving = deploy_serving(d);
	bool next = digest_equal(&a->next, &serving) && a->goal == GOAL_SERVE && !a->revert;

	return r->assigned && r->serves && !digest_equal(&serving, &r->committed.digest) &&
	       (next || digest_equal(&a->base, &serving)) && !deploy_barred(d, &serving) &&
	       d->slots[r->serving].fact == DEPLOY_SLOT_RUNNING;
}

GUARD(must_change)
{
	return deploy_wish(d).kind == WISH_CHANGE;
}

/* Before the switch: desired state asks for something else, or no longer for so much. */
GUARD(is_unwanted)
{
	struct deploy_wish wish = deploy_wish(d);
	bool stop_first = d->record.assignment.swap == SWAP_STOP_FIRST;
	enum goal goal = GOAL_FETCH;

	if (d->record.phase >= DEPLOY_CLEARING)
		goal = stop_first && d->record.phase >= DEPLOY_STOPPING ? GOAL_SERVE : GOAL_PREPARE;
	return wish.kind != WISH_CHANGE || wish.goal < goal ||
	       !digest_equal(&wish.release, &d->record.target.digest);
}

/* Old stands: nothing has been taken away yet that somebody would have to bring back. */
static bool old_stands(const struct deploy *d)
{
	return d->record.serves || !deploy_fallback(d, &d->record.target.digest);
}

GUARD(unwanted_old_stands)
{
	return deploy_guard_is_unwanted(d, e) && (old_stands(d) || !d->record.assigned);
}

GUARD(unwanted_old_down)
{
	return deploy_guard_is_unwanted(d, e) && !old_stands(d);
}

GUARD(has_failed)
{
	return d->verdict;
}

GUARD(failed_old_stands)
{
	return d->verdict && old_stands(d);
}

GUARD(failed_old_down)
{
	return d->verdict && !old_stands(d);
}

GUARD(is_fetched)
{
	return digest_equal(&e->release, &d->record.target.digest);
}

/* The target still runs in the idle slot (undo soon after a commit). */
GUARD(target_is_warm)
{
	enum deploy_want want = target_slot(d)->want;

	return target_slot_is(d, DEPLOY_SLOT_RUNNING) &&
	       (want == DEPLOY_WANT_RUN || want == DEPLOY_WANT_DRAIN);
}

GUARD(may_prepare)
{
	return deploy_wish(d).goal >= GOAL_PREPARE && deploy_switch_allowed(d);
}

GUARD(may_reuse)
{
	return deploy_guard_may_prepare(d, e) && deploy_guard_target_is_warm(d, e);
}

GUARD(is_clear)
{
	return slot_is_empty(d, d->record.target_colour);
}

GUARD(is_of_target)
{
	return digest_equal(&e->release, &d->record.target.digest);
}

GUARD(must_stop_first)
{
	return d->record.assignment.swap == SWAP_STOP_FIRST && d->record.serves;
}

GUARD(old_is_stopped)
{
	return !d->record.serves && slot_is_empty(d, deploy_back_colour(d));
}

GUARD(target_runs)
{
	return target_slot_is(d, DEPLOY_SLOT_RUNNING);
}

GUARD(target_is_ready)
{
	return target_slot_is(d, DEPLOY_SLOT_RUNNING) && d->slots[d->record.target_colour].ready;
}

/* Smoke-tested, and nothing to wait for: the switch is not given away in between. */
GUARD(may_go_on)
{
	return deploy_wish(d).goal == GOAL_SERVE && d->slots[d->record.target_colour].healthy &&
	       (deploy_switch_allowed(d) || !d->record.serves);
}

GUARD(has_rebooted)
{
	return e->rebooted;
}

/* After the switch: neither the rollout nor the base is what bakes here. */
GUARD(is_abandoned)
{
	const struct deploy_record *r = &d->record;
	const struct assignment *a = &r->assignment;
	bool next = !a->revert && digest_equal(&r->target.digest, &a->next);

	return !next && !digest_equal(&r->target.digest, &a->base);
}

GUARD(is_switched)
{
	return d->route == DEPLOY_ROUTE_OPEN && d->route_colour == d->record.target_colour &&
	       target_slot_is(d, DEPLOY_SLOT_RUNNING);
}

GUARD(bake_must_begin)
{
	return d->record.bake_since_ms == 0 && deploy_guard_target_is_ready(d, e);
}

GUARD(bake_is_over)
{
	const struct deploy_slot_state *s = &d->slots[d->record.target_colour];
	uint64_t end = deploy_after(d->record.bake_since_ms, d->record.assignment.bake_ms);

	return d->record.bake_since_ms && d->now_ms >= end && s->healthy && s->fresh;
}

/* A map that cannot be changed is not the release's failure: that is tried on and on. */
GUARD(way_back_failed)
{
	const struct deploy_slot_state *back = &d->slots[deploy_back_colour(d)];
	bool late = d->now_ms >= deploy_after(d->record.phase_since_ms, DEPLOY_REVERT_MS) &&
		    !(back->fact == DEPLOY_SLOT_RUNNING && back->ready);

	return !digest_is_zero(&d->record.back.digest) && (d->back_failed || late);
}

GUARD(back_slot_is_free)
{
	bool wait = d->record.assignment.swap == SWAP_STOP_FIRST &&
		    !slot_is_empty(d, d->record.target_colour);

	return !digest_is_zero(&d->record.back.digest) && !wait &&
	       slot_is_empty(d, deploy_back_colour(d));
}

GUARD(is_back)
{
	bool late = d->now_ms >= deploy_after(d->record.phase_since_ms, DEPLOY_REVERT_MS);
	enum colour colour = COLOUR_COUNT;
	enum deploy_route route = deploy_route_wanted(d, &colour);

	if (digest_is_zero(&d->record.back.digest))
		return d->route == DEPLOY_ROUTE_CLOSED || late;
	return route == DEPLOY_ROUTE_OPEN && colour == deploy_back_colour(d) &&
	       d->route == DEPLOY_ROUTE_OPEN && d->route_colour == colour;
}

/* Wanted again before the drain was over. */
GUARD(may_stay)
{
	if (!d->record.assigned)
		return false;
	for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++)
		if (d->record.slots[c].want == DEPLOY_WANT_DRAIN &&
		    digest_equal(&d->record.slots[c].release.digest, &d->record.committed.digest))
			return true;
	return false;
}

GUARD(is_empty)
{
	return slot_is_empty(d, COLOUR_BLUE) && slot_is_empty(d, COLOUR_GREEN) &&
	       d->route == DEPLOY_ROUTE_CLOSED;
}

GUARD(is_assigned)
{
	return d->record.assigned;
}
