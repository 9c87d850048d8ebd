/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edges are order statistics: the i-th of `bins` edges is the value below which i/bins of the data
 * lie, so every bin holds about the same number and a comparison of two such histograms is as sharp
 * in the middle as in the tails. Ties collapse: where one value fills several bins, they are one.
 */
#include "evidence/build.h"

#include "base/mem.h"
#include "base/str.h"
#include "evidence/bins.h"

#include <math.h>

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void init(struct baseline_feature *f, const char *name, enum feature_kind kind)
{
	*f = (struct baseline_feature){.kind = kind};
	STR_CUT(f->name, name);
}

static void make_counts(struct baseline_feature *f)
{
	f->counts_count = bins_total(f);
	f->counts = mem_array(f->counts_count, sizeof(*f->counts));
}

/* Finite values to the front; the others are counted later. */
static size_t gather_finite(double *values, size_t count)
{
	size_t finite = 0;

	for (size_t i = 0; i < count; i++)
		if (isfinite(values[i])) {
			double kept = values[finite];

			values[finite++] = values[i];
			values[i] = kept;
		}
	return finite;
}

static void make_edges(struct baseline_feature *f, const double *sorted, size_t count, size_t bins)
{
	f->edges = mem_array(bins + 1, sizeof(*f->edges));
	for (size_t i = 0; i <= bins; i++) {
		double edge = sorted[i == bins ? count - 1 : i * count / bins];

		if (f->edges_count == 0 || edge > f->edges[f->edges_count - 1].value)
			f->edges[f->edges_count++].value = edge;
	}
	if (f->edges_count == 1) /* one value only: a bin as narrow as it can be */
		f->edges[f->edges_count++].value = nextafter(f->edges[0].value, INFINITY);
}

int build_numeric(const char *name, double *values, size_t count, size_t bins,
		  struct baseline_feature *ret_feature, struct err *err)
{
	size_t finite = gather_finite(values, count);
	struct baseline_feature f;

	if (finite == 0)
		return err_set(err, -ENODATA, "%s: there is no number in it", name);
	init(&f, name, FEATURE_NUMERIC);
	qsort(values, finite, sizeof(*values), by_value);
	make_edges(&f, values, finite, bins);
	make_counts(&f);
	for (size_t i = 0; i < count; i++)
		f.counts[bins_of_number(&f, values[i])]++;
	*ret_feature = f;
	return 0;
}

static int by_count(const void *a, const void *b)
{
	const struct build_value *x = a, *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return strcmp(x->text, y->text);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct text_item *)a)->text, ((const struct text_item *)b)->text);
}

int build_categorical(const char *name, struct build_value *values, size_t count,
		      struct baseline_feature *ret_feature, struct err *err)
{
	struct baseline_feature f;

	init(&f, name, FEATURE_CATEGORICAL);
	qsort(values, count, sizeof(*values), by_count);
	f.values = mem_array(LIMIT_BINS - BINS_OUTER, sizeof(*f.values));
	for (size_t i = 0; i < count && f.values_count < LIMIT_BINS - BINS_OUTER; i++)
		if (values[i].text[0] != '\0')
			f.values[f.values_count++].text = mem_str(values[i].text);
	if (f.values_count == 0) {
		free(f.values);
		return err_set(err, -ENODATA, "%s: there is no value in it", name);
	}
	qsort(f.values, f.values_count, sizeof(*f.values), by_text);
	make_counts(&f);
	for (size_t i = 0; i < count; i++)
		f.counts[bins_of_text(&f, values[i].text, strlen(values[i].text))] +=
			values[i].count;
	*ret_feature = f;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct baseline_feature *)a)->name,
		      ((const struct baseline_feature *)b)->name);
}

void build_finish(struct baseline *baseline)
{
	qsort(baseline->features, baseline->features_count, sizeof(*baseline->features), by_name);
}

void build_free(struct baseline *baseline)
{
	for (size_t i = 0; i < baseline->features_count; i++) {
		struct baseline_feature *f = &baseline->features[i];

		for (size_t k = 0; k < f->values_count; k++)
			free(f->values[k].text);
		free(f->values);
		free(f->edges);
		free(f->counts);
	}
	free(baseline->features);
	*baseline = (struct baseline){0};
}

/* ---- checking ---- */

static int check_bins(const struct baseline_feature *f, struct err *err)
{
	if (f->kind == FEATURE_NUMERIC && (f->values_count > 0 || f->edges_count < 2))
		return err_set(err, -EINVAL, "a numeric feature has at least two edges");
	if (f->kind == FEATURE_CATEGORICAL && (f->edges_count > 0 || f->values_count < 1))
		return err_set(err, -EINVAL, "a categorical feature has at least one value");
	for (size_t i = 0; i < f->edges_count; i++)
		if (!isfinite(f->edges[i].value) ||
		    (i > 0 && !(f->edges[i].value > f->edges[i - 1].value)))
			return err_set(err, -EINVAL, "the edges do not rise");
	for (size_t i = 0; i < f->values_count; i++) {
		const char *text = f->values[i].text;

		if (!text || text[0] == '\0' || strlen(text) > LIMIT_FEATURE)
			return err_set(err, -EINVAL, "a value has 1 to %d bytes", LIMIT_FEATURE);
		if (i > 0 && strcmp(f->values[i - 1].text, text) >= 0)
			return err_set(err, -EINVAL, "the values are not in order, each once");
	}
	if (f->counts_count != bins_total(f))
		return err_set(err, -EINVAL, "%zu counts for %zu bins", f->counts_count,
			       bins_total(f));
	return 0;
}

int baseline_check(const struct baseline *baseline, struct err *err)
{
	for (size_t i = 0; i < baseline->features_count; i++) {
		const struct baseline_feature *f = &baseline->features[i];
		int r = check_bins(f, err);

		if (r < 0)
			return err_prefix(err, r, "%s", f->name);
		if (f->name[0] == '\0' || (i > 0 && strcmp(f[-1].name, f->name) >= 0))
			return err_set(err, -EINVAL, "the features are not in order, each once");
	}
	return 0;
}
