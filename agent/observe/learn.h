/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A baseline from production, for a release that brought none: the features of its first clean
 * observations are kept, then made into frozen bins once. Memory is bounded by LEARN_OBSERVATIONS
 * and LIMIT_FEATURES: 4 KB a numeric feature. Pure.
 */
#pragma once

#include "agent/observe/observation.h"
#include "base/err.h"

enum { LEARN_OBSERVATIONS = 1000 };

struct learn;

struct learn *learn_create(void);
void learn_free(struct learn *learn);
/* What was learned so far is not clean: begin again. */
void learn_restart(struct learn *learn);

/* An observation that ended well. Only those with features count. */
void learn_take(struct learn *learn, const struct observation *observation);
bool learn_is_done(const struct learn *learn);

/* Caller: build_free(). -ENODATA: no feature was seen often enough. */
int learn_finish(struct learn *learn, struct baseline *ret_baseline,
		 struct err *err) COVEY_MUST_CHECK;
