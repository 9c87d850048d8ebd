/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each thing that the watch promises to find is planted once, in the made-up world or in a message
 * that the watch looks at, and must be found within some seeds, by the sentence that is meant. (The
 * rollout's own invariants have their planted bugs in tests/unit/rollout.)
 */
#include "sim.h"

#include "base/str.h"

enum { PLANTED_SEEDS = 60 };

static const struct {
	const char *bug;
	const char *found; /* part of the sentence */
} bugs[] = {
	{"unverified chunk", "of which a chunk is not what its digest says"},
	{"unsealed", "which is not sealed"},
	{"smoke unheard", "never passed its smoke tests here"},
	{"reason", "reason"},
	{"foreign release", "neither the old nor the new release"},
	{"older generation", "an older desired state than"},
};

bool planted(const struct sim *sim, const char *name)
{
	return sim->options.planted && str_equal(sim->options.planted, name);
}

void planted_early(struct sim *sim, struct sim_node *node, struct desired_state *desired)
{
	if (planted(sim, "older generation") && sim->events % 7 == 0 && desired->generation > 1)
		desired->generation = 1;
	for (size_t i = 0; planted(sim, "foreign release") && i < desired->assignments_count; i++)
		memset(&desired->assignments[i].next, 0x5a, sizeof(struct digest));
}

static bool is_found(const char *bug, const char *sentence)
{
	struct sim_options options = {.planted = bug, .nodes = 10};
	char broken[512] = "";
	uint64_t hash, events = 0;
	enum sim_end end;

	for (options.seed = 1; options.seed <= PLANTED_SEEDS; options.seed++) {
		if (sim_seed(&options, broken, &hash, &end, &events))
			continue;
		if (strstr(broken, sentence))
			return true;
		printf("# %s: found as: %s\n", bug, broken);
	}
	return false;
}

int planted_run(void)
{
	int failed = 0;

	printf("1..%zu\n", ARRAY_SIZE(bugs));
	for (size_t i = 0; i < ARRAY_SIZE(bugs); i++) {
		bool found = is_found(bugs[i].bug, bugs[i].found);

		printf("%s %zu - %s\n", found ? "ok" : "not ok", i + 1, bugs[i].bug);
		failed += !found;
	}
	return failed ? 1 : 0;
}
