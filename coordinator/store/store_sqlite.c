/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store in one SQLite file: write-ahead log, every commit synced, an exclusive lock for the
 * life of the process. What the operations (sqlite_ops.c) do is bind values to a prepared
 * statement, run it, read rows into structs. Schema steps run in one transaction together with the
 * version number that they lead to.
 */
#define SQL_TABLES
#include "coordinator/store/sqlite.h"

#include "base/mem.h"
#include "base/str.h"

#include <assert.h>
#include <sqlite3.h>

enum { APPLICATION_ID = 0x43565931, SCHEMA_VERSION = 2, BUSY_WAIT_MS = 2000, COLUMNS_MAX = 16 };

struct sqlite_store {
	struct store base;
	sqlite3 *db;
	sqlite3_stmt *statements[SQL_COUNT];
	store_fault_fn *fault;
	void *fault_arg;
};

/* ---- errors ---- */

static int error_number(int code)
{
	switch (code & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_CONSTRAINT:
		if (code == SQLITE_CONSTRAINT_FOREIGNKEY)
			return -ENOENT;
		if (code == SQLITE_CONSTRAINT_TRIGGER)
			return -EPERM;
		return -EEXIST;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return -EACCES;
	case SQLITE_CANTOPEN:
		return -ENOENT;
	default:
		return -EIO;
	}
}

static int db_error(sqlite3 *db, const char *what, struct err *err)
{
	int code = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
	int r = error_number(code);

	if (r == -ENOSPC)
		return err_set(err, r, "the disk with the coordinator's database is full");
	return err_set(err, r, "database, %s: %s", what, db ? sqlite3_errmsg(db) : "no memory");
}

/* ---- binding and reading ---- */

static struct sqlite_store *self(struct store *s)
{
	return (struct sqlite_store *)s;
}

static int bind(sqlite3_stmt *st, int at, const struct sql_value *value)
{
	const struct bytes *bytes = value->data;

	switch (value->kind) {
	case COLUMN_U64:
		return sqlite3_bind_int64(st, at, (sqlite3_int64) * (const uint64_t *)value->data);
	case COLUMN_U32:
		return sqlite3_bind_int64(st, at, *(const uint32_t *)value->data);
	case COLUMN_BOOL:
		return sqlite3_bind_int(st, at, *(const bool *)value->data);
	case COLUMN_FIXED:
		return sqlite3_bind_blob64(st, at, value->data, value->size, SQLITE_STATIC);
	case COLUMN_STR:
		return sqlite3_bind_text(st, at, value->data, -1, SQLITE_STATIC);
	case COLUMN_BYTES:
		break;
	}
	if (bytes->size == 0)
		return sqlite3_bind_zeroblob(st, at, 0);
	return sqlite3_bind_blob64(st, at, bytes->data, bytes->size, SQLITE_STATIC);
}

static int bind_all(struct store *s, enum sql sql, const struct sql_value *values, size_t count,
		    struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		if (bind(self(s)->statements[sql], (int)i + 1, &values[i]) != SQLITE_OK)
			return db_error(self(s)->db, sql_table[sql].name, err);
	}
	return 0;
}

static int read_column(sqlite3_stmt *st, int at, const struct column *col, void *record)
{
	char *field = (char *)record + col->offset;
	const void *blob;

	switch (col->kind) {
	case COLUMN_U64:
		*(uint64_t *)(void *)field = (uint64_t)sqlite3_column_int64(st, at);
		return 0;
	case COLUMN_U32:
		*(uint32_t *)(void *)field = (uint32_t)sqlite3_column_int64(st, at);
		return 0;
	case COLUMN_BOOL:
		*(bool *)(void *)field = sqlite3_column_int(st, at) != 0;
		return 0;
	case COLUMN_STR:
		blob = sqlite3_column_text(st, at);
		return blob ? str_set(field, col->size, blob) : -EUCLEAN;
	case COLUMN_FIXED:
		blob = sqlite3_column_blob(st, at);
		if (!blob || (size_t)sqlite3_column_bytes(st, at) != col->size)
			return -EUCLEAN;
		memcpy(field, blob, col->size);
		return 0;
	case COLUMN_BYTES:
		break;
	}
	struct bytes *bytes = (struct bytes *)(void *)field;

	bytes->data = (uint8_t *)sqlite3_column_blob(st, at);
	bytes->size = (size_t)sqlite3_column_bytes(st, at);
	return 0;
}

static int read_row(sqlite3_stmt *st, const struct record *record, void *row)
{
	memset(row, 0, record->size);
	for (size_t i = 0; i < record->count; i++) {
		int r = read_column(st, (int)i, &record->columns[i], row);

		if (r < 0)
			return r;
	}
	return 0;
}

static void reset_p(sqlite3_stmt **st)
{
	if (*st) {
		sqlite3_reset(*st);
		sqlite3_clear_bindings(*st);
	}
}

#define AUTO_RESET COVEY_CLEANUP(reset_p)

/* ---- statements ---- */

int sqlite_run(struct store *s, enum sql sql, const struct sql_value *values, size_t count,
	       struct err *err)
{
	struct sqlite_store *q = self(s);
	AUTO_RESET sqlite3_stmt *st = q->statements[sql];
	int r = q->fault ? q->fault(q->fault_arg, sql_table[sql].name) : 0;

	if (r < 0)
		return err_set(err, r, "database, %s: injected fault", sql_table[sql].name);
	r = bind_all(s, sql, values, count, err);
	if (r == 0 && sqlite3_step(st) != SQLITE_DONE)
		r = db_error(q->db, sql_table[sql].name, err);
	return r;
}

int sqlite_run_record(struct store *s, enum sql sql, const struct record *record, size_t count,
		      const void *row, struct err *err)
{
	struct sql_value values[COLUMNS_MAX];

	assert(count <= COLUMNS_MAX);
	for (size_t i = 0; i < count; i++) {
		const struct column *col = &record->columns[i];

		values[i] = (struct sql_value){col->kind, (const char *)row + col->offset,
					       col->size};
	}
	return sqlite_run(s, sql, values, count, err);
}

int sqlite_each(struct store *s, enum sql sql, const struct sql_value *values, size_t count,
		const struct record *record, sqlite_row_fn *fn, void *walk, struct err *err)
{
	AUTO_RESET sqlite3_stmt *st = self(s)->statements[sql];
	AUTO_FREE void *row = mem_alloc(record->size);
	int r = bind_all(s, sql, values, count, err);
	int code;

	if (r < 0)
		return r;
	while ((code = sqlite3_step(st)) == SQLITE_ROW) {
		r = read_row(st, record, row);
		if (r < 0)
			return err_set(err, r, "database, %s: a damaged row", sql_table[sql].name);
		r = fn(walk, row);
		if (r != 0)
			return r;
	}
	return code == SQLITE_DONE ? 0 : db_error(self(s)->db, sql_table[sql].name, err);
}

uint64_t sqlite_last_row(struct store *s)
{
	return (uint64_t)sqlite3_last_insert_rowid(self(s)->db);
}

void sqlite_rollback(struct store *s)
{
	AUTO_RESET sqlite3_stmt *st = self(s)->statements[SQL_ROLLBACK];

	if (st && !sqlite3_get_autocommit(self(s)->db))
		sqlite3_step(st);
}

void sqlite_close(struct store *s)
{
	struct sqlite_store *q = self(s);

	sqlite_rollback(s);
	for (size_t i = 0; i < SQL_COUNT; i++)
		sqlite3_finalize(q->statements[i]);
	sqlite3_close(q->db);
	free(q);
}

/* ---- opening ---- */

/* Runs text; the first column of its last row, if any, as a number or a text. */
static int query(sqlite3 *db, const char *text, sqlite3_int64 *ret_number, char ret_text[256],
		 struct err *err)
{
	sqlite3_stmt *st = NULL;
	int code = sqlite3_prepare_v2(db, text, -1, &st, NULL);

	while (code == SQLITE_OK && (code = sqlite3_step(st)) == SQLITE_ROW) {
		if (ret_number)
			*ret_number = sqlite3_column_int64(st, 0);
		if (ret_text)
			str_cut(ret_text, 256, (const char *)sqlite3_column_text(st, 0));
		code = SQLITE_OK;
	}
	int r = code == SQLITE_DONE ? 0 : db_error(db, text, err);

	sqlite3_finalize(st);
	return r;
}

static int configure(sqlite3 *db, struct err *err)
{
	static const char *const settings[] = {
		"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL",
		"PRAGMA synchronous = FULL",	   "PRAGMA foreign_keys = ON",
		"PRAGMA trusted_schema = OFF",	   "PRAGMA cell_size_check = ON",
	};

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		int r = query(db, settings[i], NULL, NULL, err);

		if (r == -EBUSY)
			return err_set(err, r, "another process has the database open");
		if (r < 0)
			return r;
	}
	return 0;
}

/* Refuses what is damaged or somebody else's, before anything is believed. */
static int inspect(sqlite3 *db, sqlite3_int64 *ret_version, struct err *err)
{
	sqlite3_int64 application = 0, tables = 0;
	char check[256] = "";
	int r = query(db, "PRAGMA quick_check(1)", NULL, check, err);

	if (r < 0)
		return r;
	if (!str_equal(check, "ok"))
		return err_set(err, -EUCLEAN, "the database is damaged (%s): restore a backup, "
			       "the agents go on serving meanwhile", check);
	r = query(db, "PRAGMA application_id", &application, NULL, err);
	if (r == 0)
		r = query(db, "PRAGMA user_version", ret_version, NULL, err);
	if (r == 0)
		r = query(db, "SELECT count(*) FROM sqlite_schema", &tables, NULL, err);
	if (r < 0)
		return r;
	if (application != APPLICATION_ID && (application != 0 || tables != 0))
		return err_set(err, -EUCLEAN, "this is a database of another program");
	if (*ret_version > SCHEMA_VERSION)
		return err_set(err, -ENOTSUP,
			       "the database is of version %lld, this program knows up to %d: "
			       "install the newer covey-coordinator again", (long long)*ret_version,
			       SCHEMA_VERSION);
	return 0;
}

static int migrate(sqlite3 *db, sqlite3_int64 version, struct err *err)
{
	AUTO_FREE char *stamp = mem_format(
		"PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", APPLICATION_ID,
		SCHEMA_VERSION);

	if (version == SCHEMA_VERSION)
		return 0;
	if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return db_error(db, "migration", err);
	for (size_t i = 0; i < ARRAY_SIZE(sql_migrations); i++) {
		if (sql_migrations[i].version > version &&
		    sqlite3_exec(db, sql_migrations[i].text, NULL, NULL, NULL) != SQLITE_OK)
			return db_error(db, sql_migrations[i].text, err);
	}
	if (sqlite3_exec(db, stamp, NULL, NULL, NULL) != SQLITE_OK)
		return db_error(db, "migration", err);
	return 0;
}

static int prepare(struct sqlite_store *q, struct err *err)
{
	for (size_t i = 0; i < SQL_COUNT; i++) {
		if (sqlite3_prepare_v3(q->db, sql_table[i].text, -1, SQLITE_PREPARE_PERSISTENT,
				       &q->statements[i], NULL) != SQLITE_OK)
			return db_error(q->db, sql_table[i].name, err);
	}
	return 0;
}

static int open_checked(struct sqlite_store *q, const char *path, struct err *err)
{
	sqlite3_int64 version = 0;
	int r;

	if (sqlite3_open_v2(path, &q->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
				    SQLITE_OPEN_EXRESCODE,
			    NULL) != SQLITE_OK)
		return db_error(q->db, "open", err);
	sqlite3_busy_timeout(q->db, BUSY_WAIT_MS);
	r = configure(q->db, err);
	if (r == 0)
		r = inspect(q->db, &version, err);
	if (r == 0)
		r = migrate(q->db, version, err);
	return r == 0 ? prepare(q, err) : r;
}

int store_sqlite_open(const char *path, struct store **ret_store, struct err *err)
{
	struct sqlite_store *q = mem_alloc(sizeof(*q));
	int r;

	q->base.ops = &sqlite_ops;
	r = open_checked(q, path, err);
	if (r < 0) {
		sqlite_close(&q->base);
		return err_prefix(err, r, "%s", path);
	}
	*ret_store = &q->base;
	return 0;
}

void store_sqlite_on_statement(struct store *store, store_fault_fn *fn, void *arg)
{
	self(store)->fault = fn;
	self(store)->fault_arg = arg;
}

int store_sqlite_copy(struct store *from, struct store *to, struct err *err)
{
	sqlite3 *db = self(to)->db;
	sqlite3_backup *backup = sqlite3_backup_init(db, "main", self(from)->db, "main");
	int code = backup ? sqlite3_backup_step(backup, -1) : SQLITE_ERROR;

	if (sqlite3_backup_finish(backup) != SQLITE_OK || code != SQLITE_DONE)
		return db_error(db, "backup", err);
	return 0;
}
