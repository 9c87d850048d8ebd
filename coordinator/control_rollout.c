/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verbs about rollouts. An operator's word is an event like any other: refused with the machine's
 * own sentence, or written to the journal together with the audit entry, then applied.
 */
#include "coordinator/control.h"
#include "coordinator/judging.h"
#include "coordinator/rollouts.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

enum { NODES_PER_SHOW_MS = 20 };

int verb_rollout_ls(struct control_call *call)
{
	const struct coordinator *c = call->c;
	const char *deployment = control_str(call, "deployment");

	call->answer = json_array();
	for (size_t i = c->history_count; i-- > 0;) {
		if (!deployment || !*deployment ||
		    str_equal(c->history[i].deployment, deployment))
			json_array_append_new(call->answer, show_rollout_head(c, &c->history[i]));
	}
	return 0;
}

/* Until something changes. In a large rollout something always changes, and the answer is large:
 * whoever follows it is told a few times a second. */
static int wait_for_change(struct control_call *call, const struct shell_rollout *ro)
{
	uint64_t wait_ms = control_u64(call, "wait_ms", 0);
	uint64_t earliest = call->arrived_ms + ro->machine->nodes_count / NODES_PER_SHOW_MS;

	if (!json_is_integer(json_object_get(call->args, "since")) || !rollouts_under_way(ro))
		return 0;
	if (control_u64(call, "since", 0) == ro->machine->changes)
		return control_wait(call, wait_ms);
	if (shell_now(call->c) >= earliest || control_wait(call, wait_ms) == 0)
		return 0;
	call->not_before_ms = earliest;
	return CONTROL_WAIT;
}

int verb_rollout_show(struct control_call *call)
{
	COVEY_CLEANUP(rollouts_unload_p) struct shell_rollout *read_back = NULL;
	const struct store_rollout *head = NULL;
	struct shell_rollout *ro = NULL;
	int r = control_rollout(call, &head);

	if (r == 0)
		r = control_open_rollout(call, &head->id, &ro, &read_back);
	if (r < 0)
		return r;
	if (wait_for_change(call, ro) == CONTROL_WAIT)
		return CONTROL_WAIT;
	if (!ro->judging)
		r = judging_read(call->c, ro, &ro->judging, &call->err);
	if (r < 0)
		return r;
	call->answer = show_rollout(call->c, ro);
	return 0;
}

/* ---- an operator's word ---- */

static int give(struct control_call *call, struct shell_rollout *ro, enum rollout_event_kind kind,
		uint32_t node)
{
	struct coordinator *c = call->c;
	struct shell_feed feed = {ro, rollout_event_make(kind, shell_now(c), node)};
	int r;

	STR_CUT(feed.event.why.phase, "operator");
	snprintf(feed.event.why.text, sizeof(feed.event.why.text), "by %s", call->who);
	if (!rollout_admits(ro->machine, &feed.event, &call->err))
		return call->err.text[0] ? -EBUSY
					 : err_set(&call->err, -EBUSY, "that changes nothing now");
	r = shell_begin(c, &call->err);
	if (r == 0)
		r = control_end(call, rollouts_journal(c, &feed, &call->err));
	if (r < 0)
		return r;
	rollouts_apply(c, &feed);
	call->answer = show_rollout(c, ro);
	return 0;
}

/* The live rollout that is named; one that has ended takes no orders. */
static int live(struct control_call *call, struct shell_rollout **ret_rollout)
{
	const struct store_rollout *head = NULL;
	char id[ROLLOUT_ID_TEXT_MAX];
	int r = control_rollout(call, &head);

	if (r < 0)
		return r;
	*ret_rollout = rollouts_find(call->c, &head->id);
	if (*ret_rollout && rollouts_under_way(*ret_rollout))
		return 0;
	rollout_id_text(id, &head->id);
	return err_set(&call->err, -EALREADY, "rollout %s has ended: it is %s", id, head->state);
}

static int order(struct control_call *call, enum rollout_event_kind kind)
{
	struct shell_rollout *ro = NULL;
	int r = live(call, &ro);

	return r < 0 ? r : give(call, ro, kind, ROLLOUT_NO_NODE);
}

int verb_rollout_pause(struct control_call *call)
{
	return order(call, EVENT_PAUSE);
}

int verb_rollout_resume(struct control_call *call)
{
	return order(call, EVENT_RESUME);
}

int verb_rollout_promote(struct control_call *call)
{
	return order(call, control_bool(call, "full") ? EVENT_PROMOTE_FULL : EVENT_PROMOTE);
}

int verb_rollout_abort(struct control_call *call)
{
	return order(call, EVENT_ABORT);
}

/* ---- again ---- */

static int answer_started(struct control_call *call, const struct rollout_id *id)
{
	struct shell_rollout *ro = rollouts_find(call->c, id);

	if (!ro) {
		call->answer = json_pack("{so}", "rollout", json_null());
		return 0;
	}
	call->answer = show_rollout(call->c, ro);
	json_object_set_new(call->answer, "rollout", json_rollout_id(id));
	return 0;
}

static uint64_t highest_attempt(const struct rollout *machine)
{
	uint64_t attempt = 1;

	for (size_t i = 0; i < machine->nodes_count; i++) {
		if (machine->nodes[i].attempt > attempt)
			attempt = machine->nodes[i].attempt;
	}
	return attempt;
}

/* A rollout that has ended is tried again as a new one, with an attempt that clears the vetoes. */
static int retry_ended(struct control_call *call, const struct store_rollout *head)
{
	COVEY_CLEANUP(rollouts_unload_p) struct shell_rollout *ro = NULL;
	struct rollout_wish wish = {.allow_removal = true};
	struct rollout_id id;
	int r = rollouts_read(call->c, &head->id, &ro, &call->err);

	if (r < 0)
		return r;
	if (ro->machine->state == ROLLOUT_COMPLETED)
		return err_set(&call->err, -EALREADY, "this rollout is completed: there is nothing "
			       "to try again");
	if (!artifacts_find(call->c, &head->to))
		return err_set(&call->err, -ENOENT, "its release was removed: push it again first");
	wish.spec = &ro->spec;
	wish.attempt_at_least = highest_attempt(ro->machine) + 1;
	r = plans_apply(call, &wish, &id);
	return r < 0 ? r : answer_started(call, &id);
}

int verb_rollout_retry(struct control_call *call)
{
	const struct store_rollout *head = NULL;
	struct shell_node *node = NULL;
	struct shell_rollout *ro;
	uint32_t index = ROLLOUT_NO_NODE;
	int r = control_rollout(call, &head);

	if (r < 0)
		return r;
	ro = rollouts_find(call->c, &head->id);
	/* One that completed without some of its nodes takes them in now (core/fleet.c). */
	if (!ro || (!rollouts_under_way(ro) && ro->machine->state != ROLLOUT_COMPLETED)) {
		struct store_rollout copy = *head; /* the history may move */

		return retry_ended(call, &copy);
	}
	if (control_str(call, "node")) {
		r = control_node(call, &node);
		if (r < 0)
			return r;
		index = rollout_find(ro->machine, &node->record.id);
		if (index == ROLLOUT_NO_NODE)
			return err_set(&call->err, -ENOENT, "node %s is not part of this rollout",
				       node->record.name);
	}
	return give(call, ro, EVENT_RETRY, index);
}

/* ---- undo ---- */

/* The declaration that last completed with the release to go back to; else the same declaration
 * with the other release. */
static int undo_spec(struct control_call *call, const struct shell_rollout *ro,
		     struct deployment_spec *ret_spec)
{
	struct coordinator *c = call->c;
	const struct store_release *release = artifacts_find(c, &ro->head.from);

	if (!release)
		return err_set(&call->err, -ENOENT,
			       "the release before it was removed: push it again first");
	for (size_t i = c->history_count; i-- > 0;) {
		const struct store_rollout *head = &c->history[i];
		struct shell_rollout *before = NULL;
		int r;

		if (head->number >= ro->head.number ||
		    !str_equal(head->deployment, ro->head.deployment) ||
		    !digest_equal(&head->to, &ro->head.from) ||
		    !str_equal(head->state, rollout_state_name(ROLLOUT_COMPLETED)))
			continue;
		r = rollouts_read(c, &head->id, &before, &call->err);
		if (r < 0)
			return r;
		codec_copy(&codec_deployment_spec, ret_spec, &before->spec);
		rollouts_unload(before);
		return 0;
	}
	codec_copy(&codec_deployment_spec, ret_spec, &ro->spec);
	STR_CUT(ret_spec->version, release->version);
	STR_CUT(ret_spec->model, release->model);
	ret_spec->release = release->digest;
	return 0;
}

static int check_undo(struct control_call *call, const struct store_rollout *head)
{
	const struct shell_rollout *running = rollouts_find(call->c, &head->id);
	char id[ROLLOUT_ID_TEXT_MAX];

	rollout_id_text(id, &head->id);
	if (running && rollouts_under_way(running))
		return err_set(&call->err, -EBUSY,
			       "rollout %s is under way: `covey rollout abort %s` takes it back", id,
			       id);
	if (!str_equal(head->state, rollout_state_name(ROLLOUT_COMPLETED)))
		return err_set(&call->err, -EALREADY, "rollout %s is %s: there is nothing to undo",
			       id, head->state);
	if (digest_is_zero(&head->from))
		return err_set(&call->err, -ENOENT,
			       "rollout %s was a first install: `covey deployment rm %s` removes it",
			       id, head->deployment);
	if (!deployments_find(call->c, head->deployment))
		return err_set(&call->err, -ENOENT, "deployment %s is no more", head->deployment);
	return 0;
}

int verb_rollout_undo(struct control_call *call)
{
	COVEY_CLEANUP(rollouts_unload_p) struct shell_rollout *ro = NULL;
	const struct store_rollout *head = NULL;
	struct deployment_spec spec = {0};
	struct rollout_wish wish = {.spec = &spec, .allow_removal = true};
	struct rollout_id id;
	int r = control_rollout(call, &head);

	if (r == 0)
		r = check_undo(call, head);
	if (r == 0)
		r = rollouts_read(call->c, &head->id, &ro, &call->err);
	if (r == 0)
		r = undo_spec(call, ro, &spec);
	if (r == 0)
		r = plans_apply(call, &wish, &id);
	deployment_spec_free(&spec);
	return r < 0 ? r : answer_started(call, &id);
}
