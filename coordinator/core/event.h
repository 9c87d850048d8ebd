/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that can happen to a rollout, as one flat value. The shell writes an event into its
 * journal (record.h has the codec table) before rollout_apply(); replaying the journal gives an
 * identical state.
 *
 * at_ms is the coordinator's fleet time: unix milliseconds when it started, from then on advanced
 * by a clock that does not step (clock_mono_ms), and never behind what its journal has seen. The
 * core never lets it run backwards.
 */
#pragma once

#include "covey/report.h"

/* X(NAME, text); appended only: journals hold the numbers. */
#define ROLLOUT_EVENTS(X)                                                                          \
	X(START, "start")			/* the plan is stored: begin */                    \
	X(TICK, "tick")				/* rollout_deadline() has come */                  \
	X(NODE_REPORT, "node report")                                                              \
	X(NODE_UNREACHABLE, "node unreachable")	/* its lease ran out */                            \
	X(NODE_REACHABLE, "node reachable")                                                        \
	X(NODE_GONE, "node gone")		/* removed, cordoned, not selected any more */     \
	X(NODE_JOINED, "node joined")		/* new, or back after NODE_GONE */                 \
	X(NODE_BUSY, "node busy")		/* another deployment changes it (fleet.h) */      \
	X(NODE_FREE, "node free")                                                                  \
	X(GATE_VERDICT, "gate verdict")                                                            \
	X(WINDOW_CLOSED, "window closed")	/* no switching now: clocks stop */                \
	X(WINDOW_OPEN, "window open")                                                              \
	X(PAUSE, "pause")                                                                          \
	X(RESUME, "resume")                                                                        \
	X(PROMOTE, "promote")			/* ends the current stage's wait */                \
	X(PROMOTE_FULL, "promote --full")	/* ... and that of all later stages */             \
	X(ABORT, "abort")                                                                          \
	X(SUPERSEDE, "supersede")		/* a newer rollout takes over */                   \
	X(RETRY, "retry")			/* node or ROLLOUT_NO_NODE: all that failed */     \
	X(FREEZE, "freeze")			/* nobody new; going back goes on */               \
	X(UNFREEZE, "unfreeze")                                                                   \
	X(QUARANTINE, "quarantine")		/* evidence speaks against this node alone */

#define X(name, text) EVENT_##name,
enum rollout_event_kind { ROLLOUT_EVENTS(X) EVENT_COUNT };
#undef X

enum verdict { VERDICT_NONE, VERDICT_PASS, VERDICT_FAIL, VERDICT_INCONCLUSIVE,
	       VERDICT_PROMISED, /* inconclusive, but the promised rates are proven to be kept */
	       VERDICT_COUNT };

#define ROLLOUT_NO_NODE UINT32_MAX

struct rollout_why { /* struct reason without its log, which the shell keeps with the report */
	char phase[LIMIT_SHORT_TEXT + 1]; /* "" : no reason */
	char check[LIMIT_SHORT_TEXT + 1];
	char text[LIMIT_REASON_TEXT + 1];
};

struct rollout_event {
	enum rollout_event_kind kind;
	uint64_t at_ms;
	uint32_t node; /* index in the rollout (rollout_find); ROLLOUT_NO_NODE: not about a node */

	/* NODE_REPORT: the part of struct deployment_report that decides */
	enum node_state state;
	struct digest release;
	struct digest target;
	struct rollout_id rollout;
	uint64_t attempt;
	bool staged, proven, healthy;
	/* The report answers the newest desired state that was made for this node: its generation
	 * is not older. A heartbeat with that generation and the sequence of the known status makes
	 * the known status current: feed the same report again. */
	bool current;

	/* GATE_VERDICT */
	uint32_t stage;
	enum verdict verdict;

	/* NODE_JOINED */
	struct node_id id;
	char group[LIMIT_LABEL_VALUE + 1]; /* value of the max_unavailable_per label, "" without */
	bool reachable;

	/* why: of the report, the verdict, or the operator's words */
	struct rollout_why why;
};

/* A zero event with kind, time and node; pass ROLLOUT_NO_NODE where it is about none. */
struct rollout_event rollout_event_make(enum rollout_event_kind kind, uint64_t at_ms,
					uint32_t node);
/* The report of a node. The reason is that of report->last when it speaks of the same change.
 * report NULL: the node's status does not mention the deployment, so nothing of it is there. */
struct rollout_event rollout_event_report(uint64_t at_ms, uint32_t node,
					  const struct deployment_report *report, bool current);
const char *rollout_event_name(enum rollout_event_kind kind);
const char *verdict_name(enum verdict verdict);
