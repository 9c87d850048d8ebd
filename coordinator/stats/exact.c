/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sum over j is log-concave: it is taken from its largest term outwards, until terms no longer
 * count. That costs the square root of the counts, so a period of a million requests is cheap.
 */
#include "coordinator/stats/exact.h"

#include "coordinator/stats/numeric.h"

#include <errno.h>
#include <math.h>

#define NEGLIGIBLE 1e-20

struct table { /* n_c, n_b and k as doubles, and j's range */
	double canary, control, events, least, most;
};

/* Term j + 1 over term j. */
static double ratio(const struct table *t, double omega, double j)
{
	return omega * (t->canary - j) * (t->events - j) /
	       ((j + 1) * (t->control - t->events + j + 1));
}

/* The largest term's j: ratio() falls with j, the first place at or below 1 is it. */
static double mode(const struct table *t, double omega)
{
	double lo = t->least, hi = t->most;

	while (lo < hi) {
		double middle = floor((lo + hi) / 2);

		if (ratio(t, omega, middle) > 1)
			lo = middle + 1;
		else
			hi = middle;
	}
	return lo;
}

/* ln sum_j omega^j / (j! (n_c - j)! (k - j)! (n_b - k + j)!): H(j) but for a constant. */
static double ln_sum(const struct table *t, double omega)
{
	double top = mode(t, omega), sum = 1, term = 1;

	for (double j = top; j < t->most && term > NEGLIGIBLE * sum; j++) {
		term *= ratio(t, omega, j);
		sum += term;
	}
	term = 1;
	for (double j = top; j > t->least && term > NEGLIGIBLE * sum; j--) {
		term /= ratio(t, omega, j - 1);
		sum += term;
	}
	return log(sum) + top * log(omega) - stats_ln_gamma(top + 1) -
	       stats_ln_gamma(t->canary - top + 1) - stats_ln_gamma(t->events - top + 1) -
	       stats_ln_gamma(t->control - t->events + top + 1);
}

static int check(uint64_t attempts, uint64_t bad)
{
	if (attempts > STATS_COUNT_MAX)
		return -ERANGE;
	return bad > attempts ? -EINVAL : 0;
}

int exact_add(struct exact *exact, uint64_t canary, uint64_t control, uint64_t canary_bad,
              uint64_t control_bad)
{
	struct table t = {.canary = (double)canary,
	                  .control = (double)control,
	                  .events = (double)(canary_bad + control_bad)};
	int r = check(canary, canary_bad);
	double base;

	if (r == 0)
		r = check(control, control_bad);
	if (r < 0)
		return r;
	t.least = fmax(0, t.events - t.control);
	t.most = fmin(t.canary, t.events);
	if (t.least == t.most) /* one side alone, no event, or nothing else: no evidence */
		return 0;
	base = ln_sum(&t, 1);
	for (size_t i = 0; i < EXACT_POINTS; i++) {
		double omega = exp2((double)(i + 1) / 4);

		exact->ln_e[i] += (double)canary_bad * log(omega) - (ln_sum(&t, omega) - base);
	}
	return 0;
}

double exact_ln_halt(const struct exact *exact)
{
	return stats_ln_mean_exp(exact->ln_e, EXACT_POINTS);
}

int latency_add(struct latency *latency, uint64_t canary, uint64_t control,
                const uint64_t canary_over[LATENCY_THRESHOLDS],
                const uint64_t control_over[LATENCY_THRESHOLDS])
{
	int r = 0;

	for (size_t i = 0; i < LATENCY_THRESHOLDS && r == 0; i++) {
		r = check(canary, canary_over[i]);
		if (r == 0)
			r = check(control, control_over[i]);
	}
	for (size_t i = 0; i < LATENCY_THRESHOLDS && r == 0; i++)
		r = exact_add(&latency->over[i], canary, control, canary_over[i], control_over[i]);
	return r;
}

double latency_ln_halt(const struct latency *latency)
{
	double ln_e[LATENCY_THRESHOLDS];

	for (size_t i = 0; i < LATENCY_THRESHOLDS; i++)
		ln_e[i] = exact_ln_halt(&latency->over[i]);
	return stats_ln_mean_exp(ln_e, LATENCY_THRESHOLDS);
}
