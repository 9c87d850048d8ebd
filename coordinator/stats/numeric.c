/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Incomplete beta and gamma functions by their classical expansions, and their inverses by Newton's
 * method kept inside a bracket. The inverses work on the logit and the logarithm: a quantile of
 * 1e-300 is found with the same relative precision as one of 0.5.
 */
#include "coordinator/stats/numeric.h"

#include <math.h>

enum { SERIES_MAX = 200000, NEWTON_MAX = 300 };

#define TINY 1e-300
#define PRECISION 4e-16 /* of sums: two units in the last place */
#define STEP 1e-14      /* Newton's last step; what is left is its square */

double stats_grid(size_t k)
{
	return exp2(((double)k - 32) / 8);
}

double stats_ln_mean_exp(const double *terms, size_t count)
{
	double top = -INFINITY, sum = 0;

	for (size_t i = 0; i < count; i++)
		top = fmax(top, terms[i]);
	if (!isfinite(top))
		return top;
	for (size_t i = 0; i < count; i++)
		sum += exp(terms[i] - top);
	return top + log(sum / (double)count);
}

double stats_ln_gamma(double x)
{
	int sign;

	return lgamma_r(x, &sign);
}

/* One factor of Lentz's method: the fraction goes on with numerator a over denominator b. */
static double lentz(double *c, double *d, double a, double b)
{
	*d = b + a * *d;
	*c = b + a / *c;
	if (fabs(*d) < TINY)
		*d = TINY;
	if (fabs(*c) < TINY)
		*c = TINY;
	*d = 1 / *d;
	return *c * *d;
}

/* The continued fraction of I_x(a, b); it converges fast for x below the mean. */
static double beta_fraction(double a, double b, double x)
{
	double c = 1, d = 1 / (1 - (a + b) * x / (a + 1)), result = d, factor;

	for (int i = 1; i < SERIES_MAX; i++) {
		double m = i;

		result *= lentz(&c, &d, m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)), 1);
		factor =
		    lentz(&c, &d, -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)), 1);
		result *= factor;
		if (fabs(factor - 1) < PRECISION)
			break;
	}
	return result;
}

static double ln_beta(double a, double b)
{
	return stats_ln_gamma(a) + stats_ln_gamma(b) - stats_ln_gamma(a + b);
}

double stats_beta_cdf(double a, double b, double ln_x, double ln_1x)
{
	double front = a * ln_x + b * ln_1x - ln_beta(a, b), x = exp(ln_x);

	if (x < (a + 1) / (a + b + 2))
		return exp(front - log(a)) * beta_fraction(a, b, x);
	return 1 - exp(front - log(b)) * beta_fraction(b, a, exp(ln_1x));
}

static double gamma_series(double a, double x)
{
	double term = 1 / a, sum = term;

	for (int i = 1; i < SERIES_MAX && term > sum * PRECISION; i++) {
		term *= x / (a + i);
		sum += term;
	}
	return sum;
}

static double gamma_fraction(double a, double x)
{
	double b = x + 1 - a, c = 1 / TINY, d = 1 / b, result = d, factor;

	for (int i = 1; i < SERIES_MAX; i++) {
		factor = lentz(&c, &d, -i * (i - a), b + 2.0 * i);
		result *= factor;
		if (fabs(factor - 1) < PRECISION)
			break;
	}
	return result;
}

double stats_gamma_cdf(double a, double x)
{
	double front = a * log(x) - x - stats_ln_gamma(a);

	if (x <= 0)
		return 0;
	if (x < a + 1)
		return exp(front) * gamma_series(a, x);
	return 1 - exp(front) * gamma_fraction(a, x);
}

/* ---- inverses ---- */

struct target {
	double a, b, p;
};

/* How far too high the distribution function is at u, and its slope there. */
typedef double distribution(const struct target *target, double u, double *ret_slope);

static double solve(distribution *f, const struct target *target, double u, double reach)
{
	double lo = u - reach, hi = u + reach;

	for (int i = 0; i < NEWTON_MAX; i++) {
		double slope, over = f(target, u, &slope), next;

		if (over > 0)
			hi = u;
		else
			lo = u;
		next = u - over / slope;
		if (!(next > lo && next < hi))
			next = lo + (hi - lo) / 2;
		if (fabs(next - u) <= STEP * fmax(1, fabs(u)))
			return next;
		u = next;
	}
	return u;
}

/* ln of 1 / (1 + exp(-t)) without loss at either end. */
static double ln_logistic(double t)
{
	return t < 0 ? t - log1p(exp(t)) : -log1p(exp(-t));
}

static double beta_over(const struct target *t, double u, double *ret_slope)
{
	double ln_x = ln_logistic(u), ln_1x = ln_logistic(-u);

	*ret_slope = exp(t->a * ln_x + t->b * ln_1x - ln_beta(t->a, t->b));
	return stats_beta_cdf(t->a, t->b, ln_x, ln_1x) - t->p;
}

void stats_beta_quantile(double a, double b, double p, double *ret_ln_q, double *ret_ln_1q)
{
	struct target target = {a, b, p};
	/* Far out I_x(a, b) goes as x^a: ln x = ln(p) / a and then some. */
	double reach = 100 + 50 / fmin(fmin(a, b), 1) * (1 - log(fmin(p, 1 - p)));
	double u = solve(beta_over, &target, log(a / b), reach);

	*ret_ln_q = ln_logistic(u);
	*ret_ln_1q = ln_logistic(-u);
}

static double chi2_over(const struct target *t, double u, double *ret_slope)
{
	double x = exp(u);

	*ret_slope = exp(t->a * u - x - stats_ln_gamma(t->a));
	return stats_gamma_cdf(t->a, x) - t->p;
}

double stats_chi2_quantile(double df, double p)
{
	struct target target = {.a = df / 2, .p = p};
	double reach = 100 + 50 / fmin(df, 1) * (1 - log(fmin(p, 1 - p)));

	return 2 * exp(solve(chi2_over, &target, log(df / 2), reach));
}
