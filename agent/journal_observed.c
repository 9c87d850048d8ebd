/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of observations: few, small, and gone as soon as the coordinator has them. */
#include "agent/journal_private.h"

#include "base/mem.h"

static void bind_name(sqlite3_stmt *stmt, uint64_t boot_epoch, uint64_t sequence)
{
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)boot_epoch);
	sqlite3_bind_int64(stmt, 2, (sqlite3_int64)sequence);
}

int journal_save_observation(struct journal *j, const struct journal_observation *name,
			     const void *data, size_t size, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int r = journal_statement(j, STATEMENT_SAVE_OBSERVATION, &stmt, err);

	if (r < 0)
		return r;
	bind_name(stmt, name->boot_epoch, name->sequence);
	sqlite3_bind_int(stmt, 3, name->sent);
	sqlite3_bind_blob64(stmt, 4, data, size, SQLITE_STATIC);
	return journal_run(j, stmt, err);
}

static int run_name(struct journal *j, enum statement which, uint64_t boot_epoch,
		    uint64_t sequence, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int r = journal_statement(j, which, &stmt, err);

	if (r < 0)
		return r;
	bind_name(stmt, boot_epoch, sequence);
	return journal_run(j, stmt, err);
}

int journal_mark_observations(struct journal *j, uint64_t boot_epoch, uint64_t sequence,
			      struct err *err)
{
	return run_name(j, STATEMENT_MARK_OBSERVATIONS, boot_epoch, sequence, err);
}

int journal_drop_observations(struct journal *j, uint64_t boot_epoch, uint64_t sequence,
			      struct err *err)
{
	return run_name(j, STATEMENT_DROP_OBSERVATIONS, boot_epoch, sequence, err);
}

int journal_drop_observation(struct journal *j, uint64_t boot_epoch, uint64_t sequence,
			     struct err *err)
{
	return run_name(j, STATEMENT_DROP_OBSERVATION, boot_epoch, sequence, err);
}

static int call(sqlite3_stmt *stmt, journal_observation_cb *fn, void *context, struct err *err)
{
	struct journal_observation name = {
		.boot_epoch = (uint64_t)sqlite3_column_int64(stmt, 0),
		.sequence = (uint64_t)sqlite3_column_int64(stmt, 1),
		.sent = sqlite3_column_int(stmt, 2) != 0,
	};

	return fn(context, &name, sqlite3_column_blob(stmt, 3),
		  (size_t)sqlite3_column_bytes(stmt, 3), err);
}

static int walk(struct journal *j, sqlite3_stmt *stmt, journal_observation_cb *fn, void *context,
		size_t *ret_rows, struct err *err)
{
	int rc = SQLITE_DONE, r = 0;

	*ret_rows = 0;
	while (r == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		++*ret_rows;
		r = call(stmt, fn, context, err);
	}
	if (r == 0 && rc != SQLITE_DONE)
		r = journal_fail(j, err, "read");
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return r;
}

int journal_load_observation(struct journal *j, uint64_t boot_epoch, uint64_t sequence,
			     journal_observation_cb *fn, void *context, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	size_t rows = 0;
	int r = journal_statement(j, STATEMENT_LOAD_OBSERVATION, &stmt, err);

	if (r < 0)
		return r;
	bind_name(stmt, boot_epoch, sequence);
	r = walk(j, stmt, fn, context, &rows, err);
	return r == 0 && rows == 0 ? err_set(err, -ENOENT, "journal: no such observation") : r;
}

int journal_each_observation(struct journal *j, journal_observation_cb *each, void *context,
			     struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	size_t rows;
	int r = journal_statement(j, STATEMENT_EACH_OBSERVATION, &stmt, err);

	return r < 0 ? r : walk(j, stmt, each, context, &rows, err);
}

int journal_save_baseline(struct journal *j, const char *deployment, const void *data, size_t size,
			  struct err *err)
{
	return journal_run_named(j, STATEMENT_SAVE_BASELINE, deployment, data, size, err);
}

int journal_drop_baseline(struct journal *j, const char *deployment, struct err *err)
{
	return journal_run_named(j, STATEMENT_DROP_BASELINE, deployment, NULL, 0, err);
}

int journal_each_baseline(struct journal *j, journal_record_cb *each, void *context,
			  struct err *err)
{
	return journal_each_named(j, STATEMENT_EACH_BASELINE, each, context, err);
}
