/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bars of the judge, in virtual time. `judge-bars quick` runs a part of everything and fails where
 * a bar is missed (a test); `judge-bars full` prints the whole table with its peers (a benchmark).
 */
#include "alarms.h"
#include "peers.h"

#include "base/mem.h"
#include "base/str.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum bar { BAR_NONE, BAR_FALSE_HALTS, BAR_MINUTES, BAR_CAUGHT, BAR_OBSERVATIONS };

struct row {
	struct scenario scenario;
	enum bar bar;
	double limit;
	uint32_t quick, full; /* runs */
};

#define EDGE .errors = 0.005, .per_minute = 20
#define DAY 1440

static const struct row rows[] = {
    {{"identical, 5 and 20 nodes alike", .nodes = 25, .canaries = 5, .per_minute = 4,
      .errors = 0.005, .factor = 1, .minutes = 480},
     BAR_FALSE_HALTS,
     0.05,
     100,
     2000},
    {{"identical, the same, all default gates", .nodes = 25, .canaries = 5, .per_minute = 4,
      .errors = 0.005, .factor = 1, .minutes = 480, .slower = 1, .guard_rail = true},
     BAR_FALSE_HALTS,
     0.05,
     5,
     500},
    {{"identical, 5 unequal nodes, bursts of 5", EDGE, .nodes = 5, .canaries = 1, .spread = 0.5,
      .change = 0.25, .burst = 5, .factor = 1, .history = 3 * DAY, .minutes = 480},
     BAR_FALSE_HALTS,
     0.05,
     50,
     2000},
    {{"identical, 10 unequal nodes, bursts of 5", EDGE, .nodes = 10, .canaries = 1, .spread = 0.5,
      .change = 0.25, .burst = 5, .factor = 1, .history = 3 * DAY, .minutes = 480},
     BAR_FALSE_HALTS,
     0.05,
     20,
     2000},
    {{"identical, 20 unequal nodes, bursts of 5", EDGE, .nodes = 20, .canaries = 2, .spread = 0.5,
      .change = 0.25, .burst = 5, .factor = 1, .history = 3 * DAY, .minutes = 480},
     BAR_FALSE_HALTS,
     0.05,
     10,
     2000},
    {{"identical, 5 unequal nodes, bursts of 5, without history", EDGE, .nodes = 5,
      .canaries = 1, .spread = 0.5, .burst = 5, .factor = 1, .minutes = 480},
     BAR_FALSE_HALTS,
     0.05,
     50,
     2000},
    {{"identical, 10 unequal nodes, bursts of 5, without history", EDGE, .nodes = 10,
      .canaries = 1, .spread = 0.5, .burst = 5, .factor = 1, .minutes = 480},
     BAR_FALSE_HALTS,
     0.05,
     20,
     2000},
    {{"identical, 20 unequal nodes, bursts of 5, without history", EDGE, .nodes = 20,
      .canaries = 2, .spread = 0.5, .burst = 5, .factor = 1, .minutes = 480},
     BAR_FALSE_HALTS,
     0.05,
     10,
     2000},
    {{"identical, 25 unequal nodes, bursts of 5, without history", EDGE, .nodes = 25,
      .canaries = 5, .spread = 0.5, .burst = 5, .factor = 1, .minutes = 480},
     BAR_FALSE_HALTS,
     0.05,
     0,
     2000},
    {{"twice the errors, 20 against 80 a minute", .nodes = 25, .canaries = 5, .per_minute = 4,
      .errors = 0.005, .factor = 2, .minutes = DAY},
     BAR_MINUTES,
     120,
     0,
     2000},
    {{"three times", .nodes = 25, .canaries = 5, .per_minute = 4, .errors = 0.005, .factor = 3,
      .minutes = DAY},
     BAR_MINUTES,
     35,
     201,
     2000},
    {{"three times, 1 of 5 unequal nodes", EDGE, .nodes = 5, .canaries = 1, .spread = 0.5,
      .factor = 3, .history = 3 * DAY, .minutes = DAY},
     BAR_CAUGHT,
     0.85,
     20,
     1000},
    {{"three times, 1 of 5, bursts of 5", EDGE, .nodes = 5, .canaries = 1, .spread = 0.5,
      .burst = 5, .factor = 3, .history = 3 * DAY, .minutes = DAY},
     BAR_CAUGHT,
     0.85,
     20,
     1000},
    {{"three times, 1 of 5 alike, without history", EDGE, .nodes = 5, .canaries = 1, .factor = 3,
      .minutes = DAY},
     BAR_CAUGHT,
     0.85,
     20,
     1000},
    {{"three times, 1 of 5 unequal, without history", EDGE, .nodes = 5, .canaries = 1,
      .spread = 0.5, .factor = 3, .minutes = DAY},
     BAR_NONE,
     0,
     0,
     1000},
    {{"identical latency", .nodes = 25, .canaries = 5, .per_minute = 4, .factor = 1, .slower = 1,
      .minutes = 480},
     BAR_FALSE_HALTS,
     0.05,
     10,
     1000},
    {{"20 % slower", .nodes = 25, .canaries = 5, .per_minute = 4, .factor = 1, .slower = 1.2,
      .minutes = 480},
     BAR_OBSERVATIONS,
     250,
     301,
     2000},
};

struct tally {
	uint32_t runs, halts[4]; /* judge, z at each look, Bonferroni, Mann-Whitney */
	double *minutes[4], *observations;
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, uint32_t count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

static void run_peers(const struct scenario *s, const struct minute *minutes, uint32_t run,
                      struct tally *tally)
{
	bool latency = s->slower > 0 && !s->guard_rail;
	uint32_t at[4] = {0};

	at[1] = (latency ? peer_z_means : peer_z_test)(minutes, s->minutes, 0.05);
	at[2] = (latency ? peer_z_means : peer_z_test)(minutes, s->minutes, 0.05 / s->minutes);
	at[3] = peer_mann_whitney(minutes, s->minutes < 180 ? s->minutes : 180, latency);
	for (int i = 1; i < 4; i++) {
		tally->halts[i] += at[i] > 0;
		tally->minutes[i][run] = at[i] ? (double)at[i] : (double)INFINITY;
	}
}

/* Of its name, so that a new row changes no other one's streams. */
static uint64_t seed_of(const char *name)
{
	uint64_t seed = 0;

	for (; *name; name++)
		seed = seed * 1000003 + (unsigned char)*name;
	return seed;
}

static struct tally run_row(const struct row *row, uint32_t runs, bool peers)
{
	const struct scenario *s = &row->scenario;
	struct minute *minutes = peers ? mem_array(s->minutes, sizeof(*minutes)) : NULL;
	struct tally tally = {.runs = runs, .observations = mem_array(runs, sizeof(double))};

	for (int i = 0; i < 4; i++)
		tally.minutes[i] = mem_array(runs, sizeof(double));
	for (uint32_t run = 0; run < runs; run++) {
		uint64_t seed = 1 + run * UINT64_C(7919) + seed_of(s->name);
		struct outcome_of_run outcome = stream_run(s, seed, minutes);
		bool halted = outcome.halted_at > 0;

		tally.halts[0] += halted;
		tally.minutes[0][run] = halted ? (double)outcome.halted_at : (double)INFINITY;
		tally.observations[run] = halted ? (double)outcome.canary_attempts : INFINITY;
		if (peers)
			run_peers(s, minutes, run, &tally);
	}
	free(minutes);
	return tally;
}

/* Within the bar; for a share with three standard errors of so many runs. A median of few runs may
 * miss it by 15 %. */
static bool holds(const struct row *row, struct tally *t)
{
	double share = t->halts[0] / (double)t->runs;
	double slack = 3 * sqrt(row->limit * (1 - row->limit) / t->runs);
	double median_limit = row->limit * (t->runs < 1000 ? 1.15 : 1);

	switch (row->bar) {
	case BAR_NONE:
		return true;
	case BAR_FALSE_HALTS:
		return share <= row->limit + slack;
	case BAR_CAUGHT:
		return share >= row->limit - (t->runs < 200 ? slack : 0);
	case BAR_OBSERVATIONS:
		return median(t->observations, t->runs) <= median_limit;
	case BAR_MINUTES:
	default:
		return median(t->minutes[0], t->runs) <= median_limit;
	}
}

static void print_minutes(double minutes)
{
	if (isfinite(minutes))
		printf(", %.0f min", minutes);
}

static void print_row(const struct row *row, struct tally *t, bool peers)
{
	printf("| %s | %u ", row->scenario.name, t->runs);
	for (int i = 0; i < (peers ? 4 : 1); i++) {
		printf("| %.1f %%", 100.0 * t->halts[i] / t->runs);
		print_minutes(median(t->minutes[i], t->runs));
		if (i == 0 && row->bar == BAR_OBSERVATIONS)
			printf(", %.0f observations", median(t->observations, t->runs));
	}
	printf(" | %s |\n", row->bar == BAR_NONE ? "" : holds(row, t) ? "holds" : "MISSED");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	bool full = argc >= 2 && str_equal(argv[1], "full");
	const char *part = argc >= 3 ? argv[2] : NULL;
	uint32_t wanted = argc == 4 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
	int missed = 0;

	if (argc < 2 || argc > 4 || (!full && !str_equal(argv[1], "quick"))) {
		fprintf(stderr, "usage: judge-bars quick|full [PART-OF-A-ROW'S-NAME|alarms [RUNS]]\n");
		return 2;
	}
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t runs = full ? rows[i].full : rows[i].quick;
		struct tally tally;

		runs = runs && wanted ? wanted : runs;
		if (!runs || (part && !strstr(rows[i].scenario.name, part)))
			continue;
		tally = run_row(&rows[i], runs, full);
		print_row(&rows[i], &tally, full);
		missed += !holds(&rows[i], &tally);
		free(tally.observations);
		for (int k = 0; k < 4; k++)
			free(tally.minutes[k]);
	}
	missed += part && !str_equal(part, "alarms") ? 0 : alarms_run(full);
	return missed ? 1 : 0;
}
