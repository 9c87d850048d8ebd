/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries what containers print to the systemd journal, by its native protocol, with fields that
 * say which deployment, slot and release spoke. Wakes up only when something was written, at most
 * PUMP_LINES_PER_SECOND lines a second and slot (a burst of ten seconds is let through); what is
 * beyond is counted and said. Where no journal runs nothing is sent.
 */
#pragma once

#include "agent/helper/loop.h"
#include "agent/helper/record.h"

enum { PUMP_LINES_PER_SECOND = 200, PUMP_BURST = 2000 };

struct pump { /* one slot's log; embedded in its owner */
	struct slot_name slot;
	struct record record;
	char path[PATHS_MAX], place[PATHS_MAX]; /* the log; where its read position is kept */
	int watch; /* inotify descriptor of the log's folder; -1: none */
	int log;   /* -1: not open */
	uint64_t inode, offset;
	uint64_t tokens, filled_ms, dropped;
	uint64_t resume_ms; /* 0: nothing is left to read */
};

struct pumps {
	struct loop_source inotify;
	int journal;
	struct pump *(*find)(void *context, int watch);
	void *context;
};

/* find() tells the pump that a watch descriptor belongs to. */
int pumps_open(struct pumps *pumps, struct loop *loop,
               struct pump *(*find)(void *context, int watch), void *context,
               struct err *err) COVEY_MUST_CHECK;
/* Goes on where an earlier life of the helper stopped. */
void pump_open(struct pumps *pumps, struct pump *pump, const struct agent_config *config,
               const struct slot_name *slot, const struct record *record);
/* pump_run() before it takes what is left. */
void pump_close(struct pumps *pumps, struct pump *pump);
/* Call when pump->resume_ms is over. */
void pump_run(struct pumps *pumps, struct pump *pump, uint64_t now_ms);
