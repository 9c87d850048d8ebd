/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Releases on their way to the disk. The chunk store says what is missing; the pure scheduler
 * (agent/core/fetch.h) says what to ask which source for; the store takes what comes. The manifest
 * and the chunk indices come from the coordinator, by digest. From then on the release is a list
 * of numbered chunks (protocol/chunk_list.h), and neighbours are sources, too (exchanging.c). A
 * release with more chunks than LIMIT_PEER_CHUNKS comes in parts, from the coordinator alone.
 *
 * A job is stepped, never waited for: copying, hashing and sealing go in bounded steps, one a turn
 * of the loop, so that probes and heartbeats are never late. Whatever goes wrong in passing is
 * tried again with a growing pause; only what no waiting can mend is told to the core as final.
 */
#include "agent/shell.h"

#include "agent/core/backoff.h"
#include "base/mem.h"
#include "base/str.h"

enum {
	PART_OBJECTS = 4096,
	TRIES = 4,		   /* of what may have been bad luck before it is final */
	RETRY_MIN_MS = 2000,
	RETRY_MAX_MS = 60000,
	PROGRESS_MS = 1000,
	BUSY_MS = 200,
};

/* ---- what the core hears ---- */

struct fault {
	bool permanent;
	const char *check, *text;
};

/* A function, because each deployment that waits for the release is told. */
static void tell_waiting(struct agent *agent, const struct digest *release,
			 const struct deploy_event *event)
{
	uint64_t now = agent_now(agent);

	for (size_t i = 0; i < node_core_count(agent->core); i++) {
		const struct deploy *deploy = node_core_at(agent->core, i);
		struct deploy_effects effects;

		deploy_decide(deploy, now, &effects);
		if (digest_equal(&effects.fetch, release))
			shell_tell(agent, deploy->record.name, *event);
	}
}

static void tell_progress(struct agent *agent, struct fetch_job *job, uint64_t now_ms)
{
	struct deploy_event event = {.kind = DEPLOY_EVENT_FETCH_PROGRESS,
				     .release = job->release,
				     .bytes_done = job->progress.bytes_done,
				     .bytes_total = job->progress.bytes_total};
	struct fetch_progress progress = {0};

	if (now_ms < job->told_ms + PROGRESS_MS)
		return;
	if (job->whole) { /* the store was asked when it began */
		fetch_progress(job->fetch, now_ms, &progress);
		event.bytes_done += progress.bytes_done - job->bytes_before;
	}
	job->rate = progress.rate;
	if (job->told_bytes == event.bytes_done)
		return;
	job->told_ms = now_ms;
	job->told_bytes = event.bytes_done;
	tell_waiting(agent, &job->release, &event);
}

static void end_fetch(struct fetch_job *job)
{
	if (job->fetch)
		fetch_free(job->fetch);
	if (job->list)
		chunk_list_free(job->list);
	job->fetch = NULL;
	job->list = NULL;
	job->whole = false;
}

/* Tries again after a pause, or gives the release up. */
static void fail(struct agent *agent, struct fetch_job *job, const struct fault *fault)
{
	struct deploy_event event = {.kind = DEPLOY_EVENT_FETCH_FAILED,
				     .release = job->release,
				     .permanent = fault->permanent || job->failures + 1 >= TRIES,
				     .check = fault->check,
				     .text = fault->text};

	job->failures++;
	job->at_ms = agent_now(agent) + backoff_ms(RETRY_MIN_MS, RETRY_MAX_MS, job->failures,
						   agent->world->random(agent->world->context));
	end_fetch(job);
	job->manifest = job->sealing = false;
	if (job->is_set) {
		sets_give_up(agent, job, fault->text);
		return;
	}
	shell_log(agent, event.permanent ? LOG_LEVEL_ERR : LOG_LEVEL_WARNING, "fetch: %s%s",
		  fault->text, event.permanent ? "" : "; trying again");
	tell_waiting(agent, &job->release, &event);
}

/* An error of the chunk store. */
static void fail_store(struct agent *agent, struct fetch_job *job, int r, const struct err *err)
{
	struct fault fault = {.text = err_text(err, r), .check = "disk"};

	if (r == -EKEYREJECTED) {
		fault.permanent = true;
		fault.check = "signature";
	} else if (r == -EPROTO) {
		fault.permanent = true;
		fault.check = "digest";
	} else if (r == -EBADMSG) {
		fault.check = "digest";
	} else if (r == -ENOSPC) {
		fetching_prune(agent, true);
	}
	fail(agent, job, &fault);
}

/* ---- jobs ---- */

struct fetch_job *fetching_find(const struct agent *agent, const struct digest *release)
{
	for (struct fetch_job *job = agent->jobs; job; job = job->next)
		if (digest_equal(&job->release, release))
			return job;
	return NULL;
}

static void job_free(struct fetch_job *job)
{
	end_fetch(job);
	free(job);
}

void fetching_begin(struct agent *agent)
{
	for (struct fetch_job *job = agent->jobs; job; job = job->next)
		job->wanted = false;
}

void fetching_want(struct agent *agent, const struct digest *release)
{
	struct fetch_job *job = fetching_find(agent, release);

	if (!job) {
		job = mem_alloc(sizeof(*job));
		job->release = *release;
		job->next = agent->jobs;
		agent->jobs = job;
	}
	job->wanted = true;
}

void fetching_end(struct agent *agent)
{
	struct fetch_job **at = &agent->jobs;
	bool had = agent->jobs != NULL;

	for (const struct fetch_job *job = agent->jobs; job; job = job->next)
		if (job->wanted)
			sets_keep(agent, job);
	while (*at) {
		struct fetch_job *job = *at;

		if (job->wanted) {
			at = &job->next;
			continue;
		}
		*at = job->next;
		job_free(job);
	}
	if (!had || agent->jobs)
		return;
	agent->world->store.idle(agent->world->store.context);
	agent->world->get_idle(agent->world->context);
	coded_idle(agent);
	seeds_lost(agent); /* the next one is another connection */
}

void fetching_free(struct agent *agent)
{
	fetching_begin(agent);
	while (agent->jobs) {
		struct fetch_job *job = agent->jobs;

		agent->jobs = job->next;
		job_free(job);
	}
}

/* ---- steps ---- */

static int ask_origin(struct agent *agent, struct fetch_job *job,
		      const struct fetch_request *request)
{
	struct wanted_object object = {.kind = OBJECT_CHUNK, .size = request->size};

	if (job->seed)
		return seeds_ask(agent, job, request);
	object.digest = *chunk_list_digest(job->list, request->chunk);
	return agent->world->get(agent->world->context, SOURCE_ORIGIN, &object);
}

static int start_fetch(struct agent *agent, struct fetch_job *job, const struct chunk_ref *refs,
		       size_t count)
{
	job->list = chunk_list_create(refs, count);
	job->fetch = fetch_create(chunk_list_sizes(job->list), chunk_list_count(job->list));
	job->seed = false;
	/* It counts as up: the first request finds out, and opens the channel. */
	return fetch_add_source(job->fetch, SOURCE_ORIGIN, FETCH_ORIGIN);
}

static int start_part(struct agent *agent, struct fetch_job *job,
		      const struct wanted_object *items, size_t count)
{
	AUTO_FREE struct chunk_ref *refs = mem_array(count + 1, sizeof(*refs));

	for (size_t i = 0; i < count; i++)
		refs[i] = (struct chunk_ref){items[i].digest, items[i].size};
	return start_fetch(agent, job, refs, count);
}

/* All chunks of the release are the list; those that are not among the items are here. */
static int start_whole(struct agent *agent, struct fetch_job *job,
		       const struct wanted_object *items, size_t count)
{
	struct fetch_progress progress;
	uint32_t chunks = chunk_list_count(job->list);
	AUTO_FREE bool *missing = mem_array(chunks + 1, sizeof(*missing));
	int r;

	job->fetch = fetch_create(chunk_list_sizes(job->list), chunks);
	for (size_t i = 0; i < count; i++)
		missing[chunk_list_find(job->list, &items[i].digest)] = true;
	for (uint32_t i = 0; i < chunks; i++)
		if (!missing[i])
			fetch_mark_done(job->fetch, i);
	job->seed = false;
	job->whole = true;
	fetch_progress(job->fetch, 0, &progress);
	job->bytes_before = progress.bytes_done;
	r = fetch_add_source(job->fetch, SOURCE_ORIGIN, FETCH_ORIGIN);
	if (r == 0)
		exchanging_started(agent, job);
	return r;
}

/* Loads the list of the whole release; it stays NULL where the release is too large for that. */
static int load_list(struct agent *agent, struct fetch_job *job, struct err *err)
{
	const struct chunk_store_ops *store = &agent->world->store;
	AUTO_FREE struct chunk_ref *chunks = NULL;
	size_t count = 0;
	int r;

	if (!store->chunks)
		return 0;
	r = store->chunks(store->context, &job->release, &chunks, &count, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	job->list = chunk_list_create(chunks, count);
	if (chunk_list_count(job->list) <= LIMIT_PEER_CHUNKS)
		return 0;
	chunk_list_free(job->list);
	job->list = NULL;
	return 0;
}

/* What is missing next? */
static int refill(struct agent *agent, struct fetch_job *job, struct err *err)
{
	const struct chunk_store_ops *store = &agent->world->store;
	size_t max = job->list ? chunk_list_count(job->list) + 1 : PART_OBJECTS, count = 0;
	AUTO_FREE struct wanted_object *items = mem_resize(NULL, max, sizeof(*items));
	int r = store->missing(store->context, &job->release, items, max, &count, &job->progress,
			       err);

	if (r < 0)
		return r;
	job->sealing = job->progress.complete;
	if (count > 0 && items[0].kind == OBJECT_SET && !job->is_set) {
		sets_wait(agent, job, &items[0].digest);
		return 0;
	}
	job->manifest = count > 0 && items[0].kind != OBJECT_CHUNK;
	if (job->manifest) {
		job->single = items[0];
		job->asks = 0;
	}
	if (job->sealing || job->manifest)
		return 0;
	if (job->list) /* of the whole release: it begins when all of it was looked for here */
		return job->progress.looked && count > 0 ? start_whole(agent, job, items, count)
							 : 0;
	if (count == 0)
		return 0;
	r = load_list(agent, job, err);
	if (r < 0 || job->list)
		return r;
	return start_part(agent, job, items, count);
}

static void step_manifest(struct agent *agent, struct fetch_job *job, uint64_t now_ms)
{
	int r;

	if (sets_unanswered(agent, job))
		return;
	r = agent->world->get(agent->world->context, SOURCE_ORIGIN, &job->single);
	job->asks += r == 0;
	job->at_ms = r == 0	      ? now_ms + FETCH_TIMEOUT_MS
		     : r == -ENOTCONN ? UINT64_MAX
				      : now_ms + BUSY_MS;
}

/* Waits until the operator's rate allows more; true: go on now. */
static bool rate_allows(struct agent *agent, struct fetch_job *job, uint64_t now_ms)
{
	if (bucket_allows(&agent->fetch_bucket, now_ms))
		return true;
	job->at_ms = bucket_ready_ms(&agent->fetch_bucket, now_ms);
	return false;
}

void fetching_rest(struct fetch_job *job, uint32_t source, uint64_t until_ms)
{
	fetch_source_down(job->fetch, source);
	job->busy_ms = job->busy ? shell_min(job->busy_ms, until_ms) : until_ms;
	job->busy |= 1u << source;
}

static void wake_busy(struct fetch_job *job, uint64_t now_ms)
{
	if (!job->busy || now_ms < job->busy_ms)
		return;
	for (uint32_t i = 0; i < 32; i++)
		if (job->busy >> i & 1)
			fetch_source_up(job->fetch, i);
	job->busy = 0;
}

static void step_requests(struct agent *agent, struct fetch_job *job, uint64_t now_ms)
{
	const struct agent_world *world = agent->world;
	struct fetch_request request;
	int r;

	while (fetch_next_cancel(job->fetch, &request)) {
		if (request.source == SOURCE_ORIGIN)
			seeds_cancel(agent, job, &request);
		else
			talking_cancel(agent, job, &request);
	}
	while (rate_allows(agent, job, now_ms) &&
	       fetch_next(job->fetch, now_ms, world->random(world->context), &request)) {
		r = request.source == SOURCE_ORIGIN ? ask_origin(agent, job, &request)
						    : talking_ask(agent, job, &request);
		if (r == -ENOTCONN) /* agent_on_source() or agent_on_peer_up() brings it back */
			fetch_source_down(job->fetch, request.source);
		else if (r < 0)
			fetching_rest(job, request.source, now_ms + BUSY_MS);
		else
			bucket_take(&agent->fetch_bucket, request.size, now_ms);
	}
}

static void step_fetch(struct agent *agent, struct fetch_job *job, uint64_t now_ms)
{
	struct fetch_blame blame;

	fetch_tick(job->fetch, now_ms, agent->world->random(agent->world->context));
	wake_busy(job, now_ms);
	job->at_ms = UINT64_MAX;
	step_requests(agent, job, now_ms);
	while (fetch_next_blame(job->fetch, &blame))
		exchanging_blame(agent, job, &blame);
	job->at_ms = shell_min(job->at_ms, fetch_deadline(job->fetch));
	if (job->busy)
		job->at_ms = shell_min(job->at_ms, job->busy_ms);
}

/* A fetch that came to an end; true: so the job goes on at once. */
static bool fetch_ended(struct agent *agent, struct fetch_job *job)
{
	switch (fetch_state(job->fetch)) {
	case FETCH_RUNNING:
	case FETCH_WAITING:
		return false;
	case FETCH_COMPLETE:
		if (job->whole)
			exchanging_complete(agent, job);
		end_fetch(job);
		return true;
	case FETCH_HOPELESS:
		fail(agent, job,
		     &(struct fault){.check = "digest",
				     .text = "the coordinator does not have a chunk of the "
					     "release, or sent one that is not what it should "
					     "be"});
		return true;
	}
	return false;
}

static void step_seal(struct agent *agent, struct fetch_job *job)
{
	const struct chunk_store_ops *store = &agent->world->store;
	struct err err = {0};
	int r = store->seal(store->context, &job->release, &err);

	if (r == 0 && job->is_set) {
		sets_end(agent, job);
	} else if (r == 0) {
		agent->again = true; /* perform_fetch() finds it sealed */
	} else if (r != -EAGAIN) {
		exchanging_spoiled(agent, &job->release);
		fail_store(agent, job, r, &err);
	}
}

static void step_job(struct agent *agent, struct fetch_job *job, uint64_t now_ms)
{
	struct err err = {0};
	int r = 0;

	if (now_ms < job->at_ms)
		return;
	job->at_ms = now_ms; /* again at once, unless somebody says otherwise */
	if (job->sealing) {
		step_seal(agent, job);
		return;
	}
	if (!job->fetch && !job->manifest)
		r = refill(agent, job, &err);
	if (r < 0)
		fail_store(agent, job, r, &err);
	else if (job->manifest)
		step_manifest(agent, job, now_ms);
	else if (job->fetch && !fetch_ended(agent, job))
		step_fetch(agent, job, now_ms);
	tell_progress(agent, job, now_ms);
}

void fetching_step(struct agent *agent, uint64_t now_ms)
{
	for (struct fetch_job *job = agent->jobs; job; job = job->next)
		step_job(agent, job, now_ms);
	seeds_confirm(agent);
}

uint64_t fetching_deadline(const struct agent *agent)
{
	uint64_t at = agent->resumed ? agent->prune_at_ms : UINT64_MAX;

	for (const struct fetch_job *job = agent->jobs; job; job = job->next)
		at = shell_min(at, job->at_ms);
	return at;
}

/* ---- what comes ---- */

void fetching_source(struct agent *agent, bool up)
{
	if (!up)
		seeds_lost(agent);
	for (struct fetch_job *job = agent->jobs; job; job = job->next) {
		if (job->fetch && !up)
			fetch_source_down(job->fetch, SOURCE_ORIGIN);
		else if (job->fetch && (!job->seed || seeds_offer(agent, job) == 0))
			fetch_source_up(job->fetch, SOURCE_ORIGIN);
		if (job->fetch || (up && job->manifest))
			job->at_ms = 0;
	}
}

static void on_single(struct agent *agent, struct fetch_job *job, const struct msg_object *object)
{
	const struct chunk_store_ops *store = &agent->world->store;
	struct err err = {0};
	int r;

	if (!job->manifest || object->kind != job->single.kind)
		return;
	if (object->missing && object->kind == OBJECT_DELTAS) {
		sets_missing(agent, job, object);
		return;
	}
	if (object->missing) {
		fail(agent, job, &(struct fault){.check = "missing",
						 .text = "the coordinator does not have the "
							 "manifest of the release"});
		return;
	}
	r = store->put(store->context, &job->release, object->kind, &object->digest,
		       object->data.data, object->data.size, &err);
	if (r < 0) {
		fail_store(agent, job, r, &err);
		return;
	}
	job->manifest = false;
	job->asks = 0;
	job->failures = 0;
	job->at_ms = 0;
}

bool fetching_take(struct agent *agent, struct fetch_job *job, uint32_t source, uint32_t chunk,
		   const void *data, size_t size)
{
	const struct chunk_store_ops *store = &agent->world->store;
	struct err err = {0};
	int r = 0;

	job->at_ms = 0;
	if (!fetch_is_done(job->fetch, chunk))
		r = store->put(store->context, &job->release, OBJECT_CHUNK,
			       chunk_list_digest(job->list, chunk), data, size, &err);
	if (r == -EBADMSG)
		return false;
	if (r == -ESTALE)
		shell_log(agent, LOG_LEVEL_WARNING, "fetch: %s", err_text(&err, r));
	else if (r < 0) {
		fail_store(agent, job, r, &err);
		return true;
	}
	if (fetch_received(job->fetch, source, chunk, agent_now(agent)) != FETCH_TAKEN)
		return true;
	job->failures = 0;
	*(source == SOURCE_ORIGIN ? &job->from_origin : &job->from_peers) += size;
	if (job->whole)
		talking_have(agent, job, source, chunk);
	return true;
}

static void on_chunk(struct agent *agent, struct fetch_job *job, const struct msg_object *object)
{
	uint32_t chunk = chunk_list_find(job->list, &object->digest);

	if (chunk == CHUNK_NONE)
		return;
	job->at_ms = 0; /* a failure makes a pause of it */
	if (object->missing)
		fetch_received_missing(job->fetch, SOURCE_ORIGIN, chunk);
	else if (!fetching_take(agent, job, SOURCE_ORIGIN, chunk, object->data.data,
				object->data.size))
		fetch_received_bad(job->fetch, SOURCE_ORIGIN);
}

void fetching_object(struct agent *agent, const struct msg_object *object)
{
	for (struct fetch_job *job = agent->jobs; job; job = job->next) {
		if (object->kind != OBJECT_CHUNK && digest_equal(&job->release, &object->digest))
			on_single(agent, job, object);
		else if (object->kind == OBJECT_CHUNK && job->fetch)
			on_chunk(agent, job, object);
	}
	fetching_step(agent, agent_now(agent));
}
