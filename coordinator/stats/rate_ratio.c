/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With L relative to L(1) a period adds x_c ln rho - (x_c + x_b) ln(rho w + 1 - w): no large
 * constants, and a side without attempts adds nothing. The confidence sequence needs L between the
 * points: as a function of ln rho it is analytic with its nearest singularities pi away, so that a
 * polynomial through ten points, 0.087 apart, is exact to 1e-12 of an event.
 */
#include "coordinator/stats/rate_ratio.h"

#include "coordinator/stats/numeric.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>

enum {
	STEPS_PER_OCTAVE = 8,
	CENTRE = RATE_RATIO_POINTS / 2,             /* rho = 1 */
	GRID_FIRST = CENTRE - (STATS_GRID - 1) / 2, /* rho_0 of the mixtures */
	NEIGHBOURS = 10,                            /* points of the interpolation */
	BISECTIONS = 60,
};

static double point(size_t j)
{
	return exp2(((double)j - CENTRE) / STEPS_PER_OCTAVE);
}

int rate_ratio_init(struct rate_ratio *ratio, double tolerance, double margin)
{
	double least = stats_grid(0), most = stats_grid(STATS_GRID - 1);

	if (!(tolerance >= least && tolerance < most && margin > least && margin <= most))
		return -EINVAL;
	*ratio = (struct rate_ratio){.tolerance = tolerance, .margin = margin};
	return 0;
}

static int check(const struct rate_period *p)
{
	if (p->canary > STATS_COUNT_MAX || p->control > STATS_COUNT_MAX ||
	    p->canary_bad > STATS_COUNT_MAX || p->control_bad > STATS_COUNT_MAX)
		return -ERANGE;
	if ((p->canary_bad && !p->canary) || (p->control_bad && !p->control))
		return -EINVAL;
	return 0;
}

int rate_ratio_add(struct rate_ratio *ratio, const struct rate_period *p)
{
	double x = (double)p->canary_bad, k = x + (double)p->control_bad, w;
	int r = check(p);

	if (r < 0 || !p->canary || !p->control)
		return r;
	w = (double)p->canary / (double)(p->canary + p->control);
	for (size_t j = 0; j < RATE_RATIO_POINTS && k > 0; j++) {
		double rho = point(j);

		ratio->at[j] += x * log(rho) - k * log(rho * w + 1 - w);
	}
	ratio->at_tolerance += x * log(ratio->tolerance) - k * log(ratio->tolerance * w + 1 - w);
	ratio->at_margin += x * log(ratio->margin) - k * log(ratio->margin * w + 1 - w);
	ratio->canary_bad += p->canary_bad;
	ratio->control_bad += p->control_bad;
	return 0;
}

double rate_ratio_ln_halt(const struct rate_ratio *ratio)
{
	size_t first = GRID_FIRST;

	while (point(first) <= ratio->tolerance)
		first++;
	return stats_ln_mean_exp(ratio->at + first, GRID_FIRST + STATS_GRID - first) -
	       ratio->at_tolerance;
}

double rate_ratio_ln_promote(const struct rate_ratio *ratio)
{
	size_t end = GRID_FIRST + STATS_GRID;

	while (point(end - 1) >= ratio->margin)
		end--;
	return stats_ln_mean_exp(ratio->at + GRID_FIRST, end - GRID_FIRST) - ratio->at_margin;
}

/* L at a place between two points: barycentric Lagrange through the NEIGHBOURS nearest. */
static double interpolate(const double *at, double place)
{
	double first = floor(place) - NEIGHBOURS / 2 + 1, weight = 1, above = 0, below = 0;

	first = fmin(fmax(first, 0), RATE_RATIO_POINTS - NEIGHBOURS);
	for (size_t i = 0; i < NEIGHBOURS; i++) {
		double away = place - first - (double)i;

		if (away == 0)
			return at[(size_t)first + i];
		above += weight / away * at[(size_t)first + i];
		below += weight / away;
		weight *= -(double)(NEIGHBOURS - 1 - i) / (double)(i + 1);
	}
	return above / below;
}

double rate_ratio_at(const struct rate_ratio *ratio, double ln_rho)
{
	return interpolate(ratio->at, ln_rho / M_LN2 * STEPS_PER_OCTAVE + CENTRE);
}

/* The points are as far from each other as the grid's: the weights are the same for all k. */
void rate_ratio_shifted(const struct rate_ratio *ratio, double ln_shift, double ret_at[STATS_GRID])
{
	double shift = ln_shift / M_LN2 * STEPS_PER_OCTAVE, whole = floor(shift);
	const double *at = ratio->at + GRID_FIRST + (int)whole;
	double weights[NEIGHBOURS], weight = 1, below = 0;

	for (int i = 0; i < NEIGHBOURS && shift > whole; i++) {
		weights[i] = weight / (shift - whole + NEIGHBOURS / 2 - 1 - i);
		below += weights[i];
		weight *= -(double)(NEIGHBOURS - 1 - i) / (double)(i + 1);
	}
	for (size_t k = 0; k < STATS_GRID; k++) {
		double above = 0;

		for (int i = 0; i < NEIGHBOURS && shift > whole; i++)
			above += weights[i] * at[(int)k + i - NEIGHBOURS / 2 + 1];
		ret_at[k] = shift > whole ? above / below : at[k];
	}
}

/* Where L crosses `level` between a point inside and one outside. */
static double crossing(const double *at, double inside, double outside, double level)
{
	for (int i = 0; i < BISECTIONS; i++) {
		double middle = (inside + outside) / 2;

		if (interpolate(at, middle) > level)
			inside = middle;
		else
			outside = middle;
	}
	return exp2((inside - CENTRE) / STEPS_PER_OCTAVE);
}

/* L is concave in ln rho: what lies above a level is one interval around the largest point. */
void rate_ratio_bounds(const struct rate_ratio *ratio, double alpha, double *ret_lo, double *ret_hi)
{
	const double *at = ratio->at;
	double level = stats_ln_mean_exp(at + GRID_FIRST, STATS_GRID) + log(alpha);
	size_t lo = 0, hi;

	for (size_t j = 1; j < RATE_RATIO_POINTS; j++)
		lo = at[j] > at[lo] ? j : lo;
	hi = lo;
	while (lo > 0 && at[lo] > level)
		lo--;
	while (hi < RATE_RATIO_POINTS - 1 && at[hi] > level)
		hi++;
	*ret_lo = at[lo] > level ? 0 : crossing(at, (double)lo + 1, (double)lo, level);
	*ret_hi = at[hi] > level ? INFINITY : crossing(at, (double)hi - 1, (double)hi, level);
}
