/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting is the hot path: a bin is found by a guess first, because servers send their features in
 * the same order every time, and the latency histogram is dense while it is filled and made sparse
 * when the record closes.
 */
#include "agent/observe/tally.h"

#include "base/mem.h"
#include "base/str.h"
#include "evidence/bins.h"
#include "evidence/build.h"
#include "evidence/record.h"
#include "evidence/sketch.h"

#include <assert.h>
#include <math.h>

enum { MINUTE_MS = 60000 };

struct bin_counts { /* of one feature of the baseline, in one block for all */
	uint32_t first, count;
};

struct tally {
	struct tally_start start;
	char deployment[LIMIT_NAME + 1];
	struct observed_counts counts;
	struct latency_exceedance exceedances[LIMIT_THRESHOLDS];
	size_t thresholds; /* that are used */
	uint64_t open;	   /* requests that have begun and not ended */
	uint64_t minute;   /* node-minute + 1 that was last counted as one with attempts ... */
	uint64_t bad_minute; /* ... and with a bad event */
	bool dirty, urgent;
	struct baseline baseline;
	struct bin_counts *features;
	uint64_t *bins; /* all features' */
	size_t bins_count;
	size_t expected; /* the feature that probably comes next */
	struct named_counter counters[LIMIT_NAMED_COUNTERS];
	size_t counters_count;
	uint32_t histogram[LIMIT_LATENCY_BUCKETS];
	struct observation line;
};

/* ---- life ---- */

struct tally *tally_create(struct baseline *baseline)
{
	struct tally *t = mem_alloc(sizeof(*t));

	if (!baseline)
		return t;
	t->baseline = *baseline;
	*baseline = (struct baseline){0};
	t->features = mem_array(t->baseline.features_count, sizeof(*t->features));
	for (size_t i = 0; i < t->baseline.features_count; i++) {
		t->features[i].first = (uint32_t)t->bins_count;
		t->features[i].count = (uint32_t)bins_total(&t->baseline.features[i]);
		t->bins_count += t->features[i].count;
	}
	t->bins = mem_array(t->bins_count, sizeof(*t->bins));
	return t;
}

void tally_free(struct tally *t)
{
	build_free(&t->baseline);
	free(t->features);
	free(t->bins);
	free(t);
}

static void clear(struct tally *t)
{
	memset(&t->counts, 0, sizeof(t->counts));
	memset(t->exceedances, 0, sizeof(t->exceedances));
	memset(t->histogram, 0, sizeof(t->histogram));
	if (t->bins_count > 0)
		memset(t->bins, 0, t->bins_count * sizeof(*t->bins));
	t->counters_count = 0;
	t->thresholds = 0;
	t->dirty = t->urgent = false;
}

void tally_begin(struct tally *t, const struct tally_start *start)
{
	clear(t);
	if (start != &t->start)
		t->start = *start;
	if (start->deployment != t->deployment) /* begun anew with what it began with */
		STR_CUT(t->deployment, start->deployment);
	t->start.deployment = t->deployment;
	for (size_t i = 0; i < LIMIT_THRESHOLDS; i++) {
		t->exceedances[i].threshold_us = start->order.thresholds[i].us;
		if (t->exceedances[i].threshold_us != 0)
			t->thresholds = i + 1;
	}
}

/* ---- requests ---- */

static void attempt(struct tally *t, uint64_t times, uint64_t now_ms)
{
	uint64_t minute = now_ms / MINUTE_MS + 1;

	t->counts.attempted += times;
	if (t->minute != minute) {
		t->minute = minute;
		t->counts.minutes++;
	}
}

/* A bad event late in a minute whose attempts went into the record before: the minute counts here
 * as well, or there would be more incidents than minutes. */
static void bad_event(struct tally *t, uint64_t now_ms)
{
	uint64_t minute = now_ms / MINUTE_MS + 1;

	if (t->bad_minute == minute)
		return;
	t->bad_minute = minute;
	t->counts.incidents++;
	if (t->counts.minutes < t->counts.incidents)
		t->counts.minutes++;
}

static void end(struct tally *t, enum observed_outcome outcome, uint64_t times, uint64_t now_ms)
{
	switch (outcome) {
	case OBSERVED_OK:
		t->counts.ok += times;
		return;
	case OBSERVED_ERROR:
		t->counts.errors += times;
		break;
	case OBSERVED_TIMEOUT:
		t->counts.timeouts += times;
		break;
	case OBSERVED_INVALID:
		t->counts.invalid += times;
		break;
	case OBSERVED_OUTCOME_COUNT:
		return;
	}
	bad_event(t, now_ms);
}

void tally_latency(struct tally *t, uint64_t us, uint64_t count)
{
	uint32_t *bucket = &t->histogram[sketch_index(us)];

	t->dirty = true;
	t->counts.latencies += count;
	t->counts.latency_sum_us += us * count;
	*bucket = UINT32_MAX - *bucket < count ? UINT32_MAX : *bucket + (uint32_t)count;
	for (size_t i = 0; i < t->thresholds; i++)
		if (t->exceedances[i].threshold_us != 0 && us > t->exceedances[i].threshold_us)
			t->exceedances[i].exceeded += count;
}

static bool out_of_range(const struct tally *t, const struct observed_value *value)
{
	return t->start.has_range && value->name_size == strlen(FEATURE_SCORE) &&
	       memcmp(value->name, FEATURE_SCORE, value->name_size) == 0 &&
	       (value->number < t->start.score_min || value->number > t->start.score_max);
}

static bool is_named(const struct baseline_feature *f, const struct observed_value *value)
{
	return memcmp(f->name, value->name, value->name_size) == 0 &&
	       f->name[value->name_size] == '\0';
}

static void count_value(struct tally *t, const struct observed_value *value, uint64_t times)
{
	size_t at = t->expected < t->baseline.features_count ? t->expected : 0, bin;
	const struct baseline_feature *f;

	if (t->baseline.features_count == 0)
		return;
	if (!is_named(&t->baseline.features[at], value))
		at = bins_find(&t->baseline, value->name, value->name_size);
	if (at == t->baseline.features_count) {
		t->counts.unknown += times;
		return;
	}
	t->expected = at + 1;
	f = &t->baseline.features[at];
	bin = f->kind == FEATURE_NUMERIC ? bins_of_number(f, value->number)
					 : bins_of_text(f, value->text, value->text_size);
	t->bins[t->features[at].first + bin] += times;
}

static void count_request(struct tally *t, const struct observation *o, uint64_t now_ms)
{
	enum observed_outcome outcome = o->outcome;
	uint64_t begun = 0;

	if (o->end) {
		begun = t->open < o->times ? t->open : o->times;
		t->open -= begun;
	}
	if (o->times > begun)
		attempt(t, o->times - begun, now_ms);
	for (size_t i = 0; outcome == OBSERVED_OK && i < o->values_count; i++)
		if (out_of_range(t, &o->values[i]))
			outcome = OBSERVED_INVALID;
	end(t, outcome, o->times, now_ms);
	if (o->has_latency)
		tally_latency(t, o->latency_us, o->times);
}

static void count(struct tally *t, const struct observation *o, uint64_t now_ms)
{
	t->dirty = true;
	t->counts.rubbish += o->strange;
	t->counts.dropped += o->lost;
	t->open -= o->lost < t->open ? o->lost : t->open; /* their ends may be what was lost */
	if (o->has_label && o->right)
		t->counts.labels_right += o->times;
	else if (o->has_label)
		t->counts.labels_wrong += o->times;
	if (o->begin) {
		attempt(t, o->times, now_ms);
		t->open += o->times;
	}
	if (o->request)
		count_request(t, o, now_ms);
	for (size_t i = 0; i < o->values_count; i++)
		count_value(t, &o->values[i], o->times);
}

void tally_datagram(struct tally *t, const char *data, size_t size, uint64_t now_ms,
		    struct learn *learn)
{
	const char *at = data, *data_end = data + size;

	while (observation_next(&at, data_end, &t->line)) {
		count(t, &t->line, now_ms);
		if (learn && t->line.outcome == OBSERVED_OK)
			learn_take(learn, &t->line);
	}
}

void tally_rubbish(struct tally *t, uint64_t now_ms)
{
	t->dirty = true;
	t->counts.rubbish++;
}

void tally_dropped(struct tally *t, uint64_t dropped)
{
	t->dirty = t->dirty || dropped > 0;
	t->counts.dropped += dropped;
}

void tally_crashed(struct tally *t, uint64_t now_ms)
{
	uint64_t lost = t->open;

	if (lost == 0) {
		attempt(t, 1, now_ms);
		lost = 1;
	}
	t->counts.crashes += lost;
	t->open = 0;
	t->dirty = t->urgent = true;
	bad_event(t, now_ms);
}

void tally_smoke(struct tally *t, uint64_t attempted, uint64_t failed)
{
	t->dirty = true;
	t->counts.smoke_attempted += attempted;
	t->counts.smoke_failures += failed;
}

void tally_requests(struct tally *t, uint64_t attempted, uint64_t bad, uint64_t now_ms)
{
	if (bad > attempted)
		bad = attempted;
	if (attempted == 0)
		return;
	t->dirty = true;
	attempt(t, attempted, now_ms);
	end(t, OBSERVED_OK, attempted - bad, now_ms);
	if (bad > 0)
		end(t, OBSERVED_ERROR, bad, now_ms);
}

void tally_counter(struct tally *t, const char *name, uint64_t rise)
{
	size_t i = 0;

	while (i < t->counters_count && !str_equal(t->counters[i].name, name))
		i++;
	if (i == LIMIT_NAMED_COUNTERS)
		return;
	if (i == t->counters_count) {
		t->counters[i].count = 0;
		STR_CUT(t->counters[t->counters_count++].name, name);
	}
	t->counters[i].count += rise;
	t->dirty = t->dirty || rise > 0;
}

/* ---- asking and closing ---- */

bool tally_is_dirty(const struct tally *t)
{
	return t->dirty;
}

const struct tally_start *tally_started(const struct tally *t)
{
	return &t->start;
}

static void take_histogram(const struct tally *t, struct observation_record *record)
{
	size_t used = 0;

	for (size_t i = 0; i < LIMIT_LATENCY_BUCKETS; i++)
		used += t->histogram[i] > 0;
	if (used == 0)
		return;
	record->buckets = mem_array(used, sizeof(*record->buckets));
	for (uint32_t i = 0; i < LIMIT_LATENCY_BUCKETS; i++)
		if (t->histogram[i] > 0)
			record->buckets[record->buckets_count++] =
				(struct latency_bucket){i, t->histogram[i]};
}

static void take_features(const struct tally *t, struct observation_record *record)
{
	if (t->baseline.features_count == 0)
		return;
	record->features_count = t->baseline.features_count;
	record->features = mem_array(record->features_count, sizeof(*record->features));
	for (size_t i = 0; i < record->features_count; i++) {
		const uint64_t *bins = &t->bins[t->features[i].first];
		bool any = false;

		for (size_t k = 0; k < t->features[i].count; k++)
			any = any || bins[k] > 0;
		if (!any)
			continue;
		record->features[i].bins = mem_copy(bins, t->features[i].count * sizeof(*bins));
		record->features[i].bins_count = t->features[i].count;
	}
}

void tally_close(struct tally *t, uint64_t now_ms, struct observation_record *ret_record)
{
	struct observation_record record = {
		.colour = t->start.colour,
		.release = t->start.release,
		.rollout = t->start.order.rollout,
		.baseline = t->start.baseline,
		.start_unix_ms = t->start.start_unix_ms,
		.length_ms = now_ms > t->start.now_ms ? now_ms - t->start.now_ms : 0,
		.age_ms = t->start.age_ms,
		.serving = t->start.serving,
		.urgent = t->urgent,
		.periods = 1,
		.counts = t->counts,
	};

	STR_CUT(record.deployment, t->deployment);
	memcpy(record.exceedances, t->exceedances, sizeof(record.exceedances));
	take_histogram(t, &record);
	take_features(t, &record);
	if (t->counters_count > 0) {
		record.counters = mem_copy(t->counters, t->counters_count * sizeof(*t->counters));
		record.counters_count = t->counters_count;
	}
	*ret_record = record;
	clear(t);
}
