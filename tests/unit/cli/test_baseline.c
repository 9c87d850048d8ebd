/* SPDX-License-Identifier: Apache-2.0 */
/* `covey baseline build`: right bins, exact edges there and back, each mistake with its line. */
#include "coordinator/cli/csv.h"
#include "coordinator/cli/yml_files.h"
#include "evidence/bins.h"
#include "evidence/build.h"
#include "fake.h"
#include "protocol/baseline.h"

#include <string.h>
#include <sys/stat.h>

static char *folder, *data, *schema, *file;

static int setup(void **state)
{
	folder = temp_folder();
	data = mem_format("%s/data.csv", folder);
	schema = mem_format("%s/schema.yaml", folder);
	file = mem_format("%s/baseline.yaml", folder);
	return 0;
}

static int teardown(void **state)
{
	free(data);
	free(schema);
	free(file);
	remove_folder(folder);
	return 0;
}

static struct ran build_it(const char *options)
{
	return run_covey(folder, NULL, "baseline build %s %s", data, options);
}

static void build_ok(const char *options, struct baseline *ret_baseline)
{
	AUTO_FREE char *all = mem_format("-o %s %s", file, options);
	struct ran ran = build_it(all);
	struct err err = {0};

	assert_ran(ran, 0, NULL);
	assert_string_equal(ran.out, "");
	ran_free(&ran);
	if (baseline_file_read(file, ret_baseline, &err) < 0)
		fail_msg("%s", err.text);
}

static const struct baseline_feature *feature(const struct baseline *baseline, const char *name)
{
	size_t at = bins_find(baseline, name, strlen(name));

	assert_true(at < baseline->features_count);
	return &baseline->features[at];
}

static void test_inferred(void **state)
{
	AUTO_STR struct str text = {0};
	struct baseline baseline;
	const struct baseline_feature *f;

	str_add(&text, "\xef\xbb\xbfink,camera,class,score\r\n");
	for (int i = 0; i < 1000; i++)
		str_addf(&text, "%d.5,%s,%d,0.%03d\r\n", i, i % 4 ? "\"front, left\"" : "rear",
		         i % 3, i);
	str_add(&text, ",,1,NA\n\n");
	write_file(data, text.data, text.size);
	build_ok("", &baseline);
	assert_int_equal(baseline.observations, 1001);
	assert_int_equal(baseline.features_count, 4);
	f = feature(&baseline, "ink");
	assert_int_equal(f->edges_count, BUILD_BINS + 1);
	for (size_t i = 0; i < BUILD_BINS; i++)
		assert_int_equal(f->counts[i], 100);
	assert_int_equal(f->counts[BUILD_BINS + BIN_NAN], 1);
	assert_true(f->edges[1].value == 100.5);
	f = feature(&baseline, "camera");
	assert_int_equal(f->kind, FEATURE_CATEGORICAL);
	assert_string_equal(f->values[0].text, "front,_left"); /* as servers must send it */
	assert_int_equal(f->counts[0], 750);
	assert_int_equal(f->counts[2 + BIN_NAN], 1);
	assert_int_equal(feature(&baseline, "class")->kind, FEATURE_CATEGORICAL);
	assert_int_equal(feature(&baseline, "score")->counts[BUILD_BINS + BIN_NAN], 1);
	build_free(&baseline);
}

static void test_schema_and_bins(void **state)
{
	AUTO_STR struct str text = {0};
	AUTO_FREE char *options = mem_format("--schema %s --bins 4", schema);
	struct baseline baseline;

	str_add(&text, "id,zip,x\n");
	for (int i = 0; i < 2000; i++)
		str_addf(&text, "u%d,%d,%d\n", i, 75001 + i % 20, i * i);
	write_file(data, text.data, text.size);
	write_textf(schema, "id: ignore\nzip: categorical\n");
	build_ok(options, &baseline);
	assert_int_equal(baseline.features_count, 2);
	assert_int_equal(feature(&baseline, "zip")->values_count, 20);
	assert_int_equal(feature(&baseline, "x")->edges_count, 5);
	build_free(&baseline);
}

/* What is written is what was built: the same bytes, hence the same id. */
static void test_there_and_back(void **state)
{
	AUTO_STR struct str text = {0};
	AUTO_FREE char *again = mem_format("%s/again.yaml", folder);
	struct baseline first, second;
	struct bytes a, b;
	FILE *out;

	str_add(&text, "true,x.y,z\n");
	for (int i = 0; i < 300; i++)
		str_addf(&text, "%.17g,%s,%d\n", 1.0 / (i + 3), i % 2 ? "yes" : "\"a\"\"b\"", 7);
	write_file(data, text.data, text.size);
	build_ok("", &first);
	out = fopen(again, "we");
	baseline_file_write(out, &first);
	fclose(out);
	assert_int_equal(baseline_file_read(again, &second, NULL), 0);
	assert_int_equal(baseline_encode(&first, &a, NULL), 0);
	assert_int_equal(baseline_encode(&second, &b, NULL), 0);
	assert_int_equal(a.size, b.size);
	assert_memory_equal(a.data, b.data, a.size);
	assert_int_equal(feature(&first, "z")->edges_count, 2); /* a constant has one bin */
	assert_int_equal(feature(&first, "z")->counts[0], 300);
	free(a.data);
	free(b.data);
	build_free(&first);
	build_free(&second);
}

static void test_rubbish_is_named_with_its_line(void **state)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
	    {"", "data.csv: the file is empty"},
	    {"a,b\n", "data.csv: there is no row below the header"},
	    {"a,b\n1,2\n3\n", "data.csv:3: 1 fields instead of 2"},
	    {"a,b\n1,2\n\"x\ny\",2,3\n", "data.csv:3: 3 fields instead of 2"},
	    {"a,a\n1,2\n", "data.csv:1: a: is there twice"},
	    {"a b\n1\n", "data.csv:1: `a b` is not a name"},
	    {"1,2\n1,2\n", "data.csv:1: `1` is a number; the first row holds the names"},
	    {"a\n1\n2\n3\n4\n5\n6\n7\n8\n9\nx\n", "data.csv:11: a: `x` is not a number"},
	    {"a\n\"x\n", "data.csv:2: a quote is not closed"},
	    {"a\nx\"y\"\n", "data.csv:2: a quote in the middle of a field"},
	    {"a,b\n1,\n2,\n", "data.csv:1: b: is empty"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ran ran;

		write_file(data, cases[i].text, strlen(cases[i].text));
		ran = build_it("");
		assert_ran(ran, 2, cases[i].said);
		assert_string_equal(ran.out, "");
		ran_free(&ran);
	}
}

static void test_files_that_are_wrong(void **state)
{
#define F "observations: 3\nfeatures:\n  a: "
	static const struct {
		const char *text, *said;
	} cases[] = {
	    {"features: {}\n", "1: observations: this key is missing"},
	    {F "{edges: [1], counts: []}\n", "3: features.a: edges is a list of 2 to"},
	    {F "{edges: [1, 2], counts: [1, 2]}\n", "3: features.a: there are 2 counts for 2 edges"},
	    {F "{edges: [2, 1], counts: [1]}\n", "a: the edges do not rise"},
	    {F "{edges: [1, x], counts: [1]}\n", "3: features.a: an edge is not a number"},
	    {F "{edges: [1, 2], counts: [-1]}\n", "3: features.a: one of counts is not a count"},
	    {F "{edges: [1, 2], counts: [1], unseen: 3}\n",
	     "3: features.a: the key `unseen` is unknown in a numeric feature"},
	    {F "{values: {}}\n", "3: features.a: values is a map of 1 to"},
	    {F "{values: {x: y}}\n", "3: features.a: x is not a count"},
	    {F "7\n", "3: features.a: this is not a feature"},
	    {F "{values: {x: 1}}\n  a: {values: {x: 1}}\n", "there twice"},
	    {"observations: 3\nfeatures: 7\n", "2: features: this is not a map"},
	    {"observations: x\nfeatures: {}\n", "1: observations: this is not a count"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ran ran;

		write_textf(file, "%s", cases[i].text);
		ran = run_covey(folder, NULL, "lint -f %s", file);
		assert_ran(ran, 2, cases[i].said);
		ran_free(&ran);
	}
}

static void test_a_release_takes_it_in(void **state)
{
	AUTO_FREE char *release = mem_format("%s/release.yaml", folder);
	struct release_file read = {0};
	struct baseline baseline;
	struct err err = {0};

	write_textf(file, F "{edges: [0, 0.5, 1], counts: [1, 2]}\n");
	write_textf(release, "model: m\nversion: 1\nimage: i\nserve: {port: 8080}\n"
	                     "baseline: baseline.yaml\n"
	                     "observe: {metrics: /metrics, requests: 'r{code=\"2*\"}', errors: e, "
	                     "latency: l, counters: [a, b], score: [0, 1]}\n");
	if (release_file_read(release, false, &read, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(baseline_decode(read.release.baseline.data, read.release.baseline.size,
	                                 &baseline, NULL), 0);
	assert_int_equal(baseline.features_count, 1);
	assert_string_equal(read.release.observe.requests, "r{code=\"2*\"}");
	assert_int_equal(read.release.observe.counters_count, 2);
	assert_true(read.release.observe.has_range && read.release.observe.score_max == 1);
	build_free(&baseline);
	release_file_free(&read);
}

/* An empty value in quotes is a value; what is no text is refused in quotes, too. */
static void test_rows(void **state)
{
	static const char text[] = "a\n\"\"\nb\n\n\r\n\"c\"\"\"\n\"x\0y\"\n";
	static const char *const rows[] = {"a", "", "b", "c\""};
	static const uint64_t lines[] = {1, 2, 3, 6};
	AUTO_FCLOSE FILE *in = fmemopen((char *)text, sizeof(text) - 1, "r");
	AUTO_FREE struct csv *csv = mem_alloc(sizeof(*csv));
	struct err err = {0};

	csv->file = in;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(csv_next(csv, &err), 1);
		assert_int_equal(csv->count, 1);
		assert_string_equal(csv_field(csv, 0), rows[i]);
		assert_int_equal(csv->line, lines[i]);
	}
	assert_int_equal(csv_next(csv, &err), -EINVAL);
	assert_string_equal(err.text, "this is not text");
	csv_free(csv);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_rows),
		T(test_inferred),
		T(test_schema_and_bins),
		T(test_there_and_back),
		T(test_rubbish_is_named_with_its_line),
		T(test_files_that_are_wrong),
		T(test_a_release_takes_it_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
