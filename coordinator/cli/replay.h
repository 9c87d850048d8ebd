/* SPDX-License-Identifier: Apache-2.0 */
/* The evidence of a whole rollout, judged again. */
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>

/* Is this what `covey rollout show -o json` prints? */
bool replay_is_rollout(const json_t *evidence);
/* An array with each gate's numbers and verdict, beside the one that was recorded. -EINVAL with the
 * field that is wrong. */
int replay_rollout(const char *file, const json_t *rollout, json_t **ret_gates,
                   struct err *err) COVEY_MUST_CHECK;
