/* SPDX-License-Identifier: Apache-2.0 */
/* Binary searches: edges rise, values and names are in the order of strcmp (baseline_check). */
#include "evidence/bins.h"

#include <math.h>

size_t bins_inner(const struct baseline_feature *f)
{
	if (f->kind == FEATURE_CATEGORICAL)
		return f->values_count;
	return f->edges_count > 0 ? f->edges_count - 1 : 0;
}

size_t bins_of_number(const struct baseline_feature *f, double value)
{
	size_t inner = bins_inner(f), low = 0, high = inner;

	if (isnan(value))
		return inner + BIN_NAN;
	if (inner == 0 || value > f->edges[inner].value)
		return inner + BIN_OVER;
	if (value < f->edges[0].value)
		return inner + BIN_UNDER;
	while (high - low > 1) { /* edges[low] <= value, and value < edges[high] or high is last */
		size_t middle = low + (high - low) / 2;

		if (value < f->edges[middle].value)
			high = middle;
		else
			low = middle;
	}
	return low;
}

/* As strcmp() with a text that has a size instead of an end. */
static int compare(const char *a, size_t size, const char *b)
{
	int order = strncmp(a, b, size);

	return order != 0 ? order : b[size] == '\0' ? 0 : -1;
}

size_t bins_of_text(const struct baseline_feature *f, const char *text, size_t size)
{
	size_t low = 0, high = f->values_count;

	if (size == 0)
		return f->values_count + BIN_NAN;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare(text, size, f->values[middle].text);

		if (order == 0)
			return middle;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return f->values_count + BIN_UNSEEN;
}

size_t bins_find(const struct baseline *baseline, const char *name, size_t size)
{
	size_t low = 0, high = baseline->features_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare(name, size, baseline->features[middle].name);

		if (order == 0)
			return middle;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return baseline->features_count;
}
