/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each node must do, made anew from the state whenever that changed, and pushed where it
 * differs from what the node was told. Epoch, generation and digest are committed before a push.
 *
 * A generation is never smaller than the unix time in ms at which it was made. So a database that
 * was restored from a backup makes generations that are newer than all of its lost future, and
 * cannot by accident count up to a number that once meant something else.
 */
#include "coordinator/rollouts.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

struct change {
	struct shell_node *node;
	struct desired_state state; /* owned until it is the node's */
	struct digest digest;
};

/* Every slot of a deployment counts against one baseline, or they could not be compared: that of the
 * release which serves, and where it has none that of the one to come. */
struct digest desired_baseline(struct coordinator *c, const char *deployment,
			       const struct shell_rollout *ro)
{
	const struct shell_deployment *stands = deployments_find(c, deployment);
	struct digest baseline = {0};

	if (stands)
		baseline = baselines_of(c, deployment, &stands->record.base);
	if (digest_is_zero(&baseline) && ro)
		baseline = baselines_of(c, deployment, &ro->head.to);
	return baseline;
}

/* Bounds that absolute gates on latency have: what is above them is counted one by one. */
static void set_thresholds(const struct deployment_spec *spec, struct observe_order *order)
{
	size_t count = 0;

	for (size_t i = 0; i < spec->gates_count && count < LIMIT_THRESHOLDS; i++)
		if (spec->gates[i].bound_ms)
			order->thresholds[count++].us = spec->gates[i].bound_ms * 1000;
}

/* False: the node has nothing to do with the deployment. */
static bool assign(struct coordinator *c, const struct shell_deployment *deployment,
		   const struct shell_node *node, struct assignment *ret_assignment)
{
	const struct shell_rollout *ro = rollouts_of(c, deployment->record.name);
	const struct deployment_report *report = agents_report(node, deployment->record.name);
	bool in_rollout = ro && rollouts_under_way(ro) &&
			  rollout_find(ro->machine, &node->record.id) != ROLLOUT_NO_NODE;
	struct fleet_deployment stands = {
		.spec = in_rollout ? &ro->spec : &deployment->spec,
		.base = deployment->record.base,
		.rollout = ro ? ro->machine : NULL,
	};
	struct fleet_member member = {
		.id = node->record.id,
		.selected = agents_matches(node, deployment->spec.selector) ||
			    (in_rollout && agents_matches(node, ro->spec.selector)),
		.cordoned = node->record.cordoned,
		.present = report != NULL,
	};

	if (report)
		member.release = report->release;
	if (!fleet_assign(&stands, &member, ret_assignment))
		return false;
	ret_assignment->observe.baseline =
		desired_baseline(c, deployment->record.name, in_rollout ? ro : NULL);
	set_thresholds(stands.spec, &ret_assignment->observe);
	if (c->observe_period_ms != OBSERVE_PERIOD_MS)
		ret_assignment->observe.period_ms = c->observe_period_ms;
	return true;
}

static void make(struct coordinator *c, const struct shell_node *node,
		 struct desired_state *ret_state)
{
	struct assignment assignments[LIMIT_DEPLOYMENTS_PER_NODE];
	size_t count = 0;

	if (!node->record.pending) {
		for (size_t i = 0; i < c->deployments_count && count < ARRAY_SIZE(assignments);
		     i++)
			count += assign(c, c->deployments[i], node, &assignments[count]);
	}
	*ret_state = (struct desired_state){0};
	if (count > 0)
		ret_state->assignments = mem_copy(assignments, count * sizeof(*assignments));
	ret_state->assignments_count = count;
}

static int body_digest(const struct desired_state *state, struct digest *ret_digest,
		       struct err *err)
{
	struct desired_state body = *state;
	struct bytes data = {0};
	int r;

	body.epoch = 0;
	body.generation = 0;
	r = codec_encode(&codec_desired_state, &body, LIMIT_DESIRED_MESSAGE, &data, err);
	if (r == 0)
		digest_of(ret_digest, data.data, data.size);
	free(data.data);
	return r;
}

bool desired_stays(struct coordinator *c, const struct shell_node *node)
{
	struct desired_state state;
	struct digest digest;
	int r;

	make(c, node, &state);
	r = body_digest(&state, &digest, NULL);
	codec_free(&codec_desired_state, &state);
	return r == 0 && digest_equal(&digest, &node->desired_digest);
}

/* Fills change when the node must be told something else than before. 1: it must; 0: no. */
static int compare(struct coordinator *c, struct shell_node *node, struct change *change,
		   struct err *err)
{
	uint64_t now = shell_now(c);
	int r;

	change->node = node;
	make(c, node, &change->state);
	change->state.epoch = node->desired.epoch;
	change->state.generation = node->desired.generation;
	/* in most cases, and cheaper than a digest */
	if (node->desired_made &&
	    codec_equal(&codec_desired_state, &change->state, &node->desired)) {
		codec_free(&codec_desired_state, &change->state);
		return 0;
	}
	r = body_digest(&change->state, &change->digest, err);
	if (r == 0 && digest_equal(&change->digest, &node->desired_digest)) {
		codec_free(&codec_desired_state, &node->desired);
		node->desired = change->state;
		node->desired_made = true;
		return 0;
	}
	if (r < 0) {
		codec_free(&codec_desired_state, &change->state);
		return r;
	}
	change->state.epoch = node->desired.epoch ? node->desired.epoch : 1;
	change->state.generation =
		node->desired.generation >= now ? node->desired.generation + 1 : now;
	return 1;
}

static int store_changes(struct coordinator *c, const struct change *changes, size_t count,
			 struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		struct store_desired row = {.node = changes[i].node->record.id,
					    .epoch = changes[i].state.epoch,
					    .generation = changes[i].state.generation,
					    .digest = changes[i].digest};

		r = c->store->ops->desired_put(c->store, &row, err);
	}
	return r;
}

static void take_changes(struct coordinator *c, struct change *changes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct shell_node *node = changes[i].node;

		codec_free(&codec_desired_state, &node->desired);
		node->desired = changes[i].state;
		node->desired_digest = changes[i].digest;
		node->desired_made = true;
		desired_push(c, node);
	}
}

void desired_update(struct coordinator *c)
{
	AUTO_FREE struct change *changes = mem_array(c->nodes_count + 1, sizeof(*changes));
	struct err err = {0};
	size_t count = 0;
	int r = 0;

	/* A machine may have ended whose end is not in the store yet: what it leaves behind, the new
	 * base, is not known before, and nodes must not be told that there is none. */
	if (c->unsettled || c->fleet_changed)
		return;
	for (size_t i = 0; r >= 0 && i < c->nodes_count; i++) {
		if (c->nodes[i]->record.revoked)
			continue;
		r = compare(c, c->nodes[i], &changes[count], &err);
		count += r == 1;
	}
	if (r >= 0 && count > 0) {
		r = shell_begin(c, &err);
		if (r == 0)
			r = shell_end(c, store_changes(c, changes, count, &err), &err);
	}
	if (r < 0) {
		for (size_t i = 0; i < count; i++)
			codec_free(&codec_desired_state, &changes[i].state);
		shell_store_failed(c, r, &err);
		return;
	}
	c->dirty = false;
	c->settled_ms = shell_now(c);
	if (count > 0)
		exchange_changed(c);
	take_changes(c, changes, count);
}

void desired_push(struct coordinator *c, struct shell_node *node)
{
	if (node->linked)
		agents_send(c, &node->record.id, MESSAGE_DESIRED, &node->desired);
}

bool desired_has_release(const struct shell_node *node, const struct digest *release)
{
	for (size_t i = 0; i < node->desired.assignments_count; i++) {
		const struct assignment *assignment = &node->desired.assignments[i];

		if (digest_equal(&assignment->base, release) ||
		    digest_equal(&assignment->next, release))
			return true;
	}
	return false;
}
