/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rate ratio where nodes may be unequal, errors may come in bursts, and nothing is known from
 * before the rollout: both are learned from the rollout itself.
 *
 * Bursts. A record's number of bad events x has the variance clump times what chance makes of it;
 * the logarithm of the likelihood is divided by clump. [quasi-likelihood: Wedderburn 1974;
 * McCullagh and Nelder, "Generalized Linear Models", 1989, chapter 9] clump is the larger of
 *   sum (x - r n)^2 / sum r (1 - r) n, over records, r the record's own node's rate, and
 *   events / (minutes -ln(1 - p)), p the share of records with an event: what there is beside
 *   what so many incidents mean where events come alone,
 * and at least 1. The second one knows of a burst from its first minute on; it is left out once
 * most minutes have an event.
 *
 * Nodes. Without harm the ratio of canaries' and controls' rates is exp(Z), Z / sqrt(variance) of
 * Student's t distribution: E = mean of M(rho_k) / M(tolerance) over the rho_k from the tolerance
 * to 8 times as much, M(rho) = mean over 33 quantile midpoints z_i of exp(L(rho exp(z_i)) / clump),
 * as in share_null.h, L as in rate_ratio.h. variance = spread (1/nodes_c + 1/nodes_b); spread, the
 * variance of nodes' relative rates, comes from the controls: with mu_i what a control would have
 * at the rate of its stratum, S = sum (x_i - mu_i)^2 / mu_i, f degrees of freedom,
 *   s = (S - clump (f + sqrt(2 f))) / sum mu_i, at least 0;  spread = (1/4 + f s) / (1 + f):
 * as if one more control had been seen, which differs by a half; Z has 1 + f degrees of freedom.
 * nodes is (sum n)^2 / sum n^2 of the attempts of a side: what traffic makes of its number.
 */
#pragma once

#include "coordinator/stats/rate_ratio.h"

#include <stdbool.h>
#include <stddef.h>

enum { UNEQUAL_MIDPOINTS = 33 };
#define UNEQUAL_SPREAD 0.25      /* variance of what is not known yet: (a half)^2 */
#define UNEQUAL_VARIANCE_MAX 2.0 /* of Z */

struct event_sums { /* of a node's records; zero-initialise */
	double attempts, bad, minutes, incidents; /* records with attempts, and with a bad event */
	double bad_squared, bad_attempts, attempts_squared;
};

struct unequal_node {
	bool canary;
	uint32_t stratum;
	double nodes; /* that it speaks of */
	struct event_sums sums;
};

struct unequal {
	double variance; /* of Z, but for the tails of t; 0: all alike */
	double clump;    /* >= 1 */
	double freedom;  /* of Z, >= 1 */
	double midpoints[UNEQUAL_MIDPOINTS / 2 + 1]; /* of t; below 0 they are the same, negative */
};

void event_sums_add(struct event_sums *sums, uint64_t attempts, uint64_t bad);
/* Variance of events over what chance makes of them, at least 1. stride: bytes between sums. */
double event_sums_clump(const struct event_sums *sums, size_t count, size_t stride);

/* All zero before the first of them. What is learned replaces what was. */
void unequal_set(struct unequal *unequal, double variance, double clump, double freedom);
void unequal_learn(struct unequal *unequal, const struct unequal_node *nodes, size_t count);
/* ln E against H0: the ratio is at most tolerance, but for Z; against: it is at least margin. */
void unequal_ln_e(const struct unequal *unequal, const struct rate_ratio *ratio,
                  double *ret_halt, double *ret_promote);
/* The ratios that are not ruled out: mean_k M(rho_k) < M(rho) / alpha. A bound beyond 2^-7 or 2^7
 * is given as 0 or INFINITY. */
void unequal_bounds(const struct unequal *unequal, const struct rate_ratio *ratio, double alpha,
                    double *ret_lo, double *ret_hi);
