/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the operations of the SQLite store (sqlite_ops.c) and SQLite itself (store_sqlite.c):
 * prepared statements by name, values to bind, records described as tables of columns. Private to
 * this folder; no SQLite type shows.
 */
#pragma once

#include "coordinator/store/store.h"
#include "sql_table.h"

#include <stddef.h>

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

/* ---- how files of operations describe their records ---- */

#define COL(kind, type, member)                                                                    \
	{COLUMN_##kind, offsetof(struct type, member), sizeof(((struct type *)0)->member)}
#define RECORD(name)                                                                               \
	static const struct record name##_record = {name##_columns, ARRAY_SIZE(name##_columns),    \
						    sizeof(struct store_##name)}

/* One adapter from void rows to typed callbacks for each record. */
#define WALK(name, type)                                                                           \
	struct name##_walk {                                                                       \
		store_##name##_fn *fn;                                                             \
		void *arg;                                                                         \
		size_t count;                                                                      \
	};                                                                                         \
	static int name##_row(void *walk, void *row)                                               \
	{                                                                                          \
		struct name##_walk *w = walk;                                                      \
		w->count++;                                                                        \
		return w->fn(w->arg, (const struct type *)row);                                    \
	}

/* ---- sqlite_evidence.c ---- */
int sqlite_observation_append(struct store *s, const struct store_observation *observation,
			      struct err *err);
int sqlite_observation_each(struct store *s, const char *deployment, uint64_t since,
			    uint64_t limit, store_observation_fn *fn, void *arg, struct err *err);
int sqlite_observation_tail(struct store *s, const char *deployment, uint64_t count,
			    uint64_t *ret_since, struct err *err);
int sqlite_observation_last(struct store *s, uint64_t *ret_id, struct err *err);
int sqlite_observation_trim(struct store *s, uint64_t up_to_id, struct err *err);
int sqlite_mark_put(struct store *s, const struct store_mark *mark, struct err *err);
int sqlite_mark_each(struct store *s, store_mark_fn *fn, void *arg, struct err *err);
int sqlite_baseline_put(struct store *s, const struct store_baseline *baseline, struct err *err);
int sqlite_baseline_remove(struct store *s, const char *deployment, struct err *err);
int sqlite_baseline_each(struct store *s, store_baseline_fn *fn, void *arg, struct err *err);
int sqlite_judgement_append(struct store *s, const struct store_judgement *judgement,
			    struct err *err);
int sqlite_judgement_each(struct store *s, const struct rollout_id *rollout,
			  store_judgement_fn *fn, void *arg, struct err *err);
int sqlite_watch_put(struct store *s, const struct store_watch *watch, struct err *err);
int sqlite_watch_remove(struct store *s, const char *deployment, struct err *err);
int sqlite_watch_each(struct store *s, store_watch_fn *fn, void *arg, struct err *err);
