/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing is kept but sums: L of the rate ratio, and each node's counts. What is learned is plugged
 * into the test anew at each look, so evidence may shrink when nodes turn out to be unequal.
 * Learned is the least that the controls show (one standard error below the estimate): with few
 * events chance explains more than any spread, and a fleet whose nodes are alike must not pay for
 * it.
 */
#include "coordinator/stats/unequal.h"

#include "coordinator/stats/numeric.h"

#include <math.h>

enum {
	RECORDS_FEW = 10, /* of a node: too few to see bursts by their variance */
	BISECTIONS = 40,
	BOUND_OCTAVES = 7,
	Z_OCTAVES = 4, /* together within the 12 that L has points for */
};
#define RATIO_MOST 8.0 /* times the tolerance: what is worse shows at once */
#define INCIDENTS_RARE 0.5 /* of the minutes: above, they say little about the number of events */

/* t^2 / (t^2 + f) is of Beta(1/2, f/2). [DLMF 8.17] */
void unequal_set(struct unequal *unequal, double variance, double clump, double freedom)
{
	bool known = unequal->freedom == freedom;

	unequal->variance = variance;
	unequal->clump = clump;
	unequal->freedom = freedom;
	for (size_t i = 1; i <= UNEQUAL_MIDPOINTS / 2 && !known; i++) {
		double ln_q, ln_1q;

		stats_beta_quantile(0.5, freedom / 2, 2.0 * (double)i / UNEQUAL_MIDPOINTS, &ln_q,
		                    &ln_1q);
		unequal->midpoints[i] = sqrt(freedom) * exp((ln_q - ln_1q) / 2);
	}
}

/* ---- learning ---- */

void event_sums_add(struct event_sums *sums, uint64_t attempts, uint64_t bad)
{
	double n = (double)attempts, x = (double)bad;

	sums->attempts += n;
	sums->bad += x;
	sums->minutes += n > 0;
	sums->incidents += x > 0;
	sums->bad_squared += x * x;
	sums->bad_attempts += x * n;
	sums->attempts_squared += n * n;
}

double event_sums_clump(const struct event_sums *sums, size_t count, size_t stride)
{
	double spread = 0, chance = 0;

	for (size_t i = 0; i < count; i++) {
		const struct event_sums *s =
		    (const struct event_sums *)((const char *)sums + i * stride);
		double rate = s->bad / fmax(s->attempts, 1);

		spread +=
		    s->bad_squared - 2 * rate * s->bad_attempts + rate * rate * s->attempts_squared;
		chance += rate * (1 - rate) * s->attempts;
	}
	return chance > 0 ? fmax(spread / chance, 1) : 1;
}

static double clump_of(const struct unequal_node *nodes, size_t count)
{
	double clump = event_sums_clump(&nodes->sums, count, sizeof(*nodes));
	double bad = 0, minutes = 0, incidents = 0;

	for (size_t i = 0; i < count; i++) {
		bad += nodes[i].sums.bad;
		minutes += nodes[i].sums.minutes;
		incidents += nodes[i].sums.incidents;
	}
	if (incidents == 0)
		return 1;
	if (incidents > INCIDENTS_RARE * minutes && minutes > RECORDS_FEW * (double)count)
		return clump;
	/* one more minute without an event: nobody knows that every minute has one */
	return fmax(clump, bad / (minutes * -log1p(-incidents / (minutes + 1))));
}

/* What a control would have at the rate of its stratum; *first: it is the first of that stratum. */
static double mean_of(const struct unequal_node *nodes, size_t count, size_t i, bool *first)
{
	double attempts = 0, bad = 0;

	*first = true;
	for (size_t k = 0; k < count; k++) {
		if (nodes[k].canary || nodes[k].stratum != nodes[i].stratum)
			continue;
		*first = *first && (k >= i || nodes[k].sums.attempts == 0);
		attempts += nodes[k].sums.attempts;
		bad += nodes[k].sums.bad;
	}
	return attempts > 0 ? bad / attempts * nodes[i].sums.attempts : 0;
}

static double spread_of(const struct unequal_node *nodes, size_t count, double clump,
                        double *ret_freedom)
{
	double squares = 0, means = 0, freedom = 0, learned = 0;

	for (size_t i = 0; i < count; i++) {
		double away, mean;
		bool first;

		if (nodes[i].canary || nodes[i].sums.attempts == 0)
			continue;
		mean = mean_of(nodes, count, i, &first);
		freedom += !first;
		if (mean == 0)
			continue;
		away = nodes[i].sums.bad - mean;
		squares += away * away / mean;
		means += mean / nodes[i].nodes;
	}
	if (means > 0)
		learned = fmax(squares - clump * (freedom + sqrt(2 * freedom)), 0) / means;
	*ret_freedom = 1 + freedom;
	return (UNEQUAL_SPREAD + freedom * learned) / (1 + freedom);
}

/* 1 / nodes of a side. */
static double fewness(const struct unequal_node *nodes, size_t count, bool canary)
{
	double sum = 0, squares = 0;

	for (size_t i = 0; i < count; i++) {
		double n = nodes[i].sums.attempts;

		if (nodes[i].canary != canary || n == 0)
			continue;
		sum += n;
		squares += n * n / nodes[i].nodes;
	}
	return sum > 0 ? squares / (sum * sum) : 1;
}

void unequal_learn(struct unequal *unequal, const struct unequal_node *nodes, size_t count)
{
	double few = fewness(nodes, count, true) + fewness(nodes, count, false), freedom;
	double clump = clump_of(nodes, count), spread = spread_of(nodes, count, clump, &freedom);

	unequal_set(unequal, fmin(spread * few, UNEQUAL_VARIANCE_MAX), clump, freedom);
}

/* ---- evidence ---- */

/* z_i */
static double shift_of(const struct unequal *unequal, size_t i)
{
	size_t k = i <= UNEQUAL_MIDPOINTS / 2 ? i : i - UNEQUAL_MIDPOINTS / 2;
	double z = fmin(sqrt(unequal->variance) * unequal->midpoints[k], Z_OCTAVES * M_LN2);

	return k == i ? z : -z;
}

/* ln M(rho) */
static double ln_m(const struct unequal *unequal, const struct rate_ratio *ratio, double ln_rho)
{
	double terms[UNEQUAL_MIDPOINTS];

	for (size_t i = 0; i < UNEQUAL_MIDPOINTS; i++)
		terms[i] =
		    rate_ratio_at(ratio, ln_rho + shift_of(unequal, i)) / unequal->clump;
	return stats_ln_mean_exp(terms, UNEQUAL_MIDPOINTS);
}

/* ... at all rho_k */
static void ln_m_grid(const struct unequal *unequal, const struct rate_ratio *ratio,
                      double ret_ln_m[STATS_GRID])
{
	double at[UNEQUAL_MIDPOINTS][STATS_GRID], terms[UNEQUAL_MIDPOINTS];

	for (size_t i = 0; i < UNEQUAL_MIDPOINTS; i++)
		rate_ratio_shifted(ratio, shift_of(unequal, i), at[i]);
	for (size_t k = 0; k < STATS_GRID; k++) {
		for (size_t i = 0; i < UNEQUAL_MIDPOINTS; i++)
			terms[i] = at[i][k] / unequal->clump;
		ret_ln_m[k] = stats_ln_mean_exp(terms, UNEQUAL_MIDPOINTS);
	}
}

void unequal_ln_e(const struct unequal *unequal, const struct rate_ratio *ratio, double *ret_halt,
                  double *ret_promote)
{
	double all[STATS_GRID], worse[STATS_GRID], better[STATS_GRID];
	size_t worse_count = 0, better_count = 0;

	ln_m_grid(unequal, ratio, all);
	for (size_t k = 0; k < STATS_GRID; k++) {
		double rho = stats_grid(k);

		if (rho > ratio->tolerance && rho <= RATIO_MOST * ratio->tolerance)
			worse[worse_count++] = all[k];
		if (rho < ratio->margin)
			better[better_count++] = all[k];
	}
	*ret_halt = stats_ln_mean_exp(worse, worse_count) -
	            ln_m(unequal, ratio, log(ratio->tolerance));
	*ret_promote = stats_ln_mean_exp(better, better_count) -
	               ln_m(unequal, ratio, log(ratio->margin));
}

/* Where ln M falls below `level`, going out from `inside`; HUGE_VAL: not before `end`. */
static double edge(const struct unequal *unequal, const struct rate_ratio *ratio, double inside,
                   double end, double level)
{
	double outside = end;

	if (ln_m(unequal, ratio, end) > level)
		return HUGE_VAL;
	for (int i = 0; i < BISECTIONS; i++) {
		double middle = (inside + outside) / 2;

		if (ln_m(unequal, ratio, middle) > level)
			inside = middle;
		else
			outside = middle;
	}
	return inside;
}

void unequal_bounds(const struct unequal *unequal, const struct rate_ratio *ratio, double alpha,
                    double *ret_lo, double *ret_hi)
{
	double terms[STATS_GRID], level, lo, hi;
	size_t best = 0;

	ln_m_grid(unequal, ratio, terms);
	for (size_t k = 0; k < STATS_GRID; k++)
		best = terms[k] > terms[best] ? k : best;
	level = stats_ln_mean_exp(terms, STATS_GRID) + log(alpha);
	lo = edge(unequal, ratio, log(stats_grid(best)), -BOUND_OCTAVES * M_LN2, level);
	hi = edge(unequal, ratio, log(stats_grid(best)), BOUND_OCTAVES * M_LN2, level);
	*ret_lo = lo == HUGE_VAL ? 0 : exp(lo);
	*ret_hi = hi == HUGE_VAL ? INFINITY : exp(hi);
}
