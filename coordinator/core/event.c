/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events are flat copies: what a rollout needs of a node's report, without the heap behind it, so
 * that the journal can keep them for as long as the rollout is of interest.
 */
#include "coordinator/core/event.h"

#include "base/str.h"

#include <assert.h>

#define X(name, text) text,
static const char *const event_names[] = {ROLLOUT_EVENTS(X)};
#undef X
static const char *const verdict_names[VERDICT_COUNT] = {"none", "pass", "fail", "inconclusive",
                                                         "promised"};

struct rollout_event rollout_event_make(enum rollout_event_kind kind, uint64_t at_ms, uint32_t node)
{
	return (struct rollout_event){.kind = kind, .at_ms = at_ms, .node = node};
}

struct rollout_event rollout_event_report(uint64_t at_ms, uint32_t node,
                                          const struct deployment_report *report, bool current)
{
	struct rollout_event event = rollout_event_make(EVENT_NODE_REPORT, at_ms, node);
	const struct outcome *last;

	event.current = current;
	if (!report)
		return event;
	last = &report->last;
	event.state = report->state;
	event.release = report->release;
	event.target = report->target;
	event.rollout = report->rollout;
	event.attempt = report->attempt;
	event.staged = report->staged;
	event.proven = report->proven;
	event.healthy = report->healthy;
	if (report->state != NODE_STATE_ROLLED_BACK && report->state != NODE_STATE_FAILED)
		return event;
	if (digest_equal(&last->release, &report->target) && last->attempt == report->attempt) {
		STR_CUT(event.why.phase, last->reason.phase);
		STR_CUT(event.why.check, last->reason.check);
		STR_CUT(event.why.text, last->reason.text);
	}
	return event;
}

const char *rollout_event_name(enum rollout_event_kind kind)
{
	assert(kind < EVENT_COUNT);
	return event_names[kind];
}

const char *verdict_name(enum verdict verdict)
{
	assert(verdict < VERDICT_COUNT);
	return verdict_names[verdict];
}
