/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The durable part of a deployment on a node: what the shell writes down before it acts, and reads
 * again after a restart. No pointers, so that a codec table can carry it. Bounds of the machine
 * stand here as well. Times are CLOCK_BOOTTIME milliseconds unless they say unix; after a reboot
 * the machine begins them again.
 */
#pragma once

#include "agent/core/deploy_table.h"
#include "covey/message.h"

enum {
	DEPLOY_CRASHES = 3,		 /* exits of the serving slot ... */
	DEPLOY_CRASH_WINDOW_MS = 600000, /* ... within this are a crash loop */
	DEPLOY_RESTART_MIN_MS = 1000,	 /* backoff between restarts */
	DEPLOY_RESTART_MAX_MS = 60000,
	DEPLOY_WORK_MS = 3600000,	 /* node deadline when the deployment has none */
	DEPLOY_REVERT_MS = 300000,	 /* a cold way back that takes longer has failed */
	DEPLOY_PROBE_SLACK_MS = 2000,	 /* a probe that is this late counts as failed */
	DEPLOY_ROUTE_TRIES = 3,		 /* map changes that fail in a row fail the switch */
	DEPLOY_ROUTE_RETRY_MS = 1000,
	DEPLOY_REBOOTS = 3,		 /* reboots in one bake after which the release is blamed */
	DEPLOY_KEEP = 8,		 /* releases that must stay on disk for one deployment */
};
#define DEPLOY_NEVER UINT64_MAX

struct deploy_health { /* of the release's contract, what the machine counts with */
	uint32_t failures; /* in a row; at least 1 */
	uint64_t interval_ms, timeout_ms, start_period_ms;
};

struct deploy_release { /* a release that is known to lie on this node's disk */
	struct digest digest; /* zero: none */
	struct deploy_health health;
};

enum deploy_want { /* what the machine wants of a slot */
	DEPLOY_WANT_NONE,  /* nothing is in it */
	DEPLOY_WANT_RUN,   /* runs, and is started again when it exits */
	DEPLOY_WANT_DRAIN, /* runs until its connections have ended or drain is over; then STOP */
	DEPLOY_WANT_STOP,  /* empty it: SIGTERM first */
	DEPLOY_WANT_KILL,  /* empty it at once: it failed */
	DEPLOY_WANT_COUNT
};

struct deploy_slot_record {
	struct deploy_release release; /* that it runs or shall run; zero: empty */
	enum deploy_want want;
	bool proven;		 /* ready and smoke-tested here, or committed: may get traffic */
	uint64_t drain_until_ms; /* 0: not draining */
};

struct deploy_veto {
	struct digest release;
	uint64_t attempt; /* a higher one in desired state clears it */
};

struct deploy_reason { /* struct reason without a pointer */
	char phase[LIMIT_SHORT_TEXT + 1];
	char check[LIMIT_SHORT_TEXT + 1];
	char text[LIMIT_REASON_TEXT + 1];
	char log[LIMIT_LOG_TAIL + 1];
};

struct deploy_outcome { /* struct outcome without a pointer */
	enum outcome_kind kind; /* NONE also while a way back is under way */
	struct rollout_id rollout;
	struct digest release;
	uint64_t attempt;
	uint64_t at_unix_ms;
	struct deploy_reason reason;
};

struct deploy_record { /* the durable part: written before anything is done about it */
	char name[LIMIT_NAME + 1];
	bool assigned; /* false: not in desired state, to be removed */
	struct assignment assignment;
	enum deploy_phase phase;
	bool serves;	     /* a slot is what clients are meant to reach ... */
	enum colour serving; /* ... this one; meaningless without `serves` */
	struct deploy_slot_record slots[COLOUR_COUNT];
	struct deploy_release target; /* of the change under way */
	struct rollout_id rollout;    /* that the change belongs to */
	uint64_t attempt;
	enum colour target_colour; /* the slot of the change; REVERTING: the one to leave */
	struct deploy_release fetched;	 /* newest release that lies complete and verified */
	struct deploy_release committed; /* last committed here; zero: none */
	struct deploy_release previous;	 /* committed before that; zero: none */
	struct deploy_release back;	 /* REVERTING: where to; zero: nothing, close the port */
	bool back_healthy;		 /* REVERTING: the slot that is left answers: drain it */
	enum outcome_kind ending;	 /* REVERTING: what it will be called */
	struct digest no_return;	 /* a way back to this failed: not tried again ... */
	uint64_t no_return_attempt;	 /* ... for this attempt */
	uint64_t work_ms;	  /* of the node deadline, used up before work_since_ms */
	uint64_t work_since_ms;	  /* 0: the clock stands (waiting for goal, window, switch) */
	uint64_t phase_since_ms;  /* REVERTING, REMOVING: when it began */
	uint64_t bake_since_ms;	  /* 0: not baking, or waits for the first answer after a reboot */
	uint32_t reboots;	  /* since the target was first started */
	uint64_t committed_ms;	  /* keep_warm counts from here */
	struct deploy_outcome last;
	struct deploy_veto vetoes[LIMIT_VETOES]; /* oldest first */
	uint32_t vetoes_count;
};

/* Do they say the same? Only then need the second not be written. */
bool deploy_record_same(const struct deploy_record *a, const struct deploy_record *b);
