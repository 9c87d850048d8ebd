/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What neighbours are given: chunks of the releases that the coordinator's list names for them, as
 * far as they lie here. Whether one may ask, how much, and who comes next is the pure serving
 * side's business (agent/core/serve.h). A chunk goes from the disk right behind the head of its
 * message to the socket, and nowhere else. It is not verified again: the receiver does that, and a
 * disk that changes bytes is found when the release is read as a whole.
 */
#include "agent/shell.h"

#include "base/mem.h"
#include "protocol/chunk_data.h"

static struct exchange *exchange_of(const struct agent *agent)
{
	return agent->peering.exchange;
}

struct shared *serving_find(const struct agent *agent, const struct digest *release, size_t *ret_at)
{
	for (size_t i = 0; exchange_of(agent) && i < SHELL_SHARES; i++) {
		struct shared *share = &exchange_of(agent)->shares[i];

		if (!share->used || !digest_equal(&share->release, release))
			continue;
		*ret_at = i;
		return share;
	}
	return NULL;
}

/* ---- shares ---- */

static bool is_told(const struct agent *agent, const struct digest *release)
{
	const struct msg_neighbours *told = &agent->peering.told;

	for (size_t i = 0; i < told->neighbours_count; i++)
		for (size_t k = 0; k < told->neighbours[i].releases_count; k++)
			if (digest_equal(&told->neighbours[i].releases[k].digest, release))
				return true;
	return false;
}

static void close_share(struct agent *agent, size_t at)
{
	struct exchange *exchange = exchange_of(agent);

	serve_release_close(exchange->serve, (uint32_t)at);
	if (exchange->shares[at].list)
		chunk_list_free(exchange->shares[at].list);
	exchange->shares[at] = (struct shared){0};
	for (size_t i = 0; i < LIMIT_NEIGHBOURS; i++) {
		struct peer_state *peer = &exchange->peers[i];

		peer->shares &= ~(UINT64_C(1) << at);
		peer->offered &= ~(UINT64_C(1) << at);
		free(peer->news[at].bits);
		peer->news[at] = (struct peer_news){0};
	}
}

static bool open_share(struct agent *agent, const struct digest *release, size_t *ret_at)
{
	struct exchange *exchange = exchange_of(agent);

	if (serving_find(agent, release, ret_at))
		return true;
	for (size_t i = 0; i < SHELL_SHARES; i++) {
		if (exchange->shares[i].used)
			continue;
		exchange->shares[i] = (struct shared){.used = true, .release = *release};
		*ret_at = i;
		return true;
	}
	return false;
}

static void assign(struct agent *agent, uint32_t number)
{
	struct peer_state *peer = &exchange_of(agent)->peers[number - 1];
	uint64_t shares = 0;
	size_t at;

	for (size_t i = 0; i < peer->of.releases_count; i++)
		if (open_share(agent, &peer->of.releases[i].digest, &at))
			shares |= UINT64_C(1) << at;
	for (uint32_t i = 0; peer->up && i < SHELL_SHARES; i++)
		if ((shares ^ peer->shares) >> i & 1)
			serve_assign(exchange_of(agent)->serve, number - 1, i, shares >> i & 1);
	peer->shares = shares;
}

/* The numbers of a release that lies here whole, or is being fetched whole. */
static void load_list(struct agent *agent, struct shared *share)
{
	const struct chunk_store_ops *store = &agent->world->store;
	const struct fetch_job *job = fetching_find(agent, &share->release);
	AUTO_FREE struct chunk_ref *chunks = NULL;
	size_t count = 0;

	if (share->list || (job && !job->whole))
		return;
	share->complete = !job && store->sealed(store->context, &share->release);
	if ((!job && !share->complete) ||
	    store->chunks(store->context, &share->release, &chunks, &count, NULL) < 0)
		return;
	share->list = chunk_list_create(chunks, count);
	if (chunk_list_count(share->list) <= LIMIT_PEER_CHUNKS)
		return;
	chunk_list_free(share->list);
	share->list = NULL;
}

void serving_load(struct agent *agent)
{
	for (size_t i = 0; i < SHELL_SHARES; i++)
		if (exchange_of(agent)->shares[i].used)
			load_list(agent, &exchange_of(agent)->shares[i]);
}

void serving_shares(struct agent *agent)
{
	struct exchange *exchange = exchange_of(agent);

	for (size_t i = 0; i < SHELL_SHARES; i++)
		if (exchange->shares[i].used && !is_told(agent, &exchange->shares[i].release))
			close_share(agent, i);
	for (uint32_t n = 1; n <= LIMIT_NEIGHBOURS; n++)
		if (exchange->peers[n - 1].used)
			assign(agent, n);
	serving_load(agent);
}

/* ---- neighbours ---- */

void serving_joined(struct agent *agent, uint32_t peer)
{
	struct exchange *exchange = exchange_of(agent);
	const struct peer_state *state = &exchange->peers[peer - 1];

	serve_join(exchange->serve, peer - 1);
	for (uint32_t i = 0; i < SHELL_SHARES; i++)
		if (state->shares >> i & 1)
			serve_assign(exchange->serve, peer - 1, i, true);
}

void serving_left(struct agent *agent, uint32_t peer)
{
	serve_leave(exchange_of(agent)->serve, peer - 1);
}

/* ---- requests ---- */

static void refuse(struct agent *agent, uint32_t peer, const struct msg_request *request,
		   enum refusal reason)
{
	const struct msg_refuse refusal = {
		.reason = reason, .release = request->release, .chunk = request->chunk};

	(void)talking_send(agent, peer, MESSAGE_PEER_REFUSE, &refusal);
}

static bool is_here(struct agent *agent, const struct shared *share, uint32_t chunk)
{
	const struct fetch_job *job = fetching_find(agent, &share->release);

	if (!share->list || chunk >= chunk_list_count(share->list))
		return false;
	return share->complete || (job && job->whole && fetch_is_done(job->fetch, chunk));
}

static const enum refusal refusals[SERVE_VERDICTS] = {
	[SERVE_STRANGER] = REFUSAL_RELEASE,
	[SERVE_OVERRUN] = REFUSAL_BUSY,
	[SERVE_CLOSED] = REFUSAL_CLOSED,
};

void serving_request(struct agent *agent, uint32_t peer, const struct msg_request *request)
{
	struct exchange *exchange = exchange_of(agent);
	enum serve_verdict verdict;
	size_t at;
	const struct shared *share = serving_find(agent, &request->release, &at);

	exchange->peers[peer - 1].takes_coded = request->takes_coded;
	serving_taken(agent, peer, request->taken);
	if (!share || !serve_may(exchange->serve, peer - 1, (uint32_t)at)) {
		refuse(agent, peer, request, REFUSAL_RELEASE);
		return;
	}
	if (!is_here(agent, share, request->chunk)) {
		refuse(agent, peer, request, REFUSAL_MISSING);
		return;
	}
	verdict = serve_ask(exchange->serve, peer - 1, (uint32_t)at, request->chunk,
			    chunk_list_sizes(share->list)[request->chunk]);
	if (verdict != SERVE_QUEUED)
		refuse(agent, peer, request, refusals[verdict]);
}

void serving_cancel(struct agent *agent, uint32_t peer, const struct msg_request *request)
{
	size_t at;

	serving_taken(agent, peer, request->taken);
	if (serving_find(agent, &request->release, &at))
		serve_cancel(exchange_of(agent)->serve, peer - 1, (uint32_t)at, request->chunk);
}

void serving_taken(struct agent *agent, uint32_t peer, uint64_t taken)
{
	if (!serve_taken(exchange_of(agent)->serve, peer - 1, taken, agent_now(agent)))
		shell_log(agent, LOG_LEVEL_INFO, "node %s says that it took more than it was sent",
			  exchange_of(agent)->peers[peer - 1].of.name);
}

/* ---- sending ---- */

static int read_chunk(struct agent *agent, const struct shared *share, const struct serve_send *send,
		      struct bytes *ret_message)
{
	const struct chunk_store_ops *store = &agent->world->store;
	const struct chunk_data about = {.release = share->release, .chunk = send->chunk};
	AUTO_FREE uint8_t *message = mem_resize(NULL, 1, CHUNK_DATA_HEAD_MAX + send->size);
	size_t head = chunk_data_head(message, MESSAGE_PEER_CHUNK, &share->release, send->chunk,
				      send->size);
	int r = store->read(store->context, &share->release,
			    chunk_list_digest(share->list, send->chunk), message + head,
			    send->size, NULL);

	if (r < 0)
		return r;
	*ret_message = (struct bytes){TAKE_PTR(message), head + send->size};
	if (exchange_of(agent)->peers[send->neighbour].takes_coded)
		chunk_data_shrink(coded_coder(agent), MESSAGE_PEER_CHUNK, &about, head,
				  ret_message);
	return 0;
}

static void send_one(struct agent *agent, const struct serve_send *send)
{
	const struct peer_ops *ops = &agent->world->peers;
	const struct shared *share = &exchange_of(agent)->shares[send->release];
	const struct msg_request request = {.release = share->release, .chunk = send->chunk};
	uint32_t peer = send->neighbour + 1;
	struct bytes message = {0};

	if (read_chunk(agent, share, send, &message) < 0) {
		refuse(agent, peer, &request, REFUSAL_MISSING);
		return;
	}
	if (ops->send_owned(ops->context, peer, PEER_DATA, message.data, message.size) < 0)
		free(message.data); /* it is gone, or will ask again */
	else
		exchange_of(agent)->peers[send->neighbour].given += send->size;
}

void serving_step(struct agent *agent, uint64_t now_ms)
{
	struct serve_send send;

	while (serve_next(exchange_of(agent)->serve, now_ms, &send))
		send_one(agent, &send);
}

uint64_t serving_deadline(const struct agent *agent)
{
	return serve_deadline(exchange_of(agent)->serve, agent_now(agent));
}
