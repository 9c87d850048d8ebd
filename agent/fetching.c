/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Releases on their way to the disk. The chunk store says what is missing, a batch at a time; the
 * pure scheduler (agent/core/fetch.h) says what to ask which source for; the store takes what
 * comes. A job is stepped, never waited for: copying, hashing and sealing go in bounded steps, one
 * a turn of the loop, so that probes and heartbeats are never late. Whatever goes wrong in passing
 * is tried again with a growing pause; only what no waiting can mend is told to the core as final.
 */
#include "agent/shell.h"

#include "agent/core/backoff.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"

enum {
	BATCH_OBJECTS = 4096,
	TRIES = 4,		   /* of what may have been bad luck before it is final */
	RETRY_MIN_MS = 2000,
	RETRY_MAX_MS = 60000,
	PROGRESS_MS = 1000,
	BUSY_MS = 200,
	PRUNE_MS = 3600000, /* the disk is looked at again */
	BURST_MS = 1000, /* of the rate limit that may be used at once */
	DELTAS_ASKS = 3, /* without an answer: the coordinator knows of no deltas */
	DELTAS_PATIENCE_MS = 300000, /* while they are being made */
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

	if (job->told_bytes == job->progress.bytes_done || now_ms < job->told_ms + PROGRESS_MS)
		return;
	job->told_ms = now_ms;
	job->told_bytes = job->progress.bytes_done;
	tell_waiting(agent, &job->release, &event);
}

static void end_set(struct agent *agent, struct fetch_job *job)
{
	for (struct fetch_job *other = agent->jobs; other; other = other->next)
		if (digest_equal(&other->waits_for, &job->release)) {
			other->waits_for = (struct digest){0};
			other->at_ms = 0;
		}
	job->at_ms = UINT64_MAX;
	agent->again = true; /* whoever waited goes on, and this job goes */
}

/* The release does without it. */
static void give_set_up(struct agent *agent, struct fetch_job *job, const char *text)
{
	const struct chunk_store_ops *store = &agent->world->store;

	(void)!store->put(store->context, &job->release, OBJECT_SET, &job->release, NULL, 0, NULL);
	shell_log(agent, LOG_LEVEL_WARNING, "fetch: no deltas: %s; the chunks come whole", text);
	end_set(agent, job);
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
	if (job->batch)
		fetch_free(job->batch);
	job->batch = NULL;
	job->manifest = job->sealing = false;
	job->asks = 0;
	if (job->is_set) {
		give_set_up(agent, job, fault->text);
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

static struct fetch_job *find_job(const struct agent *agent, const struct digest *release)
{
	for (struct fetch_job *job = agent->jobs; job; job = job->next)
		if (digest_equal(&job->release, release))
			return job;
	return NULL;
}

static void job_free(struct fetch_job *job)
{
	if (job->batch)
		fetch_free(job->batch);
	free(job);
}

void fetching_begin(struct agent *agent)
{
	for (struct fetch_job *job = agent->jobs; job; job = job->next)
		job->wanted = false;
}

void fetching_want(struct agent *agent, const struct digest *release)
{
	struct fetch_job *job = find_job(agent, release);

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

	for (const struct fetch_job *job = agent->jobs; job; job = job->next) {
		struct fetch_job *set = find_job(agent, &job->waits_for);

		if (set && job->wanted)
			set->wanted = true;
	}

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

/* A set of deltas is fetched like a release of its own; this one waits, and looks now and then how
 * far it came. */
static void wait_for_set(struct agent *agent, struct fetch_job *job)
{
	struct fetch_job *set;

	if (!job->manifest || job->single.kind != OBJECT_SET || job->is_set)
		return;
	job->manifest = false;
	job->waits_for = job->single.digest;
	fetching_want(agent, &job->waits_for);
	set = find_job(agent, &job->waits_for);
	set->is_set = true;
	job->at_ms = agent_now(agent) + PROGRESS_MS;
}

/* What is missing next? */
static void refill(struct agent *agent, struct fetch_job *job)
{
	const struct chunk_store_ops *store = &agent->world->store;
	AUTO_FREE struct wanted_object *items = mem_array(BATCH_OBJECTS, sizeof(*items));
	AUTO_FREE struct chunk_ref *refs = mem_resize(NULL, BATCH_OBJECTS, sizeof(*refs));
	struct err err = {0};
	size_t count = 0;
	int r = store->missing(store->context, &job->release, items, BATCH_OBJECTS, &count,
			       &job->progress, &err);

	if (r < 0) {
		fail_store(agent, job, r, &err);
		return;
	}
	job->sealing = job->progress.complete;
	job->manifest = count > 0 && items[0].kind != OBJECT_CHUNK;
	if (count == 0 || job->manifest) {
		job->single = items[0];
		job->asks = 0;
		wait_for_set(agent, job);
		return;
	}
	for (size_t i = 0; i < count; i++)
		refs[i] = (struct chunk_ref){items[i].digest, items[i].size};
	job->batch = fetch_create(refs, count);
	/* It counts as up: the first request finds out, and opens the channel. */
	if (fetch_add_source(job->batch, SOURCE_ORIGIN, FETCH_ORIGIN) < 0)
		fail(agent, job, &(struct fault){.check = "fetch", .text = "no room for a source"});
}

/* 0; -ENOTCONN: the channel is not there, agent_on_source() brings us back; -EAGAIN: later. */
static int ask(struct agent *agent, const struct wanted_object *object)
{
	int r = agent->world->get(agent->world->context, SOURCE_ORIGIN, object);

	return r == 0 || r == -ENOTCONN ? r : -EAGAIN;
}

/* The release is fetched chunk by chunk. */
static void no_deltas(struct agent *agent, struct fetch_job *job)
{
	const struct chunk_store_ops *store = &agent->world->store;

	(void)!store->put(store->context, &job->release, OBJECT_DELTAS, &job->release, NULL, 0, NULL);
	job->manifest = false;
	job->at_ms = 0;
}

static void step_manifest(struct agent *agent, struct fetch_job *job, uint64_t now_ms)
{
	int r;

	if (job->single.kind == OBJECT_DELTAS && job->asks == DELTAS_ASKS) {
		no_deltas(agent, job);
		return;
	}
	r = ask(agent, &job->single);
	job->asks += r == 0;
	job->at_ms = r == 0		? now_ms + FETCH_TIMEOUT_MS
		     : r == -ENOTCONN ? UINT64_MAX
				      : now_ms + BUSY_MS;
}

/* Waits until the operator's rate allows more; true: go on now. */
static bool rate_allows(struct agent *agent, struct fetch_job *job, uint64_t now_ms)
{
	double rate = (double)agent->fetch_rate / 1000.0, most = rate * BURST_MS;

	if (agent->fetch_rate == 0)
		return true;
	agent->tokens += rate * (double)(now_ms - agent->tokens_ms);
	agent->tokens_ms = now_ms;
	if (agent->tokens > most)
		agent->tokens = most;
	if (agent->tokens > 0)
		return true;
	job->at_ms = now_ms + 1 + (uint64_t)(-agent->tokens / rate);
	return false;
}

static void give_requests_back(struct agent *agent)
{
	for (struct fetch_job *job = agent->jobs; job; job = job->next)
		if (job->batch)
			fetch_source_down(job->batch, SOURCE_ORIGIN);
}

static void step_batch(struct agent *agent, struct fetch_job *job, uint64_t now_ms)
{
	const struct agent_world *world = agent->world;
	struct fetch_request request;

	fetch_tick(job->batch, now_ms, world->random(world->context));
	job->at_ms = UINT64_MAX;
	while (rate_allows(agent, job, now_ms) &&
	       fetch_next(job->batch, now_ms, world->random(world->context), &request)) {
		struct wanted_object object = {OBJECT_CHUNK, request.digest, request.size};

		int r = ask(agent, &object);

		if (r == -ENOTCONN) {
			give_requests_back(agent);
			return;
		}
		if (r < 0) { /* the queue is full: this job's requests are asked again */
			fetch_source_down(job->batch, SOURCE_ORIGIN);
			fetch_source_up(job->batch, SOURCE_ORIGIN);
			job->at_ms = now_ms + BUSY_MS;
			return;
		}
		agent->tokens -= (double)request.size;
		job->asked[job->asked_next++ % SHELL_ASKED] = request.digest;
	}
	job->at_ms = shell_min(job->at_ms, fetch_deadline(job->batch));
}

/* A batch that came to an end; true: so the job goes on at once. */
static bool batch_ended(struct agent *agent, struct fetch_job *job)
{
	switch (fetch_state(job->batch)) {
	case FETCH_RUNNING:
	case FETCH_WAITING:
		return false;
	case FETCH_COMPLETE:
		fetch_free(job->batch);
		job->batch = NULL;
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

	if (r == 0 && job->is_set)
		end_set(agent, job);
	else if (r == 0)
		agent->again = true; /* perform_fetch() finds it sealed */
	else if (r != -EAGAIN)
		fail_store(agent, job, r, &err);
}

static void step_job(struct agent *agent, struct fetch_job *job, uint64_t now_ms)
{
	if (now_ms < job->at_ms)
		return;
	job->at_ms = now_ms; /* again at once, unless somebody says otherwise */
	if (job->sealing) {
		step_seal(agent, job);
		return;
	}
	if (!job->batch && !job->manifest)
		refill(agent, job);
	if (job->manifest)
		step_manifest(agent, job, now_ms);
	else if (job->batch && !batch_ended(agent, job))
		step_batch(agent, job, now_ms);
	tell_progress(agent, job, now_ms);
}

void fetching_step(struct agent *agent, uint64_t now_ms)
{
	for (struct fetch_job *job = agent->jobs; job; job = job->next)
		step_job(agent, job, now_ms);
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
		give_requests_back(agent);
	for (struct fetch_job *job = agent->jobs; up && job; job = job->next) {
		if (job->batch)
			fetch_source_up(job->batch, SOURCE_ORIGIN);
		if (job->batch || job->manifest)
			job->at_ms = 0;
	}
}

/* Deltas are being made, or there are none. */
static void on_no_deltas(struct agent *agent, struct fetch_job *job,
			 const struct msg_object *object)
{
	uint64_t now = agent_now(agent);

	if (job->patience_ms == 0)
		job->patience_ms = now + DELTAS_PATIENCE_MS;
	job->asks = 0;
	if (object->retry_ms == 0 || now >= job->patience_ms)
		no_deltas(agent, job);
	else
		job->at_ms = now + object->retry_ms;
}

static void on_single(struct agent *agent, struct fetch_job *job, const struct msg_object *object)
{
	const struct chunk_store_ops *store = &agent->world->store;
	struct err err = {0};
	int r;

	if (!job->manifest || object->kind != job->single.kind)
		return;
	if (object->missing && object->kind == OBJECT_DELTAS) {
		on_no_deltas(agent, job, object);
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
	job->failures = 0;
	job->at_ms = 0;
}

static bool was_asked(const struct fetch_job *job, const struct digest *digest)
{
	for (size_t i = 0; i < SHELL_ASKED; i++)
		if (digest_equal(&job->asked[i], digest))
			return true;
	return false;
}

static void on_chunk(struct agent *agent, struct fetch_job *job, const struct msg_object *object)
{
	const struct chunk_store_ops *store = &agent->world->store;
	struct err err = {0};
	int r;

	if (object->missing) {
		fetch_received_missing(job->batch, SOURCE_ORIGIN, &object->digest);
		job->at_ms = 0;
		return;
	}
	r = store->put(store->context, &job->release, OBJECT_CHUNK, &object->digest,
		       object->data.data, object->data.size, &err);
	if (r == -ESTALE)
		shell_log(agent, LOG_LEVEL_WARNING, "fetch: %s", err_text(&err, r));
	if (r == -EBADMSG) {
		fetch_received_bad(job->batch, SOURCE_ORIGIN, &object->digest);
		job->at_ms = 0;
		return;
	}
	if (r < 0 && r != -ESTALE) {
		fail_store(agent, job, r, &err);
		return;
	}
	if (fetch_received(job->batch, SOURCE_ORIGIN, &object->digest, agent_now(agent)) ==
	    FETCH_TAKEN)
		job->failures = 0;
	job->at_ms = 0;
}

void fetching_object(struct agent *agent, const struct msg_object *object)
{
	for (struct fetch_job *job = agent->jobs; job; job = job->next) {
		if (object->kind != OBJECT_CHUNK && digest_equal(&job->release, &object->digest))
			on_single(agent, job, object);
		else if (object->kind == OBJECT_CHUNK && job->batch &&
			 was_asked(job, &object->digest))
			on_chunk(agent, job, object);
	}
	fetching_step(agent, agent_now(agent));
}

/* ---- the disk rule ---- */

static void prune_helper(struct agent *agent, struct digest_item *keep, size_t count)
{
	struct helper_request request = {.op = HELPER_PRUNE, .keep = keep, .keep_count = count};
	struct pending about = {0};
	uint64_t id;

	/* Lost: the next change of the list asks again. */
	if (helping_send(agent, &request, &about, &id) < 0)
		memset(&agent->kept, 0, sizeof(agent->kept));
}

static bool has_item(const struct digest_item *items, size_t count, const struct digest *digest)
{
	for (size_t i = 0; i < count; i++)
		if (digest_equal(&items[i].digest, digest))
			return true;
	return false;
}

static size_t collect_kept(const struct agent *agent, struct digest_item *items, size_t max)
{
	size_t count = 0;
	uint64_t now = agent_now(agent);

	for (size_t i = 0; i < node_core_count(agent->core); i++) {
		struct deploy_effects effects;

		deploy_decide(node_core_at(agent->core, i), now, &effects);
		for (size_t k = 0; k < effects.keep_count && count < max; k++)
			if (!has_item(items, count, &effects.keep[k]))
				items[count++].digest = effects.keep[k];
	}
	return count;
}

void fetching_prune(struct agent *agent, bool must)
{
	bool changed;

	enum { MOST = LIMIT_DEPLOYMENTS_PER_NODE * DEPLOY_KEEP };
	const struct chunk_store_ops *store = &agent->world->store;
	struct digest_item keep[MOST];
	size_t count;
	struct digest digest;
	struct err err = {0};
	bool dropped = false;
	int r;

	if (!agent->resumed) /* records that were not resumed keep more than they say */
		return;
	count = collect_kept(agent, keep, MOST);
	digest_of(&digest, keep, count * sizeof(*keep));
	changed = !digest_equal(&digest, &agent->kept);
	if (!must && !changed && agent_now(agent) < agent->prune_at_ms)
		return;
	agent->kept = digest;
	agent->prune_at_ms = agent_now(agent) + PRUNE_MS;
	r = store->prune(store->context, keep, count, &dropped, &err);
	if (r < 0)
		shell_log(agent, LOG_LEVEL_WARNING, "making room on the disk: %s",
			  err_text(&err, r));
	if (dropped || changed)
		prune_helper(agent, keep, count);
}
