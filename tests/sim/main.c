/* SPDX-License-Identifier: Apache-2.0 */
/*
 * covey-sim [--seed N] [--count N] [--nodes N] [--twice] [--trace] [--disk] [--kills N] [--cuts N]
 * [--planted]: runs seeds N, N+1, ... In each a fleet is installed, changed under faults, then left in peace until all has ended.
 * --disk puts journals, chunk stores and the coordinator's database on files (storage.c); --kills and
 * --cuts do so too, with no other fault than kills at named points (points.c), or power cuts, until
 * there were N. A seed that fails is printed with the command that replays it. --planted runs the bugs of
 * planted.c instead, each of which must be found.
 */
#include "sim.h"

#include "base/log.h"
#include "base/str.h"

#include <ftw.h>
#include <getopt.h>
#include <sys/stat.h>

enum {
	START_MS = 10000,
	INSTALL_MS = 900000,
	PEACE_MS = 6 * 3600000, /* within it every rollout must end ... */
	SETTLE_MS = 900000,	/* ... and within this every node be as it says */
	LOOK_MS = 10000,
	FEW_NODES = 5,
	FAILED_MAX = 5, /* enough to look at */
};

static void trouble(struct sim *sim)
{
	struct sim_event fault = {.kind = SIM_FAULT}, operator= {.kind = SIM_OPERATOR},
			 join = {.kind = SIM_JOIN};

	sim_trace(sim, "---- trouble ----");
	sim->quiet = false;
	sim->has_trouble = true;
	sim_push(sim, rng_below(&sim->rng, 10000), &fault);
	sim_push(sim, rng_below(&sim->rng, 60000), &join);
	if (sim->weather.operator_acts)
		sim_push(sim, sim_between(sim, 5000, 120000), &operator);
}

static void install(struct sim *sim, uint32_t version)
{
	uint32_t d = sim->versions[version].deployment;
	uint64_t until = sim->now_ms + INSTALL_MS;

	if (sim->broken[0])
		return;
	if (sim_apply(sim, version, false, true))
		sim_break(sim, "the first apply: %s", sim->reply.error);
	while (!sim->broken[0] && sim->now_ms < until && !watch_ended(sim))
		sim_run(sim, sim->now_ms + 2000, false);
	if (!sim->broken[0] && !str_equal(watch_state(sim, d), "completed"))
		sim_break(sim, "the first install ended %s", watch_state(sim, d));
}

/* Everything must end, and every node be as the end says; then still be a while later. */
static void come_to_rest(struct sim *sim)
{
	char text[512];
	uint64_t until;

	sim_run(sim, sim->now_ms + PEACE_MS, true);
	if (!sim->broken[0] && !watch_ended(sim))
		sim_break(sim, "the rollouts did not end in %d h of peace: m is %s, k is %s",
			  PEACE_MS / 3600000, watch_state(sim, 0), watch_state(sim, 1));
	watch_store(sim);
	for (int again = 0; again < 2; again++) {
		until = sim->now_ms + SETTLE_MS;
		while (!sim->broken[0] && !watch_end(sim, text) && sim->now_ms < until)
			sim_run(sim, sim->now_ms + LOOK_MS, false);
		if (!sim->broken[0] && text[0])
			sim_break(sim, "%s", text);
		sim_run(sim, sim->now_ms + 3 * LOOK_MS, false);
	}
	if (!sim->broken[0])
		watch_observed(sim);
}

static void run_phases(struct sim *sim)
{
	sim_run(sim, sim->now_ms + START_MS, false);
	install(sim, 0);
	if (rng_below(&sim->rng, 2))
		install(sim, 8);
	sim_apply(sim, sim_draw_version(sim, 0), false, false);
	if (rng_below(&sim->rng, 2))
		sim_apply(sim, sim_draw_version(sim, 1), false, false);
	trouble(sim);
	sim_run(sim, sim->now_ms + sim_between(sim, 60000, 400000), false);
	if (sim->broken[0])
		return;
	sim_mend(sim);
	come_to_rest(sim);
}

static enum sim_end end_of(struct sim *sim)
{
	static const char *const names[SIM_END_COUNT] = {"completed", "rolled_back", "aborted",
							 "stuck"};

	for (int i = 0; i < SIM_END_COUNT; i++)
		if (str_equal(names[i], watch_state(sim, 0)))
			return (enum sim_end)i;
	sim_break(sim, "the rollout ended %s", watch_state(sim, 0));
	return SIM_STUCK;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void live(const struct sim_options *options, struct sim_result *ret_result)
{
	struct sim *sim;
	int r = sim_create(options, &sim);

	if (r < 0)
		sim_break(sim, "the fleet cannot be set up: %s", strerror(-r));
	else
		run_phases(sim);
	*ret_result = (struct sim_result){.events = sim->events,
					  .hash = sim->hash,
					  .nodes = sim->nodes_count,
					  .power_cuts = sim->power_cuts,
					  .end = SIM_STUCK};
	if (!sim->broken[0])
		ret_result->end = end_of(sim);
	STR_CUT(ret_result->broken, sim->broken);
	ret_result->good = !sim->broken[0];
	memcpy(ret_result->kills_at, sim->kills_at, sizeof(sim->kills_at));
	sim_free(sim);
}

void sim_seed(const struct sim_options *options, struct sim_result *ret_result)
{
	char dir[] = "/dev/shm/covey-sim-XXXXXX";
	struct sim_options own = *options;

	own.dir = own.on_disk ? mkdtemp(dir) : NULL;
	if (own.on_disk && !own.dir) {
		*ret_result = (struct sim_result){.broken = "no folder can be made in /dev/shm"};
		return;
	}
	live(&own, ret_result);
	if (own.dir)
		nftw(own.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- many ---- */

struct totals {
	unsigned ends[SIM_END_COUNT];
	uint64_t events;
	unsigned kills_at[MOMENT_COUNT][DEPLOY_PHASE_COUNT + ROLLOUT_STATE_COUNT];
	unsigned kills, cuts;
};

static void add(struct totals *totals, const struct sim_result *result)
{
	totals->events += result->events;
	totals->cuts += result->power_cuts;
	for (unsigned m = 0; m < MOMENT_COUNT; m++)
		for (unsigned p = 0; p < DEPLOY_PHASE_COUNT + ROLLOUT_STATE_COUNT; p++) {
			totals->kills_at[m][p] += result->kills_at[m][p];
			totals->kills += result->kills_at[m][p];
		}
	if (result->good)
		totals->ends[result->end]++;
}

static bool run_one(const struct sim_options *options, bool twice, struct totals *totals)
{
	const char *how = options->kills  ? "--kills 1 "
			  : options->cuts ? "--cuts 1 "
			  : options->on_disk ? "--disk "
					  : "";
	struct sim_result result, again;

	sim_seed(options, &result);
	add(totals, &result);
	if (!result.good) {
		printf("# seed %llu, %u nodes: %s\n#   covey-sim %s--seed %llu --nodes %u --trace\n",
		       (unsigned long long)options->seed, result.nodes, result.broken, how,
		       (unsigned long long)options->seed, options->nodes);
		fflush(stdout);
		return false;
	}
	if (!twice)
		return true;
	sim_seed(options, &again);
	if (again.good && again.hash == result.hash)
		return true;
	printf("# seed %llu, %u nodes: two runs differ\n", (unsigned long long)options->seed,
	       result.nodes);
	return false;
}

static int report(const struct totals *totals, unsigned long count, unsigned long failed)
{
	printf("# %lu seeds: %u completed, %u rolled back, %u aborted, %u stuck; %llu events\n",
	       count, totals->ends[SIM_COMPLETED], totals->ends[SIM_ROLLED_BACK],
	       totals->ends[SIM_ABORTED], totals->ends[SIM_STUCK],
	       (unsigned long long)totals->events);
	printf("1..1\n%s 1 - %lu seeds, %lu failed\n", failed ? "not ok" : "ok", count, failed);
	return failed ? 1 : 0;
}

static int run_all(struct sim_options *options, unsigned long count, bool twice)
{
	struct totals totals = {0};
	unsigned long failed = 0;

	for (unsigned long i = 0; i < count; i++, options->seed++)
		failed += !run_one(options, twice, &totals);
	return report(&totals, count, failed);
}

/* Seeds with few nodes, until so many kills at named points, or power cuts, have been survived. */
static int run_until(struct sim_options *options, unsigned long kills, unsigned long cuts)
{
	struct totals totals = {0};
	unsigned long count = 0, failed = 0;

	options->nodes = options->nodes ? options->nodes : FEW_NODES;
	options->on_disk = true;
	while (failed < FAILED_MAX && (totals.kills < kills || totals.cuts < cuts)) {
		failed += !run_one(options, false, &totals);
		options->seed++;
		count++;
	}
	if (kills)
		points_print(totals.kills_at);
	printf("# %u kills at named points, %u power cuts\n", totals.kills, totals.cuts);
	return report(&totals, count, failed);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"seed", 1, NULL, 's'},	 {"count", 1, NULL, 'c'}, {"nodes", 1, NULL, 'n'},
		{"disk", 0, NULL, 'd'},	 {"kills", 1, NULL, 'k'}, {"cuts", 1, NULL, 'u'},
		{"twice", 0, NULL, '2'}, {"trace", 0, NULL, 't'}, {"planted", 0, NULL, 'p'},
		{NULL, 0, NULL, 0}};
	struct sim_options options = {.seed = 1};
	unsigned long count = 1;
	unsigned long kills = 0, cuts = 0;
	bool twice = false, planted_bugs = false;
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
		else if (option == 'p')
			planted_bugs = true;
		else if (option == 'd')
			options.on_disk = true;
		else if (option == 'k')
			kills = strtoul(optarg, NULL, 10);
		else if (option == 'u')
			cuts = strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	log_open("covey-sim", options.trace ? LOG_LEVEL_DEBUG : (enum log_level)0); /* faults make errors: no news */
	if (planted_bugs)
		return planted_run();
	options.kills = kills > 0;
	options.cuts = cuts > 0;
	if (kills || cuts)
		return run_until(&options, kills, cuts);
	return run_all(&options, count, twice);
}
