/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One deployment on one node, as a pure machine (docs/ARCHITECTURE.md, docs/STATES.md). The shell
 * tells it what happened (deploy_apply), writes `record` down if that says so, asks what must be
 * true outside (deploy_decide), makes it true and tells the result as a further event. Everything
 * may be told twice; what comes too late is recognised by its release and colour and ignored.
 *
 * Times: now_ms is CLOCK_BOOTTIME, unix_ms is for records that people read. agent/core/node.h
 * stands above the deployments and arbitrates.
 */
#pragma once

#include "agent/core/deploy_record.h"

enum deploy_fact { DEPLOY_SLOT_EMPTY, DEPLOY_SLOT_RUNNING, DEPLOY_SLOT_EXITED, DEPLOY_FACT_COUNT };

struct deploy_slot_state { /* what is known of a slot; not kept over a restart */
	enum deploy_fact fact;
	bool ready;		 /* has answered its probe since it started */
	bool healthy;		 /* ready, and fewer than `failures` failed in a row */
	uint32_t probe_failures; /* in a row */
	uint64_t started_ms;
	uint64_t probe_due_ms;	 /* an answer that comes later counts as a failure; 0: none due */
	uint64_t start_at_ms;	 /* backoff: not started before */
	bool fresh;		 /* the newest probe was answered healthy */
	uint32_t restarts;	 /* in a row, for the backoff */
	uint32_t crashes;	 /* in the window */
	uint64_t crash_window_ms; /* when it began */
	bool connections_known;
	uint64_t connections;
	bool overstayed; /* the drain is over, and clients still hold connections */
};

enum deploy_route { DEPLOY_ROUTE_UNKNOWN, DEPLOY_ROUTE_CLOSED, DEPLOY_ROUTE_OPEN,
		    DEPLOY_ROUTE_COUNT };

struct deploy {
	struct deploy_record record;
	struct deploy_slot_state slots[COLOUR_COUNT];
	bool resuming; /* restored: nothing is decided before DEPLOY_EVENT_RESUMED */
	bool download_open, switch_open; /* time windows, as the shell last said */
	enum deploy_route route;	 /* as it is; with OPEN: to which slot */
	enum colour route_colour;
	uint32_t route_failures;
	uint64_t route_at_ms; /* not tried again before */
	bool verdict;	 /* the change has failed: record.last.reason says why */
	bool back_failed;  /* REVERTING: where we go back to does not come up */
	uint64_t now_ms;   /* of the last event */
	uint64_t waiting_since_ms; /* for the switch; 0: does not wait */
	uint64_t bytes_done, bytes_total;
};

/* What happened. release, colour: which object the event speaks of; the machine ignores an event
 * about something that it does not have (any more). Pointers are borrowed for the call. */
struct deploy_event {
	enum deploy_event_kind kind;
	uint64_t now_ms;
	uint64_t unix_ms;
	uint64_t random;	/* for jitter */
	enum colour colour;	/* SLOT_*, ADOPT, PROBE_*, SMOKE_*, CONNECTIONS, ROUTED if open */
	struct digest release;	/* FETCH_*, PREFLIGHT_*, UNPACK*, SLOT_*, ADOPT, PROBE_*, SMOKE_*,
				   ROUTED if open: what the map now leads to */
	const struct assignment *assignment; /* DESIRED; NULL: no longer in desired state */
	struct deploy_health health; /* FETCH_DONE */
	bool permanent;		     /* FETCH_FAILED: digest, signature, disk: no use in waiting */
	bool running;		     /* ADOPT: else it has exited */
	bool rebooted;		     /* RESUMED: the machine was started since the record */
	bool download_open, switch_open; /* WINDOWS */
	bool open;		     /* ROUTED: to colour; else the port is closed */
	uint64_t bytes_done, bytes_total; /* FETCH_PROGRESS */
	uint64_t connections;	     /* CONNECTIONS */
	const char *check;	     /* failures: disk, memory, digest, exited, <smoke's name> */
	const char *text;	     /* failures: one sentence; may be NULL */
	const char *log;	     /* SLOT_EXITED, START_FAILED, SLOT_LOG: last lines, or NULL */
};

enum deploy_probe { DEPLOY_PROBE_NONE, DEPLOY_PROBE_WANTED, DEPLOY_PROBE_COUNT };
enum deploy_slot_effect { DEPLOY_SLOT_LEAVE, DEPLOY_SLOT_RUN, DEPLOY_SLOT_EMPTY_IT,
			  DEPLOY_SLOT_EFFECT_COUNT };
enum deploy_route_effect { DEPLOY_ROUTE_LEAVE, DEPLOY_ROUTE_CLOSE, DEPLOY_ROUTE_TO,
			   DEPLOY_ROUTE_EFFECT_COUNT };

struct deploy_slot_effects {
	enum deploy_slot_effect slot; /* RUN: HELPER_START (UNPACK before it where the helper
					 lacks the release); EMPTY_IT: HELPER_STOP */
	struct digest release;	      /* RUN: this one; EMPTY_IT and probe: what is in it */
	bool kill;		      /* EMPTY_IT: at once */
	uint64_t grace_ms;	      /* EMPTY_IT: else SIGTERM, then SIGKILL after this */
	enum deploy_probe probe;      /* at the release's interval -> PROBE_OK, PROBE_FAILED */
	bool smoke;		      /* run the smoke tests -> SMOKE_PASSED, SMOKE_FAILED */
	bool connections;	      /* watch -> CONNECTIONS, every second or so */
	bool close;		      /* reset what clients still hold -> CONNECTIONS (0) */
};

/* What must now be true. Levels, not commands: the shell does what is not yet so, and does not do
 * a thing twice while it is under way. A wish that is no longer there is dropped (a fetch, a smoke
 * run, a probe are cancelled). */
struct deploy_effects {
	struct digest fetch;	 /* complete and verified on disk -> FETCH_*; zero: none */
	struct digest preflight; /* -> PREFLIGHT_OK, PREFLIGHT_FAILED */
	struct digest unpack;	 /* -> UNPACKED, UNPACK_FAILED */
	enum colour idle;	 /* slot that preflight is about */
	uint64_t attempt;	 /* of the change, for the helper */
	struct deploy_slot_effects slots[COLOUR_COUNT];
	enum deploy_route_effect route; /* -> ROUTED, ROUTE_FAILED */
	enum colour route_colour;
	struct digest route_release;
	struct digest keep[DEPLOY_KEEP]; /* may not be deleted from disk */
	size_t keep_count;
};

/* A deployment that the node has not seen before. name must fit. */
void deploy_init(struct deploy *deploy, const char *name);
/* From what was written down. Decides nothing until ADOPT for each slot that the helper lists and
 * then RESUMED. -EINVAL: the record breaks a bound. */
int deploy_restore(struct deploy *deploy, const struct deploy_record *record) COVEY_MUST_CHECK;

/* May this event happen now? False: the shell has a bug, or the event is about nothing we know;
 * applying it is harmless. */
bool deploy_admits(const struct deploy *deploy, const struct deploy_event *event);
/* The only place that changes state; total. True: `record` changed, write it before acting. */
bool deploy_apply(struct deploy *deploy, const struct deploy_event *event);
/* What must be true outside, now. Writes all of *ret_effects. */
void deploy_decide(const struct deploy *deploy, uint64_t now_ms,
		   struct deploy_effects *ret_effects);
/* When to send DEPLOY_EVENT_TICK at the latest; DEPLOY_NEVER: only an event helps. */
uint64_t deploy_deadline(const struct deploy *deploy);

/* The whole truth for the coordinator. ret->last.reason.log points into *deploy: do not free it,
 * use codec_copy() to keep a report. */
void deploy_report(const struct deploy *deploy, struct deployment_report *ret_report);

/* For the node above: */
bool deploy_switches(const struct deploy *deploy);  /* holds the node's one switch */
bool deploy_waits(const struct deploy *deploy);	    /* goes on when it gets DEPLOY_EVENT_GRANT */
bool deploy_is_gone(const struct deploy *deploy);   /* nothing is left but vetoes */
/* The last outcome speaks of this release and has no container log yet: SLOT_LOG is welcome. */
bool deploy_lacks_log(const struct deploy *deploy, const struct digest *release);
bool deploy_vetoes(const struct deploy *deploy, const struct digest *release, uint64_t attempt);
