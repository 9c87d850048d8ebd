/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rollout as it stands: plain fields, open for reading (`rollout show`, the invariants), changed
 * by rollout_apply() alone. Times: *_ms are fleet time (event.h), *_clock_ms the rollout's clock,
 * which stands while the rollout is paused, frozen or outside its window.
 *
 * A node's way: fetch -> (a place within max_unavailable) serve -> it switches, bakes, commits by
 * itself. `told` means that it may have switched at any moment since, whatever it reported last.
 */
#pragma once

#include "coordinator/core/event.h"
#include "coordinator/core/gate.h"
#include "coordinator/core/plan.h"
#include "coordinator/core/rollout_table.h"
#include "covey/message.h"

enum rollout_hold { HOLD_NONE, HOLD_OPERATOR, HOLD_PROMOTE, HOLD_INCONCLUSIVE, HOLD_COUNT };
enum rollout_end { END_ROLLED_BACK, END_ABORTED };

struct rollout_node {
	struct node_id id;
	uint32_t stage;
	uint32_t group; /* index of the first node with the same group value */
	char group_value[LIMIT_LABEL_VALUE + 1];
	/* decided */
	uint64_t attempt;
	bool told;	/* goal serve, in this attempt */
	bool changed;	/* was told at least once: goes back when the rollout does */
	bool place;	/* holds a place of max_unavailable, until it serves again */
	bool gone;	/* no longer part of the rollout */
	bool already;	/* served the release when the rollout was planned */
	bool busy;	/* in change for another deployment */
	bool failed;	/* in this attempt: it said so, or timed_out */
	bool timed_out; /* the coordinator's verdict (deadline, unhealthy): it is taken back */
	bool quarantined; /* failed, and no fault of the release: the limits do not count it */
	bool lost;	/* told, without a verdict, silent for longer than the node deadline */
	bool sick;	/* serves the release, unhealthy */
	uint64_t step_clock_ms, silent_clock_ms, sick_clock_ms; /* the rollout's clock can stop */
	/* as last heard */
	bool reachable;
	bool current; /* what follows answers the newest desired state */
	bool ours;    /* what follows speaks of this rollout */
	enum node_state state;
	struct digest release, target;
	uint64_t report_attempt;
	bool staged, proven, healthy;
};

struct rollout_stage { /* its nodes: those with this stage; blue-green: both steps have all */
	struct plan_stage plan;
	enum stage_state state;
	uint64_t started_ms, baking_ms, ended_ms; /* fleet time; 0: not yet */
	uint64_t opened_clock_ms, baking_clock_ms;
	bool promoted, deadline_over;
	enum verdict verdict; /* newest of the statistics */
	struct rollout_why verdict_why;
};

/* Facts for `covey events`, from the last rollout_apply(). X(NAME, text) */
#define ROLLOUT_NOTES(X)                                                                           \
	X(STATE, "rollout")                                                                        \
	X(STAGE, "stage")                                                                          \
	X(NODE_TOLD, "node_told")                                                                  \
	X(NODE_DONE, "node_done")                                                                  \
	X(NODE_FAILED, "node_failed")                                                              \
	X(NODE_SILENT, "node_unreachable")                                                         \
	X(NODE_BACK, "node_rolled_back")                                                           \
	X(NODE_CHANGED, "node")                                                                    \
	X(OPERATOR, "operator")                                                                    \
	X(GATE, "gate")                                                                            \
	X(LATE, "late")                                                                            \
	X(FUSE, "fuse")
#define X(name, text) NOTE_##name,
enum rollout_note_kind { ROLLOUT_NOTES(X) NOTE_COUNT };
#undef X

enum {
	NOTE_TEXT = 255,
	ROLLOUT_SICK_MS = 30000,	      /* committed and unhealthy for this long: failed */
	ROLLOUT_NODE_DEFAULT_MS = 600000,     /* where the deployment has no deadlines */
	ROLLOUT_STAGE_DEFAULT_MS = 7200000,
	ROLLOUT_DEFAULT_MS = 86400000,
	ROLLOUT_FUSE_MS = 60000,
	ROLLOUT_FUSE_SPARE = 16,	      /* commands a minute beyond three for each node */
};
struct rollout_note {
	enum rollout_note_kind kind;
	uint32_t node; /* or ROLLOUT_NO_NODE */
	char text[NOTE_TEXT + 1];
};

struct rollout_policy { /* the numbers of struct deployment_spec that decide; nothing on the heap */
	struct failure_spec failures;
	struct deadline_spec deadlines; /* 0 became a default: everything has a deadline */
	enum strategy_kind strategy;
	enum inconclusive_kind on_inconclusive;
	bool evidence_required;
	uint64_t evidence_min_bake_ms, evidence_deadline_ms;
};

struct rollout {
	struct rollout_id id;
	char deployment[LIMIT_NAME + 1];
	struct digest from, to; /* from zero: first install */
	uint64_t attempt;	/* that every node began with */
	struct rollout_policy policy;
	enum rollout_state state, before_pause;
	enum rollout_hold hold;
	enum rollout_end end;	/* of the way back */
	struct rollout_why why; /* of failing, holding, being stuck */
	uint32_t why_node;	/* or ROLLOUT_NO_NODE */
	uint32_t last_failed;	/* or ROLLOUT_NO_NODE */
	struct rollout_stage *stages;
	size_t stages_count, stage; /* stage: the current one */
	struct rollout_node *nodes;
	struct rollout_why *node_whys; /* beside nodes: large, seldom read */
	size_t nodes_count, nodes_capacity;
	uint32_t *by_id;	/* node indices, sorted by id */
	uint32_t *group_used;	/* scratch: places in use for each group */
	bool frozen, window_closed, full, superseded, going_back;
	uint64_t now_ms, created_ms, started_ms, ended_ms, back_since_ms;
	uint64_t paused_ms, paused_since_ms; /* held or paused by a person: paused_seconds */
	uint64_t stopped_ms, stopped_since_ms; /* the clock stands: paused, frozen, window closed */
	bool stopped;
	uint64_t fuse_minute; /* commands given in the current minute of fleet time */
	uint32_t fuse_count;
	struct rollout_note *notes;
	size_t notes_count, notes_capacity, notes_dropped;
	uint64_t changes; /* counts up with each applied event */
};
