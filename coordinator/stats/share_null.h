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
 *   E = mean over rho_k > 1 of M(rho_k) / M(1).
 * Count incidents (node-minutes with a bad event), not raw errors.
 */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

enum { SHARE_NULL_POINTS = 33, SHARE_NULL_EVENTS_MIN = 200 };
#define SHARE_NULL_SD 0.25 /* how far nodes' rates vary, until it is learned from history */
#define SHARE_NULL_SHAPE_MIN 0.001
#define SHARE_NULL_NOBODY SIZE_MAX

struct share_null {
	double pi0, m;
	double ln_q[SHARE_NULL_POINTS], ln_1q[SHARE_NULL_POINTS];
	uint64_t canary_bad, control_bad; /* x_c, x_b so far */
};

struct share_node { /* a canary node's part */
	uint64_t attempts;
	uint64_t bad;
};

/* pi0 and m from the time before the rollout; sd: relative standard deviation of nodes' rates.
 * -ENODATA below SHARE_NULL_EVENTS_MIN events, -EINVAL without a node on a side. */
int share_null_learn(uint64_t canary_bad, uint64_t control_bad, uint32_t canary_nodes,
                     uint32_t control_nodes, double sd, double *ret_pi0,
                     double *ret_m) COVEY_MUST_CHECK;
/* 0 < pi0 < 1, m <= STATS_COUNT_MAX, m pi0 and m (1 - pi0) at least SHARE_NULL_SHAPE_MIN, else
 * -EINVAL. */
int share_null_init(struct share_null *null, double pi0, double m) COVEY_MUST_CHECK;
/* -ERANGE above STATS_COUNT_MAX in all. */
int share_null_add(struct share_null *null, uint64_t canary_bad,
                   uint64_t control_bad) COVEY_MUST_CHECK;
/* ln E against H0: the canary's rates are what they were. */
double share_null_ln_halt(const struct share_null *null);

/*
 * Leave-one-node-out: which of the canary nodes carries a verdict? That one (its index) without
 * which nothing speaks for harm (ln E <= 0), when it is the only one: then the node is to blame and
 * not the release. SHARE_NULL_NOBODY when there is no verdict (ln E < ln_threshold), when the rest
 * still leans to harm, when several nodes would do, and where fewer than two nodes had attempts.
 * Without a node of share s of the attempts pi0 becomes pi0 (1 - s) / (1 - pi0 s); m stays. The
 * nodes' bad events should sum to x_c.
 */
size_t share_null_carrier(const struct share_null *null, const struct share_node *nodes,
                          size_t count, double ln_threshold);
