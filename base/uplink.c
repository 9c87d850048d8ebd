/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of peers run through one array. The turn: peers that have something waiting and may be
 * sent to, the one whose turn it is in front; those that were told to wait for the others are in
 * a turn of their own. The flight: peers with unconfirmed bytes, the one
 * that has been silent longest in front; when it has been silent for too long it is stale, leaves
 * both lists and its bytes no longer count.
 *
 * The rate is what was confirmed over windows in which something was always under way. A higher
 * sample is believed at once, a lower one only when the budget was the limit: a sender that has
 * little to send learns nothing about its link.
 *
 * A budget of so much time at the measured rate keeps a rate that is too low for ever where
 * confirmations take longer than that time: busy processors, receivers whose links are full of what
 * others send. Who searches doubles the budget now and then, and again while that brings more, and
 * takes the best of a few windows for the rate (the gain cycling and the filter of Cardwell, Cheng,
 * Gunn, Yeganeh, Jacobson: "BBR", ACM Queue 2016).
 */
#include "base/uplink.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>

enum {
	NONE = UINT32_MAX,
	QUANTUM = 256 << 10,
	WINDOW_MS = 500,
	WINDOW_FIRST_MS = 100,
	STALE_FIRST_MS = 10000, /* while no rate is known */
	BURST_MS = 250,
	CYCLE = 4, /* windows; the first of them has GAIN times the budget */
	GAIN = 2,
};

enum lists { TURN, TURN_AFTER, FLIGHT, LISTS };

struct slot { /* one waiting item, or a free one */
	uint64_t item;
	uint32_t size, next;
};

struct peer {
	uint64_t waiting, sent, taken; /* bytes; waiting: not sent yet */
	uint64_t heard_ms; /* the last confirmation, or the send that began the flight */
	uint32_t head, tail, count, deficit;
	uint32_t prev[LISTS], next[LISTS];
	bool joined, stale;
	bool after;  /* comes after the others */
	bool served; /* has had its quantum of this turn */
	bool in[LISTS];
};

struct list {
	uint32_t first, last;
};

struct uplink {
	struct peer *peers;
	struct slot *slots;
	uint32_t peers_count, free;
	uint32_t waiting; /* items */
	uint64_t flight;  /* unconfirmed bytes of peers that are not stale */
	uint64_t sent, rate, window_ms, window_bytes;
	uint64_t best[2]; /* rates of this cycle of windows and of the one before */
	uint32_t windows; /* of this cycle */
	bool searching;
	bool probing; /* in a window with GAIN times the budget */
	uint64_t idle_ms; /* since when nothing is under way, if so */
	bool limited;	  /* the budget was the limit in this window */
	struct bucket bucket;
	struct list lists[LISTS];
};

/* ---- lists ---- */

static void append(struct uplink *u, enum lists which, uint32_t at)
{
	struct list *list = &u->lists[which];
	struct peer *p = &u->peers[at];

	if (p->in[which])
		return;
	p->in[which] = true;
	p->prev[which] = list->last;
	p->next[which] = NONE;
	if (list->last == NONE)
		list->first = at;
	else
		u->peers[list->last].next[which] = at;
	list->last = at;
}

static void drop(struct uplink *u, enum lists which, uint32_t at)
{
	struct list *list = &u->lists[which];
	struct peer *p = &u->peers[at];

	if (!p->in[which])
		return;
	p->in[which] = false;
	if (p->prev[which] == NONE)
		list->first = p->next[which];
	else
		u->peers[p->prev[which]].next[which] = p->next[which];
	if (p->next[which] == NONE)
		list->last = p->prev[which];
	else
		u->peers[p->next[which]].prev[which] = p->prev[which];
}

static void rotate(struct uplink *u, enum lists which, uint32_t at)
{
	drop(u, which, at);
	append(u, which, at);
}

/* ---- creation ---- */

struct uplink *uplink_create(uint32_t peers, uint32_t items)
{
	struct uplink *u = mem_alloc(sizeof(*u));

	assert(peers < NONE && items < NONE);
	u->peers = mem_array(peers + 1, sizeof(u->peers[0]));
	u->slots = mem_array(items + 1, sizeof(u->slots[0]));
	u->peers_count = peers;
	for (uint32_t i = 0; i < items; i++)
		u->slots[i].next = i + 1 < items ? i + 1 : NONE;
	u->free = items ? 0 : NONE;
	for (size_t i = 0; i < LISTS; i++)
		u->lists[i] = (struct list){NONE, NONE};
	return u;
}

void uplink_free(struct uplink *uplink)
{
	if (!uplink)
		return;
	free(uplink->peers);
	free(uplink->slots);
	free(uplink);
}

/* ---- peers ---- */

static uint64_t under_way(const struct peer *p)
{
	return p->sent - p->taken;
}

static void enter_turn(struct uplink *u, uint32_t at)
{
	append(u, u->peers[at].after ? TURN_AFTER : TURN, at);
}

static void leave_turn(struct uplink *u, uint32_t at)
{
	u->peers[at].deficit = 0;
	u->peers[at].served = false;
	drop(u, TURN, at);
	drop(u, TURN_AFTER, at);
}

static enum lists whose(const struct uplink *u)
{
	return u->lists[TURN].first != NONE ? TURN : TURN_AFTER;
}

static void release(struct uplink *u, struct peer *p, uint32_t at)
{
	p->count--;
	p->waiting -= u->slots[at].size;
	u->waiting--;
	u->slots[at].next = u->free;
	u->free = at;
}

static void forget(struct uplink *u, uint32_t peer)
{
	struct peer *p = &u->peers[peer];

	uplink_drop(u, peer, 0, 0);
	drop(u, FLIGHT, peer);
	if (!p->stale)
		u->flight -= under_way(p);
}

void uplink_join(struct uplink *uplink, uint32_t peer)
{
	assert(peer < uplink->peers_count);
	uplink_leave(uplink, peer);
	uplink->peers[peer] = (struct peer){.head = NONE, .tail = NONE, .joined = true};
}

void uplink_leave(struct uplink *uplink, uint32_t peer)
{
	assert(peer < uplink->peers_count);
	if (!uplink->peers[peer].joined)
		return;
	forget(uplink, peer);
	uplink->peers[peer] = (struct peer){0};
}

void uplink_set_rate(struct uplink *uplink, uint64_t bytes_per_s, uint64_t now_ms)
{
	bucket_set(&uplink->bucket, bytes_per_s, BURST_MS, now_ms);
}

void uplink_set_searching(struct uplink *uplink, bool searching)
{
	uplink->searching = searching;
	uplink->probing = uplink->probing && searching;
}

/* ---- what waits ---- */

int uplink_push(struct uplink *uplink, uint32_t peer, uint64_t item, uint32_t size)
{
	struct peer *p = &uplink->peers[peer];
	uint32_t at = uplink->free;

	assert(peer < uplink->peers_count);
	if (!p->joined)
		return -ENOTCONN;
	if (at == NONE)
		return -ENOSPC;
	uplink->free = uplink->slots[at].next;
	uplink->slots[at] = (struct slot){item, size, NONE};
	if (p->count)
		uplink->slots[p->tail].next = at;
	else
		p->head = at;
	p->tail = at;
	p->count++;
	p->waiting += size;
	uplink->waiting++;
	if (!p->stale)
		enter_turn(uplink, peer);
	return 0;
}

void uplink_set_after(struct uplink *uplink, uint32_t peer, bool after)
{
	struct peer *p = &uplink->peers[peer];

	assert(peer < uplink->peers_count);
	if (p->after == after)
		return;
	leave_turn(uplink, peer);
	p->after = after;
	if (p->count && !p->stale)
		enter_turn(uplink, peer);
}

uint32_t uplink_drop(struct uplink *uplink, uint32_t peer, uint64_t mask, uint64_t item)
{
	struct peer *p = &uplink->peers[peer];
	uint32_t at = p->head, count = p->count, dropped = 0, *link = &p->head;

	assert(peer < uplink->peers_count);
	p->tail = NONE;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t next = uplink->slots[at].next;

		if ((uplink->slots[at].item & mask) == (item & mask)) {
			release(uplink, p, at);
			dropped++;
		} else {
			*link = at;
			link = &uplink->slots[at].next;
			p->tail = at;
		}
		at = next;
	}
	*link = NONE;
	if (p->count == 0)
		leave_turn(uplink, peer);
	return dropped;
}

/* ---- sending ---- */

static uint64_t budget(const struct uplink *u)
{
	uint64_t rate = u->rate, bytes;

	if (u->bucket.rate && (!rate || u->bucket.rate < rate))
		rate = u->bucket.rate;
	bytes = rate * UPLINK_BUDGET_MS / 1000;
	if (bytes < UPLINK_BUDGET_MIN)
		bytes = UPLINK_BUDGET_MIN;
	return u->probing ? bytes * GAIN : bytes;
}

static uint64_t stale_ms(const struct uplink *u)
{
	uint64_t wait;

	if (!u->rate)
		return STALE_FIRST_MS;
	wait = 2 * u->flight * 1000 / u->rate;
	return wait > UPLINK_STALE_MS ? wait : UPLINK_STALE_MS;
}

static void find_stale(struct uplink *u, uint64_t now_ms)
{
	while (u->lists[FLIGHT].first != NONE) {
		uint32_t at = u->lists[FLIGHT].first;
		struct peer *p = &u->peers[at];

		if (now_ms < p->heard_ms + stale_ms(u))
			return;
		p->stale = true;
		u->flight -= under_way(p);
		drop(u, FLIGHT, at);
		leave_turn(u, at);
	}
}

/* Whose turn is it? There is somebody. */
static uint32_t turn(struct uplink *u)
{
	enum lists which = whose(u);

	for (;;) {
		uint32_t at = u->lists[which].first;
		struct peer *p = &u->peers[at];

		if (!p->served)
			p->deficit += QUANTUM;
		p->served = true;
		if (u->slots[p->head].size <= p->deficit)
			return at;
		p->served = false;
		rotate(u, which, at);
	}
}

static void count_sent(struct uplink *u, uint32_t at, uint32_t size, uint64_t now_ms)
{
	struct peer *p = &u->peers[at];

	if (u->flight == 0) { /* a pause for want of work is no part of the window */
		uint64_t since = u->idle_ms > u->window_ms ? u->idle_ms : u->window_ms;

		u->window_ms += now_ms - since;
	}
	if (under_way(p) == 0)
		p->heard_ms = now_ms;
	append(u, FLIGHT, at);
	p->sent += size;
	u->flight += size;
	u->sent += size;
	bucket_take(&u->bucket, size, now_ms);
}

bool uplink_next(struct uplink *uplink, uint64_t now_ms, struct uplink_item *ret_item)
{
	uint32_t at, slot;
	struct peer *p;

	find_stale(uplink, now_ms);
	if (uplink->lists[whose(uplink)].first == NONE || !bucket_allows(&uplink->bucket, now_ms))
		return false;
	if (uplink->flight >= budget(uplink)) {
		uplink->limited = true;
		return false;
	}
	at = turn(uplink);
	p = &uplink->peers[at];
	slot = p->head;
	*ret_item = (struct uplink_item){at, uplink->slots[slot].size, uplink->slots[slot].item};
	p->head = uplink->slots[slot].next;
	p->deficit -= ret_item->size;
	release(uplink, p, slot);
	count_sent(uplink, at, ret_item->size, now_ms);
	if (p->count == 0)
		leave_turn(uplink, at);
	return true;
}

void uplink_correct(struct uplink *uplink, const struct uplink_item *item, uint32_t size)
{
	struct peer *p = &uplink->peers[item->peer];

	p->sent = p->sent - item->size + size;
	uplink->flight = uplink->flight - item->size + size;
	uplink->sent = uplink->sent - item->size + size;
	bucket_put_back(&uplink->bucket, (int64_t)item->size - size);
	if (under_way(p) == 0)
		drop(uplink, FLIGHT, item->peer);
}

/* ---- confirmation ---- */

static void search(struct uplink *u, uint64_t sample)
{
	bool more = sample > u->rate + u->rate / 8;

	if (++u->windows >= CYCLE) {
		u->windows = 0;
		u->best[1] = u->best[0];
		u->best[0] = 0;
	}
	u->probing = u->windows == 0 || (u->probing && more);
	if (sample > u->best[0])
		u->best[0] = sample;
	u->rate = u->best[0] > u->best[1] ? u->best[0] : u->best[1];
}

static void count_rate(struct uplink *u, uint64_t bytes, uint64_t now_ms)
{
	uint64_t span = now_ms - u->window_ms, sample;

	u->window_bytes += bytes;
	if (span < (u->rate ? WINDOW_MS : WINDOW_FIRST_MS))
		return;
	sample = u->window_bytes * 1000 / span;
	if (u->searching && (sample > u->rate || u->limited))
		search(u, sample);
	else if (sample > u->rate)
		u->rate = sample;
	else if (u->limited)
		u->rate = (3 * u->rate + sample) / 4;
	u->window_ms = now_ms;
	u->window_bytes = 0;
	u->limited = false;
}

bool uplink_taken(struct uplink *uplink, uint32_t peer, uint64_t total, uint64_t now_ms)
{
	struct peer *p = &uplink->peers[peer];
	uint64_t fresh;

	assert(peer < uplink->peers_count);
	if (!p->joined || total < p->taken || total > p->sent)
		return false;
	fresh = total - p->taken;
	if (fresh == 0)
		return true;
	if (p->stale)
		uplink->flight += under_way(p);
	p->stale = false;
	p->taken = total;
	p->heard_ms = now_ms;
	uplink->flight -= fresh;
	drop(uplink, FLIGHT, peer);
	if (under_way(p))
		append(uplink, FLIGHT, peer);
	if (p->count)
		enter_turn(uplink, peer);
	if (uplink->flight == 0)
		uplink->idle_ms = now_ms;
	count_rate(uplink, fresh, now_ms);
	return true;
}

/* ---- questions ---- */

uint64_t uplink_deadline(struct uplink *uplink, uint64_t now_ms)
{
	uint32_t oldest = uplink->lists[FLIGHT].first;

	if (uplink->lists[whose(uplink)].first == NONE)
		return UINT64_MAX;
	if (!bucket_allows(&uplink->bucket, now_ms))
		return bucket_ready_ms(&uplink->bucket, now_ms);
	if (uplink->flight < budget(uplink))
		return now_ms;
	return uplink->peers[oldest].heard_ms + stale_ms(uplink);
}

uint32_t uplink_waiting(const struct uplink *uplink, uint32_t peer)
{
	return uplink->peers[peer].count;
}

uint64_t uplink_open_bytes(const struct uplink *uplink, uint32_t peer)
{
	return uplink->peers[peer].waiting + under_way(&uplink->peers[peer]);
}

uint64_t uplink_rate(const struct uplink *uplink)
{
	return uplink->rate;
}

uint64_t uplink_sent(const struct uplink *uplink)
{
	return uplink->sent;
}
