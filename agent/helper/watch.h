/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slots that run, as the resident helper sees them: it holds a pidfd of each container and of
 * its supervisor, notices an end at once, and carries the output to the journal. Nothing here is
 * the truth: watch_refresh() reads a slot's record from disk whenever it may have changed.
 */
#pragma once

#include "agent/helper/loop.h"
#include "agent/helper/record.h"

enum { WATCH_MAX = LIMIT_DEPLOYMENTS_PER_NODE * COLOUR_COUNT };

struct watch;

/* A container ended: exit code 255 when its supervisor did not live to say. */
struct watch_ended {
	const struct record *record;
	uint32_t exit_code;
	char *logs; /* its last lines; may be taken */
};

/* config and loop are borrowed. */
int watch_create(struct loop *loop, const struct agent_config *config,
                 void (*ended)(void *context, struct watch_ended *ended), void *context,
                 struct watch **ret_watch, struct err *err) COVEY_MUST_CHECK;
void watch_free(struct watch *watch); /* containers go on */

/* Every slot that is on disk; containers that ended before are not announced. */
int watch_adopt(struct watch *watch, struct err *err) COVEY_MUST_CHECK;
/* After a START or STOP of this slot. */
void watch_refresh(struct watch *watch, const struct slot_name *slot);

void watch_tick(struct watch *watch, uint64_t now_ms);
uint64_t watch_deadline(const struct watch *watch);
