/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records merge by addition: on a node that was away, and at the coordinator for a window or a
 * group of nodes. What cannot be added is not: counts at other thresholds or bins.
 */
#pragma once

#include "covey/evidence.h"

/* Same deployment, slot, release, order and baseline: `b` may be added to `a` without losing
 * anything but the resolution in time. */
bool record_same(const struct observation_record *a, const struct observation_record *b);

/* Nothing happened: no count, no value. Such a record is not sent. */
bool record_is_empty(const struct observation_record *record);

/* dst += src. Counts, lengths and periods add up, the earliest start stays, the newest name (boot
 * epoch and sequence) wins. Exceedances are added where dst has the same threshold (all zero: taken
 * over), features where both have the same baseline; without one the other's stay out. */
void record_add(struct observation_record *dst, const struct observation_record *src);

/* Adds counts alone. */
void record_add_counts(struct observed_counts *dst, const struct observed_counts *src);

/* Attempts that ended badly: errors, timeouts, crashes, invalid. */
uint64_t record_bad(const struct observed_counts *counts);

/* -1, 0, 1: a's name is older, the same, newer than (boot epoch, sequence). */
int record_order(const struct observation_record *a, uint64_t boot_epoch, uint64_t sequence);
