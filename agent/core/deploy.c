/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's engine. An event is taken note of, then the table's rows are tried until none
 * fires: so one event may carry a deployment through several phases (an undo to a release that is
 * still warm), and an event that nobody waits for changes nothing but what is known. Whether the
 * durable part changed is found by comparing it, which cannot be forgotten in some corner.
 */
#include "agent/core/deploy_state.h"

#include <assert.h>
#include <errno.h>

enum { ROUNDS = 64 }; /* more transitions than phases in one event are a bug of ours */

void deploy_init(struct deploy *deploy, const char *name)
{
	*deploy = (struct deploy){.route = DEPLOY_ROUTE_CLOSED};
	STR_CUT(deploy->record.name, name);
}

static bool is_text(const char *text, size_t size)
{
	return strnlen(text, size) < size;
}

static bool record_is_sane(const struct deploy_record *r)
{
	for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++)
		if ((unsigned)r->slots[c].want >= DEPLOY_WANT_COUNT)
			return false;
	return (unsigned)r->phase < DEPLOY_PHASE_COUNT && (unsigned)r->serving < COLOUR_COUNT &&
	       (unsigned)r->target_colour < COLOUR_COUNT &&
	       (unsigned)r->ending < OUTCOME_COUNT && r->vetoes_count <= LIMIT_VETOES &&
	       (unsigned)r->assignment.goal < GOAL_COUNT &&
	       (unsigned)r->assignment.swap < SWAP_COUNT && is_text(r->name, sizeof(r->name));
}

int deploy_restore(struct deploy *deploy, const struct deploy_record *record)
{
	if (!record_is_sane(record))
		return -EINVAL;
	*deploy = (struct deploy){.record = *record, .resuming = true};
	return 0;
}

static bool admits_while_resuming(enum deploy_event_kind kind)
{
	return kind == DEPLOY_EVENT_DESIRED || kind == DEPLOY_EVENT_WINDOWS ||
	       kind == DEPLOY_EVENT_ADOPT || kind == DEPLOY_EVENT_RESUMED ||
	       kind == DEPLOY_EVENT_TICK;
}

static bool of_target(const struct deploy *d, const struct deploy_event *e,
		      enum deploy_phase phase)
{
	return d->record.phase == phase && digest_equal(&d->record.target.digest, &e->release);
}

static bool of_slot(const struct deploy *d, const struct deploy_event *e)
{
	return !digest_is_zero(&e->release) &&
	       digest_equal(&d->record.slots[e->colour].release.digest, &e->release);
}

static bool admits(const struct deploy *d, const struct deploy_event *e)
{
	enum deploy_fact fact = d->slots[e->colour].fact;

	switch (e->kind) {
	case DEPLOY_EVENT_DESIRED:
		return !e->assignment || str_equal(e->assignment->deployment, d->record.name);
	case DEPLOY_EVENT_GRANT:
		return deploy_waits(d);
	case DEPLOY_EVENT_FETCH_PROGRESS:
	case DEPLOY_EVENT_FETCH_DONE:
	case DEPLOY_EVENT_FETCH_FAILED:
		return of_target(d, e, DEPLOY_FETCHING);
	case DEPLOY_EVENT_PREFLIGHT_OK:
	case DEPLOY_EVENT_PREFLIGHT_FAILED:
		return of_target(d, e, DEPLOY_PREFLIGHT);
	case DEPLOY_EVENT_UNPACKED:
	case DEPLOY_EVENT_UNPACK_FAILED:
	case DEPLOY_EVENT_DAMAGED:
		return of_target(d, e, DEPLOY_UNPACKING);
	case DEPLOY_EVENT_SMOKE_PASSED:
	case DEPLOY_EVENT_SMOKE_FAILED:
		return of_target(d, e, DEPLOY_SMOKING) && e->colour == d->record.target_colour;
	case DEPLOY_EVENT_SLOT_STARTED:
		return !digest_is_zero(&e->release);
	case DEPLOY_EVENT_START_FAILED:
		return of_slot(d, e) && fact == DEPLOY_SLOT_EMPTY;
	case DEPLOY_EVENT_SLOT_EXITED:
		return of_slot(d, e);
	case DEPLOY_EVENT_PROBE_OK:
	case DEPLOY_EVENT_PROBE_FAILED:
	case DEPLOY_EVENT_PROBE_LOST:
		return of_slot(d, e) && fact == DEPLOY_SLOT_RUNNING;
	case DEPLOY_EVENT_SLOT_LOG:
		return deploy_lacks_log(d, &e->release) && e->log;
	case DEPLOY_EVENT_ADOPT:
		return d->resuming && !digest_is_zero(&e->release);
	case DEPLOY_EVENT_RESUMED:
		return d->resuming;
	case DEPLOY_EVENT_WINDOWS:
	case DEPLOY_EVENT_SLOT_STOPPED:
	case DEPLOY_EVENT_ROUTED:
	case DEPLOY_EVENT_ROUTE_FAILED:
	case DEPLOY_EVENT_CONNECTIONS:
	case DEPLOY_EVENT_MEMORY_PRESSURE:
	case DEPLOY_EVENT_TICK:
		return true;
	case DEPLOY_EVENT_ANY:
	case DEPLOY_EVENT_COUNT:
		break;
	}
	return false;
}

bool deploy_lacks_log(const struct deploy *deploy, const struct digest *release)
{
	const struct deploy_outcome *last = &deploy->record.last;

	return last->reason.phase[0] && !last->reason.log[0] && digest_equal(&last->release, release);
}

bool deploy_admits(const struct deploy *deploy, const struct deploy_event *event)
{
	if ((unsigned)event->colour >= COLOUR_COUNT)
		return false;
	if (deploy->resuming && !admits_while_resuming(event->kind))
		return false;
	return admits(deploy, event);
}

static void enter(struct deploy *d, enum deploy_phase next)
{
	struct deploy_record *r = &d->record;
	bool was = deploy_phases[r->phase].clock, is = deploy_phases[next].clock;

	if (was && !is) {
		r->work_ms += d->now_ms - r->work_since_ms;
		r->work_since_ms = 0;
	} else if (is && !was) {
		r->work_since_ms = d->now_ms;
	}
	r->phase = next;
}

static const struct deploy_row *find_row(const struct deploy *d, const struct deploy_event *e,
					 bool first)
{
	for (size_t i = 0; i < deploy_rows_count; i++) {
		const struct deploy_row *row = &deploy_rows[i];

		if (row->phase != d->record.phase)
			continue;
		if (row->event != DEPLOY_EVENT_ANY && (!first || row->event != e->kind))
			continue;
		if (row->guard(d, e))
			return row;
	}
	return NULL;
}

static void settle(struct deploy *d, const struct deploy_event *e)
{
	const struct deploy_row *row;
	bool first = true;

	deploy_tidy(d);
	for (int rounds = 0; (row = find_row(d, e, first)); rounds++) {
		assert(rounds < ROUNDS);
		first = first && row->event == DEPLOY_EVENT_ANY && row->next == d->record.phase;
		row->action(d, e);
		enter(d, row->next);
		deploy_tidy(d);
	}
}

bool deploy_apply(struct deploy *deploy, const struct deploy_event *event)
{
	struct deploy_record before = deploy->record;

	if (!deploy_admits(deploy, event))
		return false;
	deploy->now_ms = event->now_ms ? event->now_ms : 1;
	deploy_note(deploy, event);
	if (!deploy->resuming) {
		deploy_note_time(deploy, event);
		settle(deploy, event);
	}
	if (!deploy_waits(deploy))
		deploy->waiting_since_ms = 0;
	else if (!deploy->waiting_since_ms)
		deploy->waiting_since_ms = deploy->now_ms;
	return !deploy_record_same(&before, &deploy->record);
}

static void sooner(const struct deploy *d, uint64_t *when, uint64_t at)
{
	/* What lies behind the last event has been looked at then. */
	if (at > d->now_ms && at < *when)
		*when = at;
}

static void slot_deadlines(const struct deploy *d, enum colour colour, uint64_t *when)
{
	const struct deploy_slot_record *r = &d->record.slots[colour];
	const struct deploy_slot_state *s = &d->slots[colour];

	if (s->fact == DEPLOY_SLOT_RUNNING && r->want == DEPLOY_WANT_RUN)
		sooner(d, when, s->probe_due_ms);
	if (s->fact != DEPLOY_SLOT_RUNNING && r->want == DEPLOY_WANT_RUN)
		sooner(d, when, s->start_at_ms);
	sooner(d, when, r->drain_until_ms);
}

uint64_t deploy_deadline(const struct deploy *deploy)
{
	const struct deploy_record *r = &deploy->record;
	const struct assignment *a = &r->assignment;
	uint64_t when = DEPLOY_NEVER;

	if (deploy->resuming)
		return when;
	for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++)
		slot_deadlines(deploy, c, &when);
	sooner(deploy, &when, deploy->route_at_ms);
	sooner(deploy, &when, deploy_work_end(deploy));
	if (r->phase == DEPLOY_BAKING && r->bake_since_ms)
		sooner(deploy, &when, deploy_after(r->bake_since_ms, a->bake_ms));
	if (r->phase == DEPLOY_REVERTING)
		sooner(deploy, &when, deploy_after(r->phase_since_ms, DEPLOY_REVERT_MS));
	if (r->phase <= DEPLOY_STAGED && r->serves && !a->hold_old &&
	    r->slots[colour_other(r->serving)].want == DEPLOY_WANT_RUN)
		sooner(deploy, &when, deploy_after(r->committed_ms, a->keep_warm_ms));
	return when;
}

bool deploy_switches(const struct deploy *deploy)
{
	enum deploy_phase phase = deploy->record.phase;

	return phase == DEPLOY_SWITCHING || (phase >= DEPLOY_STOPPING && phase <= DEPLOY_SMOKING);
}

bool deploy_waits(const struct deploy *deploy)
{
	const struct deploy_record *r = &deploy->record;
	struct deploy_wish wish = deploy_wish(deploy);
	bool touches = r->assignment.swap == SWAP_STOP_FIRST && r->serves;

	if (deploy->resuming)
		return false;
	if (r->phase == DEPLOY_PROVEN)
		return wish.goal == GOAL_SERVE && deploy->slots[r->target_colour].healthy &&
		       (deploy_switch_allowed(deploy) || !r->serves);
	if (r->phase != DEPLOY_PREPARED)
		return false;
	return touches ? wish.goal == GOAL_SERVE && deploy_switch_allowed(deploy)
		       : wish.goal >= GOAL_PREPARE;
}

bool deploy_is_gone(const struct deploy *deploy)
{
	return deploy->record.phase == DEPLOY_GONE;
}
