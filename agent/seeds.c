/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator as the seed of a release that several nodes fetch. It is asked for "any" chunk
 * and gives each one out once, so that its link carries the release once and the nodes do the rest
 * (coordinator/core/seeding.h). How much it sends ahead depends on what it knows to have come. A
 * node that fetches alone asks it for what is missing, by digest (fetching.c).
 */
#include "agent/shell.h"

#include "base/mem.h"
#include "protocol/chunk_data.h"
#include "protocol/message.h"

static int tell(struct agent *agent, enum message_type type, const void *body)
{
	struct bytes bytes = {0};
	int r = message_encode(type, body, &bytes, NULL);

	if (r == 0)
		r = agent->world->tell_origin(agent->world->context, bytes.data, bytes.size);
	free(bytes.data);
	return r;
}

int seeds_offer(struct agent *agent, struct fetch_job *job)
{
	uint32_t chunks = chunk_list_count(job->list);
	AUTO_FREE uint8_t *bits = mem_alloc((chunks + 7) / 8 + 1);
	const struct msg_offer offer = {.release = job->release,
					.chunks = chunks,
					.bitmap = {bits, (chunks + 7) / 8},
					.first = !agent->seeds.began};
	int r;

	fetch_done_bits(job->fetch, bits);
	r = tell(agent, MESSAGE_SEED_OFFER, &offer);
	if (r == 0 && !agent->seeds.began)
		agent->seeds = (struct seeds){.began = true};
	return r;
}

void seeds_lost(struct agent *agent)
{
	agent->seeds.began = false;
}

void seeds_use(struct agent *agent, struct fetch_job *job, bool on)
{
	if (!job->whole || job->seed == on)
		return;
	job->seed = on;
	fetch_source_down(job->fetch, SOURCE_ORIGIN);
	fetch_set_role(job->fetch, SOURCE_ORIGIN, on ? FETCH_SEED : FETCH_NEIGHBOUR);
	fetch_set_credit(job->fetch, SOURCE_ORIGIN, FETCH_CREDIT_ORIGIN);
	if (!on || seeds_offer(agent, job) == 0) /* else when its channel is there */
		fetch_source_up(job->fetch, SOURCE_ORIGIN);
	job->at_ms = 0;
}

int seeds_ask(struct agent *agent, struct fetch_job *job, const struct fetch_request *request)
{
	struct msg_request seed = {.takes_coded = true,
				   .release = job->release,
				   .taken = agent->seeds.taken,
				   .behind = fetch_is_behind(job->fetch)};

	seed.any = request->chunk == FETCH_ANY;
	seed.chunk = seed.any ? 0 : request->chunk;
	agent->seeds.owes = false;
	return tell(agent, MESSAGE_SEED_REQUEST, &seed);
}

void seeds_cancel(struct agent *agent, struct fetch_job *job, const struct fetch_request *request)
{
	struct msg_request seed = {.release = job->release,
				   .chunk = request->chunk,
				   .taken = agent->seeds.taken};

	if (!job->seed)
		return; /* what was asked for by digest comes */
	if (request->chunk == FETCH_ANY) {
		seed.any = true;
		seed.chunk = 0;
	}
	(void)!tell(agent, MESSAGE_SEED_CANCEL, &seed);
}

/* What it sends next depends on what it knows to have come. */
void seeds_confirm(struct agent *agent)
{
	const struct msg_taken taken = {.taken = agent->seeds.taken};

	if (!agent->seeds.owes)
		return;
	agent->seeds.owes = false;
	(void)!tell(agent, MESSAGE_SEED_TAKEN, &taken);
}

/* ---- what comes ---- */

static void on_refusal(struct agent *agent, struct fetch_job *job,
		       const struct msg_refuse *refusal)
{
	if (!refusal->any && refusal->chunk >= chunk_list_count(job->list))
		return;
	if (refusal->reason == REFUSAL_ALL_OUT) { /* one among others, and no more than that */
		fetch_set_credit(job->fetch, SOURCE_ORIGIN, FETCH_CREDIT_PEER);
		fetch_set_role(job->fetch, SOURCE_ORIGIN,
			       refusal->neighbour ? FETCH_NEIGHBOUR : FETCH_RESERVE);
	} else if (refusal->reason == REFUSAL_LATER) {
		fetch_received_later(job->fetch, SOURCE_ORIGIN, refusal->chunk, agent_now(agent));
	} else if (refusal->reason == REFUSAL_BUSY && !refusal->any) {
		fetch_received_refusal(job->fetch, SOURCE_ORIGIN, refusal->chunk,
				       agent_now(agent));
	} else if (refusal->reason == REFUSAL_RELEASE || refusal->reason == REFUSAL_BUSY) {
		/* It began anew and knows nothing of us: it is asked by digest again. */
		job->seed = false;
		seeds_lost(agent);
		fetch_set_credit(job->fetch, SOURCE_ORIGIN, FETCH_CREDIT_ORIGIN);
		fetch_source_down(job->fetch, SOURCE_ORIGIN);
		fetch_set_role(job->fetch, SOURCE_ORIGIN, FETCH_NEIGHBOUR);
		fetch_source_up(job->fetch, SOURCE_ORIGIN);
	} else if (!refusal->any) {
		fetch_received_missing(job->fetch, SOURCE_ORIGIN, refusal->chunk);
	}
	job->at_ms = 0;
}

/* It sends what lies on its disk, unchecked; asked by digest it looks, and says so when the chunk is
 * lost. */
static void doubt(struct agent *agent, struct fetch_job *job, uint32_t chunk)
{
	const struct wanted_object object = {.kind = OBJECT_CHUNK,
					     .digest = *chunk_list_digest(job->list, chunk),
					     .size = chunk_list_sizes(job->list)[chunk]};

	if (agent->world->get(agent->world->context, SOURCE_ORIGIN, &object) < 0)
		fetch_received_bad(job->fetch, SOURCE_ORIGIN);
}

static void on_seed_chunk(struct agent *agent, struct chunk_data *data)
{
	struct fetch_job *job = fetching_find(agent, &data->release);
	uint8_t *owned = coded_restore(agent, data);

	agent->seeds.taken += data->size;
	agent->seeds.owes = true;
	if (job && job->whole && data->chunk < chunk_list_count(job->list) &&
	    !fetching_take(agent, job, SOURCE_ORIGIN, data->chunk, data->data, data->size))
		doubt(agent, job, data->chunk);
	free(owned);
}

static void hear(struct agent *agent, const void *data, size_t size)
{
	struct chunk_data chunk;
	struct message message = {0};
	struct fetch_job *job;

	if (message_is(data, size, MESSAGE_SEED_CHUNK)) {
		if (chunk_data_open(data, size, &chunk, NULL) == 0)
			on_seed_chunk(agent, &chunk);
	} else if (message_decode(data, size, CHANNEL_DATA, FROM_COORDINATOR, &message, NULL) ==
		   0) {
		job = message.type == MESSAGE_SEED_REFUSE
			      ? fetching_find(agent,
					      &((const struct msg_refuse *)message.body)->release)
			      : NULL;
		if (job && job->whole && job->seed)
			on_refusal(agent, job, message.body);
		message_free(&message);
	}
}

void agent_on_origin(struct agent *agent, const void *data, size_t size)
{
	hear(agent, data, size);
	shell_exchange_turn(agent);
}
