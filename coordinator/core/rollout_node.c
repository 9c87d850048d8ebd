/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node's last words mean for the rollout. The answers depend on the present alone (flags
 * that must be remembered are set by rollout_advance.c), and each question has one answer, here.
 *
 * Reports can be stale: a node may have acted since, or not yet heard its newest goal. So whatever
 * frees something (a node is back, a failure belongs to this attempt) asks for a report that
 * answers the newest desired state or names this rollout, and whatever takes (told, a place) counts
 * from the moment the coordinator allowed it.
 */
#include "coordinator/core/rollout_internal.h"

uint64_t rollout_clock(const struct rollout *r)
{
	uint64_t stood = r->stopped_ms + (r->stopped ? r->now_ms - r->stopped_since_ms : 0);

	return r->now_ms - stood;
}

const struct rollout_stage *rollout_stage_of(const struct rollout *r, const struct rollout_node *n)
{
	return &r->stages[n->stage];
}

bool rollout_under_way(const struct rollout *r)
{
	switch (r->state) {
	case ROLLOUT_STAGING:
	case ROLLOUT_CANARY:
	case ROLLOUT_SOAKING:
	case ROLLOUT_WIDENING:
	case ROLLOUT_PAUSED:
		return true;
	case ROLLOUT_STUCK:
		return !r->going_back;
	case ROLLOUT_PLANNED:
	case ROLLOUT_ROLLING_BACK:
	case ROLLOUT_ROLLED_BACK:
	case ROLLOUT_COMPLETED:
	case ROLLOUT_ABORTED:
	case ROLLOUT_STATE_COUNT:
	default:
		return false;
	}
}

bool rollout_is_forward(const struct rollout *r)
{
	return rollout_under_way(r) && r->state != ROLLOUT_PAUSED && r->state != ROLLOUT_STUCK &&
	       !r->frozen;
}

bool node_opened(const struct rollout *r, const struct rollout_node *n)
{
	return r->policy.strategy == STRATEGY_BLUE_GREEN || n->stage <= r->stage;
}

static bool serves(const struct rollout_node *n, const struct digest *release)
{
	return n->healthy && digest_equal(&n->release, release) &&
	       (n->state == NODE_STATE_SERVING || n->state == NODE_STATE_BAKING);
}

bool node_serves_new(const struct rollout *r, const struct rollout_node *n)
{
	return serves(n, &r->to);
}

bool node_done(const struct rollout *r, const struct rollout_node *n)
{
	if (n->failed)
		return false;
	if (node_serves_new(r, n) && n->state == NODE_STATE_SERVING)
		return true;
	return rollout_prepares(r) && n->proven && (n->ours || n->current);
}

/* Moving between slots: its release says nothing yet. */
static bool in_motion(const struct rollout_node *n)
{
	switch (n->state) {
	case NODE_STATE_STARTING:
	case NODE_STATE_PROBING:
	case NODE_STATE_SWITCHING:
	case NODE_STATE_BAKING:
	case NODE_STATE_REVERTING:
		return true;
	case NODE_STATE_PENDING:
	case NODE_STATE_FETCHING:
	case NODE_STATE_STAGED:
	case NODE_STATE_SERVING:
	case NODE_STATE_ROLLED_BACK:
	case NODE_STATE_FAILED:
	case NODE_STATE_UNREACHABLE:
	case NODE_STATE_COUNT:
	default:
		return false;
	}
}

/* It may not run the old release, which it had rolled back before this rollout: it stands where it
 * stood then, and says that this is its end. */
static bool stands_as_before(const struct rollout *r, const struct rollout_node *n)
{
	return n->ours && n->state == NODE_STATE_ROLLED_BACK && !digest_equal(&n->release, &r->to) &&
	       (n->healthy || digest_is_zero(&n->release));
}

bool node_returned(const struct rollout *r, const struct rollout_node *n)
{
	if (!n->current || in_motion(n))
		return false;
	if (!digest_equal(&n->release, &r->from))
		return stands_as_before(r, n);
	return n->state != NODE_STATE_FAILED || n->healthy || digest_is_zero(&r->from);
}

bool node_return_failed(const struct rollout *r, const struct rollout_node *n)
{
	return n->reachable && n->current && n->state == NODE_STATE_FAILED && !node_returned(r, n);
}

bool node_reports_failure(const struct rollout *r, const struct rollout_node *n)
{
	if (n->state != NODE_STATE_ROLLED_BACK && n->state != NODE_STATE_FAILED)
		return false;
	if (n->report_attempt != n->attempt)
		return false;
	return n->ours || (n->current && digest_equal(&n->target, &r->to));
}

static bool in_change(const struct rollout *r, const struct rollout_node *n)
{
	if (n->gone || r->superseded)
		return false;
	if (n->place)
		return true;
	return n->changed && (r->going_back || n->timed_out) && !node_returned(r, n);
}

bool rollout_changes_node(const struct rollout *r, uint32_t node)
{
	return in_change(r, &r->nodes[node]);
}

bool node_out_of_service(const struct rollout *r, const struct rollout_node *n)
{
	bool never_served = digest_is_zero(&n->release) && digest_is_zero(&r->from);

	if (n->gone)
		return false;
	if (n->busy || in_change(r, n))
		return true;
	/* in motion: what a rollout that was superseded began, or the way back from it */
	return (n->changed || in_motion(n)) && n->reachable && !n->healthy && !never_served;
}

bool node_open(const struct rollout *r, const struct rollout_node *n)
{
	if (n->gone || n->failed || n->lost || node_done(r, n))
		return false;
	return n->told || n->reachable;
}

uint64_t node_step_deadline(const struct rollout *r, const struct rollout_node *n)
{
	const struct rollout_stage *stage = rollout_stage_of(r, n);

	if (!n->told || n->failed || n->lost || n->gone || node_done(r, n))
		return UINT64_MAX;
	if (node_serves_new(r, n))
		return n->step_clock_ms + stage->plan.bake_ms + r->policy.deadlines.node_ms;
	return n->step_clock_ms + r->policy.deadlines.node_ms;
}

void node_count(const struct rollout *r, const struct rollout_node *n, struct gate_counts *counts)
{
	counts->opened++;
	counts->changed += n->changed || n->failed || rollout_prepares(r);
	counts->failed += n->failed && !n->quarantined;
	counts->silent += !n->reachable;
	counts->lost += n->lost;
}

struct gate_counts rollout_counts(const struct rollout *r)
{
	struct gate_counts counts = {0};

	for (size_t i = 0; i < r->nodes_count; i++)
		if (!r->nodes[i].gone && node_opened(r, &r->nodes[i]))
			node_count(r, &r->nodes[i], &counts);
	return counts;
}

enum node_state rollout_node_state(const struct rollout *r, uint32_t node)
{
	const struct rollout_node *n = &r->nodes[node];

	if (!n->reachable)
		return NODE_STATE_UNREACHABLE;
	if (n->timed_out)
		return node_returned(r, n) ? NODE_STATE_ROLLED_BACK : NODE_STATE_FAILED;
	if (n->changed && r->going_back && node_returned(r, n))
		return NODE_STATE_ROLLED_BACK;
	if (n->ours || n->current || n->told)
		return n->state;
	return digest_equal(&n->release, &r->to) ? n->state : NODE_STATE_PENDING;
}

uint32_t rollout_find(const struct rollout *r, const struct node_id *id)
{
	size_t low = 0, high = r->nodes_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = memcmp(r->nodes[r->by_id[middle]].id.bytes, id->bytes, NODE_ID_SIZE);

		if (order == 0)
			return r->by_id[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return ROLLOUT_NO_NODE;
}
