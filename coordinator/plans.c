/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a wish to a rollout: the plan is made from the fleet as it is now, checked against the rules
 * (one rollout for a deployment, removals, nothing to do), stored together with the rollout's first
 * event and the operator's name in one transaction, then started.
 */
#include "coordinator/control.h"
#include "coordinator/rollouts.h"

#include "base/mem.h"
#include "base/str.h"
#include "coordinator/core/record.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

#include <assert.h>

enum { SNAPSHOT_MAX = 64 << 20, SPARE_MIN = 64, HISTORY_KEPT = 100 };

static bool is_member(const struct shell_node *node, const char *deployment)
{
	for (size_t i = 0; i < node->desired.assignments_count; i++) {
		if (str_equal(node->desired.assignments[i].deployment, deployment))
			return true;
	}
	return false;
}

/* A rollout that would be superseded has let this node go, or takes it back: the next one may not
 * count on it yet. */
static bool is_moving(const struct coordinator *c, const struct shell_node *node,
		      const char *deployment)
{
	const struct shell_rollout *ro = rollouts_of(c, deployment);
	uint32_t index = ro ? rollout_find(ro->machine, &node->record.id) : ROLLOUT_NO_NODE;

	return index != ROLLOUT_NO_NODE && rollouts_under_way(ro) &&
	       rollout_changes_node(ro->machine, index);
}

int plans_make(struct coordinator *c, const struct deployment_spec *spec, struct plan *ret_plan,
	       struct err *err)
{
	AUTO_FREE struct fleet_node *nodes = mem_array(c->nodes_count + 1, sizeof(*nodes));
	size_t count = 0;

	for (size_t i = 0; i < c->nodes_count; i++) {
		const struct shell_node *node = c->nodes[i];
		const struct deployment_report *report = agents_report(node, spec->name);

		if (node->record.revoked)
			continue;
		nodes[count] = (struct fleet_node){
			.id = node->record.id,
			.labels = node->record.labels,
			.labels_count = node->record.labels_count,
			.cordoned = !agents_may_change(node),
			.reachable = !node->silent,
			.member = is_member(node, spec->name),
			.moving = is_moving(c, node, spec->name),
		};
		if (report)
			nodes[count].release = report->release;
		count++;
	}
	return plan_make(spec, nodes, count, ret_plan, err);
}

/* A release that was tried before keeps its attempt: only `retry` makes a new one, and nodes that
 * rolled the old one back go on refusing it. */
static int last_attempt(struct coordinator *c, const struct deployment_spec *spec,
			uint64_t *attempt, struct err *err)
{
	for (size_t i = c->history_count; i-- > 0;) {
		const struct store_rollout *head = &c->history[i];
		COVEY_CLEANUP(rollouts_unload_p) struct shell_rollout *ro = NULL;
		int r;

		if (!str_equal(head->deployment, spec->name) ||
		    !digest_equal(&head->to, &spec->release))
			continue;
		r = rollouts_read(c, &head->id, &ro, err);
		for (size_t n = 0; r == 0 && n < ro->machine->nodes_count; n++) {
			if (ro->machine->nodes[n].attempt > *attempt)
				*attempt = ro->machine->nodes[n].attempt;
		}
		return r;
	}
	return 0;
}

/* Everything of one start, between the checks and the commit. */
struct start {
	struct control_call *call;
	const struct rollout_wish *wish;
	struct shell_deployment *deployment; /* NULL: a new one */
	struct shell_rollout *old;	     /* to be superseded, or NULL */
	struct store_rollout record;	     /* spec and snapshot owned */
	struct store_deployment new_deployment;
	struct rollout_event first;
	struct shell_rollout *machine;
	struct rollout_id forgotten; /* an old one that makes room; zero: none */
};

static int encode_start(struct start *start, struct plan *plan, uint64_t attempt)
{
	struct coordinator *c = start->call->c;
	struct store_rollout *record = &start->record;
	size_t spare = plan->nodes_count / 2 + SPARE_MIN;
	struct rollout_seed seed = {.attempt = attempt,
				    .created_ms = shell_now(c),
				    .spare = (uint32_t)(spare > LIMIT_FLEET ? LIMIT_FLEET : spare),
				    .plan = *plan};
	int r;

	c->world.random(c->world.user, record->id.bytes, ROLLOUT_ID_SIZE);
	STR_CUT(record->deployment, start->wish->spec->name);
	STR_CUT(record->state, rollout_state_name(ROLLOUT_PLANNED));
	record->number = c->rollout_number + 1;
	if (start->deployment)
		record->from = start->deployment->record.base;
	record->to = start->wish->spec->release;
	record->created_ms = seed.created_ms;
	r = codec_encode(&codec_deployment_spec, start->wish->spec, LIMIT_MANIFEST, &record->spec,
			 &start->call->err);
	if (r == 0)
		r = codec_encode(&codec_rollout_seed, &seed, SNAPSHOT_MAX, &record->snapshot,
				 &start->call->err);
	return r;
}

static int store_new_deployment(struct start *start)
{
	struct store_deployment *record = &start->new_deployment;
	struct store *s = start->call->c->store;
	int r;

	STR_CUT(record->name, start->wish->spec->name);
	record->created_ms = record->changed_ms = start->record.created_ms;
	record->spec = start->record.spec;
	r = s->ops->deployment_put(s, record, &start->call->err);
	record->spec = (struct bytes){0};
	return r;
}

/* Rollouts that ended long ago go, journals and all: the newest HISTORY_KEPT of a deployment stay. */
static const struct store_rollout *oldest_to_forget(const struct coordinator *c,
						    const char *deployment)
{
	const struct store_rollout *oldest = NULL;
	size_t count = 0;

	for (size_t i = c->history_count; i-- > 0;) {
		if (!str_equal(c->history[i].deployment, deployment))
			continue;
		oldest = &c->history[i];
		count++;
	}
	return count >= HISTORY_KEPT && oldest->ended && !rollouts_find(c, &oldest->id) ? oldest
											: NULL;
}

static void forget(struct coordinator *c, const struct rollout_id *id)
{
	for (size_t i = 0; i < c->history_count; i++) {
		if (!rollout_id_equal(&c->history[i].id, id))
			continue;
		c->history_count--;
		memmove(&c->history[i], &c->history[i + 1],
			(c->history_count - i) * sizeof(*c->history));
		return;
	}
}

static int store_start(struct start *start)
{
	struct coordinator *c = start->call->c;
	struct err *err = &start->call->err;
	struct store_journal entry = {.rollout = start->record.id,
				      .sequence = 1,
				      .at_ms = start->record.created_ms};
	int r = 0;

	if (start->old) {
		const struct shell_feed feed = {
			start->old, rollout_event_make(EVENT_SUPERSEDE, start->record.created_ms,
						       ROLLOUT_NO_NODE)};

		r = rollouts_journal(c, &feed, err);
		if (r == 0)
			r = c->store->ops->rollout_end(c->store, &start->old->head.id,
						       rollout_state_name(ROLLOUT_ABORTED),
						       start->record.created_ms, err);
	}
	if (r == 0 && !rollout_id_is_zero(&start->forgotten))
		r = c->store->ops->rollout_remove(c->store, &start->forgotten, err);
	if (r == 0 && !start->deployment)
		r = store_new_deployment(start);
	if (r == 0)
		r = c->store->ops->rollout_put(c->store, &start->record, err);
	start->first = rollout_event_make(EVENT_START, start->record.created_ms, ROLLOUT_NO_NODE);
	if (r == 0)
		r = codec_encode(&codec_rollout_event, &start->first, LIMIT_AGENT_MESSAGE,
				 &entry.event, err);
	if (r == 0)
		r = c->store->ops->journal_append(c->store, &entry, err);
	free(entry.event.data);
	return r;
}

static void take_old(struct start *start)
{
	const struct shell_feed feed = {
		start->old,
		rollout_event_make(EVENT_SUPERSEDE, start->record.created_ms, ROLLOUT_NO_NODE)};

	rollouts_apply(start->call->c, &feed);
	rollouts_take_end(start->call->c, start->old, NULL);
}

/* In memory, after the commit. Nothing here can fail. */
static void take_start(struct start *start)
{
	struct coordinator *c = start->call->c;
	const struct shell_feed first = {start->machine, start->first};

	if (start->old)
		take_old(start);
	forget(c, &start->forgotten);
	if (!start->deployment)
		deployments_insert(c, &start->new_deployment, start->wish->spec);
	MEM_GROW(c->history, &c->history_cap, c->history_count);
	c->history[c->history_count++] = start->machine->head;
	c->rollout_number = start->record.number;
	c->fleet_changed = true;
	rollouts_adopt(c, start->machine);
	rollouts_apply(c, &first);
}

static int start_rollout(struct start *start, struct plan *plan)
{
	struct coordinator *c = start->call->c;
	const struct store_rollout *forgotten = oldest_to_forget(c, start->wish->spec->name);
	uint64_t attempt = 1;
	char from[SHELL_TEXT_RELEASE], to[SHELL_TEXT_RELEASE];
	int r = last_attempt(c, start->wish->spec, &attempt, &start->call->err);

	if (forgotten)
		start->forgotten = forgotten->id;
	if (attempt < start->wish->attempt_at_least)
		attempt = start->wish->attempt_at_least;
	if (r == 0)
		r = encode_start(start, plan, attempt);
	if (r == 0)
		start->machine = rollouts_create(&start->record);
	assert(r < 0 || start->machine); /* it was encoded a moment ago */
	if (r == 0)
		r = shell_begin(c, &start->call->err);
	if (r == 0)
		r = control_end(start->call, store_start(start));
	if (r < 0 && start->machine)
		rollouts_unload(start->machine);
	if (r == 0) {
		take_start(start);
		artifacts_name(c, &start->record.from, from);
		artifacts_name(c, &start->record.to, to);
		events_add(c, "rollout", start->record.deployment, &start->record.id, NULL,
			   "started by %s: %s to %s", start->call->who,
			   digest_is_zero(&start->record.from) ? "first install" : from, to);
	}
	return r;
}

/* Nothing to change on any node: at most the declaration is another one. */
static int keep_running(struct control_call *call, struct shell_deployment *deployment,
			const struct deployment_spec *spec)
{
	struct coordinator *c = call->c;
	struct store_deployment record = {0};
	int r;

	if (deployment && digest_equal(&deployment->record.base, &spec->release) &&
	    codec_equal(&codec_deployment_spec, &deployment->spec, spec))
		return 0;
	if (deployment)
		record = deployment->record;
	else
		record.created_ms = shell_now(c);
	STR_CUT(record.name, spec->name);
	record.base = spec->release;
	record.changed_ms = shell_now(c);
	r = codec_encode(&codec_deployment_spec, spec, LIMIT_MANIFEST, &record.spec, &call->err);
	if (r == 0)
		r = shell_begin(c, &call->err);
	if (r == 0)
		r = control_end(call, c->store->ops->deployment_put(c->store, &record, &call->err));
	free(record.spec.data);
	if (r < 0)
		return r;
	deployments_remove(c, spec->name);
	deployments_insert(c, &record, spec);
	c->dirty = true;
	return 0;
}

/* The sentence of a refusal carries the id, so that it can be followed or superseded. */
static int check_running(struct control_call *call, const struct rollout_wish *wish)
{
	size_t count = 0;
	AUTO_FREE const struct rollout **machines = rollouts_machines(call->c, NULL, &count);

	return fleet_may_apply(machines, count, wish->spec->name, wish->supersede, &call->err);
}

static int apply_plan(struct control_call *call, const struct rollout_wish *wish,
		      struct plan *plan, struct rollout_id *ret_id)
{
	struct coordinator *c = call->c;
	struct shell_rollout *ro = rollouts_of(c, wish->spec->name);
	struct start start = {.call = call,
			      .wish = wish,
			      .deployment = deployments_find(c, wish->spec->name),
			      .old = ro && rollouts_under_way(ro) ? ro : NULL};
	int r = plan_check_removal(plan, wish->allow_removal, &call->err);

	if (r < 0)
		return r;
	if (!start.old && plan_changes(plan) == 0 && plan->removed_count == 0)
		return keep_running(call, start.deployment, wish->spec);
	r = start_rollout(&start, plan);
	if (r == 0)
		*ret_id = start.record.id;
	free(start.record.spec.data);
	free(start.record.snapshot.data);
	return r;
}

int plans_apply(struct control_call *call, const struct rollout_wish *wish,
		struct rollout_id *ret_id)
{
	struct plan plan = {0};
	int r;

	*ret_id = (struct rollout_id){0};
	r = check_running(call, wish);
	if (r == 0)
		r = windows_check(&wish->spec->windows, &call->err);
	if (r == 0)
		r = plans_make(call->c, wish->spec, &plan, &call->err);
	if (r < 0)
		return r;
	r = apply_plan(call, wish, &plan, ret_id);
	plan_free(&plan);
	return r;
}
