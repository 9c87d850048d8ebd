/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes report. A status is committed before it is acknowledged, and those that come together
 * are committed together: a fleet that comes back at once costs a few fsyncs, not one for each
 * node. A status that says nothing new writes nothing.
 */
#include "coordinator/rollouts.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"

enum { INBOX_MAX = 128 };

struct shell_inbox {
	struct shell_node *node;
	struct node_status status; /* owned */
};

/* ---- the inbox ---- */

void reports_add(struct coordinator *c, struct shell_node *node, struct node_status *status)
{
	if (!c->inbox)
		c->inbox = mem_array(INBOX_MAX, sizeof(*c->inbox));
	c->inbox[c->inbox_count].node = node;
	c->inbox[c->inbox_count++].status = *status;
	memset(status, 0, sizeof(*status));
	if (c->inbox_count == INBOX_MAX)
		reports_take(c);
}

static void empty(struct coordinator *c)
{
	for (size_t i = 0; i < c->inbox_count; i++)
		codec_free(&codec_node_status, &c->inbox[i].status);
	c->inbox_count = 0;
}

void reports_free_all(struct coordinator *c)
{
	empty(c);
	free(c->inbox);
}

/* ---- storing ---- */

static bool is_older(const struct node_status *status, const struct node_status *than)
{
	return status->boot_epoch < than->boot_epoch ||
	       (status->boot_epoch == than->boot_epoch && status->sequence < than->sequence);
}

/* Older than what is known: a copy that was delayed. */
static bool is_stale(const struct shell_node *node, const struct node_status *status)
{
	return node->has_status && is_older(status, &node->status);
}

/* Older than one that came with it, just before. */
static bool is_overtaken(const struct coordinator *c, size_t item)
{
	for (size_t i = 0; i < item; i++)
		if (c->inbox[i].node == c->inbox[item].node &&
		    is_older(&c->inbox[item].status, &c->inbox[i].status))
			return true;
	return false;
}

static bool is_same(const struct shell_node *node, const struct node_status *status)
{
	return node->has_status && codec_equal(&codec_node_status, &node->status, status);
}

static int store_inventory(struct rollout_batch *batch, const struct shell_node *node,
			   const struct node_status *status)
{
	struct coordinator *c = batch->c;
	struct store_node record = node->record;
	struct bytes inventory = {0};
	int r = codec_encode(&codec_inventory, &status->inventory, LIMIT_AGENT_MESSAGE, &inventory,
			     batch->err);

	record.inventory = inventory;
	record.last_seen_ms = node->seen_ms;
	if (r == 0)
		r = c->store->ops->node_put(c->store, &record, batch->err);
	free(inventory.data);
	return r;
}

static int store_status(struct rollout_batch *batch, const struct shell_node *node,
			const struct node_status *status)
{
	struct coordinator *c = batch->c;
	struct store_report report = {.node = node->record.id,
				      .boot_epoch = status->boot_epoch,
				      .sequence = status->sequence};
	int r = rollouts_batch_open(batch);

	if (r == 0)
		r = codec_encode(&codec_node_status, status, LIMIT_AGENT_MESSAGE, &report.status,
				 batch->err);
	if (r == 0)
		r = c->store->ops->report_put(c->store, &report, batch->err);
	free(report.status.data);
	if (r == 0 && !codec_equal(&codec_inventory, &node->inventory, &status->inventory))
		r = store_inventory(batch, node, status);
	return r;
}

/* The events that a status makes for the machines. */
static int feed(struct rollout_batch *batch, const struct shell_node *node,
		const struct node_status *status, bool current)
{
	struct shell_feed feeds[LIMIT_DEPLOYMENTS_PER_NODE];
	size_t count = rollouts_of_status(batch->c, node, status, current, feeds,
					  ARRAY_SIZE(feeds));
	int r = 0;

	for (size_t i = 0; r >= 0 && i < count; i++) {
		r = rollouts_batch_feed(batch, feeds[i].rollout, &feeds[i].event);
		if (r > 0) /* the other rollouts hear what this one has begun before their turn */
			r = rollouts_batch_busy(batch);
	}
	return r < 0 ? r : 0;
}

static int store_inbox(struct rollout_batch *batch)
{
	struct coordinator *c = batch->c;
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->inbox_count; i++) {
		struct shell_node *node = c->inbox[i].node;
		struct node_status *status = &c->inbox[i].status;

		agents_check_future(c, node, status->epoch, status->generation);
		if (is_stale(node, status) || is_overtaken(c, i))
			continue;
		if (!is_same(node, status))
			r = store_status(batch, node, status);
		if (r == 0)
			r = feed(batch, node, status,
				 agents_is_newest(c, node, status->epoch, status->generation));
	}
	return r;
}

/* ---- taking over ---- */

static void tell_outcomes(struct coordinator *c, const struct shell_node *node,
			  const struct node_status *status)
{
	static const char *const kinds[OUTCOME_COUNT] = {"none",    "completed", "rolled back",
							 "aborted", "failed",	 "unreachable"};
	char name[SHELL_TEXT_RELEASE];

	for (size_t i = 0; i < status->deployments_count; i++) {
		const struct deployment_report *now = &status->deployments[i];
		const struct deployment_report *before = agents_report(node, now->deployment);

		if (now->last.kind == OUTCOME_NONE ||
		    (before && before->last.at_unix_ms == now->last.at_unix_ms &&
		     before->last.kind == now->last.kind))
			continue;
		artifacts_name(c, &now->last.release, name);
		events_add(c, "node outcome", now->deployment, &now->last.rollout,
			   node->record.name, "%s: %s%s%s", name, kinds[now->last.kind],
			   now->last.reason.text[0] ? ": " : "", now->last.reason.text);
	}
}

static void take_inventory(struct shell_node *node, const struct inventory *inventory)
{
	struct store_node record = node->record;

	if (codec_equal(&codec_inventory, &node->inventory, inventory) ||
	    codec_encode(&codec_inventory, inventory, LIMIT_AGENT_MESSAGE, &record.inventory,
			 NULL) < 0)
		return;
	record.last_seen_ms = node->seen_ms;
	agents_set_record(node, &record);
	free(record.inventory.data);
}

static void remember_rate(struct shell_node *node, const struct node_status *status)
{
	for (size_t i = 0; i < status->deployments_count; i++)
		if (status->deployments[i].fetch_rate > 0)
			node->fetch_rate = status->deployments[i].fetch_rate;
}

static void take(struct coordinator *c, struct shell_node *node, struct node_status *status)
{
	if (!is_stale(node, status)) {
		tell_outcomes(c, node, status);
		take_inventory(node, &status->inventory);
		codec_free(&codec_node_status, &node->status);
		remember_rate(node, status);
		node->status = *status;
		node->has_status = true;
		exchange_changed(c);
		memset(status, 0, sizeof(*status));
	}
	agents_acknowledge(c, node, false);
}

void reports_take(struct coordinator *c)
{
	struct err err = {0};
	struct rollout_batch batch = {.c = c, .err = &err};
	int r;

	if (c->inbox_count == 0)
		return;
	r = rollouts_batch_end(&batch, store_inbox(&batch));
	if (r < 0)
		shell_store_failed(c, r, &err); /* not acknowledged: they come again */
	for (size_t i = 0; r == 0 && i < c->inbox_count; i++)
		take(c, c->inbox[i].node, &c->inbox[i].status);
	empty(c);
}

/* ---- judging again ---- */

/* The node has not changed, but it knows a newer desired state by now: its old report answers that. */
int reports_confirm(struct coordinator *c, struct shell_node *node, struct err *err)
{
	struct rollout_batch batch = {.c = c, .err = err};

	if (!agents_is_current(c, node))
		return 0;
	return rollouts_batch_end(&batch, feed(&batch, node, &node->status, true));
}
