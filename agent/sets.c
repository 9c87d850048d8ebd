/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delta sets, as far as the shell knows them: a question before the chunks of a release are fetched,
 * and a job of its own for the set, which comes first. Whatever goes wrong with either is no fault
 * of the release: its chunks then come whole.
 */
#include "agent/shell.h"

enum {
	ASKS = 3, /* without an answer: the coordinator knows of no deltas */
	PATIENCE_MS = 300000, /* while they are being made */
	LOOK_MS = 1000, /* how far a set has come */
};

void sets_wait(struct agent *agent, struct fetch_job *job, const struct digest *set)
{
	job->waits_for = *set;
	fetching_want(agent, set);
	fetching_find(agent, set)->is_set = true;
	job->at_ms = agent_now(agent) + LOOK_MS;
}

void sets_keep(struct agent *agent, const struct fetch_job *job)
{
	struct fetch_job *set = fetching_find(agent, &job->waits_for);

	if (set)
		set->wanted = true;
}

void sets_end(struct agent *agent, struct fetch_job *set)
{
	for (struct fetch_job *job = agent->jobs; job; job = job->next)
		if (digest_equal(&job->waits_for, &set->release)) {
			job->waits_for = (struct digest){0};
			job->at_ms = 0;
		}
	set->sealing = false;
	set->at_ms = UINT64_MAX;
	agent->again = true; /* whoever waited goes on, and this job goes */
}

void sets_give_up(struct agent *agent, struct fetch_job *set, const char *text)
{
	const struct chunk_store_ops *store = &agent->world->store;

	(void)!store->put(store->context, &set->release, OBJECT_SET, &set->release, NULL, 0, NULL);
	shell_log(agent, LOG_LEVEL_WARNING, "fetch: no deltas: %s; the chunks come whole", text);
	sets_end(agent, set);
}

static void none(struct agent *agent, struct fetch_job *job)
{
	const struct chunk_store_ops *store = &agent->world->store;

	(void)!store->put(store->context, &job->release, OBJECT_DELTAS, &job->release, NULL, 0, NULL);
	job->manifest = false;
	job->at_ms = 0;
}

bool sets_unanswered(struct agent *agent, struct fetch_job *job)
{
	if (job->single.kind != OBJECT_DELTAS || job->asks < ASKS)
		return false;
	none(agent, job);
	return true;
}

void sets_missing(struct agent *agent, struct fetch_job *job, const struct msg_object *object)
{
	uint64_t now = agent_now(agent);

	if (job->patience_ms == 0)
		job->patience_ms = now + PATIENCE_MS;
	job->asks = 0;
	if (object->retry_ms == 0 || now >= job->patience_ms)
		none(agent, job);
	else
		job->at_ms = now + object->retry_ms;
}
