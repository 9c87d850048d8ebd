/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the deployment's machine: questions about its state, and the few changes that both the
 * taking note of events (deploy_note.c) and the actions (deploy_action.c) make. Not for others.
 */
#pragma once

#include "agent/core/deploy.h"

enum deploy_wish_kind {
	WISH_KEEP,   /* what is, is right */
	WISH_CHANGE, /* the careful pipeline to `release`, as far as `goal` */
	WISH_RETURN, /* the coordinator's veto: to `release` (zero: to nothing) at once */
	WISH_REMOVE, /* not in desired state */
};

struct deploy_wish {
	enum deploy_wish_kind kind;
	struct digest release;
	enum goal goal;
};

/* What desired state, with this node's vetoes, asks for. */
struct deploy_wish deploy_wish(const struct deploy *d);
/* The release that clients are meant to reach; zero: none. */
struct digest deploy_serving(const struct deploy *d);
/* A release that was committed here and lies on this node's disk; NULL: it is not one. */
const struct deploy_release *deploy_local(const struct deploy *d, const struct digest *release);
/* Where to go when `left` has failed here; NULL: nowhere. */
const struct deploy_release *deploy_fallback(const struct deploy *d, const struct digest *left);
bool deploy_barred(const struct deploy *d, const struct digest *release); /* by the node's veto */
bool deploy_switch_allowed(const struct deploy *d);   /* the time window */
bool deploy_download_allowed(const struct deploy *d);
bool deploy_target_in(const struct deploy *d, enum deploy_phase first, enum deploy_phase last);
enum colour deploy_back_colour(const struct deploy *d); /* the slot that is not the change's */
uint64_t deploy_after(uint64_t ms, uint64_t more_ms);	/* saturating sum */
uint64_t deploy_probe_span(const struct deploy_release *release); /* from probe to late probe */
uint64_t deploy_work_end(const struct deploy *d); /* node deadline; DEPLOY_NEVER: clock stands */
/* The traffic map's entry as it should be; *ret_colour only with DEPLOY_ROUTE_OPEN. UNKNOWN: leave
 * it as it is for now. */
enum deploy_route deploy_route_wanted(const struct deploy *d, enum colour *ret_colour);

/* Slots */
void deploy_slot_begin(struct deploy *d, enum colour colour, const struct deploy_release *release);
void deploy_slot_kill(struct deploy *d, enum colour colour);   /* it failed */
void deploy_slot_retire(struct deploy *d, enum colour colour); /* it is not needed any more */
void deploy_slot_drain(struct deploy *d, enum colour colour);  /* finish, for at most drain_ms */
void deploy_slot_keep(struct deploy *d, enum colour colour);   /* take a drain back */
void deploy_slot_restart(struct deploy *d, enum colour colour, uint64_t random);

void deploy_clear_change(struct deploy *d); /* no change is under way */

/* Outcome and verdict */
void deploy_outcome(struct deploy *d, const struct deploy_event *e, enum outcome_kind kind,
		    const struct rollout_id *rollout, const struct digest *release,
		    uint64_t attempt);
void deploy_reason(struct deploy *d, const char *phase, const char *check, const char *text,
		   const char *log);
/* The change under way has failed; the phase's rows do the rest. */
void deploy_verdict(struct deploy *d, const struct deploy_event *e, const char *check,
		    const char *text, const char *log);
void deploy_veto_add(struct deploy *d, const struct digest *release, uint64_t attempt);
void deploy_veto_remove(struct deploy *d, const struct digest *release);

/* deploy_note.c: what an event says about the world, before any row is tried. */
void deploy_note(struct deploy *d, const struct deploy_event *e);
/* What follows from the clock. */
void deploy_note_time(struct deploy *d, const struct deploy_event *e);
/* What follows from the slots alone; between rows. */
void deploy_tidy(struct deploy *d);

/* deploy_guard.c and deploy_action.c: the words that the table's rows are made of. */
#define DEPLOY_GUARDS(X)                                                                           \
	X(always) X(must_be_removed) X(must_fall_back) X(crash_loops_alone) X(warm_is_over)        \
	X(has_warm) X(must_recover) X(must_return) X(is_refused) X(must_bake_again)                \
	X(must_change) X(is_unwanted) X(unwanted_old_stands) X(unwanted_old_down) X(has_failed)    \
	X(failed_old_stands) X(failed_old_down) X(is_fetched) X(may_reuse) X(may_prepare)          \
	X(is_clear) X(is_of_target) X(target_is_warm) X(must_stop_first) X(old_is_stopped)         \
	X(target_runs) X(target_is_ready) X(may_go_on) X(has_rebooted) X(is_abandoned)             \
	X(is_switched) X(bake_must_begin) X(bake_is_over) X(way_back_failed) X(back_slot_is_free)  \
	X(is_back) X(may_stay) X(is_empty) X(is_assigned)

#define DEPLOY_ACTIONS(X)                                                                          \
	X(nothing) X(begin_removal) X(begin_fallback) X(note_crash_loop) X(retire_warm)            \
	X(begin_recovery) X(begin_return) X(note_refusal) X(begin_rebake) X(begin_change)          \
	X(drop) X(drop_and_return) X(end_failed) X(begin_rollback) X(begin_clearing)               \
	X(take_warm) X(begin_stop) X(begin_start) X(prove) X(begin_again) X(fetch_again) X(abandon) \
	X(begin_bake) X(rebegin_bake) X(commit) X(keep_what_answers) X(start_back)                 \
	X(end_return) X(stay) X(forget)

#define X(name) bool deploy_guard_##name(const struct deploy *d, const struct deploy_event *e);
DEPLOY_GUARDS(X)
#undef X
#define X(name) void deploy_action_##name(struct deploy *d, const struct deploy_event *e);
DEPLOY_ACTIONS(X)
#undef X
