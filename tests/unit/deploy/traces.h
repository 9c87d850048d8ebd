/* SPDX-License-Identifier: Apache-2.0 */
/* What the trace tests share: the usual beginnings and questions. */
#pragma once

#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define assert_log(w, text) assert_string_equal(world_log(w), text)
#define assert_phase(w, i, phase_)                                                                 \
	assert_string_equal(deploy_phases[world_deploy(w, i)->record.phase].text,                  \
			    deploy_phases[DEPLOY_##phase_].text)
#define assert_state(w, i, state_) assert_int_equal(world_report(w, i).state, NODE_STATE_##state_)
#define assert_completed(w, i, release_)                                                           \
	do {                                                                                       \
		struct deployment_report completed_ = world_report(w, i);                          \
		assert_int_equal(completed_.last.kind, OUTCOME_COMPLETED);                         \
		assert_true(digest_equal(&completed_.last.release, &(release_)));                  \
		assert_int_equal(completed_.state, NODE_STATE_SERVING);                            \
	} while (0)
#define assert_serves(w, i, release) assert_true(world_answers(w, i, &(release)))

/* A rollout of `next` reaches this node. */
static inline void trace_rollout(struct world *w, int i, struct digest base, struct digest next,
				 enum goal goal)
{
	struct assignment *a = world_assignment(w, i);

	a->base = base;
	a->next = next;
	a->goal = goal;
	a->rollout.bytes[0] = next.bytes[0];
	world_desire(w);
}

/* The rollout has completed: its release is the base now. */
static inline void trace_complete(struct world *w, int i, struct digest base)
{
	struct assignment *a = world_assignment(w, i);

	a->base = base;
	a->next = R0;
	a->goal = GOAL_NONE;
	a->hold_old = false;
	a->rollout = (struct rollout_id){0};
	world_desire(w);
}

/* A node on which `release` was committed and nothing else is left. */
static inline void trace_installed(struct world *w, int i, struct digest release)
{
	trace_rollout(w, i, R0, release, GOAL_SERVE);
	world_run(w, 70000);
	trace_complete(w, i, release);
	world_run(w, 200000);
	world_log(w);
	assert_phase(w, i, IDLE);
	assert_serves(w, i, release);
}
