/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/swarm/swarm.h"
#include "base/mem.h"

#include <stdio.h>

int main(int argc, char **argv)
{
	int only = argc > 1 ? atoi(argv[1]) : -1;
	uint64_t seed = argc > 2 ? (uint64_t)atoi(argv[2]) : 1;

	for (size_t i = 0; i < swarm_bars_count; i++) {
		struct swarm_result r;

		if (only >= 0 && (size_t)only != i)
			continue;
		if (only < 0 && swarm_bars[i].nodes > 2000)
			continue;
		swarm_run(&swarm_bars[i], seed, BUG_NONE, &r);
		printf("%-40s bound %6.2f first %6.2f median %6.2f last %6.2f share %.3f origin %.3f site %.3f dup %.4f unfin %u viol %u ev %.1fM cpu %.2f %s\n",
		       swarm_bars[i].name, r.bound, r.first, r.median, r.last, r.share, r.origin, r.site,
		       r.duplicate, r.unfinished, r.violations, (double)r.events / 1e6, r.seconds_cpu, r.violation);
		fflush(stdout);
	}
	return 0;
}
