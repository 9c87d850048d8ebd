/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes wrong. Each seed has a weather of its own: some kinds of faults often, some never, so
 * that rare combinations are not drowned by the common ones. Then all is mended and stays so.
 */
#include "sim.h"

#include "base/str.h"

static double draw_share(struct sim *sim, double most)
{
	return rng_below(&sim->rng, 3) ? most * rng_unit(&sim->rng) * rng_unit(&sim->rng) : 0;
}

/* Nothing but what is asked for, and that often; the database that is restored is one in memory. */
static void on_real_files(struct sim *sim)
{
	struct sim_weather *weather = &sim->weather;
	bool only = sim->options.kills || sim->options.cuts;

	for (int i = 0; only && i < FAULT_COUNT; i++)
		weather->faults[i] = 0;
	weather->faults[FAULT_RESTORE] = 0;
	weather->faults[FAULT_POWER] = sim->options.kills ? 0 : 4;
	if (only)
		weather->gap_ms = sim_between(sim, 300, 6000);
}

void sim_weather_draw(struct sim *sim)
{
	struct sim_weather *weather = &sim->weather;
	static const unsigned often[] = {0, 0, 1, 1, 4};

	for (int i = 0; i < FAULT_POWER; i++)
		weather->faults[i] = often[rng_below(&sim->rng, ARRAY_SIZE(often))];
	weather->faults[FAULT_RESTORE] = rng_below(&sim->rng, 5) == 0;
	weather->gap_ms = sim_between(sim, rng_below(&sim->rng, 4) ? 2000 : 300, 30000) * 20 /
			  (20 + sim->nodes_count);
	weather->lost = draw_share(sim, 0.2);
	weather->doubled = draw_share(sim, 0.1);
	weather->late = draw_share(sim, 0.1);
	weather->stale = draw_share(sim, 0.05);
	weather->helper_fails = draw_share(sim, 0.05);
	weather->put_fails = draw_share(sim, 0.05);
	weather->corrupt = planted(sim, "unverified chunk") ? 0.3 : draw_share(sim, 0.2);
	weather->rots = draw_share(sim, 0.3);
	weather->operator_acts = rng_below(&sim->rng, 2);
	weather->operator_gap_ms = sim_between(sim, 5000, 60000);
	weather->clock_of_coordinator = rng_below(&sim->rng, 4) == 0;
	if (sim->options.dir)
		on_real_files(sim);
}

static enum sim_fault draw_fault(struct sim *sim)
{
	uint64_t sum = 0, at;

	for (int i = 0; i < FAULT_COUNT; i++)
		sum += sim->weather.faults[i];
	if (sum == 0)
		return FAULT_COUNT;
	at = rng_below(&sim->rng, sum);
	for (int i = 0; i < FAULT_COUNT; i++) {
		if (at < sim->weather.faults[i])
			return (enum sim_fault)i;
		at -= sim->weather.faults[i];
	}
	return FAULT_COUNT;
}

/* ---- single faults ---- */

static void cut(struct sim_node *node)
{
	struct sim *sim = node->sim;
	uint64_t until = sim->now_ms + sim_between(sim, 500, rng_below(&sim->rng, 3) ? 60000 : 400000);
	bool to = rng_below(&sim->rng, 2), from = !to || rng_below(&sim->rng, 2);

	if (to)
		node->cut_to_ms = until;
	if (from)
		node->cut_from_ms = until;
	watch_hit(node);
	sim_trace(sim, "%s is cut%s%s for %llu s", node->name, to ? " to" : "", from ? " from" : "",
		  (unsigned long long)(until - sim->now_ms) / 1000);
}

static void fill_disk(struct sim_node *node)
{
	struct sim *sim = node->sim;

	node->disk_full_ms = sim->now_ms + sim_between(sim, 1000, 90000);
	watch_hit(node);
	sim_trace(sim, "%s: the disk is full for %llu s", node->name,
		  (unsigned long long)(node->disk_full_ms - sim->now_ms) / 1000);
}

static void slow_down(struct sim_node *node)
{
	node->slow_ms = node->sim->now_ms + sim_between(node->sim, 10000, 300000);
	watch_hit(node);
	sim_trace(node->sim, "%s starts its model servers slowly", node->name);
}

/* A clock is set. The coordinator's may only jump while it is down. */
static void jump(struct sim_node *node)
{
	struct sim *sim = node->sim;
	int64_t by = (int64_t)rng_below(&sim->rng, 2 * 86400000) - 86400000;

	node->skew_ms = rng_below(&sim->rng, 3) ? by : 0;
	sim_trace(sim, "%s: the unix clock is set by %lld s", node->name, (long long)by / 1000);
}

static void crash_coordinator(struct sim *sim)
{
	sim_coordinator_crash(sim);
	if (sim->weather.clock_of_coordinator && !sim->coordinator)
		sim->coordinator_skew_ms = (int64_t)rng_below(&sim->rng, 1200000) - 600000;
}

/* A backup is made; the next time it is what the coordinator starts from. */
static void restore(struct sim *sim)
{
	struct err err = {0};

	if (!sim->coordinator)
		return;
	if (!sim->has_backup) {
		sim->has_backup = store_sqlite_copy(sim->store, sim->backup, &err) == 0;
		sim_trace(sim, "the database is backed up");
		if (!sim->has_backup)
			sim_break(sim, "backup: %s", err_text(&err, 0));
		return;
	}
	sim_coordinator_crash(sim);
	if (store_sqlite_copy(sim->backup, sim->store, &err) < 0)
		sim_break(sim, "restore: %s", err_text(&err, 0));
	sim_trace(sim, "the database is an old one");
	sim->weather.faults[FAULT_RESTORE] = 0;
	watch_restored(sim);
}

static void happen(struct sim *sim, enum sim_fault fault, struct sim_node *node)
{
	switch (fault) {
	case FAULT_AGENT_CRASH:
		sim_node_crash(node);
		break;
	case FAULT_REBOOT:
		sim_node_reboot(node);
		break;
	case FAULT_COORDINATOR_CRASH:
		crash_coordinator(sim);
		break;
	case FAULT_STATEMENT_CRASH: /* between two statements of the next changes */
		sim->statement_left = sim_between(sim, 1, 60);
		break;
	case FAULT_STORE_FULL:
		sim->store_full_ms = sim->now_ms + sim_between(sim, 500, 20000);
		sim_trace(sim, "the coordinator's disk is full");
		break;
	case FAULT_CUT:
		cut(node);
		break;
	case FAULT_HELPER_RESTART:
		sim_helper_down(node);
		break;
	case FAULT_DISK_FULL:
		fill_disk(node);
		break;
	case FAULT_SLOW:
		slow_down(node);
		break;
	case FAULT_CLOCK:
		jump(node);
		break;
	case FAULT_RESTORE:
		restore(sim);
		break;
	case FAULT_POWER:
		point_power_cut(sim);
		break;
	case FAULT_COUNT:
		break;
	}
}

void sim_fault(struct sim *sim)
{
	struct sim_node *node = &sim->nodes[rng_below(&sim->rng, sim->joined_count)];
	struct sim_event next = {.kind = SIM_FAULT};

	if (!node->retired)
		happen(sim, draw_fault(sim), node);
	sim_push(sim, sim_between(sim, 1, 2 * sim->weather.gap_ms), &next);
}

void sim_mend(struct sim *sim)
{
	struct sim_event person = {.kind = SIM_PERSON};

	sim_trace(sim, "---- peace ----");
	sim->quiet = true;
	sim->statement_left = 0;
	sim->store_full_ms = 0;
	if (sim->storage)
		platter_arm(storage_platter(sim->storage), PLATTER_POWER, 0);
	sim_coordinator_start(sim);
	sim_control(sim, "unfreeze", "{}", NULL);
	for (uint32_t i = 0; i < sim->nodes_count; i++) {
		struct sim_node *node = &sim->nodes[i];

		node->cut_to_ms = node->cut_from_ms = node->disk_full_ms = node->slow_ms = 0;
		if (node->storage)
			platter_arm(storage_platter(node->storage), PLATTER_POWER, 0);
		sim_node_start(node);
	}
	sim_push(sim, 5000, &person);
}
