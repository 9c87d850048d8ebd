/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From data to a baseline: frozen bins of equal frequency for numbers, the most frequent values for
 * categories. The same code serves `covey baseline build` and a node that learns in production.
 */
#pragma once

#include "base/err.h"
#include "covey/evidence.h"

enum { BUILD_BINS = 10 };

/* Sorts values (NaN among them is counted as BIN_NAN). Equal quantiles fall together, so there may
 * be fewer than `bins`; at least one finite value is needed: -ENODATA. */
int build_numeric(const char *name, double *values, size_t count, size_t bins,
		  struct baseline_feature *ret_feature, struct err *err) COVEY_MUST_CHECK;

struct build_value { /* borrowed */
	const char *text; /* "" : missing */
	uint64_t count;
};

/* Sorts values, which are all different. Those beyond LIMIT_BINS - BINS_OUTER, the rarest, become
 * BIN_UNSEEN. */
int build_categorical(const char *name, struct build_value *values, size_t count,
		      struct baseline_feature *ret_feature, struct err *err) COVEY_MUST_CHECK;

/* Puts the features into their order. */
void build_finish(struct baseline *baseline);

/* Frees what the struct owns and zeroes it. */
void build_free(struct baseline *baseline);

/* What a decoded or written baseline must be before anybody counts with it: features in order, each
 * once, edges that rise, values in order, counts of the right number. -EINVAL with the feature. */
int baseline_check(const struct baseline *baseline, struct err *err) COVEY_MUST_CHECK;
