/* SPDX-License-Identifier: Apache-2.0 */
/* One character after the other through three states: in a field, in quotes, behind a quote. */
#include "coordinator/cli/csv.h"

#include <string.h>

enum state { FIELD, QUOTED, QUOTE_ENDED };

static int fail(struct err *err, const char *what)
{
	return err_set(err, -EINVAL, "%s", what);
}

static void begin_row(struct csv *csv)
{
	csv->line = csv->next_line + 1;
	csv->text.size = 0;
	csv->count = 1;
	csv->starts[0] = 0;
	str_add_bytes(&csv->text, "", 0);
}

static int check_field(const struct csv *csv, struct err *err)
{
	return csv->text.size - csv->starts[csv->count - 1] > CSV_FIELD_MAX
	           ? fail(err, "a field is longer than 4096 bytes")
	           : 0;
}

static int end_field(struct csv *csv, struct err *err)
{
	int r = check_field(csv, err);

	if (r < 0)
		return r;
	if (csv->count == CSV_FIELDS_MAX)
		return fail(err, "there are more than 1024 columns");
	str_add_bytes(&csv->text, "", 1);
	csv->starts[csv->count++] = csv->text.size;
	return 0;
}

/* A line with nothing on it; "" is a row with one empty field. */
static bool is_empty(const struct csv *csv, enum state state)
{
	return csv->count == 1 && csv->text.size == 0 && state == FIELD;
}

/* Takes one character; 1 when it ended the row. */
static int take(struct csv *csv, int c, enum state *state, struct err *err)
{
	char byte = (char)c;

	if (c == 0)
		return fail(err, "this is not text");
	if (*state == QUOTED) {
		if (c == '"')
			*state = QUOTE_ENDED;
		else
			str_add_bytes(&csv->text, &byte, 1);
		return 0;
	}
	if (c == '\n')
		return 1;
	if (c == '\r')
		return 0;
	if (c == ',') {
		*state = FIELD;
		return end_field(csv, err);
	}
	if (c == '"') {
		if (*state == QUOTE_ENDED)
			str_add(&csv->text, "\"");
		else if (csv->text.size > csv->starts[csv->count - 1])
			return fail(err, "a quote in the middle of a field; quote all of it");
		*state = QUOTED;
		return 0;
	}
	if (*state == QUOTE_ENDED)
		return fail(err, "there is more behind a closing quote");
	str_add_bytes(&csv->text, &byte, 1);
	return 0;
}

int csv_next(struct csv *csv, struct err *err)
{
	enum state state = FIELD;
	int c, r = 0;

	begin_row(csv);
	while (r == 0 && (c = getc_unlocked(csv->file)) != EOF) {
		csv->next_line += c == '\n';
		r = take(csv, c, &state, err);
		if (csv->text.size > CSV_FIELDS_MAX * CSV_FIELD_MAX)
			return fail(err, "a row is too long, or a quote is not closed");
		if (r == 1 && is_empty(csv, state)) {
			begin_row(csv);
			r = 0;
		}
	}
	if (r < 0)
		return r;
	if (state == QUOTED)
		return fail(err, "a quote is not closed");
	if (ferror(csv->file))
		return fail(err, "the file cannot be read");
	if (r == 0 && is_empty(csv, state))
		return 0;
	r = check_field(csv, err);
	return r < 0 ? r : 1;
}

void csv_free(struct csv *csv)
{
	str_free(&csv->text);
}
