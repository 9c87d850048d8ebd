/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each thing that the watch promises to find is planted once, in the made-up world or in a state
 * that the watch looks at, and must be found within some seeds, by the sentence that is meant.
 */
#include "sim.h"

#include "base/str.h"

bool planted(const struct sim *sim, const char *name)
{
	return sim->options.planted && str_equal(sim->options.planted, name);
}

void planted_early(struct sim *sim, struct sim_node *node, struct desired_state *desired)
{
}

bool planted_late(struct sim *sim, struct sim_node *node, struct desired_state *desired)
{
	return false;
}

void planted_step(struct sim *sim)
{
}

int planted_run(void)
{
	return 0;
}
