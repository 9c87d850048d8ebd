/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's journal: what must survive a crash, a power cut and a reboot. One SQLite file (WAL,
 * synchronous=FULL: a commit is on the platter when it returns) behind this interface; blobs are
 * encoded by their owners (protocol/codec.h). Every function returns 0 or -EIO, -ENOSPC, -ENOMEM,
 * -EBADMSG with a sentence. Writes outside journal_begin/commit are transactions of their own.
 */
#pragma once

#include "base/err.h"
#include "covey/ids.h"

struct journal;

struct journal_node { /* the node's own row */
	uint64_t boot_epoch;	   /* counts the agent's starts, from the time of the first; 0: none yet */
	char boot_id[40];	   /* the kernel's, at the agent's last start */
	uint64_t epoch, generation; /* of the desired state that the records follow; 0, 0: none */
};

struct journal_extent { /* a verified chunk inside a blob on the disk */
	struct digest chunk;
	uint64_t offset, size;
};

/* ":memory:" keeps nothing (simulator). Checks the file (-EBADMSG: damaged, the sentence says how
 * to go on), migrates older versions, refuses newer ones (-ENOTSUP). */
int journal_open(const char *path, struct journal **ret_journal, struct err *err) COVEY_MUST_CHECK;
/* The same, for looking only: works beside a running agent. -ENOENT: never started. */
int journal_open_readonly(const char *path, struct journal **ret_journal,
			  struct err *err) COVEY_MUST_CHECK;
void journal_close(struct journal *journal);
COVEY_DEFINE_CLEANUP(struct journal *, journal_close)

/* Called before each write; a negative answer makes the write fail with it. For tests of disks that
 * are full. */
typedef int journal_fault_fn(void *arg);
void journal_on_write(struct journal *journal, journal_fault_fn *fn, void *arg);

/* All or nothing. A failed commit has rolled back; begin does not nest. */
int journal_begin(struct journal *journal, struct err *err) COVEY_MUST_CHECK;
int journal_commit(struct journal *journal, struct err *err) COVEY_MUST_CHECK;
void journal_abandon(struct journal *journal);
/* Commits that reached the disk since opening: an idle agent must not raise it. */
uint64_t journal_commits(const struct journal *journal);

int journal_load_node(struct journal *journal, struct journal_node *ret_node,
		      struct err *err) COVEY_MUST_CHECK;
int journal_save_boot(struct journal *journal, uint64_t boot_epoch, const char *boot_id,
		      struct err *err) COVEY_MUST_CHECK;
int journal_save_generation(struct journal *journal, uint64_t epoch, uint64_t generation,
			    struct err *err) COVEY_MUST_CHECK;

/* One durable record a deployment, its assignment included: together they are desired state. `each` stops when the callback returns non-zero, and returns
 * that; of all writes the callback may only drop the record that it was given. */
typedef int journal_record_cb(void *context, const char *deployment, const void *data, size_t size,
			      struct err *err);
int journal_save_record(struct journal *journal, const char *deployment, const void *data,
			size_t size, struct err *err) COVEY_MUST_CHECK;
int journal_drop_record(struct journal *journal, const char *deployment,
			struct err *err) COVEY_MUST_CHECK;
int journal_each_record(struct journal *journal, journal_record_cb *each, void *context,
			struct err *err) COVEY_MUST_CHECK;

/* How changes ended, for people: encoded struct outcome, oldest first, at most
 * JOURNAL_HISTORY_MAX a deployment are kept. */
enum { JOURNAL_HISTORY_MAX = 100 };
int journal_add_history(struct journal *journal, const char *deployment, const void *data,
			size_t size, struct err *err) COVEY_MUST_CHECK;
int journal_each_history(struct journal *journal, journal_record_cb *each, void *context,
			 struct err *err) COVEY_MUST_CHECK;

/* ---- observation records that the coordinator has not acknowledged (journal_observed.c) ---- */

struct journal_observation {
	uint64_t boot_epoch, sequence;
	bool sent; /* once it was, nobody may change it */
};

int journal_save_observation(struct journal *journal, const struct journal_observation *name,
			     const void *data, size_t size, struct err *err) COVEY_MUST_CHECK;
/* Up to and including that one, in the order of (boot epoch, sequence). */
int journal_mark_observations(struct journal *journal, uint64_t boot_epoch, uint64_t sequence,
			      struct err *err) COVEY_MUST_CHECK;
int journal_drop_observations(struct journal *journal, uint64_t boot_epoch, uint64_t sequence,
			      struct err *err) COVEY_MUST_CHECK;
int journal_drop_observation(struct journal *journal, uint64_t boot_epoch, uint64_t sequence,
			     struct err *err) COVEY_MUST_CHECK;
typedef int journal_observation_cb(void *context, const struct journal_observation *name,
				   const void *data, size_t size, struct err *err);
/* -ENOENT */
int journal_load_observation(struct journal *journal, uint64_t boot_epoch, uint64_t sequence,
			     journal_observation_cb *fn, void *context,
			     struct err *err) COVEY_MUST_CHECK;
int journal_each_observation(struct journal *journal, journal_observation_cb *each, void *context,
			     struct err *err) COVEY_MUST_CHECK; /* oldest first */

/* The baseline that a deployment was ordered to count against, where no release brought it. */
int journal_save_baseline(struct journal *journal, const char *deployment, const void *data,
			  size_t size, struct err *err) COVEY_MUST_CHECK;
int journal_drop_baseline(struct journal *journal, const char *deployment,
			  struct err *err) COVEY_MUST_CHECK;
int journal_each_baseline(struct journal *journal, journal_record_cb *each, void *context,
			  struct err *err) COVEY_MUST_CHECK;

/* ---- the chunk store's rows ---- */

/* Rows of one blob are added only after its bytes are durable. Adding a row twice is fine. */
int journal_add_extents(struct journal *journal, const struct digest *blob,
			const struct journal_extent *extents, size_t count,
			struct err *err) COVEY_MUST_CHECK;
int journal_drop_blob(struct journal *journal, const struct digest *blob,
		      struct err *err) COVEY_MUST_CHECK;
typedef int journal_extent_cb(void *context, const struct journal_extent *extent);
int journal_each_extent(struct journal *journal, const struct digest *blob,
			journal_extent_cb *each, void *context, struct err *err) COVEY_MUST_CHECK;
/* Some blob other than *not_blob (may be NULL) that holds the chunk, or -ENOENT. */
int journal_find_chunk(struct journal *journal, const struct digest *chunk,
		       const struct digest *not_blob, struct digest *ret_blob,
		       uint64_t *ret_offset, uint64_t *ret_size, struct err *err) COVEY_MUST_CHECK;
/* Releases on the disk, for the order of pruning: used now (or first seen now). */
int journal_touch_release(struct journal *journal, const struct digest *release, uint64_t unix_ms,
			  bool sealed, struct err *err) COVEY_MUST_CHECK;
int journal_drop_release(struct journal *journal, const struct digest *release,
			 struct err *err) COVEY_MUST_CHECK;
typedef int journal_release_cb(void *context, const struct digest *release, uint64_t used_unix_ms,
			       bool sealed);
int journal_each_release(struct journal *journal, journal_release_cb *each, void *context,
			 struct err *err) COVEY_MUST_CHECK; /* longest unused first */
