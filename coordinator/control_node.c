/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs about nodes: look, label, take out of service for changes, revoke, forget. */
#include "coordinator/control.h"

#include "base/mem.h"
#include "base/selector.h"
#include "base/str.h"

int verb_node_ls(struct control_call *call)
{
	const struct coordinator *c = call->c;
	const char *selector = control_str(call, "selector");
	int r = selector && *selector ? selector_check(selector, &call->err) : 0;

	if (r < 0)
		return -EINVAL;
	call->answer = json_array();
	for (size_t i = 0; i < c->nodes_count; i++) {
		if (!selector || !*selector || agents_matches(c->nodes[i], selector))
			json_array_append_new(call->answer, show_node(c, c->nodes[i], false));
	}
	return 0;
}

int verb_node_show(struct control_call *call)
{
	struct shell_node *node = NULL;
	int r = control_node(call, &node);

	if (r == 0)
		call->answer = show_node(call->c, node, true);
	return r;
}

/* Commits the changed record, takes it over, answers with the node. */
static int change(struct control_call *call, struct shell_node *node, struct store_node *record,
		  const char *what)
{
	struct coordinator *c = call->c;
	int r = shell_begin(c, &call->err);

	record->last_seen_ms = node->seen_ms;
	if (r == 0)
		r = control_end(call, c->store->ops->node_put(c->store, record, &call->err));
	if (r < 0)
		return r;
	agents_set_record(node, record);
	c->fleet_changed = c->dirty = true;
	exchange_changed(c);
	events_add(c, "node", NULL, NULL, record->name, "%s by %s", what, call->who);
	call->answer = show_node(c, node, true);
	return 0;
}

/* ---- labels ---- */

static void unset(struct store_node *record, const char *key)
{
	for (size_t i = 0; i < record->labels_count; i++) {
		if (!str_equal(record->labels[i].key, key))
			continue;
		record->labels_count--;
		memmove(&record->labels[i], &record->labels[i + 1],
			(record->labels_count - i) * sizeof(*record->labels));
		return;
	}
}

static int set(struct control_call *call, struct store_node *record, const char *key,
	       const char *value)
{
	size_t at;
	int r = value ? selector_check_label(key, value, &call->err)
		      : err_set(&call->err, -EINVAL, "label %.60s: a text is needed", key);

	if (r < 0)
		return -EINVAL;
	unset(record, key);
	if (record->labels_count == LIMIT_LABELS)
		return err_set(&call->err, -EINVAL, "a node has at most %d labels", LIMIT_LABELS);
	at = record->labels_count++;
	while (at > 0 && strcmp(record->labels[at - 1].key, key) > 0) {
		record->labels[at] = record->labels[at - 1];
		at--;
	}
	STR_CUT(record->labels[at].key, key);
	STR_CUT(record->labels[at].value, value);
	return 0;
}

int verb_node_label(struct control_call *call)
{
	struct label labels[LIMIT_LABELS];
	struct shell_node *node = NULL;
	struct store_node record;
	const char *key;
	json_t *value;
	size_t i;
	int r = control_node(call, &node);

	if (r < 0)
		return r;
	record = node->record;
	record.labels = labels;
	for (i = 0; i < record.labels_count; i++)
		labels[i] = node->record.labels[i];
	json_array_foreach(json_object_get(call->args, "remove"), i, value) {
		if (json_is_string(value))
			unset(&record, json_string_value(value));
	}
	json_object_foreach(json_object_get(call->args, "set"), key, value) {
		r = set(call, &record, key, json_string_value(value));
		if (r < 0)
			return r;
	}
	return change(call, node, &record, "labels changed");
}

/* ---- in and out ---- */

int verb_node_cordon(struct control_call *call)
{
	struct shell_node *node = NULL;
	struct store_node record;
	int r = control_node(call, &node);

	if (r < 0)
		return r;
	record = node->record;
	record.cordoned = true;
	return change(call, node, &record, "cordoned");
}

int verb_node_uncordon(struct control_call *call)
{
	struct shell_node *node = NULL;
	struct store_node record;
	int r = control_node(call, &node);

	if (r < 0)
		return r;
	record = node->record;
	record.cordoned = false;
	return change(call, node, &record, "uncordoned");
}

int verb_node_approve(struct control_call *call)
{
	struct shell_node *node = NULL;
	struct store_node record;
	int r = control_node(call, &node);

	if (r < 0)
		return r;
	record = node->record;
	record.pending = false;
	return change(call, node, &record, "approved");
}

int verb_node_revoke(struct control_call *call)
{
	struct msg_refused refused = {.text = "this node was revoked by an administrator"};
	struct shell_node *node = NULL;
	struct store_node record;
	int r = control_node(call, &node);

	if (r < 0)
		return r;
	record = node->record;
	record.revoked = true;
	r = change(call, node, &record, "revoked");
	if (r == 0)
		agents_send(call->c, &node->record.id, MESSAGE_REFUSED, &refused);
	return r;
}

int verb_node_rm(struct control_call *call)
{
	struct coordinator *c = call->c;
	struct shell_node *node = NULL;
	int r = control_node(call, &node);

	if (r < 0)
		return r;
	if (!node->silent && !node->record.revoked && !node->record.pending)
		return err_set(&call->err, -EBUSY,
			       "node %s is online: stop its agent, or revoke it first",
			       node->record.name);
	call->answer = show_node(c, node, true);
	r = shell_begin(c, &call->err);
	if (r == 0)
		r = control_end(call, c->store->ops->node_remove(c->store, &node->record.id,
								 &call->err));
	if (r < 0)
		return r;
	events_add(c, "node", NULL, NULL, node->record.name, "removed by %s", call->who);
	agents_remove(c, &node->record.id);
	c->fleet_changed = c->dirty = true;
	return 0;
}
