/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the journal alone (journal.c, journal_observed.c): its statements and how they are run. */
#pragma once

#include "agent/journal.h"

#include <sqlite3.h>

#define STATEMENTS(X)                                                                              \
	X(BEGIN, "BEGIN IMMEDIATE")                                                                \
	X(COMMIT, "COMMIT")                                                                        \
	X(ROLLBACK, "ROLLBACK")                                                                    \
	X(LOAD_NODE, "SELECT boot_epoch, boot_id, epoch, generation FROM node")           \
	X(SAVE_BOOT, "UPDATE node SET boot_epoch = ?1, boot_id = ?2")                              \
	X(SAVE_GENERATION, "UPDATE node SET epoch = ?1, generation = ?2")                          \
	X(SAVE_RECORD, "INSERT INTO deployments (name, record) VALUES (?1, ?2) "                   \
		       "ON CONFLICT (name) DO UPDATE SET record = excluded.record")                \
	X(DROP_RECORD, "DELETE FROM deployments WHERE name = ?1")                                  \
	X(EACH_RECORD, "SELECT name, record FROM deployments ORDER BY name")                       \
	X(ADD_HISTORY, "INSERT INTO history (deployment, outcome) VALUES (?1, ?2)")                \
	X(CUT_HISTORY, "DELETE FROM history WHERE deployment = ?1 AND id <= (SELECT id FROM "      \
		       "history WHERE deployment = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)")        \
	X(EACH_HISTORY, "SELECT deployment, outcome FROM history ORDER BY id")                     \
	X(ADD_BLOB, "INSERT OR IGNORE INTO blobs (content) VALUES (?1)")                           \
	X(ADD_EXTENT, "INSERT OR IGNORE INTO extents (blob, offset, size, chunk) VALUES "          \
		      "((SELECT id FROM blobs WHERE content = ?1), ?2, ?3, ?4)")                   \
	X(DROP_EXTENTS, "DELETE FROM extents WHERE blob = (SELECT id FROM blobs WHERE "            \
			"content = ?1)")                                                           \
	X(DROP_BLOB, "DELETE FROM blobs WHERE content = ?1")                                       \
	X(EACH_EXTENT, "SELECT chunk, offset, size FROM extents WHERE blob = (SELECT id FROM "     \
		       "blobs WHERE content = ?1) ORDER BY offset")                                \
	X(FIND_CHUNK, "SELECT b.content, e.offset, e.size FROM extents e JOIN blobs b ON "         \
		      "b.id = e.blob WHERE e.chunk = ?1 AND b.content != ?2 LIMIT 1")              \
	X(TOUCH_RELEASE, "INSERT INTO releases (digest, used, sealed) VALUES (?1, ?2, ?3) "        \
			 "ON CONFLICT (digest) DO UPDATE SET used = excluded.used, "               \
			 "sealed = excluded.sealed")                                               \
	X(DROP_RELEASE, "DELETE FROM releases WHERE digest = ?1")                                  \
	X(EACH_RELEASE, "SELECT digest, used, sealed FROM releases ORDER BY used, digest")                        \
	X(SAVE_OBSERVATION, "INSERT OR REPLACE INTO observations (boot_epoch, sequence, sent, "    \
			    "record) VALUES (?1, ?2, ?3, ?4)")                                     \
	X(MARK_OBSERVATIONS, "UPDATE observations SET sent = 1 WHERE (boot_epoch, sequence) <= "   \
			     "(?1, ?2)")                                                           \
	X(DROP_OBSERVATIONS, "DELETE FROM observations WHERE (boot_epoch, sequence) <= (?1, ?2)")  \
	X(DROP_OBSERVATION, "DELETE FROM observations WHERE boot_epoch = ?1 AND sequence = ?2")    \
	X(LOAD_OBSERVATION, "SELECT boot_epoch, sequence, sent, record FROM observations "         \
			    "WHERE boot_epoch = ?1 AND sequence = ?2")                             \
	X(EACH_OBSERVATION, "SELECT boot_epoch, sequence, sent, record FROM observations "         \
			    "ORDER BY boot_epoch, sequence")                                       \
	X(SAVE_BASELINE, "INSERT OR REPLACE INTO baselines (deployment, baseline) "                \
			 "VALUES (?1, ?2)")                                                        \
	X(DROP_BASELINE, "DELETE FROM baselines WHERE deployment = ?1")                            \
	X(EACH_BASELINE, "SELECT deployment, baseline FROM baselines ORDER BY deployment")

#define X(name, sql) STATEMENT_##name,
enum statement { STATEMENTS(X) STATEMENT_COUNT };
#undef X

struct journal {
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENT_COUNT];
	bool open_transaction;
	uint64_t commits;
	journal_fault_fn *fault;
	void *fault_arg;
};

int journal_fail(struct journal *j, struct err *err, const char *what);
/* A statement ready for its bindings. */
int journal_statement(struct journal *j, enum statement which, sqlite3_stmt **ret_stmt,
		      struct err *err);
/* Runs a statement that returns no rows, and makes it ready for the next time. */
int journal_run(struct journal *j, sqlite3_stmt *stmt, struct err *err);
/* name and blob as ?1 and ?2 */
int journal_run_named(struct journal *j, enum statement which, const char *name, const void *data,
		      size_t size, struct err *err);
int journal_each_named(struct journal *j, enum statement which, journal_record_cb *each,
		       void *context, struct err *err);
