/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers that the tests of this folder stand on. Pure and without state: every function may be
 * called from any thread. Logarithms are natural, densities stay in log space.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Events and attempts of one period: what the counters of a node can mean, far below the precision
 * of a double. Larger counts are refused with -ERANGE. */
#define STATS_COUNT_MAX UINT64_C(1000000000)

/* The grid of rate ratios that every mixture uses: rho_k = 2^((k - 32) / 8), k = 0..64, so 1/16 to
 * 16. [mixture after Robbins 1970] */
enum { STATS_GRID = 65 };
double stats_grid(size_t k);

/* ln of the mean of exp(terms[0..count)); -INFINITY for all -INFINITY; count > 0. */
double stats_ln_mean_exp(const double *terms, size_t count);

/* ln Gamma(x), x > 0, re-entrant. */
double stats_ln_gamma(double x);

/* I_x(a, b), the regularised incomplete beta function, of ln x and ln(1 - x), so that neither end
 * loses digits; a, b > 0. [DLMF 8.17.22, Lentz's method] */
double stats_beta_cdf(double a, double b, double ln_x, double ln_1x);
/* P(a, x), the regularised incomplete gamma function; a > 0, x >= 0. [DLMF 8.11.4, 8.9.2] */
double stats_gamma_cdf(double a, double x);

/* The p quantile of Beta(a, b), 0 < p < 1, as ln q and ln(1 - q): each is exact near its end. */
void stats_beta_quantile(double a, double b, double p, double *ret_ln_q, double *ret_ln_1q);
/* The p quantile of chi-square with df > 0 degrees of freedom, 0 < p < 1. */
double stats_chi2_quantile(double df, double p);
