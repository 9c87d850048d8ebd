/* SPDX-License-Identifier: Apache-2.0 */
/* Three questions before a request is queued: is the door open, is the release for this neighbour,
 * is there credit. The rest is base/uplink.h; an item is the release and the chunk in one number.
 */
#include "agent/core/serve.h"
#include "base/mem.h"
#include "base/uplink.h"

#include <assert.h>

struct serve {
	struct uplink *uplink;
	uint64_t assigned[SERVE_NEIGHBOURS]; /* a bit for each release */
	bool joined[SERVE_NEIGHBOURS];
	bool open;
	uint64_t refused[SERVE_VERDICTS];
};

static uint64_t item_of(uint32_t release, uint32_t chunk)
{
	return (uint64_t)release << 32 | chunk;
}

struct serve *serve_create(void)
{
	struct serve *s = mem_alloc(sizeof(*s));

	s->uplink = uplink_create(SERVE_NEIGHBOURS, SERVE_NEIGHBOURS * SERVE_REQUESTS);
	s->open = true;
	return s;
}

void serve_free(struct serve *serve)
{
	if (!serve)
		return;
	uplink_free(serve->uplink);
	free(serve);
}

/* ---- who may ask ---- */

void serve_set_limits(struct serve *serve, bool open, uint64_t rate, uint64_t now_ms)
{
	uplink_set_rate(serve->uplink, rate, now_ms);
	serve->open = open;
	for (uint32_t i = 0; !open && i < SERVE_NEIGHBOURS; i++)
		uplink_drop(serve->uplink, i, 0, 0);
}

void serve_set_all(struct serve *serve, bool all)
{
	uplink_set_searching(serve->uplink, all);
}

void serve_join(struct serve *serve, uint32_t neighbour)
{
	assert(neighbour < SERVE_NEIGHBOURS);
	serve->joined[neighbour] = true;
	serve->assigned[neighbour] = 0;
	uplink_join(serve->uplink, neighbour);
}

void serve_leave(struct serve *serve, uint32_t neighbour)
{
	assert(neighbour < SERVE_NEIGHBOURS);
	serve->joined[neighbour] = false;
	serve->assigned[neighbour] = 0;
	uplink_leave(serve->uplink, neighbour);
}

void serve_assign(struct serve *serve, uint32_t neighbour, uint32_t release, bool yes)
{
	uint64_t bit = 1ull << release;

	assert(neighbour < SERVE_NEIGHBOURS && release < SERVE_RELEASES);
	if (!serve->joined[neighbour])
		return;
	if (yes) {
		serve->assigned[neighbour] |= bit;
		return;
	}
	serve->assigned[neighbour] &= ~bit;
	uplink_drop(serve->uplink, neighbour, item_of(UINT32_MAX, 0), item_of(release, 0));
}

void serve_release_close(struct serve *serve, uint32_t release)
{
	for (uint32_t i = 0; i < SERVE_NEIGHBOURS; i++)
		serve_assign(serve, i, release, false);
}

bool serve_may(const struct serve *serve, uint32_t neighbour, uint32_t release)
{
	return neighbour < SERVE_NEIGHBOURS && release < SERVE_RELEASES &&
	       serve->assigned[neighbour] >> release & 1;
}

/* ---- requests ---- */

/* Four chunks may always be open: two that an honest node asks for, two that it has cancelled and
 * that are on their way all the same. */
static bool has_credit(const struct serve *serve, uint32_t neighbour, uint32_t size)
{
	uint64_t open = uplink_open_bytes(serve->uplink, neighbour);

	if (uplink_waiting(serve->uplink, neighbour) >= SERVE_REQUESTS)
		return false;
	return open + size <= SERVE_CREDIT || open <= 3ull * size;
}

static enum serve_verdict judge(struct serve *serve, uint32_t neighbour, uint32_t release,
				uint32_t chunk, uint32_t size)
{
	if (!serve_may(serve, neighbour, release))
		return SERVE_STRANGER;
	if (!serve->open)
		return SERVE_CLOSED;
	if (!has_credit(serve, neighbour, size))
		return SERVE_OVERRUN;
	/* There is room for what the credit of all allows. */
	return uplink_push(serve->uplink, neighbour, item_of(release, chunk), size) < 0
		       ? SERVE_OVERRUN
		       : SERVE_QUEUED;
}

enum serve_verdict serve_ask(struct serve *serve, uint32_t neighbour, uint32_t release,
			     uint32_t chunk, uint32_t size)
{
	enum serve_verdict verdict = judge(serve, neighbour, release, chunk, size);

	serve->refused[verdict] += verdict != SERVE_QUEUED;
	return verdict;
}

void serve_cancel(struct serve *serve, uint32_t neighbour, uint32_t release, uint32_t chunk)
{
	assert(neighbour < SERVE_NEIGHBOURS);
	uplink_drop(serve->uplink, neighbour, UINT64_MAX, item_of(release, chunk));
}

bool serve_next(struct serve *serve, uint64_t now_ms, struct serve_send *ret_send)
{
	struct uplink_item item;

	if (!uplink_next(serve->uplink, now_ms, &item))
		return false;
	*ret_send = (struct serve_send){item.peer, (uint32_t)(item.item >> 32), (uint32_t)item.item,
					item.size};
	return true;
}

bool serve_taken(struct serve *serve, uint32_t neighbour, uint64_t total, uint64_t now_ms)
{
	return neighbour < SERVE_NEIGHBOURS &&
	       uplink_taken(serve->uplink, neighbour, total, now_ms);
}

uint64_t serve_deadline(struct serve *serve, uint64_t now_ms)
{
	return uplink_deadline(serve->uplink, now_ms);
}

void serve_stats(const struct serve *serve, struct serve_stats *ret_stats)
{
	*ret_stats = (struct serve_stats){
		.sent_bytes = uplink_sent(serve->uplink),
		.rate = uplink_rate(serve->uplink),
	};
	for (uint32_t i = 0; i < SERVE_NEIGHBOURS; i++)
		ret_stats->waiting += uplink_waiting(serve->uplink, i);
	for (uint32_t i = 0; i < SERVE_VERDICTS; i++)
		ret_stats->refused[i] = serve->refused[i];
}
