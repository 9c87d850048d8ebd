/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and clearing one slot: the order of things, each of which other modules do. */
#pragma once

#include "agent/helper/record.h"
#include "agent/helper/worker.h"
#include "covey/release.h"

/* The release of the request runs in the slot of the request afterwards. */
int slot_start(struct worker *worker, struct err *err) COVEY_MUST_CHECK;
/* Nothing is left of the slot afterwards but what it keeps (address, log). */
int slot_stop(struct worker *worker, struct err *err) COVEY_MUST_CHECK;
/* Clients' connections to the slot are forgotten by the kernel's NAT: their next packet goes where
 * the map leads now, where nobody knows them, and is answered with a reset. */
int slot_close(struct worker *worker, struct err *err) COVEY_MUST_CHECK;
/* The release's health command, inside. */
int slot_exec(struct worker *worker, struct err *err) COVEY_MUST_CHECK;

/* Clears what is left of a slot, whatever state it is in; does not ask processes to end. */
int slot_clear(struct worker *worker, const struct slot_name *slot,
               struct err *err) COVEY_MUST_CHECK;

/* Below the slot's run directory: model files with their owners mapped. */
#define SLOT_MODEL "/model"

struct slot_tree { /* what a container sees; borrowed paths */
	const char *const *layers; /* bottom first */
	size_t layers_count;
	const char *model; /* directory, or NULL: none */
	uint32_t first_id; /* of the slot's range of ids (idmap.h); 0: no user namespace */
};

/* The merged root file system, mounted read-only at <slot run>/rootfs in a mount
 * namespace of this worker's own, which conmon and the container inherit: it ends with them, and
 * no mount is ever left over on the node. */
int slot_mount(struct worker *worker, const struct slot_name *slot, const struct slot_tree *tree,
               struct err *err) COVEY_MUST_CHECK;
