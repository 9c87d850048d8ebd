/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accumulators of fixed size, one set for each gate. Strata are compared each for itself and their
 * evidence added; a stratum with one cohort alone says nothing. Besides the test that decides, each
 * comparison keeps the rate-ratio process: people want the ratio and its bounds.
 */
#include "coordinator/judge/judge.h"

#include "base/mem.h"
#include "base/str.h"
#include "coordinator/judge/judge_internal.h"
#include "coordinator/stats/numeric.h"

#include <assert.h>
#include <math.h>

/* ---- creation ---- */

static void copy_feature(struct feature_state *state, const struct judge_feature *feature)
{
	state->feature = *feature;
	state->feature.name = mem_str(feature->name);
	state->feature.baseline = mem_copy(feature->baseline, feature->bins * sizeof(uint64_t));
	for (size_t i = 0; i < COHORT_COUNT; i++)
		state->bins[i] = mem_array(feature->bins, sizeof(uint64_t));
}

static void init_gate(struct gate_state *state, const struct judge_gate *gate)
{
	int r = rate_ratio_init(&state->ratio, gate->tolerance, gate->margin);

	assert(r == 0); /* judge_policy_make() has checked it */
	state->gate = *gate;
	if (gate->slo > 0)
		r = promised_init(&state->promised, gate->slo);
	assert(r == 0);
	if (gate->test == TEST_UNEQUAL)
		state->nodes = mem_alloc(sizeof(*state->nodes));
	if (gate->test != TEST_HIERARCHICAL)
		return;
	state->share = mem_alloc(sizeof(*state->share));
	if (share_null_init(state->share, gate->pi0, gate->m, gate->tolerance, gate->margin) < 0) {
		free(state->share); /* a history that cannot be used is none */
		state->share = NULL;
		state->gate.test = TEST_RATE_RATIO;
		return;
	}
	state->share->clump = gate->clump;
}

struct judge *judge_new(const struct judge_frozen *frozen)
{
	struct judge *judge = mem_alloc(sizeof(*judge));

	judge->gates_count = frozen->policy->gates_count;
	judge->gates = mem_array(judge->gates_count, sizeof(*judge->gates));
	for (size_t i = 0; i < judge->gates_count; i++)
		init_gate(&judge->gates[i], &frozen->policy->gates[i]);
	judge->features_count = frozen->features_count;
	judge->features = mem_array(judge->features_count + 1, sizeof(*judge->features));
	for (size_t i = 0; i < judge->features_count; i++)
		copy_feature(&judge->features[i], &frozen->features[i]);
	judge->declared = frozen->declared;
	return judge;
}

void judge_free(struct judge *judge)
{
	if (!judge)
		return;
	for (size_t i = 0; i < judge->gates_count; i++) {
		free(judge->gates[i].share);
		free(judge->gates[i].nodes);
	}
	for (size_t i = 0; i < judge->features_count; i++) {
		free((char *)judge->features[i].feature.name);
		free((uint64_t *)judge->features[i].feature.baseline);
		for (size_t k = 0; k < COHORT_COUNT; k++)
			free(judge->features[i].bins[k]);
	}
	free(judge->gates);
	free(judge->features);
	free(judge);
}

/* ---- adding a period ---- */

static void add_count(struct judge_count *sum, const struct judge_count *count)
{
	sum->attempts += count->attempts;
	sum->bad += count->bad;
	sum->minutes += count->minutes;
	sum->incidents += count->incidents;
	sum->expected += count->expected;
	for (size_t i = 0; i < LATENCY_THRESHOLDS; i++)
		sum->over[i] += count->over[i];
}

static bool is_left_out(const struct judge_row *row, uint64_t without)
{
	return row->cohort == COHORT_CANARY && row->node < JUDGE_NODE_ROWS &&
	       (without >> row->node & 1);
}

bool judge_sum(const struct judge_period *period, uint32_t stratum, size_t gate, uint64_t without,
               struct judge_count sums[COHORT_COUNT])
{
	bool any = false;

	memset(sums, 0, COHORT_COUNT * sizeof(*sums));
	for (size_t i = 0; i < period->rows_count; i++) {
		const struct judge_row *row = &period->rows[i];

		if (row->stratum != stratum || gate >= row->counts_count ||
		    is_left_out(row, without))
			continue;
		add_count(&sums[row->cohort], &row->counts[gate]);
		any = true;
	}
	return any;
}

static int add_comparison(struct gate_state *g, const struct judge_count *c,
                          const struct judge_count *b)
{
	bool latency = g->gate.test == TEST_LATENCY, incidents = g->gate.incidents;
	/* of latency, p90's threshold stands for the ratio */
	struct rate_period counts = {
	    .canary = incidents ? c->minutes : c->attempts,
	    .control = incidents ? b->minutes : b->attempts,
	    .canary_bad = latency     ? c->over[1]
	                  : incidents ? c->incidents
	                              : c->bad,
	    .control_bad = latency     ? b->over[1]
	                   : incidents ? b->incidents
	                               : b->bad,
	};
	double share = c->expected / (c->expected + b->expected);
	int r = 0;

	if (!counts.canary || !counts.control)
		return 0;
	if (g->share && share > 0 && share < 1)
		r = share_null_add(g->share, counts.canary_bad, counts.control_bad, share);
	if (r == 0 && latency)
		r = latency_add(&g->latency, counts.canary, counts.control, c->over, b->over);
	if (r == 0 && g->gate.test == TEST_EXACT)
		r = exact_add(&g->exact, counts.canary, counts.control, counts.canary_bad,
		              counts.control_bad);
	return r < 0 ? r : rate_ratio_add(&g->ratio, &counts);
}

static int add_gate(struct judge *judge, const struct judge_period *period, uint32_t stratum,
                    size_t gate, uint64_t without)
{
	struct gate_state *g = &judge->gates[gate];
	struct judge_count sums[COHORT_COUNT];
	const struct judge_count *c = &sums[COHORT_CANARY], *b = &sums[COHORT_CONTROL];
	bool latency = g->gate.test == TEST_LATENCY;
	int r = 0;

	if (!judge_sum(period, stratum, gate, without, sums))
		return 0;
	if (g->gate.slo > 0 && !latency)
		r = promised_add(&g->promised, c->attempts, c->bad);
	if (r == 0 && g->gate.test != TEST_ABSOLUTE)
		r = add_comparison(g, c, b);
	if (r < 0)
		return r;
	for (size_t i = 0; i < COHORT_COUNT; i++) {
		g->sums[i].attempts += sums[i].attempts;
		g->sums[i].bad += latency ? sums[i].over[1] : sums[i].bad;
	}
	g->compared = g->compared || (c->attempts && b->attempts);
	return 0;
}

/* ---- unequal nodes ---- */

static struct unequal_node *get_node(struct gate_nodes *nodes, const struct judge_row *row)
{
	bool canary = row->cohort == COHORT_CANARY;
	struct unequal_node *node;

	for (size_t i = 0; i < nodes->count; i++) {
		node = &nodes->node[i];
		if (nodes->index[i] == row->node && node->canary == canary &&
		    node->stratum == row->stratum)
			return node;
	}
	if (nodes->count == JUDGE_ROWS_MAX)
		return NULL;
	nodes->index[nodes->count] = row->node;
	node = &nodes->node[nodes->count++];
	*node = (struct unequal_node){.canary = canary, .stratum = row->stratum, .nodes = 1};
	return node;
}

static void add_nodes(struct gate_state *g, const struct judge_period *period, size_t gate,
                      uint64_t without)
{
	struct gate_nodes *nodes = g->nodes;

	for (size_t i = 0; i < period->rows_count; i++) {
		const struct judge_row *row = &period->rows[i];
		struct unequal_node *node;

		if (gate >= row->counts_count || is_left_out(row, without))
			continue;
		node = get_node(nodes, row);
		if (!node)
			continue;
		if (row->nodes > node->nodes)
			node->nodes = row->nodes;
		event_sums_add(&node->sums, row->counts[gate].attempts, row->counts[gate].bad);
		nodes->stale = true;
	}
}

const struct gate_nodes *judge_nodes(const struct gate_state *g)
{
	struct gate_nodes *nodes = g->nodes;

	if (!nodes->stale)
		return nodes;
	nodes->stale = false;
	if (g->gate.variance > 0)
		unequal_set(&nodes->learned, g->gate.variance, g->gate.clump, g->gate.freedom);
	else
		unequal_learn(&nodes->learned, nodes->node, nodes->count);
	unequal_ln_e(&nodes->learned, &g->ratio, &nodes->ln_halt, &nodes->ln_promote);
	return nodes;
}

static void add_bins(struct judge *judge, const struct judge_bins *bins)
{
	struct feature_state *state;

	if (bins->feature >= judge->features_count)
		return;
	state = &judge->features[bins->feature];
	for (size_t i = 0; i < bins->bins_count && i < state->feature.bins; i++)
		state->bins[bins->cohort][i] += bins->bins[i];
}

int judge_add(struct judge *judge, const struct judge_period *period, uint64_t without)
{
	uint32_t strata = 0;
	int r = 0;

	for (size_t i = 0; i < period->rows_count; i++)
		if (period->rows[i].stratum >= strata)
			strata = period->rows[i].stratum + 1;
	for (uint32_t s = 0; s < strata; s++)
		for (size_t gate = 0; gate < judge->gates_count; gate++) {
			int failed = add_gate(judge, period, s, gate, without);

			r = r < 0 ? r : failed;
		}
	for (size_t gate = 0; gate < judge->gates_count && period->rows_count; gate++)
		if (judge->gates[gate].nodes)
			add_nodes(&judge->gates[gate], period, gate, without);
	for (size_t i = 0; i < period->bins_count; i++)
		add_bins(judge, &period->bins[i]);
	return r;
}

/* ---- drift ---- */

static uint64_t total(const uint64_t *bins, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += bins[i];
	return sum;
}

static double ln_e_of(const uint64_t *baseline, const uint64_t *window, size_t bins)
{
	struct drift_counts counts = {baseline, window, bins};
	uint64_t known = total(baseline, bins);
	double ln_e;

	if (known < JUDGE_DRIFT_MIN || total(window, bins) == 0)
		return -INFINITY;
	if (drift_ln_e(&counts, DRIFT_M1, drift_concentration(known, bins, DRIFT_WOBBLE), &ln_e) <
	    0)
		return -INFINITY;
	return ln_e;
}

double judge_drift(const struct judge *judge, size_t feature, enum cohort cohort)
{
	const struct feature_state *f = &judge->features[feature];

	if (cohort == COHORT_COUNT)
		return ln_e_of(f->bins[COHORT_CONTROL], f->bins[COHORT_CANARY], f->feature.bins);
	return ln_e_of(f->feature.baseline, f->bins[cohort], f->feature.bins);
}

const uint64_t *judge_bins_of(const struct judge *judge, size_t feature, enum cohort cohort)
{
	return judge->features[feature].bins[cohort];
}

size_t judge_find_feature(const struct judge *judge, const char *name)
{
	size_t i = 0;

	while (i < judge->features_count && !str_equal(judge->features[i].feature.name, name))
		i++;
	return i;
}

/* An input that drifts on the controls alike is the world's doing: no harm of the release. What the
 * model says may change with the release: it is compared with what that release declares. */
double judge_drift_gate(const struct judge *judge, const struct gate_state *g)
{
	size_t i = judge_find_feature(judge, judge_gate_subject(&g->gate));
	double ln_e;

	if (i == judge->features_count)
		return -INFINITY;
	if (!judge->features[i].feature.input)
		return judge->declared ? judge_drift(judge, i, COHORT_CANARY) : -INFINITY;
	ln_e = judge_drift(judge, i, COHORT_CANARY);
	return judge_drift(judge, i, COHORT_CONTROL) >= log(JUDGE_DRIFT_E) ? fmin(ln_e, 0) : ln_e;
}

/* ---- leave one out ---- */

size_t judge_carrier(struct judge *const *without, size_t count, size_t gate)
{
	size_t carrier = count;

	for (size_t i = 0; i < count && count > 1; i++) {
		struct judge_result rest;

		judge_result(without[i], gate, &rest);
		if (!rest.evidence || rest.ln_e > 0)
			continue;
		if (carrier < count)
			return count; /* two of them: neither is alone to blame */
		carrier = i;
	}
	return carrier;
}
