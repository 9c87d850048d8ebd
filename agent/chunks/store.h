/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's content on disk. Blobs (image layers, model files) are assembled in place out of
 * verified chunks, so no byte is stored twice and nothing is copied at the end:
 *
 *   <dir>/parts/<content hex>.part     being assembled, sparse
 *   <dir>/blobs/<content hex>          complete; its whole content digest was verified
 *   <dir>/releases/<hex>.manifest      signed manifests
 *   <dir>/objects/<hex>                chunk indices, checked again whenever they are read
 *
 * Which chunk lies where is in the journal, written only after the bytes are on the platter.
 * Memory is bounded by one chunk and the indices of the blobs that are open.
 */
#pragma once

#include "agent/journal.h"
#include "agent/store_ops.h"
#include "protocol/manifest.h"

struct chunk_store;

struct chunk_store_config {
	const char *dir; /* made with mode 0755 where it is missing */
	struct journal *journal;	  /* borrowed */
	const struct root_document *root; /* borrowed: whom manifests must be signed by */
	uint64_t quota_bytes;		  /* releases beyond the kept ones go above it; 0: none */
	uint32_t free_percent;		  /* ... and while less than this is free */
	uint64_t (*unix_ms)(void);
};

int chunk_store_open(const struct chunk_store_config *config, struct chunk_store **ret_store,
		     struct err *err) COVEY_MUST_CHECK;
void chunk_store_close(struct chunk_store *store);
COVEY_DEFINE_CLEANUP(struct chunk_store *, chunk_store_close)

/* The table that the shell works with; what each function does is said in agent/store_ops.h. */
struct chunk_store_ops chunk_store_ops(struct chunk_store *store);


/* The releases that lie sealed here, but for one, the latest used first: what deltas may start from.
 * Returns how many. */
size_t chunk_store_held(struct chunk_store *store, const struct digest *not_this,
			struct held_release ret_held[LIMIT_HELD]);

uint64_t chunk_store_free_bytes(const struct chunk_store *store);
