/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rollout's journal: each part is an encoded event, applied to a rollout of four nodes in two
 * stages. Whatever the events say, the machine takes them or leaves them, decides, and keeps its
 * invariants.
 */
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/core/invariants.h"
#include "coordinator/core/record.h"
#include "coordinator/core/rollout.h"
#include "fuzz.h"
#include "protocol/spec.h"

#include <string.h>

enum { NODES = 4, SPARE = 2, EVENTS_MAX = 64, START_MS = 1000000 };

static struct rollout *make(const struct deployment_spec *spec)
{
	const struct rollout_id id = {{7}};
	const struct digest from = {{1}};
	struct fleet_node nodes[NODES] = {0};
	struct rollout *rollout;
	struct plan plan;

	for (uint8_t i = 0; i < NODES; i++)
		nodes[i] = (struct fleet_node){.id = {{(uint8_t)(i + 1)}},
					       .reachable = true,
					       .member = true,
					       .release = from};
	assert(plan_make(spec, nodes, NODES, &plan, NULL) == 0);
	rollout = rollout_new(&id, spec, &plan, &from, 1, START_MS, SPARE);
	plan_free(&plan);
	return rollout;
}

static void take(struct rollout *rollout, struct invariants *seen, const struct bytes *encoded)
{
	struct rollout_goal goals[NODES + SPARE + 1];
	struct rollout_effects effects = {.goals = goals};
	struct rollout_event event;
	uint64_t before = rollout_hash(rollout);
	struct err err = {0};
	bool admitted;

	if (codec_decode(&codec_rollout_event, encoded->data, encoded->size, &event, NULL) < 0)
		return;
	admitted = rollout_admits(rollout, &event, NULL);
	rollout_apply(rollout, &event);
	assert(admitted || rollout_hash(rollout) == before);
	if (invariants_check(seen, rollout, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	rollout_decide(rollout, rollout->now_ms, &effects);
	rollout_deadline(rollout);
	codec_free(&codec_rollout_event, &event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	uint8_t strategy = fuzz_byte(&input);
	struct deployment_spec spec;
	struct rollout *rollout;
	struct invariants *seen;

	deployment_spec_defaults(&spec);
	STR_CUT(spec.name, "ocr");
	STR_CUT(spec.selector, "all");
	spec.strategy = strategy % STRATEGY_COUNT;
	memset(spec.release.bytes, 2, DIGEST_SIZE);
	rollout = make(&spec);
	seen = invariants_new(rollout);
	for (int i = 0; i < EVENTS_MAX && input.left; i++) {
		struct bytes part = fuzz_part(&input);

		take(rollout, seen, &part);
	}
	invariants_free(seen);
	rollout_free(rollout);
	deployment_spec_free(&spec);
	return 0;
}
