/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The share q without harm is a latent number: both hypotheses average over the same 33 values of
 * it, so only what a higher rate explains and no likely share does counts as evidence. L is kept
 * for each pair of ratio and share, so that periods with different expectations add up.
 */
#include "coordinator/stats/share_null.h"

#include "coordinator/stats/numeric.h"

#include <errno.h>
#include <math.h>

enum { AT_TOLERANCE = STATS_GRID, AT_MARGIN = STATS_GRID + 1 };

_Static_assert(SHARE_NULL_RATIOS == AT_MARGIN + 1, "the grid and two reference ratios");

int share_null_learn(uint64_t canary_bad, uint64_t control_bad, uint32_t canary_nodes,
                     uint32_t control_nodes, double sd, double *ret_pi0, double *ret_m)
{
	double a0 = (double)canary_bad, b0 = (double)control_bad, n0 = a0 + b0, pi0;

	if (!canary_nodes || !control_nodes || !(sd >= 0) || !isfinite(sd))
		return -EINVAL;
	if (n0 < SHARE_NULL_EVENTS_MIN)
		return -ENODATA;
	pi0 = (a0 + 0.5) / (n0 + 1);
	*ret_pi0 = pi0;
	*ret_m =
	    1 / (1 / n0 + sd * sd * (1.0 / canary_nodes + 1.0 / control_nodes) * pi0 * (1 - pi0));
	return 0;
}

int share_null_init(struct share_null *null, double pi0, double m, double tolerance, double margin)
{
	double least = stats_grid(0), most = stats_grid(STATS_GRID - 1);

	if (!(m * pi0 >= SHARE_NULL_SHAPE_MIN && m * (1 - pi0) >= SHARE_NULL_SHAPE_MIN &&
	      m <= (double)STATS_COUNT_MAX))
		return -EINVAL;
	if (!(tolerance >= least && tolerance < most && margin > least && margin <= most))
		return -EINVAL;
	*null = (struct share_null){
	    .pi0 = pi0, .m = m, .tolerance = tolerance, .margin = margin, .clump = 1};
	for (size_t i = 0; i < SHARE_NULL_POINTS; i++)
		stats_beta_quantile(m * pi0, m * (1 - pi0), ((double)i + 0.5) / SHARE_NULL_POINTS,
		                    &null->ln_q[i], &null->ln_1q[i]);
	return 0;
}

static double ratio_at(const struct share_null *null, size_t k)
{
	if (k == AT_TOLERANCE)
		return null->tolerance;
	return k == AT_MARGIN ? null->margin : stats_grid(k);
}

int share_null_add(struct share_null *null, uint64_t canary_bad, uint64_t control_bad, double share)
{
	double x_c = (double)canary_bad / null->clump, x_b = (double)control_bad / null->clump;
	double ln_moved;

	if (!(share > 0 && share < 1))
		return -EINVAL;
	if (canary_bad > STATS_COUNT_MAX - null->canary_bad ||
	    control_bad > STATS_COUNT_MAX - null->control_bad)
		return -ERANGE;
	null->canary_bad += canary_bad;
	null->control_bad += control_bad;
	if (!canary_bad && !control_bad)
		return 0;
	ln_moved = log(share / null->pi0) - log((1 - share) / (1 - null->pi0));
	for (size_t k = 0; k < SHARE_NULL_RATIOS; k++) {
		double ln_odds = log(ratio_at(null, k)) + ln_moved; /* rho, and the odds' move */

		for (size_t i = 0; i < SHARE_NULL_POINTS; i++) {
			double ln_c = ln_odds + null->ln_q[i];
			double ln_all = log(exp(ln_c) + exp(null->ln_1q[i]));

			null->at[k][i] += x_c * (ln_c - ln_all) + x_b * (null->ln_1q[i] - ln_all);
		}
	}
	return 0;
}

/* ln M(rho) */
static double ln_m(const struct share_null *null, size_t k)
{
	return stats_ln_mean_exp(null->at[k], SHARE_NULL_POINTS);
}

double share_null_ln_halt(const struct share_null *null)
{
	double terms[STATS_GRID];
	size_t count = 0;

	for (size_t k = 0; k < STATS_GRID; k++)
		if (stats_grid(k) > null->tolerance)
			terms[count++] = ln_m(null, k);
	return stats_ln_mean_exp(terms, count) - ln_m(null, AT_TOLERANCE);
}

double share_null_ln_promote(const struct share_null *null)
{
	double terms[STATS_GRID];
	size_t count = 0;

	for (size_t k = 0; k < STATS_GRID; k++)
		if (stats_grid(k) < null->margin)
			terms[count++] = ln_m(null, k);
	return stats_ln_mean_exp(terms, count) - ln_m(null, AT_MARGIN);
}
