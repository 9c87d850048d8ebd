/* SPDX-License-Identifier: Apache-2.0 */
/* What one record says to each gate, and which latencies a fleet is used to. */
#include "coordinator/judge/gather.h"

#include "base/str.h"

static uint64_t named(const struct observation_record *record, const char *name)
{
	for (size_t i = 0; i < record->counters_count; i++)
		if (str_equal(record->counters[i].name, name))
			return record->counters[i].count;
	return 0;
}

static void count_latency(const struct gather_thresholds *thresholds,
                          const struct observation_record *record, struct judge_count *count)
{
	if (!thresholds->frozen)
		return;
	for (size_t i = 0; i < record->buckets_count; i++) {
		const struct latency_bucket *bucket = &record->buckets[i];

		count->attempts += bucket->count;
		for (size_t t = 0; t < LATENCY_THRESHOLDS; t++)
			count->over[t] += bucket->index > thresholds->bucket[t] ? bucket->count : 0;
	}
}

/* Nodes are ordered to count what is above the bound one by one; a record from before that order
 * says nothing. */
static void count_bound(uint64_t bound_us, const struct observation_record *record,
                        struct judge_count *count)
{
	for (size_t i = 0; i < LIMIT_THRESHOLDS; i++)
		if (record->exceedances[i].threshold_us == bound_us) {
			count->attempts = record->counts.latencies;
			count->bad = record->exceedances[i].exceeded;
			return;
		}
}

struct judge_count gather_count(const struct judge_gate *gate,
                                const struct gather_thresholds *thresholds,
                                const struct observation_record *record)
{
	const struct observed_counts *c = &record->counts;
	struct judge_count count = {.attempts = c->attempted};

	switch (gate->kind) {
	case METRIC_ERROR_RATE:
		count.bad = c->errors + c->crashes;
		break;
	case METRIC_TIMEOUTS:
		count.bad = c->timeouts;
		break;
	case METRIC_INVALID_OUTPUT:
		count.bad = c->invalid;
		break;
	case METRIC_LABEL_ERROR:
		count.bad = c->labels_wrong;
		count.attempts = c->labels_right + c->labels_wrong;
		break;
	case METRIC_PROMETHEUS:
		count.bad = named(record, judge_gate_subject(gate));
		break;
	case METRIC_LATENCY:
		count.attempts = 0;
		if (gate->absolute)
			count_bound(gate->bound_us, record, &count);
		else
			count_latency(thresholds, record, &count);
		break;
	case METRIC_DRIFT:
	case METRIC_COUNT:
	default:
		return (struct judge_count){0};
	}
	if (count.attempts < count.bad)
		count.attempts = count.bad; /* begun in the period before */
	count.minutes = count.attempts > 0;
	count.incidents = count.bad > 0;
	return count;
}

bool gather_quantiles(const uint64_t counts[LIMIT_LATENCY_BUCKETS],
                      struct gather_thresholds *ret_thresholds)
{
	static const double shares[LATENCY_THRESHOLDS] = {0.5, 0.9, 0.95, 0.99};
	struct gather_thresholds thresholds = {.frozen = true};
	uint64_t total = 0, below = 0;
	size_t next = 0;

	for (size_t i = 0; i < LIMIT_LATENCY_BUCKETS; i++)
		total += counts[i];
	if (total < JUDGE_LATENCIES_MIN)
		return false;
	for (size_t i = 0; i < LIMIT_LATENCY_BUCKETS; i++) {
		below += counts[i];
		while (next < LATENCY_THRESHOLDS && (double)below >= shares[next] * (double)total)
			thresholds.bucket[next++] = (uint32_t)i;
	}
	*ret_thresholds = thresholds;
	return true;
}
