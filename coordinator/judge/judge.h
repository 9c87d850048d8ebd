/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judge of one rollout: evidence of every gate, added up over all periods and stages, and what
 * follows from it. A fold over periods; the tests are valid at every look, so it may be asked as
 * often as one likes. Order of decision:
 *
 *   1. inputs of canaries and controls differ (drift between cohorts): PAUSE, they cannot be
 *      compared; only what needs no comparison decides then
 *   2. a broken promise (absolute), or a critical gate at E >= 100: ROLL_BACK
 *   3. E_j >= 1 / (alpha v_j): HALT
 *   4. every gate that requires evidence has E >= 1 / beta: PROMOTE; without such gates the guard
 *      rail: health good so far
 *   5. CONTINUE; NO_EVIDENCE while there was no traffic, which is never a failure
 *
 * A verdict that one canary node alone carries is the node's: judge_carrier().
 */
#pragma once

#include "coordinator/judge/period.h"
#include "coordinator/judge/policy.h"
#include "coordinator/stats/rate_ratio.h"

enum judge_decision { JUDGE_NO_EVIDENCE, JUDGE_CONTINUE, JUDGE_PROMOTE, JUDGE_PAUSE, JUDGE_HALT,
		      JUDGE_ROLL_BACK, JUDGE_DECISION_COUNT };

enum { JUDGE_WHY = 511, JUDGE_DRIFT_MIN = 200 /* observations of a feature on each side */ };
#define JUDGE_DRIFT_E 1000.0

struct judge_feature { /* borrowed by judge_new() and copied */
	const char *name;
	bool input; /* else what the model says: expected to change with the release */
	const uint64_t *baseline; /* counts; in the order of the records' bins */
	size_t bins;
};

struct judge_frozen { /* everything that was settled before the first period; borrowed */
	const struct judge_policy *policy;
	const struct judge_feature *features;
	size_t features_count;
	bool declared; /* the baseline is the new release's own: it says what the model will say */
};

struct judge_sum { /* of one cohort */
	uint64_t attempts, bad;
};

struct judge_result { /* of one gate */
	bool evidence; /* there was something to compare */
	bool failed, passed;
	double ln_e, ln_fail;   /* for harm, and where it fails */
	double ln_e_promote, ln_pass; /* for no harm */
	double ratio; /* NAN: not known */
	double ratio_lo, ratio_hi; /* NAN until judge_bounds(); confidence sequence at alpha */
	struct judge_sum cohorts[COHORT_COUNT];
	double spread, clump, freedom; /* of TEST_UNEQUAL: struct unequal */
	double more; /* attempts of canaries still to come (policy.h); HUGE_VAL: not known */
};

struct judge_verdict {
	enum judge_decision decision;
	uint32_t gate; /* that decided; JUDGE_NO_GATE */
	char why[JUDGE_WHY + 1]; /* one sentence with its numbers */
};
#define JUDGE_NO_GATE UINT32_MAX

struct judge;

struct judge *judge_new(const struct judge_frozen *frozen);
void judge_free(struct judge *judge);
COVEY_DEFINE_CLEANUP(struct judge *, judge_free)

/* Adds a closed period. Rows of canary nodes whose bit is set in `without` are left out. -EINVAL,
 * -ERANGE: counts that mean nothing; then nothing of that stratum and gate was added. */
int judge_add(struct judge *judge, const struct judge_period *period,
	      uint64_t without) COVEY_MUST_CHECK;

/* What a period counts for a gate in a stratum; false: nothing lies there. */
bool judge_sum(const struct judge_period *period, uint32_t stratum, size_t gate, uint64_t without,
	       struct judge_count sums[COHORT_COUNT]);

void judge_result(const struct judge *judge, size_t gate, struct judge_result *ret_result);
/* Fills in the bounds of the ratio, which take longer than the rest. */
void judge_bounds(const struct judge *judge, size_t gate, struct judge_result *result);
/* A gate's state in a word: none, fail, inconclusive, pass. */
const char *judge_result_word(const struct judge_gate *gate, const struct judge_result *result);
void judge_look(const struct judge *judge, struct judge_verdict *ret_verdict);
/* Drift of a feature in a cohort against the baseline (ln E), or with COHORT_COUNT between the
 * cohorts; -INFINITY while too little is known. */
const uint64_t *judge_bins_of(const struct judge *judge, size_t feature, enum cohort cohort);
double judge_drift(const struct judge *judge, size_t feature, enum cohort cohort);

/* Every gate that requires evidence has it, or keeps its promised rate (slo) with the same proof. */
bool judge_promised(const struct judge *judge);

/* Leave one node out. without[i] is the same judge, fed without canary nodes[i]. The node that
 * carries the verdict of `gate`: the only one without which nothing speaks for harm (ln E <= 0);
 * its index in nodes, or `count`: nobody, or several would do. */
size_t judge_carrier(struct judge *const *without, size_t count, size_t gate);
