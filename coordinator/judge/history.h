/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the time before a rollout says about its nodes: how many bad events each of them has without
 * any harm, in what clumps they come, how fast they answer. With enough of it a gate tests against
 * the nodes' own shares (hierarchical null) instead of believing that all nodes are alike.
 */
#pragma once

#include "coordinator/judge/gather.h"

struct history; /* of one deployment: the release that serves before the rollout */

struct history *history_new(const struct judge_policy *policy, size_t nodes_count);
void history_free(struct history *history);
COVEY_DEFINE_CLEANUP(struct history *, history_free)

/* A record from before the rollout; the caller chooses whose and how old. */
void history_add(struct history *history, uint32_t node, const struct observation_record *record);

/* The latest change of the policy: how each gate tests, and what it expects. canaries[i]: node i is
 * in the first stage. nodes: rates and thresholds are written, strata stay. ret_thresholds: those
 * of the whole fleet, for nodes without their own. */
void history_settle(const struct history *history, const bool *canaries,
		    struct judge_policy *policy, struct gather_node *nodes,
		    struct gather_thresholds *ret_thresholds);

/* For `plan`: attempts of a node, and the rate of bad events of a gate. */
uint64_t history_attempts(const struct history *history, size_t node);
double history_rate(const struct history *history, size_t gate);
