/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operators' event log. What happens within one entry point is collected and written in one
 * transaction at its end, so that a thousand nodes that report at once cost one fsync. Events tell;
 * nothing is decided from them, hence a crash in between may lose a line and nothing else.
 */
#include "coordinator/shell.h"

#include "base/log.h"
#include "base/log_ids.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"

enum { EVENTS_KEPT = 100000, EVENTS_TRIM_EVERY = 1024, EVENTS_PENDING_MAX = 65536 };

/* What goes to the system's journal as well. */
static const struct {
	const char *kind, *id;
	enum log_level level;
} told[] = {
	{"node joined", LOG_ID_NODE_JOINED, LOG_LEVEL_INFO},
	{"join refused", LOG_ID_JOIN_REFUSED, LOG_LEVEL_WARNING},
	{"node unreachable", LOG_ID_NODE_UNREACHABLE, LOG_LEVEL_WARNING},
	{"node outcome", LOG_ID_NODE_OUTCOME, LOG_LEVEL_INFO},
	{"rollout", LOG_ID_ROLLOUT, LOG_LEVEL_INFO},
	{"node_failed", LOG_ID_NODE_FAILED, LOG_LEVEL_WARNING},
	{"fuse", LOG_ID_FUSE, LOG_LEVEL_ERR},
	{"freeze", LOG_ID_FREEZE, LOG_LEVEL_WARNING},
	{"unfreeze", LOG_ID_FREEZE, LOG_LEVEL_INFO},
	{"epoch", LOG_ID_EPOCH, LOG_LEVEL_WARNING},
};

static void tell_journal(const struct store_event *event)
{
	struct log_event line = {.level = LOG_LEVEL_DEBUG,
				 .deployment = event->deployment,
				 .rollout = event->rollout,
				 .node = event->node};

	for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
		if (!str_equal(told[i].kind, event->kind))
			continue;
		line.id = told[i].id;
		line.level = told[i].level;
	}
	log_event(&line, "%s%s%s%s%s: %s", event->kind, event->deployment[0] ? " " : "",
		  event->deployment, event->node[0] ? " " : "", event->node, event->text);
}

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
	tell_journal(event);
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
