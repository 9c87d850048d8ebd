/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Creation, time, and the way of an event: each kind has a row (may it happen, which facts does it
 * change) here, in rollout_events.c or in rollout_operator.c. Conclusions are drawn by
 * rollout_advance(), which runs after every event alike.
 *
 * A rollout has two times. Fleet time (now_ms) comes with the events. The clock, against which
 * deadlines run, is fleet time minus the time during which nothing could have happened: paused,
 * frozen, or outside the deployment's window. Bakes and the way back run in fleet time.
 */
#include "coordinator/core/rollout_internal.h"

#include "base/mem.h"
#include "base/str.h"

#include <assert.h>

/* ---- creation ---- */

/* Where gates disagree, the strictest decides; a gate's own word replaces the deployment's. */
static const int strictness[INCONCLUSIVE_COUNT] = {
    [INCONCLUSIVE_PROMOTE] = 1,
    [INCONCLUSIVE_PROMISED] = 2,
    [INCONCLUSIVE_HOLD] = 3,
    [INCONCLUSIVE_ROLLBACK] = 4,
};

static enum inconclusive_kind on_inconclusive(const struct deployment_spec *spec)
{
	bool own = false;
	enum inconclusive_kind strictest = INCONCLUSIVE_PROMOTE;

	for (size_t i = 0; i < spec->gates_count; i++) {
		const struct gate_spec *gate = &spec->gates[i];
		enum inconclusive_kind policy =
		    gate->has_policy ? gate->policy : spec->on_inconclusive;

		if (gate->require != GATE_EVIDENCE || gate->dry_run)
			continue;
		own = true;
		if (strictness[policy] > strictness[strictest])
			strictest = policy;
	}
	return own ? strictest : spec->on_inconclusive;
}

static struct rollout_policy policy_of(const struct deployment_spec *spec)
{
	struct rollout_policy policy = {
	    .failures = spec->failures,
	    .deadlines = spec->deadlines,
	    .strategy = spec->strategy,
	    .on_inconclusive = on_inconclusive(spec),
	};

	if (!policy.deadlines.node_ms)
		policy.deadlines.node_ms = ROLLOUT_NODE_DEFAULT_MS;
	if (!policy.deadlines.stage_ms)
		policy.deadlines.stage_ms = ROLLOUT_STAGE_DEFAULT_MS;
	if (!policy.deadlines.rollout_ms)
		policy.deadlines.rollout_ms = ROLLOUT_DEFAULT_MS;
	for (size_t i = 0; i < spec->gates_count; i++) {
		const struct gate_spec *gate = &spec->gates[i];

		if (gate->require != GATE_EVIDENCE || gate->dry_run)
			continue;
		policy.evidence_required = true;
		if (gate->min_bake_ms > policy.evidence_min_bake_ms)
			policy.evidence_min_bake_ms = gate->min_bake_ms;
		if (gate->deadline_ms > policy.evidence_deadline_ms)
			policy.evidence_deadline_ms = gate->deadline_ms;
	}
	return policy;
}

static size_t id_position(const struct rollout *r, const struct node_id *id)
{
	size_t low = 0, high = r->nodes_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(r->nodes[r->by_id[middle]].id.bytes, id->bytes, NODE_ID_SIZE) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct rollout_node *rollout_add_node(struct rollout *r, const struct node_id *id, uint32_t stage,
                                      const char *group, uint64_t attempt)
{
	uint32_t index = (uint32_t)r->nodes_count;
	size_t at = id_position(r, id);
	struct rollout_node *n = &r->nodes[index];

	assert(r->nodes_count < r->nodes_capacity);
	memmove(&r->by_id[at + 1], &r->by_id[at], (r->nodes_count - at) * sizeof(*r->by_id));
	r->by_id[at] = index;
	r->nodes_count++;
	n->id = *id;
	n->stage = stage;
	n->attempt = attempt;
	STR_CUT(n->group_value, group);
	n->group = index;
	for (uint32_t i = 0; i < index; i++) {
		if (!str_equal(r->nodes[i].group_value, group))
			continue;
		n->group = i;
		break;
	}
	return n;
}

struct rollout *rollout_new(const struct rollout_id *id, const struct deployment_spec *spec,
                            const struct plan *plan, const struct digest *from, uint64_t attempt,
                            uint64_t created_ms, size_t spare)
{
	struct rollout *r = mem_alloc(sizeof(*r));

	assert(plan->stages_count > 0 && attempt > 0);
	r->id = *id;
	STR_CUT(r->deployment, spec->name);
	r->from = *from;
	r->to = spec->release;
	r->attempt = attempt;
	r->policy = policy_of(spec);
	r->why_node = r->last_failed = ROLLOUT_NO_NODE;
	r->created_ms = r->now_ms = created_ms;
	r->nodes_capacity = plan->nodes_count + spare;
	r->nodes = mem_array(r->nodes_capacity + 1, sizeof(*r->nodes));
	r->node_whys = mem_array(r->nodes_capacity + 1, sizeof(*r->node_whys));
	r->by_id = mem_array(r->nodes_capacity + 1, sizeof(*r->by_id));
	r->group_used = mem_array(r->nodes_capacity + 1, sizeof(*r->group_used));
	r->notes_capacity = 4 * (r->nodes_capacity + plan->stages_count) + 16;
	r->notes = mem_array(r->notes_capacity, sizeof(*r->notes));
	r->stages_count = plan->stages_count;
	r->stages = mem_array(r->stages_count, sizeof(*r->stages));
	for (size_t i = 0; i < plan->stages_count; i++)
		r->stages[i].plan = plan->stages[i];
	for (size_t i = 0; i < plan->nodes_count; i++) {
		const struct plan_node *planned = &plan->nodes[i];
		struct rollout_node *n =
		    rollout_add_node(r, &planned->id, planned->stage, planned->group, attempt);

		n->reachable = planned->reachable;
		n->already = planned->already;
		if (planned->moving)
			n->state = NODE_STATE_STARTING; /* counts as out of service */
		if (n->already) { /* until it says otherwise */
			n->state = NODE_STATE_SERVING;
			n->release = r->to;
			n->healthy = true;
		}
	}
	return r;
}

void rollout_free(struct rollout *r)
{
	free(r->nodes);
	free(r->node_whys);
	free(r->by_id);
	free(r->group_used);
	free(r->notes);
	free(r->stages);
	free(r);
}

/* ---- time ---- */

/* Starts and stops the clock and the pause. Called around conclusions: a resume runs the clock
 * before they are drawn, a pause stops it after. */
static void sync_clock(struct rollout *r)
{
	bool on_the_way = rollout_under_way(r);
	bool paused = r->state == ROLLOUT_PAUSED || (r->state == ROLLOUT_STUCK && on_the_way);
	bool stopped = on_the_way && (paused || r->frozen || r->window_closed);

	if (stopped && !r->stopped)
		r->stopped_since_ms = r->now_ms;
	if (!stopped && r->stopped)
		r->stopped_ms += r->now_ms - r->stopped_since_ms;
	r->stopped = stopped;
	if (paused && !r->paused_since_ms)
		r->paused_since_ms = r->now_ms;
	if (!paused && r->paused_since_ms) {
		r->paused_ms += r->now_ms - r->paused_since_ms;
		r->paused_since_ms = 0;
	}
}

uint64_t rollout_paused_ms(const struct rollout *r, uint64_t now_ms)
{
	uint64_t now = now_ms > r->now_ms ? now_ms : r->now_ms;

	return r->paused_ms + (r->paused_since_ms ? now - r->paused_since_ms : 0);
}

/* ---- start, tick ---- */

static bool admits_start(const struct rollout *r, const struct rollout_event *e, struct err *err)
{
	return r->state == ROLLOUT_PLANNED;
}

static void apply_start(struct rollout *r, const struct rollout_event *e)
{
	r->started_ms = r->now_ms;
	rollout_move(r, CAUSE_START);
	for (size_t i = 0; i < r->nodes_count; i++) {
		struct rollout_node *n = &r->nodes[i];

		n->silent_clock_ms = r->now_ms;
		if (n->already) { /* told so that it stays; on the way back it goes with the rest */
			n->told = n->changed = true;
			n->step_clock_ms = r->now_ms;
		}
	}
	rollout_open_stage(r);
}

static bool admits_tick(const struct rollout *r, const struct rollout_event *e, struct err *err)
{
	return e->at_ms >= rollout_deadline(r);
}

static void apply_nothing(struct rollout *r, const struct rollout_event *e)
{
	/* time itself: the conclusions follow */
}

/* ---- events ---- */

static const struct event_row own_events[EVENT_COUNT] = {
    [EVENT_START] = {admits_start, apply_start},
    [EVENT_TICK] = {admits_tick, apply_nothing},
};

static const struct event_row *row_of(enum rollout_event_kind kind)
{
	static const struct event_row *const tables[] = {own_events, rollout_node_events,
	                                                 rollout_operator_events};

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		if (tables[i][kind].admits)
			return &tables[i][kind];
	return NULL; /* a test sees to it that this does not happen */
}

bool rollout_admits(const struct rollout *r, const struct rollout_event *e, struct err *err)
{
	const struct event_row *row = e->kind < EVENT_COUNT ? row_of(e->kind) : NULL;

	return row && row->admits(r, e, err);
}

void rollout_apply(struct rollout *r, const struct rollout_event *e)
{
	r->notes_count = r->notes_dropped = 0;
	if (!rollout_admits(r, e, NULL))
		return;
	if (e->at_ms > r->now_ms)
		r->now_ms = e->at_ms;
	row_of(e->kind)->apply(r, e);
	sync_clock(r);
	rollout_advance(r);
	sync_clock(r);
	r->changes++;
}
