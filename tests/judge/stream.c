/* SPDX-License-Identifier: Apache-2.0 */
/* Requests one by one; the judge sees only what a node would have counted of them. */
#include "stream.h"

#include "base/mem.h"
#include "base/str.h"
#include "evidence/sketch.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define LATENCY_US 20000.0
#define LATENCY_SIGMA 0.6

struct fleet {
	const struct scenario *s;
	struct rng rng;
	double errors[STREAM_NODES]; /* of each node */
	struct observation_record record;
	struct latency_bucket buckets[LIMIT_LATENCY_BUCKETS];
};

double stream_normal(struct rng *rng)
{
	double u = 1 - rng_unit(rng), v = rng_unit(rng);

	return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

static struct digest release(uint8_t which)
{
	return (struct digest){{which}};
}

static uint32_t poisson(struct rng *rng, double mean)
{
	double left = exp(-mean), product = rng_unit(rng);
	uint32_t count = 0;

	while (product > left) {
		product *= rng_unit(rng);
		count++;
	}
	return count;
}

/* ---- one record ---- */

static void add_latency(struct fleet *f, double factor, struct minute *minute, enum cohort cohort)
{
	double us = LATENCY_US * factor * exp(LATENCY_SIGMA * stream_normal(&f->rng));
	uint32_t index = sketch_index((uint64_t)us);
	size_t i = f->record.buckets_count;

	if (minute && minute->latencies_count[cohort] < STREAM_VALUES)
		minute->latencies[cohort][minute->latencies_count[cohort]++] = us;
	f->record.counts.latencies++;
	while (i > 0 && f->buckets[i - 1].index > index)
		i--;
	if (i > 0 && f->buckets[i - 1].index == index) {
		f->buckets[i - 1].count++;
		return;
	}
	memmove(&f->buckets[i + 1], &f->buckets[i],
	        (f->record.buckets_count - i) * sizeof(*f->buckets));
	f->buckets[i] = (struct latency_bucket){index, 1};
	f->record.buckets_count++;
}

static void make_record(struct fleet *f, uint32_t node, bool canary, bool rollout,
                        struct minute *minute)
{
	const struct scenario *s = f->s;
	enum cohort cohort = canary ? COHORT_CANARY : COHORT_CONTROL;
	double rate = f->errors[node] * (canary ? s->factor : 1);
	uint32_t requests = poisson(&f->rng, s->per_minute), burst = s->burst > 1 ? s->burst : 1;
	uint32_t bad = 0;

	for (uint32_t i = 0; i < requests; i++)
		bad += rng_unit(&f->rng) < rate / burst ? burst : 0;
	bad = bad < requests ? bad : requests;
	f->record = (struct observation_record){
	    .release = release(canary && rollout ? 2 : 1),
	    .length_ms = STREAM_PERIOD_MS,
	    .age_ms = UINT64_MAX / 2,
	    .serving = true,
	    .periods = 1,
	    .buckets = f->buckets,
	    .counts = {.attempted = requests, .ok = requests - bad, .errors = bad},
	};
	for (uint32_t i = 0; i < requests && s->slower > 0; i++)
		add_latency(f, canary && rollout ? s->slower : 1, minute, cohort);
	if (minute) {
		minute->attempts[cohort] += requests;
		minute->bad[cohort] += bad;
	}
}

/* ---- a rollout ---- */

static void make_policy(const struct scenario *s, struct judge_policy *policy)
{
	struct gate_spec gate = {.tolerance = 1};
	struct deployment_spec spec = {.gates = &gate, .gates_count = s->guard_rail ? 0 : 1};
	int r;

	STR_CUT(gate.metric, s->slower > 0 ? "latency" : "error_rate");
	r = judge_policy_make(&spec, policy, NULL);
	assert(r == 0);
	/* one gate alone, as the bars have it: invalid output is not simulated */
	if (!s->guard_rail) {
		policy->gates_count = 1;
		policy->gates[0].weight = 1;
	}
}

static void before(struct fleet *f, struct judge_policy *policy, struct gather_setup *setup,
                   struct gather_node *nodes)
{
	const struct scenario *s = f->s;
	struct history *history = history_new(policy, s->nodes);
	bool canaries[STREAM_NODES] = {0};

	for (uint32_t i = 0; i < s->nodes; i++) {
		f->errors[i] =
		    s->errors * exp(s->spread * stream_normal(&f->rng) - s->spread * s->spread / 2);
		canaries[i] = i < s->canaries;
	}
	for (uint32_t t = 0; t < s->history; t++)
		for (uint32_t i = 0; i < s->nodes; i++) {
			make_record(f, i, false, false, NULL);
			history_add(history, i, &f->record);
		}
	history_settle(history, canaries, policy, nodes, &setup->thresholds);
	history_free(history);
	for (uint32_t i = 0; i < s->nodes; i++)
		f->errors[i] *= exp(s->change * stream_normal(&f->rng) - s->change * s->change / 2);
}

static bool halted(const struct judge *judge)
{
	struct judge_verdict verdict;

	judge_look(judge, &verdict);
	return verdict.decision == JUDGE_HALT || verdict.decision == JUDGE_ROLL_BACK;
}

/* judge NULL: it has said what it had to say, and the peers go on. */
static void one_minute(struct fleet *f, struct gather *gather, struct judge *judge, uint32_t t,
                       struct minute *minute)
{
	uint64_t end_ms = (uint64_t)(t + 1000) * STREAM_PERIOD_MS;
	struct judge_period period;
	struct gather_thresholds thresholds;

	for (uint32_t i = 0; i < f->s->nodes; i++) {
		make_record(f, i, i < f->s->canaries, true, minute);
		if (judge)
			(void)gather_add(gather, i, end_ms, &f->record);
	}
	(void)gather_froze(gather, &thresholds);
	while (judge && gather_close(gather, end_ms, &period)) {
		int r = judge_add(judge, &period, 0);

		assert(r == 0);
		period_free(&period);
	}
}

struct outcome_of_run stream_run(const struct scenario *s, uint64_t seed, struct minute *minutes)
{
	struct fleet *f = mem_alloc(sizeof(*f));
	struct gather_node *nodes = mem_array(s->nodes, sizeof(*nodes));
	struct judge_policy policy;
	struct gather_setup setup = {.policy = &policy,
	                             .from = release(1),
	                             .to = release(2),
	                             .period_ms = STREAM_PERIOD_MS,
	                             .nodes = nodes,
	                             .nodes_count = s->nodes};
	struct outcome_of_run outcome = {0};
	struct gather *gather;
	struct judge *judge;

	f->s = s;
	f->rng.state = seed;
	make_policy(s, &policy);
	before(f, &policy, &setup, nodes);
	gather = gather_new(&setup);
	judge = judge_new(&(struct judge_frozen){.policy = &policy});
	for (uint32_t t = 0; t < s->minutes; t++) {
		struct judge_result result;

		if (minutes)
			minutes[t] = (struct minute){0};
		if (outcome.halted_at && !minutes)
			break;
		one_minute(f, gather, outcome.halted_at ? NULL : judge, t,
		           minutes ? &minutes[t] : NULL);
		if (outcome.halted_at || !halted(judge))
			continue;
		judge_result(judge, 0, &result);
		outcome.halted_at = t + 1;
		outcome.canary_attempts = result.cohorts[COHORT_CANARY].attempts;
	}
	judge_free(judge);
	gather_free(gather);
	free(nodes);
	free(f);
	return outcome;
}
