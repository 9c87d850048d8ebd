/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May containers of this node have a user namespace of their own? A list of versions does not tell:
 * kernel, file system, runtime and the helper's own sandbox must agree. So it is tried, once for
 * each boot and runtime, with everything a slot needs, and the answer is kept in the run directory.
 */
#pragma once

#include "agent/helper/worker.h"

/* Tries it where nobody has yet. False: ret_why says why not, in a few words. */
bool userns_works(struct worker *worker, char *ret_why, size_t why_size);
