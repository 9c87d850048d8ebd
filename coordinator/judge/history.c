/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums for each node and gate. Rare events are counted as incidents (node-minutes with at least
 * one), which makes a burst one event. Where most minutes have one, incidents say nothing: then
 * events are counted, and weighed by the size of the clumps in which they came. With too few events
 * nothing is concluded from them: the rollout's own controls tell then how unequal nodes are.
 */
#include "coordinator/judge/history.h"

#include "base/mem.h"
#include "coordinator/stats/share_null.h"
#include "coordinator/stats/unequal.h"

#include <math.h>

#define INCIDENTS_RARE 0.5 /* of the node-minutes with traffic */

struct gate_history {
	uint64_t attempts, bad, minutes, incidents;
	struct event_sums sums; /* of the records, for the size of clumps */
};

struct history {
	struct judge_policy policy;
	size_t nodes_count;
	struct gate_history *sums; /* nodes_count times gates_count */
	uint64_t *latencies;       /* LIMIT_LATENCY_BUCKETS for each node, and of all */
};

struct history *history_new(const struct judge_policy *policy, size_t nodes_count)
{
	struct history *h = mem_alloc(sizeof(*h));

	h->policy = *policy;
	h->nodes_count = nodes_count;
	h->sums = mem_array(nodes_count * policy->gates_count + 1, sizeof(*h->sums));
	h->latencies = mem_array((nodes_count + 1) * LIMIT_LATENCY_BUCKETS, sizeof(*h->latencies));
	return h;
}

void history_free(struct history *h)
{
	if (!h)
		return;
	free(h->sums);
	free(h->latencies);
	free(h);
}

static struct gate_history *sums_of(const struct history *h, size_t node, size_t gate)
{
	return &h->sums[node * h->policy.gates_count + gate];
}

static uint64_t *latencies_of(const struct history *h, size_t node)
{
	return h->latencies + node * LIMIT_LATENCY_BUCKETS;
}

void history_add(struct history *h, uint32_t node, const struct observation_record *record)
{
	static const struct gather_thresholds none;

	if (!record->serving)
		return;
	for (size_t i = 0; i < h->policy.gates_count; i++) {
		struct judge_count count = gather_count(&h->policy.gates[i], &none, record);
		struct gate_history *sum = sums_of(h, node, i);

		sum->attempts += count.attempts;
		sum->bad += count.bad;
		event_sums_add(&sum->sums, count.attempts, count.bad);
		if (record->periods > 1)
			continue; /* several minutes in one: no count of them */
		sum->minutes += count.minutes;
		sum->incidents += count.incidents;
	}
	for (size_t i = 0; i < record->buckets_count; i++) {
		const struct latency_bucket *bucket = &record->buckets[i];

		if (bucket->index >= LIMIT_LATENCY_BUCKETS)
			continue;
		latencies_of(h, node)[bucket->index] += bucket->count;
		latencies_of(h, h->nodes_count)[bucket->index] += bucket->count;
	}
}

/* ---- settling ---- */

static struct gate_history sum_gate(const struct history *h, size_t gate, const bool *which,
                                    bool wanted)
{
	struct gate_history all = {0};

	for (size_t i = 0; i < h->nodes_count; i++) {
		const struct gate_history *sum = sums_of(h, i, gate);

		if (which && which[i] != wanted)
			continue;
		all.attempts += sum->attempts;
		all.bad += sum->bad;
		all.minutes += sum->minutes;
		all.incidents += sum->incidents;
	}
	return all;
}

/* Half an event of the fleet's rate is added to each node: nobody expects nothing. */
static void set_rates(const struct history *h, size_t gate, bool incidents,
                      const struct gate_history *all, struct gather_node *nodes)
{
	double bad = (double)(incidents ? all->incidents : all->bad);
	double tries = (double)(incidents ? all->minutes : all->attempts);
	double rate = bad > 0 ? bad / tries : 1;

	for (size_t i = 0; i < h->nodes_count; i++) {
		const struct gate_history *sum = sums_of(h, i, gate);
		double x = (double)(incidents ? sum->incidents : sum->bad);
		double n = (double)(incidents ? sum->minutes : sum->attempts);

		nodes[i].rates[gate] = (x + 0.5) / (n + 0.5 / rate);
	}
}

static void settle_gate(const struct history *h, size_t i, const bool *canaries,
                        struct judge_gate *gate, struct gather_node *nodes)
{
	struct gate_history c = sum_gate(h, i, canaries, true), b = sum_gate(h, i, canaries, false);
	struct gate_history all = sum_gate(h, i, NULL, true);
	uint32_t nodes_c = 0, nodes_b;
	double x_c, x_b;

	if (gate->test != TEST_RATE_RATIO && gate->test != TEST_EXACT)
		return;
	for (size_t n = 0; n < h->nodes_count; n++)
		nodes_c += canaries[n];
	nodes_b = (uint32_t)h->nodes_count - nodes_c;
	gate->incidents = gate->test == TEST_RATE_RATIO && all.minutes > 0 &&
	                  (double)all.incidents < INCIDENTS_RARE * (double)all.minutes;
	gate->clump = gate->incidents
	                  ? 1
	                  : event_sums_clump(&h->sums[i].sums, h->nodes_count,
	                                     h->policy.gates_count * sizeof(*h->sums));
	x_c = (double)(gate->incidents ? c.incidents : c.bad) / gate->clump;
	x_b = (double)(gate->incidents ? b.incidents : b.bad) / gate->clump;
	set_rates(h, i, gate->incidents, &all, nodes);
	if (share_null_learn((uint64_t)x_c, (uint64_t)x_b, nodes_c, nodes_b, SHARE_NULL_SD,
	                     &gate->pi0, &gate->m) == 0) {
		gate->test = TEST_HIERARCHICAL;
		return;
	}
	gate->clump = 1;
	gate->incidents = false;
	if (gate->test == TEST_RATE_RATIO)
		gate->test = TEST_UNEQUAL;
}

void history_settle(const struct history *h, const bool *canaries, struct judge_policy *policy,
                    struct gather_node *nodes, struct gather_thresholds *ret_thresholds)
{
	struct gather_thresholds fleet = {0};

	for (size_t i = 0; i < policy->gates_count; i++)
		settle_gate(h, i, canaries, &policy->gates[i], nodes);
	for (size_t i = 0; i < h->nodes_count; i++) {
		nodes[i].thresholds.frozen = false;
		(void)gather_quantiles(latencies_of(h, i), &nodes[i].thresholds);
	}
	(void)gather_quantiles(latencies_of(h, h->nodes_count), &fleet);
	*ret_thresholds = fleet;
}

uint64_t history_attempts(const struct history *h, size_t node)
{
	uint64_t most = 0; /* gates count attempts or labels of them; the largest is the traffic */

	for (size_t i = 0; i < h->policy.gates_count; i++)
		if (sums_of(h, node, i)->attempts > most)
			most = sums_of(h, node, i)->attempts;
	return most;
}

double history_rate(const struct history *h, size_t gate)
{
	struct gate_history all = sum_gate(h, gate, NULL, true);

	return all.attempts ? (double)all.bad / (double)all.attempts : 0;
}
