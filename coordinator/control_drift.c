/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `drift.show`: what the nodes of a model's deployments have seen in the last window, beside their
 * baseline: for each feature the whole, each site, each node. Added up from the committed records
 * when somebody asks; whether it *drifts* is the watch's word (watching.c).
 */
#include "coordinator/control.h"
#include "coordinator/rollouts.h"
#include "coordinator/watching.h"

#include "base/mem.h"
#include "base/str.h"
#include "coordinator/json.h"
#include "coordinator/stats/drift.h"
#include "evidence/bins.h"

#include <math.h>

enum { ROWS_MAX = 50000, ROWS_AT_ONCE = 4096 };

struct group { /* a site or a node */
	char name[LIMIT_LABEL_VALUE + 1];
	uint64_t *bins; /* of all features, one after the other */
};

struct groups {
	struct group *items;
	size_t count, cap;
};

struct adding {
	struct coordinator *c;
	const struct shell_watch *watch;
	size_t bins_total, rows;
	uint64_t since_ms, seen;
	struct groups all, sites, nodes;
};

static uint64_t *bins_of(struct adding *a, struct groups *groups, const char *name)
{
	struct group *group;

	for (size_t i = 0; i < groups->count; i++)
		if (str_equal(groups->items[i].name, name))
			return groups->items[i].bins;
	MEM_GROW(groups->items, &groups->cap, groups->count);
	group = &groups->items[groups->count++];
	*group = (struct group){.bins = mem_array(a->bins_total + 1, sizeof(uint64_t))};
	STR_CUT(group->name, name);
	return group->bins;
}

static void free_groups(struct groups *groups)
{
	for (size_t i = 0; i < groups->count; i++)
		free(groups->items[i].bins);
	free(groups->items);
}

static void add_record(const struct adding *a, uint64_t *bins,
                       const struct observation_record *record)
{
	const struct baseline *baseline = &a->watch->baseline;

	for (size_t f = 0; f < baseline->features_count; f++) {
		size_t count = baseline->features[f].counts_count;

		if (f < record->features_count && record->features[f].bins_count == count)
			for (size_t i = 0; i < count; i++)
				bins[i] += record->features[f].bins[i];
		bins += count;
	}
}

static int take_row(void *arg, const struct store_observation *row,
                    const struct observation_record *record)
{
	struct adding *a = arg;
	const struct shell_node *node = agents_find(a->c, &row->node);

	a->rows++;
	a->seen = row->id;
	if (row->received_ms < a->since_ms || !node || !record->serving ||
	    !digest_equal(&record->baseline, &a->watch->watch.baseline))
		return 0;
	add_record(a, bins_of(a, &a->all, ""), record);
	add_record(a, bins_of(a, &a->sites, watching_site(node)), record);
	add_record(a, bins_of(a, &a->nodes, node->record.name), record);
	return 0;
}

/* ---- showing ---- */

static json_t *real(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static json_t *show_bins(const uint64_t *bins, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_u64(bins[i]));
	return list;
}

static void add_scores(json_t *object, const struct baseline_feature *feature, const uint64_t *bins)
{
	struct drift_counts counts = {feature->counts, bins, feature->counts_count};
	struct drift_scores scores;
	uint64_t seen = 0;

	for (size_t i = 0; i < feature->counts_count; i++)
		seen += bins[i];
	json_object_set_new(object, "observations", json_u64(seen));
	json_object_set_new(object, "ln_e",
	                    real(lookout_ln_e(feature, bins, feature->counts_count)));
	json_object_set_new(object, "now", show_bins(bins, feature->counts_count));
	if (drift_score(&counts, DRIFT_ALPHA, &scores) < 0)
		return;
	json_object_set_new(object, "psi", real(scores.psi.value));
	json_object_set_new(object, "psi_critical", real(scores.psi.critical));
	json_object_set_new(object, "js", real(scores.js.value));
	json_object_set_new(object, "js_critical", real(scores.js.critical));
}

static json_t *show_groups(const struct groups *groups, const char *what,
                           const struct baseline_feature *feature, size_t offset)
{
	json_t *list = json_array();

	for (size_t i = 0; i < groups->count; i++) {
		json_t *object = json_pack("{so}", what, json_text(groups->items[i].name));

		add_scores(object, feature, groups->items[i].bins + offset);
		json_array_append_new(list, object);
	}
	return list;
}

static json_t *find_feature(json_t *features, const char *name)
{
	for (size_t i = 0; i < json_array_size(features); i++) {
		json_t *feature = json_array_get(features, i);

		if (str_equal(json_string_value(json_object_get(feature, "name")), name))
			return feature;
	}
	return NULL;
}

/* The watch's own picture of a feature (drifting, its sites' alarms) with the counts beside it. */
static void fill_feature(json_t *object, struct adding *a, const struct baseline_feature *feature,
                         size_t offset)
{
	json_object_set_new(
	    object, "kind",
	    json_string(feature->kind == FEATURE_NUMERIC ? "numeric" : "categorical"));
	json_object_set_new(object, "baseline", show_bins(feature->counts, feature->counts_count));
	json_object_set_new(object, "watched", json_incref(json_object_get(object, "sites")));
	add_scores(object, feature, bins_of(a, &a->all, "") + offset);
	json_object_set_new(object, "sites", show_groups(&a->sites, "site", feature, offset));
	json_object_set_new(object, "nodes", show_groups(&a->nodes, "node", feature, offset));
}

static int show_one(struct control_call *call, const struct shell_watch *w)
{
	struct coordinator *c = call->c;
	uint64_t now = shell_now(c), last = 0;
	struct adding a = {.c = c, .watch = w};
	json_t *object, *features;
	size_t offset = 0;
	int r = c->store->ops->observation_last(c->store, &last, &call->err);

	a.since_ms = now > c->drift.window_ms ? now - c->drift.window_ms : 0;
	a.seen = last > ROWS_MAX ? last - ROWS_MAX : 0;
	for (size_t f = 0; f < w->baseline.features_count; f++)
		a.bins_total += w->baseline.features[f].counts_count;
	do {
		a.rows = 0;
		if (r == 0)
			r = observations_each(c, w->deployment, a.seen, ROWS_AT_ONCE, take_row, &a,
			                      &call->err);
	} while (r == 0 && a.rows == ROWS_AT_ONCE);
	object = show_watch(c, w);
	features = json_object_get(object, "features");
	for (size_t f = 0; f < w->baseline.features_count; f++) {
		const struct baseline_feature *feature = &w->baseline.features[f];

		fill_feature(find_feature(features, feature->name), &a, feature, offset);
		offset += feature->counts_count;
	}
	json_array_append_new(call->answer, object);
	free_groups(&a.all);
	free_groups(&a.sites);
	free_groups(&a.nodes);
	return r;
}

int verb_drift_show(struct control_call *call)
{
	struct coordinator *c = call->c;
	const char *model = control_str(call, "model");
	bool known = false;
	int r = 0;

	call->answer = json_array();
	for (size_t i = 0; r == 0 && model && i < c->deployments_count; i++) {
		const struct shell_deployment *deployment = c->deployments[i];
		const struct shell_watch *w = watching_of(c, deployment->record.name);

		if (!str_equal(deployment->spec.model, model) &&
		    !str_equal(deployment->record.name, model))
			continue;
		known = true;
		if (w)
			r = show_one(call, w);
	}
	if (!known)
		return err_set(
		    &call->err, -ENOENT,
		    "no deployment serves a model %.80s; `covey deployment ls` lists them",
		    model ? model : "");
	return r;
}
