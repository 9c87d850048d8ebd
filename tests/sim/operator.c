/* SPDX-License-Identifier: Apache-2.0 */
/*
 * People. In the time of faults an operator does anything at any moment; in peace a person comes
 * round and ends what waits for one: resumes, promotes, and aborts when that does not help.
 */
#include "sim.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/message.h"
#include "protocol/spec.h"

uint32_t sim_control(struct sim *sim, const char *verb, const char *body, const struct bytes *blob)
{
	struct msg_control request = {.id = ++sim->sequence, .body = (char *)body};
	struct bytes data = {0};

	if (!sim->coordinator)
		return 7;
	STR_CUT(request.verb, verb);
	if (blob)
		request.blob = *blob;
	if (message_encode(MESSAGE_CONTROL, &request, &data, NULL) < 0)
		return 1;
	sim->reply.exit_code = 99; /* no answer */
	point_of_coordinator(sim);
	coordinator_on_control(sim->coordinator, 1, ROLE_ADMIN, "simulator", "here", data.data,
			       data.size);
	free(data.data);
	if (sim_coordinator_settle(sim))
		sim->reply.exit_code = 7;
	sim_trace(sim, "operator: %s %s -> %u %s", verb, body, sim->reply.exit_code,
		  sim->reply.exit_code ? sim->reply.error : "");
	return sim->reply.exit_code;
}

/* ---- apply ---- */

static void draw_stages(struct sim *sim, struct deployment_spec *spec, bool gentle)
{
	uint64_t bake_ms = gentle ? 2000 : 60000;

	spec->strategy = rng_below(&sim->rng, 4) ? STRATEGY_CANARY
			 : rng_below(&sim->rng, 2) ? STRATEGY_ROLLING : STRATEGY_BLUE_GREEN;
	spec->batch = (struct share){true, (uint32_t)sim_between(sim, gentle ? 60 : 25, 100)};
	spec->batch_bake_ms = sim_between(sim, 1000, gentle ? 2000 : 20000);
	if (spec->strategy == STRATEGY_BLUE_GREEN)
		spec->promote = rng_below(&sim->rng, 4) || gentle ? PROMOTE_AUTO : PROMOTE_MANUAL;
	free(spec->stages);
	spec->stages = mem_array(4, sizeof(*spec->stages));
	spec->stages_count = 0;
	if (spec->strategy != STRATEGY_CANARY)
		return;
	for (size_t i = 0, count = sim_between(sim, 1, 2); i < count; i++) {
		struct stage_spec *stage = &spec->stages[spec->stages_count++];

		*stage = (struct stage_spec){.nodes = {i > 0, i ? 40 : 1},
					     .bake_ms = sim_between(sim, 1000, bake_ms)};
		if (i > 0 && rng_below(&sim->rng, 4) == 0)
			STR_CUT(stage->where, "ring=1");
	}
}

static void draw_limits(struct sim *sim, struct deployment_spec *spec)
{
	spec->max_unavailable = rng_below(&sim->rng, 3)
					? (struct share){true, (uint32_t)sim_between(sim, 10, 70)}
					: (struct share){false, (uint32_t)sim_between(sim, 1, 4)};
	if (rng_below(&sim->rng, 5) == 0) {
		STR_CUT(spec->per_label, "site");
		spec->per_label_nodes = (uint32_t)sim_between(sim, 1, 3);
	}
	spec->deadlines = (struct deadline_spec){240000, 900000, 3600000};
	spec->failures.nodes = (uint32_t)rng_below(&sim->rng, 4);
	if (rng_below(&sim->rng, 3) == 0)
		spec->failures.percent = (uint32_t)sim_between(sim, 10, 50);
	spec->failures.unreachable = (struct share){true, (uint32_t)sim_between(sim, 10, 60)};
	spec->on_inconclusive = (enum inconclusive_kind)rng_below(&sim->rng, INCONCLUSIVE_COUNT);
}

/* A switching window that is closed for some minutes, soon. */
static void draw_window(struct sim *sim, struct deployment_spec *spec)
{
	uint64_t minute = sim_coordinator_now(sim) / 60000 % 1440;
	unsigned closes = (unsigned)((minute + sim_between(sim, 0, 5)) % 1440);
	unsigned opens = (unsigned)((closes + sim_between(sim, 1, 8)) % 1440);

	snprintf(spec->windows.swap, sizeof(spec->windows.swap), "%02u:%02u-%02u:%02u", opens / 60,
		 opens % 60, closes / 60, closes % 60);
	STR_CUT(spec->windows.timezone, "UTC");
}

static void draw_gate(struct sim *sim, struct deployment_spec *spec)
{
	spec->gates = mem_alloc(sizeof(*spec->gates));
	spec->gates_count = 1;
	*spec->gates = (struct gate_spec){.tolerance = 0.01,
					  .margin = 0.02,
					  .weight = 1,
					  .require = GATE_EVIDENCE,
					  .min_bake_ms = 1000,
					  .deadline_ms = sim_between(sim, 20000, 90000)};
	STR_CUT(spec->gates->metric, "errors");
}

static void draw_policy(struct sim *sim, struct deployment_spec *spec, bool gentle)
{
	draw_stages(sim, spec, gentle);
	draw_limits(sim, spec);
	spec->drain_ms = 3000;
	spec->keep_warm_ms = 20000;
	if (spec->strategy != STRATEGY_BLUE_GREEN && rng_below(&sim->rng, 3) == 0)
		spec->swap = SWAP_STOP_FIRST;
	if (!gentle && rng_below(&sim->rng, 8) == 0)
		draw_window(sim, spec);
	if (!gentle && rng_below(&sim->rng, 12) == 0)
		draw_gate(sim, spec);
}

uint32_t sim_apply(struct sim *sim, uint32_t version, bool supersede, bool gentle)
{
	uint32_t d = sim->versions[version].deployment, code;
	struct deployment_spec spec = {0};
	struct bytes blob = {0};

	deployment_spec_defaults(&spec);
	STR_CUT(spec.name, sim_deployments[d]);
	STR_CUT(spec.model, sim_deployments[d]);
	STR_CUT(spec.version, sim->versions[version].release.version);
	STR_CUT(spec.selector, sim->selectors[d]);
	draw_policy(sim, &spec, gentle);
	sim_trace(sim, "apply %s: strategy %d, swap %d, max_unavailable %u%s, failures %u",
		  sim->versions[version].name, (int)spec.strategy, (int)spec.swap,
		  spec.max_unavailable.value, spec.max_unavailable.percent ? "%" : "",
		  spec.failures.nodes);
	if (codec_encode(&codec_deployment_spec, &spec, LIMIT_CONTROL_MESSAGE, &blob, NULL) < 0)
		return 1;
	code = sim_control(sim, "apply",
			   supersede ? "{\"supersede\":true,\"allow_removal\":true}"
				     : "{\"allow_removal\":true}",
			   &blob);
	if (code == 0)
		acked_apply(sim, d);
	free(blob.data);
	deployment_spec_free(&spec);
	return code;
}

/* Half of the wishes are for good versions. */
uint32_t sim_draw_version(struct sim *sim, uint32_t deployment)
{
	for (;;) {
		uint32_t v = (uint32_t)rng_below(&sim->rng, SIM_VERSIONS);
		bool good = sim->versions[v].behaviour == SIM_GOOD;

		if (sim->versions[v].deployment == deployment && (good || !rng_below(&sim->rng, 3)))
			return v;
	}
}

/* ---- at any moment ---- */

static void order_node(struct sim *sim)
{
	static const char *const verbs[] = {"node.cordon", "node.uncordon", "node.uncordon",
					    "node.label", "node.revoke"};
	struct sim_node *node = &sim->nodes[rng_below(&sim->rng, sim->joined_count)];
	const char *verb = verbs[rng_below(&sim->rng, ARRAY_SIZE(verbs))];
	bool revoke = str_equal(verb, "node.revoke");
	char body[128];

	if (node->retired || (revoke && rng_below(&sim->rng, 3)))
		return;
	snprintf(body, sizeof(body), "{\"node\":\"%s\",\"set\":{\"ring\":\"%u\"}}", node->name,
		 (unsigned)rng_below(&sim->rng, 4));
	if (revoke)
		sim_node_retire(node);
	sim_control(sim, verb, body, NULL);
	if (revoke && rng_below(&sim->rng, 2))
		sim_control(sim, "node.rm", body, NULL);
}

static void order_rollout(struct sim *sim, uint32_t deployment)
{
	static const char *const verbs[] = {"rollout.pause", "rollout.resume", "rollout.promote",
					    "rollout.abort", "rollout.retry", "rollout.resume",
					    "rollout.undo"};
	char id[ROLLOUT_ID_TEXT_MAX], body[128];
	const char *verb = verbs[rng_below(&sim->rng, ARRAY_SIZE(verbs))];

	if (!watch_rollout(sim, deployment, id))
		return;
	snprintf(body, sizeof(body), "{\"rollout\":\"%s\",\"full\":%s}", id,
		 rng_below(&sim->rng, 3) ? "false" : "true");
	sim_control(sim, verb, body, NULL);
}

void sim_operator_acts(struct sim *sim)
{
	struct sim_event next = {.kind = SIM_OPERATOR};
	uint32_t d = (uint32_t)rng_below(&sim->rng, SIM_DEPLOYMENTS);
	uint64_t choice = rng_below(&sim->rng, 16);

	if (choice < 7)
		order_rollout(sim, d);
	else if (choice < 9)
		sim_apply(sim, sim_draw_version(sim, d), true, false);
	else if (choice < 12)
		sim_apply(sim, sim_draw_version(sim, d), false, false);
	else if (choice < 15)
		order_node(sim);
	else if (rng_below(&sim->rng, 3))
		sim_control(sim, rng_below(&sim->rng, 2) ? "freeze" : "unfreeze", "{}", NULL);
	else {
		sim->acked[1][0] = '\0';
		sim_control(sim, "deployment.rm", "{\"deployment\":\"k\"}", NULL);
	}
	sim_push(sim, sim_between(sim, 1000, 2 * sim->weather.operator_gap_ms), &next);
}

/* ---- in peace ---- */

static void help(struct sim *sim, uint32_t deployment)
{
	static const char *const tries[] = {"rollout.resume", "rollout.promote", "rollout.resume",
					    "rollout.promote", "rollout.abort"};
	const char *state = watch_state(sim, deployment);
	unsigned *persons = &sim->persons[deployment];
	char id[ROLLOUT_ID_TEXT_MAX], body[128];
	const char *verb = "";

	if (str_equal(state, "paused"))
		verb = tries[*persons < ARRAY_SIZE(tries) ? *persons : ARRAY_SIZE(tries) - 1];
	else if (str_equal(state, "stuck") && *persons == 0)
		verb = "rollout.retry";
	if (!verb[0] || !watch_rollout(sim, deployment, id))
		return;
	++*persons;
	snprintf(body, sizeof(body), "{\"rollout\":\"%s\"}", id);
	sim_control(sim, verb, body, NULL);
}

void sim_person_helps(struct sim *sim)
{
	struct sim_event next = {.kind = SIM_PERSON};

	for (uint32_t d = 0; d < SIM_DEPLOYMENTS; d++)
		help(sim, d);
	sim_push(sim, 45000, &next);
}
