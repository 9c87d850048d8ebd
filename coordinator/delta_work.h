/* SPDX-License-Identifier: Apache-2.0 */
/* Making the delta set of one pair of releases, a bounded step at a time. */
#pragma once

#include "coordinator/shell.h"

struct delta_work;

/* -ENOENT, -EBADMSG: what it is made from is not here, or damaged. */
int delta_work_begin(struct coordinator *c, const struct digest *target, const struct digest *base,
		     struct delta_work **ret_work, struct err *err) COVEY_MUST_CHECK;
/* -EAGAIN: there is more to do. 0: ret_delta is what to tell nodes, and the store has it; its set
 * is zero where no delta is worth it. */
int delta_work_step(struct coordinator *c, struct delta_work *work, struct store_delta *ret_delta,
		    struct err *err) COVEY_MUST_CHECK;
void delta_work_free(struct delta_work *work);
bool delta_work_is_about(const struct delta_work *work, const struct digest *release);
