/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows. Order matters inside a phase: what ends a change stands before what brings it on. The
 * rows that several phases share are lists of their own: QUIET while nothing but the serving slot
 * has to be looked after, CHANGE while a release is prepared in the idle slot.
 */
#include "agent/core/deploy_state.h"

#define QUIET(X, P)                                                                                \
	X(P, ANY, must_fall_back, begin_fallback, REVERTING)                                       \
	X(P, ANY, crash_loops_alone, note_crash_loop, P)                                           \
	X(P, ANY, warm_is_over, retire_warm, P)                                                    \
	X(P, MEMORY_PRESSURE, has_warm, retire_warm, P)

#define CHANGE(X, P)                                                                               \
	X(P, ANY, failed_old_stands, end_failed, IDLE)                                             \
	X(P, ANY, failed_old_down, begin_rollback, REVERTING)                                      \
	X(P, RESUMED, has_rebooted, begin_again, FETCHING)                                         \
	X(P, ANY, unwanted_old_stands, drop, IDLE)                                                 \
	X(P, ANY, unwanted_old_down, drop_and_return, REVERTING)

/* X(PHASE, EVENT, guard, action, NEXT) */
#define DEPLOY_ROWS(X)                                                                             \
	X(IDLE, ANY, must_be_removed, begin_removal, REMOVING)                                     \
	X(IDLE, ANY, must_recover, begin_recovery, REVERTING)                                      \
	X(IDLE, ANY, must_return, begin_return, REVERTING)                                         \
	QUIET(X, IDLE)                                                                             \
	X(IDLE, ANY, is_refused, note_refusal, IDLE)                                               \
	X(IDLE, ANY, must_bake_again, begin_rebake, BAKING)                                        \
	X(IDLE, ANY, must_change, begin_change, FETCHING)                                          \
	X(FETCHING, ANY, has_failed, end_failed, IDLE)                                             \
	X(FETCHING, ANY, is_unwanted, drop, IDLE)                                                  \
	QUIET(X, FETCHING)                                                                         \
	X(FETCHING, FETCH_DONE, is_fetched, nothing, STAGED)                                       \
	X(STAGED, ANY, is_unwanted, drop, IDLE)                                                    \
	QUIET(X, STAGED)                                                                           \
	X(STAGED, ANY, may_reuse, nothing, PREPARED)                                               \
	X(STAGED, ANY, may_prepare, begin_clearing, CLEARING)                                      \
	CHANGE(X, CLEARING)                                                                        \
	X(CLEARING, ANY, is_clear, nothing, PREFLIGHT)                                             \
	CHANGE(X, PREFLIGHT)                                                                       \
	X(PREFLIGHT, PREFLIGHT_OK, is_of_target, nothing, UNPACKING)                               \
	CHANGE(X, UNPACKING)                                                                       \
	X(UNPACKING, UNPACKED, is_of_target, nothing, PREPARED)                                    \
	X(UNPACKING, DAMAGED, is_of_target, fetch_again, FETCHING)                                 \
	CHANGE(X, PREPARED)                                                                        \
	X(PREPARED, GRANT, target_is_warm, take_warm, READYING)                                    \
	X(PREPARED, GRANT, must_stop_first, begin_stop, STOPPING)                                  \
	X(PREPARED, GRANT, always, begin_start, STARTING)                                          \
	CHANGE(X, STOPPING)                                                                        \
	X(STOPPING, ANY, old_is_stopped, begin_start, STARTING)                                    \
	CHANGE(X, STARTING)                                                                        \
	X(STARTING, ANY, target_runs, nothing, READYING)                                           \
	CHANGE(X, READYING)                                                                        \
	X(READYING, ANY, target_is_ready, nothing, SMOKING)                                        \
	CHANGE(X, SMOKING)                                                                         \
	X(SMOKING, SMOKE_PASSED, may_go_on, prove, SWITCHING)                                      \
	X(SMOKING, SMOKE_PASSED, always, prove, PROVEN)                                            \
	CHANGE(X, PROVEN)                                                                          \
	X(PROVEN, GRANT, always, nothing, SWITCHING)                                               \
	X(SWITCHING, ANY, must_be_removed, begin_removal, REMOVING)                                \
	X(SWITCHING, ANY, has_failed, begin_rollback, REVERTING)                                   \
	X(SWITCHING, RESUMED, has_rebooted, begin_again, FETCHING)                                 \
	X(SWITCHING, ANY, is_abandoned, abandon, REVERTING)                                        \
	X(SWITCHING, ANY, is_switched, begin_bake, BAKING)                                         \
	X(BAKING, ANY, must_be_removed, begin_removal, REMOVING)                                   \
	X(BAKING, ANY, has_failed, begin_rollback, REVERTING)                                      \
	X(BAKING, ANY, is_abandoned, abandon, REVERTING)                                           \
	X(BAKING, ANY, bake_must_begin, rebegin_bake, BAKING)                                      \
	X(BAKING, ANY, bake_is_over, commit, IDLE)                                                 \
	X(REVERTING, ANY, must_be_removed, begin_removal, REMOVING)                                \
	X(REVERTING, ANY, is_back, end_return, IDLE)                                               \
	X(REVERTING, ANY, way_back_failed, keep_what_answers, IDLE)                                \
	X(REVERTING, ANY, back_slot_is_free, start_back, REVERTING)                                \
	X(REMOVING, ANY, may_stay, stay, IDLE)                                                     \
	X(REMOVING, ANY, is_empty, forget, GONE)                                                   \
	X(GONE, ANY, is_assigned, nothing, IDLE)

#define X(phase, event, guard, action, next)                                                       \
	{DEPLOY_##phase, DEPLOY_EVENT_##event, #guard, #action, deploy_guard_##guard,              \
	 deploy_action_##action, DEPLOY_##next},
const struct deploy_row deploy_rows[] = {DEPLOY_ROWS(X)};
#undef X
const size_t deploy_rows_count = ARRAY_SIZE(deploy_rows);

#define X(name, text, state, clock, waits)                                                         \
	[DEPLOY_##name] = {text, NODE_STATE_##state, clock, DEPLOY_EVENT_##waits},
const struct deploy_phase_info deploy_phases[DEPLOY_PHASE_COUNT] = {DEPLOY_PHASES(X)};
#undef X

#define X(name, text, meaning) [DEPLOY_EVENT_##name] = text,
const char *const deploy_event_texts[DEPLOY_EVENT_COUNT] = {DEPLOY_EVENTS(X)};
#undef X

void deploy_table_print(struct str *out)
{
	str_add(out, "stateDiagram-v2\n	[*] --> idle\n");
	for (size_t i = 0; i < deploy_rows_count; i++) {
		const struct deploy_row *row = &deploy_rows[i];

		str_addf(out, "	%s --> %s: %s", deploy_phases[row->phase].text,
			 deploy_phases[row->next].text, row->guard_text);
		if (row->event != DEPLOY_EVENT_ANY)
			str_addf(out, " [%s]", deploy_event_texts[row->event]);
		if (!str_equal(row->action_text, "nothing"))
			str_addf(out, " / %s", row->action_text);
		str_add(out, "\n");
	}
	str_add(out, "	gone --> [*]\n");
}
