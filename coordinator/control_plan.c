/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan and apply. Both take the declaration as the encoded struct that the command line made from
 * YAML, check it again, and make the same plan from the same fleet. What a node must fetch is
 * counted chunk by chunk against the releases that it reports in its slots.
 */
#include "coordinator/control.h"
#include "coordinator/judging.h"
#include "coordinator/rollouts.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

/* ---- the declaration ---- */

static int take_spec(struct control_call *call, struct deployment_spec *ret_spec)
{
	const struct store_release *release;
	int r = codec_decode(&codec_deployment_spec, call->blob.data, call->blob.size, ret_spec,
			     &call->err);

	if (r < 0)
		return err_set(&call->err, -EINVAL, "the declaration cannot be read: is `covey` of "
			       "another version than this coordinator (%s)?", COVEY_VERSION);
	r = deployment_spec_check(ret_spec, &call->err);
	if (r == 0)
		r = judging_check(call->c, ret_spec, &call->err);
	release = artifacts_named(call->c, ret_spec->model, ret_spec->version);
	if (r == 0 && !release)
		r = err_set(&call->err, -ENOENT,
			    "release: %s@%s is not on this coordinator: `covey release push` it "
			    "first", ret_spec->model, ret_spec->version);
	if (r < 0) {
		deployment_spec_free(ret_spec);
		return r;
	}
	ret_spec->release = release->digest;
	return 0;
}

/* ---- bytes ---- */

struct chunk_set { /* sorted by digest, each once */
	struct chunk_ref *chunks;
	size_t count, cap;
	uint64_t unpacked_bytes; /* of the layers */
};

static int by_digest(const void *a, const void *b)
{
	return memcmp(((const struct chunk_ref *)a)->digest.bytes,
		      ((const struct chunk_ref *)b)->digest.bytes, DIGEST_SIZE);
}

static void sort_once(struct chunk_set *set)
{
	size_t kept = 0;

	if (set->count > 1)
		qsort(set->chunks, set->count, sizeof(*set->chunks), by_digest);
	for (size_t i = 0; i < set->count; i++) {
		if (kept == 0 || by_digest(&set->chunks[kept - 1], &set->chunks[i]) != 0)
			set->chunks[kept++] = set->chunks[i];
	}
	set->count = kept;
}

/* What cannot be read is left out: the plan then says more bytes than will move. */
static void add_release(struct coordinator *c, const struct digest *digest, struct chunk_set *set)
{
	struct envelope envelope;
	struct release release;

	if (artifacts_open(c, digest, &release, &envelope, NULL) < 0)
		return;
	for (size_t i = 0; i < release.blobs_count; i++) {
		struct chunk_index index;

		if (release.blobs[i].kind == BLOB_LAYER)
			set->unpacked_bytes += release.blobs[i].size;
		if (artifacts_index(c, &release.blobs[i].index, &index, NULL) < 0)
			continue;
		for (size_t k = 0; k < index.chunks_count; k++) {
			MEM_GROW(set->chunks, &set->cap, set->count);
			set->chunks[set->count++] = index.chunks[k];
		}
		codec_free(&codec_chunk_index, &index);
	}
	release_free(&release);
	codec_free(&codec_envelope, &envelope);
	sort_once(set);
}

static uint64_t bytes_missing(const struct chunk_set *wanted, const struct chunk_set *held)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < wanted->count; i++) {
		if (held->count == 0 || !bsearch(&wanted->chunks[i], held->chunks, held->count,
						 sizeof(*held->chunks), by_digest))
			bytes += wanted->chunks[i].size;
	}
	return bytes;
}

/* Nodes that hold the same releases need the same bytes; most fleets have a handful of such sets. */
enum { HELD_MAX = 8, HELD_SETS = 64 };

struct held {
	struct digest releases[HELD_MAX];
	size_t count;
	uint64_t bytes, disk_bytes;
};

struct counter {
	struct coordinator *c;
	const struct digest *to;
	struct chunk_set wanted;
	struct held sets[HELD_SETS];
	size_t sets_count;
};

static void add_held(struct held *held, const struct digest *release)
{
	if (digest_is_zero(release) || held->count == HELD_MAX)
		return;
	for (size_t i = 0; i < held->count; i++) {
		if (digest_equal(&held->releases[i], release))
			return;
	}
	held->releases[held->count++] = *release;
}

static void held_by(const struct shell_node *node, struct held *held)
{
	*held = (struct held){0};
	for (size_t i = 0; node && i < node->status.deployments_count; i++) {
		const struct deployment_report *report = &node->status.deployments[i];

		for (size_t s = 0; s < COLOUR_COUNT; s++)
			add_held(held, &report->slots[s].release);
		if (report->staged)
			add_held(held, &report->target);
	}
}

static void count_held(struct counter *counter, struct held *held)
{
	struct chunk_set have = {0};
	bool unpacked = false;

	for (size_t i = 0; i < held->count; i++) {
		add_release(counter->c, &held->releases[i], &have);
		unpacked |= digest_equal(&held->releases[i], counter->to);
	}
	held->bytes = bytes_missing(&counter->wanted, &have);
	held->disk_bytes = held->bytes + (unpacked ? 0 : counter->wanted.unpacked_bytes);
	free(have.chunks);
}

static const struct held *count_node(struct counter *counter, const struct node_id *id,
				     struct held *scratch)
{
	held_by(agents_find(counter->c, id), scratch);
	for (size_t i = 0; i < counter->sets_count; i++) {
		const struct held *set = &counter->sets[i];

		if (set->count == scratch->count &&
		    memcmp(set->releases, scratch->releases, sizeof(set->releases)) == 0)
			return set;
	}
	count_held(counter, scratch);
	if (counter->sets_count < HELD_SETS)
		counter->sets[counter->sets_count++] = *scratch;
	return scratch;
}

static json_t *show_bytes(struct coordinator *c, const struct plan *plan, const struct digest *to,
			  uint64_t *ret_total)
{
	AUTO_FREE struct counter *counter = mem_alloc(sizeof(*counter));
	json_t *nodes = json_array();
	struct held scratch;

	counter->c = c;
	counter->to = to;
	add_release(c, to, &counter->wanted);
	*ret_total = 0;
	for (size_t i = 0; i < plan->nodes_count; i++) {
		const struct shell_node *node = agents_find(c, &plan->nodes[i].id);
		const struct held *held = count_node(counter, &plan->nodes[i].id, &scratch);

		*ret_total += held->bytes;
		json_array_append_new(nodes, json_pack("{ss so so}", "node", node->record.name,
						       "bytes", json_u64(held->bytes),
						       "disk_bytes", json_u64(held->disk_bytes)));
	}
	free(counter->wanted.chunks);
	return nodes;
}

/* ---- the answer ---- */

static json_t *name_of(const struct coordinator *c, const struct node_id *id)
{
	const struct shell_node *node = agents_find(c, id);

	return node ? json_string(node->record.name) : json_node_id(id);
}

static json_t *show_stages(const struct coordinator *c, const struct plan *plan)
{
	json_t *stages = json_array();

	for (size_t i = 0; i < plan->stages_count; i++) {
		const struct plan_stage *stage = &plan->stages[i];
		json_t *nodes = json_array();

		for (uint32_t n = 0; n < stage->count; n++)
			json_array_append_new(nodes,
					      name_of(c, &plan->nodes[stage->first + n].id));
		json_array_append_new(stages,
				      json_pack("{so ss so so}", "index", json_u64(i), "name",
						stage->name, "nodes", nodes, "bake_ms",
						json_u64(stage->bake_ms)));
	}
	return stages;
}

static json_t *show_excluded(const struct coordinator *c, const struct plan *plan)
{
	json_t *excluded = json_array();

	for (size_t i = 0; i < plan->excluded_count; i++)
		json_array_append_new(excluded,
				      json_pack("{so ss}", "node",
						name_of(c, &plan->excluded[i].id), "why",
						plan->excluded[i].why));
	return excluded;
}

static json_t *show_removed(const struct coordinator *c, const struct plan *plan)
{
	json_t *removed = json_array();

	for (size_t i = 0; i < plan->removed_count; i++)
		json_array_append_new(removed, name_of(c, &plan->removed[i].id));
	return removed;
}

static json_t *show_plan(struct coordinator *c, const struct deployment_spec *spec,
			 const struct plan *plan)
{
	const struct shell_deployment *deployment = deployments_find(c, spec->name);
	char from[SHELL_TEXT_RELEASE] = "";
	uint64_t total = 0;
	json_t *nodes = show_bytes(c, plan, &spec->release, &total);

	if (deployment && !digest_is_zero(&deployment->record.base))
		artifacts_name(c, &deployment->record.base, from);
	return json_pack("{ss so so sb so so so so so}", "deployment", spec->name, "from",
			 json_text_or_null(from), "to",
			 json_sprintf("%s@%s", spec->model, spec->version), "changed",
			 plan_changes(plan) > 0 || plan->removed_count > 0, "stages",
			 show_stages(c, plan), "removed", show_removed(c, plan), "excluded",
			 show_excluded(c, plan), "bytes_total", json_u64(total), "nodes", nodes);
}

/* ---- verbs ---- */

int verb_plan(struct control_call *call)
{
	struct coordinator *c = call->c;
	struct deployment_spec spec;
	struct plan plan = {0};
	int r = take_spec(call, &spec);

	if (r < 0)
		return r;
	r = shell_catch_up(c, &call->err); /* membership is read from desired states */
	if (r == 0)
		r = windows_check(&spec.windows, &call->err);
	if (r == 0)
		r = plans_make(c, &spec, &plan, &call->err);
	if (r == 0) {
		r = plan_check_removal(&plan, control_bool(call, "allow_removal"), &call->err);
		if (r == 0)
			call->answer = show_plan(c, &spec, &plan);
		if (r == 0)
			r = judging_forecast(c, &spec, &plan, call->answer, &call->err);
		plan_free(&plan);
	}
	deployment_spec_free(&spec);
	return r;
}

int verb_apply(struct control_call *call)
{
	struct deployment_spec spec;
	struct rollout_wish wish = {.spec = &spec,
				    .supersede = control_bool(call, "supersede"),
				    .allow_removal = control_bool(call, "allow_removal")};
	struct rollout_id id;
	int r = take_spec(call, &spec);

	if (r < 0)
		return r;
	json_object_set_new(call->args, "deployment", json_string(spec.name));
	json_object_set_new(call->args, "release",
			    json_sprintf("%s@%s", spec.model, spec.version));
	r = plans_apply(call, &wish, &id);
	if (r == 0)
		call->answer = json_pack("{so ss sb}", "rollout", json_rollout_id(&id),
					 "deployment", spec.name, "changed",
					 !rollout_id_is_zero(&id));
	deployment_spec_free(&spec);
	return r;
}
