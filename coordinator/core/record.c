/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's forms of events and plans. Numbers are never used twice. */
#include "coordinator/core/record.h"

#include "protocol/codec_fields.h"

#define THIS struct rollout_why
static const struct codec_field rollout_why_fields[] = {
	F_PROSE(1, phase),
	F_PROSE(2, check),
	F_PROSE(3, text),
};
CODEC_STRUCT(rollout_why);
#undef THIS

#define THIS struct rollout_event
static const struct codec_field rollout_event_fields[] = {
	F_ENUM(1, kind, EVENT_COUNT),
	F_U64(2, at_ms),
	F_U32(3, node),
	F_ENUM(4, state, NODE_STATE_COUNT),
	F_FIXED(5, release),
	F_FIXED(6, target),
	F_FIXED(7, rollout),
	F_U64(8, attempt),
	F_BOOL(9, staged),
	F_BOOL(10, proven),
	F_BOOL(11, healthy),
	F_BOOL(12, current),
	F_U32(13, stage),
	F_ENUM(14, verdict, VERDICT_COUNT),
	F_FIXED(15, id),
	F_STR(16, group),
	F_BOOL(17, reachable),
	F_STRUCT(18, why, rollout_why),
};
CODEC_STRUCT(rollout_event);
#undef THIS

#define THIS struct plan_node
static const struct codec_field plan_node_fields[] = {
	F_FIXED(1, id),
	F_U32(2, stage),
	F_STR(3, group),
	F_BOOL(4, already),
	F_BOOL(5, reachable),
	F_BOOL(6, moving),
};
static CODEC_STRUCT(plan_node);
#undef THIS

#define THIS struct plan_stage
static const struct codec_field plan_stage_fields[] = {
	F_STR(1, name),
	F_ENUM(2, step, STEP_COUNT),
	F_BOOL(3, canary),
	F_BOOL(4, wait_promote),
	F_U32(5, first),
	F_U32(6, count),
	F_U64(7, bake_ms),
	F_U32(8, max_in_change),
	F_U32(9, max_in_change_per_group),
};
static CODEC_STRUCT(plan_stage);
#undef THIS

#define THIS struct plan_other
static const struct codec_field plan_other_fields[] = {
	F_FIXED(1, id),
	F_STR(2, why),
};
static CODEC_STRUCT(plan_other);
#undef THIS

#define THIS struct plan
static const struct codec_field plan_fields[] = {
	F_U64(1, seed),
	F_LIST(2, nodes, plan_node, LIMIT_FLEET),
	F_LIST(3, stages, plan_stage, LIMIT_FLEET + LIMIT_STAGES),
	F_LIST(4, excluded, plan_other, LIMIT_FLEET),
	F_LIST(5, removed, plan_other, LIMIT_FLEET),
	F_U32(6, max_unavailable),
};
CODEC_STRUCT(plan);
#undef THIS
