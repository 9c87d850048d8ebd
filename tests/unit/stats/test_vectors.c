/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference values of judgement.json, computed elsewhere: closed forms agree to 1e-9, streams
 * in every alarm. What the file holds about methods that Covey does not use is not read.
 */
#include "base/rng.h"
#include "coordinator/stats/detector.h"
#include "coordinator/stats/drift.h"
#include "coordinator/stats/exact.h"
#include "coordinator/stats/numeric.h"
#include "coordinator/stats/promised.h"
#include "coordinator/stats/rate_ratio.h"
#include "coordinator/stats/share_null.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static json_t *vectors;

static void near(double value, double wanted)
{
	if (!(fabs(value - wanted) <= 1e-9 * fabs(wanted)))
		fail_msg("%.17g is not %.17g", value, wanted);
}

static const json_t *get(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (!value)
		fail_msg("the vectors have no %s", name);
	return value;
}

static double number(const json_t *object, const char *name)
{
	return json_number_value(get(object, name));
}

static uint64_t whole(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(get(object, name));
}

/* x of n events with the share w, in one period of 1,000 attempts. */
static struct rate_ratio ratio_of(const json_t *c, double tolerance, double margin)
{
	uint64_t x = whole(c, "x"), n = whole(c, "n"), canary = (uint64_t)(number(c, "w") * 1000);
	struct rate_ratio ratio;

	assert_int_equal(rate_ratio_init(&ratio, tolerance, margin), 0);
	assert_int_equal(
	    rate_ratio_add(&ratio, &(struct rate_period){canary, 1000 - canary, x, n - x}), 0);
	return ratio;
}

static void test_rate_ratio(void **state)
{
	const json_t *cases = get(get(vectors, "rate_ratio_grid"), "cases");

	assert_int_equal(json_array_size(cases), 4);
	for (size_t i = 0; i < 4; i++) {
		const json_t *c = json_array_get(cases, i);
		struct rate_ratio a = ratio_of(c, 1, 2), b = ratio_of(c, 1.25, 1.5);

		near(rate_ratio_ln_halt(&a), number(c, "lnE_halt_rho_gt_1"));
		near(rate_ratio_ln_halt(&b), number(c, "lnE_halt_rho_gt_1.25"));
		near(rate_ratio_ln_promote(&a), number(c, "lnE_promote_rho_lt_2"));
		near(rate_ratio_ln_promote(&b), number(c, "lnE_promote_rho_lt_1.5"));
	}
}

static void test_bounds(void **state)
{
	const json_t *cases = get(vectors, "rate_ratio_cs95");

	assert_int_equal(json_array_size(cases), 3);
	for (size_t i = 0; i < 3; i++) {
		const json_t *c = json_array_get(cases, i);
		struct rate_ratio ratio = ratio_of(c, 1, 2);
		double lo, hi;

		rate_ratio_bounds(&ratio, 0.05, &lo, &hi);
		near(lo, number(c, "lo"));
		near(hi, number(c, "hi"));
	}
}

static void test_exact(void **state)
{
	const json_t *group = get(vectors, "fisher_conditional"),
	             *sequence = get(group, "sequence");
	struct exact one = {0}, all = {0};

	assert_int_equal(exact_add(&one, 20, 80, 12, 40), 0);
	near(one.ln_e[3], number(group, "per_table_ln e (nc=20,nb=80,xc=12,xb=40,omega=2)"));
	assert_int_equal(json_array_size(sequence), 4);
	for (size_t i = 0; i < 4; i++) {
		uint64_t n[4];

		for (size_t j = 0; j < 4; j++)
			n[j] = (uint64_t)json_integer_value(
			    json_array_get(json_array_get(sequence, i), j));
		assert_int_equal(exact_add(&all, n[0], n[1], n[2], n[3]), 0);
	}
	near(exact_ln_halt(&all), number(group, "lnE_sequence"));
}

static void test_share_null(void **state)
{
	const json_t *cases = get(get(vectors, "hier_share"), "cases");

	assert_int_equal(json_array_size(cases), 2);
	for (size_t i = 0; i < 2; i++) {
		const json_t *c = json_array_get(cases, i);
		struct share_null null;

		assert_int_equal(share_null_init(&null, number(c, "pi0"), number(c, "m"), 1, 2), 0);
		assert_int_equal(share_null_add(&null, whole(c, "a"), whole(c, "b"),
		                                null.pi0), 0);
		near(share_null_ln_halt(&null), number(c, "lnE"));
	}
}

static void test_promised(void **state)
{
	const json_t *needed = json_object_iter_value(
	    json_object_iter((json_t *)get(vectors, "abs_slo_zero_failure")));
	const char *slo;
	json_t *n;

	assert_int_equal(json_object_size(needed), 4);
	json_object_foreach((json_t *)needed, slo, n)
	{
		struct promised promised;

		assert_int_equal(promised_init(&promised, strtod(slo, NULL)), 0);
		assert_int_equal(promised_add(&promised, (uint64_t)json_integer_value(n) - 1, 0),
		                 0);
		assert_true(promised_ln_promote(&promised) < log(20));
		assert_int_equal(promised_add(&promised, 1, 0), 0);
		assert_true(promised_ln_promote(&promised) >= log(20));
	}
}

static size_t counts_of(const json_t *array, uint64_t counts[8])
{
	size_t size = json_array_size(array);

	assert_in_range(size, 1, 8);
	for (size_t i = 0; i < size; i++)
		counts[i] = (uint64_t)json_integer_value(json_array_get(array, i));
	return size;
}

static void test_drift(void **state)
{
	const json_t *c = get(vectors, "drift_scores"), *d = get(vectors, "dirichlet_drift_e");
	uint64_t baseline[8], window[8];
	struct drift_counts counts = {baseline, window, counts_of(get(c, "ref"), baseline)};
	struct drift_scores scores;
	double ln_e;

	assert_int_equal(counts_of(get(c, "cur"), window), counts.bins);
	assert_int_equal(drift_score(&counts, DRIFT_ALPHA, &scores), 0);
	near(scores.psi.value, number(c, "PSI"));
	near(scores.js.value, number(c, "JSdist_base2"));
	near(scores.hellinger.value, number(c, "Hellinger"));
	near(scores.ks.value, number(c, "binnedKS"));
	near(scores.chi2.value, number(c, "chi2_two_sample"));
	near(scores.psi.critical, number(c, "PSI_crit_alpha.001"));
	near(scores.js.critical, number(c, "JSdist_crit_alpha.001"));
	near(scores.hellinger.critical, number(c, "Hellinger_crit_alpha.001"));
	near(1 - stats_gamma_cdf(2, scores.chi2.value / 2), number(c, "chi2_p"));

	assert_int_equal(drift_ln_e(&counts, 30, 180, &ln_e), 0); /* p is ref / 500 */
	near(ln_e, number(d, "m1=30,m=180"));
}

static void test_detector(void **state)
{
	static const struct {
		const char *name;
		uint64_t seed;
		double before, after;
	} streams[] = {{"seed 7 p 0.05->0.2 at 2000, n=4000", 7, 0.05, 0.2},
	               {"seed 8 p 0.2->0.5 at 2000, n=4000", 8, 0.2, 0.5}};
	const json_t *all = get(get(vectors, "stream_detectors_splitmix64"), "streams");

	for (size_t s = 0; s < ARRAY_SIZE(streams); s++) {
		const json_t *stream = get(all, streams[s].name);
		const json_t *alarms = get(stream, "SR(grid 1.25,1.5,2,3,5 x p0, A=1e5)");
		struct rng rng = {streams[s].seed};
		struct detector detector;
		size_t found = 0;
		uint64_t sum = 0;

		assert_int_equal(detector_init(&detector, streams[s].before, DETECTOR_THRESHOLD),
		                 0);
		for (int t = 0; t < 4000; t++) { /* alarms count from 0 there */
			bool bad =
			    rng_unit(&rng) < (t < 2000 ? streams[s].before : streams[s].after);

			sum += bad;
			if (detector_add(&detector, bad))
				assert_int_equal(
				    t, json_integer_value(json_array_get(alarms, found++)));
		}
		assert_int_equal(sum, whole(stream, "sum"));
		assert_int_equal(found, json_array_size(alarms));
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rate_ratio), cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_exact),      cmocka_unit_test(test_share_null),
	    cmocka_unit_test(test_promised),   cmocka_unit_test(test_drift),
	    cmocka_unit_test(test_detector),
	};
	int r;

	vectors = argc > 1 ? json_load_file(argv[1], 0, NULL) : NULL;
	if (!vectors)
		return 1;
	r = cmocka_run_group_tests_name("stats: vectors", tests, NULL, NULL);
	json_decref(vectors);
	return r;
}
