/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs about the fleet as a whole: version, status, events, logs, freeze. */
#include "coordinator/control.h"

#include "base/mem.h"
#include "base/str.h"

enum { EVENTS_DEFAULT = 100, EVENTS_MAX = 1000, LOGS_WAIT_MS = 15000, LOGS_LINES = 100,
       LOGS_LINES_MAX = 1000 };

int verb_version(struct control_call *call)
{
	call->answer = json_pack("{ss si}", "version", COVEY_VERSION, "protocol",
				 (int)PROTOCOL_VERSION);
	return 0;
}

int verb_status(struct control_call *call)
{
	const struct coordinator *c = call->c;
	json_t *deployments = json_array(), *rollouts = json_array();
	size_t unreachable = 0, online = 0;

	for (size_t i = 0; i < c->nodes_count; i++) {
		unreachable += c->nodes[i]->silent && !c->nodes[i]->record.revoked;
		online += str_equal(agents_state(c->nodes[i]), "online");
	}
	for (size_t i = 0; i < c->deployments_count; i++)
		json_array_append_new(deployments, show_deployment(c, c->deployments[i], false));
	for (size_t i = 0; i < c->rollouts_count; i++) {
		if (rollouts_under_way(c->rollouts[i]))
			json_array_append_new(rollouts,
					      show_rollout_head(c, &c->rollouts[i]->head));
	}
	call->answer = json_pack("{s{so so so} so so sb}", "nodes", "total",
				 json_u64(c->nodes_count), "online", json_u64(online),
				 "unreachable", json_u64(unreachable), "deployments", deployments,
				 "rollouts", rollouts, "frozen", c->frozen);
	return 0;
}

/* ---- events ---- */

static int add_event(void *arg, const struct store_event *event)
{
	json_array_append_new(
		arg, json_pack("{so so so so so so so}", "seq", json_u64(event->sequence), "at",
			       json_time(event->at_ms), "kind", json_text(event->kind),
			       "deployment", json_text_or_null(event->deployment), "rollout",
			       json_text_or_null(event->rollout), "node",
			       json_text_or_null(event->node), "text", json_text(event->text)));
	return 0;
}

/* With `since` those after it, and a wait while there are none; without it the newest ones. */
int verb_events(struct control_call *call)
{
	struct coordinator *c = call->c;
	bool follow = json_is_integer(json_object_get(call->args, "since"));
	uint64_t limit = control_u64(call, "limit", EVENTS_DEFAULT);
	uint64_t since = control_u64(call, "since", 0);

	limit = limit > EVENTS_MAX ? EVENTS_MAX : limit;
	if (!follow)
		since = c->events_sequence > limit ? c->events_sequence - limit : 0;
	if (follow && since >= c->events_sequence &&
	    control_wait(call, control_u64(call, "wait_ms", 0)) == CONTROL_WAIT)
		return CONTROL_WAIT;
	call->answer = json_array();
	return c->store->ops->event_each(c->store, since, limit, add_event, call->answer,
					 &call->err);
}

/* ---- logs ---- */

static int ask_for_logs(struct control_call *call)
{
	struct msg_logs_wanted wanted = {.lines = LOGS_LINES};
	struct shell_node *node = NULL;
	const char *deployment = NULL;
	uint64_t lines = control_u64(call, "lines", LOGS_LINES);
	int r = control_node(call, &node);

	if (r == 0)
		r = control_need(call, "deployment", &deployment);
	if (r < 0)
		return r;
	if (node->silent || !node->linked)
		return err_set(&call->err, -EHOSTUNREACH,
			       "node %s cannot be reached now, and logs stay on the node",
			       node->record.name);
	wanted.id = call->logs_id = ++call->c->logs_id;
	wanted.lines = (uint32_t)(lines > LOGS_LINES_MAX ? LOGS_LINES_MAX : lines);
	STR_CUT(wanted.deployment, deployment);
	agents_send(call->c, &node->record.id, MESSAGE_LOGS_WANTED, &wanted);
	return control_wait(call, LOGS_WAIT_MS);
}

int verb_logs(struct control_call *call)
{
	if (!call->waited)
		return ask_for_logs(call);
	if (!call->logs_done && !call->expired)
		return CONTROL_WAIT;
	if (!call->logs_done)
		return err_set(&call->err, -ETIMEDOUT, "the node did not answer in time");
	if (call->err.text[0])
		return -EREMOTEIO;
	call->answer = json_pack("{so}", "text", json_text(call->logs_text ? call->logs_text : ""));
	return 0;
}

/* ---- freeze ---- */

static int set_frozen(struct control_call *call, bool frozen)
{
	struct coordinator *c = call->c;
	int r = shell_begin(c, &call->err);

	if (r == 0)
		r = control_end(call, c->store->ops->meta_put(c->store, "frozen", frozen,
							      &call->err));
	if (r < 0)
		return r;
	c->frozen = frozen;
	c->fleet_changed = true;
	events_add(c, frozen ? "freeze" : "unfreeze", NULL, NULL, NULL, "by %s", call->who);
	call->answer = json_pack("{sb}", "frozen", frozen);
	return 0;
}

int verb_freeze(struct control_call *call)
{
	return set_frozen(call, true);
}

int verb_unfreeze(struct control_call *call)
{
	return set_frozen(call, false);
}
