/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A short ring of open periods. A record lies in the period that holds its middle. Canaries have a
 * row each, so that one of them can be left out later, and controls, so that it shows how unequal
 * nodes are; when there are many of them a row speaks for the rest of a stratum.
 */
#include "coordinator/judge/gather.h"

#include "base/mem.h"
#include "base/str.h"

#include <assert.h>
#include <math.h>

enum { OPEN_MAX = 4 };

struct open_period {
	struct judge_period period;
	bool any; /* a record lies in it */
};

struct gather {
	struct gather_setup setup;
	struct judge_policy policy;
	uint64_t *reported;                /* of each node: the newest index + 1; 0: none */
	struct open_period open[OPEN_MAX]; /* of first + i, at (first + i) % OPEN_MAX */
	uint64_t first;                    /* index; 0: nothing came yet */
	uint64_t left_out;
	uint64_t *latencies; /* of controls, until the thresholds are frozen */
	bool froze;
};

/* ---- creation ---- */

struct gather *gather_new(const struct gather_setup *setup)
{
	struct gather *g = mem_alloc(sizeof(*g));

	assert(setup->period_ms > 0);
	g->setup = *setup;
	g->policy = *setup->policy;
	g->setup.policy = &g->policy;
	g->reported = mem_array(setup->nodes_count + 1, sizeof(*g->reported));
	g->latencies = mem_array(LIMIT_LATENCY_BUCKETS, sizeof(*g->latencies));
	return g;
}

void period_free(struct judge_period *period)
{
	for (size_t i = 0; i < period->rows_count; i++)
		free(period->rows[i].counts);
	for (size_t i = 0; i < period->bins_count; i++)
		free(period->bins[i].bins);
	free(period->rows);
	free(period->bins);
	*period = (struct judge_period){0};
}

void gather_free(struct gather *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < OPEN_MAX; i++)
		period_free(&g->open[i].period);
	free(g->reported);
	free(g->latencies);
	free(g);
}

/* ---- thresholds ---- */

static void learn_thresholds(struct gather *g, const struct observation_record *record)
{
	for (size_t i = 0; i < record->buckets_count; i++)
		if (record->buckets[i].index < LIMIT_LATENCY_BUCKETS)
			g->latencies[record->buckets[i].index] += record->buckets[i].count;
	g->froze = gather_quantiles(g->latencies, &g->setup.thresholds);
}

void gather_freeze(struct gather *g, const struct gather_thresholds *thresholds)
{
	g->setup.thresholds = *thresholds;
}

bool gather_froze(struct gather *g, struct gather_thresholds *ret_thresholds)
{
	if (!g->froze)
		return false;
	g->froze = false;
	*ret_thresholds = g->setup.thresholds;
	return true;
}

/* ---- rows ---- */

static struct judge_row *find_row(struct judge_period *period, enum cohort cohort, uint32_t stratum,
                                  uint32_t node)
{
	for (size_t i = 0; i < period->rows_count; i++) {
		struct judge_row *row = &period->rows[i];

		if (row->cohort == cohort && row->stratum == stratum && row->node == node)
			return row;
	}
	return NULL;
}

static struct judge_row *get_row(struct gather *g, struct judge_period *period, enum cohort cohort,
                                 uint32_t node)
{
	bool joined = node == GATHER_JOINED;
	uint32_t stratum = joined ? JUDGE_JOINED : g->setup.nodes[node].stratum;
	uint32_t whose = JUDGE_NO_NODE;
	struct judge_row *row;

	if (node < JUDGE_NODE_ROWS)
		whose = node; /* canaries come first in a plan */
	row = find_row(period, cohort, stratum, whose);
	if (row)
		return row;
	if (!period->rows)
		period->rows = mem_array(JUDGE_ROWS_MAX, sizeof(*period->rows));
	assert(period->rows_count < JUDGE_ROWS_MAX);
	row = &period->rows[period->rows_count++];
	*row = (struct judge_row){.cohort = cohort, .stratum = stratum, .node = whose};
	row->counts_count = g->policy.gates_count;
	row->counts = mem_array(row->counts_count, sizeof(*row->counts));
	return row;
}

static void add_counts(struct gather *g, struct judge_row *row, uint32_t node,
                       const struct observation_record *record)
{
	const struct gather_node *member = &g->setup.nodes[node];
	const struct gather_thresholds *thresholds =
	    member->thresholds.frozen ? &member->thresholds : &g->setup.thresholds;

	row->nodes++;
	for (size_t i = 0; i < g->policy.gates_count; i++) {
		const struct judge_gate *gate = &g->policy.gates[i];
		struct judge_count count = gather_count(gate, thresholds, record);
		struct judge_count *sum = &row->counts[i];

		sum->attempts += count.attempts;
		sum->bad += count.bad;
		sum->minutes += count.minutes;
		sum->incidents += count.incidents;
		sum->expected +=
		    member->rates[i] * (double)(gate->incidents ? count.minutes : count.attempts);
		for (size_t t = 0; t < LATENCY_THRESHOLDS; t++)
			sum->over[t] += count.over[t];
	}
}

static void add_joined(struct gather *g, struct judge_row *row,
                       const struct observation_record *record)
{
	row->nodes++;
	for (size_t i = 0; i < g->policy.gates_count; i++) {
		const struct judge_gate *gate = &g->policy.gates[i];
		struct judge_count count;

		if (gate->test != TEST_ABSOLUTE)
			continue;
		count = gather_count(gate, &g->setup.thresholds, record);
		row->counts[i].attempts += count.attempts;
		row->counts[i].bad += count.bad;
	}
}

static struct judge_bins *get_bins(struct judge_period *period, enum cohort cohort,
                                   const struct observation_record *record, size_t feature)
{
	size_t count = record->features[feature].bins_count;
	struct judge_bins *bins;

	for (size_t i = 0; i < period->bins_count; i++) {
		bins = &period->bins[i];
		if (bins->cohort == cohort && bins->feature == feature)
			return bins->bins_count == count ? bins : NULL;
	}
	period->bins = mem_resize(period->bins, period->bins_count + 1, sizeof(*period->bins));
	bins = &period->bins[period->bins_count++];
	*bins = (struct judge_bins){cohort, (uint32_t)feature, mem_array(count, sizeof(uint64_t)),
	                            count};
	return bins;
}

static void add_features(struct gather *g, struct judge_period *period, enum cohort cohort,
                         const struct observation_record *record)
{
	if (digest_is_zero(&g->setup.baseline) ||
	    !digest_equal(&record->baseline, &g->setup.baseline))
		return;
	for (size_t f = 0; f < record->features_count && f < LIMIT_FEATURES; f++) {
		const struct feature_counts *feature = &record->features[f];
		struct judge_bins *bins;

		if (!feature->bins_count)
			continue;
		bins = get_bins(period, cohort, record, f);
		for (size_t i = 0; bins && i < bins->bins_count; i++)
			bins->bins[i] += feature->bins[i];
	}
}

/* ---- records in, periods out ---- */

static bool cohort_of(const struct gather *g, const struct observation_record *record,
                      enum cohort *ret_cohort)
{
	bool canary = digest_equal(&record->release, &g->setup.to);

	*ret_cohort = canary ? COHORT_CANARY : COHORT_CONTROL;
	return canary ||
	       (!digest_is_zero(&g->setup.from) && digest_equal(&record->release, &g->setup.from));
}

static bool may_count(const struct gather *g, const struct observation_record *record)
{
	if (!record->serving || record->periods > 1)
		return false;
	if (record->length_ms == 0 || record->length_ms > 2 * g->setup.period_ms)
		return false;
	return record->age_ms >= JUDGE_WARMUP_PERIODS * g->setup.period_ms;
}

static uint64_t index_of(const struct gather *g, uint64_t at_ms,
                         const struct observation_record *record)
{
	uint64_t middle = at_ms - record->length_ms / 2;

	return at_ms < record->length_ms ? 0 : middle / g->setup.period_ms;
}

static bool count_record(struct gather *g, uint32_t node, uint64_t index,
                         const struct observation_record *record)
{
	struct open_period *open = &g->open[index % OPEN_MAX];
	enum cohort cohort;

	if (!cohort_of(g, record, &cohort) || !may_count(g, record))
		return false;
	if (node == GATHER_JOINED) {
		if (cohort == COHORT_CANARY)
			add_joined(g, get_row(g, &open->period, cohort, node), record);
		open->any = open->any || cohort == COHORT_CANARY;
		return cohort == COHORT_CANARY;
	}
	if (cohort == COHORT_CONTROL && !g->setup.thresholds.frozen)
		learn_thresholds(g, record);
	open->any = true;
	add_counts(g, get_row(g, &open->period, cohort, node), node, record);
	add_features(g, &open->period, cohort, record);
	return true;
}

bool gather_add(struct gather *g, uint32_t node, uint64_t at_ms,
                const struct observation_record *record)
{
	uint64_t index = index_of(g, at_ms, record);
	bool in_time;

	assert(node < g->setup.nodes_count || node == GATHER_JOINED);
	if (g->first == 0)
		g->first = index > 1 ? index - 1 : 1;
	in_time = index >= g->first && index < g->first + OPEN_MAX;
	if (node != GATHER_JOINED && index < g->first + OPEN_MAX && !record->urgent &&
	    index + 1 > g->reported[node])
		g->reported[node] = index + 1; /* the rest of an urgent one's period is to come */
	if (in_time && count_record(g, node, index, record))
		return true;
	g->left_out++;
	return false;
}

/* Has everybody who reported one of the two periods before reported this one? */
static bool everybody_reported(const struct gather *g, uint64_t index)
{
	for (size_t i = 0; i < g->setup.nodes_count; i++)
		if (g->reported[i] <= index && g->reported[i] + 2 > index)
			return false;
	return true;
}

static uint64_t latest_end(const struct gather *g) /* of the oldest open period */
{
	return (g->first + 2) * g->setup.period_ms;
}

static bool any_open(const struct gather *g)
{
	for (size_t i = 0; i < OPEN_MAX; i++)
		if (g->open[i].any)
			return true;
	return false;
}

bool gather_close(struct gather *g, uint64_t now_ms, struct judge_period *ret_period)
{
	while (any_open(g) && (g->first + 1) * g->setup.period_ms <= now_ms) {
		struct open_period *open = &g->open[g->first % OPEN_MAX];
		bool any = open->any;

		if (now_ms < latest_end(g) && !everybody_reported(g, g->first))
			return false;
		open->period.index = g->first++;
		if (!any)
			continue;
		*ret_period = open->period;
		*open = (struct open_period){0};
		return true;
	}
	/* a long silence leaves nothing open: what comes next is a new beginning */
	if (!any_open(g) && now_ms / g->setup.period_ms > g->first + OPEN_MAX)
		g->first = now_ms / g->setup.period_ms - 1;
	return false;
}

void gather_skip(struct gather *g, uint64_t index)
{
	for (size_t i = 0; i < OPEN_MAX; i++) {
		struct open_period *open = &g->open[(g->first + i) % OPEN_MAX];

		if (g->first + i >= index)
			continue;
		period_free(&open->period);
		open->any = false;
	}
	if (g->first < index)
		g->first = index;
}

uint64_t gather_deadline(const struct gather *g)
{
	return any_open(g) ? latest_end(g) : UINT64_MAX;
}

uint64_t gather_left_out(const struct gather *g)
{
	return g->left_out;
}
