/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rollouts as traces: a list of lines, events in, states and goals out. One line, one thing:
 *
 *   start | pause | resume | promote | promote-full | abort | supersede | freeze | unfreeze
 *   window-closed | window-open | retry N|all | after 5m
 *   N silent|answers|gone|busy|free          N: a node's index, "2-4", "all" or a comma list
 *   N joins [group]                          a new node, or one that was gone
 *   N REPORT                                 staged, proven, starting, baking, serving, sick, old,
 *                                            rolled_back, failed, broken, reverting, pending
 *   N stale REPORT                           the same, but from before the newest goal
 *   N foreign REPORT                         stale, and of another rollout to another release
 *   verdict pass|fail|inconclusive TEXT [STAGE]
 *   = STATE                                  the rollout's state
 *   = goals ..FPSR-                          none fetch prepare serve revert not-owned
 *   = stage I STATE | = hold NAME | = reason PHASE CHECK [TEXT] | = note KIND [TEXT]
 *   = node N STATE | = places N | = deadline 5m|none | = refused EVENT [N] | = attempt N K
 *   = says TEXT | = reason-node N | = paused 5m
 *
 * After each event the invariants are checked. trace_end() replays the journal through the codec
 * and compares fingerprints.
 */
#pragma once

#include "coordinator/core/invariants.h"
#include "coordinator/core/rollout.h"
#include "protocol/spec.h"

enum { TRACE_NODES_MAX = 64 };

struct trace {
	struct deployment_spec spec;
	struct plan plan;
	struct digest from;
	struct rollout *rollout;
	struct invariants *seen;
	struct bytes *journal;
	size_t journal_count, journal_cap;
	uint64_t now_ms;
	size_t spare;
};

/* A deployment with defaults and `count` nodes on the old release (or none when first). Change
 * trace->spec before trace_play(). */
void trace_begin(struct trace *trace);
/* Nodes for the plan: id i+1, all reachable; label site=a,b,c in turn. */
void trace_plan(struct trace *trace, size_t count, bool first_install);
void trace_play(struct trace *trace, const char *const *lines, size_t count);
void trace_end(struct trace *trace);
/* The end of a trace that was tampered with: nothing is replayed. */
void trace_drop(struct trace *trace);

#define PLAY(trace, ...)                                                                           \
	do {                                                                                       \
		static const char *const play_lines[] = {__VA_ARGS__};                             \
		trace_play((trace), play_lines, ARRAY_SIZE(play_lines));                           \
	} while (0)

struct digest trace_digest(uint8_t byte);
struct node_id trace_node_id(uint32_t number);
