/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes measured. Records are committed before they are acknowledged, those that come together
 * in one transaction; a node's records come in the order of their names (boot epoch, sequence), so
 * one mark for each node tells what was counted already, however often it comes again and however
 * long ago its rows were trimmed.
 */
#include "coordinator/rollouts.h"

#include "base/mem.h"
#include "base/str.h"
#include "evidence/record.h"
#include "protocol/codec_tables.h"

enum { OBSERVED_INBOX_MAX = 32, OBSERVATIONS_KEPT = 300000, OBSERVATIONS_TRIM_EVERY = 1024 };

struct shell_observed { /* a message that is not committed yet; the node may go meanwhile */
	struct node_id node;
	struct msg_observed message; /* owned */
	struct store_mark mark;	     /* of the node, once the message is stored */
};

/* ---- the inbox ---- */

void observations_add(struct coordinator *c, const struct shell_node *node,
		      struct msg_observed *message)
{
	if (!c->observed)
		c->observed = mem_array(OBSERVED_INBOX_MAX, sizeof(*c->observed));
	c->observed[c->observed_count++] =
		(struct shell_observed){.node = node->record.id, .message = *message};
	memset(message, 0, sizeof(*message));
	if (c->observed_count == OBSERVED_INBOX_MAX)
		observations_take(c);
}

static void empty(struct coordinator *c)
{
	for (size_t i = 0; i < c->observed_count; i++)
		codec_free(&codec_msg_observed, &c->observed[i].message);
	c->observed_count = 0;
}

void observations_free_all(struct coordinator *c)
{
	empty(c);
	free(c->observed);
}

/* ---- loading ---- */

static int load_mark(void *arg, const struct store_mark *mark)
{
	struct shell_node *node = agents_find(arg, &mark->node);

	if (node)
		node->observed = *mark;
	return 0;
}

int observations_load(struct coordinator *c, struct err *err)
{
	return c->store->ops->mark_each(c->store, load_mark, c, err);
}

/* ---- storing ---- */

static bool is_news(const struct observation_record *record, const struct store_mark *mark)
{
	return record_order(record, mark->boot_epoch, mark->sequence) > 0;
}

static int append(struct coordinator *c, const struct store_mark *mark,
		  const struct observation_record *record, struct err *err)
{
	struct store_observation row = {.node = mark->node,
					.boot_epoch = record->boot_epoch,
					.sequence = record->sequence,
					.release = record->release,
					.rollout = record->rollout,
					.received_ms = shell_now(c)};
	int r = codec_encode(&codec_observation_record, record, LIMIT_AGENT_MESSAGE, &row.record,
			     err);

	STR_CUT(row.deployment, record->deployment);
	if (r == 0)
		r = c->store->ops->observation_append(c->store, &row, err);
	free(row.record.data);
	return r;
}

/* A record about nothing that we know is passed over, and acknowledged: the node is to forget it. */
static bool is_wanted(const struct coordinator *c, const struct observation_record *record)
{
	return record->boot_epoch <= INT64_MAX && record->sequence <= INT64_MAX &&
	       deployments_find(c, record->deployment) != NULL &&
	       artifacts_find(c, &record->release) != NULL;
}

static int store_message(struct coordinator *c, struct shell_observed *observed, struct err *err)
{
	const struct shell_node *node = agents_find(c, &observed->node);
	int r = 0;

	if (!node)
		return 0;
	for (size_t i = 0; i < c->observed_count; i++) /* an earlier one of the same node */
		if (&c->observed[i] < observed &&
		    node_id_equal(&c->observed[i].node, &observed->node))
			observed->mark = c->observed[i].mark;
	if (observed->mark.sequence == 0)
		observed->mark = node->observed;
	observed->mark.node = observed->node;
	for (size_t i = 0; r == 0 && i < observed->message.records_count; i++) {
		const struct observation_record *record = &observed->message.records[i];

		if (!is_news(record, &observed->mark))
			continue;
		if (is_wanted(c, record))
			r = append(c, &observed->mark, record, err);
		observed->mark.boot_epoch = record->boot_epoch;
		observed->mark.sequence = record->sequence;
	}
	if (r == 0 && observed->mark.sequence > 0)
		r = c->store->ops->mark_put(c->store, &observed->mark, err);
	return r;
}

static int trim(struct coordinator *c, struct err *err)
{
	uint64_t last = 0;
	int r = c->store->ops->observation_last(c->store, &last, err);

	if (r == 0 && last > OBSERVATIONS_KEPT && last >= c->observations_trimmed +
	    OBSERVATIONS_KEPT + OBSERVATIONS_TRIM_EVERY) {
		r = c->store->ops->observation_trim(c->store, last - OBSERVATIONS_KEPT, err);
		if (r == 0)
			c->observations_trimmed = last - OBSERVATIONS_KEPT;
	}
	return r;
}

static int store_inbox(struct coordinator *c, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->observed_count; i++)
		r = store_message(c, &c->observed[i], err);
	for (size_t i = 0; r == 0 && i < c->observed_count; i++)
		r = baselines_propose(c, &c->observed[i].message, err);
	return r == 0 ? trim(c, err) : r;
}

/* ---- taking over ---- */

static void acknowledge(struct coordinator *c, const struct shell_node *node)
{
	struct msg_observed_ack ack = {.boot_epoch = node->observed.boot_epoch,
				       .sequence = node->observed.sequence};

	agents_send(c, &node->record.id, MESSAGE_OBSERVED_ACK, &ack);
}

static void take(struct coordinator *c, const struct shell_observed *observed)
{
	struct shell_node *node = agents_find(c, &observed->node);

	if (!node)
		return;
	if (observed->mark.sequence > 0)
		node->observed = observed->mark;
	acknowledge(c, node);
	baselines_send(c, node, &observed->message);
}

void observations_take(struct coordinator *c)
{
	struct err err = {0};
	int r;

	if (c->observed_count == 0)
		return;
	r = shell_begin(c, &err);
	if (r == 0)
		r = shell_end(c, store_inbox(c, &err), &err);
	if (r < 0) { /* not acknowledged: they come again */
		shell_store_failed(c, r, &err);
		baselines_forget(c);
	}
	c->observations_fresh = c->observations_fresh || r == 0;
	for (size_t i = 0; r == 0 && i < c->observed_count; i++)
		take(c, &c->observed[i]);
	empty(c);
}

/* ---- reading ---- */

struct reading {
	observations_fn *fn;
	void *arg;
	struct err *err;
};

static int read_one(void *arg, const struct store_observation *row)
{
	const struct reading *reading = arg;
	struct observation_record record;
	int r = codec_decode(&codec_observation_record, row->record.data, row->record.size,
			     &record, reading->err);

	if (r < 0)
		return err_prefix(reading->err, r, "observation %llu",
				  (unsigned long long)row->id);
	r = reading->fn(reading->arg, row, &record);
	codec_free(&codec_observation_record, &record);
	return r;
}

int observations_each(struct coordinator *c, const char *deployment, uint64_t since,
		      uint64_t limit, observations_fn *fn, void *arg, struct err *err)
{
	struct reading reading = {fn, arg, err};

	return c->store->ops->observation_each(c->store, deployment, since, limit, read_one,
					       &reading, err);
}
