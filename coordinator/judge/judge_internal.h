/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by judge.c, which adds up, and verdict.c, which concludes; nobody else includes it. */
#pragma once

#include "coordinator/judge/gather.h"
#include "coordinator/judge/judge.h"
#include "coordinator/stats/drift.h"
#include "coordinator/stats/promised.h"
#include "coordinator/stats/share_null.h"
#include "coordinator/stats/unequal.h"

struct gate_nodes { /* TEST_UNEQUAL: what each node counted so far */
	struct unequal_node node[JUDGE_ROWS_MAX];
	uint32_t index[JUDGE_ROWS_MAX]; /* in the rollout, or JUDGE_NO_NODE */
	size_t count;
	/* What follows from it takes a while, so it is worked out when somebody asks. */
	bool stale;
	struct unequal learned;
	double ln_halt, ln_promote;
};

struct gate_state {
	struct judge_gate gate;
	struct rate_ratio ratio;
	struct exact exact;
	struct latency latency;
	struct promised promised; /* where there is a promise */
	struct share_null *share; /* TEST_HIERARCHICAL */
	struct gate_nodes *nodes; /* TEST_UNEQUAL */
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
/* Of a gate of TEST_UNEQUAL, not stale. */
const struct gate_nodes *judge_nodes(const struct gate_state *g);
double judge_drift_gate(const struct judge *judge, const struct gate_state *g);
