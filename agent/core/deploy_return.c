/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second half of every way back, and the end of a deployment on this node. A way back that
 * fails is not tried again and again: whatever answers stays, the outcome is FAILED, and only a
 * higher attempt or another release in desired state starts something new.
 */
#include "agent/core/deploy_state.h"

#include <stdio.h>

#define ACTION(name)                                                                               \
	void deploy_action_##name(__attribute__((unused)) struct deploy *d,                        \
				  __attribute__((unused)) const struct deploy_event *e)

ACTION(start_back)
{
	struct deploy_record *r = &d->record;
	enum colour colour = deploy_back_colour(d);

	deploy_slot_begin(d, colour, &r->back);
	r->slots[colour].proven = true; /* it was committed here once */
}

/* Commits the release that we went back to; what was committed after it is forgotten. */
static void commit_back(struct deploy_record *r, uint64_t now_ms)
{
	if (digest_equal(&r->committed.digest, &r->back.digest))
		return;
	if (digest_equal(&r->previous.digest, &r->back.digest))
		r->previous = (struct deploy_release){0};
	r->committed = r->back;
	r->committed_ms = now_ms;
}

ACTION(end_return)
{
	struct deploy_record *r = &d->record;
	bool drains = r->back_healthy && d->slots[r->target_colour].fact == DEPLOY_SLOT_RUNNING;

	if (drains)
		deploy_slot_drain(d, r->target_colour);
	else
		deploy_slot_kill(d, r->target_colour);
	r->serves = !digest_is_zero(&r->back.digest);
	if (r->serves) {
		r->serving = deploy_back_colour(d);
		commit_back(r, d->now_ms);
	} else {
		r->committed = r->previous = (struct deploy_release){0};
	}
	r->last.kind = r->ending;
	r->last.at_unix_ms = e->unix_ms;
	deploy_clear_change(d);
}

static void add_failure_text(struct deploy *d, const struct deploy_event *e)
{
	struct deploy_reason *reason = &d->record.last.reason;
	char text[LIMIT_REASON_TEXT + 1];
	int size;

	size = snprintf(text, sizeof(text), "%s%sgoing back failed%s%s", reason->text,
			reason->text[0] ? "; " : "", e->text ? ": " : "", e->text ? e->text : "");
	if (size < 0)
		return;
	STR_CUT(reason->text, text);
}

ACTION(keep_what_answers)
{
	struct deploy_record *r = &d->record;
	enum colour left = r->target_colour, back = deploy_back_colour(d);
	bool left_answers = r->serves && r->serving == left &&
			    d->slots[left].fact == DEPLOY_SLOT_RUNNING &&
			    r->slots[left].want == DEPLOY_WANT_RUN;

	r->no_return = r->back.digest;
	r->no_return_attempt = r->assignment.attempt;
	if (left_answers) {
		deploy_slot_kill(d, back);
	} else {
		deploy_slot_kill(d, left);
		r->serves = r->slots[back].want == DEPLOY_WANT_RUN;
		r->serving = back;
		r->committed = r->back;
	}
	r->last.kind = OUTCOME_FAILED;
	r->last.at_unix_ms = e->unix_ms;
	add_failure_text(d, e);
	deploy_clear_change(d);
}

ACTION(stay)
{
	struct deploy_record *r = &d->record;

	for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++) {
		if (r->slots[c].want != DEPLOY_WANT_DRAIN ||
		    !digest_equal(&r->slots[c].release.digest, &r->committed.digest))
			continue;
		deploy_slot_keep(d, c);
		r->serves = true;
		r->serving = c;
		return;
	}
}

/* Only the vetoes stay: a deployment of this name that comes back must respect them. */
ACTION(forget)
{
	struct deploy_record *r = &d->record;

	if (!r->assigned)
		r->assignment = (struct assignment){0};
	r->fetched = r->committed = r->previous = (struct deploy_release){0};
	r->no_return = (struct digest){0};
	r->last = (struct deploy_outcome){0};
}

