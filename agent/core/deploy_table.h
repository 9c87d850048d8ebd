/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The deployment's states and transitions as data. deploy.c runs the rows, tests check them, and
 * deploy_table_print() draws them for docs/STATES.md: code and picture cannot differ.
 *
 * A row fires after its event was taken note of, when its guard says so; ANY fires after every
 * event (a guard then looks at levels: desired state, slots, clock). The first row that fires wins;
 * rows are tried again until none fires.
 */
#pragma once

#include "base/str.h"
#include "covey/report.h"

/* X(NAME, text, node state in reports, clock of the node deadline runs, what it waits for) */
#define DEPLOY_PHASES(X)                                                                           \
	X(IDLE, "idle", SERVING, false, DESIRED)                                                   \
	X(FETCHING, "fetching", FETCHING, false, FETCH_DONE)                                       \
	X(STAGED, "staged", STAGED, false, DESIRED)                                                \
	X(CLEARING, "clearing", STARTING, true, SLOT_STOPPED)                                      \
	X(PREFLIGHT, "preflight", STARTING, true, PREFLIGHT_OK)                                    \
	X(UNPACKING, "unpacking", STARTING, true, UNPACKED)                                        \
	X(PREPARED, "prepared", STAGED, false, GRANT)                                              \
	X(STOPPING, "stopping", STARTING, true, SLOT_STOPPED)                                      \
	X(STARTING, "starting", STARTING, true, SLOT_STARTED)                                      \
	X(READYING, "readying", PROBING, true, PROBE_OK)                                           \
	X(SMOKING, "smoking", PROBING, true, SMOKE_PASSED)                                         \
	X(PROVEN, "proven", STAGED, false, GRANT)                                                  \
	X(SWITCHING, "switching", SWITCHING, true, ROUTED)                                         \
	X(BAKING, "baking", BAKING, false, TICK)                                                   \
	X(REVERTING, "reverting", REVERTING, false, ROUTED)                                        \
	X(REMOVING, "removing", PENDING, false, SLOT_STOPPED)                                      \
	X(GONE, "gone", PENDING, false, DESIRED)

/* X(NAME, text, what the shell tells) */
#define DEPLOY_EVENTS(X)                                                                           \
	X(ANY, "any", "never sent: a row that is tried after every event")                         \
	X(DESIRED, "desired", "the assignment as it is now, or none")                              \
	X(WINDOWS, "windows", "which time windows are open")                                       \
	X(GRANT, "grant", "the node's one switch is free for this deployment (node.c sends it)")   \
	X(FETCH_PROGRESS, "fetch_progress", "bytes so far")                                        \
	X(FETCH_DONE, "fetch_done", "complete and verified on disk; brings the health contract")   \
	X(FETCH_FAILED, "fetch_failed", "permanent, or it will go on by itself")                   \
	X(PREFLIGHT_OK, "preflight_ok", "the release can run here")                                \
	X(PREFLIGHT_FAILED, "preflight_failed", "it cannot: check and text")                       \
	X(UNPACKED, "unpacked", "root file system and model files are ready")                      \
	X(UNPACK_FAILED, "unpack_failed", "check and text")                                        \
	X(DAMAGED, "damaged", "what was fetched is not right on the disk any more")                \
	X(SLOT_STARTED, "slot_started", "runs, has an address")                                    \
	X(START_FAILED, "start_failed", "check, text, log; the slot may hold leftovers")           \
	X(SLOT_EXITED, "slot_exited", "its container ended by itself; text, log")                  \
	X(SLOT_STOPPED, "slot_stopped", "is empty now")                                            \
	X(PROBE_OK, "probe_ok", "answered healthy")                                                \
	X(PROBE_FAILED, "probe_failed", "did not, or not in time")                                 \
	X(PROBE_LOST, "probe_lost", "the node could not ask: says nothing about the slot")         \
	X(SMOKE_PASSED, "smoke_passed", "every smoke test passed")                                 \
	X(SMOKE_FAILED, "smoke_failed", "check: its name")                                         \
	X(ROUTED, "routed", "the traffic map is in force as told")                                 \
	X(ROUTE_FAILED, "route_failed", "the map could not be changed")                            \
	X(CONNECTIONS, "connections", "clients' open connections to a slot")                       \
	X(SLOT_LOG, "slot_log", "last lines of a container that failed and is to be emptied")      \
	X(MEMORY_PRESSURE, "memory_pressure", "a warm slot may go")                                \
	X(ADOPT, "adopt", "after a restart: a slot that the helper lists")                         \
	X(RESUMED, "resumed", "after a restart: the list is complete; slots not in it are empty")  \
	X(TICK, "tick", "time has passed")

#define X(name, text, state, clock, waits) DEPLOY_##name,
enum deploy_phase { DEPLOY_PHASES(X) DEPLOY_PHASE_COUNT };
#undef X
#define X(name, text, meaning) DEPLOY_EVENT_##name,
enum deploy_event_kind { DEPLOY_EVENTS(X) DEPLOY_EVENT_COUNT };
#undef X

struct deploy;
struct deploy_event;

struct deploy_row {
	enum deploy_phase phase;
	enum deploy_event_kind event;
	const char *guard_text, *action_text;
	bool (*guard)(const struct deploy *deploy, const struct deploy_event *event);
	void (*action)(struct deploy *deploy, const struct deploy_event *event);
	enum deploy_phase next;
};

struct deploy_phase_info {
	const char *text;
	enum node_state state;
	bool clock;			 /* the node deadline counts in it */
	enum deploy_event_kind waits_for; /* what brings it on, as a rule */
};

extern const struct deploy_phase_info deploy_phases[DEPLOY_PHASE_COUNT];
extern const char *const deploy_event_texts[DEPLOY_EVENT_COUNT];
extern const struct deploy_row deploy_rows[];
extern const size_t deploy_rows_count;

/* The picture for docs/STATES.md: a Mermaid state diagram. */
void deploy_table_print(struct str *out);
