/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fleet in virtual time: nodes that make one record a minute, before and during a rollout. The
 * streams go through the same gather, history and judge as a coordinator's.
 */
#pragma once

#include "base/rng.h"
#include "coordinator/judge/gather.h"
#include "coordinator/judge/history.h"
#include "coordinator/judge/judge.h"

#include <stdbool.h>

enum { STREAM_NODES = 100, STREAM_PERIOD_MS = 60000, STREAM_VALUES = 64 };

struct scenario {
	const char *name;
	uint32_t nodes, canaries;
	double per_minute;  /* requests of a node */
	double errors;      /* rate of a node on average */
	double spread;      /* relative standard deviation between nodes, constant in time */
	double change;      /* ... and of each node between history and rollout */
	uint32_t burst;     /* errors come together in so many; 0, 1: alone */
	double factor;      /* of the canaries' errors */
	double slower;      /* of the canaries' latency; 0: latencies are not simulated */
	uint32_t history;   /* minutes before the rollout */
	uint32_t minutes;   /* of the rollout */
	bool guard_rail;    /* the default gates; else error_rate (or latency) alone */
};

struct minute { /* of the cohorts, for the peers: the same stream */
	double attempts[COHORT_COUNT], bad[COHORT_COUNT];
	double latencies[COHORT_COUNT][STREAM_VALUES];
	uint32_t latencies_count[COHORT_COUNT];
};

struct outcome_of_run {
	uint32_t halted_at; /* minute, counted from 1; 0: never */
	uint64_t canary_attempts; /* until then */
};

double stream_normal(struct rng *rng);

/* minutes: scenario->minutes of them, or NULL. */
struct outcome_of_run stream_run(const struct scenario *scenario, uint64_t seed,
				 struct minute *minutes);
