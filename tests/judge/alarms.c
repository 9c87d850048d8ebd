/* SPDX-License-Identifier: Apache-2.0 */
/* One feature of a normal distribution at one site, one stream of labels, through the same watch as
 * a coordinator's. Beside the alarm stand the usual rules on the same windows. */
#include "alarms.h"

#include "base/mem.h"
#include "coordinator/judge/lookout.h"
#include "coordinator/stats/drift.h"
#include "evidence/build.h"
#include "evidence/bins.h"
#include "stream.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TRAINING = 10000, WINDOW_MS = 1000, CHUNK = 10 };

struct bench {
	struct rng rng;
	struct baseline baseline;
	struct lookout watch;
	struct lookout_policy policy;
	uint64_t bins[LIMIT_BINS], at_ms;
	bool news, label_alarm;
};

static void on_news(void *arg, enum lookout_news news, const struct lookout_site *site,
                    size_t feature, double ln_e)
{
	struct bench *b = arg;

	b->news = b->news || news == LOOKOUT_FEATURE_DRIFTS;
	b->label_alarm = b->label_alarm || news == LOOKOUT_LABEL_ALARM;
}

static void bench_start(struct bench *b, uint64_t seed)
{
	double *values = mem_array(TRAINING, sizeof(*values));
	int r;

	*b = (struct bench){.rng = {seed}, .policy = {WINDOW_MS, 50, 0}, .at_ms = WINDOW_MS};
	for (size_t i = 0; i < TRAINING; i++)
		values[i] = stream_normal(&b->rng);
	b->baseline.features = mem_array(1, sizeof(*b->baseline.features));
	b->baseline.features_count = 1;
	b->baseline.observations = TRAINING;
	r = build_numeric("brightness", values, TRAINING, BUILD_BINS, &b->baseline.features[0],
	                  NULL);
	assert(r == 0);
	free(values);
	lookout_start(&b->watch, &(struct digest){{1}}, &b->baseline);
}

static void bench_end(struct bench *b)
{
	struct baseline_feature *feature = &b->baseline.features[0];

	lookout_free(&b->watch);
	free(feature->edges);
	free(feature->counts);
	free(b->baseline.features);
}

/* `count` observations in the window under way, shifted by so many standard deviations. */
static void observe(struct bench *b, uint32_t count, double shift)
{
	const struct baseline_feature *feature = &b->baseline.features[0];
	struct feature_counts counts = {b->bins, bins_total(feature)};
	struct observation_record record = {
	    .serving = true, .baseline = {{1}}, .features = &counts, .features_count = 1};

	memset(b->bins, 0, sizeof(b->bins));
	for (uint32_t i = 0; i < count; i++)
		b->bins[bins_of_number(feature, shift + stream_normal(&b->rng))]++;
	lookout_add(&b->watch, &b->policy, &b->baseline, "lyon", b->at_ms, &record, on_news, b);
}

static bool window_alarm(const struct bench *b)
{
	return b->watch.sites[0].features[0].alarm;
}

/* ---- windows without drift ---- */

struct usual { /* alarms of the usual rules */
	uint32_t psi, js;
};

static void ask_usual(const struct bench *b, struct usual *usual)
{
	const struct lookout_feature *f = &b->watch.sites[0].features[0];
	struct drift_counts counts = {b->baseline.features[0].counts, f->bins, f->bins_count};
	struct drift_scores scores;

	if (drift_score(&counts, DRIFT_ALPHA, &scores) < 0)
		return;
	usual->psi += scores.psi.value > 0.1;
	usual->js += scores.js.value > 0.1;
}

static int no_drift(uint32_t size, uint32_t windows)
{
	struct usual usual = {0};
	uint32_t alarms = 0;
	struct bench b;

	bench_start(&b, size);
	for (uint32_t w = 0; w < windows; w++) {
		b.at_ms += WINDOW_MS;
		for (uint32_t i = 0; i < size; i += CHUNK)
			observe(&b, CHUNK, 0);
		alarms += window_alarm(&b);
		ask_usual(&b, &usual);
	}
	bench_end(&b);
	printf("| no drift, %u observations a window | %u windows | %u alarms | PSI > 0.1: %u | "
	       "JS > 0.1: %u | %s |\n",
	       size, windows, alarms, usual.psi, usual.js, alarms ? "MISSED" : "holds");
	return alarms > 0;
}

/* ---- a shift ---- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int shift(uint32_t runs)
{
	double *found = mem_array(runs, sizeof(*found)), median;
	struct bench b;

	bench_start(&b, 17);
	for (uint32_t run = 0; run < runs; run++) {
		b.at_ms += WINDOW_MS;
		do {
			observe(&b, CHUNK, 0.5);
			found[run] += CHUNK;
		} while (!window_alarm(&b));
	}
	bench_end(&b);
	qsort(found, runs, sizeof(*found), compare);
	median = found[runs / 2];
	free(found);
	printf("| half a standard deviation | %u runs | found after %.0f observations (median) | "
	       "| | %s |\n",
	       runs, median, median <= 600 ? "holds" : "MISSED");
	return median > 600;
}

/* ---- labels ---- */

static bool label(struct bench *b, double rate)
{
	bool wrong = rng_unit(&b->rng) < rate;
	struct observation_record record = {
	    .serving = true,
	    .release = {{1}},
	    .counts = {.labels_right = !wrong, .labels_wrong = wrong},
	};

	b->label_alarm = false;
	lookout_add(&b->watch, &b->policy, NULL, "lyon", b->at_ms, &record, on_news, b);
	return b->label_alarm;
}

/* Learns, and forgets what chance made of it where the bar speaks of a known rate. */
static void learn(struct bench *b, double known)
{
	while (b->watch.labels.detector.p0 == 0)
		(void)label(b, 0.05);
	if (known > 0) {
		b->watch.labels.detector.p0 = known;
		b->watch.labels.detector.known = 0;
	}
}

static int false_labels(uint32_t runs, double known)
{
	/* few runs may miss it by three standard errors */
	double each, limit = 1.5 + (runs < 100 ? 3 * sqrt(1.5 / runs) : 0);
	uint64_t outcomes = 0;
	uint32_t alarms = 0;

	for (uint32_t run = 0; run < runs; run++) {
		struct bench b;

		bench_start(&b, 100 + run);
		learn(&b, known);
		for (uint32_t i = 0; i < 100000; i++, outcomes++)
			alarms += label(&b, 0.05);
		bench_end(&b);
	}
	each = alarms * 100000.0 / (double)outcomes;
	printf("| labels without a change, rate %s | %u times 100,000 | %.2f false alarms each | | "
	       "| %s |\n",
	       known > 0 ? "known" : "learned", runs, each, each <= limit ? "holds" : "MISSED");
	return each > limit;
}

static int late_labels(uint32_t runs, double known)
{
	double *delay = mem_array(runs, sizeof(*delay)), median;
	double limit = runs < 1000 ? 340 * 1.25 : 340; /* a median of few runs may miss it */

	for (uint32_t run = 0; run < runs; run++) {
		struct bench b;

		bench_start(&b, 5000 + run);
		learn(&b, known);
		for (uint32_t i = 0; i < 1000; i++)
			(void)label(&b, 0.05);
		do {
			delay[run]++;
		} while (!label(&b, 0.1));
		bench_end(&b);
	}
	qsort(delay, runs, sizeof(*delay), compare);
	median = delay[runs / 2];
	free(delay);
	printf("| labels 5 %% to 10 %% wrong, rate %s | %u runs | %.0f outcomes late (median) | | "
	       "| %s |\n",
	       known > 0 ? "known" : "learned", runs, median,
	       median <= limit ? "holds" : "MISSED");
	return median > limit;
}

int alarms_run(bool full)
{
	static const uint32_t sizes[] = {50, 100, 200, 500, 1000, 2000, 5000};
	int missed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		missed += no_drift(sizes[i], full ? 1000 : 10);
	missed += shift(full ? 1000 : 31);
	missed += false_labels(full ? 100 : 5, 0.05);
	missed += false_labels(full ? 100 : 10, 0);
	missed += late_labels(full ? 1000 : 101, 0.05);
	missed += late_labels(full ? 1000 : 101, 0);
	return missed;
}
