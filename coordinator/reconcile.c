/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Level-driven: what the machines believe about the fleet is compared with what is so, and the
 * differences are fed to them until none is left: nodes that left, fell silent, came back or are
 * new, windows, the freeze, time, what other rollouts do to a node. Then what has ended is written
 * down as ended, with the new base of its deployment.
 */
#include "coordinator/rollouts.h"

#include "base/str.h"
#include "protocol/codec_tables.h"

enum { ROUNDS_MAX = 4096, RECONCILE_AGAIN_MS = 10 };

/* ---- when to look ---- */

/* A machine's deadline follows from its state alone, and costs a look at every node. */
static uint64_t own_deadline(struct shell_rollout *ro)
{
	if (ro->deadline_known && ro->deadline_change == ro->machine->changes)
		return ro->deadline_ms;
	ro->deadline_known = true;
	ro->deadline_change = ro->machine->changes;
	ro->deadline_ms = rollout_deadline(ro->machine);
	return ro->deadline_ms;
}

uint64_t rollouts_deadline(const struct coordinator *c)
{
	uint64_t at = UINT64_MAX;

	for (size_t i = 0; i < c->rollouts_count; i++) {
		struct shell_rollout *ro = c->rollouts[i];
		uint64_t window = windows_next_change(&ro->spec.windows, c->reconciled_ms);
		uint64_t own;

		if (!rollouts_under_way(ro))
			continue;
		own = own_deadline(ro);
		/* Never again at once: a machine that does not move must not spin the loop. */
		if (own < c->reconciled_ms + RECONCILE_AGAIN_MS)
			own = c->reconciled_ms + RECONCILE_AGAIN_MS;
		at = own < at ? own : at;
		at = window < at ? window : at;
	}
	return at;
}

/* ---- reconcile ---- */

static void group_of(const struct shell_node *node, const char *key,
		     char dst[LIMIT_LABEL_VALUE + 1])
{
	dst[0] = '\0';
	for (size_t i = 0; *key && i < node->record.labels_count; i++) {
		if (str_equal(node->record.labels[i].key, key))
			str_cut(dst, LIMIT_LABEL_VALUE + 1, node->record.labels[i].value);
	}
}

static bool belongs(const struct shell_rollout *ro, const struct shell_node *node)
{
	return agents_may_change(node) && agents_matches(node, ro->spec.selector);
}

/* Nodes of the machine that left, fell silent or came back. */
static int feed_members(struct rollout_batch *batch, struct shell_rollout *ro)
{
	struct rollout *machine = ro->machine;
	uint64_t now = shell_now(batch->c);
	int fed = 0, r;

	for (uint32_t i = 0; i < machine->nodes_count; i++) {
		const struct shell_node *node = agents_find(batch->c, &machine->nodes[i].id);
		bool gone = !node || !belongs(ro, node);
		struct rollout_event event;

		if (gone && !machine->nodes[i].gone)
			event = rollout_event_make(EVENT_NODE_GONE, now, i);
		else if (!gone && node->silent && machine->nodes[i].reachable)
			event = rollout_event_make(EVENT_NODE_UNREACHABLE, now, i);
		else if (!gone && !node->silent && !machine->nodes[i].reachable)
			event = rollout_event_make(EVENT_NODE_REACHABLE, now, i);
		else
			continue;
		r = rollouts_batch_feed(batch, ro, &event);
		if (r < 0)
			return r;
		fed += r;
	}
	return fed;
}

/* Nodes that match and are not in the machine: new, labelled, uncordoned. */
static int feed_joined(struct rollout_batch *batch, struct shell_rollout *ro)
{
	struct coordinator *c = batch->c;
	int fed = 0, r;

	for (size_t i = 0; i < c->nodes_count; i++) {
		const struct shell_node *node = c->nodes[i];
		uint32_t index = rollout_find(ro->machine, &node->record.id);
		struct rollout_event event;

		if (!belongs(ro, node) ||
		    (index != ROLLOUT_NO_NODE && !ro->machine->nodes[index].gone))
			continue;
		event = rollout_event_make(EVENT_NODE_JOINED, shell_now(c), index);
		event.id = node->record.id;
		event.reachable = !node->silent;
		group_of(node, ro->spec.per_label, event.group);
		r = rollouts_batch_feed(batch, ro, &event);
		if (r < 0)
			return r;
		fed += r;
	}
	return fed;
}

/* Time, windows and the freeze. */
static int feed_time(struct rollout_batch *batch, struct shell_rollout *ro)
{
	uint64_t now = shell_now(batch->c);
	bool closed = !windows_is_open(&ro->spec.windows, now);
	enum rollout_event_kind kind = EVENT_COUNT;
	struct rollout_event event;

	if (closed != ro->machine->window_closed)
		kind = closed ? EVENT_WINDOW_CLOSED : EVENT_WINDOW_OPEN;
	else if (batch->c->frozen != ro->machine->frozen)
		kind = batch->c->frozen ? EVENT_FREEZE : EVENT_UNFREEZE;
	else if (own_deadline(ro) <= now)
		kind = EVENT_TICK;
	if (kind == EVENT_COUNT)
		return 0;
	event = rollout_event_make(kind, now, ROLLOUT_NO_NODE);
	return rollouts_batch_feed(batch, ro, &event);
}

int rollouts_batch_busy(struct rollout_batch *batch)
{
	struct shell_rollout **live = NULL;
	size_t count = 0;
	AUTO_FREE const struct rollout **machines = rollouts_machines(batch->c, &live, &count);
	struct fleet_busy busy;
	int fed = 0, r = 0;

	/* A rollout that was alone the last time too is in nobody's way. */
	if (count <= 1 && batch->c->machines_before <= 1)
		count = 0;
	for (size_t round = 0; round < ROUNDS_MAX && fleet_next_busy(machines, count, &busy);
	     round++) {
		struct rollout_event event =
			rollout_event_make(busy.busy ? EVENT_NODE_BUSY : EVENT_NODE_FREE,
					   shell_now(batch->c), busy.node);

		r = rollouts_batch_feed(batch, live[busy.rollout], &event);
		if (r <= 0)
			break;
		fed++;
	}
	free(live);
	if (r >= 0)
		batch->c->machines_before = count;
	return r < 0 ? r : fed;
}

typedef int feed_fn(struct rollout_batch *batch, struct shell_rollout *ro);

static int feed_others(struct rollout_batch *batch, struct shell_rollout *ro)
{
	return rollouts_batch_busy(batch); /* what the one before has just begun */
}

static int reconcile_round(struct rollout_batch *batch, bool fleet)
{
	static const struct {
		feed_fn *feed;
		bool fleet; /* only when the fleet has changed */
	} feeds[] = {{feed_others, false}, {feed_members, true}, {feed_joined, true},
		     {feed_time, false}};
	struct coordinator *c = batch->c;
	int fed = 0, r = 0;

	for (size_t i = 0; r >= 0 && i < c->rollouts_count; i++) {
		if (!rollouts_under_way(c->rollouts[i]))
			continue;
		for (size_t k = 0; r >= 0 && k < ARRAY_SIZE(feeds); k++) {
			if (feeds[k].fleet && !fleet)
				continue;
			r = feeds[k].feed(batch, c->rollouts[i]);
			fed += r > 0 ? r : 0;
		}
	}
	if (r < 0)
		return r;
	r = rollouts_batch_busy(batch);
	return r < 0 ? r : fed + r;
}

/* ---- the end of a rollout ---- */

static int store_end(struct coordinator *c, const struct shell_rollout *ro,
		     struct shell_deployment *deployment, struct err *err)
{
	const struct rollout *machine = ro->machine;
	struct store_deployment record;
	int r = c->store->ops->rollout_end(c->store, &ro->head.id,
					   rollout_state_name(machine->state), machine->ended_ms,
					   err);

	if (r < 0 || machine->state != ROLLOUT_COMPLETED || !deployment)
		return r;
	record = deployment->record;
	record.base = machine->to;
	record.changed_ms = machine->ended_ms;
	r = codec_encode(&codec_deployment_spec, &ro->spec, LIMIT_MANIFEST, &record.spec, err);
	if (r == 0)
		r = c->store->ops->deployment_put(c->store, &record, err);
	free(record.spec.data);
	return r;
}

void rollouts_take_end(struct coordinator *c, struct shell_rollout *ro,
		       struct shell_deployment *deployment)
{
	ro->head.ended = true;
	ro->head.ended_ms = ro->machine->ended_ms;
	STR_CUT(ro->head.state, rollout_state_name(ro->machine->state));
	for (size_t i = 0; i < c->history_count; i++) {
		if (rollout_id_equal(&c->history[i].id, &ro->head.id))
			c->history[i] = ro->head;
	}
	c->dirty = true;
	if (ro->machine->state != ROLLOUT_COMPLETED || !deployment)
		return;
	deployment->record.base = ro->machine->to;
	deployment->record.changed_ms = ro->machine->ended_ms;
	deployment_spec_free(&deployment->spec);
	codec_copy(&codec_deployment_spec, &deployment->spec, &ro->spec);
}

static int finish_ended(struct coordinator *c, struct err *err)
{
	for (size_t i = 0; i < c->rollouts_count; i++) {
		struct shell_rollout *ro = c->rollouts[i];
		struct shell_deployment *deployment;
		int r;

		if (ro->head.ended || rollouts_under_way(ro))
			continue;
		deployment = deployments_find(c, ro->head.deployment);
		r = shell_begin(c, err);
		if (r == 0)
			r = shell_end(c, store_end(c, ro, deployment, err), err);
		if (r < 0)
			return r;
		rollouts_take_end(c, ro, deployment);
	}
	return 0;
}

int rollouts_reconcile(struct coordinator *c, struct err *err)
{
	struct rollout_batch batch = {.c = c, .err = err};
	bool fleet = c->fleet_changed;
	int r = rollouts_reread(c, err);

	if (r < 0)
		return r;
	for (size_t round = 0; round < ROUNDS_MAX; round++) {
		r = reconcile_round(&batch, fleet);
		fleet = false;
		if (r <= 0)
			break;
	}
	r = rollouts_batch_end(&batch, r);
	if (r < 0)
		return r;
	c->reconciled_ms = shell_now(c);
	r = finish_ended(c, err);
	if (r == 0)
		c->fleet_changed = c->unsettled = false;
	return r;
}
