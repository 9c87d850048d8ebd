/* SPDX-License-Identifier: Apache-2.0 */
/* What a smoke test expects against what came: pure, for covey-worker-smoke. */
#pragma once

#include "base/err.h"
#include "covey/release.h"

/* 0, or -EBADMSG and a sentence that says what differs, with the path inside the JSON:
 * "label: expected 7, got 1". status: of the answer; body: need not end with NUL. */
int compare_answer(const struct release_smoke *smoke, unsigned status, const void *body,
		   size_t size, struct err *err) COVEY_MUST_CHECK;
