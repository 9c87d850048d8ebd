/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules across rollouts: what one node is assigned, who counts as unreachable, and that a node is
 * changed for one deployment at a time. Pure functions over what the shell knows; no state here.
 */
#pragma once

#include "coordinator/core/rollout.h"

struct fleet_deployment { /* one deployment as it stands; everything is borrowed */
	const struct deployment_spec *spec;
	struct digest base;	       /* last completed release; zero: none yet */
	const struct rollout *rollout; /* under way or the newest one; NULL: none */
};

struct fleet_member { /* one node of it */
	struct node_id id;
	bool selected; /* matches the selector */
	bool cordoned; /* keeps what it serves */
	struct digest release; /* that the node reports as serving; zero: none */
	bool present; /* it reports the deployment, in whatever state */
};

/* What the node must be told about the deployment. False: the deployment is not in its desired
 * state, so the node drains and removes it. A node outside the rollout, late or new, gets the last
 * completed release. */
bool fleet_assign(const struct fleet_deployment *deployment, const struct fleet_member *member,
		  struct assignment *ret_assignment);

/* ---- leases ---- */

/* Silence is not counted in the first LIMIT_GRACE_MS after the coordinator started. */
bool fleet_silent(uint64_t last_seen_ms, uint64_t started_ms, uint64_t now_ms);
/* When fleet_silent() becomes true if nothing is heard. */
uint64_t fleet_silent_at(uint64_t last_seen_ms, uint64_t started_ms);

/* ---- one change at a time ---- */

struct fleet_busy { /* an event that some rollout must be given */
	size_t rollout; /* index in the list */
	uint32_t node;	/* index in that rollout */
	bool busy;	/* EVENT_NODE_BUSY or EVENT_NODE_FREE */
};

/* Finds the next difference between what a rollout believes about other deployments' changes and
 * what is. Call after every rollout_apply() until it answers false; each answer is an event like
 * any other (journal, apply). Rollouts that ended must be left out of the list. */
bool fleet_next_busy(const struct rollout *const *rollouts, size_t count,
		     struct fleet_busy *ret_busy);

/* -EBUSY, and whose rollout it is, when a rollout of this deployment is under way. */
int fleet_may_apply(const struct rollout *const *rollouts, size_t count, const char *deployment,
		    bool supersede, struct err *err) COVEY_MUST_CHECK;
