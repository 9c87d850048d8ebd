/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One release on its way to the disk (internal to the chunk store): which indices and chunks it
 * still lacks, where an arriving chunk belongs, and the steps from the last chunk to final names.
 */
#pragma once

#include "agent/chunks/store.h"
#include "agent/chunks/files.h"
#include "protocol/digest.h"

enum blob_phase {
	BLOB_INDEX,    /* its chunk index is not here */
	BLOB_CLOSED,   /* index on disk, not loaded */
	BLOB_OPEN,     /* being assembled */
	BLOB_WHOLE,    /* every chunk durable, some from an earlier run: to be read once more */
	BLOB_SUSPECT,  /* has its final name, but is to be verified once more */
	BLOB_VERIFIED, /* every chunk verified and durable, still under its temporary name */
	BLOB_DONE,
};

enum chunk_state { CHUNK_UNKNOWN, CHUNK_MISSING, CHUNK_WRITTEN, CHUNK_DURABLE };

struct assembly { /* what only an open blob needs */
	struct chunk_index index;
	uint64_t *offsets;
	uint8_t *states; /* enum chunk_state */
	size_t first_missing; /* none MISSING before it */
	size_t first_unknown; /* none UNKNOWN before it */
	size_t left;	 /* chunks that are UNKNOWN or MISSING */
	size_t written;	 /* chunks in CHUNK_WRITTEN */
	bool resumed; /* the part was there before: its bytes may be good */
};

struct stage_blob {
	const struct release_blob *of;
	enum blob_phase phase;
	struct assembly *assembly; /* BLOB_OPEN */
};

enum stage_deltas {
	DELTAS_UNASKED,
	DELTAS_WAIT, /* for the set */
	DELTAS_OVER, /* there are none, or all came */
};

struct stage {
	struct stage *next;
	const struct store_files *files;
	struct journal *journal;
	struct digest id; /* of the release */
	struct release release;
	struct stage_blob *blobs;
	size_t first_open; /* no blob before it lacks anything */
	enum stage_deltas deltas;
	struct digest set; /* DELTAS_WAIT */
	uint64_t bytes_done, bytes_total;
	uint64_t unflushed_bytes, flushed_ms;
	bool new_parts; /* files were made whose names are not on the platter yet */
	size_t hash_blob; /* seal: which blob is being read, and how far */
	uint64_t hash_offset;
	struct digest_state hash;
};

/* Takes the release over. Looks at the disk for what is there; suspect: blobs that are complete are
 * to be verified once more. */
struct stage *stage_create(const struct store_files *files, struct journal *journal,
			   const struct digest *id, struct release *release, bool suspect);
void stage_free(struct stage *stage);

int stage_missing(struct stage *stage, struct wanted_object *ret_items, size_t max,
		  size_t *ret_count, struct stage_progress *ret_progress,
		  struct err *err) COVEY_MUST_CHECK;
/* data's digest was verified already. */
int stage_put(struct stage *stage, const struct digest *digest, const void *data, size_t size,
	      struct err *err) COVEY_MUST_CHECK;
/* stage_index.c: an index that arrives serves every blob that names it; anything else is left
 * alone. -EPROTO: it does not fit its blob. */
int stage_take_index(struct stage *stage, const struct digest *digest, const void *data,
		     size_t size, struct err *err) COVEY_MUST_CHECK;
/* From the disk. -ENOENT: not there, or damaged (and removed). */
int stage_load_index(const struct store_files *files, const struct release_blob *of,
		     struct chunk_index *ret_index, struct err *err) COVEY_MUST_CHECK;
/* stage_find.c: is chunk i of the assembly in its part, from an earlier run? buffer: LIMIT_CHUNK. */
bool stage_find_in_part(const struct assembly *a, size_t i, int part, void *buffer);
/* Copies the chunk from another blob on the disk. -ENOENT, -ENOSPC, -EIO. */
int stage_find_elsewhere(struct stage *stage, const struct assembly *a, size_t i, int part,
			 void *buffer, struct err *err) COVEY_MUST_CHECK;
/* A chunk of a blob that is being assembled. -ENOENT: not written, or not as long. */
int stage_read(const struct stage *stage, const struct digest *chunk, void *buffer,
	       size_t size) COVEY_MUST_CHECK;
/* Bytes to the platter, then rows into the journal. */
int stage_flush(struct stage *stage, struct err *err) COVEY_MUST_CHECK;
int stage_seal_step(struct stage *stage, struct err *err) COVEY_MUST_CHECK;
bool stage_is_complete(const struct stage *stage);
