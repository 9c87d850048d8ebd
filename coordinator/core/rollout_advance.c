/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What follows. After each event the whole rollout is looked at again: nodes are judged, limits
 * compared, nodes let go, stages passed, until nothing more follows. Nothing here knows which event
 * came; so an event that was lost, doubled or late cannot lead anywhere else than the facts do.
 */
#include "coordinator/core/rollout_internal.h"

#include "base/str.h"

#include <stdio.h>

struct tally { /* one look at all nodes */
	struct gate_counts counts;
	uint32_t open; /* of all opened stages */
	uint32_t done;
	uint32_t unswitched; /* open and not yet serving the release, of the current stage */
	uint32_t waiting;    /* the same of all opened stages */
	uint32_t watched;    /* of the current stage: serve the release because of this rollout */
};

static struct tally look(const struct rollout *r)
{
	struct tally tally = {0};

	for (size_t i = 0; i < r->nodes_count; i++) {
		const struct rollout_node *n = &r->nodes[i];
		bool here = n->stage == r->stage, serves, open;

		if (n->gone || !node_opened(r, n))
			continue;
		serves = node_serves_new(r, n);
		open = node_open(r, n);
		node_count(r, n, &tally.counts);
		tally.open += open;
		tally.done += node_done(r, n);
		tally.waiting += open && !serves;
		tally.unswitched += here && open && !serves;
		tally.watched += here && serves && !n->failed && !n->already;
	}
	return tally;
}

void rollout_open_stage(struct rollout *r)
{
	stage_set(r, r->stage, STAGE_RUNNING);
	if (r->state == ROLLOUT_SOAKING || r->state == ROLLOUT_CANARY)
		rollout_move(r, CAUSE_OPEN);
}

static void pass_stage(struct rollout *r)
{
	static const struct rollout_why waits = {
	    "coordinator", "promote", "every node is prepared; promote switches them together"};

	stage_set(r, r->stage, STAGE_PASSED);
	if (r->stage + 1 == r->stages_count) {
		rollout_move(r, CAUSE_FINISHED);
		return;
	}
	r->stage++;
	if (r->stages[r->stage].plan.wait_promote)
		rollout_hold(r, HOLD_PROMOTE, &waits);
	else
		rollout_open_stage(r);
}

/* `promote --full`: one last stage holds everybody who is left; max_unavailable still counts. */
static void skip_stages(struct rollout *r)
{
	size_t last = r->stages_count - 1;

	stage_set(r, r->stage, STAGE_PASSED);
	while (++r->stage < last)
		stage_set(r, r->stage, STAGE_SKIPPED);
	r->stages[last].promoted = true;
	rollout_open_stage(r);
}

static uint32_t first_lost(const struct rollout *r)
{
	for (uint32_t i = 0; i < r->nodes_count; i++)
		if (r->nodes[i].lost && !r->nodes[i].gone)
			return i;
	return ROLLOUT_NO_NODE;
}

static void fail(struct rollout *r, const struct rollout_why *why)
{
	uint32_t node = ROLLOUT_NO_NODE;

	if (str_equal(why->check, "unreachable"))
		node = first_lost(r);
	if (str_equal(why->check, "failures") && r->last_failed != ROLLOUT_NO_NODE) {
		node = r->last_failed; /* the node's own words say more than a count */
		if (r->node_whys[node].phase[0])
			why = &r->node_whys[node];
	}
	rollout_go_back(r, CAUSE_FAIL, why, node);
}

static bool fail_early(struct rollout *r, const struct tally *tally)
{
	struct rollout_why why = {0};

	if (gate_limits_exceeded(&r->policy.failures, &tally->counts, &why)) {
		fail(r, &why);
		return true;
	}
	for (size_t i = 0; i <= r->stage; i++) {
		if (r->stages[i].verdict != VERDICT_FAIL)
			continue;
		rollout_go_back(r, CAUSE_FAIL, &r->stages[i].verdict_why, ROLLOUT_NO_NODE);
		return true;
	}
	if (rollout_clock(r) >= r->started_ms + r->policy.deadlines.rollout_ms) {
		STR_CUT(why.phase, "deadline");
		STR_CUT(why.check, "rollout");
		snprintf(why.text, sizeof(why.text), "the rollout did not end in time");
		rollout_go_back(r, CAUSE_FAIL, &why, ROLLOUT_NO_NODE);
		return true;
	}
	return false;
}

static struct gate_result ask_gate(const struct rollout *r, const struct tally *tally)
{
	const struct rollout_stage *stage = &r->stages[r->stage];
	const struct rollout_policy *policy = &r->policy;
	bool baking = stage->state == STAGE_BAKING;
	bool required = policy->evidence_required && tally->watched > 0;
	bool early = r->now_ms < stage->baking_ms + policy->evidence_min_bake_ms;
	bool no_evidence_yet =
	    required && baking && policy->evidence_deadline_ms > 0 &&
	    rollout_clock(r) >= stage->baking_clock_ms + policy->evidence_deadline_ms;
	struct gate_input input = {
	    .limits = &policy->failures,
	    .counts = tally->counts,
	    .stage = {.done = tally->done,
	              .open = stage->promoted ? tally->waiting : tally->open,
	              .bake_over =
	                  rollout_prepares(r) ||
	                  (baking && (tally->watched == 0 ||
	                              r->now_ms >= stage->baking_ms + stage->plan.bake_ms)),
	              .deadline_over = stage->deadline_over || no_evidence_yet,
	              .skip_wait = stage->promoted},
	    .evidence = {.verdict = early && stage->verdict == VERDICT_PASS ? VERDICT_NONE
	                                                                    : stage->verdict,
	                 .required = required,
	                 .why = &stage->verdict_why},
	    .on_inconclusive = policy->on_inconclusive,
	};
	struct gate_result result;

	gate_decide(&input, &result);
	return result;
}

/* One step on; false: nothing more follows. */
static bool step_forward(struct rollout *r, const struct tally *tally)
{
	struct rollout_stage *stage = &r->stages[r->stage];
	struct gate_result result;

	if (r->full && !rollout_prepares(r) && r->stage + 1 < r->stages_count) {
		skip_stages(r);
		return true;
	}
	if (!rollout_prepares(r) && tally->unswitched == 0) {
		bool changing = r->state == ROLLOUT_CANARY || r->state == ROLLOUT_WIDENING;
		bool running = stage->state == STAGE_RUNNING;

		if (running)
			stage_set(r, r->stage, STAGE_BAKING);
		if (changing)
			rollout_move(r, CAUSE_SWITCHED);
		if (running || changing)
			return true;
	}
	result = ask_gate(r, tally);
	switch (result.decision) {
	case GATE_PASS:
		pass_stage(r);
		return true;
	case GATE_FAIL:
		fail(r, &result.why);
		return true;
	case GATE_HOLD:
		rollout_hold(r, HOLD_INCONCLUSIVE, &result.why);
		return true;
	case GATE_CONTINUE:
	case GATE_DECISION_COUNT:
	default:
		return false;
	}
}

struct way_back {
	uint32_t waiting, failed, silent, example;
};

static struct way_back look_back(const struct rollout *r)
{
	struct way_back back = {.example = ROLLOUT_NO_NODE};

	for (uint32_t i = 0; i < r->nodes_count; i++) {
		const struct rollout_node *n = &r->nodes[i];

		if (!n->changed || n->gone || node_returned(r, n))
			continue;
		if (!n->reachable) {
			back.silent++;
			continue;
		}
		if (node_return_failed(r, n))
			back.failed++;
		else
			back.waiting++;
		back.example = i;
	}
	return back;
}

static void step_back(struct rollout *r)
{
	bool over = r->now_ms >= r->back_since_ms + r->policy.deadlines.node_ms;
	struct way_back back = look_back(r);

	if ((back.waiting || back.silent) && !over)
		return;
	if (back.waiting || back.failed) {
		STR_CUT(r->why.phase, "serve");
		STR_CUT(r->why.check, "rollback");
		snprintf(r->why.text, sizeof(r->why.text),
		         "%u nodes could not go back, %u did not in time, %u are silent",
		         back.failed, back.waiting, back.silent);
		r->why_node = back.example;
		rollout_move(r, CAUSE_NOT_RETURNED);
		return;
	}
	for (uint32_t i = 0; back.silent && i < r->nodes_count; i++) {
		const struct rollout_node *n = &r->nodes[i];

		if (n->changed && !n->gone && !node_returned(r, n))
			rollout_note(r, NOTE_NODE_SILENT, i, "goes back when it is heard again");
	}
	rollout_move(r, CAUSE_RETURNED);
}

void rollout_advance(struct rollout *r)
{
	while (rollout_under_way(r) && r->state != ROLLOUT_STUCK) {
		struct tally tally;

		rollout_judge(r);
		tally = look(r);
		if (fail_early(r, &tally))
			break;
		rollout_let_go(r); /* whoever goes was open before: what was counted still holds */
		if (!rollout_is_forward(r))
			return;
		if (!step_forward(r, &tally))
			return;
	}
	if (r->state == ROLLOUT_ROLLING_BACK)
		step_back(r);
}
