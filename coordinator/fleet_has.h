/* SPDX-License-Identifier: Apache-2.0 */
/* What of a release some node holds already (fleet_has.c). */
#pragma once

#include "coordinator/shell.h"

struct fleet_has {
	uint64_t nodes;			     /* that hold any of it */
	uint64_t bytes, chunks;		     /* that one of them holds */
	uint64_t release_bytes, release_chunks; /* of all: each chunk once */
};

/* By the releases that nodes report in their slots, the first FLEET_HAS_RELEASES of them. */
enum { FLEET_HAS_RELEASES = 64 };

void fleet_has_count(struct coordinator *c, const struct digest *release,
		     struct fleet_has *ret_has);
