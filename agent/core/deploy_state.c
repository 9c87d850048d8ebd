/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the state means. The heart is deploy_wish(): desired state says what must be true, the
 * node's vetoes and failed ways back take away what it will not do again, and what is left is one
 * wish. Rows of the table then only compare the wish with what is.
 */
#include "agent/core/deploy_state.h"

uint64_t deploy_after(uint64_t ms, uint64_t more_ms)
{
	return more_ms > UINT64_MAX - ms ? UINT64_MAX : ms + more_ms;
}

struct digest deploy_serving(const struct deploy *d)
{
	const struct deploy_record *r = &d->record;

	return r->serves ? r->slots[r->serving].release.digest : (struct digest){0};
}

bool deploy_vetoes(const struct deploy *d, const struct digest *release, uint64_t attempt)
{
	for (uint32_t i = 0; i < d->record.vetoes_count; i++)
		if (digest_equal(&d->record.vetoes[i].release, release))
			return attempt <= d->record.vetoes[i].attempt;
	return false;
}

bool deploy_barred(const struct deploy *d, const struct digest *release)
{
	return deploy_vetoes(d, release, d->record.assignment.attempt);
}

static bool return_failed(const struct deploy *d, const struct digest *release)
{
	const struct deploy_record *r = &d->record;

	return !digest_is_zero(release) && digest_equal(&r->no_return, release) &&
	       r->assignment.attempt <= r->no_return_attempt;
}

const struct deploy_release *deploy_local(const struct deploy *d, const struct digest *release)
{
	const struct deploy_record *r = &d->record;

	if (digest_is_zero(release))
		return NULL;
	if (digest_equal(&r->committed.digest, release))
		return &r->committed;
	return digest_equal(&r->previous.digest, release) ? &r->previous : NULL;
}

static bool can_fall_back(const struct deploy *d, const struct deploy_release *to,
			  const struct digest *left)
{
	return !digest_is_zero(&to->digest) && !digest_equal(&to->digest, left) &&
	       !deploy_barred(d, &to->digest);
}

const struct deploy_release *deploy_fallback(const struct deploy *d, const struct digest *left)
{
	const struct deploy_record *r = &d->record;

	if (can_fall_back(d, &r->committed, left))
		return &r->committed;
	return can_fall_back(d, &r->previous, left) ? &r->previous : NULL;
}

static struct deploy_wish wish(enum deploy_wish_kind kind, const struct digest *release,
			       enum goal goal)
{
	return (struct deploy_wish){kind, *release, goal};
}

/* What serves was committed in the rollout that is taken back. Not so any more after a way back:
 * its outcome is no completion, so that the two releases are not exchanged for ever. */
static bool is_withdrawn(const struct deploy *d, const struct digest *serving)
{
	const struct deploy_outcome *last = &d->record.last;
	const struct assignment *a = &d->record.assignment;

	return a->revert && last->kind == OUTCOME_COMPLETED &&
	       rollout_id_equal(&last->rollout, &a->rollout) &&
	       digest_equal(&last->release, serving);
}

/* The base is barred here, by this node's veto: back to what it had committed before. */
static struct deploy_wish wish_before(const struct deploy *d, const struct digest *serving)
{
	const struct deploy_release *before = deploy_fallback(d, serving);

	if (is_withdrawn(d, serving) && before && !return_failed(d, &before->digest))
		return wish(WISH_RETURN, &before->digest, GOAL_SERVE);
	return wish(WISH_KEEP, serving, GOAL_SERVE);
}

/* Coordinator's veto, or desired state that names no release at all. */
static struct deploy_wish wish_back(const struct deploy *d, const struct digest *serving)
{
	const struct digest *base = &d->record.assignment.base;

	if (digest_equal(base, serving) || return_failed(d, base))
		return wish(WISH_KEEP, serving, GOAL_SERVE);
	if (digest_is_zero(base))
		return wish(WISH_RETURN, base, GOAL_SERVE);
	if (deploy_barred(d, base))
		return wish_before(d, serving);
	return wish(deploy_local(d, base) ? WISH_RETURN : WISH_CHANGE, base, GOAL_SERVE);
}

struct deploy_wish deploy_wish(const struct deploy *d)
{
	const struct assignment *a = &d->record.assignment;
	struct digest serving = deploy_serving(d);
	bool next = !digest_is_zero(&a->next) && a->goal != GOAL_NONE &&
		    !deploy_barred(d, &a->next);
	bool base = !digest_is_zero(&a->base) && !deploy_barred(d, &a->base) &&
		    !return_failed(d, &a->base);

	if (!d->record.assigned)
		return wish(WISH_REMOVE, &serving, GOAL_NONE);
	if (a->revert || (digest_is_zero(&a->base) && digest_is_zero(&a->next)))
		return wish_back(d, &serving);
	if (!digest_is_zero(&a->next) && digest_equal(&a->next, &serving))
		return wish(WISH_KEEP, &serving, GOAL_SERVE);
	if (next && a->goal == GOAL_SERVE)
		return wish(WISH_CHANGE, &a->next, GOAL_SERVE);
	if (base && !digest_equal(&a->base, &serving))
		return wish(WISH_CHANGE, &a->base, GOAL_SERVE);
	if (next)
		return wish(WISH_CHANGE, &a->next, a->goal);
	return wish(WISH_KEEP, &serving, GOAL_SERVE);
}

bool deploy_switch_allowed(const struct deploy *d)
{
	return !d->record.assignment.windows.swap[0] || d->switch_open;
}

bool deploy_download_allowed(const struct deploy *d)
{
	return !d->record.assignment.windows.download[0] || d->download_open;
}

bool deploy_target_in(const struct deploy *d, enum deploy_phase first, enum deploy_phase last)
{
	return d->record.phase >= first && d->record.phase <= last;
}

enum colour deploy_back_colour(const struct deploy *d)
{
	return colour_other(d->record.target_colour);
}

uint64_t deploy_probe_span(const struct deploy_release *release)
{
	uint64_t span = deploy_after(release->health.interval_ms, release->health.timeout_ms);

	return deploy_after(span, DEPLOY_PROBE_SLACK_MS);
}

uint64_t deploy_work_end(const struct deploy *d)
{
	const struct deploy_record *r = &d->record;
	uint64_t limit = r->assignment.node_deadline_ms;

	if (!deploy_phases[r->phase].clock)
		return DEPLOY_NEVER;
	limit = limit ? limit : DEPLOY_WORK_MS;
	return deploy_after(r->work_since_ms, limit > r->work_ms ? limit - r->work_ms : 0);
}

static enum deploy_route open_to(enum colour colour, enum colour *ret_colour)
{
	*ret_colour = colour;
	return DEPLOY_ROUTE_OPEN;
}

static enum deploy_route route_back(const struct deploy *d, enum colour *ret_colour)
{
	const struct deploy_record *r = &d->record;
	enum colour back = deploy_back_colour(d), left = r->target_colour;

	if (digest_is_zero(&r->back.digest))
		return DEPLOY_ROUTE_CLOSED;
	if (d->slots[back].fact == DEPLOY_SLOT_RUNNING && d->slots[back].ready &&
	    r->slots[back].want == DEPLOY_WANT_RUN &&
	    digest_equal(&r->slots[back].release.digest, &r->back.digest))
		return open_to(back, ret_colour);
	/* Until it answers, whatever answers stays. */
	if (r->serves && r->serving == left && d->slots[left].fact == DEPLOY_SLOT_RUNNING &&
	    r->slots[left].want == DEPLOY_WANT_RUN)
		return d->route == DEPLOY_ROUTE_UNKNOWN ? DEPLOY_ROUTE_UNKNOWN
							: open_to(left, ret_colour);
	return DEPLOY_ROUTE_CLOSED;
}

enum deploy_route deploy_route_wanted(const struct deploy *d, enum colour *ret_colour)
{
	const struct deploy_record *r = &d->record;

	if (r->phase == DEPLOY_SWITCHING)
		return open_to(r->target_colour, ret_colour);
	if (r->phase == DEPLOY_REVERTING)
		return route_back(d, ret_colour);
	if (!r->serves || r->slots[r->serving].want != DEPLOY_WANT_RUN ||
	    d->slots[r->serving].fact != DEPLOY_SLOT_RUNNING || !d->slots[r->serving].ready)
		return DEPLOY_ROUTE_CLOSED;
	return open_to(r->serving, ret_colour);
}

void deploy_slot_begin(struct deploy *d, enum colour colour, const struct deploy_release *release)
{
	struct deploy_release copy = *release;

	d->record.slots[colour] = (struct deploy_slot_record){
		.release = copy,
		.want = DEPLOY_WANT_RUN,
	};
	d->slots[colour] = (struct deploy_slot_state){.fact = DEPLOY_SLOT_EMPTY};
}

/* A start may be under way in a slot that is wanted to run and does not yet: only a stop that is
 * answered makes sure that it is empty. */
static void leave_slot(struct deploy *d, enum colour colour, enum deploy_want want)
{
	struct deploy_slot_record *s = &d->record.slots[colour];

	if (s->want == DEPLOY_WANT_NONE)
		return;
	if (s->want == DEPLOY_WANT_RUN && d->slots[colour].fact == DEPLOY_SLOT_EMPTY)
		d->slots[colour].fact = DEPLOY_SLOT_EXITED;
	s->want = want;
	if (want != DEPLOY_WANT_DRAIN)
		s->drain_until_ms = 0;
}

void deploy_slot_kill(struct deploy *d, enum colour colour)
{
	leave_slot(d, colour, DEPLOY_WANT_KILL);
}

void deploy_slot_retire(struct deploy *d, enum colour colour)
{
	bool drains = d->record.slots[colour].drain_until_ms != 0;

	if (d->record.slots[colour].want == DEPLOY_WANT_RUN)
		leave_slot(d, colour, drains ? DEPLOY_WANT_DRAIN : DEPLOY_WANT_STOP);
}

void deploy_slot_drain(struct deploy *d, enum colour colour)
{
	if (d->record.slots[colour].want != DEPLOY_WANT_RUN)
		return;
	d->record.slots[colour].drain_until_ms =
		deploy_after(d->now_ms, d->record.assignment.drain_ms);
	d->slots[colour].connections_known = false;
	leave_slot(d, colour, DEPLOY_WANT_DRAIN);
}

void deploy_slot_keep(struct deploy *d, enum colour colour)
{
	struct deploy_slot_record *s = &d->record.slots[colour];

	s->want = s->want == DEPLOY_WANT_DRAIN ? DEPLOY_WANT_RUN : s->want;
	s->drain_until_ms = 0;
	d->slots[colour].overstayed = false;
}

void deploy_clear_change(struct deploy *d)
{
	struct deploy_record *r = &d->record;

	r->target = (struct deploy_release){0};
	r->back = (struct deploy_release){0};
	r->rollout = (struct rollout_id){0};
	r->attempt = r->work_ms = r->bake_since_ms = 0;
	r->reboots = 0;
	r->back_healthy = false;
	r->ending = OUTCOME_NONE;
	d->verdict = d->back_failed = false;
	d->bytes_done = d->bytes_total = 0;
}
