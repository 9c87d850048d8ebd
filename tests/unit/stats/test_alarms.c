/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looked at after every period, with seeds: identical versions are called worse as rarely as
 * promised, and real harm is found. A bound is the promise and three standard deviations.
 */
#include "base/rng.h"
#include "coordinator/stats/detector.h"
#include "coordinator/stats/drift.h"
#include "coordinator/stats/exact.h"
#include "coordinator/stats/promised.h"
#include "coordinator/stats/rate_ratio.h"
#include "coordinator/stats/share_null.h"

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

enum { RUNS = 200, PERIODS = 60 };

#define ALPHA 0.05

/* At most this many of `runs` false alarms. */
static int most_false(int runs)
{
	return (int)(runs * ALPHA + 3 * sqrt(runs * ALPHA * (1 - ALPHA)));
}

static uint64_t draw(struct rng *rng, uint64_t n, double p)
{
	uint64_t x = 0;

	for (uint64_t i = 0; i < n; i++)
		x += rng_unit(rng) < p;
	return x;
}

struct calls {
	int halt, promote, bounds, exact;
};

/* How many runs a test ever called; traffic has a cycle and the shares change. */
static struct calls compare(uint64_t seed, double canary, double control)
{
	struct rng rng = {seed};
	struct calls calls = {0};

	for (int run = 0; run < RUNS; run++) {
		struct calls now = {0};
		struct exact exact = {0};
		struct rate_ratio ratio;
		double lo, hi, limit = -log(ALPHA);

		assert_int_equal(rate_ratio_init(&ratio, 1, 2), 0);
		for (unsigned i = 0; i < PERIODS; i++) {
			struct rate_period p = {15 + i % 7 * 5, 60 + i % 5 * 20, 0, 0};

			p.canary_bad = draw(&rng, p.canary, canary);
			p.control_bad = draw(&rng, p.control, control);
			assert_int_equal(rate_ratio_add(&ratio, &p), 0);
			assert_int_equal(
			    exact_add(&exact, p.canary, p.control, p.canary_bad, p.control_bad), 0);
			now.halt |= rate_ratio_ln_halt(&ratio) >= limit;
			now.promote |= rate_ratio_ln_promote(&ratio) >= limit;
			now.exact |= exact_ln_halt(&exact) >= limit;
			if (i % 5)
				continue;
			rate_ratio_bounds(&ratio, ALPHA, &lo, &hi);
			now.bounds |= canary / control < lo || canary / control > hi;
		}
		calls.halt += now.halt;
		calls.promote += now.promote;
		calls.bounds += now.bounds;
		calls.exact += now.exact;
	}
	return calls;
}

static void test_identical_versions(void **state)
{
	struct calls rare = compare(1, 0.01, 0.01), frequent = compare(2, 0.2, 0.2);

	assert_in_range(rare.halt, 0, most_false(RUNS));
	assert_in_range(rare.bounds, 0, most_false(RUNS));
	assert_in_range(frequent.halt, 0, most_false(RUNS));
	assert_in_range(frequent.exact, 0, most_false(RUNS));
	assert_true(frequent.promote >= RUNS * 9 / 10);
}

static void test_harm(void **state)
{
	struct calls rare = compare(3, 0.05, 0.01), twice = compare(4, 0.01, 0.005);
	struct calls frequent = compare(5, 0.3, 0.2);

	assert_true(rare.halt >= RUNS * 9 / 10);
	assert_in_range(rare.bounds, 0, most_false(RUNS));
	assert_in_range(twice.promote, 0, most_false(RUNS)); /* at the margin: H0 holds */
	assert_true(frequent.exact >= RUNS * 9 / 10);
	assert_true(frequent.exact >= frequent.halt); /* why there is an exact one */
}

/* One canary of five nodes whose own rates vary by a quarter, learned from before. */
static int unequal_fleet(uint64_t seed, double factor)
{
	struct rng rng = {seed};
	int halts = 0;

	for (int run = 0; run < RUNS; run++) {
		double rate[5], others = 0, pi0, m;
		struct share_null null;
		bool halt = false;

		for (int i = 0; i < 5; i++)
			rate[i] = 0.04 * exp(0.25 * 3.46 * (rng_unit(&rng) - 0.5));
		for (int i = 1; i < 5; i++)
			others += rate[i];
		assert_int_equal(share_null_learn(draw(&rng, 2000, rate[0]),
		                                  draw(&rng, 2000, others), 1, 4, SHARE_NULL_SD,
		                                  &pi0, &m),
		                 0);
		assert_int_equal(share_null_init(&null, pi0, m, 1, 2), 0);
		for (int i = 0; i < PERIODS; i++) {
			assert_int_equal(share_null_add(&null, draw(&rng, 20, rate[0] * factor),
			                                draw(&rng, 20, others), pi0),
			                 0);
			halt |= i % 10 == 9 && share_null_ln_halt(&null) >= -log(ALPHA);
		}
		halts += halt;
	}
	return halts;
}

static void test_unequal_fleet(void **state)
{
	assert_in_range(unequal_fleet(6, 1), 0, most_false(RUNS));
	assert_true(unequal_fleet(7, 3) >= RUNS * 8 / 10);
}

static void test_promised(void **state)
{
	struct rng rng = {8};
	int passed = 0;

	for (int run = 0; run < RUNS; run++) { /* a server that just breaks its promise */
		struct promised p;
		bool pass = false;

		assert_int_equal(promised_init(&p, 0.05), 0);
		for (int i = 0; i < 500; i++) {
			assert_int_equal(promised_add(&p, 1, rng_unit(&rng) < 0.05), 0);
			pass |= promised_ln_promote(&p) >= -log(ALPHA);
		}
		passed += pass;
	}
	assert_in_range(passed, 0, most_false(RUNS));
}

/* Windows that grow by 20 to 5,000, 10 equal-frequency bins of a normal feature that is off by
 * `shift` standard deviations: how many of 100 alarm, half of them before ret_median. */
static int drifting(uint64_t seed, double shift, int *ret_median)
{
	static uint64_t baseline[10];
	struct rng rng = {seed};
	int alarms = 0, at[5001] = {0};

	for (size_t i = 0; i < 10; i++)
		baseline[i] = 1000;
	for (int run = 0; run < 100; run++) {
		uint64_t window[10] = {0};
		struct drift_counts counts = {baseline, window, 10};
		double ln_e, m = drift_concentration(10000, 10, DRIFT_WOBBLE);
		bool alarm = false;

		for (int i = 1; i <= 5000 && !alarm; i++) {
			double z =
			    sqrt(-2 * log1p(-rng_unit(&rng))) * cos(2 * M_PI * rng_unit(&rng));

			window[(size_t)(9.999999 * erfc(-(z + shift) / M_SQRT2) / 2)]++;
			if (i % 20)
				continue;
			assert_int_equal(drift_ln_e(&counts, DRIFT_M1, m, &ln_e), 0);
			alarm = ln_e >= log(DRIFT_E_ALARM);
			at[i] += alarm;
		}
		alarms += alarm;
	}
	*ret_median = 0;
	for (int seen = 0; seen < alarms / 2; seen += at[++*ret_median])
		;
	return alarms;
}

static void test_drift(void **state)
{
	int median;

	assert_int_equal(drifting(9, 0, &median), 0);
	assert_true(drifting(10, 0.5, &median) >= 95);
	assert_in_range(median, 300, 600);
}

/* Noise alone: a fixed threshold fires every other time, the critical value hardly ever. */
static void test_drift_scores(void **state)
{
	static uint64_t baseline[10];
	struct rng rng = {11};
	int fixed = 0, critical = 0;

	for (int run = 0; run < 2000; run++) {
		uint64_t window[10] = {0};
		struct drift_scores s;

		for (size_t i = 0; i < 10; i++)
			baseline[i] = 1000;
		for (int i = 0; i < 100; i++)
			window[rng_below(&rng, 10)]++;
		assert_int_equal(
		    drift_score(&(struct drift_counts){baseline, window, 10}, 0.01, &s), 0);
		fixed += s.psi.value > 0.1;
		critical += s.js.value > s.js.critical;
	}
	assert_in_range(fixed, 600, 1200);
	assert_in_range(critical, 1, 50); /* 1 % of 2,000 and some */
}

static void test_detector(void **state)
{
	struct rng rng = {12};
	struct detector detector;
	int alarms = 0, delay = 0;

	assert_int_equal(detector_init(&detector, 0.05, DETECTOR_THRESHOLD), 0);
	for (int i = 0; i < 400000; i++)
		alarms += detector_add(&detector, rng_unit(&rng) < 0.05);
	assert_in_range(alarms, 0, 4); /* at most one in 100,000 */
	while (!detector_add(&detector, rng_unit(&rng) < 0.2))
		delay++;
	assert_in_range(delay, 5, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_identical_versions),
	    cmocka_unit_test(test_harm),
	    cmocka_unit_test(test_unequal_fleet),
	    cmocka_unit_test(test_promised),
	    cmocka_unit_test(test_drift),
	    cmocka_unit_test(test_drift_scores),
	    cmocka_unit_test(test_detector),
	};

	return cmocka_run_group_tests_name("stats: alarms", tests, NULL, NULL);
}
