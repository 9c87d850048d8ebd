/* SPDX-License-Identifier: Apache-2.0 */
/*
 * baseline.yaml: what a model is used to. One line a feature, so that a difference between two of
 * them can be read.
 *
 *	observations: 1257
 *	features:
 *	  camera: {values: {front: 700, rear: 550}, unseen: 4, missing: 3}
 *	  ink: {edges: [0, 0.25, 1], counts: [620, 630], under: 0, over: 0, nan: 7}
 */
#include "coordinator/cli/yml_files.h"
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/cli/client.h"
#include "coordinator/cli/yml.h"
#include "evidence/bins.h"
#include "evidence/build.h"

#include <math.h>
#include <string.h>

static const char *const outer_names[2][BINS_OUTER] = {
    [FEATURE_NUMERIC] = {"under", "over", "nan", NULL},
    [FEATURE_CATEGORICAL] = {NULL, NULL, "missing", "unseen"},
};

struct reading {
	struct yml_file *file;
	const yaml_node_t *node;
	struct baseline_feature *feature;
};

/* ---- reading ---- */

static int read_count(const struct reading *reading, const json_t *value, const char *what,
                      uint64_t *ret_count)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) > 1000000000000)
		return yml_fail(reading->file, reading->node,
		                "%.80s is not a count; write a whole number", what);
	*ret_count = (uint64_t)json_integer_value(value);
	return 0;
}

static void make_counts(struct baseline_feature *f)
{
	f->counts_count = bins_total(f);
	f->counts = mem_array(f->counts_count, sizeof(*f->counts));
}

static int read_numeric(const struct reading *reading, const json_t *object)
{
	const json_t *edges = json_object_get(object, "edges");
	const json_t *counts = json_object_get(object, "counts");
	struct baseline_feature *f = reading->feature;
	size_t size = json_array_size(edges);
	int r = 0;

	if (size < 2 || size > LIMIT_BINS - BINS_OUTER + 1)
		return yml_fail(reading->file, reading->node,
		                "edges is a list of 2 to %d numbers that rise",
		                LIMIT_BINS - BINS_OUTER + 1);
	if (json_array_size(counts) != size - 1)
		return yml_fail(reading->file, reading->node,
		                "there are %zu counts for %zu edges; write one less than edges",
		                json_array_size(counts), size);
	f->kind = FEATURE_NUMERIC;
	f->edges = mem_array(size, sizeof(*f->edges));
	f->edges_count = size;
	for (size_t i = 0; i < size; i++) {
		if (!json_is_number(json_array_get(edges, i)))
			return yml_fail(reading->file, reading->node, "an edge is not a number");
		f->edges[i].value = json_number_value(json_array_get(edges, i));
	}
	make_counts(f);
	for (size_t i = 0; r == 0 && i + 1 < size; i++)
		r = read_count(reading, json_array_get(counts, i), "one of counts", &f->counts[i]);
	return r;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct text_item *)a)->text, ((const struct text_item *)b)->text);
}

static int read_categorical(const struct reading *reading, json_t *object)
{
	json_t *values = json_object_get(object, "values"), *count;
	struct baseline_feature *f = reading->feature;
	size_t size = json_object_size(values);
	const char *text;
	int r = 0;

	if (size < 1 || size > LIMIT_BINS - BINS_OUTER)
		return yml_fail(reading->file, reading->node,
		                "values is a map of 1 to %d words with their counts",
		                LIMIT_BINS - BINS_OUTER);
	f->kind = FEATURE_CATEGORICAL;
	f->values = mem_array(size, sizeof(*f->values));
	json_object_foreach(values, text, count)
		f->values[f->values_count++].text = mem_str(text);
	qsort(f->values, size, sizeof(*f->values), by_text);
	make_counts(f);
	for (size_t i = 0; r == 0 && i < size; i++)
		r = read_count(reading, json_object_get(values, f->values[i].text),
		               f->values[i].text, &f->counts[i]);
	return r;
}

static int read_outer(const struct reading *reading, json_t *object)
{
	struct baseline_feature *f = reading->feature;
	int r = 0;

	for (size_t i = 0; r == 0 && i < BINS_OUTER; i++) {
		const char *name = outer_names[f->kind][i];
		const json_t *value = name ? json_object_get(object, name) : NULL;

		if (value)
			r = read_count(reading, value, name, &f->counts[bins_inner(f) + i]);
	}
	return r;
}

static int check_keys(const struct reading *reading, json_t *object)
{
	const char *const kinds[2][2] = {{"edges", "counts"}, {"values", "values"}};
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) {
		const struct baseline_feature *f = reading->feature;
		bool known = str_equal(key, kinds[f->kind][0]) || str_equal(key, kinds[f->kind][1]);

		for (size_t i = 0; i < BINS_OUTER; i++)
			known = known || (outer_names[f->kind][i] &&
			                  str_equal(outer_names[f->kind][i], key));
		if (!known)
			return yml_fail(reading->file, reading->node,
			                "the key `%.80s` is unknown in a %s feature", key,
			                f->kind == FEATURE_NUMERIC ? "numeric" : "categorical");
	}
	return 0;
}

static int read_feature(const struct reading *reading)
{
	AUTO_JSON json_t *object = NULL;
	int r = yml_json(reading->file, reading->node, &object);

	if (r < 0)
		return r;
	if (json_object_get(object, "edges"))
		r = read_numeric(reading, object);
	else if (json_object_get(object, "values"))
		r = read_categorical(reading, object);
	else
		r = yml_fail(reading->file, reading->node,
		             "this is not a feature; write {edges: [...], counts: [...]} or "
		             "{values: {WORD: COUNT}}");
	if (r == 0)
		r = read_outer(reading, object);
	return r == 0 ? check_keys(reading, object) : r;
}

static int bind_features(struct yml_file *file, const yaml_node_t *map,
                         const struct yml_field *field, void *object)
{
	struct baseline *baseline = object;
	size_t count;

	if (map->type != YAML_MAPPING_NODE)
		return yml_fail(file, map, "this is not a map; write `NAME: {...}` lines");
	count = (size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start);
	if (count > LIMIT_FEATURES)
		return yml_fail(file, map, "there are %zu features; write at most %d", count,
		                LIMIT_FEATURES);
	baseline->features = mem_array(count + 1, sizeof(*baseline->features));
	for (size_t i = 0; i < count; i++) {
		const yaml_node_pair_t *pair = &map->data.mapping.pairs.start[i];
		const yaml_node_t *key = yaml_document_get_node(&file->document, pair->key);
		const char *name = yml_text(key);
		struct baseline_feature *f = &baseline->features[baseline->features_count++];
		struct reading reading = {
		    file, yaml_document_get_node(&file->document, pair->value), f};
		size_t mark;
		int r;

		if (!name || STR_SET(f->name, name) < 0)
			return yml_fail(file, key, "a feature's name has 1 to %d characters",
			                LIMIT_FEATURE);
		mark = yml_enter(file, name);
		if (yml_get(file, map, name) != reading.node)
			return yml_fail(file, key, "this feature is there twice; write it once");
		r = read_feature(&reading);
		if (r < 0)
			return r;
		yml_leave(file, mark);
	}
	return 0;
}

static int bind_observations(struct yml_file *file, const yaml_node_t *node,
                             const struct yml_field *field, void *object)
{
	const char *text = yml_text(node);

	if (!text || str_parse_u64(text, 1000000000000, &((struct baseline *)object)->observations))
		return yml_fail(file, node, "this is not a count; write a whole number");
	return 0;
}

static const struct yml_field baseline_fields[] = {
    {.key = "observations", .bind = bind_observations, .required = true},
    {.key = "features", .bind = bind_features, .required = true},
    {0},
};

int baseline_file_read(const char *name, struct baseline *ret_baseline, struct err *err)
{
	struct baseline baseline = {0};
	struct yml_file yaml;
	int r = yml_load(&yaml, name, err);

	if (r < 0)
		return r;
	r = yml_bind(&yaml, yml_root(&yaml), baseline_fields, &baseline);
	yml_free(&yaml);
	if (r == 0) {
		build_finish(&baseline);
		r = baseline_check(&baseline, err);
		r = r < 0 ? err_prefix(err, r, "%s", name) : 0;
	}
	if (r < 0)
		build_free(&baseline);
	else
		*ret_baseline = baseline;
	return r;
}

/* ---- writing ---- */

/* A word that YAML could take for something else, or that ends the flow, is quoted. */
static void write_word(FILE *out, const char *text)
{
	AUTO_JSON json_t *quoted = json_string(text);
	AUTO_FREE char *dump = quoted ? json_dumps(quoted, JSON_ENCODE_ANY) : NULL;

	fputs(dump ? dump : "\"?\"", out);
}

static void write_outer(FILE *out, const struct baseline_feature *f)
{
	for (size_t i = 0; i < BINS_OUTER; i++)
		if (outer_names[f->kind][i])
			fprintf(out, ", %s: %llu", outer_names[f->kind][i],
			        (unsigned long long)f->counts[bins_inner(f) + i]);
}

/* The shortest decimal that reads back as the same number. */
static void write_number(FILE *out, double value)
{
	char text[32];

	snprintf(text, sizeof(text), "%.15g", value);
	if (strtod(text, NULL) < value || strtod(text, NULL) > value)
		snprintf(text, sizeof(text), "%.17g", value);
	fputs(text, out);
}

static void write_numeric(FILE *out, const struct baseline_feature *f)
{
	fputs("{edges: [", out);
	for (size_t i = 0; i < f->edges_count; i++) {
		fputs(i ? ", " : "", out);
		write_number(out, f->edges[i].value);
	}
	fputs("], counts: [", out);
	for (size_t i = 0; i < bins_inner(f); i++)
		fprintf(out, "%s%llu", i ? ", " : "", (unsigned long long)f->counts[i]);
	fputs("]", out);
}

static void write_categorical(FILE *out, const struct baseline_feature *f)
{
	fputs("{values: {", out);
	for (size_t i = 0; i < f->values_count; i++) {
		fputs(i ? ", " : "", out);
		write_word(out, f->values[i].text);
		fprintf(out, ": %llu", (unsigned long long)f->counts[i]);
	}
	fputs("}", out);
}

void baseline_file_write(FILE *out, const struct baseline *baseline)
{
	fprintf(out, "observations: %llu\nfeatures:\n", (unsigned long long)baseline->observations);
	for (size_t i = 0; i < baseline->features_count; i++) {
		const struct baseline_feature *f = &baseline->features[i];

		fputs("  ", out);
		write_word(out, f->name);
		fputs(": ", out);
		if (f->kind == FEATURE_NUMERIC)
			write_numeric(out, f);
		else
			write_categorical(out, f);
		write_outer(out, f);
		fputs("}\n", out);
	}
}
