/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the judge is fed with: one closed period of a rollout, canaries beside controls, counts only.
 * Once written a period never changes, so that the judge's state is the sum of its periods, after a
 * restart as well. Lists are heap memory of the period.
 */
#pragma once

#include "coordinator/stats/exact.h"
#include "covey/limits.h"

#include <stddef.h>
#include <stdint.h>

enum cohort { COHORT_CANARY, COHORT_CONTROL, COHORT_COUNT };

enum { JUDGE_NODE_ROWS = 64 }; /* the first nodes: known one by one */
#define JUDGE_NO_NODE UINT32_MAX

struct judge_count { /* of one gate; zero where it has no such thing */
	uint64_t attempts, bad;
	uint64_t minutes, incidents; /* node-minutes with attempts, and of these with a bad event */
	double expected; /* bad events without harm, from before the rollout; only shares matter */
	uint64_t over[LATENCY_THRESHOLDS]; /* latencies above the frozen thresholds */
};

struct judge_row { /* a node, or the rest of a cohort in a stratum */
	enum cohort cohort;
	uint32_t stratum;
	uint32_t node; /* index in the rollout, below JUDGE_NODE_ROWS, or JUDGE_NO_NODE */
	uint32_t nodes; /* that it speaks of */
	struct judge_count *counts; /* one for each gate */
	size_t counts_count;
};

struct judge_bins { /* a feature, counted against the rollout's baseline */
	enum cohort cohort;
	uint32_t feature;
	uint64_t *bins;
	size_t bins_count;
};

struct judge_period {
	uint64_t index; /* start / length, in fleet time */
	struct judge_row *rows;
	size_t rows_count;
	struct judge_bins *bins;
	size_t bins_count;
};
