/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node says about itself. Level-triggered: every status is the whole truth about a
 * deployment on the node, so a lost one costs latency and nothing else. The names in these
 * X-macros are the contract of `-o json` (product.md).
 */
#pragma once

#include "covey/ids.h"

#define NODE_STATES(X)                                                                             \
	X(PENDING, "pending")                                                                      \
	X(FETCHING, "fetching")                                                                    \
	X(STAGED, "staged")                                                                        \
	X(STARTING, "starting")                                                                    \
	X(PROBING, "probing")                                                                      \
	X(SWITCHING, "switching")                                                                  \
	X(BAKING, "baking")                                                                        \
	X(SERVING, "serving")                                                                      \
	X(REVERTING, "reverting")                                                                  \
	X(ROLLED_BACK, "rolled_back")                                                              \
	X(FAILED, "failed")                                                                        \
	X(UNREACHABLE, "unreachable")

#define SLOT_STATES(X)                                                                             \
	X(EMPTY, "empty")                                                                          \
	X(STARTING, "starting")                                                                    \
	X(WARM, "warm")                                                                            \
	X(SERVING, "serving")                                                                      \
	X(DRAINING, "draining")                                                                    \
	X(FAILED, "failed")

#define X(name, text) NODE_STATE_##name,
enum node_state { NODE_STATES(X) NODE_STATE_COUNT };
#undef X
#define X(name, text) SLOT_STATE_##name,
enum slot_state { SLOT_STATES(X) SLOT_STATE_COUNT };
#undef X

struct reason { /* why something failed; phase "" means no reason */
	char phase[LIMIT_SHORT_TEXT + 1]; /* fetch preflight unpack start ready smoke switch bake
					     serve deadline coordinator */
	char check[LIMIT_SHORT_TEXT + 1]; /* exited, health, smoke:<name>, digest, disk, ... */
	char text[LIMIT_REASON_TEXT + 1];
	char *log; /* last lines of the container's log, or NULL; heap */
};

enum outcome_kind { OUTCOME_NONE, OUTCOME_COMPLETED, OUTCOME_ROLLED_BACK, OUTCOME_ABORTED,
		    OUTCOME_FAILED, OUTCOME_UNREACHABLE, OUTCOME_COUNT };

struct outcome { /* how the last change of a deployment on this node ended */
	enum outcome_kind kind;
	struct rollout_id rollout;
	struct digest release;
	uint64_t attempt;
	uint64_t at_unix_ms;
	struct reason reason;
};

struct slot_report {
	enum colour colour;
	enum slot_state state;
	struct digest release;
};

struct deployment_report {
	char deployment[LIMIT_NAME + 1];
	enum node_state state;	   /* of the change under way, else SERVING/ROLLED_BACK/FAILED/PENDING */
	struct digest release;	   /* that clients reach now; zero: nothing serves */
	struct digest target;	   /* that the state speaks of */
	struct rollout_id rollout; /* that the state speaks of; zero: none */
	uint64_t attempt;
	bool staged;  /* the rollout's release lies complete and verified on the node's disk */
	bool proven;  /* ... and has passed readiness and smoke tests in the idle slot */
	bool healthy; /* the serving slot answers its probe */
	uint64_t bytes_done, bytes_total; /* of the fetch under way */
	uint64_t bytes_from_peers; /* of those; the rest came from the coordinator or was here */
	uint64_t fetch_rate;	   /* bytes a second */
	struct slot_report slots[COLOUR_COUNT];
	struct outcome last;
};

struct inventory {
	char hostname[LIMIT_SHORT_TEXT + 1];
	char os[LIMIT_SHORT_TEXT + 1];
	char arch[LIMIT_SHORT_TEXT + 1];
	char kernel[LIMIT_SHORT_TEXT + 1];
	char runtime[LIMIT_SHORT_TEXT + 1]; /* "runc 1.1.5" */
	uint32_t cpus;
	uint64_t memory_bytes;
	uint64_t disk_free_bytes; /* where the chunk store is */
};

struct node_status { /* sequence counts up with each change; not kept over a boot epoch */
	uint64_t boot_epoch; /* rises with each start of the agent, also when its journal was lost */
	uint64_t sequence;
	uint64_t epoch;	     /* of the desired state that this answers */
	uint64_t generation;
	struct inventory inventory;
	struct deployment_report *deployments;
	size_t deployments_count;
};
