/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sums. Sparse lists (latency buckets, named counters) are merged into a list of their union;
 * both are short, and merging is rare beside counting.
 */
#include "evidence/record.h"

#include "base/mem.h"
#include "base/str.h"

static bool same_thresholds(const struct observation_record *a, const struct observation_record *b)
{
	for (size_t i = 0; i < LIMIT_THRESHOLDS; i++)
		if (a->exceedances[i].threshold_us != b->exceedances[i].threshold_us)
			return false;
	return true;
}

bool record_same(const struct observation_record *a, const struct observation_record *b)
{
	return str_equal(a->deployment, b->deployment) && a->colour == b->colour &&
	       digest_equal(&a->release, &b->release) &&
	       rollout_id_equal(&a->rollout, &b->rollout) &&
	       digest_equal(&a->baseline, &b->baseline) && a->serving == b->serving &&
	       same_thresholds(a, b);
}

bool record_is_empty(const struct observation_record *record)
{
	static const struct observed_counts none;

	if (memcmp(&record->counts, &none, sizeof(none)) != 0)
		return false;
	for (size_t i = 0; i < record->features_count; i++)
		if (record->features[i].bins_count > 0)
			return false;
	for (size_t i = 0; i < record->counters_count; i++)
		if (record->counters[i].count > 0)
			return false;
	return true;
}

void record_add_counts(struct observed_counts *dst, const struct observed_counts *src)
{
#define X(name) dst->name += src->name;
	OBSERVED_COUNTS(X)
#undef X
}

uint64_t record_bad(const struct observed_counts *counts)
{
	return counts->errors + counts->timeouts + counts->crashes + counts->invalid;
}

int record_order(const struct observation_record *a, uint64_t boot_epoch, uint64_t sequence)
{
	if (a->boot_epoch != boot_epoch)
		return a->boot_epoch < boot_epoch ? -1 : 1;
	return a->sequence < sequence ? -1 : a->sequence > sequence;
}

/* ---- parts ---- */

static void add_exceedances(struct observation_record *dst, const struct observation_record *src)
{
	static const struct latency_exceedance unused[LIMIT_THRESHOLDS];

	if (memcmp(dst->exceedances, unused, sizeof(unused)) == 0) {
		memcpy(dst->exceedances, src->exceedances, sizeof(unused));
		return;
	}
	for (size_t i = 0; i < LIMIT_THRESHOLDS; i++)
		for (size_t k = 0; k < LIMIT_THRESHOLDS; k++)
			if (dst->exceedances[i].threshold_us != 0 &&
			    dst->exceedances[i].threshold_us == src->exceedances[k].threshold_us)
				dst->exceedances[i].exceeded += src->exceedances[k].exceeded;
}

static void add_buckets(struct observation_record *dst, const struct observation_record *src)
{
	size_t a = 0, b = 0, count = 0;
	struct latency_bucket *sum;

	if (src->buckets_count == 0)
		return;
	sum = mem_array(dst->buckets_count + src->buckets_count, sizeof(*sum));
	while (a < dst->buckets_count || b < src->buckets_count) {
		bool first = b == src->buckets_count ||
			     (a < dst->buckets_count &&
			      dst->buckets[a].index <= src->buckets[b].index);
		struct latency_bucket next = first ? dst->buckets[a++] : src->buckets[b++];

		if (count > 0 && sum[count - 1].index == next.index)
			sum[count - 1].count += next.count;
		else
			sum[count++] = next;
	}
	free(dst->buckets);
	dst->buckets = sum;
	dst->buckets_count = count;
}

static void add_bins(struct feature_counts *dst, const struct feature_counts *src)
{
	if (src->bins_count == 0)
		return;
	if (dst->bins_count == 0) {
		dst->bins = mem_copy(src->bins, src->bins_count * sizeof(*src->bins));
		dst->bins_count = src->bins_count;
		return;
	}
	for (size_t i = 0; i < dst->bins_count && i < src->bins_count; i++)
		dst->bins[i] += src->bins[i];
}

static void add_features(struct observation_record *dst, const struct observation_record *src)
{
	if (src->features_count == 0 || !digest_equal(&dst->baseline, &src->baseline))
		return;
	if (dst->features_count == 0) {
		dst->features = mem_array(src->features_count, sizeof(*dst->features));
		dst->features_count = src->features_count;
	}
	for (size_t i = 0; i < dst->features_count && i < src->features_count; i++)
		add_bins(&dst->features[i], &src->features[i]);
}

static struct named_counter *find_counter(const struct observation_record *record, const char *name)
{
	for (size_t i = 0; i < record->counters_count; i++)
		if (str_equal(record->counters[i].name, name))
			return &record->counters[i];
	return NULL;
}

static void add_counters(struct observation_record *dst, const struct observation_record *src)
{
	for (size_t i = 0; i < src->counters_count; i++) {
		struct named_counter *own = find_counter(dst, src->counters[i].name);

		if (own) {
			own->count += src->counters[i].count;
		} else if (dst->counters_count < LIMIT_NAMED_COUNTERS) {
			dst->counters = mem_resize(dst->counters, dst->counters_count + 1,
						   sizeof(*dst->counters));
			dst->counters[dst->counters_count++] = src->counters[i];
		}
	}
}

void record_add(struct observation_record *dst, const struct observation_record *src)
{
	if (record_order(src, dst->boot_epoch, dst->sequence) > 0) {
		dst->boot_epoch = src->boot_epoch;
		dst->sequence = src->sequence;
	}
	if (src->start_unix_ms < dst->start_unix_ms) {
		dst->start_unix_ms = src->start_unix_ms;
		dst->age_ms = src->age_ms;
	}
	dst->length_ms += src->length_ms;
	dst->periods += src->periods;
	dst->lost += src->lost;
	dst->urgent = dst->urgent || src->urgent;
	record_add_counts(&dst->counts, &src->counts);
	add_exceedances(dst, src);
	add_buckets(dst, src);
	add_features(dst, src);
	add_counters(dst, src);
}
