/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking note: an event changes what is known (facts of the slots, probe counters, the route), and
 * where it means that the change under way has failed, it leaves a verdict. It never changes the
 * phase: that is the table's. What the slots' ends mean depends on whose slot it is, and all of
 * that is decided in one place, slot_is_bad().
 */
#include "agent/core/deploy_state.h"

#include <stdio.h>

typedef void note_fn(struct deploy *d, const struct deploy_event *e);

static bool is_target(const struct deploy *d, enum colour colour)
{
	return colour == d->record.target_colour &&
	       digest_equal(&d->record.slots[colour].release.digest, &d->record.target.digest);
}

static bool holds(const struct deploy *d, const struct deploy_event *e)
{
	return !digest_is_zero(&e->release) &&
	       digest_equal(&d->record.slots[e->colour].release.digest, &e->release);
}

/* REVERTING: the slot that is left is not started again; the one that we go to gets one cold start
 * when it was warm, and no second. */
static void bad_on_the_way_back(struct deploy *d, enum colour colour,
				const struct deploy_event *e)
{
	struct deploy_slot_state *s = &d->slots[colour];
	bool was_warm = s->ready;

	if (colour != deploy_back_colour(d)) {
		if (s->fact == DEPLOY_SLOT_EXITED)
			deploy_slot_kill(d, colour);
		return;
	}
	if (d->record.slots[colour].want != DEPLOY_WANT_RUN)
		return;
	deploy_slot_restart(d, colour, e->random);
	if (was_warm)
		s->start_at_ms = 0;
	else
		d->back_failed = true;
}

/* The slot exited, did not start, or does not answer. */
static void slot_is_bad(struct deploy *d, enum colour colour, const struct deploy_event *e,
			const char *check, const char *text)
{
	struct deploy_slot_record *r = &d->record.slots[colour];
	bool unhealthy = d->slots[colour].fact == DEPLOY_SLOT_RUNNING;

	if (is_target(d, colour) && deploy_target_in(d, DEPLOY_STARTING, DEPLOY_BAKING))
		deploy_verdict(d, e, check, text, e->log);
	else if (d->record.phase == DEPLOY_REVERTING)
		bad_on_the_way_back(d, colour, e);
	else if (r->want == DEPLOY_WANT_RUN &&
		 !(unhealthy && deploy_barred(d, &r->release.digest)))
		deploy_slot_restart(d, colour, e->random); /* a barred one that runs is let run */
}

static void note_desired(struct deploy *d, const struct deploy_event *e)
{
	struct deploy_record *r = &d->record;

	r->assigned = e->assignment != NULL;
	if (!e->assignment)
		return;
	r->assignment = *e->assignment;
	if (digest_is_zero(&r->target.digest) || r->phase == DEPLOY_REVERTING)
		return;
	if (digest_equal(&r->target.digest, &r->assignment.next))
		r->rollout = r->assignment.rollout;
	else if (!digest_equal(&r->target.digest, &r->assignment.base))
		return;
	r->attempt = r->assignment.attempt;
}

static void note_windows(struct deploy *d, const struct deploy_event *e)
{
	d->download_open = e->download_open;
	d->switch_open = e->switch_open;
}

static void note_nothing(struct deploy *d, const struct deploy_event *e)
{
	(void)d;
	(void)e;
}

static void note_fetch_progress(struct deploy *d, const struct deploy_event *e)
{
	d->bytes_done = e->bytes_done;
	d->bytes_total = e->bytes_total;
}

static void note_fetch_done(struct deploy *d, const struct deploy_event *e)
{
	d->record.target.health = e->health;
	d->record.fetched = d->record.target;
	d->bytes_done = d->bytes_total;
}

static void note_fetch_failed(struct deploy *d, const struct deploy_event *e)
{
	if (e->permanent)
		deploy_verdict(d, e, e->check, e->text, NULL);
}

static void note_failed(struct deploy *d, const struct deploy_event *e)
{
	deploy_verdict(d, e, e->check, e->text, e->log);
}

static void slot_runs(struct deploy *d, enum colour colour, uint64_t now_ms, bool ready)
{
	struct deploy_slot_state *s = &d->slots[colour];

	s->fact = DEPLOY_SLOT_RUNNING;
	s->ready = s->healthy = ready;
	s->fresh = false;
	s->probe_failures = 0;
	s->started_ms = now_ms;
	s->probe_due_ms = deploy_after(now_ms, deploy_probe_span(&d->record.slots[colour].release));
}

/* Something that nobody wants (any more) runs in the slot. Where nothing is wanted it is killed;
 * where something else is wanted the slot is emptied first. */
static void stray(struct deploy *d, const struct deploy_event *e)
{
	struct deploy_slot_record *r = &d->record.slots[e->colour];

	d->slots[e->colour].fact = DEPLOY_SLOT_EXITED;
	if (r->want != DEPLOY_WANT_NONE)
		return;
	r->release = (struct deploy_release){.digest = e->release};
	r->want = DEPLOY_WANT_KILL;
}

static void note_slot_started(struct deploy *d, const struct deploy_event *e)
{
	if (!holds(d, e))
		stray(d, e);
	else if (d->slots[e->colour].fact != DEPLOY_SLOT_RUNNING)
		slot_runs(d, e->colour, e->now_ms, false);
}

static void note_slot_ended(struct deploy *d, const struct deploy_event *e)
{
	bool exited = e->kind == DEPLOY_EVENT_SLOT_EXITED;

	if (!holds(d, e) || d->slots[e->colour].fact == DEPLOY_SLOT_EXITED)
		return;
	d->slots[e->colour].fact = DEPLOY_SLOT_EXITED;
	slot_is_bad(d, e->colour, e, exited ? "exited" : e->check ? e->check : "start", e->text);
}

static void note_slot_stopped(struct deploy *d, const struct deploy_event *e)
{
	struct deploy_slot_state *s = &d->slots[e->colour];

	s->fact = DEPLOY_SLOT_EMPTY;
	s->ready = s->healthy = s->fresh = false;
	s->probe_due_ms = 0;
}

static void note_probe_ok(struct deploy *d, const struct deploy_event *e)
{
	struct deploy_slot_state *s = &d->slots[e->colour];

	s->ready = s->healthy = s->fresh = true;
	s->probe_failures = 0;
	s->probe_due_ms =
		deploy_after(e->now_ms, deploy_probe_span(&d->record.slots[e->colour].release));
}

static void probe_failed(struct deploy *d, enum colour colour, const struct deploy_event *e,
			 const char *text)
{
	const struct deploy_release *release = &d->record.slots[colour].release;
	struct deploy_slot_state *s = &d->slots[colour];
	uint32_t limit = release->health.failures ? release->health.failures : 1;

	s->fresh = false;
	s->probe_due_ms = deploy_after(e->now_ms, deploy_probe_span(release));
	if (!s->ready &&
	    e->now_ms < deploy_after(s->started_ms, release->health.start_period_ms))
		return; /* still starting: no failure yet */
	s->probe_failures += s->probe_failures < UINT32_MAX;
	if (s->probe_failures < limit)
		return;
	s->healthy = false;
	slot_is_bad(d, colour, e, "health", text);
}

/* Neither healthy nor not: nobody is blamed, and a bake does not end on it. */
static void note_probe_lost(struct deploy *d, const struct deploy_event *e)
{
	struct deploy_slot_state *s = &d->slots[e->colour];

	s->fresh = false;
	s->probe_due_ms =
		deploy_after(e->now_ms, deploy_probe_span(&d->record.slots[e->colour].release));
}

static void note_probe_failed(struct deploy *d, const struct deploy_event *e)
{
	probe_failed(d, e->colour, e, e->text);
}

static void note_smoke_failed(struct deploy *d, const struct deploy_event *e)
{
	char check[LIMIT_SHORT_TEXT + 1];

	snprintf(check, sizeof(check), "smoke:%s", e->check ? e->check : "");
	deploy_verdict(d, e, check, e->text, e->log);
}

/* An answer that comes late tells of a map that is not meant any more: told once more, it is. */
static void note_routed(struct deploy *d, const struct deploy_event *e)
{
	d->route = e->open ? DEPLOY_ROUTE_OPEN : DEPLOY_ROUTE_CLOSED;
	if (e->open && !holds(d, e))
		d->route = DEPLOY_ROUTE_UNKNOWN;
	d->route_colour = e->colour;
	d->route_failures = 0;
	d->route_at_ms = 0;
}

static void note_route_failed(struct deploy *d, const struct deploy_event *e)
{
	d->route_failures += d->route_failures < UINT32_MAX;
	d->route_at_ms = deploy_after(e->now_ms, DEPLOY_ROUTE_RETRY_MS);
	if (d->record.phase == DEPLOY_SWITCHING && d->route_failures >= DEPLOY_ROUTE_TRIES)
		deploy_verdict(d, e, "route", e->text, NULL);
}

static void note_connections(struct deploy *d, const struct deploy_event *e)
{
	d->slots[e->colour].connections = e->connections;
	d->slots[e->colour].connections_known = true;
	d->slots[e->colour].overstayed &= e->connections > 0;
}

static void note_slot_log(struct deploy *d, const struct deploy_event *e)
{
	if (deploy_lacks_log(d, &e->release))
		STR_CUT(d->record.last.reason.log, e->log);
}

static void note_adopt(struct deploy *d, const struct deploy_event *e)
{
	const struct deploy_slot_record *r = &d->record.slots[e->colour];
	bool back = d->record.phase == DEPLOY_REVERTING && e->colour == deploy_back_colour(d);

	if (!holds(d, e))
		stray(d, e);
	else if (e->running)
		slot_runs(d, e->colour, e->now_ms, r->proven && !back);
	else
		d->slots[e->colour].fact = DEPLOY_SLOT_EXITED;
}

/* The boot clock began again: what counts from it begins again as well. */
static void note_reboot(struct deploy *d, const struct deploy_event *e)
{
	struct deploy_record *r = &d->record;

	for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++) {
		r->slots[c].drain_until_ms = 0;
		if (r->slots[c].want == DEPLOY_WANT_DRAIN)
			r->slots[c].want = DEPLOY_WANT_STOP;
	}
	r->committed_ms = r->phase_since_ms = e->now_ms;
	r->work_ms = 0;
	r->work_since_ms = deploy_phases[r->phase].clock ? e->now_ms : 0;
	r->bake_since_ms = 0;
	if (!deploy_target_in(d, DEPLOY_STARTING, DEPLOY_BAKING))
		return;
	if (++r->reboots > DEPLOY_REBOOTS)
		deploy_verdict(d, e, "reboot",
			       "the machine rebooted again and again since the release started",
			       NULL);
}

static void note_resumed(struct deploy *d, const struct deploy_event *e)
{
	const struct deploy_record *r = &d->record;
	bool down = d->slots[r->target_colour].fact != DEPLOY_SLOT_RUNNING;

	d->resuming = false;
	if (e->rebooted)
		note_reboot(d, e);
	else if (down && (deploy_target_in(d, DEPLOY_READYING, DEPLOY_BAKING) ||
			  (r->phase == DEPLOY_STARTING &&
			   d->slots[r->target_colour].fact == DEPLOY_SLOT_EXITED)))
		deploy_verdict(d, e, "exited", "its container ended while the agent was away",
			       NULL);
	if (r->phase == DEPLOY_REVERTING && down)
		deploy_slot_kill(d, r->target_colour);
}

static note_fn *const notes[DEPLOY_EVENT_COUNT] = {
	[DEPLOY_EVENT_ANY] = note_nothing,
	[DEPLOY_EVENT_DESIRED] = note_desired,
	[DEPLOY_EVENT_WINDOWS] = note_windows,
	[DEPLOY_EVENT_GRANT] = note_nothing,
	[DEPLOY_EVENT_FETCH_PROGRESS] = note_fetch_progress,
	[DEPLOY_EVENT_FETCH_DONE] = note_fetch_done,
	[DEPLOY_EVENT_FETCH_FAILED] = note_fetch_failed,
	[DEPLOY_EVENT_PREFLIGHT_OK] = note_nothing,
	[DEPLOY_EVENT_PREFLIGHT_FAILED] = note_failed,
	[DEPLOY_EVENT_UNPACKED] = note_nothing,
	[DEPLOY_EVENT_UNPACK_FAILED] = note_failed,
	[DEPLOY_EVENT_DAMAGED] = note_nothing,
	[DEPLOY_EVENT_SLOT_STARTED] = note_slot_started,
	[DEPLOY_EVENT_START_FAILED] = note_slot_ended,
	[DEPLOY_EVENT_SLOT_EXITED] = note_slot_ended,
	[DEPLOY_EVENT_SLOT_STOPPED] = note_slot_stopped,
	[DEPLOY_EVENT_PROBE_OK] = note_probe_ok,
	[DEPLOY_EVENT_PROBE_FAILED] = note_probe_failed,
	[DEPLOY_EVENT_PROBE_LOST] = note_probe_lost,
	[DEPLOY_EVENT_SMOKE_PASSED] = note_nothing,
	[DEPLOY_EVENT_SMOKE_FAILED] = note_smoke_failed,
	[DEPLOY_EVENT_ROUTED] = note_routed,
	[DEPLOY_EVENT_ROUTE_FAILED] = note_route_failed,
	[DEPLOY_EVENT_CONNECTIONS] = note_connections,
	[DEPLOY_EVENT_SLOT_LOG] = note_slot_log,
	[DEPLOY_EVENT_MEMORY_PRESSURE] = note_nothing,
	[DEPLOY_EVENT_ADOPT] = note_adopt,
	[DEPLOY_EVENT_RESUMED] = note_resumed,
	[DEPLOY_EVENT_TICK] = note_nothing,
};

void deploy_note(struct deploy *d, const struct deploy_event *e)
{
	notes[e->kind](d, e);
}

static void drain_over(struct deploy *d, enum colour colour)
{
	struct deploy_slot_record *r = &d->record.slots[colour];
	struct deploy_slot_state *s = &d->slots[colour];
	bool ended = s->connections_known && s->connections == 0;
	bool over = d->now_ms >= r->drain_until_ms || ended || s->fact != DEPLOY_SLOT_RUNNING;

	if (!r->drain_until_ms || !over)
		return;
	r->drain_until_ms = 0;
	s->overstayed = s->connections_known && s->connections > 0;
}

void deploy_note_time(struct deploy *d, const struct deploy_event *e)
{
	struct deploy_record *r = &d->record;

	for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++) {
		const struct deploy_slot_state *s = &d->slots[c];

		if (s->fact == DEPLOY_SLOT_RUNNING && r->slots[c].want == DEPLOY_WANT_RUN &&
		    s->probe_due_ms && e->now_ms >= s->probe_due_ms)
			probe_failed(d, c, e, "no answer to the health probe in time");
	}
	if (e->now_ms >= deploy_work_end(d))
		deploy_verdict(d, e, "deadline", "the node's deadline for one change is over",
			       NULL);
}

void deploy_tidy(struct deploy *d)
{
	struct deploy_record *r = &d->record;

	for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++) {
		struct deploy_slot_record *s = &r->slots[c];

		drain_over(d, c);
		if (s->want == DEPLOY_WANT_DRAIN && !s->drain_until_ms)
			s->want = d->slots[c].fact == DEPLOY_SLOT_RUNNING ? DEPLOY_WANT_STOP
									  : DEPLOY_WANT_KILL;
		if (r->serves && r->serving == c && s->want != DEPLOY_WANT_RUN &&
		    s->want != DEPLOY_WANT_DRAIN)
			r->serves = false;
		if (d->slots[c].fact == DEPLOY_SLOT_EMPTY &&
		    (s->want == DEPLOY_WANT_STOP || s->want == DEPLOY_WANT_KILL)) {
			*s = (struct deploy_slot_record){0};
			d->slots[c] = (struct deploy_slot_state){0};
		}
	}
}
