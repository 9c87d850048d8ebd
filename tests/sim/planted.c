/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each thing that the watch promises to find is planted once: in the made-up world (disk.c,
 * helper.c, node.c ask planted()), in a message on its way, or in a state that the watch looks at.
 * It must be found within some seeds, by the sentence that is meant.
 */
#include "sim.h"

#include "base/mem.h"
#include "base/str.h"
#include "coordinator/rollouts.h"

enum { SEEDS = 60, NODES = 14, FIRST_ON_DISK = 23 };

static const struct {
	const char *name, *sentence;
} bugs[] = {
	{"unverified chunk", "of which a chunk is not what its digest says"},
	{"unsealed", "which is not sealed"},
	{"pruned", "which a slot runs"},
	{"smoke unheard", "which never passed its smoke tests here"},
	{"lost veto", "again, which it rolled back"},
	{"agent journal", "journal and memory differ"},
	{"coordinator journal", "memory and journal differ"},
	{"two switches", "switches two deployments at once"},
	{"two owners", "change the same node at once"},
	{"places", "in change"},
	{"silent change", "was changed by no event"},
	{"everybody goes", "are out of service through changes"},
	{"stranger", "neither the old nor the new release"},
	{"wrong base", "is the old release, which is"},
	{"after the gate", "is let go although the rollout goes back"},
	{"older", "an older desired state than"},
	{"two meanings", "means two things"},
	{"map ignored", "does not serve what was completed last"},
	{"no word", "did not end in"},
	{"reason", "without a reason"},
	{"no sleep", "time stands still"},
	{"stubborn node", "do not know the same"},
	{"said twice", "observations, and its servers said"},
	{"never synced", "has lost"}, /* from here on with files and power cuts */
};

bool planted(const struct sim *sim, const char *name)
{
	return sim->options.planted && str_equal(sim->options.planted, name);
}

/* ---- desired states ---- */

static void plant_assignment(struct sim *sim, struct assignment *a)
{
	uint32_t d = str_equal(a->deployment, sim_deployments[1]);

	if (!digest_is_zero(&a->next))
		sim->planted_next[d] = a->next;
	if (planted(sim, "stranger") && !digest_is_zero(&a->next))
		a->next = sim->versions[d ? 11 : 7].digest;
	if (planted(sim, "wrong base") && !digest_is_zero(&a->base))
		a->base = sim->versions[d ? 11 : 7].digest;
	if (planted(sim, "two meanings"))
		a->drain_ms = sim->events;
	if (planted(sim, "after the gate") && a->revert) {
		a->revert = false;
		a->goal = GOAL_SERVE;
		a->next = sim->planted_next[d];
		a->attempt++;
	}
}

void planted_early(struct sim *sim, struct sim_node *node, struct desired_state *desired)
{
	if (!sim->options.planted)
		return;
	for (size_t i = 0; i < desired->assignments_count; i++)
		plant_assignment(sim, &desired->assignments[i]);
	if (planted(sim, "older") && node->sent_count > 2)
		desired->generation -= 3600000;
}

bool planted_late(struct sim *sim, struct desired_state *desired)
{
	if (!planted(sim, "everybody goes") || sim->quiet)
		return false;
	for (size_t i = 0; i < desired->assignments_count; i++) {
		struct assignment *a = &desired->assignments[i];

		if (digest_is_zero(&a->next) || digest_is_zero(&a->base))
			continue;
		a->goal = GOAL_SERVE;
		a->swap = SWAP_STOP_FIRST;
	}
	return true;
}

/* ---- states ---- */

/* Rollouts that are under way and have let somebody go. */
static size_t moving(const struct sim *sim, struct rollout *ret_machines[SIM_DEPLOYMENTS])
{
	size_t count = 0;

	for (size_t i = 0; sim->coordinator && i < sim->coordinator->rollouts_count; i++) {
		struct rollout *machine = sim->coordinator->rollouts[i]->machine;

		if (machine->state != ROLLOUT_PLANNED && !rollout_state_is_final(machine->state) &&
		    !digest_is_zero(&machine->from))
			ret_machines[count++] = machine;
	}
	return count;
}

static void take_place(struct rollout_node *node)
{
	node->told = node->changed = node->place = true;
}

static void plant_owners(struct sim *sim, struct rollout *const *machines)
{
	for (uint32_t i = 0; i < machines[0]->nodes_count; i++) {
		uint32_t other = rollout_find(machines[1], &machines[0]->nodes[i].id);

		if (other == ROLLOUT_NO_NODE)
			continue;
		take_place(&machines[0]->nodes[i]);
		take_place(&machines[1]->nodes[other]);
		watch_coordinator(sim);
		return;
	}
}

static void plant_machine(struct sim *sim)
{
	struct rollout *machines[SIM_DEPLOYMENTS];
	size_t count = moving(sim, machines);

	if (count == 0 || sim->crash_wanted)
		return;
	if (planted(sim, "coordinator journal")) {
		machines[0]->nodes[0].attempt++;
		watch_store(sim);
	}
	if (planted(sim, "places"))
		for (size_t i = 0; i < machines[0]->nodes_count; i++)
			take_place(&machines[0]->nodes[i]);
	if (planted(sim, "silent change")) {
		machines[0]->changes++;
		watch_coordinator(sim);
	}
	if (planted(sim, "two owners") && count > 1)
		plant_owners(sim, machines);
}

void planted_step(struct sim *sim)
{
	if (!sim->options.planted || sim->quiet || sim->broken[0])
		return;
	plant_machine(sim);
	for (uint32_t i = 0; i < sim->nodes_count; i++)
		planted_node(&sim->nodes[i]);
}

/* ---- the test ---- */

static bool is_found(size_t bug, struct sim_result *ret_result)
{
	bool on_disk = bug >= FIRST_ON_DISK;
	struct sim_options options = {.nodes = NODES,
				      .planted = bugs[bug].name,
				      .on_disk = on_disk,
				      .cuts = on_disk};

	for (options.seed = 1; options.seed <= SEEDS; options.seed++) {
		sim_seed(&options, ret_result);
		if (!ret_result->good && strstr(ret_result->broken, bugs[bug].sentence))
			return true;
	}
	STR_CUT(ret_result->broken, "nothing was found");
	return false;
}

/* A run that does not repeat itself is told by its hash. */
static bool hash_tells(void)
{
	struct sim_options options = {.seed = 1, .nodes = NODES, .planted = "not repeated"};
	struct sim_result one, other;

	sim_seed(&options, &one);
	sim_seed(&options, &other);
	return one.hash != other.hash;
}

int planted_run(void)
{
	size_t count = ARRAY_SIZE(bugs), failed = 0;
	struct sim_result result;
	bool found;

	printf("1..%zu\n", count + 1);
	for (size_t i = 0; i < count; i++) {
		found = is_found(i, &result);
		failed += !found;
		printf("%s %zu - %s: %s\n", found ? "ok" : "not ok", i + 1, bugs[i].name,
		       result.broken);
		fflush(stdout);
	}
	found = hash_tells();
	failed += !found;
	printf("%s %zu - a run that does not repeat itself\n", found ? "ok" : "not ok", count + 1);
	return failed ? 1 : 0;
}
