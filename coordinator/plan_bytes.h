/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan moves (plan_bytes.c). */
#pragma once

#include "coordinator/control.h"

struct plan_bytes {
	uint64_t total;	   /* to all nodes together */
	uint64_t chunks;   /* the same without deltas */
	uint64_t distinct; /* that have to leave the coordinator at least once */
	bool deltas_pending; /* they are being made: it will be less */
};

/* An array with what each node must fetch and the rate at which it last did. */
json_t *plan_bytes_show(struct coordinator *c, const struct plan *plan, const struct digest *to,
			struct plan_bytes *ret_bytes);
