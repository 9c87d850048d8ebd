/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The deployment as the coordinator sees it. Every report is the whole truth, so it is computed
 * from the state each time and nothing is remembered about what was said before.
 */
#include "agent/core/deploy_state.h"

static enum slot_state slot_state(const struct deploy *d, enum colour colour)
{
	const struct deploy_record *r = &d->record;
	const struct deploy_slot_state *s = &d->slots[colour];
	enum deploy_want want = r->slots[colour].want;

	if (want == DEPLOY_WANT_NONE)
		return SLOT_STATE_EMPTY;
	if (want == DEPLOY_WANT_KILL || s->fact == DEPLOY_SLOT_EXITED)
		return SLOT_STATE_FAILED;
	if (want != DEPLOY_WANT_RUN)
		return SLOT_STATE_DRAINING;
	if (s->fact == DEPLOY_SLOT_EMPTY || !s->ready)
		return SLOT_STATE_STARTING;
	if (r->serves && r->serving == colour)
		return SLOT_STATE_SERVING;
	return r->slots[colour].drain_until_ms ? SLOT_STATE_DRAINING : SLOT_STATE_WARM;
}

static bool serves_healthy(const struct deploy *d)
{
	const struct deploy_record *r = &d->record;

	return r->serves && r->slots[r->serving].want == DEPLOY_WANT_RUN &&
	       d->slots[r->serving].fact == DEPLOY_SLOT_RUNNING && d->slots[r->serving].healthy;
}

/* FAILED is over when what desired state names serves and is healthy. */
static bool still_failed(const struct deploy *d)
{
	const struct assignment *a = &d->record.assignment;
	struct digest serving = deploy_serving(d);
	bool right = digest_equal(&serving, &a->base) ||
		     (!a->revert && digest_equal(&serving, &a->next));

	return d->record.last.kind == OUTCOME_FAILED &&
	       !(right && serves_healthy(d) && digest_equal(&serving, &d->record.committed.digest));
}

/* Rolled back in the rollout under way; or, later, what desired state still names, unless what
 * serves is what the rollout under way wants. */
static bool still_rolled_back(const struct deploy *d)
{
	const struct deploy_outcome *last = &d->record.last;
	const struct assignment *a = &d->record.assignment;
	struct digest serving = deploy_serving(d);
	bool wanted = !a->revert && a->goal != GOAL_NONE && digest_equal(&serving, &a->next);

	return last->kind == OUTCOME_ROLLED_BACK &&
	       (rollout_id_equal(&last->rollout, &a->rollout) ||
		(digest_equal(&last->release, &a->base) && !digest_equal(&serving, &a->base) &&
		 !wanted));
}

static enum node_state node_state(const struct deploy *d)
{
	const struct deploy_record *r = &d->record;

	if (r->phase != DEPLOY_IDLE)
		return deploy_phases[r->phase].state;
	if (still_failed(d))
		return NODE_STATE_FAILED;
	if (still_rolled_back(d))
		return NODE_STATE_ROLLED_BACK;
	return r->serves ? NODE_STATE_SERVING : NODE_STATE_PENDING;
}

static void report_subject(const struct deploy *d, struct deployment_report *f)
{
	const struct deploy_record *r = &d->record;
	struct digest serving = deploy_serving(d);

	if (r->phase != DEPLOY_IDLE) {
		f->target = r->target.digest;
		f->rollout = r->rollout;
		f->attempt = r->attempt;
		return;
	}
	f->target = serving;
	f->attempt = r->assignment.attempt;
	if (f->state == NODE_STATE_ROLLED_BACK || f->state == NODE_STATE_FAILED ||
	    digest_equal(&r->last.release, &serving)) {
		f->target = r->last.release;
		f->rollout = r->last.rollout;
		f->attempt = r->last.attempt;
	}
	if (r->serves && digest_equal(&serving, &r->assignment.next))
		f->rollout = r->assignment.rollout;
}

static void report_next(const struct deploy *d, struct deployment_report *f)
{
	const struct deploy_record *r = &d->record;
	const struct digest *next = &r->assignment.next;
	struct digest serving = deploy_serving(d);
	bool target = digest_equal(&r->target.digest, next);

	if (digest_is_zero(next))
		return;
	f->staged = digest_equal(&r->fetched.digest, next) || digest_equal(&serving, next) ||
		    (target && deploy_target_in(d, DEPLOY_STAGED, DEPLOY_BAKING));
	for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++)
		if (digest_equal(&r->slots[c].release.digest, next) && r->slots[c].proven &&
		    r->slots[c].want == DEPLOY_WANT_RUN && d->slots[c].healthy)
			f->proven = !target || deploy_target_in(d, DEPLOY_PROVEN, DEPLOY_BAKING);
}

static void report_last(struct deploy *d, struct outcome *last)
{
	struct deploy_outcome *from = &d->record.last;

	last->kind = from->kind;
	last->rollout = from->rollout;
	last->release = from->release;
	last->attempt = from->attempt;
	last->at_unix_ms = from->at_unix_ms;
	STR_CUT(last->reason.phase, from->reason.phase);
	STR_CUT(last->reason.check, from->reason.check);
	STR_CUT(last->reason.text, from->reason.text);
	last->reason.log = from->reason.log[0] ? from->reason.log : NULL;
}

void deploy_report(const struct deploy *deploy, struct deployment_report *ret_report)
{
	const struct deploy_record *r = &deploy->record;
	struct deployment_report *f = ret_report;

	*f = (struct deployment_report){0};
	STR_CUT(f->deployment, r->name);
	f->state = node_state(deploy);
	f->release = deploy_serving(deploy);
	f->healthy = serves_healthy(deploy);
	f->bytes_done = deploy->bytes_done;
	f->bytes_total = deploy->bytes_total;
	for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++)
		f->slots[c] = (struct slot_report){c, slot_state(deploy, c),
						   r->slots[c].release.digest};
	report_subject(deploy, f);
	report_next(deploy, f);
	report_last((struct deploy *)deploy, &f->last); /* struct reason has a plain char * */
}
