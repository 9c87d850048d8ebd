/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: takes the next event, hands it to whom it is for, lets the watch look. */
#include "sim.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/message.h"

#include <stdarg.h>

bool sim_chance(struct sim *sim, double share)
{
	return !sim->quiet && share > 0 && rng_unit(&sim->rng) < share;
}

uint64_t sim_delay(struct sim *sim)
{
	if (sim_chance(sim, sim->weather.late))
		return sim_between(sim, 1000, 30000);
	return sim_between(sim, 1, 40);
}

void sim_hash(struct sim *sim, const void *data, size_t size)
{
	const uint8_t *bytes = data;
	uint64_t word;

	for (; size >= sizeof(word); bytes += sizeof(word), size -= sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		sim->hash = (sim->hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		sim->hash ^= sim->hash >> 29;
	}
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
	printf("%10.3f ", (double)(sim->now_ms - SIM_EPOCH_MS) / 1000);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

/* ---- what is not for a node's agent ---- */

/* What a planted bug loses. */
static bool is_swallowed(const struct sim *sim)
{
	return sim->quiet && sim->has_trouble && planted(sim, "no word");
}

static void to_coordinator(struct sim *sim, struct sim_event *event)
{
	struct sim_node *node = &sim->nodes[event->node];
	bool stale = event->life == 0;

	if (!sim->coordinator || (!stale && (event->life != sim->coordinator_life || !node->link_up)))
		return;
	if (is_swallowed(sim))
		return;
	point_of_coordinator(sim);
	coordinator_on_agent(sim->coordinator, &node->id, "", event->data.data,
			     event->data.size);
	sim_coordinator_settle(sim);
}

static void data_get(struct sim *sim, struct sim_event *event)
{
	struct sim_node *node = &sim->nodes[event->node];
	struct sim_event answer = {.kind = SIM_OBJECT, .node = event->node, .life = event->life};

	if (!sim->coordinator || sim->now_ms < node->cut_to_ms || sim->now_ms < node->cut_from_ms)
		return;
	coordinator_on_data(sim->coordinator, &node->id, event->data.data, event->data.size,
			    &answer.data);
	if (sim_coordinator_settle(sim))
		free(answer.data.data);
	else if (answer.data.size > 0)
		sim_push(sim, sim_delay(sim), &answer);
}

static void coordinator_tick_at(struct sim *sim, const struct sim_event *event)
{
	if (!sim->coordinator || event->life != sim->coordinator_life ||
	    event->id != sim->coordinator_armed_ms || is_swallowed(sim))
		return;
	sim->coordinator_armed_ms = UINT64_MAX;
	point_of_coordinator(sim);
	coordinator_tick(sim->coordinator);
	sim_coordinator_settle(sim);
}

static void join_late(struct sim *sim, const struct sim_event *event)
{
	struct sim_event next = {.kind = SIM_JOIN};

	if (event->life > 0) {
		sim_join_again(&sim->nodes[event->node]);
		return;
	}
	(void)!sim_join(sim);
	if (sim->joined_count < sim->nodes_count)
		sim_push(sim, sim->quiet ? 2000 : sim_between(sim, 1000, 60000), &next);
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
		coordinator_tick_at(sim, event);
		break;
	case SIM_FAULT:
		if (!sim->quiet)
			sim_fault(sim);
		break;
	case SIM_OPERATOR:
		if (!sim->quiet)
			sim_operator_acts(sim);
		break;
	case SIM_PERSON:
		sim_person_helps(sim);
		break;
	case SIM_JOIN:
		join_late(sim, event);
		break;
	case SIM_TO_NODE:
	case SIM_OBJECT:
	case SIM_HELPER:
	case SIM_HELPER_UP:
	case SIM_PROBE:
	case SIM_SMOKE:
	case SIM_SOURCE:
	case SIM_AGENT_TICK:
	case SIM_AGENT_START:
	case SIM_LINK_UP:
	case SIM_RELINK:
	case SIM_EXIT:
		sim_node_event(&sim->nodes[event->node], event);
		break;
	}
}

void sim_step(struct sim *sim, struct sim_event *event)
{
	static uint64_t runs; /* over all runs of the process */
	uint64_t head[3] = {event->at_ms, (uint64_t)event->kind, event->node};

	sim->still = event->at_ms > sim->now_ms ? 0 : sim->still + 1;
	if (sim->still > 200 * (uint64_t)sim->nodes_count)
		sim_break(sim, "time stands still: event %d of %s", (int)event->kind,
			  sim->nodes[event->node].name);
	sim->now_ms = event->at_ms > sim->now_ms ? event->at_ms : sim->now_ms;
	sim_hash(sim, head, sizeof(head));
	sim_hash(sim, event->data.data, event->data.size);
	runs++;
	if (planted(sim, "not repeated"))
		sim_hash(sim, &runs, sizeof(runs));
	dispatch(sim, event);
	planted_step(sim);
	sim_event_free(event);
	sim->events++;
	if (sim->events % 64 == 0)
		watch_journal(&sim->nodes[sim->events / 64 % sim->nodes_count]);
	if (sim->events % (SIM_CHECK_EVERY * (uint64_t)sim->nodes_count) == 0)
		watch_store(sim);
}

void sim_run(struct sim *sim, uint64_t until_ms, bool until_ended)
{
	struct sim_event event;
	uint64_t asked_ms = sim->now_ms;

	while (!sim->broken[0] && sim->queue_count > 0 && sim->queue[0].at_ms <= until_ms) {
		if (!sim_pop(sim, &event))
			break;
		sim_step(sim, &event);
		if (!until_ended || sim->now_ms < asked_ms + 2000)
			continue;
		asked_ms = sim->now_ms;
		if (sim->joined_count == sim->nodes_count && watch_ended(sim))
			break;
	}
	if (sim->now_ms < until_ms && !until_ended)
		sim->now_ms = until_ms;
}
