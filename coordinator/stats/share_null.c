/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The share q without harm is a latent number: both hypotheses average over the same 33 values of
 * it, so only what a higher rate explains and no likely share does counts as evidence.
 */
#include "coordinator/stats/share_null.h"

#include "coordinator/stats/numeric.h"

#include <errno.h>
#include <math.h>

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

int share_null_init(struct share_null *null, double pi0, double m)
{
	if (!(m * pi0 >= SHARE_NULL_SHAPE_MIN && m * (1 - pi0) >= SHARE_NULL_SHAPE_MIN &&
	      m <= (double)STATS_COUNT_MAX))
		return -EINVAL;
	*null = (struct share_null){.pi0 = pi0, .m = m};
	for (size_t i = 0; i < SHARE_NULL_POINTS; i++)
		stats_beta_quantile(m * pi0, m * (1 - pi0), ((double)i + 0.5) / SHARE_NULL_POINTS,
		                    &null->ln_q[i], &null->ln_1q[i]);
	return 0;
}

int share_null_add(struct share_null *null, uint64_t canary_bad, uint64_t control_bad)
{
	if (canary_bad > STATS_COUNT_MAX - null->canary_bad ||
	    control_bad > STATS_COUNT_MAX - null->control_bad)
		return -ERANGE;
	null->canary_bad += canary_bad;
	null->control_bad += control_bad;
	return 0;
}

/* ln M(rho) */
static double ln_m(const struct share_null *null, double rho)
{
	double x_c = (double)null->canary_bad, x_b = (double)null->control_bad;
	double terms[SHARE_NULL_POINTS];

	for (size_t i = 0; i < SHARE_NULL_POINTS; i++) {
		double ln_all = log(rho * exp(null->ln_q[i]) + exp(null->ln_1q[i]));

		terms[i] =
		    x_c * (log(rho) + null->ln_q[i] - ln_all) + x_b * (null->ln_1q[i] - ln_all);
	}
	return stats_ln_mean_exp(terms, SHARE_NULL_POINTS);
}

double share_null_ln_halt(const struct share_null *null)
{
	double terms[STATS_GRID];
	size_t count = 0;

	for (size_t k = 0; k < STATS_GRID; k++)
		if (stats_grid(k) > 1)
			terms[count++] = ln_m(null, stats_grid(k));
	return stats_ln_mean_exp(terms, count) - ln_m(null, 1);
}

/* ln E without one node; INFINITY where nothing is left that could clear the release. */
static double ln_halt_without(const struct share_null *null, const struct share_node *node,
                              uint64_t attempts)
{
	double s = (double)node->attempts / (double)attempts;
	struct share_null rest;

	if (node->bad > null->canary_bad ||
	    share_null_init(&rest, null->pi0 * (1 - s) / (1 - null->pi0 * s), null->m) < 0)
		return INFINITY;
	rest.canary_bad = null->canary_bad - node->bad;
	rest.control_bad = null->control_bad;
	return share_null_ln_halt(&rest);
}

size_t share_null_carrier(const struct share_null *null, const struct share_node *nodes,
                          size_t count, double ln_threshold)
{
	size_t carrier = SHARE_NULL_NOBODY;
	uint64_t attempts = 0;

	for (size_t i = 0; i < count; i++)
		attempts += nodes[i].attempts;
	if (count < 2 || !attempts || share_null_ln_halt(null) < ln_threshold)
		return SHARE_NULL_NOBODY;
	for (size_t i = 0; i < count; i++) {
		if (ln_halt_without(null, &nodes[i], attempts) > 0)
			continue;
		if (carrier != SHARE_NULL_NOBODY)
			return SHARE_NULL_NOBODY;
		carrier = i;
	}
	return carrier;
}
