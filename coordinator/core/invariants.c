/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promises, checked from outside: from the plain fields and from what was seen before, not with
 * the functions that make the decisions, so that one mistake does not excuse the other.
 */
#include "coordinator/core/invariants.h"

#include "base/mem.h"
#include "base/str.h"

struct seen_node {
	bool changed, place;
	uint64_t attempt;
};

struct invariants {
	enum rollout_state state;
	bool going_back, frozen, window_closed, verdict_failed;
	struct seen_node *nodes;
	uint32_t *used; /* scratch: places of each group */
	size_t capacity;
};

static bool verdict_failed(const struct rollout *r)
{
	for (size_t i = 0; i < r->stages_count; i++)
		if (r->stages[i].verdict == VERDICT_FAIL)
			return true;
	return false;
}

static void remember(struct invariants *seen, const struct rollout *r)
{
	seen->state = r->state;
	seen->going_back = r->going_back;
	seen->frozen = r->frozen;
	seen->window_closed = r->window_closed;
	seen->verdict_failed = verdict_failed(r);
	for (size_t i = 0; i < r->nodes_count; i++) {
		const struct rollout_node *n = &r->nodes[i];

		seen->nodes[i] = (struct seen_node){n->changed, n->place, n->attempt};
	}
}

struct invariants *invariants_new(const struct rollout *r)
{
	struct invariants *seen = mem_alloc(sizeof(*seen));

	seen->capacity = r->nodes_capacity;
	seen->nodes = mem_array(seen->capacity + 1, sizeof(*seen->nodes));
	seen->used = mem_array(seen->capacity + 1, sizeof(*seen->used));
	remember(seen, r);
	return seen;
}

void invariants_free(struct invariants *seen)
{
	free(seen->nodes);
	free(seen->used);
	free(seen);
}

/* Let go since the last look: it holds a place that it did not hold, or another attempt's. A node
 * that serves the release already is left there, which takes no place. */
static bool let_go(const struct invariants *seen, const struct rollout *r, size_t node)
{
	const struct rollout_node *n = &r->nodes[node];

	return n->place && (!seen->nodes[node].place || n->attempt != seen->nodes[node].attempt);
}

static bool out_of_service(const struct rollout *r, const struct rollout_node *n)
{
	bool nothing_before = digest_is_zero(&r->from) && digest_is_zero(&n->release);

	return !n->gone && (n->place || n->busy ||
	                    (n->changed && n->reachable && !n->healthy && !nothing_before));
}

int invariants_budget(const struct invariants *seen, const struct rollout *r, struct err *err)
{
	const struct plan_stage *plan = &r->stages[r->stage].plan;
	uint32_t places = 0, out = 0, fresh = 0;

	memset(seen->used, 0, seen->capacity * sizeof(*seen->used));
	for (size_t i = 0; i < r->nodes_count; i++) {
		const struct rollout_node *n = &r->nodes[i];

		places += n->place;
		out += out_of_service(r, n);
		fresh += let_go(seen, r, i);
		seen->used[n->group] += n->place;
		if (plan->max_in_change_per_group &&
		    seen->used[n->group] > plan->max_in_change_per_group)
			return err_set(
			    err, -EPROTO, "%u nodes of group \"%s\" in change, %u allowed",
			    seen->used[n->group], n->group_value, plan->max_in_change_per_group);
	}
	if (places > plan->max_in_change)
		return err_set(err, -EPROTO, "%u nodes in change, %u allowed", places,
		               plan->max_in_change);
	if (fresh > 0 && out > plan->max_in_change)
		return err_set(err, -EPROTO, "a node was let go with %u out of service, %u allowed",
		               out, plan->max_in_change);
	return 0;
}

static const char *nobody_new_because(const struct invariants *seen, const struct rollout *r)
{
	if (seen->going_back || rollout_state_is_final(seen->state))
		return "the rollout goes back or has ended";
	if (seen->verdict_failed)
		return "a gate had failed";
	if (seen->state == ROLLOUT_PAUSED && r->state == ROLLOUT_PAUSED)
		return "the rollout is paused";
	if (seen->state == ROLLOUT_STUCK && r->state == ROLLOUT_STUCK)
		return "the rollout is stuck";
	if (seen->frozen && r->frozen)
		return "the rollout is frozen";
	if (seen->window_closed && r->window_closed)
		return "the window is closed";
	return NULL;
}

int invariants_nobody_new(const struct invariants *seen, const struct rollout *r, struct err *err)
{
	const char *because = nobody_new_because(seen, r);

	if (!because)
		return 0;
	for (size_t i = 0; i < r->nodes_count; i++)
		if (let_go(seen, r, i))
			return err_set(err, -EPROTO, "node %zu was let go although %s", i, because);
	return 0;
}

int invariants_moves(const struct invariants *seen, const struct rollout *r, struct err *err)
{
	bool reached[ROLLOUT_STATE_COUNT] = {false};

	reached[seen->state] = true;
	/* one event may lead over several states: the closure of the table */
	for (size_t round = 0; round < ROLLOUT_STATE_COUNT; round++)
		for (size_t i = 0; i < rollout_moves_count; i++)
			if (reached[rollout_moves[i].from])
				reached[rollout_moves[i].to] = true;
	if (reached[r->state])
		return 0;
	return err_set(err, -EPROTO, "%s cannot become %s", rollout_state_name(seen->state),
	               rollout_state_name(r->state));
}

/* On the old release; or, where the node bars that, rolled back to something that is not new. */
static bool is_back(const struct rollout *r, const struct rollout_node *n)
{
	bool elsewhere = n->state == NODE_STATE_ROLLED_BACK && !digest_equal(&n->release, &r->to);

	return !n->reachable || (n->current && (digest_equal(&n->release, &r->from) || elsewhere));
}

static bool has_verdict(const struct rollout *r, const struct rollout_node *n)
{
	return !n->reachable || n->failed || n->lost ||
	       (n->healthy && digest_equal(&n->release, &r->to));
}

int invariants_accounted(const struct invariants *seen, const struct rollout *r, struct err *err)
{
	bool came_back = seen->state != ROLLOUT_STUCK && !rollout_state_is_final(seen->state) &&
	                 r->going_back && !r->superseded &&
	                 (r->state == ROLLOUT_ROLLED_BACK || r->state == ROLLOUT_ABORTED);
	bool completed = r->state == ROLLOUT_COMPLETED && !rollout_state_is_final(seen->state);

	for (size_t i = 0; i < r->nodes_count; i++) {
		const struct rollout_node *n = &r->nodes[i];

		if (n->told && !n->changed)
			return err_set(err, -EPROTO, "node %zu is told but not counted as changed",
			               i);
		if (n->place && !n->told)
			return err_set(err, -EPROTO, "node %zu holds a place and was not told", i);
		if (seen->nodes[i].changed && !n->changed)
			return err_set(err, -EPROTO, "node %zu was changed and is forgotten", i);
		if (came_back && n->changed && !n->gone && !is_back(r, n))
			return err_set(err, -EPROTO, "the rollout ended and node %zu is not back",
			               i);
		if (completed && !n->gone && !has_verdict(r, n))
			return err_set(err, -EPROTO, "completed without a verdict on node %zu", i);
	}
	return 0;
}

int invariants_order(const struct rollout *r, struct err *err)
{
	bool all_before = true;

	for (size_t i = 0; i < r->stages_count; i++) {
		enum stage_state state = r->stages[i].state;

		if (state != STAGE_PENDING && state != STAGE_SKIPPED && !all_before)
			return err_set(err, -EPROTO, "stage %zu is %s before its time", i,
			               stage_state_name(state));
		all_before = all_before && (state == STAGE_PASSED || state == STAGE_SKIPPED);
	}
	return 0;
}

int invariants_check(struct invariants *seen, const struct rollout *r, struct err *err)
{
	int result = invariants_budget(seen, r, err);

	if (!result)
		result = invariants_nobody_new(seen, r, err);
	if (!result)
		result = invariants_moves(seen, r, err);
	if (!result)
		result = invariants_accounted(seen, r, err);
	if (!result)
		result = invariants_order(r, err);
	remember(seen, r);
	return result;
}

int invariants_assignment(const struct rollout *r, const struct assignment *assignment,
                          struct err *err)
{
	bool has_next = !digest_is_zero(&assignment->next);

	if (has_next != (assignment->goal != GOAL_NONE))
		return err_set(err, -EPROTO, "a goal without a release, or the other way round");
	if (has_next && !digest_equal(&assignment->next, &r->to))
		return err_set(err, -EPROTO, "told to run neither the old nor the new release");
	if (!digest_equal(&assignment->base, &r->from) && !digest_equal(&assignment->base, &r->to))
		return err_set(err, -EPROTO, "falls back to neither the old nor the new release");
	if (digest_equal(&assignment->base, &r->to) && !digest_equal(&r->from, &r->to) &&
	    r->state != ROLLOUT_COMPLETED)
		return err_set(err, -EPROTO, "the new release is the base before the end");
	if (assignment->revert && has_next)
		return err_set(err, -EPROTO, "told to go back and on at once");
	return 0;
}

static int fleet_pair(const struct rollout *a, const struct rollout *b, struct err *err)
{
	if (rollout_state_is_final(a->state) || rollout_state_is_final(b->state))
		return 0;
	if (str_equal(a->deployment, b->deployment))
		return err_set(err, -EPROTO, "two rollouts of %s are under way", a->deployment);
	for (size_t i = 0; i < a->nodes_count; i++) {
		uint32_t other;

		if (!a->nodes[i].place)
			continue;
		other = rollout_find(b, &a->nodes[i].id);
		if (other != ROLLOUT_NO_NODE && b->nodes[other].place)
			return err_set(err, -EPROTO, "%s and %s change the same node at once",
			               a->deployment, b->deployment);
	}
	return 0;
}

int invariants_fleet(const struct rollout *const *rollouts, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++)
		for (size_t j = i + 1; j < count; j++) {
			int result = fleet_pair(rollouts[i], rollouts[j], err);

			if (result)
				return result;
		}
	return 0;
}
