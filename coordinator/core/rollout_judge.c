/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes one by one: who has failed, by its own words or by the clock; who may be let go, within
 * max_unavailable. A place is taken when a node is told and given back when it is known to serve
 * again, so a late or lost report can only keep others waiting, never put too many out of service.
 */
#include "coordinator/core/rollout_internal.h"

#include "base/str.h"

/* ---- judging nodes ---- */

static void take_back_node(struct rollout *r, uint32_t node, const char *phase, const char *check,
                           const char *text)
{
	struct rollout_node *n = &r->nodes[node];
	struct rollout_why *why = &r->node_whys[node];

	n->failed = n->timed_out = true;
	n->place = false;
	r->last_failed = node;
	STR_CUT(why->phase, phase);
	STR_CUT(why->check, check);
	STR_CUT(why->text, text);
	rollout_note(r, NOTE_NODE_FAILED, node, "%s: %s", check, text);
	if (n->changed)
		node_goal_changed(r, n);
}

static void judge_words(struct rollout *r, uint32_t node)
{
	struct rollout_node *n = &r->nodes[node];
	const struct rollout_why *why = &r->node_whys[node];
	bool sick = n->told && !n->failed && n->state == NODE_STATE_SERVING && !n->healthy &&
	            digest_equal(&n->release, &r->to);

	if (!n->failed && node_reports_failure(r, n)) {
		n->failed = true;
		r->last_failed = node;
		rollout_note(r, NOTE_NODE_FAILED, node, "%s: %.180s", why->check, why->text);
	} else if (n->failed && !n->timed_out && node_serves_new(r, n)) {
		n->failed = false; /* its latest word counts */
	}
	if (!n->told && !n->failed && node_serves_new(r, n) && !rollout_prepares(r)) {
		n->told = n->changed = true; /* it serves the release already: leave it there */
		n->step_clock_ms = rollout_clock(r);
	}
	if (sick && !n->sick)
		n->sick_clock_ms = rollout_clock(r);
	n->sick = sick;
}

static void judge_time(struct rollout *r, uint32_t node)
{
	struct rollout_node *n = &r->nodes[node];
	uint64_t clock = rollout_clock(r), node_ms = r->policy.deadlines.node_ms;

	if (n->failed || n->lost)
		return;
	if (!n->reachable) {
		if (n->told && !node_done(r, n) && clock >= n->silent_clock_ms + node_ms) {
			n->lost = true;
			rollout_note(r, NOTE_NODE_SILENT, node,
			             "silent for longer than its deadline");
		}
	} else if (n->sick && clock >= n->sick_clock_ms + ROLLOUT_SICK_MS) {
		take_back_node(r, node, "serve", "health",
		               "the release was committed and then stayed unhealthy");
	} else if (clock >= node_step_deadline(r, n)) {
		take_back_node(r, node, "deadline", "node",
		               node_serves_new(r, n) ? "the bake did not end in time"
		                                     : "the release did not serve in time");
	}
}

static void free_place(struct rollout *r, struct rollout_node *n)
{
	bool settled = n->healthy || (digest_is_zero(&r->from) && digest_is_zero(&n->release));

	if (!n->place)
		return;
	if (n->lost || n->gone || node_serves_new(r, n) || (node_reports_failure(r, n) && settled))
		n->place = false;
}

/* The stage's time is over: whoever has not made it has failed, or is lost. */
static void judge_stage_time(struct rollout *r)
{
	struct rollout_stage *stage = &r->stages[r->stage];

	if (stage->deadline_over || stage->state == STAGE_PENDING ||
	    rollout_clock(r) < stage->opened_clock_ms + r->policy.deadlines.stage_ms)
		return;
	stage->deadline_over = true;
	for (uint32_t i = 0; i < r->nodes_count; i++) {
		struct rollout_node *n = &r->nodes[i];

		if (!node_opened(r, n) || !node_open(r, n))
			continue;
		if (n->reachable)
			take_back_node(r, i, "deadline", "stage",
			               n->told ? "the stage ended before the node was done"
			                       : "the stage ended before the node could begin");
		else
			n->lost = true;
	}
}

void rollout_judge(struct rollout *r)
{
	for (uint32_t i = 0; i < r->nodes_count; i++) {
		struct rollout_node *n = &r->nodes[i];

		if (n->gone || !node_opened(r, n))
			continue;
		judge_words(r, i);
		judge_time(r, i);
		free_place(r, n);
	}
	judge_stage_time(r);
}

/* ---- letting nodes go ---- */

static bool may_go(const struct rollout *r, const struct rollout_node *n)
{
	const struct rollout_stage *stage = rollout_stage_of(r, n);

	if (n->gone || n->told || n->busy || n->failed || !n->reachable || n->stage > r->stage)
		return false;
	if (stage->state == STAGE_PENDING || !n->staged || !(n->ours || n->current))
		return false;
	return stage->plan.step != STEP_SWITCH || n->proven;
}

struct budget {
	uint32_t out, max, per_group;
};

static struct budget budget_now(struct rollout *r)
{
	const struct plan_stage *plan = &r->stages[r->stage].plan;
	struct budget budget = {.max = plan->max_in_change,
	                        .per_group = plan->max_in_change_per_group};

	if (budget.per_group)
		memset(r->group_used, 0, r->nodes_count * sizeof(*r->group_used));
	for (size_t i = 0; i < r->nodes_count; i++) {
		if (!node_out_of_service(r, &r->nodes[i]))
			continue;
		budget.out++;
		r->group_used[r->nodes[i].group] += budget.per_group ? 1 : 0;
	}
	return budget;
}

static bool too_silent(const struct rollout *r)
{
	uint32_t changed = 0, silent = 0;

	for (size_t i = 0; i < r->nodes_count; i++) {
		const struct rollout_node *n = &r->nodes[i];

		if (n->gone || !n->changed)
			continue;
		changed++;
		silent += n->told && !n->reachable && !node_done(r, n);
	}
	return gate_too_silent(&r->policy.failures, changed, silent);
}

static void tell(struct rollout *r, uint32_t node)
{
	struct rollout_node *n = &r->nodes[node];

	n->told = n->changed = n->place = true;
	n->step_clock_ms = rollout_clock(r);
	rollout_note(r, NOTE_NODE_TOLD, node, "may serve the release");
	if (r->state == ROLLOUT_STAGING)
		rollout_move(r, rollout_stage_of(r, n)->plan.canary && r->stage == 0
		                    ? CAUSE_OPEN_CANARY
		                    : CAUSE_OPEN);
	node_goal_changed(r, n);
}

static uint32_t first_candidate(const struct rollout *r)
{
	for (uint32_t i = 0; i < r->nodes_count; i++)
		if (may_go(r, &r->nodes[i]))
			return i;
	return ROLLOUT_NO_NODE;
}

void rollout_let_go(struct rollout *r)
{
	uint32_t first = first_candidate(r);
	struct budget budget;

	if (first == ROLLOUT_NO_NODE || r->window_closed || too_silent(r))
		return;
	budget = budget_now(r);
	for (uint32_t i = first; i < r->nodes_count && rollout_is_forward(r); i++) {
		const struct rollout_node *n = &r->nodes[i];
		uint32_t own = node_out_of_service(r, n);
		uint32_t *group = &r->group_used[n->group];

		if (!may_go(r, n) || budget.out - own >= budget.max)
			continue;
		if (budget.per_group && *group - own >= budget.per_group)
			continue;
		tell(r, i);
		budget.out += 1 - own;
		*group += budget.per_group ? 1 - own : 0;
	}
}
