/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model servers that say what they do, on a few nodes of each fleet. Every request is good, so that
 * nothing is decided from it; what is checked is the counting: whatever is lost, doubled or late on
 * the way, the coordinator must never have more of a node than its servers said.
 */
#include "sim.h"

#include "base/str.h"
#include "evidence/record.h"
#include "protocol/codec_tables.h"

static struct sim_slot *slot_of(struct sim_node *node, uint64_t handle)
{
	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++)
		for (unsigned c = 0; c < COLOUR_COUNT; c++)
			if (node->places[d].slots[c].handle == handle)
				return &node->places[d].slots[c];
	return NULL;
}

int sim_observe_open(void *context, const char *deployment, enum colour colour, uint64_t handle)
{
	struct sim_node *node = context;

	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++)
		if (str_equal(sim_deployments[d], deployment))
			node->places[d].slots[colour].handle = handle;
	return 0;
}

ssize_t sim_observe_read(void *context, uint64_t handle, void *data, size_t size)
{
	struct sim_node *node = context;
	struct sim_slot *slot = handle == 0 ? NULL : slot_of(node, handle);
	int length;

	if (!slot || slot->waiting == 0)
		return -EAGAIN;
	length = snprintf(data, size, "status=200 latency_ms=3 n=%u", (unsigned)slot->waiting);
	if (!planted(node->sim, "said twice") || rng_below(&node->sim->rng, 2) == 0)
		slot->waiting = 0;
	return length;
}

void sim_observe_close(void *context, uint64_t handle)
{
	struct sim_slot *slot = handle == 0 ? NULL : slot_of(context, handle);

	if (slot)
		slot->handle = 0;
}

void sim_talk(struct sim_node *node)
{
	if (node->index >= SIM_TALKERS)
		return;
	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++)
		for (unsigned c = 0; c < COLOUR_COUNT; c++) {
			struct sim_slot *slot = &node->places[d].slots[c];

			if (!slot->running || slot->handle == 0 || slot->waiting > 0)
				continue;
			slot->waiting = (uint32_t)sim_between(node->sim, 1, 9);
			node->said += slot->waiting;
			(void)!agent_on_observed(node->agent, slot->handle);
		}
}

struct heard {
	struct sim *sim;
	uint64_t ok[SIM_TALKERS];
};

static int add(void *arg, const struct store_observation *row)
{
	struct observation_record record;
	struct heard *heard = arg;

	if (codec_decode(&codec_observation_record, row->record.data, row->record.size, &record,
			 NULL) < 0) {
		sim_break(heard->sim, "an observation does not decode");
		return -EBADMSG;
	}
	for (uint32_t i = 0; i < SIM_TALKERS && i < heard->sim->nodes_count; i++)
		if (node_id_equal(&heard->sim->nodes[i].id, &row->node))
			heard->ok[i] += record.counts.ok;
	codec_free(&codec_observation_record, &record);
	return 0;
}

void watch_observed(struct sim *sim)
{
	struct heard heard = {.sim = sim};
	uint64_t said = 0, arrived = 0;

	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++)
		(void)!sim->store->ops->observation_each(sim->store, sim_deployments[d], 0,
							 UINT32_MAX, add, &heard, NULL);
	for (uint32_t i = 0; i < SIM_TALKERS && i < sim->nodes_count; i++) {
		const struct sim_node *node = &sim->nodes[i];

		said += node->said;
		arrived += heard.ok[i];
		if (heard.ok[i] > node->said)
			sim_break(sim, "of %s there are %llu observations, and its servers said %llu",
				  node->name, (unsigned long long)heard.ok[i],
				  (unsigned long long)node->said);
	}
	if (said > 10000 && arrived == 0 && !sim->has_backup)
		sim_break(sim, "of %llu observations none arrived", (unsigned long long)said);
}
