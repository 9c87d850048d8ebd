/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the operations of the SQLite store (sqlite_ops.c) and SQLite itself (store_sqlite.c):
 * prepared statements by name, values to bind, records described as tables of columns. Private to
 * this folder; no SQLite type shows.
 */
#pragma once

#include "coordinator/store/store.h"
#include "sql_table.h"

enum column_kind { COLUMN_U64, COLUMN_U32, COLUMN_BOOL, COLUMN_FIXED, COLUMN_STR, COLUMN_BYTES };

struct column {
	enum column_kind kind;
	size_t offset, size;
};

struct record { /* columns in the order of the statement's parameters or results */
	const struct column *columns;
	size_t count;
	size_t size; /* of the struct */
};

struct sql_value { /* borrowed */
	enum column_kind kind;
	const void *data;
	size_t size; /* COLUMN_FIXED */
};

#define VALUE_U64(p) {COLUMN_U64, (p), 0}
#define VALUE_STR(p) {COLUMN_STR, (p), 0}
#define VALUE_FIXED(p, size) {COLUMN_FIXED, (p), (size)}

struct sqlite_store;

/* Called with each row (a struct of the record's kind); non-zero ends the walk. */
typedef int sqlite_row_fn(void *walk, void *row);

/* Runs a statement that changes something. The fault hook sees it first. */
int sqlite_run(struct store *s, enum sql sql, const struct sql_value *values, size_t count,
	       struct err *err) COVEY_MUST_CHECK;
/* The same with the first `count` columns of a record as parameters. */
int sqlite_run_record(struct store *s, enum sql sql, const struct record *record, size_t count,
		      const void *row, struct err *err) COVEY_MUST_CHECK;
/* Walks the rows of a query. A callback may not start the same query again. */
int sqlite_each(struct store *s, enum sql sql, const struct sql_value *values, size_t count,
		const struct record *record, sqlite_row_fn *fn, void *walk,
		struct err *err) COVEY_MUST_CHECK;
uint64_t sqlite_last_row(struct store *s);
void sqlite_rollback(struct store *s);
void sqlite_close(struct store *s);

extern const struct store_ops sqlite_ops;
