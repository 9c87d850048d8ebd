/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From nodes' records to closed periods: which cohort a record belongs to, whether it may count,
 * and when a period is complete. A period closes when every node that reported lately has reported
 * it, at the latest a whole period after its end; what comes later is left out (of comparison: it
 * was counted in the node's history). Left out as well: a server that warms up, on both sides; a
 * slot that clients do not reach; periods that a node added up while it was away.
 */
#pragma once

#include "coordinator/judge/period.h"
#include "coordinator/judge/policy.h"
#include "covey/evidence.h"

enum {
	JUDGE_STRATA_MAX = 64,
	JUDGE_JOINED = JUDGE_STRATA_MAX, /* stratum of nodes that joined in mid-rollout */
	JUDGE_ROWS_MAX = COHORT_COUNT * (JUDGE_STRATA_MAX + 1 + JUDGE_NODE_ROWS), /* of a period */
	JUDGE_LATENCIES_MIN = 1000, /* observations behind frozen thresholds */
};

struct gather_thresholds { /* of latency: buckets (evidence.h) of p50, p90, p95, p99 */
	bool frozen;
	uint32_t bucket[LATENCY_THRESHOLDS];
};

struct gather_node { /* a member of the rollout, by its index */
	uint32_t stratum;
	struct gather_thresholds thresholds; /* its own, from its own history; else the fleet's */
	double rates[JUDGE_GATES_MAX]; /* expected bad events per attempt (or minute), any unit */
};

struct gather_setup { /* copied, but for nodes, which stay the caller's */
	const struct judge_policy *policy;
	struct digest from, to, baseline;
	uint64_t period_ms;
	struct gather_thresholds thresholds; /* not frozen: taken from the first controls */
	const struct gather_node *nodes;
	size_t nodes_count;
};

struct gather;

struct gather *gather_new(const struct gather_setup *setup);
void gather_free(struct gather *gather);
COVEY_DEFINE_CLEANUP(struct gather *, gather_free)

/* A record of member `node`, whose end was at at_ms (fleet time). Whether it counts. GATHER_JOINED:
 * of a node that joined in mid-rollout. Nobody drew it and nothing is known of it, so it is in no
 * comparison; what the new release promises (absolute gates) it must keep there as well. */
#define GATHER_JOINED UINT32_MAX
bool gather_add(struct gather *gather, uint32_t node, uint64_t at_ms,
		const struct observation_record *record);
/* The next period that is complete: true, and *ret_period is the caller's (period_free). Call it
 * until it says false. */
bool gather_close(struct gather *gather, uint64_t now_ms, struct judge_period *ret_period);
/* Nothing before this index is taken any more: after a restart, the next one to close. */
void gather_skip(struct gather *gather, uint64_t index);
/* Thresholds that were frozen before a restart. */
void gather_freeze(struct gather *gather, const struct gather_thresholds *thresholds);
/* Thresholds that were frozen since the last call: to be written down before the next period. */
bool gather_froze(struct gather *gather, struct gather_thresholds *ret_thresholds);
/* Fleet time at which gather_close() may have something; UINT64_MAX: never without a record. */
uint64_t gather_deadline(const struct gather *gather);
uint64_t gather_left_out(const struct gather *gather); /* records */

void period_free(struct judge_period *period);

/* The buckets of p50, p90, p95, p99; false below JUDGE_LATENCIES_MIN observations. */
bool gather_quantiles(const uint64_t counts[LIMIT_LATENCY_BUCKETS],
		      struct gather_thresholds *ret_thresholds);
/* What a record counts for a gate. */
struct judge_count gather_count(const struct judge_gate *gate,
				const struct gather_thresholds *thresholds,
				const struct observation_record *record);
