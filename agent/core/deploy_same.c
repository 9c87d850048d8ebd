/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether two records say the same, field by field: structs have padding, and what lies in it is
 * nobody's statement. A field that is forgotten here would not be written down; a unit test walks
 * the codec's table and changes each in turn.
 */
#include "agent/core/deploy_record.h"

#include "base/str.h"

static bool same_health(const struct deploy_health *a, const struct deploy_health *b)
{
	return a->failures == b->failures && a->interval_ms == b->interval_ms &&
	       a->timeout_ms == b->timeout_ms && a->start_period_ms == b->start_period_ms;
}

static bool same_release(const struct deploy_release *a, const struct deploy_release *b)
{
	return digest_equal(&a->digest, &b->digest) && same_health(&a->health, &b->health);
}

static bool same_slot(const struct deploy_slot_record *a, const struct deploy_slot_record *b)
{
	return same_release(&a->release, &b->release) && a->want == b->want &&
	       a->proven == b->proven && a->drain_until_ms == b->drain_until_ms;
}

static bool same_windows(const struct window_spec *a, const struct window_spec *b)
{
	return str_equal(a->download, b->download) && str_equal(a->swap, b->swap) &&
	       str_equal(a->timezone, b->timezone);
}

static bool same_order(const struct observe_order *a, const struct observe_order *b)
{
	for (size_t i = 0; i < LIMIT_THRESHOLDS; i++)
		if (a->thresholds[i].us != b->thresholds[i].us)
			return false;
	return rollout_id_equal(&a->rollout, &b->rollout) &&
	       digest_equal(&a->baseline, &b->baseline) && a->period_ms == b->period_ms;
}

static bool same_assignment(const struct assignment *a, const struct assignment *b)
{
	return str_equal(a->deployment, b->deployment) && digest_equal(&a->base, &b->base) &&
	       digest_equal(&a->next, &b->next) && a->goal == b->goal && a->revert == b->revert &&
	       rollout_id_equal(&a->rollout, &b->rollout) && a->attempt == b->attempt &&
	       a->swap == b->swap && a->bake_ms == b->bake_ms && a->drain_ms == b->drain_ms &&
	       a->keep_warm_ms == b->keep_warm_ms && a->hold_old == b->hold_old &&
	       a->node_deadline_ms == b->node_deadline_ms && same_windows(&a->windows, &b->windows) &&
	       same_order(&a->observe, &b->observe);
}

static bool same_reason(const struct deploy_reason *a, const struct deploy_reason *b)
{
	return str_equal(a->phase, b->phase) && str_equal(a->check, b->check) &&
	       str_equal(a->text, b->text) && str_equal(a->log, b->log);
}

static bool same_outcome(const struct deploy_outcome *a, const struct deploy_outcome *b)
{
	return a->kind == b->kind && rollout_id_equal(&a->rollout, &b->rollout) &&
	       digest_equal(&a->release, &b->release) && a->attempt == b->attempt &&
	       a->at_unix_ms == b->at_unix_ms && same_reason(&a->reason, &b->reason);
}

static bool same_vetoes(const struct deploy_record *a, const struct deploy_record *b)
{
	if (a->vetoes_count != b->vetoes_count)
		return false;
	for (uint32_t i = 0; i < a->vetoes_count; i++)
		if (!digest_equal(&a->vetoes[i].release, &b->vetoes[i].release) ||
		    a->vetoes[i].attempt != b->vetoes[i].attempt)
			return false;
	return true;
}

/* What the change under way has used up. */
static bool same_clocks(const struct deploy_record *a, const struct deploy_record *b)
{
	return a->work_ms == b->work_ms && a->work_since_ms == b->work_since_ms &&
	       a->phase_since_ms == b->phase_since_ms && a->bake_since_ms == b->bake_since_ms &&
	       a->reboots == b->reboots && a->committed_ms == b->committed_ms;
}

static bool same_change(const struct deploy_record *a, const struct deploy_record *b)
{
	return a->phase == b->phase && same_release(&a->target, &b->target) &&
	       rollout_id_equal(&a->rollout, &b->rollout) && a->attempt == b->attempt &&
	       a->target_colour == b->target_colour && same_release(&a->back, &b->back) &&
	       a->back_healthy == b->back_healthy && a->ending == b->ending &&
	       digest_equal(&a->no_return, &b->no_return) &&
	       a->no_return_attempt == b->no_return_attempt;
}

bool deploy_record_same(const struct deploy_record *a, const struct deploy_record *b)
{
	return str_equal(a->name, b->name) && a->assigned == b->assigned &&
	       same_assignment(&a->assignment, &b->assignment) && a->serves == b->serves &&
	       a->serving == b->serving &&
	       same_slot(&a->slots[COLOUR_BLUE], &b->slots[COLOUR_BLUE]) &&
	       same_slot(&a->slots[COLOUR_GREEN], &b->slots[COLOUR_GREEN]) && same_change(a, b) &&
	       same_release(&a->fetched, &b->fetched) &&
	       same_release(&a->committed, &b->committed) &&
	       same_release(&a->previous, &b->previous) && same_clocks(a, b) &&
	       same_outcome(&a->last, &b->last) && same_vetoes(a, b);
}
