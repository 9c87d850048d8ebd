/* SPDX-License-Identifier: Apache-2.0 */
/* Bugs planted in the memory of an agent, behind its back. See planted.c. */
#include "sim.h"

#include "agent/shell.h"

static struct deploy *deploy_at(const struct sim_node *node, size_t i)
{
	return (struct deploy *)node_core_at(node->agent->core, i);
}

static void plant_switches(struct sim_node *node)
{
	struct deploy *first = deploy_at(node, 0), *second = deploy_at(node, 1);
	enum deploy_phase phase = second->record.phase;

	if (!deploy_switches(first))
		return;
	second->record.phase = DEPLOY_SWITCHING;
	watch_node(node);
	second->record.phase = phase;
}

void planted_node(struct sim_node *node)
{
	size_t count = node->agent ? node_core_count(node->agent->core) : 0;

	if (count > 0 && planted(node->sim, "lost veto"))
		deploy_at(node, 0)->record.vetoes_count = 0;
	if (count > 0 && planted(node->sim, "agent journal")) {
		deploy_at(node, 0)->record.reboots++;
		watch_journal(node);
	}
	if (count > 1 && planted(node->sim, "two switches"))
		plant_switches(node);
}
