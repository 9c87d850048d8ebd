/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hierarchical null, for small and unequal fleets: how large the canary nodes' share of bad events
 * is without any harm was learned before the rollout, and is not known exactly.
 *
 *   pi0 = (a0 + .5) / (a0 + b0 + 1), n0 = a0 + b0 >= 200 bad events (incidents) of the nodes that
 *   are canaries now (a0) and of the controls (b0);
 *   m = 1 / (1/n0 + sd^2 (1/nodes_c + 1/nodes_b) pi0 (1 - pi0));
 *   q_i: the 33 equal-probability quantile midpoints of Beta(m pi0, m (1 - pi0));
 *   M(rho) = mean_i theta(rho, q_i)^x_c (1 - theta(rho, q_i))^x_b, theta as in rate_ratio.h;
 *   E = mean over rho_k > tolerance of M(rho_k) / M(tolerance), tolerance usually 1;
 *   to promote: mean over rho_k < margin of M(rho_k) / M(margin).
 * Count incidents (node-minutes with a bad event), not raw errors.
 *
 * Two things may change from period to period. The share that is expected without harm: nodes join
 * the canaries, traffic moves; then the odds of q_i move by the same factor as those of pi0. And
 * events may come in clumps: x_c and x_b are divided by their mean size, which takes the likelihood
 * to a power below 1 and keeps E[E] <= 1 (Jensen).
 */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

enum { SHARE_NULL_POINTS = 33, SHARE_NULL_EVENTS_MIN = 200, SHARE_NULL_RATIOS = 67 };
#define SHARE_NULL_SD 0.25 /* how far nodes' rates vary, until it is learned from history */
#define SHARE_NULL_SHAPE_MIN 0.001

struct share_null {
	double pi0, m;
	double tolerance, margin;
	double clump; /* mean size of what comes together, >= 1 */
	double ln_q[SHARE_NULL_POINTS], ln_1q[SHARE_NULL_POINTS];
	double at[SHARE_NULL_RATIOS][SHARE_NULL_POINTS]; /* L at the grid, tolerance, margin */
	uint64_t canary_bad, control_bad; /* x_c, x_b so far */
};

/* pi0 and m from the time before the rollout; sd: relative standard deviation of nodes' rates.
 * -ENODATA below SHARE_NULL_EVENTS_MIN events, -EINVAL without a node on a side. */
int share_null_learn(uint64_t canary_bad, uint64_t control_bad, uint32_t canary_nodes,
                     uint32_t control_nodes, double sd, double *ret_pi0,
                     double *ret_m) COVEY_MUST_CHECK;
/* 0 < pi0 < 1, m <= STATS_COUNT_MAX, m pi0 and m (1 - pi0) at least SHARE_NULL_SHAPE_MIN,
 * tolerance and margin as in rate_ratio.h, else -EINVAL. clump is 1 until the caller sets it. */
int share_null_init(struct share_null *null, double pi0, double m, double tolerance,
                    double margin) COVEY_MUST_CHECK;
/* share: of bad events that the canary nodes would have without harm in this period, pi0 where
 * nothing has changed. -EINVAL outside 0 < share < 1, -ERANGE above STATS_COUNT_MAX in all. */
int share_null_add(struct share_null *null, uint64_t canary_bad, uint64_t control_bad,
                   double share) COVEY_MUST_CHECK;
/* ln E against H0: the canary's rates are at most tolerance times what they were. */
double share_null_ln_halt(const struct share_null *null);
/* ln E against H0: they are at least margin times what they were. */
double share_null_ln_promote(const struct share_null *null);
