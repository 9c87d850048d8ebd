/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All deployments of a node, and what they must agree upon: desired state with its (epoch,
 * generation), one switch at a time, which releases stay on disk. Pure as agent/core/deploy.h is;
 * allocates in node_core_create() only. The shell's turn is:
 *
 *	node_core_apply(core, &event);
 *	node_core_next_dirty() ... write records, in one transaction
 *	for each deployment: deploy_decide() -> perform
 *	sleep until node_core_deadline()
 *
 * Nothing may be performed for a deployment whose record is dirty.
 */
#pragma once

#include "agent/core/deploy.h"

enum node_event_kind {
	NODE_DESIRED,	 /* desired; refused when older than what is known */
	NODE_DEPLOYMENT, /* deployment and event: for one; its now_ms, unix_ms, random count */
	NODE_ALL,	 /* event for every deployment: TICK, MEMORY_PRESSURE, RESUMED */
	NODE_EVENT_COUNT
};

struct node_event { /* pointers are borrowed for the call */
	enum node_event_kind kind;
	const struct desired_state *desired;
	const char *deployment;
	struct deploy_event event; /* now_ms, unix_ms, random: always */
};

struct node_core;

/* capacity: most deployments, at most LIMIT_DEPLOYMENTS_PER_NODE. */
struct node_core *node_core_create(size_t capacity);
void node_core_free(struct node_core *core);
COVEY_DEFINE_CLEANUP(struct node_core *, node_core_free)

/* Recovery: what was written down, before any event. -ENOSPC, -EEXIST, -EINVAL. Then ADOPT for each
 * slot that the helper lists, and NODE_ALL with DEPLOY_EVENT_RESUMED. */
int node_core_restore(struct node_core *core, const struct deploy_record *record) COVEY_MUST_CHECK;
/* (epoch, generation) of the desired state that the records follow; written with them. */
void node_core_restore_generation(struct node_core *core, uint64_t epoch, uint64_t generation);
void node_core_generation(const struct node_core *core, uint64_t *ret_epoch,
			  uint64_t *ret_generation);

/* False: a desired state that is older, a deployment that is not known, an event that the
 * deployment does not admit. */
bool node_core_admits(const struct node_core *core, const struct node_event *event);
/* 0; -ESTALE: older desired state, nothing changed; -ENOENT: no such deployment; -ENOSPC: more
 * deployments than capacity: those that found room were applied. */
int node_core_apply(struct node_core *core, const struct node_event *event);

/* Gives what must be written since the last call, one after the other, and forgets it; false: no
 * more. *ret_record NULL: the deployment is gone, delete its record. Borrowed until the next
 * apply. */
bool node_core_next_dirty(struct node_core *core, const char **ret_name,
			  const struct deploy_record **ret_record);
/* The generation must be written as well, in the same transaction; forgets it. */
bool node_core_take_generation_dirty(struct node_core *core);

size_t node_core_count(const struct node_core *core);
/* index < count; valid until the next apply. Also those that are gone but for their vetoes:
 * leave these out of the status (deploy_is_gone). */
const struct deploy *node_core_at(const struct node_core *core, size_t index);
const struct deploy *node_core_find(const struct node_core *core, const char *name);

/* Disk rule: may this release be deleted from disk? False while any deployment serves it, has it as
 * the previous or the arriving one. Others go, oldest first, above the quota or under 10 % free. */
bool node_core_keeps(const struct node_core *core, const struct digest *release);
uint64_t node_core_deadline(const struct node_core *core);
