/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a deployment's `gates:` mean for the judge: metrics by kind, defaults filled in, weights
 * that sum to 1. Without gates: the guard rail, which asks for no proof. Invalid output is always
 * watched, whatever the file says.
 */
#pragma once

#include "base/err.h"
#include "covey/policy.h"

/* X(NAME, text, weight without gates: in the file). A text that ends in '.' or ':' is a prefix. */
#define JUDGE_METRICS(X)                                                                           \
	X(ERROR_RATE, "error_rate", 0.55)                                                          \
	X(TIMEOUTS, "timeouts", 0.1)                                                               \
	X(INVALID_OUTPUT, "invalid_output", 0.1)                                                   \
	X(LATENCY, "latency", 0.25)                                                                \
	X(LABEL_ERROR, "label_error", 0)                                                           \
	X(DRIFT, "drift.", 0)             /* of an input, or of what the model says */             \
	X(PROMETHEUS, "prometheus:", 0)   /* a counter of the server's /metrics */
#define X(name, text, weight) METRIC_##name,
enum judge_metric { JUDGE_METRICS(X) METRIC_COUNT };
#undef X

/* How a gate tests. Chosen before the rollout's first record counts, and kept. */
enum judge_test {
	TEST_RATE_RATIO,   /* canary against control, events counted one by one */
	TEST_EXACT,        /* ... where events are frequent */
	TEST_HIERARCHICAL, /* ... where the nodes' own shares are known from before the rollout */
	TEST_LATENCY,
	TEST_ABSOLUTE,     /* the canary against the promised rate */
	TEST_DRIFT,
	TEST_UNEQUAL,      /* ... where they are not: learned in the rollout itself */
	TEST_COUNT
};

enum {
	JUDGE_GATES_MAX = LIMIT_GATES + 1,
	JUDGE_WARMUP_PERIODS = 2, /* after a server's start, on both sides */
	JUDGE_PERIODS_MIN = JUDGE_WARMUP_PERIODS + 2, /* one that counts, and the time to close it */
};
#define JUDGE_ALPHA 0.05    /* false halts of a rollout, over all of its gates and looks */
#define JUDGE_BETA 0.05     /* false promotions of a gate that requires evidence */
#define JUDGE_CRITICAL 100  /* E of a critical gate that rolls back at once */
#define JUDGE_MARGIN 2.0    /* non-inferiority */

struct judge_gate {
	char metric[LIMIT_SHORT_TEXT + 1]; /* as written */
	enum judge_metric kind;
	bool absolute, critical, dry_run, required;
	double tolerance, margin, slo; /* slo 0: no promise */
	uint64_t bound_us; /* of an absolute gate on latency: a latency above it is a bad event */
	double weight; /* v; 0 with dry_run */
	/* frozen before the rollout (history.h) */
	enum judge_test test;
	bool incidents; /* counts node-minutes with an event, not events */
	double pi0, m, clump; /* TEST_HIERARCHICAL */
	double variance, freedom; /* TEST_UNEQUAL with these and clump, 0: learned; never stored */
};

struct judge_policy {
	struct judge_gate gates[JUDGE_GATES_MAX];
	size_t gates_count;
};

/* -EINVAL: an unknown metric, or one that cannot be judged like that; the sentence begins with the
 * gate's place, "gates[2]: metric: ...". */
int judge_policy_make(const struct deployment_spec *spec, struct judge_policy *ret_policy,
		      struct err *err) COVEY_MUST_CHECK;
/* -EINVAL: a gate that requires evidence has a deadline (or, without one, the stage has) before
 * which none can be complete, with records of period_ms. */
int judge_deadlines_check(const struct deployment_spec *spec, uint64_t period_ms,
			  struct err *err) COVEY_MUST_CHECK;
/* Sets the kind by the metric's text; -EINVAL: unknown. */
int judge_gate_kind(struct judge_gate *gate) COVEY_MUST_CHECK;
/* What follows the prefix: the feature, the counter; "" without. */
const char *judge_gate_subject(const struct judge_gate *gate);
/* ln E at which the gate fails: 1 / (alpha v), for a critical one not above JUDGE_CRITICAL. */
double judge_gate_ln_fail(const struct judge_gate *gate);
const char *judge_test_name(enum judge_test test);

/* Attempts of canaries that a gate needs before a healthy release is proven (required), or a
 * doubled rate is seen (guard rail): rate is that of bad events, share the canaries' part of all
 * attempts. HUGE_VAL: never. [expected growth of ln E, the Kullback-Leibler divergence] */
double judge_gate_needs(const struct judge_gate *gate, double rate, double share);
