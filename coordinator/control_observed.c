/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes measured, as it was committed: for people who look whether their server says it right. */
#include "coordinator/control.h"

#include "base/mem.h"
#include "base/str.h"
#include "evidence/build.h"
#include "evidence/sketch.h"
#include "protocol/baseline.h"
#include "protocol/codec_tables.h"

enum { OBSERVATIONS_DEFAULT = 50, OBSERVATIONS_MAX = 1000 };

struct listing {
	struct coordinator *c;
	json_t *array;
	struct digest baseline_id; /* that `baseline` is */
	struct baseline baseline;
};

static void add_counts(json_t *object, const struct observed_counts *counts)
{
#define X(name) json_object_set_new(object, #name, json_u64(counts->name));
	OBSERVED_COUNTS(X)
#undef X
}

static json_t *show_latency(const struct observation_record *record)
{
	json_t *over = json_array(), *latency;
	const struct latency_bucket *buckets = record->buckets;
	size_t count = record->buckets_count;

	for (size_t i = 0; i < LIMIT_THRESHOLDS; i++)
		if (record->exceedances[i].threshold_us != 0)
			json_array_append_new(
				over, json_pack("{so so}", "us",
						json_u64(record->exceedances[i].threshold_us),
						"count",
						json_u64(record->exceedances[i].exceeded)));
	latency = json_pack("{so}", "over", over);
	if (count > 0) {
		json_object_set_new(latency, "p50_us", json_real(sketch_quantile(buckets, count, 0.5)));
		json_object_set_new(latency, "p90_us", json_real(sketch_quantile(buckets, count, 0.9)));
		json_object_set_new(latency, "p99_us", json_real(sketch_quantile(buckets, count, 0.99)));
	}
	return latency;
}

/* Most records in a row were counted against the same one. */
static void open_baseline(struct listing *listing, const struct digest *id)
{
	struct bytes body = {0};

	if (digest_equal(&listing->baseline_id, id))
		return;
	build_free(&listing->baseline);
	listing->baseline_id = *id;
	if (baselines_read(listing->c, id, &body, NULL) == 0 &&
	    baseline_decode(body.data, body.size, &listing->baseline, NULL) < 0)
		listing->baseline = (struct baseline){0};
	free(body.data);
}

static json_t *show_features(struct listing *listing, const struct observation_record *record)
{
	json_t *features = json_array();

	if (record->features_count == 0)
		return features;
	open_baseline(listing, &record->baseline);
	for (size_t i = 0; i < record->features_count; i++) {
		json_t *bins = json_array();
		const char *name = i < listing->baseline.features_count
					   ? listing->baseline.features[i].name
					   : "";

		for (size_t k = 0; k < record->features[i].bins_count; k++)
			json_array_append_new(bins, json_u64(record->features[i].bins[k]));
		json_array_append_new(features, json_pack("{so so}", "name",
							  json_text_or_null(name), "bins", bins));
	}
	return features;
}

static json_t *show_counters(const struct observation_record *record)
{
	json_t *counters = json_object();

	for (size_t i = 0; i < record->counters_count; i++)
		json_object_set_new(counters, record->counters[i].name,
				    json_u64(record->counters[i].count));
	return counters;
}

static int add_record(void *arg, const struct store_observation *row,
		      const struct observation_record *record)
{
	struct listing *listing = arg;
	const struct shell_node *node = agents_find(listing->c, &row->node);
	char release[SHELL_TEXT_RELEASE];
	json_t *object;

	artifacts_name(listing->c, &record->release, release);
	object = json_pack(
		"{so so so so so so ss so so so sb sb so}", "id", json_u64(row->id), "node",
		node ? json_text(node->record.name) : json_node_id(&row->node), "received_at",
		json_time(row->received_ms), "start_at", json_time(record->start_unix_ms),
		"length_ms", json_u64(record->length_ms), "periods", json_u64(record->periods),
		"slot", record->colour == COLOUR_BLUE ? "blue" : "green", "release",
		json_text(release), "rollout", json_rollout_id(&record->rollout), "baseline",
		json_digest(&record->baseline), "serving", record->serving, "urgent",
		record->urgent, "age_ms", json_u64(record->age_ms));
	json_object_set_new(object, "lost", json_u64(record->lost));
	add_counts(object, &record->counts);
	json_object_set_new(object, "latency", show_latency(record));
	json_object_set_new(object, "features", show_features(listing, record));
	json_object_set_new(object, "counters", show_counters(record));
	json_array_append_new(listing->array, object);
	return 0;
}

int verb_observations(struct control_call *call)
{
	struct coordinator *c = call->c;
	struct listing listing = {.c = c};
	struct shell_deployment *deployment = NULL;
	uint64_t limit = control_u64(call, "limit", OBSERVATIONS_DEFAULT);
	uint64_t since = control_u64(call, "since", 0);
	int r = control_deployment(call, &deployment);

	if (r < 0)
		return r;
	limit = limit > OBSERVATIONS_MAX ? OBSERVATIONS_MAX : limit;
	observations_take(c);
	if (!json_is_integer(json_object_get(call->args, "since")))
		r = c->store->ops->observation_tail(c->store, deployment->record.name, limit,
						    &since, &call->err);
	call->answer = listing.array = json_array();
	if (r == 0)
		r = observations_each(c, deployment->record.name, since, limit, add_record,
				      &listing, &call->err);
	build_free(&listing.baseline);
	return r;
}
