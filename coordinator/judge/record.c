/* SPDX-License-Identifier: Apache-2.0 */
/* The stored forms of the judge's journal and of watches. Numbers are never used twice. */
#include "coordinator/judge/record.h"

#include "protocol/codec_fields.h"

#define THIS struct judge_gate
static const struct codec_field judge_gate_fields[] = {
	F_STR(1, metric),
	F_ENUM(2, kind, METRIC_COUNT),
	F_BOOL(3, absolute),
	F_BOOL(4, critical),
	F_BOOL(5, dry_run),
	F_BOOL(6, required),
	F_F64(7, tolerance),
	F_F64(8, margin),
	F_F64(9, slo),
	F_F64(10, weight),
	F_ENUM(11, test, TEST_COUNT),
	F_BOOL(12, incidents),
	F_F64(13, pi0),
	F_F64(14, m),
	F_F64(15, clump),
	F_U64(16, bound_us),
};
static CODEC_STRUCT(judge_gate);
#undef THIS

#define THIS struct gather_thresholds
static const struct codec_field gather_thresholds_fields[] = {
	F_BOOL(1, frozen),
	F_U32(2, bucket[0]),
	F_U32(3, bucket[1]),
	F_U32(4, bucket[2]),
	F_U32(5, bucket[3]),
};
static CODEC_STRUCT(gather_thresholds);
#undef THIS

#define THIS struct judge_rate
static const struct codec_field judge_rate_fields[] = {
	F_F64(1, value),
};
static CODEC_STRUCT(judge_rate);
#undef THIS

#define THIS struct judge_member
static const struct codec_field judge_member_fields[] = {
	F_U32(1, stratum),
	F_STRUCT(2, thresholds, gather_thresholds),
	F_LIST(3, rates, judge_rate, JUDGE_GATES_MAX),
};
static CODEC_STRUCT(judge_member);
#undef THIS

#define THIS struct judge_start
static const struct codec_field judge_start_fields[] = {
	F_U64(1, period_ms),
	F_LIST(2, gates, judge_gate, JUDGE_GATES_MAX),
	F_LIST(3, members, judge_member, LIMIT_FLEET),
	F_STRUCT(4, thresholds, gather_thresholds),
	F_FIXED(5, baseline),
	F_BOOL(6, declared),
	F_BYTES(7, baseline_body, LIMIT_BASELINE),
};
static CODEC_STRUCT(judge_start);
#undef THIS

#define THIS struct judge_count
static const struct codec_field judge_count_fields[] = {
	F_U64(1, attempts),
	F_U64(2, bad),
	F_U64(3, minutes),
	F_U64(4, incidents),
	F_F64(5, expected),
	F_U64(6, over[0]),
	F_U64(7, over[1]),
	F_U64(8, over[2]),
	F_U64(9, over[3]),
};
static CODEC_STRUCT(judge_count);
#undef THIS

#define THIS struct judge_row
static const struct codec_field judge_row_fields[] = {
	F_ENUM(1, cohort, COHORT_COUNT),
	F_U32(2, stratum),
	F_U32(3, node),
	F_U32(4, nodes),
	F_LIST(5, counts, judge_count, JUDGE_GATES_MAX),
};
static CODEC_STRUCT(judge_row);
#undef THIS

#define THIS struct judge_bins
static const struct codec_field judge_bins_fields[] = {
	F_ENUM(1, cohort, COHORT_COUNT),
	F_U32(2, feature),
	F_NUMBERS(3, bins, LIMIT_BINS),
};
static CODEC_STRUCT(judge_bins);
#undef THIS

#define THIS struct judge_period
static const struct codec_field judge_period_fields[] = {
	F_U64(1, index),
	F_LIST(2, rows, judge_row, JUDGE_ROWS_MAX),
	F_LIST(3, bins, judge_bins, COHORT_COUNT * LIMIT_FEATURES),
};
static CODEC_STRUCT(judge_period);
#undef THIS

#define THIS struct judge_entry
static const struct codec_field judge_entry_fields[] = {
	F_ENUM(1, kind, JUDGE_ENTRY_COUNT),
	F_U64(2, at_ms),
	F_U64(3, seen),
	F_STRUCT(4, start, judge_start),
	F_STRUCT(5, thresholds, gather_thresholds),
	F_STRUCT(6, period, judge_period),
	F_U32(7, decision),
	F_U32(8, gate),
	F_STR(9, why),
	F_U32(10, node),
};
CODEC_STRUCT(judge_entry);
#undef THIS

/* ---- watches ---- */

#define THIS struct lookout_feature
static const struct codec_field lookout_feature_fields[] = {
	F_NUMBERS(1, bins, LIMIT_BINS),
	F_BOOL(2, alarm),
	F_U32(3, alarms),
	F_U32(4, clean),
	F_BOOL(5, drifting),
};
static CODEC_STRUCT(lookout_feature);
#undef THIS

#define THIS struct lookout_site
static const struct codec_field lookout_site_fields[] = {
	F_STR(1, name),
	F_LIST(2, features, lookout_feature, LIMIT_FEATURES),
};
static CODEC_STRUCT(lookout_site);
#undef THIS

#define THIS struct detector
static const struct codec_field detector_fields[] = {
	F_F64(1, p0),
	F_F64(2, threshold),
	F_F64(3, m[0]),
	F_F64(4, m[1]),
	F_F64(5, m[2]),
	F_F64(6, m[3]),
	F_F64(7, m[4]),
	F_U64(8, outcomes),
	F_U64(9, known),
	F_U64(10, known_bad),
};
static CODEC_STRUCT(detector);
#undef THIS

#define THIS struct lookout_labels
static const struct codec_field lookout_labels_fields[] = {
	F_FIXED(1, release),
	F_U64(2, outcomes),
	F_U64(3, bad),
	F_STRUCT(4, detector, detector),
	F_BOOL(5, alarm),
	F_U64(6, right),
	F_U64(7, wrong),
};
static CODEC_STRUCT(lookout_labels);
#undef THIS

#define THIS struct lookout
static const struct codec_field lookout_fields[] = {
	F_FIXED(1, baseline),
	F_U64(2, window),
	F_LIST(3, sites, lookout_site, LOOKOUT_SITES_MAX),
	F_STRUCT(4, labels, lookout_labels),
	F_BOOL(5, drifting),
	F_U64(6, hook_ms),
};
CODEC_STRUCT(lookout);
#undef THIS
