/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counting of one slot: observations, crashes and scrapes go in, a record comes out when the
 * period ends. Pure but for its memory, which is taken at creation: the same for one observation
 * and for a million.
 */
#pragma once

#include "agent/observe/learn.h"
#include "agent/observe/observation.h"

struct tally;

struct tally_start { /* everything that stays the same within a record; borrowed for the call */
	const char *deployment;
	enum colour colour;
	struct digest release;
	struct observe_order order;
	struct digest baseline; /* id of the one that the tally was created with */
	bool serving;
	bool has_range;		    /* a score outside is invalid output */
	double score_min, score_max;
	uint64_t start_unix_ms;
	uint64_t now_ms; /* a clock without jumps */
	uint64_t age_ms;
};

/* baseline: NULL, or moved into the tally. */
struct tally *tally_create(struct baseline *baseline);
void tally_free(struct tally *tally);

/* A new record; what was open stays open. */
void tally_begin(struct tally *tally, const struct tally_start *start);

/* A datagram as it came. learn: NULL, or where clean observations go as well. */
void tally_datagram(struct tally *tally, const char *data, size_t size, uint64_t now_ms,
		    struct learn *learn);
void tally_rubbish(struct tally *tally, uint64_t now_ms); /* one that was too long */
void tally_dropped(struct tally *tally, uint64_t count);
/* The server ended by itself. Requests that had begun are lost with it; at least one counts, so
 * that a server which crashes before its first answer has a denominator. */
void tally_crashed(struct tally *tally, uint64_t now_ms);
void tally_smoke(struct tally *tally, uint64_t attempted, uint64_t failed);
/* From a server's /metrics: rises since the last look. bad: errors among the requests. */
void tally_requests(struct tally *tally, uint64_t attempted, uint64_t bad, uint64_t now_ms);
void tally_latency(struct tally *tally, uint64_t us, uint64_t count);
void tally_counter(struct tally *tally, const char *name, uint64_t rise);

/* Something was counted since tally_begin(). */
bool tally_is_dirty(const struct tally *tally);
const struct tally_start *tally_started(const struct tally *tally);

/* The record so far, without a name; caller: codec_free(&codec_observation_record, ...). Begin anew
 * afterwards. */
void tally_close(struct tally *tally, uint64_t now_ms, struct observation_record *ret_record);
