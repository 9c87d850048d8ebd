/* SPDX-License-Identifier: Apache-2.0 */
/* Training data as CSV: rows that are written again, every field in quotes, read as the same. */
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/cli/csv.h"
#include "fuzz.h"

#include <string.h>

static void add_quoted(struct str *text, const char *field)
{
	str_add(text, "\"");
	for (; *field; field++)
		str_add_bytes(text, *field == '"' ? "\"\"" : field, *field == '"' ? 2 : 1);
	str_add(text, "\"");
}

/* All rows, a quoted line each; false: it is refused. */
static bool read_rows(const void *data, size_t size, struct str *ret_text)
{
	AUTO_FCLOSE FILE *file = fmemopen((void *)(uintptr_t)data, size, "r");
	AUTO_FREE struct csv *csv = mem_alloc(sizeof(*csv));
	struct err err = {0};
	uint64_t line = 0;
	int r;

	assert(file);
	csv->file = file;
	while ((r = csv_next(csv, &err)) == 1) {
		assert(csv->count >= 1 && csv->count <= CSV_FIELDS_MAX && csv->line > line);
		line = csv->line;
		for (size_t i = 0; i < csv->count; i++) {
			assert(strlen(csv_field(csv, i)) <= CSV_FIELD_MAX);
			str_add(ret_text, i ? "," : "");
			add_quoted(ret_text, csv_field(csv, i));
		}
		str_add(ret_text, "\n");
	}
	assert(r == 0 || err.text[0]);
	csv_free(csv);
	return r == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_STR struct str once = {0}, twice = {0};

	if (size && read_rows(data, size, &once) && once.size) {
		assert(read_rows(once.data, once.size, &twice));
		assert(str_equal(once.data, str_get(&twice)));
	}
	return 0;
}
