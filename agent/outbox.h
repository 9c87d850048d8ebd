/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Observation records between the end of their period and the coordinator's acknowledgement. Young
 * ones live in memory; those that wait longer go to the journal, where at most OUTBOX_MAX of them
 * stay for however long a node is away: records of one slot that were never sent are added up, those
 * with the fewest periods first, so that the past grows coarse and nothing is counted twice or lost.
 * Only when nothing can be added up the oldest is dropped, and the next record says so (`lost`).
 */
#pragma once

#include "agent/journal.h"
#include "covey/message.h"

enum { OUTBOX_MAX = 256 };

struct outbox;

/* What an earlier start left in the journal is taken over. The journal is borrowed. */
int outbox_open(struct journal *journal, uint64_t boot_epoch, struct outbox **ret_outbox,
		struct err *err) COVEY_MUST_CHECK;
void outbox_free(struct outbox *outbox);

/* Gives the record its name and takes it over. A journal that cannot be written costs nothing here
 * but memory, within OUTBOX_MAX. */
void outbox_add(struct outbox *outbox, struct observation_record *record);

/* Whatever is in memory alone goes to the journal. */
int outbox_store(struct outbox *outbox, struct err *err) COVEY_MUST_CHECK;

/* The oldest records, at most LIMIT_RECORDS and as many as a message holds, counted as sent from
 * here on, in the journal first. Caller: codec_free(&codec_msg_observed, ...). */
int outbox_take(struct outbox *outbox, struct msg_observed *ret_message,
		struct err *err) COVEY_MUST_CHECK;

/* Forgets all up to that one. False: nothing of it was here. */
bool outbox_acknowledge(struct outbox *outbox, uint64_t boot_epoch, uint64_t sequence);

size_t outbox_count(const struct outbox *outbox);
/* Some are in memory alone. */
bool outbox_is_young(const struct outbox *outbox);
