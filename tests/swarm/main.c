/* SPDX-License-Identifier: Apache-2.0 */
/*
 * covey-swarm: the swarm simulator as a test (TAP) and as a benchmark (a table).
 *
 *   covey-swarm --bars [--seeds N] [--nodes MOST]    the bars, each with seeds 1..N
 *   covey-swarm --faults [--seeds N]
 *   covey-swarm --planted                            each planted bug must be found
 *   covey-swarm --twice                              the same seed, the same run
 *   covey-swarm ... --case TEXT                      only cases whose name has it
 *   covey-swarm --table [--nodes MOST]               a table of the bars
 */
#include "base/mem.h"
#include "tests/swarm/swarm.h"

#include <getopt.h>
#include <stdio.h>

static unsigned tests, failures;
static const char *only = ""; /* part of a name */
static uint32_t most_nodes = UINT32_MAX;

static bool is_wanted(const struct swarm_case *c)
{
	return c->nodes <= most_nodes && strstr(c->name, only);
}

static void tap(bool ok, const char *name, const char *text)
{
	printf("%s %u - %s: %s\n", ok ? "ok" : "not ok", ++tests, name, text);
	fflush(stdout);
	failures += !ok;
}

/* NULL: all bars are reached. */
static const char *fault_of(const struct swarm_case *c, const struct swarm_result *r)
{
	if (r->violations)
		return r->violation;
	if (r->unfinished)
		return "nodes did not finish";
	if (r->share < c->least_share)
		return "too slow";
	if (c->most_seconds > 0 && r->last > c->most_seconds)
		return "too many seconds";
	if (c->most_origin > 0 && r->origin > c->most_origin)
		return "the origin sent too much";
	if (c->most_site > 0 && r->site > c->most_site)
		return "too much over a site's link";
	if (c->most_duplicate > 0 && r->duplicate > c->most_duplicate)
		return "too many duplicates";
	for (uint32_t i = 0; i < 3; i++)
		if (c->names >> i & 1 && !r->blamed[i])
			return "the culprit was not named";
	return NULL;
}

static void run_cases(const struct swarm_case *cases, size_t count, uint32_t seeds)
{
	for (size_t i = 0; i < count; i++)
		for (uint64_t seed = 1; seed <= seeds && is_wanted(&cases[i]); seed++) {
			struct swarm_result r;
			const char *fault;
			char text[512];

			swarm_run(&cases[i], seed, BUG_NONE, &r);
			fault = fault_of(&cases[i], &r);
			snprintf(text, sizeof(text),
				 "seed %u: %.2f s of %.2f, share %.3f, origin %.3f, duplicates "
				 "%.4f, named %u %u %u, unfinished %u%s%s",
				 (unsigned)seed, r.last, r.bound, r.share, r.origin, r.duplicate,
				 r.blamed[0], r.blamed[1], r.blamed[2], r.unfinished,
				 fault ? ": " : "", fault ? fault : "");
			tap(!fault, cases[i].name, text);
		}
}

static void run_planted(void)
{
	for (uint32_t bug = BUG_NONE + 1; bug < BUG_COUNT; bug++) {
		const struct swarm_case *c = &swarm_planted[bug];
		struct swarm_result with, without;

		swarm_run(c, 1, BUG_NONE, &without);
		swarm_run(c, 1, (enum bug)bug, &with);
		tap(with.violations && !without.violations, c->name,
		    without.violations ? without.violation : with.violation);
	}
}

static void run_twice(void)
{
	for (size_t i = 0; i < swarm_faults_count; i++) {
		struct swarm_result a, b;

		swarm_run(&swarm_faults[i], 7, BUG_NONE, &a);
		swarm_run(&swarm_faults[i], 7, BUG_NONE, &b);
		a.seconds_cpu = b.seconds_cpu = 0;
		tap(memcmp(&a, &b, sizeof(a)) == 0, swarm_faults[i].name, "the same run twice");
	}
}

static void print_table(void)
{
	printf("| case | bound s | last s | share of bound | bar | origin sent | duplicates | "
	       "site's link | CPU s |\n|---|---|---|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < swarm_bars_count; i++) {
		const struct swarm_case *c = &swarm_bars[i];
		struct swarm_result r;
		char bar[32] = "", site[32] = "";

		if (!is_wanted(c))
			continue;
		swarm_run(c, 1, BUG_NONE, &r);
		if (c->most_seconds > 0)
			snprintf(bar, sizeof(bar), "%.1f s", c->most_seconds);
		else
			snprintf(bar, sizeof(bar), "%.3f", c->least_share);
		if (c->sites)
			snprintf(site, sizeof(site), "%.2f F", r.site);
		printf("| %s | %.2f | %.2f | %.3f | %s | %.2f F | %.2f %% | %s | %.1f |\n", c->name,
		       r.bound, r.last, r.share, bar, r.origin, 100 * r.duplicate, site,
		       r.seconds_cpu);
		fflush(stdout);
		failures += fault_of(c, &r) != NULL;
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"bars", no_argument, NULL, 'b'},
						{"faults", no_argument, NULL, 'f'},
						{"planted", no_argument, NULL, 'p'},
						{"twice", no_argument, NULL, 't'},
						{"table", no_argument, NULL, 'T'},
						{"seeds", required_argument, NULL, 's'},
						{"nodes", required_argument, NULL, 'n'},
						{"case", required_argument, NULL, 'c'},
						{NULL, 0, NULL, 0}};
	uint32_t seeds = 1;
	int option, what = 'b';

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == '?')
			return 2;
		if (option == 's')
			seeds = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'n')
			most_nodes = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'c')
			only = optarg;
		else
			what = option;
	}
	if (what == 'b')
		run_cases(swarm_bars, swarm_bars_count, seeds);
	if (what == 'f')
		run_cases(swarm_faults, swarm_faults_count, seeds);
	if (what == 'p')
		run_planted();
	if (what == 't')
		run_twice();
	if (what == 'T')
		print_table();
	else
		printf("1..%u\n", tests);
	return failures ? 1 : 0;
}
