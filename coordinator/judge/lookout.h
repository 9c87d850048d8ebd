/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is watched after a rollout: the inputs and answers of one deployment against its baseline,
 * for each site in windows of time, and label errors of the release that serves.
 *
 * A feature raises an alarm in a window when E against "as the baseline, but for natural wobble" is
 * 1,000 (drift.h); it drifts at a site after two such windows in a row, and until two in a row are
 * clean (hysteresis). The deployment drifts when some feature does at enough of the sites that have
 * data. Label errors: the Shiryaev-Roberts detector (detector.h), against a rate that was learned
 * from the release's first 2,000 labels, and from those after them.
 */
#pragma once

#include "coordinator/stats/detector.h"
#include "covey/evidence.h"

enum {
	LOOKOUT_SITES_MAX = 64,    /* further sites are counted as the last one */
	LOOKOUT_IN_A_ROW = 2,      /* windows */
	LOOKOUT_OBSERVATIONS_MIN = 50, /* of a feature in a window, before it is judged */
};

struct lookout_feature { /* of one site */
	uint64_t *bins; /* of the window under way */
	size_t bins_count;
	bool alarm;     /* in the window under way */
	uint32_t alarms, clean; /* closed windows in a row */
	bool drifting;
};

struct lookout_site {
	char name[LIMIT_LABEL_VALUE + 1];
	struct lookout_feature *features; /* as the baseline's */
	size_t features_count;
};

struct lookout_labels { /* of one release */
	struct digest release;
	uint64_t outcomes, bad; /* until there were enough to learn from */
	struct detector detector; /* p0 0: not learned yet */
	bool alarm;
	uint64_t right, wrong; /* since the release was first seen */
};

struct lookout { /* everything that must outlive a restart: written down whole */
	struct digest baseline;
	uint64_t window; /* index of the window under way: time / window_ms; 0: none yet */
	struct lookout_site *sites;
	size_t sites_count;
	struct lookout_labels labels;
	bool drifting; /* at enough sites */
	uint64_t hook_ms; /* when the hook last ran; 0: never */
};

enum {
	DRIFT_WINDOW_MS = 3600000,
	DRIFT_SITES_PERCENT = 50,
	DRIFT_COOLDOWN_MS = 24 * 3600000,
};

struct lookout_policy {
	uint64_t window_ms;
	uint32_t sites_percent; /* of the sites with data that must drift */
	uint64_t cooldown_ms;   /* between two calls of the hook */
};

/* What has just happened, for events and the hook. */
enum lookout_news { LOOKOUT_NOTHING, LOOKOUT_FEATURE_DRIFTS, LOOKOUT_FEATURE_CLEAN, LOOKOUT_DRIFTS,
		  LOOKOUT_CLEAN, LOOKOUT_LABEL_ALARM };
typedef void lookout_news_fn(void *arg, enum lookout_news news, const struct lookout_site *site,
			   size_t feature, double ln_e);

/* Begins anew when the baseline is another one; labels stay. Members are on the heap. */
void lookout_start(struct lookout *watch, const struct digest *id, const struct baseline *baseline);
void lookout_free(struct lookout *watch);

/* Adds a record of a node at `site` that ended at at_ms, closing windows that are over. baseline:
 * that of lookout_start(). */
void lookout_add(struct lookout *watch, const struct lookout_policy *policy,
	       const struct baseline *baseline, const char *site, uint64_t at_ms,
	       const struct observation_record *record, lookout_news_fn *fn, void *arg);
/* ln E of a feature at a site in the window under way; -INFINITY: too little is known. */
double lookout_ln_e(const struct baseline_feature *feature, const uint64_t *bins, size_t count);
/* May the retrain hook run now? */
bool lookout_may_call(const struct lookout *watch, const struct lookout_policy *policy, uint64_t now_ms);
