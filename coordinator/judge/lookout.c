/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows tumble by time, all sites together. Inside a window E may be looked at as often as
 * records come; what it said once is kept until the window closes.
 */
#include "coordinator/judge/lookout.h"

#include "base/mem.h"
#include "base/str.h"
#include "coordinator/stats/drift.h"

#include <math.h>

/* ---- start and end ---- */

static void free_sites(struct lookout *w)
{
	for (size_t i = 0; i < w->sites_count; i++) {
		for (size_t f = 0; f < w->sites[i].features_count; f++)
			free(w->sites[i].features[f].bins);
		free(w->sites[i].features);
	}
	free(w->sites);
	w->sites = NULL;
	w->sites_count = 0;
}

void lookout_start(struct lookout *w, const struct digest *id, const struct baseline *baseline)
{
	if (digest_equal(&w->baseline, id))
		return;
	free_sites(w);
	w->baseline = *id;
	w->window = 0;
	w->drifting = false;
}

void lookout_free(struct lookout *w)
{
	free_sites(w);
	*w = (struct lookout){0};
}

static struct lookout_site *get_site(struct lookout *w, const struct baseline *baseline,
                                     const char *name)
{
	struct lookout_site *site;

	for (size_t i = 0; i < w->sites_count; i++)
		if (str_equal(w->sites[i].name, name))
			return &w->sites[i];
	if (w->sites_count == LOOKOUT_SITES_MAX)
		return &w->sites[LOOKOUT_SITES_MAX - 1];
	w->sites = mem_resize(w->sites, w->sites_count + 1, sizeof(*w->sites));
	site = &w->sites[w->sites_count++];
	*site = (struct lookout_site){.features_count = baseline->features_count};
	STR_CUT(site->name, name);
	site->features = mem_array(site->features_count + 1, sizeof(*site->features));
	for (size_t f = 0; f < site->features_count; f++) {
		site->features[f].bins_count = baseline->features[f].counts_count;
		site->features[f].bins =
		    mem_array(site->features[f].bins_count + 1, sizeof(uint64_t));
	}
	return site;
}

/* ---- drift ---- */

double lookout_ln_e(const struct baseline_feature *feature, const uint64_t *bins, size_t count)
{
	struct drift_counts counts = {feature->counts, bins, count};
	uint64_t known = 0, seen = 0;
	double ln_e;

	if (count != feature->counts_count)
		return -INFINITY;
	for (size_t i = 0; i < count; i++) {
		known += feature->counts[i];
		seen += bins[i];
	}
	if (seen < LOOKOUT_OBSERVATIONS_MIN || !known)
		return -INFINITY;
	if (drift_ln_e(&counts, DRIFT_M1, drift_concentration(known, count, DRIFT_WOBBLE), &ln_e) <
	    0)
		return -INFINITY;
	return ln_e;
}

static bool has_data(const struct lookout_feature *f)
{
	uint64_t seen = 0;

	for (size_t i = 0; i < f->bins_count; i++)
		seen += f->bins[i];
	return seen >= LOOKOUT_OBSERVATIONS_MIN;
}

/* A window without data says nothing, in neither direction. */
static void close_feature(struct lookout_site *site, size_t feature, lookout_news_fn *fn, void *arg)
{
	struct lookout_feature *f = &site->features[feature];

	if (has_data(f)) {
		f->alarms = f->alarm ? f->alarms + 1 : 0;
		f->clean = f->alarm ? 0 : f->clean + 1;
		if (f->drifting && f->clean >= LOOKOUT_IN_A_ROW) {
			f->drifting = false;
			fn(arg, LOOKOUT_FEATURE_CLEAN, site, feature, 0);
		}
	}
	f->alarm = false;
	memset(f->bins, 0, f->bins_count * sizeof(*f->bins));
}

static void look(struct lookout_site *site, size_t feature, const struct baseline *baseline,
                 lookout_news_fn *fn, void *arg)
{
	struct lookout_feature *f = &site->features[feature];
	double ln_e;

	if (f->alarm)
		return;
	ln_e = lookout_ln_e(&baseline->features[feature], f->bins, f->bins_count);
	if (ln_e < log(DRIFT_E_ALARM))
		return;
	f->alarm = true;
	if (f->drifting || f->alarms + 1 < LOOKOUT_IN_A_ROW)
		return;
	f->drifting = true;
	fn(arg, LOOKOUT_FEATURE_DRIFTS, site, feature, ln_e);
}

/* Some feature drifts at enough of the sites that have it. */
static bool drifts(const struct lookout *w, const struct lookout_policy *policy)
{
	for (size_t f = 0; w->sites_count && f < w->sites[0].features_count; f++) {
		size_t sites = 0, drifting = 0;

		for (size_t i = 0; i < w->sites_count; i++) {
			const struct lookout_feature *feature = &w->sites[i].features[f];

			/* windows turn for all at once: what the last one had counts */
			sites += has_data(feature) || feature->alarms || feature->clean;
			drifting += feature->drifting;
		}
		if (drifting && drifting * 100 >= sites * policy->sites_percent)
			return true;
	}
	return false;
}

static void turn_window(struct lookout *w, uint64_t window, lookout_news_fn *fn, void *arg)
{
	if (window <= w->window)
		return;
	for (size_t i = 0; i < w->sites_count; i++)
		for (size_t f = 0; f < w->sites[i].features_count; f++)
			close_feature(&w->sites[i], f, fn, arg);
	w->window = window;
}

static void add_features(struct lookout *w, const struct baseline *baseline, const char *name,
                         const struct observation_record *record, lookout_news_fn *fn, void *arg)
{
	struct lookout_site *site = get_site(w, baseline, name);

	for (size_t f = 0; f < record->features_count && f < site->features_count; f++) {
		const struct feature_counts *counts = &record->features[f];

		if (counts->bins_count != site->features[f].bins_count)
			continue;
		for (size_t i = 0; i < counts->bins_count; i++)
			site->features[f].bins[i] += counts->bins[i];
		look(site, f, baseline, fn, arg);
	}
}

/* ---- labels ---- */

static bool learn_labels(struct lookout_labels *l, uint64_t outcomes, uint64_t bad)
{
	l->outcomes += outcomes;
	l->bad += bad;
	(void)!detector_learn(&l->detector, l->outcomes, l->bad, DETECTOR_THRESHOLD);
	return false;
}

/* A record has counts and no order: the bad ones are spread evenly among the good ones. */
static bool add_labels(struct lookout_labels *l, uint64_t outcomes, uint64_t bad)
{
	bool alarm = false;

	l->right += outcomes - bad;
	l->wrong += bad;
	if (l->detector.p0 == 0)
		return learn_labels(l, outcomes, bad);
	for (uint64_t i = 0; i < outcomes; i++)
		alarm |= detector_add(&l->detector, (i + 1) * bad / outcomes > i * bad / outcomes);
	return alarm;
}

static void count_labels(struct lookout *w, const struct observation_record *record,
                         lookout_news_fn *fn, void *arg)
{
	struct lookout_labels *l = &w->labels;
	uint64_t outcomes = record->counts.labels_right + record->counts.labels_wrong;

	if (!outcomes)
		return;
	if (!digest_equal(&l->release, &record->release))
		*l = (struct lookout_labels){.release = record->release};
	if (!add_labels(l, outcomes, record->counts.labels_wrong))
		return;
	l->alarm = true;
	fn(arg, LOOKOUT_LABEL_ALARM, NULL, 0, log(DETECTOR_THRESHOLD));
}

/* ---- records ---- */

void lookout_add(struct lookout *w, const struct lookout_policy *policy,
                 const struct baseline *baseline, const char *site, uint64_t at_ms,
                 const struct observation_record *record, lookout_news_fn *fn, void *arg)
{
	bool before = w->drifting;

	if (!record->serving)
		return;
	turn_window(w, at_ms / policy->window_ms, fn, arg);
	if (baseline && digest_equal(&record->baseline, &w->baseline) &&
	    at_ms / policy->window_ms == w->window)
		add_features(w, baseline, site, record, fn, arg);
	count_labels(w, record, fn, arg);
	w->drifting = drifts(w, policy);
	if (w->drifting != before)
		fn(arg, w->drifting ? LOOKOUT_DRIFTS : LOOKOUT_CLEAN, NULL, 0, 0);
}

bool lookout_may_call(const struct lookout *w, const struct lookout_policy *policy, uint64_t now_ms)
{
	return w->hook_ms == 0 || now_ms >= w->hook_ms + policy->cooldown_ms;
}
