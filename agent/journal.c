/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal is SQLite and nothing around it: WAL so that a commit is one sequential write and
 * one fsync (synchronous=FULL), a page cache of a few hundred KiB, no mmap. Statements are
 * prepared when first used and kept: STATEMENTS is their one list. The schema's version lives in
 * user_version; MIGRATIONS[i] lifts version i to i + 1, each in a transaction of its own. A file
 * that quick_check finds damaged is refused with a sentence that says what a person can do: the
 * agent never guesses what it had decided.
 */
#include "agent/journal_private.h"

#include "base/mem.h"
#include "base/str.h"

#include <assert.h>
#include <sys/stat.h>

#define X(name, sql) [STATEMENT_##name] = sql,
static const char *const STATEMENT_SQL[] = {STATEMENTS(X)};
#undef X

static const char *const MIGRATIONS[] = {
	"CREATE TABLE node (one INTEGER PRIMARY KEY CHECK (one = 1), boot_epoch INTEGER NOT NULL,"
	" boot_id TEXT NOT NULL, epoch INTEGER NOT NULL, generation INTEGER NOT NULL);"
	"INSERT INTO node VALUES (1, 0, '', 0, 0);"
	"CREATE TABLE deployments (name TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE history (id INTEGER PRIMARY KEY AUTOINCREMENT, deployment TEXT NOT NULL,"
	" outcome BLOB NOT NULL);"
	"CREATE INDEX history_deployment ON history (deployment, id);"
	"CREATE TABLE blobs (id INTEGER PRIMARY KEY, content BLOB NOT NULL UNIQUE);"
	"CREATE TABLE extents (blob INTEGER NOT NULL, offset INTEGER NOT NULL,"
	" size INTEGER NOT NULL, chunk BLOB NOT NULL, PRIMARY KEY (blob, offset)) WITHOUT ROWID;"
	"CREATE INDEX extents_chunk ON extents (chunk);"
	"CREATE TABLE releases (digest BLOB PRIMARY KEY, used INTEGER NOT NULL,"
	" sealed INTEGER NOT NULL) WITHOUT ROWID;",
	"CREATE TABLE observations (boot_epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,"
	" sent INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (boot_epoch, sequence));"
	"CREATE TABLE baselines (deployment TEXT PRIMARY KEY, baseline BLOB NOT NULL);",
};

int journal_fail(struct journal *j, struct err *err, const char *what)
{
	int code = sqlite3_errcode(j->db), primary = code & 0xff;
	int error = primary == SQLITE_FULL			     ? -ENOSPC
		    : primary == SQLITE_NOMEM			     ? -ENOMEM
		    : primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB ? -EBADMSG
		    : primary == SQLITE_BUSY || primary == SQLITE_LOCKED    ? -EBUSY
									    : -EIO;

	return err_set(err, error, "journal: %s: %s", what, sqlite3_errmsg(j->db));
}

static int pragma_text(struct journal *j, const char *sql, char dst[128])
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(j->db, sql, -1, &stmt, NULL);

	dst[0] = '\0';
	if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		const unsigned char *text = sqlite3_column_text(stmt, 0);

		str_cut(dst, 128, text ? (const char *)text : "");
	}
	sqlite3_finalize(stmt);
	return rc == SQLITE_ROW ? 0 : -EIO;
}

static int exec(struct journal *j, const char *sql, struct err *err)
{
	if (sqlite3_exec(j->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return journal_fail(j, err, "open");
	return 0;
}

static int schema_version(struct journal *j, uint64_t *ret_version, struct err *err)
{
	char text[128];

	if (pragma_text(j, "PRAGMA user_version", text) < 0)
		return journal_fail(j, err, "read the version");
	if (str_parse_u64(text, 1 << 20, ret_version) < 0)
		return err_set(err, -EBADMSG, "journal: impossible schema version '%s'", text);
	return 0;
}

static int migrate(struct journal *j, const char *path, struct err *err)
{
	uint64_t version;
	int r = schema_version(j, &version, err);

	if (r < 0)
		return r;
	if (version > ARRAY_SIZE(MIGRATIONS))
		return err_set(err, -ENOTSUP,
			       "journal %s was written by a newer covey-agent (schema %llu, this "
			       "one knows %zu): install the newer version again",
			       path, (unsigned long long)version, ARRAY_SIZE(MIGRATIONS));
	for (; version < ARRAY_SIZE(MIGRATIONS); version++) {
		AUTO_FREE char *sql = mem_format("BEGIN IMMEDIATE; %s PRAGMA user_version = %llu; "
						 "COMMIT;",
						 MIGRATIONS[version],
						 (unsigned long long)version + 1);

		r = exec(j, sql, err);
		if (r < 0) {
			sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL);
			return r;
		}
	}
	return 0;
}

static int check(struct journal *j, const char *path, struct err *err)
{
	char text[128];

	if (pragma_text(j, "PRAGMA quick_check(1)", text) < 0)
		STR_CUT(text, sqlite3_errmsg(j->db));
	if (str_equal(text, "ok"))
		return 0;
	return err_set(err, -EBADMSG,
		       "journal %s is damaged (%s): move it away and start the agent again; the "
		       "coordinator then sends its desired state anew and what runs is adopted",
		       path, text);
}

static int count_commit(void *context)
{
	struct journal *j = context;

	j->commits++;
	return 0;
}

static int open_file(const char *path, int flags, struct journal **ret_journal, struct err *err)
{
	struct journal *j = mem_alloc(sizeof(*j));

	if (sqlite3_open_v2(path, &j->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		int r = err_set(err, -EIO, "journal %s: %s", path,
				j->db ? sqlite3_errmsg(j->db) : "out of memory");

		journal_close(j);
		return r;
	}
	sqlite3_extended_result_codes(j->db, 1);
	sqlite3_busy_timeout(j->db, 2000);
	*ret_journal = j;
	return 0;
}

int journal_open(const char *path, struct journal **ret_journal, struct err *err)
{
	COVEY_CLEANUP(journal_close_p) struct journal *j = NULL;
	int r = open_file(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &j, err);

	if (r < 0)
		return r;
	r = check(j, path, err);
	if (r < 0)
		return r;
	r = exec(j,
		 "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA mmap_size = 0;"
		 "PRAGMA cache_size = -256; PRAGMA temp_store = MEMORY;"
		 "PRAGMA journal_size_limit = 1048576; PRAGMA wal_autocheckpoint = 256;",
		 err);
	if (r < 0)
		return r;
	r = migrate(j, path, err);
	if (r < 0)
		return r;
	sqlite3_commit_hook(j->db, count_commit, j);
	*ret_journal = TAKE_PTR(j);
	return 0;
}

int journal_open_readonly(const char *path, struct journal **ret_journal, struct err *err)
{
	COVEY_CLEANUP(journal_close_p) struct journal *j = NULL;
	uint64_t version;
	struct stat st;
	int r;

	if (stat(path, &st) < 0)
		return err_errno(err, -errno, "journal %s", path);
	r = open_file(path, SQLITE_OPEN_READONLY, &j, err);
	if (r < 0)
		return r;
	r = schema_version(j, &version, err);
	if (r < 0)
		return r;
	if (version != ARRAY_SIZE(MIGRATIONS))
		return err_set(err, -ENOTSUP, "journal %s has schema %llu, this program reads %zu",
			       path, (unsigned long long)version, ARRAY_SIZE(MIGRATIONS));
	*ret_journal = TAKE_PTR(j);
	return 0;
}

void journal_close(struct journal *j)
{
	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		sqlite3_finalize(j->statements[i]);
	sqlite3_close(j->db);
	free(j);
}

/* A statement ready for its bindings. */
int journal_statement(struct journal *j, enum statement which, sqlite3_stmt **ret_stmt,
		     struct err *err)
{
	if (!j->statements[which] &&
	    sqlite3_prepare_v3(j->db, STATEMENT_SQL[which], -1, SQLITE_PREPARE_PERSISTENT,
			       &j->statements[which], NULL) != SQLITE_OK)
		return journal_fail(j, err, STATEMENT_SQL[which]);
	*ret_stmt = j->statements[which];
	return 0;
}

/* Runs a statement that returns no rows, and makes it ready for the next time. */
int journal_run(struct journal *j, sqlite3_stmt *stmt, struct err *err)
{
	int r = j->fault && stmt != j->statements[STATEMENT_ROLLBACK] ? j->fault(j->fault_arg) : 0;
	int rc = r < 0 ? SQLITE_DONE : sqlite3_step(stmt);

	if (r < 0)
		err_set(err, r, "journal: write: injected fault");
	if (rc != SQLITE_DONE && rc != SQLITE_ROW)
		r = journal_fail(j, err, "write");
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return r;
}

/* digest as ?1; NULL: the statement has none. */
static int run_digest(struct journal *j, enum statement which, const struct digest *digest,
		      struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int r = journal_statement(j, which, &stmt, err);

	if (r < 0)
		return r;
	if (digest)
		sqlite3_bind_blob(stmt, 1, digest->bytes, DIGEST_SIZE, SQLITE_STATIC);
	return journal_run(j, stmt, err);
}

int journal_begin(struct journal *j, struct err *err)
{
	int r;

	assert(!j->open_transaction);
	r = run_digest(j, STATEMENT_BEGIN, NULL, err);
	if (r == 0)
		j->open_transaction = true;
	return r;
}

int journal_commit(struct journal *j, struct err *err)
{
	int r;

	assert(j->open_transaction);
	r = run_digest(j, STATEMENT_COMMIT, NULL, err);
	if (r < 0)
		journal_abandon(j);
	j->open_transaction = false;
	return r;
}

void journal_abandon(struct journal *j)
{
	/* SQLite has rolled back by itself after some errors: then there is nothing left to do. */
	if (j->open_transaction && !sqlite3_get_autocommit(j->db))
		(void)!run_digest(j, STATEMENT_ROLLBACK, NULL, NULL);
	j->open_transaction = false;
}

void journal_on_write(struct journal *j, journal_fault_fn *fn, void *arg)
{
	j->fault = fn;
	j->fault_arg = arg;
}

uint64_t journal_commits(const struct journal *j)
{
	return j->commits;
}

int journal_load_node(struct journal *j, struct journal_node *ret_node, struct err *err)
{
	struct journal_node node = {0};
	sqlite3_stmt *stmt = NULL;
	int r = journal_statement(j, STATEMENT_LOAD_NODE, &stmt, err);

	if (r < 0)
		return r;
	if (sqlite3_step(stmt) != SQLITE_ROW) {
		r = journal_fail(j, err, "read the node's row");
	} else {
		node.boot_epoch = (uint64_t)sqlite3_column_int64(stmt, 0);
		STR_CUT(node.boot_id, (const char *)sqlite3_column_text(stmt, 1)); /* NOT NULL */
		node.epoch = (uint64_t)sqlite3_column_int64(stmt, 2);
		node.generation = (uint64_t)sqlite3_column_int64(stmt, 3);
		*ret_node = node;
	}
	sqlite3_reset(stmt);
	return r;
}

int journal_save_boot(struct journal *j, uint64_t boot_epoch, const char *boot_id, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int r = journal_statement(j, STATEMENT_SAVE_BOOT, &stmt, err);

	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)boot_epoch);
	sqlite3_bind_text(stmt, 2, boot_id, -1, SQLITE_STATIC);
	return journal_run(j, stmt, err);
}

int journal_save_generation(struct journal *j, uint64_t epoch, uint64_t generation, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int r = journal_statement(j, STATEMENT_SAVE_GENERATION, &stmt, err);

	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)epoch);
	sqlite3_bind_int64(stmt, 2, (sqlite3_int64)generation);
	return journal_run(j, stmt, err);
}

/* name and blob as ?1 and ?2 */
int journal_run_named(struct journal *j, enum statement which, const char *name, const void *data,
		     size_t size, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int r = journal_statement(j, which, &stmt, err);

	if (r < 0)
		return r;
	sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	if (data)
		sqlite3_bind_blob64(stmt, 2, data, size, SQLITE_STATIC);
	return journal_run(j, stmt, err);
}

int journal_save_record(struct journal *j, const char *deployment, const void *data, size_t size,
			struct err *err)
{
	return journal_run_named(j, STATEMENT_SAVE_RECORD, deployment, data, size, err);
}

int journal_drop_record(struct journal *j, const char *deployment, struct err *err)
{
	return journal_run_named(j, STATEMENT_DROP_RECORD, deployment, NULL, 0, err);
}

int journal_each_named(struct journal *j, enum statement which, journal_record_cb *each,
		      void *context, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int rc = SQLITE_DONE, r = journal_statement(j, which, &stmt, err);

	while (r == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
		r = each(context, (const char *)sqlite3_column_text(stmt, 0),
			 sqlite3_column_blob(stmt, 1), (size_t)sqlite3_column_bytes(stmt, 1), err);
	if (r == 0 && rc != SQLITE_DONE)
		r = journal_fail(j, err, "read");
	sqlite3_reset(stmt); /* NULL is fine */
	return r;
}

int journal_each_record(struct journal *j, journal_record_cb *each, void *context, struct err *err)
{
	return journal_each_named(j, STATEMENT_EACH_RECORD, each, context, err);
}

int journal_add_history(struct journal *j, const char *deployment, const void *data, size_t size,
			struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int r = journal_run_named(j, STATEMENT_ADD_HISTORY, deployment, data, size, err);

	if (r == 0)
		r = journal_statement(j, STATEMENT_CUT_HISTORY, &stmt, err);
	if (r < 0)
		return r;
	sqlite3_bind_text(stmt, 1, deployment, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 2, JOURNAL_HISTORY_MAX);
	return journal_run(j, stmt, err);
}

int journal_each_history(struct journal *j, journal_record_cb *each, void *context, struct err *err)
{
	return journal_each_named(j, STATEMENT_EACH_HISTORY, each, context, err);
}

static int add_extent(struct journal *j, const struct digest *blob,
		      const struct journal_extent *extent, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int r = journal_statement(j, STATEMENT_ADD_EXTENT, &stmt, err);

	if (r < 0)
		return r;
	sqlite3_bind_blob(stmt, 1, blob->bytes, DIGEST_SIZE, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 2, (sqlite3_int64)extent->offset);
	sqlite3_bind_int64(stmt, 3, (sqlite3_int64)extent->size);
	sqlite3_bind_blob(stmt, 4, extent->chunk.bytes, DIGEST_SIZE, SQLITE_STATIC);
	return journal_run(j, stmt, err);
}

/* A transaction of its own where the caller has none. */
static int begin_own(struct journal *j, bool *ret_own, struct err *err)
{
	*ret_own = !j->open_transaction;
	return *ret_own ? journal_begin(j, err) : 0;
}

static int end_own(struct journal *j, bool own, int r, struct err *err)
{
	if (!own)
		return r;
	if (r < 0) {
		journal_abandon(j);
		return r;
	}
	return journal_commit(j, err);
}

int journal_add_extents(struct journal *j, const struct digest *blob,
			const struct journal_extent *extents, size_t count, struct err *err)
{
	bool own;
	int r = begin_own(j, &own, err);

	if (r < 0)
		return r;
	r = run_digest(j, STATEMENT_ADD_BLOB, blob, err);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = add_extent(j, blob, &extents[i], err);
	return end_own(j, own, r, err);
}

int journal_drop_blob(struct journal *j, const struct digest *blob, struct err *err)
{
	bool own;
	int r = begin_own(j, &own, err);

	if (r < 0)
		return r;
	r = run_digest(j, STATEMENT_DROP_EXTENTS, blob, err);
	if (r == 0)
		r = run_digest(j, STATEMENT_DROP_BLOB, blob, err);
	return end_own(j, own, r, err);
}

static int column_digest(sqlite3_stmt *stmt, int column, struct digest *ret_digest)
{
	if (sqlite3_column_bytes(stmt, column) != DIGEST_SIZE)
		return -EBADMSG;
	memcpy(ret_digest->bytes, sqlite3_column_blob(stmt, column), DIGEST_SIZE);
	return 0;
}

int journal_each_extent(struct journal *j, const struct digest *blob, journal_extent_cb *each,
			void *context, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int rc = SQLITE_DONE, r = journal_statement(j, STATEMENT_EACH_EXTENT, &stmt, err);

	if (r < 0)
		return r;
	sqlite3_bind_blob(stmt, 1, blob->bytes, DIGEST_SIZE, SQLITE_STATIC);
	while (r == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct journal_extent extent = {
			.offset = (uint64_t)sqlite3_column_int64(stmt, 1),
			.size = (uint64_t)sqlite3_column_int64(stmt, 2),
		};

		r = column_digest(stmt, 0, &extent.chunk);
		if (r == 0)
			r = each(context, &extent);
	}
	if (r == 0 && rc != SQLITE_DONE)
		r = journal_fail(j, err, "read extents");
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return r;
}

int journal_find_chunk(struct journal *j, const struct digest *chunk, const struct digest *not_blob,
		       struct digest *ret_blob, uint64_t *ret_offset, uint64_t *ret_size,
		       struct err *err)
{
	static const struct digest none;
	sqlite3_stmt *stmt = NULL;
	int rc, r = journal_statement(j, STATEMENT_FIND_CHUNK, &stmt, err);

	if (r < 0)
		return r;
	sqlite3_bind_blob(stmt, 1, chunk->bytes, DIGEST_SIZE, SQLITE_STATIC);
	sqlite3_bind_blob(stmt, 2, (not_blob ? not_blob : &none)->bytes, DIGEST_SIZE,
			  SQLITE_STATIC);
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		r = column_digest(stmt, 0, ret_blob);
		*ret_offset = (uint64_t)sqlite3_column_int64(stmt, 1);
		*ret_size = (uint64_t)sqlite3_column_int64(stmt, 2);
	} else {
		r = rc == SQLITE_DONE ? -ENOENT : journal_fail(j, err, "look for a chunk");
	}
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return r;
}

int journal_touch_release(struct journal *j, const struct digest *release, uint64_t unix_ms,
			  bool sealed, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int r = journal_statement(j, STATEMENT_TOUCH_RELEASE, &stmt, err);

	if (r < 0)
		return r;
	sqlite3_bind_blob(stmt, 1, release->bytes, DIGEST_SIZE, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 2, (sqlite3_int64)unix_ms);
	sqlite3_bind_int(stmt, 3, sealed);
	return journal_run(j, stmt, err);
}

int journal_drop_release(struct journal *j, const struct digest *release, struct err *err)
{
	return run_digest(j, STATEMENT_DROP_RELEASE, release, err);
}

int journal_each_release(struct journal *j, journal_release_cb *each, void *context,
			 struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int rc = SQLITE_DONE, r = journal_statement(j, STATEMENT_EACH_RELEASE, &stmt, err);

	while (r == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct digest digest;

		r = column_digest(stmt, 0, &digest);
		if (r == 0)
			r = each(context, &digest, (uint64_t)sqlite3_column_int64(stmt, 1),
				 sqlite3_column_int(stmt, 2) != 0);
	}
	if (r == 0 && rc != SQLITE_DONE)
		r = journal_fail(j, err, "read releases");
	sqlite3_reset(stmt);
	return r;
}
