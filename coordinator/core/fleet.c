/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where rollouts meet. Each rollout knows its own nodes; what several of them share is settled by
 * comparison, after every event, instead of by locks: who changes a node right now is read off the
 * rollouts themselves, and the others are told.
 */
#include "coordinator/core/fleet.h"

#include "base/str.h"

static void write_knobs(const struct deployment_spec *spec, struct assignment *assignment)
{
	STR_CUT(assignment->deployment, spec->name);
	assignment->swap = spec->swap;
	assignment->bake_ms = spec->batch_bake_ms;
	assignment->drain_ms = spec->drain_ms;
	assignment->keep_warm_ms = spec->keep_warm_ms;
	assignment->node_deadline_ms = spec->deadlines.node_ms;
	assignment->windows = spec->windows;
}

static void write_goal(const struct rollout *rollout, uint32_t node, struct assignment *assignment)
{
	struct rollout_goal goal;

	rollout_goal(rollout, node, &goal);
	if (!goal.owned)
		return;
	assignment->attempt = goal.attempt;
	assignment->rollout = rollout->id;
	assignment->goal = goal.goal;
	assignment->revert = goal.revert;
	assignment->hold_old = goal.hold_old;
	if (goal.goal == GOAL_NONE)
		return;
	assignment->next = rollout->to;
	assignment->bake_ms = goal.bake_ms;
}

/* A node that failed stays on the old release when the rollout completes without it; `retry` after
 * that is one more try at what is now the deployment's release. */
static void write_late_retry(const struct rollout *rollout, uint32_t node,
                             struct assignment *assignment)
{
	const struct rollout_node *n = &rollout->nodes[node];

	if (n->gone || n->attempt <= rollout->attempt ||
	    !digest_equal(&assignment->base, &rollout->to))
		return;
	assignment->next = rollout->to;
	assignment->goal = GOAL_SERVE;
}

bool fleet_assign(const struct fleet_deployment *deployment, const struct fleet_member *member,
                  struct assignment *ret_assignment)
{
	const struct rollout *rollout = deployment->rollout;
	uint32_t node = rollout ? rollout_find(rollout, &member->id) : ROLLOUT_NO_NODE;

	if (!member->selected)
		return false;
	*ret_assignment = (struct assignment){.base = deployment->base};
	write_knobs(deployment->spec, ret_assignment);
	if (member->cordoned) {
		/* one that serves nothing just now (it restarts, it goes back) is not emptied */
		if (!digest_is_zero(&member->release) || !member->present)
			ret_assignment->base = member->release;
		return !digest_is_zero(&ret_assignment->base);
	}
	if (node != ROLLOUT_NO_NODE) {
		/* evidence spoke against the node and not against the release: until `retry` it
		 * keeps what it served before */
		if (rollout->state == ROLLOUT_COMPLETED && rollout->nodes[node].quarantined)
			ret_assignment->base = rollout->from;
		write_goal(rollout, node, ret_assignment);
		if (rollout->state == ROLLOUT_COMPLETED)
			write_late_retry(rollout, node, ret_assignment);
	}
	return ret_assignment->goal != GOAL_NONE || ret_assignment->revert ||
	       !digest_is_zero(&ret_assignment->base);
}

uint64_t fleet_silent_at(uint64_t last_seen_ms, uint64_t started_ms)
{
	uint64_t by_lease = last_seen_ms + LIMIT_SILENCE_MS;
	uint64_t by_grace = started_ms + LIMIT_GRACE_MS;

	return by_lease > by_grace ? by_lease : by_grace;
}

bool fleet_silent(uint64_t last_seen_ms, uint64_t started_ms, uint64_t now_ms)
{
	return now_ms >= fleet_silent_at(last_seen_ms, started_ms);
}

static bool changed_by_others(const struct rollout *const *rollouts, size_t count, size_t own,
                              const struct node_id *id)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t node;

		if (i == own)
			continue;
		node = rollout_find(rollouts[i], id);
		if (node != ROLLOUT_NO_NODE && rollout_changes_node(rollouts[i], node))
			return true;
	}
	return false;
}

static bool next_difference(const struct rollout *const *rollouts, size_t count, bool busy,
			    struct fleet_busy *ret_busy)
{
	for (size_t i = 0; i < count; i++) {
		const struct rollout *r = rollouts[i];

		if (rollout_state_is_final(r->state))
			continue;
		for (uint32_t node = 0; node < r->nodes_count; node++) {
			const struct rollout_node *n = &r->nodes[node];

			if (n->gone || n->busy == busy ||
			    changed_by_others(rollouts, count, i, &n->id) != busy)
				continue;
			*ret_busy = (struct fleet_busy){.rollout = i, .node = node, .busy = busy};
			return true;
		}
	}
	return false;
}

/* Whoever hears that a node is free may let others go: it hears first which are taken. */
bool fleet_next_busy(const struct rollout *const *rollouts, size_t count,
		     struct fleet_busy *ret_busy)
{
	return next_difference(rollouts, count, true, ret_busy) ||
	       next_difference(rollouts, count, false, ret_busy);
}

int fleet_may_apply(const struct rollout *const *rollouts, size_t count, const char *deployment,
                    bool supersede, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		char id[ROLLOUT_ID_TEXT_MAX];

		if (supersede || rollout_state_is_final(rollouts[i]->state) ||
		    !str_equal(rollouts[i]->deployment, deployment))
			continue;
		str_hex(id, rollouts[i]->id.bytes, ROLLOUT_ID_SIZE);
		return err_set(err, -EBUSY,
		               "rollout %s of deployment %s is %s; wait for it, abort it, or pass "
		               "--supersede",
		               id, deployment, rollout_state_name(rollouts[i]->state));
	}
	return 0;
}
