/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacked releases. A layer directory and a release directory appear under their names only when
 * they are complete, verified and on the disk; until then they have temporary names that nobody
 * looks at. Layers are shared by all releases that have them.
 */
#pragma once

#include "agent/helper/worker.h"

/* The request's release is ready to start afterwards. Quick when it is already. */
int store_unpack(struct worker *worker, struct err *err) COVEY_MUST_CHECK;
/* Removes releases that are neither in the request's list nor running, layers that no release
 * needs, and what broken attempts left. -EBUSY while another worker uses the store. */
int store_prune(struct worker *worker, struct err *err) COVEY_MUST_CHECK;
