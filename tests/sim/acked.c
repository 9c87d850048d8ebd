/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the coordinator has acknowledged, remembered outside of it: to a node that its status is
 * committed, to an operator that a rollout is. After each start it must know as much.
 */
#include "sim.h"

#include "base/str.h"
#include "coordinator/rollouts.h"
#include "protocol/message.h"

#include <jansson.h>

void acked_message(struct sim_node *node, const struct bytes *data)
{
	const struct msg_ack *ack;
	struct message message;

	if (data->size < 2 || data->data[1] != MESSAGE_ACK ||
	    message_decode(data->data, data->size, CHANNEL_AGENTS, FROM_COORDINATOR, &message,
			   NULL) < 0)
		return;
	ack = message.body;
	if (ack->boot_epoch > node->acked_boot ||
	    (ack->boot_epoch == node->acked_boot && ack->sequence > node->acked_sequence)) {
		node->acked_boot = ack->boot_epoch;
		node->acked_sequence = ack->sequence;
	}
	message_free(&message);
}

void acked_apply(struct sim *sim, uint32_t deployment)
{
	json_t *reply = json_loads(sim->reply.body, 0, NULL);
	const char *id = json_string_value(json_object_get(reply, "rollout"));

	if (id)
		STR_CUT(sim->acked[deployment], id);
	json_decref(reply);
}

static void check_node(struct sim *sim, const struct sim_node *node)
{
	const struct shell_node *known = agents_find(sim->coordinator, &node->id);
	const struct node_status *status = known ? &known->status : NULL;

	if (!node->joined || node->retired || node->acked_sequence == 0)
		return;
	if (!known || !known->has_status || status->boot_epoch < node->acked_boot ||
	    (status->boot_epoch == node->acked_boot && status->sequence < node->acked_sequence))
		sim_break(sim, "the coordinator has lost the status of %s that it acknowledged",
			  node->name);
}

void acked_check(struct sim *sim)
{
	char body[64];

	for (uint32_t i = 0; sim->nodes && i < sim->nodes_count; i++)
		check_node(sim, &sim->nodes[i]);
	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++) {
		if (!sim->acked[d][0] || !sim->coordinator)
			continue;
		snprintf(body, sizeof(body), "{\"rollout\":\"%s\"}", sim->acked[d]);
		if (sim_control(sim, "rollout.show", body, NULL) == 1)
			sim_break(sim, "the coordinator has lost rollout %s that it acknowledged: %s",
				  sim->acked[d], sim->reply.error);
	}
}
