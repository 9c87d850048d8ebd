/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long evidence will take, before anybody starts to wait for it: recent traffic of the nodes
 * that become canaries first, recent rates of bad events, and the growth of evidence that follows.
 */
#include "coordinator/judging.h"
#include "coordinator/rollouts.h"

#include "base/mem.h"
#include "coordinator/json.h"

#include <math.h>

int judging_check(const struct coordinator *c, const struct deployment_spec *spec, struct err *err)
{
	AUTO_FREE struct judge_policy *policy = mem_alloc(sizeof(*policy));
	int r = judge_policy_make(spec, policy, err);

	return r < 0 ? r
	             : judge_deadlines_check(
	                   spec, c->observe_period_ms ? c->observe_period_ms : OBSERVE_PERIOD_MS,
	                   err);
}

struct traffic {
	double canaries, all; /* attempts a minute */
};

static json_t *forecast(const struct judge_gate *gate, const struct gate_spec *spec, double rate,
                        const struct traffic *traffic)
{
	double share = traffic->all > 0 ? traffic->canaries / traffic->all : 0;
	double needs = judge_gate_needs(gate, rate, share);
	double ms = traffic->canaries > 0 ? needs / traffic->canaries * 60000 : HUGE_VAL;
	bool known = isfinite(ms) && ms < (double)(UINT64_C(1) << 52);
	bool late = spec && spec->deadline_ms && (!known || ms > (double)spec->deadline_ms);

	return json_pack("{ss sb so so so so sb}", "metric", gate->metric, "required",
	                 gate->required, "expected_ms",
	                 known ? json_u64((uint64_t)ms) : json_null(), "canary_per_minute",
	                 json_real(traffic->canaries), "rate", json_real(rate), "deadline_ms",
	                 spec && spec->deadline_ms ? json_u64(spec->deadline_ms) : json_null(),
	                 "too_late", gate->required && late);
}

/* Nodes of the first stage stand first. */
static int read_traffic(struct coordinator *c, const struct deployment_spec *spec,
                        const struct plan *plan, struct history *history, struct traffic *traffic,
                        struct err *err)
{
	const struct shell_deployment *deployment = deployments_find(c, spec->name);
	AUTO_FREE struct node_id *ids = mem_array(plan->nodes_count + 1, sizeof(*ids));
	uint64_t seen, window_ms = 0;
	int r;

	if (!deployment || digest_is_zero(&deployment->record.base))
		return 0;
	for (size_t i = 0; i < plan->nodes_count; i++)
		ids[i] = plan->nodes[i].id;
	r = judging_history(c, spec->name, &deployment->record.base, ids, plan->nodes_count,
	                    history, &seen, &window_ms, err);
	if (r < 0 || window_ms == 0)
		return r;
	for (size_t i = 0; i < plan->nodes_count; i++) {
		double each = (double)history_attempts(history, i) * 60000 / (double)window_ms;

		traffic->all += each;
		traffic->canaries += plan->nodes[i].stage == 0 ? each : 0;
	}
	return 0;
}

int judging_forecast(struct coordinator *c, const struct deployment_spec *spec,
                     const struct plan *plan, json_t *answer, struct err *err)
{
	AUTO_FREE struct judge_policy *policy = mem_alloc(sizeof(*policy));
	COVEY_CLEANUP(history_free_p) struct history *history = NULL;
	struct traffic traffic = {0};
	json_t *list;
	int r = judge_policy_make(spec, policy, err);

	if (r < 0)
		return r;
	history = history_new(policy, plan->nodes_count);
	r = read_traffic(c, spec, plan, history, &traffic, err);
	if (r < 0)
		return r;
	list = json_array();
	for (size_t i = 0; i < policy->gates_count; i++)
		json_array_append_new(list, forecast(&policy->gates[i],
		                                     i < spec->gates_count ? &spec->gates[i] : NULL,
		                                     history_rate(history, i), &traffic));
	json_object_set_new(answer, "evidence", list);
	return 0;
}
