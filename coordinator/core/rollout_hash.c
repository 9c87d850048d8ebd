/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fingerprint of everything that decides, field by field (padding has no meaning). Two rollouts
 * that saw the same events have the same one; a test and the recovery after a restart compare them.
 */
#include "coordinator/core/rollout.h"

struct hash {
	uint64_t value;
};

static void add_u64(struct hash *hash, uint64_t value)
{
	hash->value = (hash->value ^ value) * UINT64_C(0x9e3779b97f4a7c15);
	hash->value ^= hash->value >> 29;
}

static void add_bytes(struct hash *hash, const void *data, size_t size)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++)
		hash->value = (hash->value ^ bytes[i]) * UINT64_C(0x100000001b3);
	add_u64(hash, size);
}

static void add_text(struct hash *hash, const char *text)
{
	add_bytes(hash, text, strlen(text));
}

static void add_why(struct hash *hash, const struct rollout_why *why)
{
	add_text(hash, why->phase);
	add_text(hash, why->check);
	add_text(hash, why->text);
}

static uint64_t bits(const bool *values, size_t count)
{
	uint64_t result = 0;

	for (size_t i = 0; i < count; i++)
		result = result << 1 | values[i];
	return result;
}

static void add_node(struct hash *hash, const struct rollout_node *n)
{
	bool flags[] = {n->told,   n->changed,   n->place,  n->gone,   n->already,   n->busy,
	                n->failed, n->timed_out, n->lost,   n->sick,   n->reachable, n->current,
	                n->ours,   n->staged,    n->proven, n->healthy, n->quarantined};

	add_bytes(hash, n->id.bytes, NODE_ID_SIZE);
	add_u64(hash, (uint64_t)n->stage << 32 | n->group);
	add_text(hash, n->group_value);
	add_u64(hash, n->attempt);
	add_u64(hash, bits(flags, ARRAY_SIZE(flags)));
	add_u64(hash, n->step_clock_ms);
	add_u64(hash, n->silent_clock_ms);
	add_u64(hash, n->sick_clock_ms);
	add_u64(hash, n->state);
	add_bytes(hash, n->release.bytes, DIGEST_SIZE);
	add_bytes(hash, n->target.bytes, DIGEST_SIZE);
	add_u64(hash, n->report_attempt);
}

static void add_stage(struct hash *hash, const struct rollout_stage *s)
{
	bool flags[] = {s->plan.canary, s->plan.wait_promote, s->promoted, s->deadline_over};

	add_text(hash, s->plan.name);
	add_u64(hash, s->plan.step);
	add_u64(hash, (uint64_t)s->plan.first << 32 | s->plan.count);
	add_u64(hash, s->plan.bake_ms);
	add_u64(hash, (uint64_t)s->plan.max_in_change << 32 | s->plan.max_in_change_per_group);
	add_u64(hash, s->state);
	add_u64(hash, s->started_ms);
	add_u64(hash, s->baking_ms);
	add_u64(hash, s->ended_ms);
	add_u64(hash, s->opened_clock_ms);
	add_u64(hash, s->baking_clock_ms);
	add_u64(hash, bits(flags, ARRAY_SIZE(flags)));
	add_u64(hash, s->verdict);
	add_why(hash, &s->verdict_why);
}

static void add_policy(struct hash *hash, const struct rollout_policy *p)
{
	add_u64(hash, (uint64_t)p->failures.nodes << 32 | p->failures.percent);
	add_u64(hash,
	        (uint64_t)p->failures.unreachable.percent << 32 | p->failures.unreachable.value);
	add_u64(hash, p->deadlines.node_ms);
	add_u64(hash, p->deadlines.stage_ms);
	add_u64(hash, p->deadlines.rollout_ms);
	add_u64(hash, (uint64_t)p->strategy << 32 | (uint64_t)p->on_inconclusive << 1 |
	                  p->evidence_required);
	add_u64(hash, p->evidence_min_bake_ms);
	add_u64(hash, p->evidence_deadline_ms);
}

uint64_t rollout_hash(const struct rollout *r)
{
	bool flags[] = {r->frozen,     r->window_closed, r->full,
	                r->superseded, r->going_back,    r->stopped};
	uint64_t numbers[] = {
	    r->attempt,
	    r->state,
	    r->before_pause,
	    r->hold,
	    r->end,
	    r->why_node,
	    r->last_failed,
	    r->stage,
	    r->now_ms,
	    r->created_ms,
	    r->started_ms,
	    r->ended_ms,
	    r->back_since_ms,
	    r->paused_ms,
	    r->paused_since_ms,
	    r->stopped_ms,
	    r->stopped_since_ms,
	    r->fuse_minute,
	    r->fuse_count,
	    r->changes,
	    r->nodes_count,
	    r->stages_count,
	    r->nodes_capacity,
	};
	struct hash hash = {UINT64_C(0xcbf29ce484222325)};

	add_bytes(&hash, r->id.bytes, ROLLOUT_ID_SIZE);
	add_text(&hash, r->deployment);
	add_bytes(&hash, r->from.bytes, DIGEST_SIZE);
	add_bytes(&hash, r->to.bytes, DIGEST_SIZE);
	add_policy(&hash, &r->policy);
	add_why(&hash, &r->why);
	add_u64(&hash, bits(flags, ARRAY_SIZE(flags)));
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		add_u64(&hash, numbers[i]);
	for (size_t i = 0; i < r->stages_count; i++)
		add_stage(&hash, &r->stages[i]);
	for (size_t i = 0; i < r->nodes_count; i++) {
		add_node(&hash, &r->nodes[i]);
		add_why(&hash, &r->node_whys[i]);
		add_u64(&hash, r->by_id[i]);
	}
	return hash.value;
}
