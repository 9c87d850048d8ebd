/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `covey-helper --clear`: the node as if Covey had never served on it, for the removal of the
 * package. State on the disk stays; it is removed with the package's configuration.
 */
#pragma once

#include "agent/helper/worker.h"

/* Ends every container, whatever state its slot is in, removes interfaces, control groups, the
 * nftables table, the slots' routes and the run directory, and turns forwarding off where the
 * helper turned it on. Does as much as it can; the first failure is the result. */
int clear_node(struct worker *worker, struct err *err) COVEY_MUST_CHECK;
