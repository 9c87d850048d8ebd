/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node measures of the model servers it runs, and what it is measured against. Everything
 * here merges by addition: counts at thresholds and bins that were frozen before the data came, and
 * a histogram whose buckets are fixed for ever. The arithmetic is in evidence/. Heap members belong
 * to their struct: codec_free() with the table of the same name.
 */
#pragma once

#include "covey/ids.h"

/* ---- a baseline: the distribution that drift is measured against ---- */

enum feature_kind { FEATURE_NUMERIC, FEATURE_CATEGORICAL, FEATURE_KIND_COUNT };

/* Two features are what the model says, not what it is given: the score of its answer, numeric, and
 * its class, categorical. Every other name is an input. */
#define FEATURE_SCORE "score"
#define FEATURE_CLASS "class"

/* With n inner bins a feature has n + BINS_OUTER counts: 0..n-1 inner, then these. */
enum { BIN_UNDER, BIN_OVER, BIN_NAN, BIN_UNSEEN, BINS_OUTER };

struct baseline_edge {
	double value;
};

struct baseline_feature {
	char name[LIMIT_FEATURE + 1];
	enum feature_kind kind;
	/* numeric: n + 1 rising edges; bin i holds edge[i] <= x < edge[i+1], the last one its upper
	 * edge as well */
	struct baseline_edge *edges;
	size_t edges_count;
	/* categorical: n different values, bin i counts values[i] */
	struct text_item *values;
	size_t values_count;
	uint64_t *counts; /* of the data that the baseline was built from: n + BINS_OUTER */
	size_t counts_count;
};

struct baseline { /* immutable; its id is the digest of its encoding (evidence/baseline.h) */
	uint64_t observations; /* that it was built from */
	struct baseline_feature *features;
	size_t features_count;
};

/* ---- a record: what one slot of one deployment did in one period ---- */

/* Every attempt ends in one of ok, errors, timeouts, crashes, invalid, or is still open. */
#define OBSERVED_COUNTS(X)                                                                         \
	X(attempted)	  /* requests, counted when they begin: a crash keeps its denominator */   \
	X(ok)                                                                                      \
	X(errors)	  /* answered with a failure */                                            \
	X(timeouts)                                                                                \
	X(crashes)	  /* begun and lost when the server ended by itself; at least one an end */ \
	X(invalid)	  /* answered with nonsense: NaN, or a score out of its range */           \
	X(smoke_attempted)                                                                         \
	X(smoke_failures)                                                                          \
	X(minutes)	  /* node-minutes with at least one attempt */                             \
	X(incidents)	  /* ... of these with at least one bad event */                           \
	X(latencies)	  /* attempts whose latency is known: what `exceeded` is a part of */      \
	X(latency_sum_us)                                                                          \
	X(labels_right)	  /* feedback: the answer turned out right */                              \
	X(labels_wrong)                                                                            \
	X(unknown)	  /* values of features that the baseline does not have */                 \
	X(rubbish)	  /* datagrams that could not be read */                                   \
	X(dropped)	  /* datagrams left out because the server sends more than a node takes */

struct observed_counts {
#define X(name) uint64_t name;
	OBSERVED_COUNTS(X)
#undef X
};

struct latency_exceedance {
	uint64_t threshold_us;
	uint64_t exceeded; /* latencies above the threshold */
};

/* Bucket i counts latencies x us with ceil(ln x / ln gamma) = i, gamma = 1.01 / 0.99: any quantile
 * is known within 1 % [DDSketch: Masson, Rim, Lee, VLDB 2019]. */
struct latency_bucket {
	uint32_t index;
	uint64_t count;
};

struct feature_counts { /* nothing: no value came. Else as baseline_feature.counts */
	uint64_t *bins;
	size_t bins_count;
};

struct named_counter { /* a Prometheus counter of the server's /metrics: its rise in the period */
	char name[LIMIT_SHORT_TEXT + 1];
	uint64_t count;
};

struct observation_record {
	uint64_t boot_epoch, sequence; /* (node, boot epoch, sequence) names a record for ever */
	char deployment[LIMIT_NAME + 1];
	enum colour colour;
	struct digest release;
	struct rollout_id rollout; /* of the order that was in force; zero: none */
	struct digest baseline;	   /* that `features` were counted against; zero: none */
	uint64_t start_unix_ms;	   /* by the node's clock */
	uint64_t length_ms;
	uint64_t age_ms;	   /* of the slot's server at the start of the record: warm-up */
	bool serving;		   /* clients reached this slot; else it was proven or drained */
	bool urgent;		   /* closed early, by a crash or a failed slot */
	uint32_t periods;	   /* 1; more: periods of a node that was away, added up */
	uint64_t lost;		   /* records dropped for want of room right before this one */
	struct observed_counts counts;
	struct latency_exceedance exceedances[LIMIT_THRESHOLDS]; /* threshold 0: unused */
	struct latency_bucket *buckets; /* sparse, index rises */
	size_t buckets_count;
	struct feature_counts *features; /* as many as the baseline has, in its order; or none */
	size_t features_count;
	struct named_counter *counters;
	size_t counters_count;
};

/* ---- what the coordinator orders ---- */

struct latency_threshold {
	uint64_t us; /* 0: unused */
};

struct observe_order { /* all zero: the node's defaults. A change closes the record under way */
	struct rollout_id rollout; /* echoed in records, on changed nodes and control nodes alike */
	struct digest baseline;	   /* count every slot against this one; zero: the release's own */
	uint64_t period_ms;	   /* 0: OBSERVE_PERIOD_MS */
	struct latency_threshold thresholds[LIMIT_THRESHOLDS];
};
