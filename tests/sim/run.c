/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop, what goes wrong, what an operator does meanwhile, and what must hold. The first half of
 * a run has faults; in the second all is mended and every rollout must come to an end.
 */
#include "sim.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/message.h"

#include <stdarg.h>

enum { SIM_CHECK_EVERY = 4096 }; /* events between two comparisons of memory with the store */

bool sim_chance(struct sim *sim, double share)
{
	return !sim->quiet && rng_unit(&sim->rng) < share;
}

uint64_t sim_delay(struct sim *sim)
{
	if (sim_chance(sim, 0.02))
		return 1000 + rng_below(&sim->rng, 30000);
	return 1 + rng_below(&sim->rng, 40);
}

void sim_hash(struct sim *sim, const void *data, size_t size)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++)
		sim->hash = (sim->hash ^ bytes[i]) * UINT64_C(0x100000001b3);
}

void sim_break(struct sim *sim, const char *format, ...)
{
	va_list args;

	if (sim->broken[0])
		return;
	va_start(args, format);
	vsnprintf(sim->broken, sizeof(sim->broken), format, args);
	va_end(args);
	sim_trace(sim, "BROKEN: %s", sim->broken);
}

void sim_trace(struct sim *sim, const char *format, ...)
{
	va_list args;

	if (!sim->options.trace)
		return;
	printf("%10.3f ", (double)(sim->now_ms - UINT64_C(1800000000000)) / 1000);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

/* ---- what goes wrong ---- */

static void fault(struct sim *sim)
{
	struct sim_node *node = &sim->nodes[rng_below(&sim->rng, sim->nodes_count)];
	struct sim_event next = {.kind = SIM_FAULT};

	switch (rng_below(&sim->rng, 8)) {
	case 0:
	case 1:
		sim_node_crash(node);
		break;
	case 2:
		sim_node_reboot(node);
		break;
	case 3:
		sim_coordinator_crash(sim);
		break;
	case 4: /* between two statements of the next changes */
		sim->statement_left = 1 + rng_below(&sim->rng, 40);
		break;
	case 5: /* one-way or both */
		node->cut_to = rng_below(&sim->rng, 2);
		node->cut_from = !node->cut_to || rng_below(&sim->rng, 2);
		sim_trace(sim, "%s is cut%s%s", node->name, node->cut_to ? " to" : "",
			  node->cut_from ? " from" : "");
		break;
	default:
		node->cut_to = node->cut_from = false;
		break;
	}
	sim_push(sim, rng_below(&sim->rng, 20000), &next);
}

static void operator_acts(struct sim *sim)
{
	static const char *const verbs[] = {"rollout.pause", "rollout.resume", "rollout.promote",
					    "rollout.abort", "rollout.retry", "rollout.resume"};
	struct sim_event next = {.kind = SIM_OPERATOR};
	char state[32], id[ROLLOUT_ID_TEXT_MAX] = "", body[128];
	uint64_t choice = rng_below(&sim->rng, 12);

	sim_rollout(sim, state, id);
	if (choice < ARRAY_SIZE(verbs) && id[0]) {
		snprintf(body, sizeof(body), "{\"rollout\":\"%s\"}", id);
		sim_control(sim, verbs[choice], body, NULL);
	} else if (choice == 6) {
		sim_apply(sim, (uint32_t)rng_below(&sim->rng, SIM_VERSIONS), true);
	} else if (choice == 7) {
		sim_apply(sim, (uint32_t)rng_below(&sim->rng, 2), false);
	}
	sim_push(sim, 20000 + rng_below(&sim->rng, 120000), &next);
}

/* ---- what must hold ---- */

/* The node's own word on what it rolled back, for the check at the next start. */
static void note_outcomes(struct sim *sim, struct sim_node *node)
{
	struct node_status status;

	if (!node->agent)
		return;
	agent_status(node->agent, &status);
	for (size_t i = 0; i < status.deployments_count; i++) {
		const struct outcome *last = &status.deployments[i].last;
		int v = sim_version_of(sim, &last->release);

		if (v >= 0 && last->kind == OUTCOME_ROLLED_BACK &&
		    !str_equal(last->reason.phase, "coordinator"))
			node->vetoed[v] = last->attempt + 1;
	}
	codec_free(&codec_node_status, &status);
}

static void check_node(struct sim *sim, struct sim_node *node)
{
	const struct sim_slot *slot = &node->slots[node->route];

	if (node->route_open && !slot->exists && sim->quiet)
		sim_trace(sim, "%s routes to an empty slot", node->name);
}

static void check(struct sim *sim)
{
	struct err err = {0};
	int r;

	if (!sim->coordinator || sim->crash_wanted)
		return;
	r = coordinator_check(sim->coordinator, &err);
	if (r < 0)
		sim_break(sim, "coordinator: %s", err_text(&err, r));
}

void sim_check_end(struct sim *sim, const char *state, uint32_t from)
{
	bool forward = str_equal(state, "completed");
	uint32_t want = forward ? sim->to : from;

	if (str_equal(state, "stuck") || str_equal(state, "paused"))
		return;
	for (uint32_t i = 0; i < sim->nodes_count; i++) {
		struct sim_node *node = &sim->nodes[i];
		const struct sim_slot *slot = &node->slots[node->route];

		if (node->vetoed[want] || node->vetoed[sim->to])
			continue; /* it keeps what answers: product.md, node veto */
		if (!node->route_open || !slot->running)
			sim_break(sim, "%s serves nothing after %s", node->name, state);
		else if (slot->version != want)
			sim_break(sim, "%s serves %s after %s, not %s", node->name,
				  sim->versions[slot->version].name, state,
				  sim->versions[want].name);
	}
}

/* ---- the loop ---- */

static void to_coordinator(struct sim *sim, struct sim_event *event)
{
	struct sim_node *node = &sim->nodes[event->node];

	if (!sim->coordinator || event->life != sim->coordinator_life || !node->link_up)
		return;
	coordinator_on_agent(sim->coordinator, &node->id, event->data.data, event->data.size);
	sim_coordinator_settle(sim);
}

static void data_get(struct sim *sim, struct sim_event *event)
{
	struct sim_node *node = &sim->nodes[event->node];
	struct sim_event answer = {.kind = SIM_OBJECT, .node = event->node, .life = event->life};

	if (!sim->coordinator || node->cut_to || node->cut_from)
		return;
	coordinator_on_data(sim->coordinator, &node->id, event->data.data, event->data.size,
			    &answer.data);
	sim_coordinator_settle(sim);
	if (answer.data.size == 0)
		return;
	if (sim_chance(sim, 0.05)) /* the payload is at the end of the message */
		answer.data.data[answer.data.size - 1] ^= 0x20;
	sim_push(sim, sim_delay(sim), &answer);
}

static void dispatch(struct sim *sim, struct sim_event *event)
{
	switch (event->kind) {
	case SIM_TO_COORDINATOR:
		to_coordinator(sim, event);
		break;
	case SIM_DATA_GET:
		data_get(sim, event);
		break;
	case SIM_COORDINATOR_START:
		sim_coordinator_start(sim);
		break;
	case SIM_COORDINATOR_TICK:
		if (sim->coordinator && event->life == sim->coordinator_life &&
		    event->at_ms >= sim->coordinator_armed_ms) {
			sim->coordinator_armed_ms = UINT64_MAX;
			coordinator_tick(sim->coordinator);
			sim_coordinator_settle(sim);
		}
		break;
	case SIM_FAULT:
		if (!sim->quiet)
			fault(sim);
		break;
	case SIM_OPERATOR:
		if (!sim->quiet)
			operator_acts(sim);
		break;
	case SIM_TO_NODE:
	case SIM_OBJECT:
	case SIM_HELPER:
	case SIM_PROBE:
	case SIM_SMOKE:
	case SIM_SOURCE:
	case SIM_AGENT_TICK:
	case SIM_AGENT_START:
	case SIM_LINK_UP:
	case SIM_EXIT:
		sim_node_event(&sim->nodes[event->node], event);
		if (event->kind != SIM_PROBE && event->kind != SIM_AGENT_TICK)
			note_outcomes(sim, &sim->nodes[event->node]);
		check_node(sim, &sim->nodes[event->node]);
		break;
	}
}

void sim_step(struct sim *sim, struct sim_event *event)
{
	sim->now_ms = event->at_ms > sim->now_ms ? event->at_ms : sim->now_ms;
	sim_hash(sim, &event->at_ms, sizeof(event->at_ms));
	sim_hash(sim, &event->kind, sizeof(event->kind));
	sim_hash(sim, &event->node, sizeof(event->node));
	sim_hash(sim, event->data.data, event->data.size);
	dispatch(sim, event);
	free(event->data.data);
	if (event->reply)
		codec_free(&codec_helper_reply, event->reply);
	free(event->reply);
	if (++sim->events % SIM_CHECK_EVERY == 0)
		check(sim);
}

bool sim_rollout_ended(struct sim *sim)
{
	char state[32];

	sim_rollout(sim, state, NULL);
	return str_equal(state, "completed") || str_equal(state, "rolled_back") ||
	       str_equal(state, "aborted") || str_equal(state, "stuck") ||
	       str_equal(state, "paused");
}

void sim_run(struct sim *sim, uint64_t until_ms, bool until_ended)
{
	struct sim_event event;
	uint64_t asked_ms = sim->now_ms;

	while (!sim->broken[0] && sim->queue_count > 0 && sim->queue[0].at_ms <= until_ms) {
		if (!sim_pop(sim, &event))
			break;
		sim_step(sim, &event);
		if (!until_ended || sim->now_ms < asked_ms + 5000)
			continue;
		asked_ms = sim->now_ms;
		if (sim_rollout_ended(sim))
			break;
	}
	check(sim);
}
