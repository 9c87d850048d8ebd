/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan and apply. Both take the declaration as the encoded struct that the command line made from
 * YAML, check it again, and make the same plan from the same fleet. What a node must fetch is
 * counted chunk by chunk against the releases that it reports in its slots.
 */
#include "coordinator/control.h"
#include "coordinator/judging.h"
#include "coordinator/plan_bytes.h"
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

static json_t *show_plan(const struct control_call *call, const struct deployment_spec *spec,
			 const struct plan *plan)
{
	const struct plan_rates rates = {.links = control_u64(call, "rate", 0),
					 .origin = control_u64(call, "origin_rate", 0)};
	struct coordinator *c = call->c;
	const struct shell_deployment *deployment = deployments_find(c, spec->name);
	char from[SHELL_TEXT_RELEASE] = "";
	struct plan_bytes bytes;

	plan_bytes_count(c, plan, &spec->release, &rates, &bytes);
	if (deployment && !digest_is_zero(&deployment->record.base))
		artifacts_name(c, &deployment->record.base, from);
	return json_pack("{ss so so sb so so so so so so so sb so}", "deployment", spec->name, "from",
			 json_text_or_null(from), "to",
			 json_sprintf("%s@%s", spec->model, spec->version), "changed",
			 plan_changes(plan) > 0 || plan->removed_count > 0, "stages",
			 show_stages(c, plan), "removed", show_removed(c, plan), "excluded",
			 show_excluded(c, plan), "bytes_total", json_u64(bytes.total), "nodes",
			 bytes.nodes, "chunk_bytes_total", json_u64(bytes.chunks), "origin_bytes",
			 json_u64(bytes.distinct), "deltas_pending", bytes.deltas_pending, "time",
			 bytes.time);
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
			call->answer = show_plan(call, &spec, &plan);
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
