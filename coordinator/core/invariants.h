/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold after every event, whatever happened. The simulator and the random walks call
 * these; a broken one is our bug. Each returns 0, or -EPROTO with a sentence.
 */
#pragma once

#include "coordinator/core/fleet.h"

struct invariants; /* what was seen of one rollout so far */

struct invariants *invariants_new(const struct rollout *rollout);
void invariants_free(struct invariants *seen);
COVEY_DEFINE_CLEANUP(struct invariants *, invariants_free)

/* Call after each rollout_apply(); compares with the call before. All of the checks below that
 * concern one rollout. */
int invariants_check(struct invariants *seen, const struct rollout *rollout,
		     struct err *err) COVEY_MUST_CHECK;

/* Nodes holding a place <= max_unavailable of the stage, also per group; and a node is let go only
 * while the nodes out of service leave room for it. */
int invariants_budget(const struct invariants *seen, const struct rollout *rollout,
		      struct err *err) COVEY_MUST_CHECK;
/* Nobody new once a gate failed, while going back, paused, frozen or stuck. */
int invariants_nobody_new(const struct invariants *seen, const struct rollout *rollout,
			  struct err *err) COVEY_MUST_CHECK;
/* Final states stay; every move is in the table. */
int invariants_moves(const struct invariants *seen, const struct rollout *rollout,
		     struct err *err) COVEY_MUST_CHECK;
/* told implies changed; whoever changed stays changed, or is gone; after the way back each changed
 * node reports its old release, is silent, or is named. */
int invariants_accounted(const struct invariants *seen, const struct rollout *rollout,
			 struct err *err) COVEY_MUST_CHECK;
/* A stage opens only when all before it have passed or were skipped. */
int invariants_order(const struct rollout *rollout, struct err *err) COVEY_MUST_CHECK;

/* Only the old or the new release is assigned, and revert never with a goal. */
int invariants_assignment(const struct rollout *rollout, const struct assignment *assignment,
			  struct err *err) COVEY_MUST_CHECK;
/* At most one rollout that has not ended for each deployment, one change at a time on a node. */
int invariants_fleet(const struct rollout *const *rollouts, size_t count,
		     struct err *err) COVEY_MUST_CHECK;
