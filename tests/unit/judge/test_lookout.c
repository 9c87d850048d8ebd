/* SPDX-License-Identifier: Apache-2.0 */
/* After the rollout: two windows in a row, enough sites, hysteresis, labels, and its stored form.
 */
#include "coordinator/judge/record.h"

#include "base/str.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static uint64_t baseline_counts[] = {250, 250, 250, 250, 0, 0, 0, 0};
static struct baseline_feature feature = {
    .name = "light", .counts = baseline_counts, .counts_count = 8};
static const struct baseline baseline = {.features = &feature, .features_count = 1};
static const struct lookout_policy policy = {1000, 50, 60000};

static int news[LOOKOUT_LABEL_ALARM + 1];

static void on_news(void *arg, enum lookout_news what, const struct lookout_site *site, size_t f,
                    double ln_e)
{
	news[what]++;
}

static void add(struct lookout *w, const char *site, uint64_t window, uint64_t first)
{
	uint64_t bins[8] = {first, 100, 100, 100};
	struct feature_counts counts = {bins, 8};
	struct observation_record record = {
	    .serving = true, .baseline = {{1}}, .features = &counts, .features_count = 1};

	lookout_add(w, &policy, &baseline, site, window * 1000, &record, on_news, NULL);
}

static void reset(struct lookout *w)
{
	memset(news, 0, sizeof(news));
	*w = (struct lookout){0};
	lookout_start(w, &(struct digest){{1}}, &baseline);
}

static void test_two_in_a_row(void **state)
{
	struct lookout w;

	reset(&w);
	add(&w, "lyon", 1, 900);
	assert_true(w.sites[0].features[0].alarm);
	assert_int_equal(news[LOOKOUT_FEATURE_DRIFTS], 0); /* one window may be an accident */
	add(&w, "lyon", 2, 100);
	add(&w, "lyon", 3, 900);
	assert_int_equal(news[LOOKOUT_FEATURE_DRIFTS], 0);
	add(&w, "lyon", 4, 900);
	assert_int_equal(news[LOOKOUT_FEATURE_DRIFTS], 1);
	assert_true(w.drifting);
	add(&w, "lyon", 5, 100);
	add(&w, "lyon", 6, 900); /* not clean twice */
	add(&w, "lyon", 7, 100);
	assert_true(w.drifting);
	add(&w, "lyon", 8, 100);
	add(&w, "lyon", 9, 100);
	assert_int_equal(news[LOOKOUT_FEATURE_CLEAN], 1);
	assert_int_equal(news[LOOKOUT_CLEAN], 1);
	assert_int_equal(news[LOOKOUT_FEATURE_DRIFTS], 1);
	lookout_free(&w);
}

/* Half of the sites are needed: one of three is not enough. */
static void test_sites(void **state)
{
	struct lookout w;

	reset(&w);
	for (uint64_t window = 1; window < 6; window++) {
		add(&w, "lyon", window, 900);
		add(&w, "paris", window, window > 3 ? 900 : 100);
		add(&w, "rome", window, 100);
		assert_int_equal(w.drifting, window == 5);
	}
	assert_int_equal(news[LOOKOUT_DRIFTS], 1);
	lookout_free(&w);
}

static void test_little_data(void **state)
{
	struct lookout w;
	uint64_t bins[8] = {49};
	struct feature_counts counts = {bins, 8};
	struct observation_record record = {
	    .serving = true, .baseline = {{1}}, .features = &counts, .features_count = 1};

	reset(&w);
	lookout_add(&w, &policy, &baseline, "lyon", 1000, &record, on_news, NULL);
	assert_false(w.sites[0].features[0].alarm);
	record.baseline = (struct digest){{2}}; /* counted against another one */
	lookout_add(&w, &policy, &baseline, "lyon", 1000, &record, on_news, NULL);
	assert_int_equal(w.sites[0].features[0].bins[0], 49);
	lookout_free(&w);
}

static void labels(struct lookout *w, uint8_t release, uint64_t right, uint64_t wrong)
{
	struct observation_record record = {
	    .serving = true,
	    .release = {{release}},
	    .counts = {.labels_right = right, .labels_wrong = wrong}};

	lookout_add(w, &policy, &baseline, "lyon", 1000, &record, on_news, NULL);
}

static void test_labels(void **state)
{
	struct lookout w;

	reset(&w);
	for (size_t i = 0; i < 20; i++)
		labels(&w, 1, 95, 5);
	assert_true(w.labels.detector.p0 > 0.05 && w.labels.detector.p0 < 0.06);
	for (size_t i = 0; i < 20; i++)
		labels(&w, 1, 95, 5);
	assert_int_equal(news[LOOKOUT_LABEL_ALARM], 0);
	for (size_t i = 0; i < 5; i++)
		labels(&w, 1, 85, 15);
	assert_true(news[LOOKOUT_LABEL_ALARM] > 0);
	labels(&w, 2, 1, 0); /* another release learns anew */
	assert_true(w.labels.detector.p0 == 0);
	assert_false(w.labels.alarm);
	lookout_free(&w);
}

static void test_stored(void **state)
{
	struct lookout w, back;
	struct bytes bytes = {0};

	reset(&w);
	add(&w, "lyon", 7, 900);
	for (size_t i = 0; i < 30; i++)
		labels(&w, 1, 90, 10);
	assert_int_equal(codec_encode(&codec_lookout, &w, 1 << 20, &bytes, NULL), 0);
	assert_int_equal(codec_decode(&codec_lookout, bytes.data, bytes.size, &back, NULL), 0);
	assert_true(codec_equal(&codec_lookout, &w, &back));
	add(&back, "lyon", 8, 900); /* and goes on where it was */
	assert_int_equal(news[LOOKOUT_FEATURE_DRIFTS], 1);
	lookout_free(&back);
	lookout_free(&w);
	free(bytes.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_two_in_a_row), cmocka_unit_test(test_sites),
	    cmocka_unit_test(test_little_data),  cmocka_unit_test(test_labels),
	    cmocka_unit_test(test_stored),
	};

	return cmocka_run_group_tests_name("judge: lookout", tests, NULL, NULL);
}
