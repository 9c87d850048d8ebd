/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by judge.c, which adds up, and verdict.c, which concludes; nobody else includes it. */
#pragma once

#include "coordinator/judge/judge.h"
#include "coordinator/stats/drift.h"
#include "coordinator/stats/promised.h"
#include "coordinator/stats/share_null.h"

struct gate_state {
	struct judge_gate gate;
	struct rate_ratio ratio;
	struct exact exact;
	struct latency latency;
	struct promised promised; /* where there is a promise */
	struct share_null *share; /* TEST_HIERARCHICAL */
	struct judge_sum sums[COHORT_COUNT];
	bool compared; /* some period had both cohorts in a stratum */
};

struct feature_state {
	struct judge_feature feature; /* owned */
	uint64_t *bins[COHORT_COUNT];
};

struct judge {
	struct gate_state *gates;
	size_t gates_count;
	struct feature_state *features;
	size_t features_count;
	bool declared;
};

/* features_count: there is none of that name. */
size_t judge_find_feature(const struct judge *judge, const char *name);
double judge_drift_gate(const struct judge *judge, const struct gate_state *g);
