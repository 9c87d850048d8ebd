/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which nodes change in which stage. plan_make() is a pure function: the same deployment and the
 * same fleet give the same plan, in whatever order the nodes are listed, so `plan` and `apply`
 * agree. The plan is stored with the rollout (record.h) and never made again.
 *
 * Shares: a stage and a batch are rounded up (at least one node), max_unavailable is rounded down
 * but at least one, the unreachable limit is rounded down.
 */
#pragma once

#include "base/err.h"
#include "coordinator/core/share.h"
#include "covey/policy.h"

enum plan_step {
	STEP_SERVE,   /* each node fetches, switches, bakes */
	STEP_PREPARE, /* blue-green: each node proves the release in its idle slot */
	STEP_SWITCH,  /* blue-green: all together; the same nodes as the step before */
	STEP_COUNT
};

struct fleet_node { /* what planning knows about a node; labels are borrowed */
	struct node_id id;
	const struct label *labels;
	size_t labels_count;
	bool cordoned;	       /* also pending or revoked: cannot be changed now */
	bool reachable;	       /* canaries are drawn from those that answer */
	bool member;	       /* has this deployment now */
	struct digest release; /* that serves there for this deployment; zero: none */
	bool moving;	       /* is in a change of this deployment just now: a rollout that is superseded */
};

struct plan_node {
	struct node_id id;
	uint32_t stage;			   /* that changes its traffic */
	char group[LIMIT_LABEL_VALUE + 1]; /* value of the max_unavailable_per label */
	bool already;			   /* serves the release: lies in the last stage */
	bool reachable;
	bool moving;			   /* out of service until it says otherwise */
};

struct plan_stage {
	char name[LIMIT_NAME + 1]; /* canary-1, batch-1, prepare, switch */
	enum plan_step step;
	bool canary;
	bool wait_promote;	   /* opens only on `promote` */
	uint32_t first, count;	   /* plan->nodes[first .. first+count) */
	uint64_t bake_ms;
	uint32_t max_in_change;	   /* nodes out of service at once */
	uint32_t max_in_change_per_group; /* 0: no bound */
};

struct plan_other { /* a node that is not in a stage */
	struct node_id id;
	char why[LIMIT_SHORT_TEXT + 1];
};

struct plan {
	uint64_t seed; /* of the draw: from deployment name and release digest */
	struct plan_node *nodes; /* by stage */
	size_t nodes_count;
	struct plan_stage *stages;
	size_t stages_count;
	struct plan_other *excluded; /* match the selector, cannot be changed now */
	size_t excluded_count;
	struct plan_other *removed; /* have the deployment and match no more: drained and removed */
	size_t removed_count;
	uint32_t max_unavailable; /* resolved */
};

/* spec must have passed deployment_spec_check() and name its release. -EINVAL: nothing matches, or
 * the strategy cannot work with the swap. *ret_plan belongs to the caller: plan_free(). */
int plan_make(const struct deployment_spec *spec, const struct fleet_node *nodes,
	      size_t nodes_count, struct plan *ret_plan, struct err *err) COVEY_MUST_CHECK;
void plan_free(struct plan *plan);

/* Nodes whose traffic the plan changes: 0 means that what is applied already runs. */
size_t plan_changes(const struct plan *plan);
/* -EPERM when more nodes than max_unavailable would lose the deployment. */
int plan_check_removal(const struct plan *plan, bool allow_removal,
		       struct err *err) COVEY_MUST_CHECK;

uint64_t plan_seed(const char *deployment, const struct digest *release);
