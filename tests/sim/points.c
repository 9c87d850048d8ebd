/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named points: the phase of a deployment on a node, or the state of a rollout at the coordinator,
 * and the moment in the handling of an event: before it, before or while it is written down, when
 * it is written down and nothing was done about it, after all of it. With --kills a process is
 * killed at these points, each of them about as often as the others; with --cuts whole machines
 * lose their power, at any write.
 */
#include "sim.h"

#include "base/str.h"

enum { COMMIT_WRITES = 4 };

static unsigned *least_killed(struct sim *sim, unsigned phase, enum sim_moment *ret_moment)
{
	uint64_t first = rng_below(&sim->rng, MOMENT_COUNT - MOMENT_BEFORE);
	enum sim_moment least = MOMENT_BEFORE + (enum sim_moment)first;

	for (enum sim_moment m = MOMENT_BEFORE; m < MOMENT_COUNT; m++)
		if (sim->kills_at[m][phase] < sim->kills_at[least][phase])
			least = m;
	*ret_moment = least;
	return &sim->kills_at[least][phase];
}

static void die_at(struct sim_doom *doom, struct storage *storage, enum sim_moment moment,
		   uint64_t writes)
{
	doom->cut = PLATTER_KILL;
	switch (moment) {
	case MOMENT_WRITES:
		platter_arm(storage_platter(storage), PLATTER_KILL, 1);
		break;
	case MOMENT_COMMIT:
		platter_arm(storage_platter(storage), PLATTER_KILL, 1 + writes);
		break;
	case MOMENT_BEFORE: /* whatever it does is not there */
		platter_cut(storage_platter(storage), PLATTER_KILL);
		break;
	case MOMENT_WRITTEN:
		doom->mute = true;
		break;
	case MOMENT_DONE:
	case MOMENT_NONE:
	case MOMENT_COUNT:
		break;
	}
	doom->now = true;
}

/* Often where it was seldom done in this run. */
static bool is_drawn(struct sim *sim, unsigned done)
{
	uint64_t seldom = (uint64_t)(1 + done) * (1 + done) * (1 + done);

	return rng_below(&sim->rng, 10 * seldom) < 4;
}

static void maybe_die(struct sim *sim, struct sim_doom *doom, struct storage *storage,
		      unsigned phase)
{
	enum sim_moment moment;
	unsigned *count = least_killed(sim, phase, &moment);

	if (doom->now || !is_drawn(sim, *count))
		return;
	++*count;
	die_at(doom, storage, moment, rng_below(&sim->rng, COMMIT_WRITES));
}

void point_of_node(struct sim_node *node)
{
	struct sim *sim = node->sim;

	if (!sim->options.kills || sim->quiet || !node->agent)
		return;
	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++)
		maybe_die(sim, &node->doom, node->storage, node->places[d].phase);
}

void point_of_coordinator(struct sim *sim)
{
	if (!sim->options.kills || sim->quiet || !sim->coordinator)
		return;
	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++)
		for (unsigned s = 0; s < ROLLOUT_STATE_COUNT; s++)
			if (str_equal(watch_state(sim, d), rollout_state_name((enum rollout_state)s)))
				maybe_die(sim, &sim->doom, sim->storage, DEPLOY_PHASE_COUNT + s);
}

bool point_passed(const struct sim_doom *doom, struct storage *storage)
{
	return storage && (doom->mute || platter_is_dark(storage_platter(storage)));
}

void point_power_cut(struct sim *sim)
{
	uint64_t machine = rng_below(&sim->rng, sim->joined_count + 1);
	uint64_t changes = sim_between(sim, 1, 60);
	struct sim_node *node;

	if (machine == sim->joined_count) {
		if (sim->coordinator && !sim->doom.now)
			platter_arm(storage_platter(sim->storage), PLATTER_POWER, changes);
		return;
	}
	node = &sim->nodes[machine];
	if (node->agent && !node->doom.now)
		platter_arm(storage_platter(node->storage), PLATTER_POWER, changes);
}

static const char *name_of(unsigned phase)
{
	return phase < DEPLOY_PHASE_COUNT
		       ? deploy_phases[phase].text
		       : rollout_state_name((enum rollout_state)(phase - DEPLOY_PHASE_COUNT));
}

unsigned points_print(const unsigned counts[MOMENT_COUNT][DEPLOY_PHASE_COUNT + ROLLOUT_STATE_COUNT])
{
	unsigned sum = 0;

	printf("# %-24s %8s %8s %8s %8s %8s\n", "kills", "before", "writes", "commit", "written",
	       "done");
	for (unsigned phase = 0; phase < DEPLOY_PHASE_COUNT + ROLLOUT_STATE_COUNT; phase++) {
		printf("# %-7s %-16s", phase < DEPLOY_PHASE_COUNT ? "node" : "rollout",
		       name_of(phase));
		for (enum sim_moment m = MOMENT_BEFORE; m < MOMENT_COUNT; m++) {
			printf(" %8u", counts[m][phase]);
			sum += counts[m][phase];
		}
		putchar('\n');
	}
	return sum;
}
