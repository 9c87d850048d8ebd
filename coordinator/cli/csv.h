/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a CSV file (RFC 4180: commas, quotes, CRLF or LF), one at a time. */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum { CSV_FIELDS_MAX = 1024, CSV_FIELD_MAX = 4096 };

struct csv {
	FILE *file;
	uint64_t line; /* where the row at hand begins */
	uint64_t next_line;
	struct str text;		/* fields, each with its NUL */
	size_t starts[CSV_FIELDS_MAX];	/* in text */
	size_t count;
};

/* 1: a row was read; 0: the file ends; -EINVAL: a sentence about csv->line. Empty lines are passed
 * over. */
int csv_next(struct csv *csv, struct err *err) COVEY_MUST_CHECK;
static inline const char *csv_field(const struct csv *csv, size_t index)
{
	return csv->text.data + csv->starts[index];
}
void csv_free(struct csv *csv); /* the file stays open */
