/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be true outside, and when to look again. Both are read off the state: asked twice, they
 * say the same, so a restart or a lost message repairs itself.
 */
#include "coordinator/core/rollout_internal.h"

#include "base/str.h"

#include <assert.h>
#include <stdio.h>

#define X(name, text) text,
static const char *const note_names[NOTE_COUNT] = {ROLLOUT_NOTES(X)};
#undef X

const char *rollout_note_name(enum rollout_note_kind kind)
{
	assert(kind < NOTE_COUNT);
	return note_names[kind];
}

/* ---- goals ---- */

/* Later stages prefetch once the first one has switched; from then on they keep what they have. */
static bool prefetches(const struct rollout *r)
{
	return r->stage > 0 || r->stages[0].state == STAGE_BAKING;
}

static enum goal goal_ahead(const struct rollout *r, const struct rollout_node *n)
{
	if (n->told)
		return GOAL_SERVE;
	if (n->failed && n->timed_out)
		return GOAL_NONE;
	if (!node_opened(r, n))
		return prefetches(r) ? GOAL_FETCH : GOAL_NONE;
	return r->policy.strategy == STRATEGY_BLUE_GREEN ? GOAL_PREPARE : GOAL_FETCH;
}

void rollout_goal(const struct rollout *r, uint32_t node, struct rollout_goal *ret_goal)
{
	const struct rollout_node *n = &r->nodes[node];
	bool back = n->changed && (r->going_back || (n->timed_out && rollout_under_way(r)));

	assert(node < r->nodes_count);
	*ret_goal = (struct rollout_goal){
	    .attempt = n->attempt,
	    .bake_ms = rollout_stage_of(r, n)->plan.bake_ms,
	    .owned = !n->gone && !r->superseded,
	};
	if (!ret_goal->owned)
		return;
	if (back) {
		ret_goal->revert = true;
		return;
	}
	if (!rollout_under_way(r))
		return;
	ret_goal->goal = goal_ahead(r, n);
	ret_goal->hold_old = n->told;
}

/* ---- deadlines ---- */

static uint64_t earlier(uint64_t deadline, uint64_t candidate, uint64_t now)
{
	return candidate > now && candidate < deadline ? candidate : deadline;
}

static uint64_t node_deadline(const struct rollout *r, const struct rollout_node *n, uint64_t clock)
{
	uint64_t deadline = UINT64_MAX;

	if (n->gone || n->failed || n->lost || !node_opened(r, n))
		return UINT64_MAX;
	if (!n->reachable)
		return n->told && !node_done(r, n)
		           ? earlier(deadline, n->silent_clock_ms + r->policy.deadlines.node_ms,
		                     clock)
		           : UINT64_MAX;
	deadline = earlier(deadline, node_step_deadline(r, n), clock);
	if (n->sick)
		deadline = earlier(deadline, n->sick_clock_ms + ROLLOUT_SICK_MS, clock);
	return deadline;
}

/* In the rollout's clock. */
static uint64_t clock_deadline(const struct rollout *r)
{
	const struct rollout_stage *stage = &r->stages[r->stage];
	uint64_t clock = rollout_clock(r);
	uint64_t deadline =
	    earlier(UINT64_MAX, r->started_ms + r->policy.deadlines.rollout_ms, clock);

	if (!stage->deadline_over)
		deadline =
		    earlier(deadline, stage->opened_clock_ms + r->policy.deadlines.stage_ms, clock);
	if (stage->state == STAGE_BAKING && r->policy.evidence_deadline_ms > 0)
		deadline = earlier(deadline,
		                   stage->baking_clock_ms + r->policy.evidence_deadline_ms, clock);
	for (size_t i = 0; i < r->nodes_count; i++) {
		uint64_t candidate = node_deadline(r, &r->nodes[i], clock);

		deadline = candidate < deadline ? candidate : deadline;
	}
	return deadline;
}

uint64_t rollout_deadline(const struct rollout *r)
{
	const struct rollout_stage *stage = &r->stages[r->stage];
	uint64_t deadline = UINT64_MAX;

	if (r->state == ROLLOUT_ROLLING_BACK)
		return r->back_since_ms + r->policy.deadlines.node_ms;
	if (!rollout_is_forward(r))
		return UINT64_MAX;
	if (stage->state == STAGE_BAKING) {
		deadline = earlier(deadline, stage->baking_ms + stage->plan.bake_ms, r->now_ms);
		deadline =
		    earlier(deadline, stage->baking_ms + r->policy.evidence_min_bake_ms, r->now_ms);
	}
	if (!r->stopped) {
		uint64_t clock = clock_deadline(r);

		if (clock != UINT64_MAX)
			deadline = earlier(deadline, clock + r->stopped_ms, r->now_ms);
	}
	return deadline;
}

/* ---- words ---- */

struct words {
	uint32_t nodes, staged, serving, changing, changed, back, silent, failed;
};

static struct words count_words(const struct rollout *r, bool whole)
{
	struct words words = {0};

	for (uint32_t i = 0; i < r->nodes_count; i++) {
		const struct rollout_node *n = &r->nodes[i];

		if (n->gone || (!whole && n->stage != r->stage && !rollout_prepares(r)))
			continue;
		words.nodes++;
		words.staged += n->staged || n->told;
		words.serving += node_serves_new(r, n) || node_done(r, n);
		words.changing += n->place;
		words.changed += n->changed;
		words.back += n->changed && node_returned(r, n);
		words.silent += !n->reachable;
		words.failed += n->failed;
	}
	return words;
}

static void say_bake(const struct rollout *r, uint64_t now_ms, char *dst, size_t size)
{
	const struct rollout_stage *stage = &r->stages[r->stage];
	uint64_t end = stage->baking_ms + stage->plan.bake_ms;
	char left[STR_DURATION_MAX];

	if (stage->state != STAGE_BAKING || now_ms >= end) {
		snprintf(dst, size, "waits for its nodes and gates");
		return;
	}
	str_format_duration(left, (end - now_ms + 999) / 1000 * 1000);
	snprintf(dst, size, "bakes for another %s", left);
}

static void say_ahead(const struct rollout *r, uint64_t now_ms, char *dst, size_t size)
{
	const struct rollout_stage *stage = &r->stages[r->stage];
	struct words words = count_words(r, false);
	char bake[128];

	if (r->state == ROLLOUT_STAGING && !rollout_prepares(r)) {
		snprintf(dst, size, "%s: %u of %u nodes have the release on disk", stage->plan.name,
		         words.staged, words.nodes);
		return;
	}
	if (r->state == ROLLOUT_SOAKING) {
		say_bake(r, now_ms, bake, sizeof(bake));
		snprintf(dst, size, "%s (stage %zu of %zu) %s: %u of %u nodes serve the release",
		         stage->plan.name, r->stage + 1, r->stages_count, bake, words.serving,
		         words.nodes);
		return;
	}
	snprintf(dst, size, "%s (stage %zu of %zu): %u of %u nodes %s, %u in change",
	         stage->plan.name, r->stage + 1, r->stages_count, words.serving, words.nodes,
	         rollout_prepares(r) ? "are prepared" : "serve the release", words.changing);
}

static void say(const struct rollout *r, uint64_t now_ms, char *dst, size_t size)
{
	struct words all = count_words(r, true);

	switch (r->state) {
	case ROLLOUT_PLANNED:
		snprintf(dst, size, "%u nodes in %zu stages, not started", all.nodes,
		         r->stages_count);
		return;
	case ROLLOUT_STAGING:
	case ROLLOUT_CANARY:
	case ROLLOUT_SOAKING:
	case ROLLOUT_WIDENING:
		say_ahead(r, now_ms, dst, size);
		if (r->frozen || r->window_closed)
			str_cut(dst, size,
			        r->frozen ? "frozen: nobody new is changed"
			                  : "waits for its switching window");
		return;
	case ROLLOUT_ROLLING_BACK:
		snprintf(dst, size, "%u of %u changed nodes are back: %.500s", all.back,
		         all.changed, r->why.text);
		return;
	case ROLLOUT_COMPLETED:
		snprintf(dst, size, "%u of %u nodes serve the release, %u failed, %u unreachable",
		         all.serving, all.nodes, all.failed, all.silent);
		return;
	case ROLLOUT_PAUSED:
	case ROLLOUT_ROLLED_BACK:
	case ROLLOUT_ABORTED:
	case ROLLOUT_STUCK:
	case ROLLOUT_STATE_COUNT:
	default:
		str_cut(dst, size, r->why.text);
		return;
	}
}

void rollout_decide(const struct rollout *r, uint64_t now_ms, struct rollout_effects *effects)
{
	uint64_t now = now_ms > r->now_ms ? now_ms : r->now_ms;

	effects->goals_count = r->nodes_count;
	for (uint32_t i = 0; i < r->nodes_count; i++)
		rollout_goal(r, i, &effects->goals[i]);
	say(r, now, effects->text, sizeof(effects->text));
	effects->evidence_none = true;
	for (size_t i = 0; i < r->stages_count; i++)
		if (r->stages[i].verdict != VERDICT_NONE)
			effects->evidence_none = false;
}
