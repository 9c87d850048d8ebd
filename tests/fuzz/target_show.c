/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a coordinator answers, as people see it: one JSON text per part, the first drawn as a
 * rollout's tree, the change to the second in words, and as a table. Names and reasons come from
 * nodes and operators: nothing of them may drive a terminal.
 */
#include "base/mem.h"
#include "coordinator/cli/cmd.h"
#include "coordinator/cli/tree.h"
#include "fuzz.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

static const struct column columns[] = {
	{"ID", "id", COLUMN_SHORT, false},	     {"STATE", "state", COLUMN_STATE, false},
	{"NAME", "name", COLUMN_TEXT, false},	     {"BYTES", "bytes", COLUMN_BYTES, false},
	{"FOR", "paused_ms", COLUMN_DURATION, true}, {"AGE", "created", COLUMN_AGE, false},
	{"LABELS", "labels", COLUMN_LABELS, false},  {"STAGES", "stages", COLUMN_COUNT, false},
	{"LIST", "list", COLUMN_LIST, true},	     {"SLOTS", "slots", COLUMN_SLOTS, false},
	{0},
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	setlocale(LC_CTYPE, "C.UTF-8");
	return 0;
}

static void check(const char *text)
{
	for (; *text; text++)
		assert((unsigned char)*text >= ' ' ? *text != 127 : *text == '\n' || *text == '\t');
}

static void print(const json_t *value)
{
	struct output out = {.format = OUTPUT_WIDE};
	AUTO_FREE char *text = NULL;
	size_t size = 0;

	out.file = open_memstream(&text, &size);
	assert(out.file);
	if (json_is_array(value))
		output_table(&out, columns, value, "nothing");
	output_object(&out, columns, value);
	fclose(out.file);
	check(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	AUTO_FREE char *first = fuzz_text(&input), *second = fuzz_text(&input);
	AUTO_JSON json_t *before = json_loads(first, JSON_DECODE_ANY, NULL);
	AUTO_JSON json_t *after = json_loads(second, JSON_DECODE_ANY, NULL);
	AUTO_STR struct str text = {0};
	COVEY_CLEANUP(tree_free_p) struct tree *tree = NULL;

	if (!before)
		return 0;
	tree = tree_new(stderr, false, false);
	tree_draw(tree, before, UINT64_C(1800000000000), 60, 30, &text);
	tree_changes(NULL, before, &text);
	if (after)
		tree_changes(before, after, &text);
	check(str_get(&text));
	print(before);
	return 0;
}
