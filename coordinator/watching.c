/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After the rollout: every committed observation goes through its deployment's watch
 * (judge/lookout.h), whose state is written whole, with the id of the newest observation in it, in
 * one transaction; so a restart counts each observation once. News become events; a deployment that
 * drifts, or whose labels raise an alarm, calls the retrain hook, at most once in its cool-down.
 * What the hook produces comes back as a release like any other.
 */
#include "coordinator/watching.h"
#include "coordinator/rollouts.h"

#include "base/mem.h"
#include "base/str.h"
#include "coordinator/json.h"
#include "evidence/build.h"
#include "protocol/baseline.h"
#include "protocol/codec_tables.h"

#include <math.h>

enum { ROWS_AT_ONCE = 1024, WATCH_BODY_MAX = 16 << 20 };

/* ---- watches ---- */

struct shell_watch *watching_of(const struct coordinator *c, const char *deployment)
{
	for (size_t i = 0; i < c->watches_count; i++)
		if (str_equal(c->watches[i]->deployment, deployment))
			return c->watches[i];
	return NULL;
}

static struct shell_watch *insert(struct coordinator *c, const char *deployment)
{
	struct shell_watch *w = mem_alloc(sizeof(*w));

	STR_CUT(w->deployment, deployment);
	MEM_GROW(c->watches, &c->watches_cap, c->watches_count);
	c->watches[c->watches_count++] = w;
	return w;
}

static void free_watch(struct shell_watch *w)
{
	lookout_free(&w->watch);
	build_free(&w->baseline);
	free(w);
}

void watching_free_all(struct coordinator *c)
{
	for (size_t i = 0; i < c->watches_count; i++)
		free_watch(c->watches[i]);
	free(c->watches);
}

void watching_drop(struct coordinator *c, const char *deployment)
{
	for (size_t i = 0; i < c->watches_count; i++) {
		if (!str_equal(c->watches[i]->deployment, deployment))
			continue;
		free_watch(c->watches[i]);
		c->watches[i] = c->watches[--c->watches_count];
		return;
	}
}

static int read_baseline(struct coordinator *c, const struct digest *id, struct baseline *ret,
                         struct err *err)
{
	struct bytes body = {0};
	int r = baselines_read(c, id, &body, err);

	if (r == 0)
		r = baseline_decode(body.data, body.size, ret, err);
	free(body.data);
	return r;
}

static int load_one(void *arg, const struct store_watch *row)
{
	struct coordinator *c = arg;
	struct lookout watch;
	struct shell_watch *w;
	int r = codec_decode(&codec_lookout, row->body.data, row->body.size, &watch, NULL);

	if (r < 0)
		return -EUCLEAN;
	w = insert(c, row->deployment);
	w->watch = watch;
	w->seen = row->seen;
	if (!digest_is_zero(&watch.baseline) &&
	    read_baseline(c, &watch.baseline, &w->baseline, NULL) < 0)
		w->watch.baseline = (struct digest){0}; /* it is gone with its release */
	return 0;
}

/* Is a stored state one of this baseline? Else it begins anew. */
static bool fits(const struct shell_watch *w)
{
	for (size_t i = 0; i < w->watch.sites_count; i++) {
		const struct lookout_site *site = &w->watch.sites[i];

		if (site->features_count != w->baseline.features_count)
			return false;
		for (size_t f = 0; f < site->features_count; f++)
			if (site->features[f].bins_count != w->baseline.features[f].counts_count)
				return false;
	}
	return true;
}

static void restore(struct shell_watch *w)
{
	/* zeros at the end of a list of counts are not stored */
	for (size_t i = 0; i < w->watch.sites_count; i++)
		for (size_t f = 0;
		     f < w->watch.sites[i].features_count && f < w->baseline.features_count; f++) {
			struct lookout_feature *feature = &w->watch.sites[i].features[f];
			size_t wanted = w->baseline.features[f].counts_count;

			if (feature->bins_count)
				continue;
			feature->bins = mem_array(wanted + 1, sizeof(*feature->bins));
			feature->bins_count = wanted;
		}
	if (!fits(w))
		lookout_start(&w->watch, &(struct digest){{0xff}}, &w->baseline);
}

int watching_load(struct coordinator *c, struct err *err)
{
	int r = c->store->ops->watch_each(c->store, load_one, c, err);

	for (size_t i = 0; i < c->watches_count; i++)
		restore(c->watches[i]);
	return r == -EUCLEAN ? err_set(err, r, "what was watched of a deployment is damaged") : r;
}

/* ---- the hook ---- */

static json_t *show_site(const struct lookout_site *site, size_t feature, double ln_e)
{
	const struct lookout_feature *f = &site->features[feature];
	uint64_t seen = 0;

	for (size_t i = 0; i < f->bins_count; i++)
		seen += f->bins[i];
	return json_pack("{so so so sb sb}", "site", json_text_or_null(site->name), "observations",
	                 json_u64(seen), "ln_e", isfinite(ln_e) ? json_real(ln_e) : json_null(),
	                 "alarm", f->alarm, "drifting", f->drifting);
}

static json_t *show_feature(const struct shell_watch *w, size_t feature)
{
	json_t *sites = json_array();
	bool drifting = false;

	for (size_t i = 0; i < w->watch.sites_count; i++) {
		const struct lookout_site *site = &w->watch.sites[i];
		const struct lookout_feature *f = &site->features[feature];

		drifting = drifting || f->drifting;
		json_array_append_new(sites, show_site(site, feature,
		                                       lookout_ln_e(&w->baseline.features[feature],
		                                                    f->bins, f->bins_count)));
	}
	return json_pack("{ss sb so}", "name", w->baseline.features[feature].name, "drifting",
	                 drifting, "sites", sites);
}

static json_t *show_labels(const struct lookout_labels *l)
{
	return json_pack("{so so so sb so}", "right", json_u64(l->right), "wrong",
	                 json_u64(l->wrong), "expected",
	                 l->detector.p0 > 0 ? json_real(l->detector.p0) : json_null(), "alarm",
	                 l->alarm, "ln_e",
	                 l->detector.p0 > 0 && isfinite(detector_ln_e(&l->detector))
	                     ? json_real(detector_ln_e(&l->detector))
	                     : json_null());
}

json_t *show_watch(const struct coordinator *c, const struct shell_watch *w)
{
	const struct shell_deployment *deployment = deployments_find(c, w->deployment);
	char release[SHELL_TEXT_RELEASE] = "";
	json_t *features = json_array();

	if (deployment && !digest_is_zero(&deployment->record.base))
		artifacts_name(c, &deployment->record.base, release);
	for (size_t f = 0; f < w->baseline.features_count; f++)
		json_array_append_new(features, show_feature(w, f));
	return json_pack("{ss so so so sb so so so so}", "deployment", w->deployment, "model",
	                 deployment ? json_string(deployment->spec.model) : json_null(), "release",
	                 json_text_or_null(release), "baseline", json_digest(&w->watch.baseline),
	                 "drifting", w->watch.drifting, "window_started_at",
	                 json_time(w->watch.window * c->drift.window_ms), "window_ms",
	                 json_u64(c->drift.window_ms), "features", features, "labels",
	                 show_labels(&w->watch.labels));
}

/* Why the hook should be called, if that is so now. */
static const char *standing(const struct lookout *watch)
{
	if (watch->drifting)
		return "drift";
	return watch->labels.alarm ? "label_error" : NULL;
}

/* One that nobody takes is tried again with the next records, and the cool-down begins with the one
 * that was taken: evidence must not wait for days because a unit was not enabled yet. */
static void call_hook(struct coordinator *c, struct shell_watch *w)
{
	struct err err = {0};
	json_t *evidence;
	AUTO_FREE char *text = NULL;

	if (!lookout_may_call(&w->watch, &c->drift, shell_now(c)))
		return;
	evidence = show_watch(c, w);
	json_object_set_new(evidence, "why", json_string(w->owed));
	json_object_set_new(evidence, "at", json_time(shell_now(c)));
	text = json_dumps(evidence, JSON_COMPACT);
	json_decref(evidence);
	if (!text)
		return;
	if (c->world.hook(c->world.user, text, &err) < 0) {
		if (!w->hook_failed)
			events_add(c, "retrain", w->deployment, NULL, NULL,
			           "the hook could not be called: %s; it is tried again", err.text);
		w->hook_failed = true;
		return;
	}
	w->watch.hook_ms = shell_now(c);
	events_add(c, "retrain", w->deployment, NULL, NULL, "the hook was called: %s", w->owed);
	w->hook_failed = false;
	w->owed = NULL;
}

/* ---- news ---- */

struct taking {
	struct coordinator *c;
	struct shell_watch *watch;
	struct digest base;
	size_t rows;
	const char *call; /* the hook, and why */
};

static void on_news(void *arg, enum lookout_news news, const struct lookout_site *site,
                    size_t feature, double ln_e)
{
	struct taking *t = arg;
	const struct baseline *baseline = &t->watch->baseline;

	switch (news) {
	case LOOKOUT_FEATURE_DRIFTS:
		events_add(t->c, "drift", t->watch->deployment, NULL, NULL,
		           "%s drifts%s%s (ln E %.1f, two windows in a row)",
		           baseline->features[feature].name, *site->name ? " at " : "", site->name,
		           ln_e);
		break;
	case LOOKOUT_FEATURE_CLEAN:
		events_add(t->c, "drift", t->watch->deployment, NULL, NULL,
		           "%s is as the baseline again%s%s", baseline->features[feature].name,
		           *site->name ? " at " : "", site->name);
		break;
	case LOOKOUT_DRIFTS:
		t->call = "drift";
		break;
	case LOOKOUT_LABEL_ALARM:
		events_add(t->c, "label_error", t->watch->deployment, NULL, NULL,
		           "answers turn out wrong more often than they used to: %llu of %llu",
		           (unsigned long long)t->watch->watch.labels.wrong,
		           (unsigned long long)(t->watch->watch.labels.wrong +
		                                t->watch->watch.labels.right));
		t->call = "label_error";
		break;
	case LOOKOUT_CLEAN:
	case LOOKOUT_NOTHING:
	default:
		break;
	}
}

/* ---- records ---- */

const char *watching_site(const struct shell_node *node)
{
	for (size_t i = 0; node && i < node->record.labels_count; i++)
		if (str_equal(node->record.labels[i].key, "site"))
			return node->record.labels[i].value;
	return "";
}

/* Labels speak of the release that serves; a canary's are its gates' business. */
static int take_row(void *arg, const struct store_observation *row,
                    const struct observation_record *record)
{
	struct taking *t = arg;
	struct observation_record own = *record;

	t->rows++;
	t->watch->seen = row->id;
	if (!digest_equal(&record->release, &t->base))
		own.counts.labels_right = own.counts.labels_wrong = 0;
	lookout_add(&t->watch->watch, &t->c->drift, &t->watch->baseline,
	            watching_site(agents_find(t->c, &row->node)), row->received_ms, &own, on_news,
	            t);
	return 0;
}

static int save(struct coordinator *c, const struct shell_watch *w, struct err *err)
{
	struct store_watch row = {.seen = w->seen};
	int r = codec_encode(&codec_lookout, &w->watch, WATCH_BODY_MAX, &row.body, err);

	STR_CUT(row.deployment, w->deployment);
	if (r == 0)
		r = shell_begin(c, err);
	if (r == 0)
		r = shell_end(c, c->store->ops->watch_put(c->store, &row, err), err);
	free(row.body.data);
	return r;
}

static int start(struct coordinator *c, struct shell_watch *w, const struct digest *id,
                 struct err *err)
{
	struct baseline baseline = {0};
	int r;

	if (digest_equal(&w->watch.baseline, id))
		return 0;
	r = digest_is_zero(id) ? 0 : read_baseline(c, id, &baseline, err);
	if (r < 0)
		return r;
	build_free(&w->baseline);
	w->baseline = baseline;
	lookout_start(&w->watch, id, &w->baseline);
	return 0;
}

static int step(struct coordinator *c, const struct shell_deployment *deployment, struct err *err)
{
	const char *name = deployment->record.name;
	const struct shell_rollout *ro = rollouts_of(c, name);
	struct digest id = desired_baseline(c, name, ro && rollouts_under_way(ro) ? ro : NULL);
	struct shell_watch *w = watching_of(c, name);
	struct taking taking = {.c = c, .base = deployment->record.base};
	bool any = false;
	int r;

	if (!w)
		w = insert(c, name);
	taking.watch = w;
	r = start(c, w, &id, err);
	do {
		taking.rows = 0;
		if (r == 0)
			r = observations_each(c, name, w->seen, ROWS_AT_ONCE, take_row, &taking,
			                      err);
		any = any || taking.rows > 0;
	} while (r == 0 && taking.rows == ROWS_AT_ONCE);
	if (taking.call)
		w->owed = taking.call;
	else if (w->watch.hook_ms == 0)
		w->owed = standing(&w->watch); /* also after a restart */
	if (!standing(&w->watch))
		w->owed = NULL; /* it is over */
	if (r == 0 && any && w->owed)
		call_hook(c, w);
	return r == 0 && any ? save(c, w, err) : r;
}

void watching_take(struct coordinator *c)
{
	for (size_t i = 0; c->observations_fresh && i < c->deployments_count && c->retry_ms == 0;
	     i++) {
		struct err err = {0};
		int r = step(c, c->deployments[i], &err);

		if (r < 0)
			shell_store_failed(c, r, &err);
	}
}
