/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said to neighbours, and what they say. What a neighbour has it says once as a bitmap and
 * then in small lists of what came since; that is remembered apart from the scheduler, which lives
 * no longer than one fetch. A chunk is told at once when none was told shortly before: the more
 * neighbours there are, the more of them share a message.
 */
#include "agent/shell.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/chunk_data.h"
#include "protocol/message.h"

enum { HAVE_EVERY_MS = 5 }; /* a message to one of the neighbours */

bool talking_send(struct agent *agent, uint32_t peer, enum message_type type, const void *body)
{
	const struct peer_ops *ops = &agent->world->peers;
	struct bytes bytes = {0};
	int r = message_encode(type, body, &bytes, NULL);

	if (r == 0)
		r = ops->send(ops->context, peer, PEER_NEWS, bytes.data, bytes.size);
	free(bytes.data);
	return r == 0;
}

/* ---- requests ---- */

int talking_ask(struct agent *agent, struct fetch_job *job, const struct fetch_request *request)
{
	struct peer_state *peer = exchanging_peer(agent, request->source);
	struct msg_request message = {.release = job->release,
				      .chunk = request->chunk,
				      .takes_coded = true};

	if (!peer || !peer->up)
		return -ENOTCONN;
	message.taken = peer->taken;
	if (!talking_send(agent, request->source, MESSAGE_PEER_REQUEST, &message))
		return -EAGAIN;
	peer->owes = false;
	return 0;
}

void talking_cancel(struct agent *agent, struct fetch_job *job,
		       const struct fetch_request *request)
{
	const struct peer_state *peer = exchanging_peer(agent, request->source);
	struct msg_request message = {.release = job->release, .chunk = request->chunk};

	if (!peer || !peer->up)
		return;
	message.taken = peer->taken;
	/* Lost: the chunk comes, and is dropped. */
	(void)talking_send(agent, request->source, MESSAGE_PEER_CANCEL, &message);
}

/* ---- what we have ---- */

/* Of what came those that the neighbour lacks, or sent itself. */
static void tell_fresh(struct agent *agent, const struct fetch_job *job, uint32_t number,
		       size_t at)
{
	struct peer_state *peer = &agent->peering.exchange->peers[number - 1];
	const struct shared *share = &agent->peering.exchange->shares[at];
	struct chunk_run runs[SHELL_FRESH];
	struct msg_have have = {.release = share->release, .runs = runs};

	if (!peer->up || !(peer->offered >> at & 1))
		return;
	for (uint32_t i = 0; i < share->fresh_count; i++)
		if (share->fresh[i].source == number ||
		    fetch_lacks(job->fetch, number, share->fresh[i].chunk))
			runs[have.runs_count++] = (struct chunk_run){share->fresh[i].chunk, 1};
	if (have.runs_count > 0 && !talking_send(agent, number, MESSAGE_PEER_HAVE, &have))
		peer->offered &= ~(UINT64_C(1) << at); /* all of it, when it listens again */
}

static void flush(struct agent *agent, const struct fetch_job *job, size_t at)
{
	struct shared *share = &agent->peering.exchange->shares[at];

	for (uint32_t n = 1; job && job->whole && n <= LIMIT_NEIGHBOURS; n++)
		tell_fresh(agent, job, n, at);
	share->fresh_count = 0;
	share->told_ms = agent_now(agent);
}

void talking_flush(struct agent *agent, struct fetch_job *job)
{
	size_t at;

	if (serving_find(agent, &job->release, &at))
		flush(agent, job, at);
}

void talking_have(struct agent *agent, struct fetch_job *job, uint32_t source, uint32_t chunk)
{
	struct shared *share;
	size_t at;

	share = serving_find(agent, &job->release, &at);
	if (agent->peering.options.metered || !share)
		return;
	share->fresh[share->fresh_count++] = (struct fresh){chunk, source};
	if (share->fresh_count == SHELL_FRESH)
		flush(agent, job, at);
}

/* When neighbours hear next of what came; each time costs a message to each of them. */
static uint64_t flush_ms(const struct agent *agent, const struct shared *share)
{
	uint64_t at = share->told_ms;

	if (share->fresh_count == 0)
		return UINT64_MAX;
	for (size_t i = 0; i < LIMIT_NEIGHBOURS; i++)
		at += agent->peering.exchange->peers[i].up ? HAVE_EVERY_MS : 0;
	return at;
}

static void flush_due(struct agent *agent, uint64_t now_ms)
{
	struct exchange *exchange = agent->peering.exchange;

	for (size_t i = 0; i < SHELL_SHARES; i++)
		if (now_ms >= flush_ms(agent, &exchange->shares[i]))
			flush(agent, fetching_find(agent, &exchange->shares[i].release), i);
}

static bool make_offer(struct agent *agent, const struct shared *share, uint8_t *bits)
{
	const struct fetch_job *job = fetching_find(agent, &share->release);
	uint32_t chunks = chunk_list_count(share->list);

	if (share->complete) {
		for (uint32_t i = 0; i < chunks; i++)
			bits[i / 8] |= (uint8_t)(1u << (i % 8));
		return true;
	}
	if (!job || !job->whole)
		return false;
	fetch_done_bits(job->fetch, bits);
	return true;
}

static bool offer(struct agent *agent, uint32_t number, const struct shared *share)
{
	uint32_t chunks = chunk_list_count(share->list);
	AUTO_FREE uint8_t *bits = mem_alloc((chunks + 7) / 8 + 1);
	const struct msg_offer message = {.release = share->release,
					  .chunks = chunks,
					  .bitmap = {bits, (chunks + 7) / 8}};

	return make_offer(agent, share, bits) &&
	       talking_send(agent, number, MESSAGE_PEER_OFFER, &message);
}

static void offer_all(struct agent *agent)
{
	struct exchange *exchange = agent->peering.exchange;

	for (uint32_t n = 1; !agent->peering.options.metered && n <= LIMIT_NEIGHBOURS; n++) {
		struct peer_state *peer = &exchange->peers[n - 1];

		if (!peer->up || !(peer->shares & ~peer->offered))
			continue;
		for (size_t i = 0; i < SHELL_SHARES; i++)
			if ((peer->shares & ~peer->offered) >> i & 1 && exchange->shares[i].list &&
			    offer(agent, n, &exchange->shares[i]))
				peer->offered |= UINT64_C(1) << i;
	}
}

static void confirm(struct agent *agent)
{
	for (uint32_t n = 1; n <= LIMIT_NEIGHBOURS; n++) {
		struct peer_state *peer = &agent->peering.exchange->peers[n - 1];
		const struct msg_taken taken = {.taken = peer->taken};

		if (peer->up && peer->owes &&
		    talking_send(agent, n, MESSAGE_PEER_TAKEN, &taken))
			peer->owes = false;
	}
}

void talking_step(struct agent *agent, uint64_t now_ms)
{
	offer_all(agent);
	flush_due(agent, now_ms);
	confirm(agent);
}

uint64_t talking_deadline(const struct agent *agent)
{
	uint64_t at = UINT64_MAX;

	for (size_t i = 0; i < SHELL_SHARES; i++)
		at = shell_min(at, flush_ms(agent, &agent->peering.exchange->shares[i]));
	return at;
}

/* ---- what a neighbour says ---- */

static void lied(struct agent *agent, uint32_t number, const char *text)
{
	exchanging_drop(agent, number, PEER_LIED, text);
}

static void on_offer(struct agent *agent, uint32_t number, struct msg_offer *offer)
{
	struct peer_state *peer = &agent->peering.exchange->peers[number - 1];
	struct fetch_job *job = fetching_find(agent, &offer->release);
	struct peer_news *news;
	size_t share;

	if (!exchanging_may_give(agent, peer, &offer->release, &share))
		return; /* we were not told yet, or do not need it any more */
	if (offer->bitmap.size != (offer->chunks + 7) / 8) {
		lied(agent, number, "its list of chunks is not as long as it says");
		return;
	}
	news = &peer->news[share];
	free(news->bits);
	*news = (struct peer_news){offer->chunks, TAKE_PTR(offer->bitmap.data)};
	offer->bitmap.size = 0;
	if (!job || !job->whole)
		return;
	if (news->chunks != chunk_list_count(job->list)) {
		lied(agent, number, "it counts the chunks of a release otherwise");
		return;
	}
	exchanging_apply_news(job, number, news);
	job->at_ms = 0;
}

static bool note_run(struct peer_news *news, const struct chunk_run *run)
{
	if (run->first >= news->chunks || run->count > news->chunks - run->first)
		return false;
	for (uint32_t i = run->first; i < run->first + run->count; i++)
		news->bits[i / 8] |= (uint8_t)(1u << (i % 8));
	return true;
}

static void on_have(struct agent *agent, uint32_t number, const struct msg_have *have)
{
	struct peer_state *peer = &agent->peering.exchange->peers[number - 1];
	struct fetch_job *job = fetching_find(agent, &have->release);
	size_t share;

	if (!exchanging_may_give(agent, peer, &have->release, &share) || !peer->news[share].bits)
		return; /* the whole list was never said: it comes */
	for (size_t i = 0; i < have->runs_count; i++) {
		const struct chunk_run *run = &have->runs[i];

		if (!note_run(&peer->news[share], run)) {
			lied(agent, number, "it says that it has chunks which do not exist");
			return;
		}
		for (uint32_t k = 0; job && job->whole && k < run->count; k++)
			(void)fetch_have(job->fetch, number, run->first + k);
	}
	if (job)
		job->at_ms = 0;
}

static void on_refusal(struct agent *agent, uint32_t number, const struct msg_refuse *refusal)
{
	struct fetch_job *job = fetching_find(agent, &refusal->release);

	if (!job || !job->whole)
		return;
	if (refusal->chunk >= chunk_list_count(job->list))
		return;
	if (refusal->reason == REFUSAL_MISSING)
		fetch_received_missing(job->fetch, number, refusal->chunk);
	else
		fetch_received_refusal(job->fetch, number, refusal->chunk, agent_now(agent));
	job->at_ms = 0;
}

static void on_chunk(struct agent *agent, uint32_t number, struct chunk_data *data)
{
	struct peer_state *peer = &agent->peering.exchange->peers[number - 1];
	struct fetch_job *job = fetching_find(agent, &data->release);
	uint8_t *owned = coded_restore(agent, data);

	peer->taken += data->size;
	peer->got += data->size;
	peer->owes = true;
	if (job && job->whole && data->chunk < chunk_list_count(job->list) &&
	    !fetching_take(agent, job, number, data->chunk, data->data, data->size))
		fetch_received_bad(job->fetch, number);
	free(owned);
}

static void on_news(struct agent *agent, uint32_t number, struct message *message)
{
	switch ((int)message->type) { /* only these pass message_decode() */
	case MESSAGE_PEER_OFFER:
		on_offer(agent, number, message->body);
		break;
	case MESSAGE_PEER_HAVE:
		on_have(agent, number, message->body);
		break;
	case MESSAGE_PEER_REQUEST:
		serving_request(agent, number, message->body);
		break;
	case MESSAGE_PEER_CANCEL:
		serving_cancel(agent, number, message->body);
		break;
	case MESSAGE_PEER_TAKEN:
		serving_taken(agent, number, ((const struct msg_taken *)message->body)->taken);
		break;
	case MESSAGE_PEER_REFUSE:
		on_refusal(agent, number, message->body);
		break;
	default: /* a second greeting, or a chunk among the news */
		break;
	}
}

void talking_heard(struct agent *agent, uint32_t number, enum peer_way way, const void *data,
			size_t size)
{
	const struct peer_state *peer = exchanging_peer(agent, number);
	struct chunk_data chunk;
	struct message message = {0};
	struct err err = {0};
	int r;

	if (!peer || !peer->up)
		return;
	if (way == PEER_DATA) {
		r = chunk_data_open(data, size, &chunk, &err);
		if (r == 0)
			on_chunk(agent, number, &chunk);
	} else {
		r = message_decode(data, size, CHANNEL_PEERS, FROM_PEER, &message, &err);
		if (r == 0)
			on_news(agent, number, &message);
		message_free(&message);
	}
	if (r < 0 && r != -ENOTSUP)
		lied(agent, number, err_text(&err, r));
}
