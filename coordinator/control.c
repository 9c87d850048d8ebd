/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operators' channel: one table of verbs with the role that each needs. A request is decoded,
 * its role checked, run, answered; whoever tried something that changes the fleet is in the audit
 * log, with the outcome, also when it was refused. Requests that wait are parked in a list and
 * asked again after every change.
 */
#include "coordinator/control.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"

static const struct control_verb verbs[] = {
	{"version", ROLE_VIEWER, false, verb_version},
	{"status", ROLE_VIEWER, false, verb_status},
	{"events", ROLE_VIEWER, false, verb_events},
	{"logs", ROLE_VIEWER, false, verb_logs},
	{"freeze", ROLE_OPERATOR, true, verb_freeze},
	{"unfreeze", ROLE_OPERATOR, true, verb_unfreeze},
	{"token.create", ROLE_ADMIN, true, verb_token_create},
	{"token.ls", ROLE_ADMIN, false, verb_token_ls},
	{"token.rm", ROLE_ADMIN, true, verb_token_rm},
	{"drift.show", ROLE_VIEWER, false, verb_drift_show},
	{"node.ls", ROLE_VIEWER, false, verb_node_ls},
	{"node.show", ROLE_VIEWER, false, verb_node_show},
	{"node.label", ROLE_OPERATOR, true, verb_node_label},
	{"node.cordon", ROLE_OPERATOR, true, verb_node_cordon},
	{"node.uncordon", ROLE_OPERATOR, true, verb_node_uncordon},
	{"node.approve", ROLE_ADMIN, true, verb_node_approve},
	{"node.revoke", ROLE_ADMIN, true, verb_node_revoke},
	{"node.rm", ROLE_ADMIN, true, verb_node_rm},
	{"object.missing", ROLE_OPERATOR, false, verb_object_missing},
	{"object.put", ROLE_OPERATOR, false, verb_object_put},
	{"object.get", ROLE_VIEWER, false, verb_object_get},
	{"release.put", ROLE_OPERATOR, true, verb_release_put},
	{"release.get", ROLE_VIEWER, false, verb_release_get},
	{"release.ls", ROLE_VIEWER, false, verb_release_ls},
	{"release.show", ROLE_VIEWER, false, verb_release_show},
	{"release.rm", ROLE_ADMIN, true, verb_release_rm},
	{"plan", ROLE_VIEWER, false, verb_plan},
	{"apply", ROLE_OPERATOR, true, verb_apply},
	{"rollout.ls", ROLE_VIEWER, false, verb_rollout_ls},
	{"rollout.show", ROLE_VIEWER, false, verb_rollout_show},
	{"rollout.pause", ROLE_OPERATOR, true, verb_rollout_pause},
	{"rollout.resume", ROLE_OPERATOR, true, verb_rollout_resume},
	{"rollout.promote", ROLE_OPERATOR, true, verb_rollout_promote},
	{"rollout.abort", ROLE_OPERATOR, true, verb_rollout_abort},
	{"rollout.retry", ROLE_OPERATOR, true, verb_rollout_retry},
	{"rollout.undo", ROLE_OPERATOR, true, verb_rollout_undo},
	{"observations", ROLE_VIEWER, false, verb_observations},
	{"deployment.ls", ROLE_VIEWER, false, verb_deployment_ls},
	{"deployment.show", ROLE_VIEWER, false, verb_deployment_show},
	{"deployment.history", ROLE_VIEWER, false, verb_deployment_history},
	{"deployment.rm", ROLE_OPERATOR, true, verb_deployment_rm},
};

static const char *const role_names[] = {"viewer", "operator", "admin"};

/* ---- a call's life ---- */

static void call_free(struct control_call *call)
{
	json_decref(call->args);
	json_decref(call->answer);
	free(call->blob.data);
	free(call->answer_blob.data);
	free(call->logs_text);
	free(call);
}

static uint32_t exit_code_of(const struct control_call *call, int r)
{
	if (r == 0 || call->exit_code != 0)
		return call->exit_code;
	return r == -EINVAL ? EXIT_CODE_USAGE : EXIT_CODE_ERROR;
}

static void reply(struct control_call *call, int r)
{
	struct msg_control_reply message = {.id = call->id, .exit_code = exit_code_of(call, r)};
	struct bytes data = {0};
	AUTO_FREE char *body = NULL;
	struct err err = {0};

	if (r < 0)
		STR_CUT(message.error, err_text(&call->err, r));
	if (r == 0) {
		body = call->answer ? json_dumps(call->answer, JSON_COMPACT | JSON_ENCODE_ANY)
				    : mem_str("{}");
		message.body = body;
		message.blob = call->answer_blob;
	}
	r = message_encode(MESSAGE_CONTROL_REPLY, &message, &data, &err);
	if (r < 0) {
		message = (struct msg_control_reply){.id = call->id,
						     .exit_code = EXIT_CODE_ERROR};
		snprintf(message.error, sizeof(message.error),
			 "the answer cannot be sent: %.900s", err_text(&err, r));
		r = message_encode(MESSAGE_CONTROL_REPLY, &message, &data, NULL);
	}
	if (r == 0)
		call->c->world.control_reply(call->c->world.user, call->client, data.data,
					     data.size);
	free(data.data);
}

/* What was asked, for the audit log: the arguments, which hold no secrets. */
static void describe(const struct control_call *call, char dst[LIMIT_REASON_TEXT + 1])
{
	AUTO_FREE char *text = json_dumps(call->args, JSON_COMPACT);

	str_cut(dst, LIMIT_REASON_TEXT + 1, text ? text : "");
}

int control_end(struct control_call *call, int r)
{
	struct coordinator *c = call->c;
	char what[LIMIT_REASON_TEXT + 1];

	if (r == 0 && call->verb->audited) {
		describe(call, what);
		r = audit_append(c, call->who, call->from, call->verb->name, what, "done",
				 &call->err);
	}
	r = shell_end(c, r, &call->err);
	if (r == 0 && call->verb->audited) {
		audit_committed(c);
		call->audit_written = true;
	}
	return r;
}

/* A refused or failed action, or one that changed nothing in the store. */
static void audit_alone(struct control_call *call, int r)
{
	struct coordinator *c = call->c;
	char what[LIMIT_REASON_TEXT + 1];
	struct err err = {0};
	int failed;

	describe(call, what);
	failed = shell_begin(c, &err);
	if (failed == 0)
		failed = shell_end(c,
				   audit_append(c, call->who, call->from, call->verb->name, what,
						r < 0 ? err_text(&call->err, r) : "done", &err),
				   &err);
	if (failed < 0)
		shell_store_failed(c, failed, &err);
	else
		audit_committed(c);
}

static void finish(struct control_call *call, int r)
{
	if (call->verb && call->verb->audited && !call->audit_written)
		audit_alone(call, r);
	reply(call, r);
	call_free(call);
}

static void park(struct control_call *call)
{
	struct coordinator *c = call->c;

	if (c->waiting_count >= LIMIT_CONTROL_CLIENTS) {
		finish(call, err_set(&call->err, -EBUSY,
				     "too many requests wait already: try again later"));
		return;
	}
	MEM_GROW(c->waiting, &c->waiting_cap, c->waiting_count);
	c->waiting[c->waiting_count++] = call;
}

int control_wait(struct control_call *call, uint64_t wait_ms)
{
	uint64_t now = shell_now(call->c);

	if (call->expired || wait_ms == 0)
		return 0;
	if (!call->waited)
		call->deadline_ms = now + (wait_ms > LIMIT_POLL_WAIT_MS ? LIMIT_POLL_WAIT_MS
									: wait_ms);
	return CONTROL_WAIT;
}

void control_wake(struct coordinator *c)
{
	uint64_t now = shell_now(c);
	size_t count = c->waiting_count;

	if (c->change == c->woken_change && now < control_deadline(c))
		return;
	c->woken_change = c->change;
	/* Verbs that wait only look; none of them parks another call. */
	c->waiting_count = 0;
	for (size_t i = 0; i < count; i++) {
		struct control_call *call = c->waiting[i];
		int r;

		call->waited = true;
		if (call->not_before_ms > now) {
			c->waiting[c->waiting_count++] = call;
			continue;
		}
		call->not_before_ms = 0;
		call->expired = now >= call->deadline_ms;
		r = call->verb->run(call);
		if (r == CONTROL_WAIT)
			c->waiting[c->waiting_count++] = call;
		else
			finish(call, r);
	}
}

uint64_t control_deadline(const struct coordinator *c)
{
	uint64_t at = UINT64_MAX;

	for (size_t i = 0; i < c->waiting_count; i++) {
		const struct control_call *call = c->waiting[i];
		uint64_t own = call->not_before_ms ? call->not_before_ms : call->deadline_ms;

		at = own < at ? own : at;
	}
	return at;
}

void control_free_all(struct coordinator *c)
{
	for (size_t i = 0; i < c->waiting_count; i++)
		call_free(c->waiting[i]);
	free(c->waiting);
	c->waiting = NULL;
	c->waiting_count = 0;
}

void control_logs(struct coordinator *c, const struct node_id *node, const struct msg_logs *logs)
{
	for (size_t i = 0; i < c->waiting_count; i++) {
		struct control_call *call = c->waiting[i];

		if (call->logs_id == 0 || call->logs_id != logs->id)
			continue;
		call->logs_done = true;
		c->change++;
		free(call->logs_text);
		call->logs_text = logs->text ? mem_str(logs->text) : NULL;
		if (logs->error[0])
			err_set(&call->err, -EREMOTEIO, "%.500s", logs->error);
	}
}

/* ---- requests ---- */

static const struct control_verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (str_equal(verbs[i].name, name))
			return &verbs[i];
	}
	return NULL;
}

static int take_arguments(struct control_call *call, const char *body)
{
	json_error_t error;

	call->args = body && *body ? json_loads(body, JSON_REJECT_DUPLICATES, &error)
				   : json_object();
	if (json_is_object(call->args))
		return 0;
	json_decref(call->args);
	call->args = json_object();
	return err_set(&call->err, -EINVAL, "the request's body is not a JSON object");
}

static int admit(struct control_call *call, const struct msg_control *message)
{
	int r = take_arguments(call, message->body);

	call->verb = find_verb(message->verb);
	if (!call->verb)
		return err_set(&call->err, -EINVAL,
			       "this coordinator (%s) does not know the verb %.60s", COVEY_VERSION,
			       message->verb);
	if (call->role < call->verb->role)
		return err_set(&call->err, -EPERM,
			       "%s needs the role %s, the key that was used has %s: ask an "
			       "administrator for another one",
			       call->verb->name, role_names[call->verb->role],
			       role_names[call->role]);
	return r;
}

void coordinator_on_control(struct coordinator *c, uint64_t client, enum operator_role role,
			    const char *who, const char *from, const void *data, size_t size)
{
	struct message decoded;
	struct msg_control *message;
	struct control_call *call;
	int r = message_decode(data, size, CHANNEL_OPERATORS, FROM_OPERATOR, &decoded, NULL);

	call = mem_alloc(sizeof(*call));
	call->c = c;
	call->arrived_ms = shell_now(c);
	call->client = client;
	call->role = role;
	STR_CUT(call->who, who);
	STR_CUT(call->from, from);
	if (r < 0) {
		finish(call, err_set(&call->err, -EINVAL, "this is not a request of an operator"));
		return;
	}
	message = decoded.body;
	call->id = message->id;
	call->blob = message->blob;
	message->blob = (struct bytes){0};
	r = admit(call, message);
	message_free(&decoded);
	if (r == 0 && call->verb->audited)
		r = shell_catch_up(c, &call->err);
	if (r == 0)
		r = call->verb->run(call);
	if (r == CONTROL_WAIT)
		park(call);
	else
		finish(call, r);
	shell_settle(c);
}

/* ---- arguments ---- */

const char *control_str(const struct control_call *call, const char *key)
{
	return json_string_value(json_object_get(call->args, key));
}

int control_need(struct control_call *call, const char *key, const char **ret_text)
{
	const char *text = control_str(call, key);

	if (!text || !*text)
		return err_set(&call->err, -EINVAL, "%s needs `%s`", call->verb->name, key);
	*ret_text = text;
	return 0;
}

uint64_t control_u64(const struct control_call *call, const char *key, uint64_t otherwise)
{
	const json_t *value = json_object_get(call->args, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return otherwise;
	return (uint64_t)json_integer_value(value);
}

bool control_bool(const struct control_call *call, const char *key)
{
	return json_is_true(json_object_get(call->args, key));
}

/* ---- names ---- */

static int not_found(struct control_call *call, const char *what, const char *text, size_t matches)
{
	if (matches > 1)
		return err_set(&call->err, -EEXIST, "%s %.80s fits %zu of them: write more of it",
			       what, text, matches);
	return err_set(&call->err, -ENOENT, "there is no %s %.80s: `covey %s ls` shows all", what,
		       text, what);
}

int control_node(struct control_call *call, struct shell_node **ret_node)
{
	const char *text = NULL;
	char id[NODE_ID_TEXT_MAX];
	size_t matches = 0;
	int r = control_need(call, "node", &text);

	if (r < 0)
		return r;
	for (size_t i = 0; i < call->c->nodes_count; i++) {
		struct shell_node *node = call->c->nodes[i];

		if (str_equal(node->record.name, text)) {
			*ret_node = node;
			return 0;
		}
		node_id_text(id, &node->record.id);
		if (str_starts(id, text)) {
			*ret_node = node;
			matches++;
		}
	}
	return matches == 1 ? 0 : not_found(call, "node", text, matches);
}

int control_release(struct control_call *call, const struct store_release **ret_release)
{
	const char *text = NULL;
	char digest[DIGEST_TEXT_MAX], name[SHELL_TEXT_RELEASE];
	size_t matches = 0;
	int r = control_need(call, "release", &text);

	if (r < 0)
		return r;
	for (size_t i = 0; i < call->c->releases_count; i++) {
		const struct store_release *release = &call->c->releases[i];

		snprintf(name, sizeof(name), "%s@%s", release->model, release->version);
		if (str_equal(name, text)) {
			*ret_release = release;
			return 0;
		}
		digest_text(digest, &release->digest);
		if (str_starts(digest, text) || str_starts(digest + strlen("blake2b:"), text)) {
			*ret_release = release;
			matches++;
		}
	}
	return matches == 1 ? 0 : not_found(call, "release", text, matches);
}

int control_rollout(struct control_call *call, const struct store_rollout **ret_head)
{
	const char *text = NULL;
	char id[ROLLOUT_ID_TEXT_MAX];
	size_t matches = 0;
	int r = control_need(call, "rollout", &text);

	if (r < 0)
		return r;
	for (size_t i = 0; i < call->c->history_count; i++) {
		rollout_id_text(id, &call->c->history[i].id);
		if (str_starts(id, text)) {
			*ret_head = &call->c->history[i];
			matches++;
		}
	}
	return matches == 1 ? 0 : not_found(call, "rollout", text, matches);
}

int control_deployment(struct control_call *call, struct shell_deployment **ret_deployment)
{
	const char *text = NULL;
	int r = control_need(call, "deployment", &text);

	if (r < 0)
		return r;
	for (size_t i = 0; i < call->c->deployments_count; i++) {
		if (str_equal(call->c->deployments[i]->record.name, text)) {
			*ret_deployment = call->c->deployments[i];
			return 0;
		}
	}
	return not_found(call, "deployment", text, 0);
}

int control_open_rollout(struct control_call *call, const struct rollout_id *id,
			 struct shell_rollout **ret_rollout, struct shell_rollout **read_back)
{
	*ret_rollout = rollouts_find(call->c, id);
	if (*ret_rollout)
		return 0;
	int r = rollouts_read(call->c, id, read_back, &call->err);

	*ret_rollout = *read_back;
	return r;
}
