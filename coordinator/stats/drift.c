/* SPDX-License-Identifier: Apache-2.0 */
/* Scores and the e-value over one pair of count vectors; nothing is kept between calls. */
#include "coordinator/stats/drift.h"

#include "coordinator/stats/numeric.h"

#include <errno.h>
#include <math.h>

struct totals {
	double baseline, window;               /* N and M */
	double padded_baseline, padded_window; /* with half an observation in each empty bin */
};

static int sum(const uint64_t *counts, size_t bins, double *ret_total, double *ret_padded)
{
	uint64_t total = 0;
	size_t empty = 0;

	for (size_t i = 0; i < bins; i++) {
		if (counts[i] > STATS_COUNT_MAX - total)
			return -ERANGE;
		total += counts[i];
		empty += !counts[i];
	}
	*ret_total = (double)total;
	*ret_padded = (double)total + 0.5 * (double)empty;
	return total ? 0 : -EINVAL;
}

static int check(const struct drift_counts *c, struct totals *t)
{
	int r;

	if (c->bins < 2 || c->bins > DRIFT_BINS_MAX)
		return -EINVAL;
	r = sum(c->baseline, c->bins, &t->baseline, &t->padded_baseline);
	return r < 0 ? r : sum(c->window, c->bins, &t->window, &t->padded_window);
}

static double padded(uint64_t count)
{
	return count ? (double)count : 0.5;
}

/* p log2(p / a), 0 for p = 0 */
static double divergence(double p, double a)
{
	return p > 0 ? p * log2(p / a) : 0;
}

static void score(const struct drift_counts *c, const struct totals *t, struct drift_scores *s)
{
	double js = 0, common = 0, ahead = 0, scale = sqrt(t->baseline / t->window);

	for (size_t i = 0; i < c->bins; i++) {
		double b = (double)c->baseline[i], w = (double)c->window[i];
		double p = b / t->baseline, q = w / t->window;
		double pp = padded(c->baseline[i]) / t->padded_baseline;
		double qq = padded(c->window[i]) / t->padded_window;
		double gap = scale * w - b / scale;

		if (b + w == 0)
			continue;
		s->psi.value += (qq - pp) * log(qq / pp);
		js += (divergence(p, (p + q) / 2) + divergence(q, (p + q) / 2)) / 2;
		common += sqrt(p * q);
		ahead += p - q;
		s->ks.value = fmax(s->ks.value, fabs(ahead));
		s->chi2.value += gap * gap / (b + w);
	}
	s->js.value = sqrt(fmax(js, 0));
	s->hellinger.value = sqrt(fmax(1 - common, 0));
}

int drift_score(const struct drift_counts *counts, double alpha, struct drift_scores *ret_scores)
{
	struct totals t;
	double h, chi2;
	int r = alpha >= DRIFT_ALPHA_MIN && alpha < 1 ? check(counts, &t) : -EINVAL;

	if (r < 0)
		return r;
	*ret_scores = (struct drift_scores){0};
	score(counts, &t, ret_scores);
	h = 1 / t.baseline + 1 / t.window;
	chi2 = stats_chi2_quantile((double)counts->bins - 1, 1 - alpha);
	ret_scores->psi.critical = h * chi2;
	ret_scores->js.critical = sqrt(h * chi2 / (8 * log(2)));
	ret_scores->hellinger.critical = sqrt(h * chi2 / 8);
	ret_scores->ks.critical = sqrt(-log(alpha / 2) * h / 2);
	ret_scores->chi2.critical = chi2;
	return 0;
}

/* DM(c; m p) without the multinomial coefficient, which cancels in a ratio. */
static double ln_dm(const struct drift_counts *c, const struct totals *t, double m)
{
	double result = stats_ln_gamma(m) - stats_ln_gamma(m + t->window);

	for (size_t i = 0; i < c->bins; i++) {
		double a = m * padded(c->baseline[i]) / t->padded_baseline;

		if (c->window[i])
			result += stats_ln_gamma(a + (double)c->window[i]) - stats_ln_gamma(a);
	}
	return result;
}

int drift_ln_e(const struct drift_counts *counts, double m1, double m, double *ret_ln_e)
{
	struct totals t;
	int r = m1 > 0 && m > 0 && isfinite(m1) && isfinite(m) ? check(counts, &t) : -EINVAL;

	if (r == 0)
		*ret_ln_e = ln_dm(counts, &t, m1) - ln_dm(counts, &t, m);
	return r;
}

double drift_concentration(uint64_t baseline_total, size_t bins, double wobble)
{
	return fmin((double)baseline_total, ((double)bins - 1) / wobble);
}
