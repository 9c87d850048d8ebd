/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sender still has to send, to whom next, and how much at once: a fair queue with a budget
 * for the whole sender. Used by agents that serve peers (agent/core/serve.h) and by the origin
 * (coordinator/core/seeding.h).
 *
 * Order: between peers a deficit round robin (Shreedhar, Varghese: "Efficient fair queuing using
 * deficit round robin", SIGCOMM 1995), for one peer first come first served. Budget: what was sent
 * and not yet confirmed is held at UPLINK_BUDGET_MS of the measured rate of the whole uplink, so
 * that nothing waits long in sockets, where it could neither be cancelled nor overtaken. Bytes
 * towards a peer that does not confirm for UPLINK_STALE_MS do not count against the others, and
 * that peer gets nothing more until it confirms.
 *
 * Confirmation is cumulative: each message from the receiver to the sender says how many bytes of
 * objects it took over this connection since it was made (all that came: good, bad or double).
 *
 * Items are the caller's numbers; the queue never looks into them. Times: milliseconds of
 * CLOCK_BOOTTIME. Memory is allocated in uplink_create() only.
 */
#pragma once

#include "base/bucket.h"
#include "base/cleanup.h"

#include <stddef.h>

enum {
	UPLINK_BUDGET_MS = 400,
	UPLINK_BUDGET_MIN = 1 << 20, /* bytes; before a rate is known, and on slow links */
	UPLINK_STALE_MS = 500,
};

struct uplink_item {
	uint32_t peer;
	uint32_t size; /* bytes; what the send costs */
	uint64_t item;
};

struct uplink;

/* peers: slots 0..peers-1, all away at first; items: most that wait at once, of all peers. */
struct uplink *uplink_create(uint32_t peers, uint32_t items);
void uplink_free(struct uplink *uplink);
COVEY_DEFINE_CLEANUP(struct uplink *, uplink_free)

void uplink_set_rate(struct uplink *uplink, uint64_t bytes_per_s, uint64_t now_ms); /* 0: none */
/* For receivers that many others send to: now and then twice the budget, to see whether more gets
 * through. Where what is sent is passed on over many nodes the longer queues cost more. */
void uplink_set_searching(struct uplink *uplink, bool searching);
void uplink_join(struct uplink *uplink, uint32_t peer);	 /* a fresh connection */
void uplink_leave(struct uplink *uplink, uint32_t peer); /* it broke: forgets what waits */

/* It gets its turn only when none of the others has anything waiting. */
void uplink_set_after(struct uplink *uplink, uint32_t peer, bool after);

/* -ENOSPC: the queue is full. -ENOTCONN: the peer did not join. */
int uplink_push(struct uplink *uplink, uint32_t peer, uint64_t item,
		uint32_t size) COVEY_MUST_CHECK;
/* Forgets what waits for the peer and is `item` in the bits of mask; mask 0: all of it. Returns how
 * many. What was sent is sent. */
uint32_t uplink_drop(struct uplink *uplink, uint32_t peer, uint64_t mask, uint64_t item);
/* Send this now; call until it returns false. It counts as sent. */
bool uplink_next(struct uplink *uplink, uint64_t now_ms, struct uplink_item *ret_item);
/* What uplink_next() just returned turned out to have another size; 0: nothing was sent. */
void uplink_correct(struct uplink *uplink, const struct uplink_item *item, uint32_t size);
/* total: all bytes that the peer took since it joined. Less than before or more than was sent:
 * false, the peer lies or is broken; nothing changes. */
bool uplink_taken(struct uplink *uplink, uint32_t peer, uint64_t total, uint64_t now_ms);
/* When to call uplink_next() again; UINT64_MAX: only an event helps. */
uint64_t uplink_deadline(struct uplink *uplink, uint64_t now_ms);

uint32_t uplink_waiting(const struct uplink *uplink, uint32_t peer);	/* items */
uint64_t uplink_open_bytes(const struct uplink *uplink, uint32_t peer); /* waiting, under way */
uint64_t uplink_rate(const struct uplink *uplink); /* measured, bytes a second; 0: not yet */
uint64_t uplink_sent(const struct uplink *uplink); /* bytes, ever */
