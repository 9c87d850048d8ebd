/* SPDX-License-Identifier: Apache-2.0 */
/* Tables only: the codec does the work (protocol/codec_fields.h says how they are written). */
#include "agent/record_codec.h"

#include "protocol/codec_fields.h"

#define THIS struct deploy_health
static const struct codec_field deploy_health_fields[] = {
	F_U32(1, failures),
	F_U64(2, interval_ms),
	F_U64(3, timeout_ms),
	F_U64(4, start_period_ms),
};
static CODEC_STRUCT(deploy_health);
#undef THIS

#define THIS struct deploy_release
static const struct codec_field deploy_release_fields[] = {
	F_FIXED(1, digest),
	F_STRUCT(2, health, deploy_health),
};
static CODEC_STRUCT(deploy_release);
#undef THIS

#define THIS struct deploy_slot_record
static const struct codec_field deploy_slot_record_fields[] = {
	F_STRUCT(1, release, deploy_release),
	F_ENUM(2, want, DEPLOY_WANT_COUNT),
	F_BOOL(3, proven),
	F_U64(4, drain_until_ms),
};
static CODEC_STRUCT(deploy_slot_record);
#undef THIS

#define THIS struct deploy_veto
static const struct codec_field deploy_veto_fields[] = {
	F_FIXED(1, release),
	F_U64(2, attempt),
};
static CODEC_STRUCT(deploy_veto);
#undef THIS

#define THIS struct deploy_reason
static const struct codec_field deploy_reason_fields[] = {
	F_PROSE(1, phase),
	F_PROSE(2, check),
	F_PROSE(3, text),
	F_PROSE(4, log),
};
static CODEC_STRUCT(deploy_reason);
#undef THIS

#define THIS struct deploy_outcome
static const struct codec_field deploy_outcome_fields[] = {
	F_ENUM(1, kind, OUTCOME_COUNT),
	F_FIXED(2, rollout),
	F_FIXED(3, release),
	F_U64(4, attempt),
	F_U64(5, at_unix_ms),
	F_STRUCT(6, reason, deploy_reason),
};
static CODEC_STRUCT(deploy_outcome);
#undef THIS

#define THIS struct deploy_record
static const struct codec_field deploy_record_fields[] = {
	F_STR(1, name),
	F_BOOL(2, assigned),
	F_STRUCT(3, assignment, assignment),
	F_ENUM(4, phase, DEPLOY_PHASE_COUNT),
	F_BOOL(5, serves),
	F_ENUM(6, serving, COLOUR_COUNT),
	F_ARRAY(7, slots, deploy_slot_record),
	F_STRUCT(8, target, deploy_release),
	F_FIXED(9, rollout),
	F_U64(10, attempt),
	F_ENUM(11, target_colour, COLOUR_COUNT),
	F_STRUCT(12, fetched, deploy_release),
	F_STRUCT(13, committed, deploy_release),
	F_STRUCT(14, previous, deploy_release),
	F_STRUCT(15, back, deploy_release),
	F_BOOL(16, back_healthy),
	F_ENUM(17, ending, OUTCOME_COUNT),
	F_FIXED(18, no_return),
	F_U64(19, no_return_attempt),
	F_U64(20, work_ms),
	F_U64(21, work_since_ms),
	F_U64(22, phase_since_ms),
	F_U64(23, bake_since_ms),
	F_U32(24, reboots),
	F_U64(25, committed_ms),
	F_STRUCT(26, last, deploy_outcome),
	F_ARRAY(27, vetoes, deploy_veto),
	F_U32(28, vetoes_count),
};
CODEC_STRUCT(deploy_record);
#undef THIS
