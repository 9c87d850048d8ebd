/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operators' event log. What happens within one entry point is collected and written in one
 * transaction at its end, so that a thousand nodes that report at once cost one fsync. Events tell;
 * nothing is decided from them, hence a crash in between may lose a line and nothing else.
 */
#include "coordinator/shell.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"

enum { EVENTS_KEPT = 100000, EVENTS_TRIM_EVERY = 1024, EVENTS_PENDING_MAX = 65536 };

void events_add(struct coordinator *c, const char *kind, const char *deployment,
		const struct rollout_id *rollout, const char *node, const char *format, ...)
{
	struct store_event *event;
	va_list args;

	if (c->pending_events_count == EVENTS_PENDING_MAX)
		return;
	MEM_GROW(c->pending_events, &c->pending_events_cap, c->pending_events_count);
	event = &c->pending_events[c->pending_events_count++];
	*event = (struct store_event){.at_ms = shell_now(c)};
	STR_CUT(event->kind, kind);
	STR_CUT(event->deployment, deployment ? deployment : "");
	STR_CUT(event->node, node ? node : "");
	if (rollout && !rollout_id_is_zero(rollout))
		rollout_id_text(event->rollout, rollout);
	va_start(args, format);
	vsnprintf(event->text, sizeof(event->text), format, args);
	va_end(args);
	log_debug("%s %s %s: %s", event->kind, event->deployment, event->node, event->text);
}

static int write_pending(struct coordinator *c, uint64_t *sequence, struct err *err)
{
	for (size_t i = 0; i < c->pending_events_count; i++) {
		int r = c->store->ops->event_append(c->store, &c->pending_events[i], sequence,
						    err);

		if (r < 0)
			return r;
		if (*sequence % EVENTS_TRIM_EVERY == 0 && *sequence > EVENTS_KEPT)
			r = c->store->ops->event_trim(c->store, *sequence - EVENTS_KEPT, err);
		if (r < 0)
			return r;
	}
	return 0;
}

void events_flush(struct coordinator *c)
{
	struct err err = {0};
	uint64_t sequence = c->events_sequence;
	int r;

	if (c->pending_events_count == 0)
		return;
	r = shell_begin(c, &err);
	if (r == 0)
		r = shell_end(c, write_pending(c, &sequence, &err), &err);
	if (r < 0) {
		shell_store_failed(c, r, &err);
		return;
	}
	c->events_sequence = sequence;
	c->pending_events_count = 0;
	c->change++;
}

int events_load(struct coordinator *c, struct err *err)
{
	return c->store->ops->event_last(c->store, &c->events_sequence, err);
}
