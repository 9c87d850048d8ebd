/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deployment.yaml. What a single value must look like is said here, with its line; what the whole
 * must make sense as is deployment_spec_check()'s word, shared with the coordinator, to which this
 * adds file and line of the field that the sentence names.
 */
#include "coordinator/cli/yml_files.h"
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/cli/yml.h"
#include "coordinator/judge/policy.h"
#include "protocol/manifest.h"
#include "protocol/spec.h"

#include <string.h>

#define AT(member) offsetof(struct deployment_spec, member)
#define IN_STAGE(member) offsetof(struct stage_spec, member)
#define IN_GATE(member) offsetof(struct gate_spec, member)

enum { DEFAULT_BAKE_MS = 5 * 60 * 1000 };

static int bind_release(struct yml_file *file, const yaml_node_t *node,
                        const struct yml_field *field, void *object)
{
	struct deployment_spec *spec = object;
	const char *text = yml_text(node);
	const char *at = text ? strchr(text, '@') : NULL;
	char model[LIMIT_NAME + 1] = "";

	if (at && (size_t)(at - text) <= LIMIT_NAME)
		snprintf(model, sizeof(model), "%.*s", (int)(at - text), text);
	if (!at || !name_is_valid(model) || !version_is_valid(at + 1) ||
	    STR_SET(spec->version, at + 1) < 0)
		return yml_fail(
		    file, node,
		    "`%.80s` is not a release; write MODEL@VERSION, for instance ocr@2.1.0",
		    text ? text : "");
	memcpy(spec->model, model, sizeof(model));
	return 0;
}

/* A share that selects somebody: `percent: 0` is a mistake and not an empty stage. */
static int bind_positive_share(struct yml_file *file, const yaml_node_t *node,
                               const struct yml_field *field, void *object)
{
	int r = yml_share(file, node, field, object);

	if (r == 0 && ((struct share *)(void *)((char *)object + field->offset))->value == 0)
		r = yml_fail(file, node, "this is nobody; write at least 1");
	return r;
}

static int bind_percent(struct yml_file *file, const yaml_node_t *node,
                        const struct yml_field *field, void *object)
{
	const struct yml_field number = {.min = 1, .max = 100};
	uint32_t value = 0;
	int r = yml_u32(file, node, &number, &value);

	if (r == 0)
		((struct stage_spec *)object)->nodes = (struct share){true, value};
	return r;
}

/* ---- lists of structs ---- */

/* How many items a list has; the sentence when it is none or has too many. */
static int list_size(struct yml_file *file, const yaml_node_t *node, size_t min, size_t max,
                     size_t *ret_count)
{
	if (node->type != YAML_SEQUENCE_NODE)
		return yml_fail(file, node, "this is not a list; write `- {...}` items");
	*ret_count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	if (*ret_count < min || *ret_count > max)
		return yml_fail(file, node, "the list has %zu items; write %zu to %zu", *ret_count,
		                min, max);
	return 0;
}

static int bind_items(struct yml_file *file, const yaml_node_t *node,
                      const struct yml_field *fields, void *items, size_t item_size,
                      int (*check)(struct yml_file *, const yaml_node_t *))
{
	char *at = items;
	size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);

	for (size_t i = 0; i < count; i++, at += item_size) {
		const yaml_node_t *item =
		    yaml_document_get_node(&file->document, node->data.sequence.items.start[i]);
		size_t mark = yml_enter_index(file, i);
		int r = yml_bind(file, item, fields, at);

		if (r == 0 && check)
			r = check(file, item);
		if (r < 0)
			return r;
		yml_leave(file, mark);
	}
	return 0;
}

static const struct yml_field stage_fields[] = {
    {.key = "nodes", .bind = bind_positive_share, .offset = IN_STAGE(nodes)},
    {.key = "percent", .bind = bind_percent},
    {.key = "bake", .bind = yml_duration, .offset = IN_STAGE(bake_ms)},
    {.key = "where", .bind = yml_selector, .offset = IN_STAGE(where), .max = LIMIT_SELECTOR + 1},
    {0},
};

static int check_stage(struct yml_file *file, const yaml_node_t *stage)
{
	if (!yml_get(file, stage, "nodes") == !yml_get(file, stage, "percent"))
		return yml_fail(file, stage,
		                "a stage has either nodes or percent; write for instance {nodes: "
		                "1, bake: 5m} or {percent: 10, bake: 30m}");
	return 0;
}

static int bind_stages(struct yml_file *file, const yaml_node_t *node,
                       const struct yml_field *field, void *object)
{
	struct deployment_spec *spec = object;
	size_t count = 0;
	int r = list_size(file, node, 1, LIMIT_STAGES, &count);

	if (r < 0)
		return r;
	free(spec->stages);
	spec->stages = mem_array(count, sizeof(*spec->stages));
	spec->stages_count = count;
	for (size_t i = 0; i < count; i++)
		spec->stages[i].bake_ms = DEFAULT_BAKE_MS;
	return bind_items(file, node, stage_fields, spec->stages, sizeof(*spec->stages),
	                  check_stage);
}

static const char *const againsts[] = {"control", "absolute", NULL};
static const char *const inconclusives[] = {"hold", "promote", "rollback", "promote-if-promised",
                                            NULL};

static int bind_against(struct yml_file *file, const yaml_node_t *node,
                        const struct yml_field *field, void *object)
{
	int index = 0, r;
	struct yml_field word = *field;

	word.offset = 0;
	r = yml_word(file, node, &word, &index);
	((struct gate_spec *)object)->absolute = index == 1;
	return r;
}

static int bind_policy(struct yml_file *file, const yaml_node_t *node,
                       const struct yml_field *field, void *object)
{
	((struct gate_spec *)object)->has_policy = true;
	return yml_word(file, node, field, object);
}

static const char *const requires[] = {"guard-rail", "evidence", NULL};

static const struct yml_field gate_fields[] = {
    {.key = "metric",
     .bind = yml_array,
     .offset = IN_GATE(metric),
     .max = LIMIT_SHORT_TEXT + 1,
     .required = true},
    {.key = "against", .bind = bind_against, .words = againsts},
    {.key = "tolerance", .bind = yml_double, .offset = IN_GATE(tolerance)},
    {.key = "margin", .bind = yml_double, .offset = IN_GATE(margin)},
    {.key = "weight", .bind = yml_double, .offset = IN_GATE(weight)},
    {.key = "slo", .bind = yml_double, .offset = IN_GATE(slo)},
    {.key = "bound", .bind = yml_duration, .offset = IN_GATE(bound_ms)},
    {.key = "critical", .bind = yml_bool, .offset = IN_GATE(critical)},
    {.key = "dry_run", .bind = yml_bool, .offset = IN_GATE(dry_run)},
    {.key = "require", .bind = yml_word, .offset = IN_GATE(require), .words = requires},
    {.key = "min_bake", .bind = yml_duration, .offset = IN_GATE(min_bake_ms)},
    {.key = "deadline", .bind = yml_duration, .offset = IN_GATE(deadline_ms)},
    {.key = "policy",
     .bind = bind_policy,
     .offset = IN_GATE(policy),
     .words = inconclusives},
    {0},
};

static int bind_gates(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
                      void *object)
{
	struct deployment_spec *spec = object;
	size_t count = 0;
	int r = list_size(file, node, 0, LIMIT_GATES, &count);

	if (r < 0 || count == 0)
		return r;
	spec->gates = mem_array(count, sizeof(*spec->gates));
	spec->gates_count = count;
	return bind_items(file, node, gate_fields, spec->gates, sizeof(*spec->gates), NULL);
}

/* ---- strategies ---- */

static const struct yml_field canary_fields[] = {
    {.key = "stages", .bind = bind_stages, .required = true},
    {.key = "batch", .bind = bind_positive_share, .offset = AT(batch)}, /* the implied rest */
    {.key = "batch_bake", .bind = yml_duration, .offset = AT(batch_bake_ms)},
    {0},
};

static const char *const promotes[] = {"auto", "manual", NULL};

static const struct yml_field blue_green_fields[] = {
    {.key = "promote", .bind = yml_word, .offset = AT(promote), .words = promotes},
    {.key = "bake", .bind = yml_duration, .offset = AT(batch_bake_ms)},
    {0},
};

static const struct yml_field rolling_fields[] = {
    {.key = "batch", .bind = bind_positive_share, .offset = AT(batch)},
    {.key = "bake", .bind = yml_duration, .offset = AT(batch_bake_ms)},
    {0},
};

/* In the order of enum strategy_kind. */
static const struct yml_field strategy_fields[] = {
    {.key = "canary", .bind = yml_map, .fields = canary_fields},
    {.key = "blue_green", .bind = yml_map, .fields = blue_green_fields},
    {.key = "rolling", .bind = yml_map, .fields = rolling_fields},
    {0},
};

static int bind_strategy(struct yml_file *file, const yaml_node_t *node,
                         const struct yml_field *field, void *object)
{
	struct deployment_spec *spec = object;
	int given = 0;

	for (int i = 0; strategy_fields[i].key; i++) {
		if (!yml_get(file, node, strategy_fields[i].key))
			continue;
		given++;
		spec->strategy = (enum strategy_kind)i;
	}
	if (given > 1)
		return yml_fail(
		    file, node,
		    "there are several strategies; write one of canary, blue_green and rolling");
	if (given && spec->strategy != STRATEGY_CANARY) {
		free(spec->stages); /* of the default */
		spec->stages = NULL;
		spec->stages_count = 0;
	}
	if (given && spec->strategy == STRATEGY_BLUE_GREEN)
		spec->batch_bake_ms = DEFAULT_BAKE_MS;
	return yml_bind(file, node, strategy_fields, object);
}

/* ---- the file ---- */

static const struct yml_field per_label_fields[] = {
    {.key = "label",
     .bind = yml_array,
     .offset = AT(per_label),
     .max = LIMIT_LABEL_KEY + 1,
     .required = true},
    {.key = "nodes",
     .bind = yml_u32,
     .offset = AT(per_label_nodes),
     .min = 1,
     .max = LIMIT_FLEET,
     .required = true},
    {0},
};

static const struct yml_field failures_fields[] = {
    {.key = "nodes", .bind = yml_u32, .offset = AT(failures.nodes), .max = LIMIT_FLEET},
    {.key = "percent", .bind = yml_u32, .offset = AT(failures.percent), .max = 100},
    {.key = "unreachable", .bind = yml_share, .offset = AT(failures.unreachable)},
    {0},
};

static const struct yml_field deadlines_fields[] = {
    {.key = "node", .bind = yml_duration, .offset = AT(deadlines.node_ms)},
    {.key = "stage", .bind = yml_duration, .offset = AT(deadlines.stage_ms)},
    {.key = "rollout", .bind = yml_duration, .offset = AT(deadlines.rollout_ms)},
    {0},
};

static const struct yml_field windows_fields[] = {
    {.key = "download",
     .bind = yml_array,
     .offset = AT(windows.download),
     .max = LIMIT_SHORT_TEXT + 1},
    {.key = "switch", .bind = yml_array, .offset = AT(windows.swap), .max = LIMIT_SHORT_TEXT + 1},
    {.key = "timezone",
     .bind = yml_array,
     .offset = AT(windows.timezone),
     .max = LIMIT_SHORT_TEXT + 1},
    {0},
};

static const char *const swaps[] = {"start-first", "stop-first", NULL};

static const struct yml_field deployment_fields[] = {
    {.key = "deployment",
     .bind = yml_name,
     .offset = AT(name),
     .max = LIMIT_NAME + 1,
     .required = true},
    {.key = "release", .bind = bind_release, .required = true},
    {.key = "nodes",
     .bind = yml_selector,
     .offset = AT(selector),
     .max = LIMIT_SELECTOR + 1,
     .required = true},
    {.key = "swap", .bind = yml_word, .offset = AT(swap), .words = swaps},
    {.key = "drain", .bind = yml_duration, .offset = AT(drain_ms)},
    {.key = "keep_warm", .bind = yml_duration, .offset = AT(keep_warm_ms)},
    {.key = "strategy", .bind = bind_strategy},
    {.key = "max_unavailable", .bind = yml_share, .offset = AT(max_unavailable)},
    {.key = "max_unavailable_per", .bind = yml_map, .fields = per_label_fields},
    {.key = "failures", .bind = yml_map, .fields = failures_fields},
    {.key = "deadlines", .bind = yml_map, .fields = deadlines_fields},
    {.key = "windows", .bind = yml_map, .fields = windows_fields},
    {.key = "gates", .bind = bind_gates},
    {.key = "on_inconclusive",
     .bind = yml_word,
     .offset = AT(on_inconclusive),
     .words = inconclusives},
    {0},
};

static int gates_check(const struct deployment_spec *spec, struct err *err)
{
	AUTO_FREE struct judge_policy *policy = mem_alloc(sizeof(*policy));

	return judge_policy_make(spec, policy, err);
}

int deployment_file_read(const char *name, struct deployment_spec *ret_spec, struct err *err)
{
	struct deployment_spec spec = {0};
	struct yml_file yaml;
	struct err why = {0};
	int r = yml_load(&yaml, name, err);

	if (r < 0)
		return r;
	deployment_spec_defaults(&spec);
	r = yml_bind(&yaml, yml_root(&yaml), deployment_fields, &spec);
	if (r == 0 && (deployment_spec_check(&spec, &why) < 0 || gates_check(&spec, &why) < 0))
		r = yml_fail_at(&yaml, why.text);
	yml_free(&yaml);
	if (r < 0)
		deployment_spec_free(&spec);
	else
		*ret_spec = spec;
	return r;
}

int yml_file_kind(const char *name, enum file_kind *ret_kind, struct err *err)
{
	struct yml_file yaml;
	const yaml_node_t *root;
	int r = yml_load(&yaml, name, err);

	if (r < 0)
		return r;
	root = yml_root(&yaml);
	if (yml_get(&yaml, root, "deployment"))
		*ret_kind = FILE_DEPLOYMENT;
	else if (yml_get(&yaml, root, "model"))
		*ret_kind = FILE_RELEASE;
	else if (yml_get(&yaml, root, "features"))
		*ret_kind = FILE_BASELINE;
	else
		r = yml_fail(&yaml, root,
		             "this is neither a release nor a deployment; begin with `model: NAME` "
		             "or `deployment: NAME`");
	yml_free(&yaml);
	return r;
}
