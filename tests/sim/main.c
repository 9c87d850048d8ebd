/* SPDX-License-Identifier: Apache-2.0 */
/*
 * covey-sim [--seed N] [--count N] [--nodes N] [--twice] [--trace]: runs seeds N, N+1, ... Each run:
 * a fleet is installed, then changed to another version under faults, then left in peace. A seed
 * that fails is printed with the command that replays it.
 */
#include "sim.h"

#include "base/str.h"

#include <getopt.h>

enum { INSTALL_MS = 900000, FAULTS_MS = 600000, QUIET_MS = 4 * 3600000, SETTLE_MS = 400000 };

struct totals {
	unsigned ends[SIM_END_COUNT];
	uint64_t events;
};

static void mend(struct sim *sim)
{
	sim->quiet = true;
	sim->statement_left = 0;
	sim_coordinator_start(sim);
	for (uint32_t i = 0; i < sim->nodes_count; i++) {
		sim->nodes[i].cut_to = sim->nodes[i].cut_from = false;
		sim_node_start(&sim->nodes[i]);
	}
}

static void trouble(struct sim *sim)
{
	struct sim_event fault = {.kind = SIM_FAULT}, operator= {.kind = SIM_OPERATOR};

	sim->quiet = false;
	sim_push(sim, rng_below(&sim->rng, 10000), &fault);
	if (rng_below(&sim->rng, 2))
		sim_push(sim, 30000 + rng_below(&sim->rng, 120000), &operator);
}

static int end_of(const char *state)
{
	static const char *const names[SIM_END_COUNT] = {"completed", "rolled_back", "aborted",
							 "stuck", "paused"};

	for (int i = 0; i < SIM_END_COUNT; i++)
		if (str_equal(names[i], state))
			return i;
	return -1;
}

/* The release that was completed last: what an end other than completed leaves behind. */
static uint32_t base_version(struct sim *sim)
{
	uint32_t version = 0;
	const char *at;

	if (sim_control(sim, "deployment.show", "{\"deployment\":\"m\"}", NULL) ||
	    !(at = strstr(sim->reply.body, "\"base\"")))
		return version;
	for (uint32_t v = 0; v < SIM_VERSIONS; v++)
		if (strncmp(strstr(at, "m@"), sim->versions[v].name,
			    strlen(sim->versions[v].name)) == 0)
			version = v;
	return version;
}

static void run_phases(struct sim *sim, char ret_state[32])
{
	sim_run(sim, sim->now_ms + 10000, false);
	if (sim_apply(sim, 0, false))
		sim_break(sim, "the first apply: %s", sim->reply.error);
	sim_run(sim, sim->now_ms + INSTALL_MS, true);
	sim_rollout(sim, ret_state, NULL);
	if (!sim->broken[0] && !str_equal(ret_state, "completed"))
		sim_break(sim, "the first install ended %s", ret_state);
	if (sim->broken[0] || !sim->options.faults)
		return;
	sim_apply(sim, 1 + (uint32_t)rng_below(&sim->rng, SIM_VERSIONS - 1), false);
	trouble(sim);
	sim_run(sim, sim->now_ms + FAULTS_MS, false);
	mend(sim);
	sim_run(sim, sim->now_ms + QUIET_MS, true);
	sim_rollout(sim, ret_state, NULL);
	if (!sim->broken[0] && end_of(ret_state) < 0)
		sim_break(sim, "the rollout did not end in %d h of peace: it is %s",
			  QUIET_MS / 3600000, ret_state);
	sim_run(sim, sim->now_ms + SETTLE_MS, false);
	sim_rollout(sim, ret_state, NULL);
	if (!sim->broken[0])
		sim_check_end(sim, ret_state, base_version(sim));
}

static bool run_seed(const struct sim_options *options, struct totals *totals, uint64_t *ret_hash)
{
	struct sim *sim;
	char state[32] = "";
	bool good;
	int r = sim_create(options, &sim);

	if (r < 0)
		sim_break(sim, "the fleet cannot be set up: %s", strerror(-r));
	else
		run_phases(sim, state);
	good = !sim->broken[0];
	if (!good)
		printf("# seed %llu, %u nodes: %s\n#   covey-sim --seed %llu --nodes %u --trace\n",
		       (unsigned long long)options->seed, sim->nodes_count, sim->broken,
		       (unsigned long long)options->seed, options->nodes);
	else
		totals->ends[end_of(state)]++;
	totals->events += sim->events;
	*ret_hash = sim->hash;
	sim_free(sim);
	return good;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"seed", 1, NULL, 's'},	 {"count", 1, NULL, 'c'}, {"nodes", 1, NULL, 'n'},
		{"twice", 0, NULL, '2'}, {"trace", 0, NULL, 't'}, {NULL, 0, NULL, 0}};
	struct sim_options options = {.seed = 1, .faults = true};
	struct totals totals = {0};
	unsigned long count = 1, failed = 0;
	bool twice = false;
	int option;

	while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (option == 's')
			options.seed = strtoull(optarg, NULL, 10);
		else if (option == 'c')
			count = strtoul(optarg, NULL, 10);
		else if (option == 'n')
			options.nodes = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == '2')
			twice = true;
		else if (option == 't')
			options.trace = true;
		else
			return 2;
	}
	for (unsigned long i = 0; i < count; i++, options.seed++) {
		uint64_t hash, again;

		if (!run_seed(&options, &totals, &hash)) {
			failed++;
			continue;
		}
		if (twice && run_seed(&options, &totals, &again) && again != hash) {
			printf("# seed %llu: two runs differ\n", (unsigned long long)options.seed);
			failed++;
		}
	}
	printf("# %lu seeds: %u completed, %u rolled back, %u aborted, %u stuck, %u paused; "
	       "%llu events\n", count, totals.ends[SIM_COMPLETED], totals.ends[SIM_ROLLED_BACK],
	       totals.ends[SIM_ABORTED], totals.ends[SIM_STUCK], totals.ends[SIM_PAUSED],
	       (unsigned long long)totals.events);
	printf("1..1\n%s 1 - %lu seeds, %lu failed\n", failed ? "not ok" : "ok", count, failed);
	return failed ? 1 : 0;
}
