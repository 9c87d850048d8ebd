/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The statistics against sums written out: the definitions term by term, and what makes a number an
 * e-value, that its mean under the null hypothesis is 1 over all outcomes.
 */
#include "coordinator/stats/detector.h"
#include "coordinator/stats/drift.h"
#include "coordinator/stats/exact.h"
#include "coordinator/stats/numeric.h"
#include "coordinator/stats/promised.h"
#include "coordinator/stats/rate_ratio.h"
#include "coordinator/stats/share_null.h"
#include "coordinator/stats/unequal.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#define near(value, wanted) check_near((value), (wanted), 1e-9, __LINE__)

static void check_near(double value, double wanted, double slack, int line)
{
	if (!(fabs(value - wanted) <= slack * fmax(fabs(wanted), 1e-3)))
		fail_msg("line %d: %.17g is not %.17g", line, value, wanted);
}

static double choose(unsigned n, unsigned k)
{
	double result = 1;

	for (unsigned i = 1; i <= k; i++)
		result = result * (n - k + i) / i;
	return result;
}

static double binomial(unsigned n, unsigned x, double p)
{
	return choose(n, x) * pow(p, x) * pow(1 - p, n - x);
}

/* ---- numbers ---- */

static void test_beta(void **state)
{
	double ln_q, ln_1q, sum = 0;

	for (unsigned x = 4; x <= 12; x++) /* I_p(4, 9) is P(X >= 4), X of 12 */
		sum += binomial(12, x, 0.3);
	near(stats_beta_cdf(4, 9, log(0.3), log(0.7)), sum);
	for (double a = 0.001; a < 2e6; a *= 7)
		for (double p = 0.001; p < 1; p += 0.0905) { /* Beta(a, 1): q = p^(1/a) */
			stats_beta_quantile(a, 1, p, &ln_q, &ln_1q);
			near(ln_q, log(p) / a);
			stats_beta_quantile(1, a, p, &ln_q, &ln_1q);
			near(ln_1q, log1p(-p) / a);
		}
	for (double m = 0.5; m < 1e7; m *= 9) {
		stats_beta_quantile(0.2 * m, 0.8 * m, 0.37, &ln_q, &ln_1q);
		check_near(stats_beta_cdf(0.2 * m, 0.8 * m, ln_q, ln_1q), 0.37, 1e-8, __LINE__);
		near(exp(ln_q) + exp(ln_1q), 1);
	}
}

static void test_chi2(void **state)
{
	for (double p = 0.0005; p < 1; p += 0.0333) {
		near(stats_chi2_quantile(2, p), -2 * log1p(-p));
		near(erf(sqrt(stats_chi2_quantile(1, p) / 2)), p);
	}
	near(stats_chi2_quantile(9, 0.999), 27.87716487); /* printed tables: 27.877 */
	near(1 - stats_gamma_cdf(3, 2.5), exp(-2.5) * (1 + 2.5 + 2.5 * 2.5 / 2));
	near(stats_gamma_cdf(3, 0), 0);
}

/* ---- rate ratio ---- */

static const struct rate_period periods[] = {
    {20, 80, 1, 2}, {5, 4000, 2, 90}, {3000, 7, 25, 0}, {0, 50, 0, 3}, {50, 50, 7, 4}, {9, 0, 1, 0},
};

static double ln_likelihood(double rho)
{
	double result = 0;

	for (size_t i = 0; i < ARRAY_SIZE(periods); i++) {
		const struct rate_period *p = &periods[i];
		double w = (double)p->canary / (double)(p->canary + p->control);
		double theta = rho * w / (rho * w + 1 - w);

		if (p->canary && p->control)
			result += (double)p->canary_bad * log(theta) +
			          (double)p->control_bad * log(1 - theta);
	}
	return result;
}

static double ln_mean(double from, double below, double against)
{
	double sum = 0;
	int count = 0;

	for (int k = 0; k <= 64; k++) {
		double rho = pow(2, (k - 32) / 8.0);

		if (rho > from && rho < below) {
			sum += exp(ln_likelihood(rho) - ln_likelihood(against));
			count++;
		}
	}
	return log(sum / count);
}

static void test_rate_ratio(void **state)
{
	struct rate_ratio ratio;
	double lo, hi;

	assert_int_equal(rate_ratio_init(&ratio, 1.1, 3), 0);
	for (size_t i = 0; i < ARRAY_SIZE(periods); i++)
		assert_int_equal(rate_ratio_add(&ratio, &periods[i]), 0);
	near(rate_ratio_ln_halt(&ratio), ln_mean(1.1, 99, 1.1));
	near(rate_ratio_ln_promote(&ratio), ln_mean(0, 3, 3));
	for (double alpha = 0.2; alpha > 1e-6; alpha /= 10) {
		rate_ratio_bounds(&ratio, alpha, &lo, &hi);
		assert_true(lo > 0 && lo < hi && isfinite(hi));
		near(ln_mean(0, 99, lo), -log(alpha));
		near(ln_mean(0, 99, hi), -log(alpha));
	}
}

static void test_rate_ratio_edges(void **state)
{
	struct rate_ratio ratio;
	double lo, hi;

	assert_int_equal(rate_ratio_init(&ratio, 16, 2), -EINVAL);
	assert_int_equal(rate_ratio_init(&ratio, 1, 0.0625), -EINVAL);
	assert_int_equal(rate_ratio_init(&ratio, NAN, 2), -EINVAL);
	assert_int_equal(rate_ratio_init(&ratio, 1, 2), 0);
	assert_int_equal(rate_ratio_add(&ratio, &(struct rate_period){0, 9, 1, 0}), -EINVAL);
	assert_int_equal(rate_ratio_add(&ratio, &(struct rate_period){9, 9, UINT64_MAX, 0}),
	                 -ERANGE);
	/* No traffic on one side is no evidence. */
	assert_int_equal(rate_ratio_add(&ratio, &(struct rate_period){900, 0, 90, 0}), 0);
	near(rate_ratio_ln_halt(&ratio), 0);
	near(rate_ratio_ln_promote(&ratio), 0);
	rate_ratio_bounds(&ratio, 0.05, &lo, &hi);
	near(lo, 0);
	assert_true(isinf(hi));
	assert_int_equal(rate_ratio_add(&ratio, &(struct rate_period){50, 50, 40, 0}), 0);
	rate_ratio_bounds(&ratio, 0.05, &lo, &hi);
	assert_true(lo > 1 && isinf(hi));
}

/* ---- exact ---- */

static void test_exact(void **state)
{
	for (unsigned k = 0; k <= 12; k++) { /* every table of 7 against 5 */
		double mean = 0;

		for (unsigned x = k > 5 ? k - 5 : 0; x <= k && x <= 7; x++) {
			struct exact exact = {0};
			double sum = 0, h = choose(7, x) * choose(5, k - x) / choose(12, k);

			assert_int_equal(exact_add(&exact, 7, 5, x, k - x), 0);
			for (unsigned j = k > 5 ? k - 5 : 0; j <= k && j <= 7; j++)
				sum += choose(7, j) * choose(5, k - j) / choose(12, k) * pow(2, j);
			near(exact.ln_e[3], x * log(2) - log(sum));
			mean += h * exp(exact_ln_halt(&exact));
		}
		near(mean, 1);
	}
}

/* Large counts: the sum from its mode outwards is the whole sum. */
static void test_exact_large(void **state)
{
	const double n_c = 30000, n_b = 50000, k = 9000;
	struct exact exact = {0};
	double tops[2];

	assert_int_equal(exact_add(&exact, 30000, 50000, 3600, 5400), 0);
	for (int twice = 0; twice < 2; twice++) {
		static double terms[9001];

		for (int j = 0; j <= 9000; j++)
			terms[j] = (twice ? j * log(2) : 0) - lgamma(j + 1.0) -
			           lgamma(n_c - j + 1) - lgamma(k - j + 1) -
			           lgamma(n_b - k + j + 1);
		tops[twice] = stats_ln_mean_exp(terms, 9001);
	}
	near(exact.ln_e[3], 3600 * log(2) - (tops[1] - tops[0]));
	assert_int_equal(exact_add(&exact, 1000000000, 1000000000, 500000000, 400000000), 0);
	assert_true(isfinite(exact_ln_halt(&exact)));
	assert_int_equal(exact_add(&exact, 5, 5, 6, 0), -EINVAL);
	assert_int_equal(exact_add(&exact, 5, UINT64_MAX, 1, 0), -ERANGE);
}

static void test_latency(void **state)
{
	const uint64_t c[] = {60, 14, 9, 2}, b[] = {50, 10, 5, 1}, bad[] = {1, 1, 1, 101};
	struct latency latency = {0}, before;
	double sum = 0;

	for (size_t i = 0; i < 4; i++) {
		struct exact one = {0};

		assert_int_equal(exact_add(&one, 100, 100, c[i], b[i]), 0);
		sum += exp(exact_ln_halt(&one)) / 4;
	}
	assert_int_equal(latency_add(&latency, 100, 100, c, b), 0);
	near(latency_ln_halt(&latency), log(sum));
	before = latency;
	assert_int_equal(latency_add(&latency, 100, 100, bad, b), -EINVAL);
	assert_memory_equal(&before, &latency, sizeof(before));
}

/* ---- share ---- */

/* x_c of 15 events, the rest of the controls, in two periods with different expectations. */
static double ln_halt_of(unsigned x, double *ret_ln_promote)
{
	struct share_null null;

	assert_int_equal(share_null_init(&null, 0.3, 8, 1, 2), 0);
	assert_int_equal(share_null_add(&null, x, 15 - x, 0.3), 0);
	*ret_ln_promote = share_null_ln_promote(&null);
	return share_null_ln_halt(&null);
}

static void test_share_null(void **state)
{
	struct share_null null;
	double mean = 0, weight = 0, harmed = 0, pi0, m;

	assert_int_equal(share_null_init(&null, 0.3, 8, 1, 2), 0);
	for (unsigned x = 0; x <= 15; x++) { /* 15 events, their share drawn from the quantiles */
		double p = 0, p2 = 0, promote, halt = ln_halt_of(x, &promote);

		for (size_t i = 0; i < SHARE_NULL_POINTS; i++) {
			double q = exp(null.ln_q[i]);

			p += binomial(15, x, q) / SHARE_NULL_POINTS;
			p2 += binomial(15, x, 2 * q / (1 + q)) / SHARE_NULL_POINTS;
		}
		weight += p;
		mean += p * exp(halt);
		harmed += p2 * exp(promote);
	}
	near(weight, 1);
	near(mean, 1);
	near(harmed, 1);
	assert_int_equal(share_null_learn(49, 150, 1, 4, SHARE_NULL_SD, &pi0, &m), -ENODATA);
	assert_int_equal(share_null_learn(50, 150, 0, 4, SHARE_NULL_SD, &pi0, &m), -EINVAL);
	assert_int_equal(share_null_learn(50, 150, 1, 4, SHARE_NULL_SD, &pi0, &m), 0);
	near(pi0, 50.5 / 201);
	near(1 / m, 0.005 + 0.0625 * 1.25 * pi0 * (1 - pi0));
	assert_int_equal(share_null_init(&null, 0.3, 0, 1, 2), -EINVAL);
	assert_int_equal(share_null_init(&null, 1, 8, 1, 2), -EINVAL);
	assert_int_equal(share_null_init(&null, 1e-300, 8, 1, 2), -EINVAL);
	assert_int_equal(share_null_init(&null, 0.3, 8, 16, 2), -EINVAL);
	assert_int_equal(share_null_init(&null, 1e-4, 10, 1, 2), 0);
	assert_int_equal(share_null_add(&null, 5, 0, 1), -EINVAL);
	assert_int_equal(share_null_add(&null, 5, 0, 1e-4), 0);
	assert_true(isfinite(share_null_ln_halt(&null)));
	assert_int_equal(share_null_add(&null, STATS_COUNT_MAX, 0, 1e-4), -ERANGE);
}

/* Periods with other expectations: what is expected is no evidence, and clumps count once. */
static void test_share_moves(void **state)
{
	struct share_null null, clumped;

	assert_int_equal(share_null_init(&null, 0.2, 70, 1, 2), 0);
	assert_int_equal(share_null_add(&null, 80, 20, 0.8), 0);
	assert_true(share_null_ln_halt(&null) < 0);
	assert_int_equal(share_null_init(&null, 0.2, 70, 1, 2), 0);
	assert_int_equal(share_null_add(&null, 8, 10, 0.2), 0);
	clumped = null;
	assert_int_equal(share_null_init(&clumped, 0.2, 70, 1, 2), 0);
	clumped.clump = 5;
	assert_int_equal(share_null_add(&clumped, 40, 50, 0.2), 0);
	near(share_null_ln_halt(&clumped), share_null_ln_halt(&null));
}

/* ---- promised rate ---- */

static void test_promised(void **state)
{
	double at = 0, above = 0, broken = 0;
	struct promised p;

	for (unsigned x = 0; x <= 40; x++) {
		double e = 0, shares[] = {0, 0.1, 0.25, 0.5};

		assert_int_equal(promised_init(&p, 0.1), 0);
		assert_int_equal(promised_add(&p, 40 - x, 0), 0);
		assert_int_equal(promised_add(&p, x, x), 0);
		for (size_t j = 0; j < 4; j++)
			e += binomial(40, x, shares[j] * 0.1) / binomial(40, x, 0.1) / 4;
		near(promised_ln_promote(&p), log(e));
		at += binomial(40, x, 0.1) * e;
		broken += binomial(40, x, 0.1) * exp(promised_ln_halt(&p));
		above += binomial(40, x, 0.12) * exp(promised_ln_promote(&p));
	}
	near(at, 1);
	assert_true(above < 1);
	near(broken, 1);
	assert_int_equal(promised_add(&p, 1, 2), -EINVAL);
	assert_int_equal(promised_add(&p, UINT64_MAX, 2), -ERANGE);
	assert_int_equal(promised_init(&p, 0), -EINVAL);
	assert_int_equal(promised_init(&p, 1), -EINVAL);
}

/* ---- drift ---- */

/* Every window of 6 in 3 bins; the middle bin of the baseline is empty. */
static void test_drift_e(void **state)
{
	const uint64_t baseline[] = {30, 0, 10};
	const double p[] = {30 / 40.5, 0.5 / 40.5, 10 / 40.5};
	double weight = 0, mean = 0;

	for (uint64_t a = 0; a <= 6; a++)
		for (uint64_t b = 0; a + b <= 6; b++) {
			const uint64_t c[] = {a, b, 6 - a - b};
			struct drift_counts counts = {baseline, c, 3};
			double ln_e, probability = choose(6, (unsigned)a) *
			                           choose((unsigned)(6 - a), (unsigned)b);
			int drawn = 0;

			/* Polya's urn with 12 p_i balls, one more of a colour that was drawn */
			for (int i = 0; i < 3; i++)
				for (uint64_t n = 0; n < c[i]; n++)
					probability *= (12 * p[i] + (double)n) / (12 + drawn++);
			assert_int_equal(drift_ln_e(&counts, 5, 12, &ln_e), 0);
			weight += probability;
			mean += probability * exp(ln_e);
		}
	near(weight, 1);
	near(mean, 1);
}

static void test_drift_edges(void **state)
{
	const uint64_t b[] = {0, 40, 60, 0}, w[] = {10, 0, 10, 0}, none[4] = {0};
	struct drift_scores s;
	double ln_e;

	assert_int_equal(drift_score(&(struct drift_counts){b, w, 4}, 0.05, &s), 0);
	near(s.psi.value, (10 / 21.0 - 0.5 / 101) * log(10 / 21.0 / (0.5 / 101)) +
	                      (0.5 / 21 - 40 / 101.0) * log(0.5 / 21 / (40 / 101.0)) +
	                      (10 / 21.0 - 60 / 101.0) * log(10 / 21.0 / (60 / 101.0)));
	near(s.ks.value, 0.5);
	near(s.ks.critical, sqrt(-log(0.025) / 2) * sqrt(0.06));
	near(s.hellinger.value, sqrt(1 - sqrt(0.3)));
	assert_int_equal(drift_score(&(struct drift_counts){b, b, 4}, 0.05, &s), 0);
	near(s.js.value, 0);
	assert_int_equal(drift_score(&(struct drift_counts){b, none, 4}, 0.05, &s), -EINVAL);
	assert_int_equal(drift_score(&(struct drift_counts){b, w, 1}, 0.05, &s), -EINVAL);
	assert_int_equal(drift_ln_e(&(struct drift_counts){b, w, 4}, 0, 5, &ln_e), -EINVAL);
	near(drift_concentration(500, 10, 0.05), 180);
	near(drift_concentration(100, 10, 0.05), 100);
}

/* ---- detector ---- */

static void test_detector(void **state)
{
	static const char outcomes[] = "0010110100111";
	static const double factors[] = {1.25, 1.5, 2, 3, 5};
	struct detector detector;
	double sum = 0;

	assert_int_equal(detector_init(&detector, 0.1, 1e5), 0);
	for (size_t i = 0; outcomes[i]; i++)
		assert_false(detector_add(&detector, outcomes[i] == '1'));
	for (size_t k = 0; k < 5; k++) /* each beginning's likelihood ratio, added up */
		for (size_t from = 0; outcomes[from]; from++) {
			double product = 1;

			for (size_t i = from; outcomes[i]; i++)
				product *=
				    outcomes[i] == '1' ? factors[k] : (1 - factors[k] * 0.1) / 0.9;
			sum += product / 5;
		}
	near(detector_ln_e(&detector), log(sum));
}

/* p0 goes on with each outcome, and the likelihood ratio of one is of mean 1 under it. */
static void test_detector_learns(void **state)
{
	struct detector good, bad;

	assert_int_equal(detector_learn(&good, 1999, 3, 1e5), -ENODATA);
	assert_int_equal(detector_learn(&good, 2000, 2001, 1e5), -EINVAL);
	assert_int_equal(detector_learn(&good, 2000, 3, 1e5), 0);
	near(good.p0, 3.5 / 2001);
	bad = good;
	assert_false(detector_add(&good, false));
	assert_false(detector_add(&bad, true));
	for (size_t k = 0; k < DETECTOR_POINTS; k++)
		near(good.m[k] * (1 - 3.5 / 2001) + bad.m[k] * (3.5 / 2001), 1);
	near(bad.p0, 4.5 / 2002);
	near(good.p0, 3.5 / 2002);
	assert_int_equal(detector_learn(&good, 2000, 2000, 1e5), 0); /* nothing gets worse */
	assert_false(detector_add(&good, true));
}

/* ---- unequal nodes ---- */

static void add_records(struct unequal_node *node, size_t records, uint64_t attempts, uint64_t bad)
{
	for (size_t i = 0; i < records; i++)
		event_sums_add(&node->sums, attempts, bad);
}

static double halt_of(const struct unequal *unequal, const struct rate_ratio *ratio)
{
	double halt, promote;

	unequal_ln_e(unequal, ratio, &halt, &promote);
	return halt;
}

/* Without spread and bursts it is the rate ratio; with them it is less, and never more sure. */
static void test_unequal(void **state)
{
	struct unequal alike = {0}, unequal = {0}, bursts = {0};
	struct rate_ratio ratio, fifth;
	double halt, promote, halt2, promote2, lo, hi, lo2, hi2, shifted[STATS_GRID];

	unequal_set(&alike, 0, 1, 3);
	unequal_set(&unequal, 0.3, 1, 3);
	unequal_set(&bursts, 0, 5, 3);
	near(unequal.midpoints[8], 0.7358183358357328); /* t of 3 degrees at 49/66 */
	assert_int_equal(rate_ratio_init(&ratio, 1, 2), 0);
	assert_int_equal(rate_ratio_init(&fifth, 1, 2), 0);
	for (size_t i = 0; i < 10; i++) {
		assert_int_equal(rate_ratio_add(&ratio, &(struct rate_period){20, 80, 5, 10}), 0);
		assert_int_equal(rate_ratio_add(&fifth, &(struct rate_period){20, 80, 1, 2}), 0);
	}
	halt = rate_ratio_ln_halt(&ratio);
	promote = rate_ratio_ln_promote(&ratio);
	/* a mixture to 8 and not to 16; so far away there is nothing to be seen */
	check_near(halt_of(&alike, &ratio), halt + log(32 / 24.0), 1e-4, __LINE__);
	unequal_ln_e(&alike, &ratio, &halt2, &promote2);
	near(promote2, promote);
	rate_ratio_shifted(&ratio, -1.23, shifted);
	for (size_t k = 0; k < STATS_GRID; k++)
		near(shifted[k], rate_ratio_at(&ratio, log(stats_grid(k)) - 1.23));
	near(halt_of(&bursts, &ratio), halt_of(&alike, &fifth));
	assert_true(halt > log(20) && halt_of(&unequal, &ratio) < log(20));
	assert_true(halt_of(&unequal, &ratio) > 0);
	rate_ratio_bounds(&ratio, 0.05, &lo, &hi);
	unequal_bounds(&alike, &ratio, 0.05, &lo2, &hi2);
	near(lo2, lo);
	near(hi2, hi);
	unequal_bounds(&unequal, &ratio, 0.05, &lo2, &hi2);
	assert_true(lo > 1 && lo2 < 1 && hi2 > hi);
}

static struct unequal learn(const struct unequal_node *nodes, size_t count)
{
	struct unequal learned = {0};

	unequal_learn(&learned, nodes, count);
	return learned;
}

static void test_unequal_learns(void **state)
{
	struct unequal_node nodes[5] = {{.canary = true, .nodes = 1}};
	struct unequal learned;

	for (size_t i = 0; i < 5; i++) {
		nodes[i].nodes = 1;
		add_records(&nodes[i], 400, 20, 0);
	}
	learned = learn(nodes, 5);
	near(learned.clump, 1);
	near(learned.freedom, 4);
	near(learned.variance, 0.25 / 4 * 1.25); /* as if one control differed by a half */
	for (size_t i = 1; i < 5; i++) /* 20 of 8,000 each: fewer differences than chance makes */
		add_records(&nodes[i], 20, 20, 1);
	near(learn(nodes, 5).variance, 0.25 / 4 * 1.25);
	add_records(&nodes[4], 100, 20, 1); /* one is worse by far */
	learned = learn(nodes, 5);
	near(learned.clump, 1);
	assert_true(learned.variance > 0.5);
	nodes[4].nodes = 30; /* a row for many nodes: their mean differs that much */
	assert_true(learn(nodes, 5).variance > learned.variance);
}

/* From its first minute on, and by the variance where every minute has events. */
static void test_bursts_are_learned(void **state)
{
	struct unequal_node nodes[2] = {{.canary = true, .nodes = 1}, {.nodes = 1}};

	add_records(&nodes[0], 1, 20, 5);
	add_records(&nodes[1], 1, 20, 0);
	assert_true(learn(nodes, 2).clump > 4);
	add_records(&nodes[0], 500, 20, 0);
	add_records(&nodes[1], 500, 20, 0);
	assert_true(fabs(learn(nodes, 2).clump - 5) < 0.1);
	nodes[0].sums = nodes[1].sums = (struct event_sums){0};
	for (size_t i = 0; i < 500; i++)
		add_records(&nodes[i % 2], 1, 1000, i % 4 < 2 ? 80 : 120); /* Poisson: +-10 */
	assert_true(fabs(learn(nodes, 2).clump - 400 / 100.0 / 0.9) < 0.1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_beta),
	    cmocka_unit_test(test_chi2),
	    cmocka_unit_test(test_rate_ratio),
	    cmocka_unit_test(test_rate_ratio_edges),
	    cmocka_unit_test(test_exact),
	    cmocka_unit_test(test_exact_large),
	    cmocka_unit_test(test_latency),
	    cmocka_unit_test(test_share_null),
	    cmocka_unit_test(test_share_moves),
	    cmocka_unit_test(test_promised),
	    cmocka_unit_test(test_drift_e),
	    cmocka_unit_test(test_drift_edges),
	    cmocka_unit_test(test_detector),
	    cmocka_unit_test(test_detector_learns),
	    cmocka_unit_test(test_unequal),
	    cmocka_unit_test(test_unequal_learns),
	    cmocka_unit_test(test_bursts_are_learned),
	};

	return cmocka_run_group_tests_name("stats: formulas", tests, NULL, NULL);
}
