/* SPDX-License-Identifier: Apache-2.0 */
/* What reaches a terminal: hostile text made harmless, tables, the tree, lines of change. */
#include "coordinator/cli/output.h"
#include "coordinator/cli/tree.h"
#include "base/rng.h"
#include "fake.h"

#include <locale.h>
#include <string.h>

static void assert_safe(const char *text, bool keep_lines, const char *wanted)
{
	AUTO_STR struct str s = {0};

	output_safe(&s, text, keep_lines);
	assert_string_equal(str_get(&s), wanted);
}

/* spec: TRUST-15 */
static void test_safe(void **state)
{
	assert_safe("plain", false, "plain");
	assert_safe("\033[31mred\033[0m", false, "\\x1b[31mred\\x1b[0m");
	assert_safe("\033]0;title\a", false, "\\x1b]0;title\\x07");
	assert_safe("a\nb\tc\r", false, "a\\x0ab\\x09c\\x0d");
	assert_safe("a\nb\tc\r", true, "a\nb\tc\\x0d");
	assert_safe("caf\xc3\xa9 \xe4\xb8\xad \xf0\x9f\x9a\x80", false,
	            "caf\xc3\xa9 \xe4\xb8\xad \xf0\x9f\x9a\x80");
	assert_safe("\xc2\x9b"
	            "31m",
	            false, "\\x9b31m"); /* CSI as one character */
	assert_safe("\x9b"
	            "31m",
	            false, "\\x9b31m"); /* and as a bare byte */
	assert_safe("\xe2\x80\xae"
	            "gpj",
	            false, "\\u202egpj");             /* right to left */
	assert_safe("\xc0\x9b", false, "\\xc0\\x9b"); /* overlong */
	assert_safe("\xe0\x80\x9b\xed\xa0\x80", false, "\\xe0\\x80\\x9b\\xed\\xa0\\x80");
	assert_safe("\xf4\x90\x80\x80\xff", false, "\\xf4\\x90\\x80\\x80\\xff");
	assert_safe("\xe2\x80", false, "\\xe2\\x80"); /* cut */
	assert_safe("\177", false, "\\x7f");
}

/* Random bytes: no control character and nothing but UTF-8 comes out. */
/* spec: TRUST-15 */
static void test_safe_random(void **state)
{
	struct rng rng = {1};

	for (unsigned round = 0; round < 2000; round++) {
		char text[64];
		AUTO_STR struct str s = {0};
		size_t size = rng_below(&rng, sizeof(text));

		for (size_t i = 0; i < size; i++)
			text[i] = (char)(1 + rng_below(&rng, 255));
		text[size] = 0;
		output_safe(&s, text, false);
		for (const char *c = str_get(&s); *c; c++)
			assert_true((unsigned char)*c >= ' ' && *c != 127);
		assert_true(mbstowcs(NULL, str_get(&s), 0) != (size_t)-1);
	}
}

/* ---- tables ---- */

static const struct column columns[] = {
    {"NAME", "name", COLUMN_TEXT, false},       {"STATE", "state", COLUMN_STATE, false},
    {"LABELS", "labels", COLUMN_LABELS, false}, {"SIZE", "a.size", COLUMN_BYTES, false},
    {"ID", "id", COLUMN_SHORT, true},           {0},
};

static const char hostile[] =
    "[{\"name\": \"n1\\u001b[2J\\n\", \"state\": \"online\", \"labels\": {\"a\": \"\\u0007b\"},"
    "  \"a\": {\"size\": 1536}, \"id\": \"0123456789abcdef\"}, {\"name\": null}]";

static void print(enum output_format format, bool color, char **ret_text)
{
	struct output out = {.format = format, .color = color};
	json_t *array = json_loads(hostile, 0, NULL);
	size_t size = 0;

	out.file = open_memstream(ret_text, &size);
	if (format == OUTPUT_JSON)
		output_json(&out, array);
	else
		output_table(&out, columns, array, "nothing");
	fclose(out.file);
	json_decref(array);
}

static void test_table(void **state)
{
	AUTO_FREE char *text = NULL, *wide = NULL, *color = NULL, *json = NULL;

	print(OUTPUT_TABLE, false, &text);
	assert_null(strchr(text, '\033'));
	assert_null(strchr(text, '\a'));
	assert_non_null(strstr(text, "n1\\x1b[2J\\x0a"));
	assert_non_null(strstr(text, "a=\\x07b"));
	assert_non_null(strstr(text, "1.5 KiB"));
	assert_null(strstr(text, "ID"));
	assert_non_null(strstr(text, "-")); /* what is absent */
	print(OUTPUT_WIDE, false, &wide);
	assert_non_null(strstr(wide, "0123456789abcdef"));
	print(OUTPUT_TABLE, true, &color);
	assert_non_null(strstr(color, "\033[32monline"));
	print(OUTPUT_JSON, false, &json);
	assert_null(strchr(json, '\033'));
	assert_non_null(strstr(json, "\\u001B[2J"));
}

static void test_empty_table(void **state)
{
	struct output out = {0};
	json_t *array = json_array();
	char *text = NULL;
	size_t size = 0;

	out.file = open_memstream(&text, &size);
	output_table(&out, columns, array, "there is nothing");
	fclose(out.file);
	assert_string_equal(text, "there is nothing\n");
	free(text);
	json_decref(array);
}

static void test_time(void **state)
{
	assert_int_equal(output_parse_time("1970-01-01T00:00:01.250Z"), 1250);
	assert_int_equal(output_parse_time("2024-02-29T12:00:00Z"), UINT64_C(1709208000000));
	assert_int_equal(output_parse_time("yesterday"), 0);
	assert_int_equal(output_parse_time("1970-01-01T00:00:01+01:00"), 0);
}

/* ---- the tree ---- */

static const char before_text[] =
    "{\"id\": \"0123456789abcdef\", \"deployment\": \"ocr\", \"from\": \"ocr@1\", \"to\": "
    "\"ocr@2\","
    " \"state\": \"canary\", \"reason\": null, \"gates\": [],"
    " \"stages\": [{\"name\": \"canary\", \"state\": \"baking\", \"nodes\": [\"n1\"],"
    "   \"bake_ends_at\": \"1970-01-01T00:01:00.000Z\"},"
    "  {\"name\": \"rest\", \"state\": \"pending\", \"nodes\": [\"n2\", \"n3\"]}],"
    " \"nodes\": [{\"node\": \"n1\", \"stage\": 0, \"state\": \"baking\", \"reason\": null},"
    "  {\"node\": \"n2\", \"stage\": 1, \"state\": \"fetching\", \"bytes_done\": 1048576,"
    "   \"bytes_total\": 4194304, \"reason\": null},"
    "  {\"node\": \"n3\", \"stage\": 1, \"state\": \"pending\", \"reason\": null}]}";

static const char after_text[] =
    "{\"id\": \"0123456789abcdef\", \"deployment\": \"ocr\", \"from\": \"ocr@1\", \"to\": "
    "\"ocr@2\","
    " \"state\": \"rolling_back\", \"reason\": {\"phase\": \"bake\", \"node\": \"n1\", \"check\": "
    "\"health\","
    "  \"text\": \"said \\u001b[5m\"}, \"gates\": [],"
    " \"stages\": [{\"name\": \"canary\", \"state\": \"failed\", \"nodes\": [\"n1\"]},"
    "  {\"name\": \"rest\", \"state\": \"pending\", \"nodes\": [\"n2\", \"n3\"]}],"
    " \"nodes\": [{\"node\": \"n1\", \"stage\": 0, \"state\": \"reverting\","
    "   \"reason\": {\"phase\": \"bake\", \"check\": \"health\", \"text\": \"no answer\"}},"
    "  {\"node\": \"n2\", \"stage\": 1, \"state\": \"fetching\", \"bytes_done\": 3145728,"
    "   \"bytes_total\": 4194304, \"reason\": null},"
    "  {\"node\": \"n3\", \"stage\": 1, \"state\": \"pending\", \"reason\": null}]}";

static void test_tree(void **state)
{
	json_t *before = json_loads(before_text, 0, NULL), *after = json_loads(after_text, 0, NULL);
	struct tree *tree = tree_new(stdout, false, false);
	AUTO_STR struct str one = {0}, two = {0}, narrow = {0}, low = {0};

	tree_draw(tree, before, 42000, 120, 40, &one);
	assert_non_null(strstr(one.data, "ocr@1 -> ocr@2  rollout 0123456789ab"));
	assert_non_null(strstr(one.data, "1 node  18s left"));
	assert_non_null(strstr(one.data, "1.0 MiB of 4.0 MiB"));
	tree_draw(tree, after, 44000, 120, 40, &two);
	assert_non_null(strstr(two.data, "1.0 MiB/s  1s left"));
	assert_non_null(strstr(two.data, "bake (health): no answer"));
	assert_null(strchr(two.data, '\033'));
	tree_draw(tree, after, 45000, 40, 40, &narrow);
	for (char *line = strtok(narrow.data, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) <= 40);
	json_object_set_new(json_array_get(json_object_get(after, "nodes"), 0), "node",
	                    json_string("a-node-with-a-name-that-is-longer-than-the-whole-line"));
	str_free(&narrow);
	tree_draw(tree, after, 45000, 40, 40, &narrow);
	for (char *line = strtok(narrow.data, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) <= 40);
	tree_draw(tree, after, 46000, 80, 6, &low); /* few lines: the reverting node comes first */
	assert_non_null(strstr(low.data, "reverting"));
	assert_null(strstr(low.data, "n3"));
	tree_free(tree);
	json_decref(before);
	json_decref(after);
}

static void test_changes(void **state)
{
	json_t *before = json_loads(before_text, 0, NULL), *after = json_loads(after_text, 0, NULL);
	AUTO_STR struct str first = {0}, changes = {0}, none = {0};

	tree_changes(NULL, before, &first);
	assert_true(str_starts(first.data, "rollout 0123456789ab of ocr (ocr@1 -> ocr@2): canary\n"
	                                   "stage 1 canary: baking\n"));
	tree_changes(before, after, &changes);
	assert_string_equal(changes.data,
	                    "stage 1 canary: failed\n"
	                    "node n1: reverting: bake (health): no answer\n"
	                    "rollout 0123456789ab: rolling_back: bake (health): said \\x1b[5m\n");
	tree_changes(after, after, &none);
	assert_int_equal(none.size, 0);
	json_decref(before);
	json_decref(after);
}

/* A terminal is redrawn in place: as many lines up as were drawn. */
static void test_redraw(void **state)
{
	json_t *before = json_loads(before_text, 0, NULL);
	char *text = NULL;
	size_t size = 0;
	FILE *file = tmpfile();
	struct tree *tree = tree_new(file, true, true);

	tree_show(tree, before, 1);
	tree_show(tree, before, 2);
	tree_free(tree);
	size = (size_t)ftell(file);
	text = mem_alloc(size + 1);
	rewind(file);
	assert_int_equal(fread(text, 1, size, file), size);
	assert_non_null(strstr(text, "\033[6A\r\033[J"));
	fclose(file);
	free(text);
	json_decref(before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_safe),    cmocka_unit_test(test_safe_random),
	    cmocka_unit_test(test_table),   cmocka_unit_test(test_empty_table),
	    cmocka_unit_test(test_time),    cmocka_unit_test(test_tree),
	    cmocka_unit_test(test_changes), cmocka_unit_test(test_redraw),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
