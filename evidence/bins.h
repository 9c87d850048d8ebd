/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bin of a baseline's feature a value falls into. Pure; what a record holds of a feature are
 * counts of these bins, and every side of a comparison must find the same ones.
 */
#pragma once

#include "covey/evidence.h"

/* Inner bins, without the BINS_OUTER. */
size_t bins_inner(const struct baseline_feature *feature);
static inline size_t bins_total(const struct baseline_feature *feature)
{
	return bins_inner(feature) + BINS_OUTER;
}

/* Numeric: NaN goes to BIN_NAN, infinities to BIN_UNDER and BIN_OVER. */
size_t bins_of_number(const struct baseline_feature *feature, double value);
/* Categorical: an unknown value goes to BIN_UNSEEN, none ("") to BIN_NAN. */
size_t bins_of_text(const struct baseline_feature *feature, const char *text, size_t size);

/* Index of the feature of that name, or features_count. Features are ordered by name. */
size_t bins_find(const struct baseline *baseline, const char *name, size_t size);
