/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan moves, and how long that takes (plan_bytes.c). */
#pragma once

#include "coordinator/control.h"

struct plan_rates { /* bytes a second, as the operator says; 0: as they were measured last */
	uint64_t links, origin; /* origin 0: as links */
};

struct plan_bytes {
	uint64_t total;	   /* to all nodes together */
	uint64_t chunks;   /* the same without deltas */
	uint64_t distinct; /* that have to leave the coordinator at least once */
	bool deltas_pending; /* they are being made: it will be less */
	json_t *nodes; /* what each must fetch and the rate at which it last did; the caller's */
	json_t *time;  /* core/transfer.h in milliseconds; the caller's */
};

void plan_bytes_count(struct coordinator *c, const struct plan *plan, const struct digest *to,
		      const struct plan_rates *rates, struct plan_bytes *ret_bytes);
