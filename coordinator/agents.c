/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes as the coordinator knows them, and what they say. A status is committed before it is
 * acknowledged; one that says nothing new writes nothing. Leases live in memory and are written in
 * batches: after a restart nobody counts as silent before one grace window is over, so what a crash
 * loses of them is never missed.
 */
#include "coordinator/shell.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/selector.h"
#include "base/str.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

enum { SEEN_FLUSH_MS = 30000, SEEN_WRITE_AFTER_MS = 60000 };

/* ---- the table ---- */

static size_t position(const struct coordinator *c, const struct node_id *id)
{
	size_t low = 0, high = c->nodes_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(c->nodes[middle]->record.id.bytes, id->bytes, NODE_ID_SIZE) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct shell_node *agents_find(const struct coordinator *c, const struct node_id *id)
{
	size_t at = position(c, id);

	return at < c->nodes_count && node_id_equal(&c->nodes[at]->record.id, id) ? c->nodes[at]
										  : NULL;
}

void agents_set_record(struct shell_node *node, const struct store_node *record)
{
	struct store_node copy = *record;

	copy.labels = record->labels_count
			      ? mem_copy(record->labels,
					 record->labels_count * sizeof(*record->labels))
			      : NULL;
	copy.inventory.data = record->inventory.size ? mem_copy(record->inventory.data,
								record->inventory.size)
						     : NULL;
	free(node->record.labels);
	free(node->record.inventory.data);
	node->record = copy;
	codec_free(&codec_inventory, &node->inventory);
	if (codec_decode(&codec_inventory, copy.inventory.data, copy.inventory.size,
			 &node->inventory, NULL) < 0)
		memset(&node->inventory, 0, sizeof(node->inventory));
}

struct shell_node *agents_insert(struct coordinator *c, const struct store_node *record)
{
	size_t at = position(c, &record->id);
	struct shell_node *node = mem_alloc(sizeof(*node));

	agents_set_record(node, record);
	node->seen_ms = record->last_seen_ms;
	node->seen_written_ms = record->last_seen_ms;
	node->silent = record->last_seen_ms == 0; /* joined, but its agent never came */
	MEM_GROW(c->nodes, &c->nodes_cap, c->nodes_count);
	memmove(&c->nodes[at + 1], &c->nodes[at], (c->nodes_count - at) * sizeof(*c->nodes));
	c->nodes[at] = node;
	c->nodes_count++;
	exchange_add(c, node);
	return node;
}

static void node_free(struct shell_node *node)
{
	free(node->record.labels);
	free(node->record.inventory.data);
	codec_free(&codec_inventory, &node->inventory);
	codec_free(&codec_node_status, &node->status);
	codec_free(&codec_desired_state, &node->desired);
	codec_free(&codec_msg_peer_report, &node->peering);
	free(node->troubles);
	free(node);
}

void agents_remove(struct coordinator *c, const struct node_id *id)
{
	size_t at = position(c, id);

	exchange_remove(c, c->nodes[at]);
	node_free(c->nodes[at]);
	c->nodes_count--;
	memmove(&c->nodes[at], &c->nodes[at + 1], (c->nodes_count - at) * sizeof(*c->nodes));
}

void agents_free_all(struct coordinator *c)
{
	for (size_t i = 0; i < c->nodes_count; i++)
		node_free(c->nodes[i]);
	free(c->nodes);
	free(c->slots);
}

/* ---- loading ---- */

static int load_node(void *arg, const struct store_node *record)
{
	agents_insert(arg, record);
	return 0;
}

static int load_report(void *arg, const struct store_report *report)
{
	struct shell_node *node = agents_find(arg, &report->node);
	int r;

	if (!node)
		return 0;
	r = codec_decode(&codec_node_status, report->status.data, report->status.size,
			 &node->status, NULL);
	if (r < 0)
		return -EUCLEAN;
	node->has_status = true;
	return 0;
}

static int load_desired(void *arg, const struct store_desired *desired)
{
	struct shell_node *node = agents_find(arg, &desired->node);

	if (!node)
		return 0;
	node->desired.epoch = desired->epoch;
	node->desired.generation = desired->generation;
	node->desired_digest = desired->digest;
	return 0;
}

int agents_load(struct coordinator *c, struct err *err)
{
	const struct store_ops *ops = c->store->ops;
	int r = ops->node_each(c->store, load_node, c, err);

	if (r == 0)
		r = ops->report_each(c->store, load_report, c, err);
	if (r == 0)
		r = ops->desired_each(c->store, load_desired, c, err);
	return r;
}

/* ---- questions ---- */

bool agents_may_change(const struct shell_node *node)
{
	return !node->record.pending && !node->record.cordoned && !node->record.revoked;
}

const char *agents_state(const struct shell_node *node)
{
	if (node->record.revoked)
		return "revoked";
	if (node->record.pending)
		return "pending";
	if (node->record.cordoned)
		return "cordoned";
	return node->silent ? "unreachable" : "online";
}

const struct deployment_report *agents_report(const struct shell_node *node,
					      const char *deployment)
{
	for (size_t i = 0; i < node->status.deployments_count; i++) {
		if (str_equal(node->status.deployments[i].deployment, deployment))
			return &node->status.deployments[i];
	}
	return NULL;
}

bool agents_is_newest(struct coordinator *c, const struct shell_node *node, uint64_t epoch,
		      uint64_t generation)
{
	return node->desired_made && epoch == node->desired.epoch &&
	       generation >= node->desired.generation &&
	       (!c->dirty || desired_stays(c, node));
}

bool agents_is_current(struct coordinator *c, const struct shell_node *node)
{
	return node->has_status &&
	       agents_is_newest(c, node, node->known_epoch, node->known_generation);
}

bool agents_matches(const struct shell_node *node, const char *selector)
{
	struct selector_label labels[LIMIT_LABELS];
	size_t count = node->record.labels_count;

	for (size_t i = 0; i < count; i++)
		labels[i] = (struct selector_label){node->record.labels[i].key,
						    node->record.labels[i].value};
	return selector_matches(selector, labels, count);
}

bool coordinator_admits_node(const struct coordinator *c, const struct node_id *id)
{
	const struct shell_node *node = agents_find(c, id);

	return node && !node->record.revoked;
}

bool coordinator_node_of_key(const struct coordinator *c, const struct public_key *link_key,
			     struct node_id *ret_node)
{
	for (size_t i = 0; i < c->nodes_count; i++) {
		const struct store_node *record = &c->nodes[i]->record;

		if (memcmp(record->link_key.bytes, link_key->bytes, KEY_SIZE) != 0)
			continue;
		*ret_node = record->id;
		return !record->revoked;
	}
	return false;
}

/* ---- leases ---- */

void agents_check_leases(struct coordinator *c, uint64_t now_ms)
{
	if (now_ms < c->lease_check_ms)
		return;
	c->lease_check_ms = UINT64_MAX;
	for (size_t i = 0; i < c->nodes_count; i++) {
		struct shell_node *node = c->nodes[i];
		uint64_t at = fleet_silent_at(node->seen_ms, c->started_ms);

		if (node->silent)
			continue;
		if (!fleet_silent(node->seen_ms, c->started_ms, now_ms)) {
			if (at < c->lease_check_ms)
				c->lease_check_ms = at;
			continue;
		}
		node->silent = true;
		c->fleet_changed = true;
		exchange_changed(c);
		if (!node->record.revoked)
			events_add(c, "node unreachable", NULL, NULL, node->record.name,
				   "nothing heard for %llu s",
				   (unsigned long long)(now_ms - node->seen_ms) / 1000);
	}
}

static void heard(struct coordinator *c, struct shell_node *node)
{
	bool first = node->seen_ms == 0;

	node->seen_ms = shell_now(c);
	if (c->lease_check_ms > fleet_silent_at(node->seen_ms, c->started_ms))
		c->lease_check_ms = fleet_silent_at(node->seen_ms, c->started_ms);
	if (!node->silent)
		return;
	node->silent = false;
	c->fleet_changed = true;
	exchange_changed(c);
	events_add(c, "node online", NULL, NULL, node->record.name,
		   first ? "heard for the first time" : "heard again");
}

static int write_seen(struct coordinator *c, bool all, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->nodes_count; i++) {
		struct shell_node *node = c->nodes[i];

		if (node->seen_ms > node->seen_written_ms + (all ? 0 : SEEN_WRITE_AFTER_MS))
			r = c->store->ops->node_seen(c->store, &node->record.id, node->seen_ms,
						     err);
	}
	return r;
}

void agents_flush_seen(struct coordinator *c, bool all)
{
	struct err err = {0};
	int r;

	if (!all && shell_now(c) < c->seen_flush_ms)
		return;
	c->seen_flush_ms = shell_now(c) + SEEN_FLUSH_MS;
	r = shell_begin(c, &err);
	if (r == 0)
		r = shell_end(c, write_seen(c, all, &err), &err);
	if (r < 0) {
		shell_store_failed(c, r, &err);
		return;
	}
	for (size_t i = 0; i < c->nodes_count; i++) {
		struct shell_node *node = c->nodes[i];

		if (node->seen_ms > node->seen_written_ms + (all ? 0 : SEEN_WRITE_AFTER_MS))
			node->seen_written_ms = node->seen_ms;
	}
}

/* ---- messages ---- */

void agents_send(struct coordinator *c, const struct node_id *node, enum message_type type,
		 const void *body)
{
	struct bytes data = {0};
	struct err err = {0};
	int r = message_encode(type, body, &data, &err);

	if (r < 0)
		log_error("message %s for a node: %s", message_name(type), err_text(&err, r));
	else
		c->world.send_to_agent(c->world.user, node, data.data, data.size);
	free(data.data);
}

static void refuse(struct coordinator *c, const struct node_id *id, const char *text)
{
	struct msg_refused refused = {0};

	STR_CUT(refused.text, text);
	agents_send(c, id, MESSAGE_REFUSED, &refused);
}

/* The agent knows something newer than the coordinator: an old database was restored. From now on
 * this node is told with a higher epoch, which beats every generation of the lost past. */
void agents_check_future(struct coordinator *c, struct shell_node *node, uint64_t epoch,
			 uint64_t generation)
{
	node->known_epoch = epoch;
	node->known_generation = generation;
	if (epoch < node->desired.epoch ||
	    (epoch == node->desired.epoch && generation <= node->desired.generation))
		return;
	if (epoch >= UINT64_MAX / 2)
		return; /* nonsense: it hurts nobody but the node that says so */
	node->desired.epoch = epoch + 1;
	node->desired_made = false;
	memset(&node->desired_digest, 0, sizeof(node->desired_digest));
	c->dirty = true;
	events_add(c, "epoch", NULL, NULL, node->record.name,
		   "the node knows a newer desired state than this database: was an old one "
		   "restored? its epoch is now %llu", (unsigned long long)(epoch + 1));
}

static void on_subscribe(struct coordinator *c, struct shell_node *node, const char *from,
			 const struct msg_subscribe *subscribe)
{
	struct store_node record = node->record;
	struct err err = {0};
	int r;

	if (subscribe->protocol_version < PROTOCOL_VERSION_OLDEST) {
		refuse(c, &node->record.id,
		       "this coordinator no longer speaks the agent's protocol: upgrade the agent");
		return;
	}
	node->linked = true;
	exchange_linked(c, node, from);
	agents_check_future(c, node, subscribe->epoch, subscribe->generation);
	if (!str_equal(record.agent_version, subscribe->agent_version)) {
		STR_CUT(record.agent_version, subscribe->agent_version);
		record.last_seen_ms = node->seen_ms;
		r = shell_begin(c, &err);
		if (r == 0)
			r = shell_end(c, c->store->ops->node_put(c->store, &record, &err), &err);
		if (r < 0)
			shell_store_failed(c, r, &err);
		else
			STR_CUT(node->record.agent_version, record.agent_version);
	}
	if (node->desired_made && !c->dirty)
		desired_push(c, node);
}

void agents_acknowledge(struct coordinator *c, const struct shell_node *node, bool send_status)
{
	struct msg_ack ack = {.boot_epoch = node->status.boot_epoch,
			      .sequence = node->status.sequence,
			      .send_status = send_status};

	agents_send(c, &node->record.id, MESSAGE_ACK, &ack);
}

static void on_heartbeat(struct coordinator *c, struct shell_node *node,
			 const struct msg_heartbeat *beat)
{
	struct err err = {0};
	bool known;
	int r;

	reports_take(c); /* one of this node's may lie there */
	known = node->has_status && beat->boot_epoch == node->status.boot_epoch &&
		beat->sequence == node->status.sequence;
	node->linked = true; /* its subscribe may have been lost */
	agents_check_future(c, node, beat->epoch, beat->generation);
	r = known ? reports_confirm(c, node, &err) : 0;
	if (r < 0)
		shell_store_failed(c, r, &err);
	agents_acknowledge(c, node, !known);
	if (node->desired_made && !c->dirty &&
	    (beat->epoch != node->desired.epoch || beat->generation < node->desired.generation))
		desired_push(c, node);
}

/* Its administrator took it out of the fleet, which needs nobody's consent here. The answer is the
 * one that strangers get, so saying it again ends the same way. */
static void on_leave(struct coordinator *c, struct shell_node *node)
{
	struct node_id id = node->record.id;
	struct err err = {0};
	int r;

	reports_take(c); /* one of this node's may lie there */
	observations_take(c);
	r = shell_begin(c, &err);
	if (r == 0)
		r = shell_end(c, c->store->ops->node_remove(c->store, &id, &err), &err);
	if (r < 0) {
		shell_store_failed(c, r, &err); /* not answered: it says so again */
		return;
	}
	events_add(c, "node left", NULL, NULL, node->record.name, "its own administrator asked");
	agents_remove(c, &id);
	c->fleet_changed = c->dirty = true;
	refuse(c, &id, "this node has left the fleet");
}

void coordinator_on_agent(struct coordinator *c, const struct node_id *id, const char *from,
			  const void *data, size_t size)
{
	struct shell_node *node = agents_find(c, id);
	struct message message;
	struct err err = {0};
	int r;

	if (!node || node->record.revoked) {
		refuse(c, id, node ? "this node was revoked by an administrator"
				   : "this node is not known here: join it again");
		return;
	}
	r = message_decode(data, size, CHANNEL_AGENTS, FROM_AGENT, &message, &err);
	if (r < 0) {
		if (r != -ENOTSUP)
			log_warning("node %s: %s", node->record.name, err_text(&err, r));
		return;
	}
	heard(c, node);
	switch ((int)message.type) { /* only these pass message_decode() */
	case MESSAGE_SUBSCRIBE:
		on_subscribe(c, node, from, message.body);
		break;
	case MESSAGE_PEER_REPORT:
		exchange_report(c, node, message.body);
		break;
	case MESSAGE_HEARTBEAT:
		on_heartbeat(c, node, message.body);
		break;
	case MESSAGE_STATUS:
		reports_add(c, node, message.body);
		break;
	case MESSAGE_LOGS:
		control_logs(c, id, message.body);
		break;
	case MESSAGE_OBSERVED:
		observations_add(c, node, message.body);
		break;
	case MESSAGE_LEAVE:
		on_leave(c, node);
		break;
	default:
		break;
	}
	message_free(&message);
	if (c->inbox_count + c->observed_count == 0)
		shell_settle(c);
	else /* more of them may come with this one */
		c->world.arm_timer(c->world.user, coordinator_deadline(c));
}
