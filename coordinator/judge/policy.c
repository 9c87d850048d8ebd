/* SPDX-License-Identifier: Apache-2.0 */
/* One reading of the file for the linter, the plan and the judge. */
#include "coordinator/judge/policy.h"

#include "base/str.h"

#include <assert.h>
#include <math.h>

#define X(name, text, weight) {text, sizeof(text) - 1, weight},
static const struct {
	const char *text;
	size_t size;
	double weight;
} metrics[METRIC_COUNT] = {JUDGE_METRICS(X)};
#undef X

static const char *const test_names[TEST_COUNT] = {"rate_ratio", "exact",    "hierarchical",
                                                   "latency",    "absolute", "drift", "unequal"};

const char *judge_test_name(enum judge_test test)
{
	assert(test < TEST_COUNT);
	return test_names[test];
}

static bool is_prefix(enum judge_metric kind)
{
	char last = metrics[kind].text[metrics[kind].size - 1];

	return last == '.' || last == ':';
}

int judge_gate_kind(struct judge_gate *gate)
{
	const char *metric = gate->metric;

	for (enum judge_metric i = 0; i < METRIC_COUNT; i++) {
		bool prefix = is_prefix(i);

		if (prefix ? str_starts(metric, metrics[i].text) && metric[metrics[i].size]
		           : str_equal(metric, metrics[i].text)) {
			gate->kind = i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *judge_gate_subject(const struct judge_gate *gate)
{
	return is_prefix(gate->kind) ? gate->metric + metrics[gate->kind].size : "";
}

double judge_gate_ln_fail(const struct judge_gate *gate)
{
	double ln_fail = -log(JUDGE_ALPHA * (gate->weight > 0 ? gate->weight : 1));

	return gate->critical ? fmin(ln_fail, log(JUDGE_CRITICAL)) : ln_fail;
}

/* ---- making it ---- */

static enum judge_test default_test(const struct judge_gate *gate)
{
	if (gate->kind == METRIC_DRIFT)
		return TEST_DRIFT;
	if (gate->absolute)
		return TEST_ABSOLUTE;
	if (gate->kind == METRIC_LATENCY)
		return TEST_LATENCY;
	return gate->kind == METRIC_LABEL_ERROR ? TEST_EXACT : TEST_RATE_RATIO;
}

static int check(const struct judge_gate *gate, struct err *err)
{
	bool bounded = gate->absolute && gate->kind == METRIC_LATENCY;

	if (bounded && !gate->bound_us)
		return err_set(err, -EINVAL,
		               "bound: an absolute gate on latency needs the latency that `slo` "
		               "allows to be passed, such as `bound: 200ms`");
	if (gate->bound_us && !bounded)
		return err_set(err, -EINVAL,
		               "bound: only a gate on latency with `against: absolute` has one");
	if (gate->absolute && gate->kind != METRIC_DRIFT && !(gate->slo > 0))
		return err_set(err, -EINVAL, "slo: an absolute gate needs the promised rate");
	if (gate->slo < 0 || gate->slo >= 1)
		return err_set(err, -EINVAL, "slo: write a rate of less than 1, such as 0.01");
	if (!(gate->tolerance >= 0.0625 && gate->tolerance < 16))
		return err_set(err, -EINVAL,
		               "tolerance: write a ratio from 0.0625 to less than 16");
	if (!(gate->margin > gate->tolerance && gate->margin <= 16))
		return err_set(err, -EINVAL,
		               "margin: write a ratio of more than the tolerance, at most 16");
	if (gate->required && gate->kind == METRIC_DRIFT)
		return err_set(err, -EINVAL,
		               "require: that nothing drifts cannot be proven; leave it out");
	return 0;
}

static int make_gate(const struct gate_spec *spec, struct judge_gate *gate, struct err *err)
{
	*gate = (struct judge_gate){
	    .absolute = spec->absolute,
	    .critical = spec->critical,
	    .dry_run = spec->dry_run,
	    .required = spec->require == GATE_EVIDENCE && !spec->dry_run,
	    .tolerance = spec->tolerance > 0 ? spec->tolerance : 1,
	    .margin = spec->margin,
	    .slo = spec->slo,
	    .bound_us = spec->bound_ms * 1000,
	    .weight = spec->weight > 0 ? spec->weight : 1,
	    .clump = 1,
	};
	STR_CUT(gate->metric, spec->metric);
	if (judge_gate_kind(gate) < 0)
		return err_set(err, -EINVAL,
		               "metric: `%s` is not known; write error_rate, timeouts, "
		               "invalid_output, latency, label_error, drift.<feature>, drift.score "
		               "or prometheus:<counter>",
		               gate->metric);
	if (!(gate->margin > 0))
		gate->margin = fmin(JUDGE_MARGIN * gate->tolerance, 16);
	gate->test = default_test(gate);
	return check(gate, err);
}

static bool has_metric(const struct judge_policy *policy, enum judge_metric kind)
{
	for (size_t i = 0; i < policy->gates_count; i++)
		if (policy->gates[i].kind == kind && !policy->gates[i].dry_run)
			return true;
	return false;
}

static void add_default(struct judge_policy *policy, enum judge_metric kind, double weight)
{
	struct judge_gate *gate = &policy->gates[policy->gates_count++];

	*gate = (struct judge_gate){
	    .kind = kind, .tolerance = 1, .margin = JUDGE_MARGIN, .weight = weight, .clump = 1};
	STR_CUT(gate->metric, metrics[kind].text);
	gate->test = default_test(gate);
}

/* Alpha is shared out; a gate that does not decide has no part of it. */
static void share_weights(struct judge_policy *policy)
{
	double sum = 0;

	for (size_t i = 0; i < policy->gates_count; i++)
		sum += policy->gates[i].dry_run ? 0 : policy->gates[i].weight;
	for (size_t i = 0; i < policy->gates_count; i++)
		policy->gates[i].weight =
		    policy->gates[i].dry_run ? 0 : policy->gates[i].weight / sum;
}

int judge_policy_make(const struct deployment_spec *spec, struct judge_policy *ret_policy,
                      struct err *err)
{
	double sum = 0;

	assert(spec->gates_count <= LIMIT_GATES);
	*ret_policy = (struct judge_policy){0};
	for (size_t i = 0; i < spec->gates_count; i++) {
		struct judge_gate *gate = &ret_policy->gates[ret_policy->gates_count++];
		int r = make_gate(&spec->gates[i], gate, err);

		if (r < 0)
			return err_prefix(err, r, "gates[%zu]", i);
		sum += gate->dry_run ? 0 : gate->weight;
	}
	for (enum judge_metric i = 0; i < METRIC_COUNT && !spec->gates_count; i++)
		if (metrics[i].weight > 0)
			add_default(ret_policy, i, metrics[i].weight);
	if (!has_metric(ret_policy, METRIC_INVALID_OUTPUT))
		add_default(ret_policy, METRIC_INVALID_OUTPUT, sum > 0 ? sum / 9 : 1);
	share_weights(ret_policy);
	return 0;
}

/* ---- how long it takes ---- */

int judge_deadlines_check(const struct deployment_spec *spec, uint64_t period_ms, struct err *err)
{
	uint64_t least_ms = JUDGE_PERIODS_MIN * period_ms;
	char given[STR_DURATION_MAX], least[STR_DURATION_MAX], period[STR_DURATION_MAX];

	for (size_t i = 0; i < spec->gates_count; i++) {
		const struct gate_spec *gate = &spec->gates[i];
		uint64_t deadline_ms =
		    gate->deadline_ms ? gate->deadline_ms : spec->deadlines.stage_ms;

		if (gate->require != GATE_EVIDENCE || gate->dry_run || deadline_ms >= least_ms)
			continue;
		str_format_duration(given, deadline_ms);
		str_format_duration(least, least_ms);
		str_format_duration(period, period_ms);
		return err_set(err, -EINVAL,
		               "gates[%zu]: deadline: %s is too short for evidence: nodes report "
		               "every %s, and a server's first %d reports do not count; write at "
		               "least %s",
		               i, given, period, JUDGE_WARMUP_PERIODS, least);
	}
	return 0;
}

static double divergence(double p, double q) /* of Bernoulli(p) from Bernoulli(q), in nats */
{
	return p * log(p / q) + (1 - p) * log((1 - p) / (1 - q));
}

static double theta(double rho, double w)
{
	return rho * w / (rho * w + 1 - w);
}

double judge_gate_needs(const struct judge_gate *gate, double rate, double share)
{
	double ln_e = gate->required ? -log(JUDGE_BETA) : judge_gate_ln_fail(gate), each;

	if (gate->test == TEST_ABSOLUTE) /* nothing fails: ln E grows by this with each request */
		return gate->slo > 0 ? ln_e / -log1p(-gate->slo) : HUGE_VAL;
	if (!(rate > 0 && share > 0 && share < 1) || gate->test == TEST_DRIFT)
		return HUGE_VAL;
	each = gate->required ? divergence(share, theta(gate->margin, share))
	                      : divergence(theta(2 * gate->tolerance, share), share);
	/* events in all, of which the canary makes its share of the attempts behind them */
	return ln_e / each * share / rate;
}
