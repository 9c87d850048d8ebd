/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which baseline a deployment counts against. A release brings its own from training data, in its
 * signed manifest; where it has none, the first proposal that a node makes from production is fixed
 * for that deployment and release, and stays. Baselines are known by their ids; their bytes are
 * read when a node shows that it lacks one.
 */
#include "coordinator/rollouts.h"

#include "base/mem.h"
#include "base/str.h"
#include "evidence/build.h"
#include "protocol/baseline.h"
#include "protocol/codec_tables.h"
#include "protocol/manifest.h"

struct shell_baseline {
	char deployment[LIMIT_NAME + 1]; /* that it was learned for; "" : the release's own */
	struct digest release;
	struct digest id; /* zero: the release has none of its own */
};

static const struct shell_baseline *find(const struct coordinator *c, const char *deployment,
					 const struct digest *release)
{
	for (size_t i = 0; i < c->baselines_count; i++)
		if (str_equal(c->baselines[i].deployment, deployment) &&
		    digest_equal(&c->baselines[i].release, release))
			return &c->baselines[i];
	return NULL;
}

static void add(struct coordinator *c, const char *deployment, const struct digest *release,
		const struct digest *id)
{
	struct shell_baseline *baseline;

	MEM_GROW(c->baselines, &c->baselines_cap, c->baselines_count);
	baseline = &c->baselines[c->baselines_count++];
	*baseline = (struct shell_baseline){.release = *release, .id = *id};
	STR_CUT(baseline->deployment, deployment);
}

static int load_one(void *arg, const struct store_baseline *baseline)
{
	add(arg, baseline->deployment, &baseline->release, &baseline->id);
	return 0;
}

int baselines_load(struct coordinator *c, struct err *err)
{
	return c->store->ops->baseline_each(c->store, load_one, c, err);
}

void baselines_free_all(struct coordinator *c)
{
	free(c->baselines);
	c->baselines = NULL;
	c->baselines_count = c->baselines_cap = 0;
}

void baselines_drop(struct coordinator *c, const char *deployment)
{
	for (size_t i = 0; i < c->baselines_count;) {
		if (str_equal(c->baselines[i].deployment, deployment))
			c->baselines[i] = c->baselines[--c->baselines_count];
		else
			i++;
	}
}

void baselines_forget(struct coordinator *c)
{
	struct err err = {0};
	int r;

	baselines_free_all(c);
	r = baselines_load(c, &err);
	if (r < 0)
		shell_store_failed(c, r, &err);
}

/* ---- ids ---- */

/* Of the manifest, looked at once. */
static struct digest own(struct coordinator *c, const struct digest *release)
{
	const struct shell_baseline *known = find(c, "", release);
	struct envelope envelope = {0};
	struct release opened = {0};
	struct digest id = {0};

	if (known || digest_is_zero(release))
		return known ? known->id : id;
	if (artifacts_open(c, release, &opened, &envelope, NULL) < 0)
		return id;
	if (opened.baseline.size > 0)
		baseline_id(opened.baseline.data, opened.baseline.size, &id);
	add(c, "", release, &id);
	release_free(&opened);
	codec_free(&codec_envelope, &envelope);
	return id;
}

struct digest baselines_of(struct coordinator *c, const char *deployment,
			   const struct digest *release)
{
	struct digest id = own(c, release);
	const struct shell_baseline *learned;

	if (!digest_is_zero(&id))
		return id;
	learned = find(c, deployment, release);
	return learned ? learned->id : id;
}

/* ---- proposals ---- */

static int propose(struct coordinator *c, const struct baseline_proposal *proposal,
		   struct err *err)
{
	struct store_baseline row = {.release = proposal->release,
				     .learned_ms = shell_now(c),
				     .body = proposal->baseline};
	struct baseline baseline;
	int r;

	if (!deployments_find(c, proposal->deployment) ||
	    !artifacts_find(c, &proposal->release) ||
	    find(c, proposal->deployment, &proposal->release) ||
	    baseline_decode(row.body.data, row.body.size, &baseline, NULL) < 0)
		return 0; /* nothing to fix, or not to be used by anybody */
	build_free(&baseline);
	baseline_id(row.body.data, row.body.size, &row.id);
	STR_CUT(row.deployment, proposal->deployment);
	r = c->store->ops->baseline_put(c->store, &row, err);
	if (r < 0)
		return r;
	add(c, proposal->deployment, &proposal->release, &row.id);
	c->dirty = true;
	return 0;
}

int baselines_propose(struct coordinator *c, const struct msg_observed *message, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < message->proposals_count; i++)
		r = propose(c, &message->proposals[i], err);
	return r;
}

/* ---- bytes ---- */

struct search {
	const struct digest *id;
	struct bytes *ret_body;
};

static int copy_body(void *arg, const struct store_baseline *baseline)
{
	const struct search *search = arg;

	if (!digest_equal(&baseline->id, search->id))
		return 0;
	search->ret_body->data = mem_copy(baseline->body.data, baseline->body.size);
	search->ret_body->size = baseline->body.size;
	return 1;
}

static int read_own(struct coordinator *c, const struct digest *release, struct bytes *ret_body,
		    struct err *err)
{
	struct envelope envelope = {0};
	struct release opened = {0};
	int r = artifacts_open(c, release, &opened, &envelope, err);

	if (r < 0)
		return r;
	*ret_body = opened.baseline;
	opened.baseline = (struct bytes){0};
	release_free(&opened);
	codec_free(&codec_envelope, &envelope);
	return 0;
}

int baselines_read(struct coordinator *c, const struct digest *id, struct bytes *ret_body,
		   struct err *err)
{
	struct search search = {id, ret_body};
	int r;

	for (size_t i = 0; i < c->baselines_count; i++)
		if (c->baselines[i].deployment[0] == '\0' &&
		    digest_equal(&c->baselines[i].id, id))
			return read_own(c, &c->baselines[i].release, ret_body, err);
	r = c->store->ops->baseline_each(c->store, copy_body, &search, err);
	if (r == 0)
		return err_set(err, -ENOENT, "there is no such baseline");
	return r < 0 ? r : 0;
}

/* Once for each deployment: the newest record of each says what the node counts against now. */
static const struct observation_record *newest(const struct msg_observed *message,
					       const struct assignment *assignment)
{
	const struct observation_record *record = NULL;

	for (size_t i = 0; i < message->records_count; i++)
		if (str_equal(message->records[i].deployment, assignment->deployment))
			record = &message->records[i];
	return record;
}

void baselines_send(struct coordinator *c, const struct shell_node *node,
		    const struct msg_observed *message)
{
	for (size_t i = 0; i < node->desired.assignments_count; i++) {
		const struct assignment *assignment = &node->desired.assignments[i];
		const struct observation_record *record = newest(message, assignment);
		struct msg_baseline answer = {0};

		if (!record || digest_is_zero(&assignment->observe.baseline) ||
		    digest_equal(&record->baseline, &assignment->observe.baseline) ||
		    baselines_read(c, &assignment->observe.baseline, &answer.baseline, NULL) < 0)
			continue;
		STR_CUT(answer.deployment, assignment->deployment);
		agents_send(c, &node->record.id, MESSAGE_BASELINE, &answer);
		free(answer.baseline.data);
	}
}
