/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All nodes are put into one order, once; stages then take from its front. The order is a
 * stratified draw: within each site (or whatever label max_unavailable_per names) nodes are
 * shuffled by the seed and spread evenly over 0..1 with a random start, then all sites are merged.
 * Any prefix therefore holds every site in about its share, and so does every batch. (Systematic
 * sampling with a random start; Cochran, "Sampling Techniques", 1977, ch. 8.) The list is sorted
 * by id before the first random number, so the order of the input does not matter.
 */
#include "coordinator/core/plan.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/selector.h"
#include "base/str.h"

#include <assert.h>

static const uint32_t NOT_STAGED = UINT32_MAX;

struct draw { /* one node on its way into the plan */
	const struct fleet_node *node;
	const char *stratum;
	const char *group;
	uint64_t random;
	double key;
	bool already;
	uint32_t stage;
};

struct drawing {
	const struct deployment_spec *spec;
	struct draw *draws;
	size_t count;
	struct plan *plan;
	size_t stages_cap;
	struct rng rng;
};

static void drawing_free(struct drawing *drawing)
{
	free(drawing->draws);
}

/* FNV-1a; the rng behind it mixes well, so that is enough for a seed. */
uint64_t plan_seed(const char *deployment, const struct digest *release)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (const char *c = deployment; *c; c++)
		hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
	hash *= UINT64_C(0x100000001b3); /* the name's NUL */
	for (size_t i = 0; i < DIGEST_SIZE; i++)
		hash = (hash ^ release->bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static const char *label_value(const struct fleet_node *node, const char *key)
{
	for (size_t i = 0; i < node->labels_count; i++)
		if (str_equal(node->labels[i].key, key))
			return node->labels[i].value;
	return "";
}

static bool node_matches(const struct fleet_node *node, const char *selector)
{
	struct selector_label labels[LIMIT_LABELS];

	assert(node->labels_count <= LIMIT_LABELS);
	for (size_t i = 0; i < node->labels_count; i++)
		labels[i] = (struct selector_label){node->labels[i].key, node->labels[i].value};
	return selector_matches(selector, labels, node->labels_count);
}

static int compare_ids(const void *a, const void *b)
{
	const struct draw *left = a, *right = b;

	return memcmp(left->node->id.bytes, right->node->id.bytes, NODE_ID_SIZE);
}

static int compare_strata(const void *a, const void *b)
{
	const struct draw *left = a, *right = b;
	int by_stratum = strcmp(left->stratum, right->stratum);

	if (left->already != right->already)
		return left->already ? 1 : -1;
	if (by_stratum)
		return by_stratum;
	if (left->random != right->random)
		return left->random < right->random ? -1 : 1;
	return compare_ids(a, b);
}

static int compare_keys(const void *a, const void *b)
{
	const struct draw *left = a, *right = b;

	if (left->key != right->key)
		return left->key < right->key ? -1 : 1;
	return compare_ids(a, b);
}

static int compare_stages(const void *a, const void *b)
{
	const struct draw *left = a, *right = b;

	if (left->stage != right->stage)
		return left->stage < right->stage ? -1 : 1;
	return compare_keys(a, b);
}

static int compare_others(const void *a, const void *b)
{
	const struct plan_other *left = a, *right = b;

	return memcmp(left->id.bytes, right->id.bytes, NODE_ID_SIZE);
}

static void other_add(struct plan_other *list, size_t *count, const struct fleet_node *node,
                      const char *why)
{
	struct plan_other *other = &list[(*count)++];

	other->id = node->id;
	STR_CUT(other->why, why);
}

/* Who takes part, who cannot now, who loses the deployment. */
static void sort_out(struct drawing *drawing, const struct fleet_node *nodes, size_t nodes_count)
{
	const struct deployment_spec *spec = drawing->spec;
	const char *stratum = spec->per_label[0] ? spec->per_label : "site";
	struct plan *plan = drawing->plan;

	drawing->draws = mem_array(nodes_count + 1, sizeof(*drawing->draws));
	plan->excluded = mem_array(nodes_count + 1, sizeof(*plan->excluded));
	plan->removed = mem_array(nodes_count + 1, sizeof(*plan->removed));
	for (size_t i = 0; i < nodes_count; i++) {
		const struct fleet_node *node = &nodes[i];

		if (!node_matches(node, spec->selector)) {
			if (node->member)
				other_add(plan->removed, &plan->removed_count, node,
				          "no longer matches the selector");
		} else if (node->cordoned) {
			other_add(plan->excluded, &plan->excluded_count, node, "cordoned");
		} else {
			drawing->draws[drawing->count++] = (struct draw){
			    .node = node,
			    .stratum = label_value(node, stratum),
			    .group = label_value(node, spec->per_label),
			    .already = digest_equal(&node->release, &spec->release),
			    .stage = NOT_STAGED,
			};
		}
	}
	qsort(plan->excluded, plan->excluded_count, sizeof(*plan->excluded), compare_others);
	qsort(plan->removed, plan->removed_count, sizeof(*plan->removed), compare_others);
}

static void draw_order(struct drawing *drawing)
{
	struct draw *draws = drawing->draws;
	size_t first = 0;

	qsort(draws, drawing->count, sizeof(*draws), compare_ids);
	for (size_t i = 0; i < drawing->count; i++)
		draws[i].random = rng_next(&drawing->rng);
	for (size_t i = 1; i < drawing->count; i++)
		assert(!node_id_equal(&draws[i - 1].node->id, &draws[i].node->id));
	qsort(draws, drawing->count, sizeof(*draws), compare_strata);
	while (first < drawing->count) {
		size_t end = first;
		double start = rng_unit(&drawing->rng);

		while (end < drawing->count && draws[end].already == draws[first].already &&
		       str_equal(draws[end].stratum, draws[first].stratum))
			end++;
		for (size_t i = first; i < end; i++) /* those that are done come last: key > 1 */
			draws[i].key = ((double)(i - first) + start) / (double)(end - first) +
			               (draws[i].already ? 2.0 : 0.0);
		first = end;
	}
	qsort(draws, drawing->count, sizeof(*draws), compare_keys);
}

static struct plan_stage *stage_add(struct drawing *drawing, const char *name, size_t number,
                                    uint64_t bake_ms)
{
	struct plan *plan = drawing->plan;
	struct plan_stage *stage;

	MEM_GROW(plan->stages, &drawing->stages_cap, plan->stages_count);
	stage = &plan->stages[plan->stages_count++];
	*stage = (struct plan_stage){
	    .step = STEP_SERVE,
	    .bake_ms = bake_ms,
	    .max_in_change = plan->max_unavailable,
	    .max_in_change_per_group =
	        drawing->spec->per_label[0] ? drawing->spec->per_label_nodes : 0,
	};
	if (number)
		snprintf(stage->name, sizeof(stage->name), "%s-%zu", name, number);
	else
		STR_CUT(stage->name, name);
	return stage;
}

static bool draw_fits(const struct draw *draw, const char *where)
{
	return where[0] == '\0' || node_matches(draw->node, where);
}

/* Takes up to `wanted` nodes from the front of the order; answers how many. */
static size_t take(struct drawing *drawing, uint32_t stage, size_t wanted, const char *where,
                   bool reachable_only)
{
	size_t taken = 0;

	for (size_t i = 0; i < drawing->count && taken < wanted; i++) {
		struct draw *draw = &drawing->draws[i];

		if (draw->stage != NOT_STAGED || draw->already || !draw_fits(draw, where) ||
		    (reachable_only && !draw->node->reachable))
			continue;
		draw->stage = stage;
		taken++;
	}
	return taken;
}

static void add_canaries(struct drawing *drawing)
{
	const struct deployment_spec *spec = drawing->spec;

	for (size_t i = 0; i < spec->stages_count; i++) {
		const struct stage_spec *written = &spec->stages[i];
		uint32_t stage = (uint32_t)drawing->plan->stages_count;
		size_t matching = 0, wanted, taken;

		for (size_t n = 0; n < drawing->count; n++)
			matching += draw_fits(&drawing->draws[n], written->where);
		wanted = share_up(written->nodes, matching);
		taken = take(drawing, stage, wanted, written->where, true);
		taken += take(drawing, stage, wanted - taken, written->where, false);
		if (taken > 0)
			stage_add(drawing, "canary", i + 1, written->bake_ms)->canary = true;
	}
}

static void add_batches(struct drawing *drawing)
{
	const struct deployment_spec *spec = drawing->spec;
	size_t size = share_up(spec->batch, drawing->count), next = 0;

	for (size_t number = 1; next < drawing->count; number++) {
		uint32_t stage = (uint32_t)drawing->plan->stages_count;
		size_t taken = 0;

		for (; next < drawing->count && taken < size; next++) {
			struct draw *draw = &drawing->draws[next];

			if (draw->stage != NOT_STAGED || draw->already)
				continue;
			draw->stage = stage;
			taken++;
		}
		if (taken > 0 || stage == 0)
			stage_add(drawing, "batch", number, spec->batch_bake_ms);
	}
	for (size_t i = 0; i < drawing->count; i++) /* done already: the last stage counts them */
		if (drawing->draws[i].already)
			drawing->draws[i].stage = (uint32_t)drawing->plan->stages_count - 1;
}

/* Blue-green: everybody prepares, then everybody switches. The budget is for what is out of
 * service: a proven slot is not, so the switch is not held back by it. */
static void add_blue_green(struct drawing *drawing)
{
	struct plan_stage *stage;

	stage_add(drawing, "prepare", 0, 0)->step = STEP_PREPARE;
	stage = stage_add(drawing, "switch", 0, drawing->spec->batch_bake_ms);
	stage->step = STEP_SWITCH;
	stage->wait_promote = drawing->spec->promote == PROMOTE_MANUAL;
	stage->max_in_change = (uint32_t)drawing->count;
	stage->max_in_change_per_group = 0;
	for (size_t i = 0; i < drawing->count; i++)
		drawing->draws[i].stage = 1;
}

static void write_nodes(struct drawing *drawing)
{
	struct plan *plan = drawing->plan;

	qsort(drawing->draws, drawing->count, sizeof(*drawing->draws), compare_stages);
	plan->nodes = mem_array(drawing->count, sizeof(*plan->nodes));
	plan->nodes_count = drawing->count;
	for (size_t i = 0; i < drawing->count; i++) {
		const struct draw *draw = &drawing->draws[i];
		struct plan_node *node = &plan->nodes[i];

		node->id = draw->node->id;
		node->stage = draw->stage;
		node->already = draw->already;
		node->reachable = draw->node->reachable;
		node->moving = draw->node->moving;
		STR_CUT(node->group, draw->group);
		if (plan->stages[draw->stage].count++ == 0)
			plan->stages[draw->stage].first = (uint32_t)i;
	}
	if (plan->stages[0].step == STEP_PREPARE)
		plan->stages[0].count = plan->stages[1].count;
}

static int check(const struct drawing *drawing, struct err *err)
{
	const struct deployment_spec *spec = drawing->spec;

	if (spec->strategy == STRATEGY_BLUE_GREEN && spec->swap == SWAP_STOP_FIRST)
		return err_set(
		    err, -EINVAL,
		    "blue_green needs both slots at once, which swap: stop-first rules out");
	if (drawing->count == 0)
		return err_set(
		    err, -EINVAL, "no node that can be changed matches \"%s\"%s", spec->selector,
		    drawing->plan->excluded_count ? " (those that match are cordoned)" : "");
	return 0;
}

int plan_make(const struct deployment_spec *spec, const struct fleet_node *nodes,
              size_t nodes_count, struct plan *ret_plan, struct err *err)
{
	struct plan plan = {.seed = plan_seed(spec->name, &spec->release)};
	COVEY_CLEANUP(drawing_free)
	struct drawing drawing = {
	    .spec = spec,
	    .plan = &plan,
	    .rng = {.state = plan.seed},
	};
	int r;

	assert(nodes_count <= LIMIT_FLEET);
	sort_out(&drawing, nodes, nodes_count);
	r = check(&drawing, err);
	if (r < 0) {
		plan_free(&plan);
		return r;
	}
	plan.max_unavailable = share_down(spec->max_unavailable, drawing.count);
	if (plan.max_unavailable < 1)
		plan.max_unavailable = 1;
	draw_order(&drawing);
	if (spec->strategy == STRATEGY_BLUE_GREEN) {
		add_blue_green(&drawing);
	} else {
		if (spec->strategy == STRATEGY_CANARY)
			add_canaries(&drawing);
		add_batches(&drawing);
	}
	write_nodes(&drawing);
	*ret_plan = plan;
	return 0;
}

void plan_free(struct plan *plan)
{
	free(plan->nodes);
	free(plan->stages);
	free(plan->excluded);
	free(plan->removed);
	*plan = (struct plan){0};
}

size_t plan_changes(const struct plan *plan)
{
	size_t changes = 0;

	for (size_t i = 0; i < plan->nodes_count; i++)
		changes += !plan->nodes[i].already;
	return changes;
}

int plan_check_removal(const struct plan *plan, bool allow_removal, struct err *err)
{
	if (allow_removal || plan->removed_count <= plan->max_unavailable)
		return 0;
	return err_set(err, -EPERM,
	               "the deployment would be removed from %zu nodes, more than max_unavailable "
	               "(%u); --allow-removal permits it",
	               plan->removed_count, plan->max_unavailable);
}
