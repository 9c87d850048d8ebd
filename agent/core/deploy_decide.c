/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be true outside, read off the state: no history, no side effect, the same answer as
 * often as it is asked. One order is kept here: a slot that the map may still point to is emptied
 * only after the map has moved, so that clients see a reset and not a hang.
 */
#include "agent/core/deploy_state.h"

static void decide_route(const struct deploy *d, uint64_t now_ms, struct deploy_effects *f)
{
	enum colour colour = COLOUR_BLUE;
	enum deploy_route wanted = deploy_route_wanted(d, &colour);

	f->route = DEPLOY_ROUTE_LEAVE;
	if (wanted == DEPLOY_ROUTE_UNKNOWN || now_ms < d->route_at_ms)
		return;
	if (wanted == d->route && (wanted == DEPLOY_ROUTE_CLOSED || colour == d->route_colour))
		return;
	if (wanted == DEPLOY_ROUTE_CLOSED) {
		f->route = DEPLOY_ROUTE_CLOSE;
		return;
	}
	f->route = DEPLOY_ROUTE_TO;
	f->route_colour = colour;
	f->route_release = d->record.slots[colour].release.digest;
}

/* Does the traffic map, as far as we know, still lead here although it shall not? */
static bool map_must_move_first(const struct deploy *d, enum colour colour)
{
	if (d->route_failures >= DEPLOY_ROUTE_TRIES)
		return false;
	return d->route == DEPLOY_ROUTE_UNKNOWN ||
	       (d->route == DEPLOY_ROUTE_OPEN && d->route_colour == colour);
}

static void decide_slot(const struct deploy *d, uint64_t now_ms, enum colour colour,
			struct deploy_slot_effects *f)
{
	const struct deploy_slot_record *r = &d->record.slots[colour];
	const struct deploy_slot_state *s = &d->slots[colour];
	bool run = r->want == DEPLOY_WANT_RUN;
	bool empty = r->want == DEPLOY_WANT_STOP || r->want == DEPLOY_WANT_KILL ||
		     s->fact == DEPLOY_SLOT_EXITED;

	f->release = r->release.digest;
	f->connections = r->drain_until_ms && s->fact == DEPLOY_SLOT_RUNNING;
	f->close = run && s->overstayed && s->fact == DEPLOY_SLOT_RUNNING &&
		   d->route == DEPLOY_ROUTE_OPEN && d->route_colour != colour;
	f->probe = run && s->fact == DEPLOY_SLOT_RUNNING ? DEPLOY_PROBE_WANTED : DEPLOY_PROBE_NONE;
	f->smoke = d->record.phase == DEPLOY_SMOKING && colour == d->record.target_colour;
	if (empty && !map_must_move_first(d, colour)) {
		f->slot = DEPLOY_SLOT_EMPTY_IT;
		f->kill = r->want != DEPLOY_WANT_STOP;
		f->grace_ms = f->kill ? 0 : LIMIT_STOP_GRACE_MS;
	} else if (run && s->fact == DEPLOY_SLOT_EMPTY && now_ms >= s->start_at_ms &&
		   !deploy_barred(d, &r->release.digest)) {
		f->slot = DEPLOY_SLOT_RUN;
	}
}

static void keep(struct deploy_effects *f, const struct digest *release)
{
	if (digest_is_zero(release))
		return;
	for (size_t i = 0; i < f->keep_count; i++)
		if (digest_equal(&f->keep[i], release))
			return;
	f->keep[f->keep_count++] = *release;
}

static void decide_keep(const struct deploy_record *r, struct deploy_effects *f)
{
	_Static_assert(DEPLOY_KEEP == COLOUR_COUNT + 6, "one place for each keep() below");

	for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++)
		keep(f, &r->slots[c].release.digest);
	keep(f, &r->committed.digest);
	keep(f, &r->previous.digest);
	keep(f, &r->target.digest);
	keep(f, &r->back.digest);
	keep(f, &r->assignment.base);
	keep(f, &r->assignment.next);
}

void deploy_decide(const struct deploy *deploy, uint64_t now_ms,
		   struct deploy_effects *ret_effects)
{
	const struct deploy_record *r = &deploy->record;
	struct deploy_effects *f = ret_effects;

	*f = (struct deploy_effects){
		.idle = r->target_colour,
		.attempt = r->attempt ? r->attempt : r->assignment.attempt,
	};
	decide_keep(r, f);
	if (deploy->resuming)
		return;
	if (r->phase == DEPLOY_FETCHING && deploy_download_allowed(deploy))
		f->fetch = r->target.digest;
	if (r->phase == DEPLOY_PREFLIGHT)
		f->preflight = r->target.digest;
	if (r->phase == DEPLOY_UNPACKING)
		f->unpack = r->target.digest;
	decide_route(deploy, now_ms, f);
	for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++)
		decide_slot(deploy, now_ms, c, &f->slots[c]);
}
