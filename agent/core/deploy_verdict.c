/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is remembered of an ending: the outcome with its reason, and the node's vetoes. A verdict is
 * written down with the reason at once, its outcome stays NONE until the way back has ended.
 */
#include "agent/core/backoff.h"
#include "agent/core/deploy_state.h"

static const char *const verdict_phases[DEPLOY_PHASE_COUNT] = {
	[DEPLOY_IDLE] = "serve",	   [DEPLOY_FETCHING] = "fetch",
	[DEPLOY_STAGED] = "fetch",	   [DEPLOY_CLEARING] = "start",
	[DEPLOY_PREFLIGHT] = "preflight",  [DEPLOY_UNPACKING] = "unpack",
	[DEPLOY_PREPARED] = "start",	   [DEPLOY_STOPPING] = "start",
	[DEPLOY_STARTING] = "start",	   [DEPLOY_READYING] = "ready",
	[DEPLOY_SMOKING] = "smoke",	   [DEPLOY_PROVEN] = "ready",
	[DEPLOY_SWITCHING] = "switch",	   [DEPLOY_BAKING] = "bake",
	[DEPLOY_REVERTING] = "serve",	   [DEPLOY_REMOVING] = "serve",
	[DEPLOY_GONE] = "serve",
};

void deploy_reason(struct deploy *d, const char *phase, const char *check, const char *text,
		   const char *log)
{
	struct deploy_reason *reason = &d->record.last.reason;

	STR_CUT(reason->phase, phase);
	STR_CUT(reason->check, check ? check : "");
	STR_CUT(reason->text, text ? text : "");
	STR_CUT(reason->log, log ? log : "");
}

void deploy_outcome(struct deploy *d, const struct deploy_event *e, enum outcome_kind kind,
		    const struct rollout_id *rollout, const struct digest *release,
		    uint64_t attempt)
{
	struct deploy_outcome *last = &d->record.last;

	last->kind = kind;
	last->rollout = *rollout;
	last->release = *release;
	last->attempt = attempt;
	last->at_unix_ms = e->unix_ms;
	deploy_reason(d, "", "", "", "");
}

void deploy_verdict(struct deploy *d, const struct deploy_event *e, const char *check,
		    const char *text, const char *log)
{
	struct deploy_record *r = &d->record;
	bool late = check && str_equal(check, "deadline");

	if (d->verdict)
		return; /* the first cause is the cause */
	d->verdict = true;
	deploy_outcome(d, e, OUTCOME_NONE, &r->rollout, &r->target.digest, r->attempt);
	deploy_reason(d, late ? "deadline" : verdict_phases[r->phase],
		      late ? verdict_phases[r->phase] : check, text, log);
}

static uint32_t veto_find(const struct deploy_record *r, const struct digest *release)
{
	uint32_t i = 0;

	while (i < r->vetoes_count && !digest_equal(&r->vetoes[i].release, release))
		i++;
	return i;
}

static void veto_delete(struct deploy_record *r, uint32_t index)
{
	memmove(&r->vetoes[index], &r->vetoes[index + 1],
		(r->vetoes_count - index - 1) * sizeof(r->vetoes[0]));
	r->vetoes_count--;
	r->vetoes[r->vetoes_count] = (struct deploy_veto){0};
}

void deploy_veto_add(struct deploy *d, const struct digest *release, uint64_t attempt)
{
	struct deploy_record *r = &d->record;
	uint32_t i = veto_find(r, release);

	if (i < r->vetoes_count) {
		attempt = attempt > r->vetoes[i].attempt ? attempt : r->vetoes[i].attempt;
		veto_delete(r, i); /* the newest goes to the end */
	} else if (r->vetoes_count == LIMIT_VETOES) {
		veto_delete(r, 0);
	}
	r->vetoes[r->vetoes_count++] = (struct deploy_veto){*release, attempt};
}

void deploy_veto_remove(struct deploy *d, const struct digest *release)
{
	uint32_t i = veto_find(&d->record, release);

	if (i < d->record.vetoes_count)
		veto_delete(&d->record, i);
}

/* Counts an end of a slot that shall run, and says when it is started again. */
void deploy_slot_restart(struct deploy *d, enum colour colour, uint64_t random)
{
	struct deploy_slot_state *s = &d->slots[colour];
	bool old = d->now_ms >= deploy_after(s->crash_window_ms, DEPLOY_CRASH_WINDOW_MS);

	if (s->crashes == 0 || old) {
		s->crashes = 0;
		s->crash_window_ms = d->now_ms;
	}
	s->crashes++;
	if (s->ready && d->now_ms >= deploy_after(s->started_ms, DEPLOY_RESTART_MAX_MS))
		s->restarts = 0;
	s->restarts += s->restarts < UINT32_MAX;
	s->start_at_ms = deploy_after(d->now_ms, backoff_ms(DEPLOY_RESTART_MIN_MS,
							    DEPLOY_RESTART_MAX_MS, s->restarts,
							    random));
	s->fact = DEPLOY_SLOT_EXITED;
	s->ready = s->healthy = s->fresh = false;
	s->probe_due_ms = 0;
}
