/* SPDX-License-Identifier: Apache-2.0 */
/* The traffic map: routes of a request resolved against what runs, applied in one transaction. */
#pragma once

#include "agent/helper/worker.h"

/* Applies the request's complete list of routes and remembers it for restoring. With mode
 * "restore" routes whose slot is gone are left out instead of refused. */
int traffic_apply(struct worker *worker, struct err *err) COVEY_MUST_CHECK;
/* Removes the table with everything in it; 0 also when there is none. */
int traffic_drop(struct worker *worker, struct err *err) COVEY_MUST_CHECK;
