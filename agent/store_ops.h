/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunk store as the shell sees it. One release is "staged" in four steps: its signed manifest,
 * the indices of its blobs, their chunks, the seal. Errors: -ENOSPC, -EIO, -EBADMSG (the bytes are
 * not what the digest says), -EKEYREJECTED (manifest not signed as the root document wants).
 */
#pragma once

#include "agent/helper/api.h"
#include "base/err.h"
#include "covey/message.h"
#include "covey/release.h"

struct wanted_object { /* something that a release needs before it is complete on disk */
	enum object_kind kind; /* MANIFEST for the signed envelope; CHUNK for chunks and indices */
	struct digest digest;
	uint64_t size; /* of the object; 0 with MANIFEST, DELTAS, SET: not known */
};

struct stage_progress {
	bool manifest;			  /* the signed manifest is here and was verified */
	bool complete;			  /* every chunk is here: seal() comes next */
	bool looked; /* where each chunk is, is known: what was not listed is here */
	uint64_t bytes_done, bytes_total; /* of content; 0 before the manifest is here */
};

struct chunk_store_ops {
	void *context; /* first argument of every function */
	/* Lists up to max objects that are missing: first the manifest, then indices, then DELTAS
	 * (whether there are any), then a SET if there is one, then chunks, never mixed. A set is
	 * for the store like a release of its own, which comes before the one that it is for. What
	 * another blob on the disk already holds is copied on the way and not listed. ret_count 0
	 * and not complete: call again (it copies in bounded steps). Objects given to put() that are
	 * not on the platter yet count as here. */
	int (*missing)(void *context, const struct digest *release, struct wanted_object *ret_items,
		       size_t max, size_t *ret_count, struct stage_progress *ret_progress,
		       struct err *err);
	/* Verifies data against the digest and keeps it for `release`. DELTAS: data is the set's
	 * digest. DELTAS and SET without data: there is none, or it is given up. -ESTALE: an object
	 * with deltas is done with, but not all of it was of use. */
	int (*put)(void *context, const struct digest *release, enum object_kind kind,
		   const struct digest *digest, const void *data, size_t size, struct err *err);
	/* All chunks of the release, in the order of its manifest and indices, with repetitions; free
	 * *ret_chunks. -ENOENT: the manifest or an index is not here. */
	int (*chunks)(void *context, const struct digest *release, struct chunk_ref **ret_chunks,
		      size_t *ret_count, struct err *err);
	/* Reads one chunk of the release, of exactly this size, from where it lies: written, not
	 * verified again. -ENOENT: not here. */
	int (*read)(void *context, const struct digest *release, const struct digest *chunk,
		    void *buffer, size_t size, struct err *err);
	/* Verifies whole contents, makes them durable under their final names. One bounded step a
	 * call: 0 done, -EAGAIN call again, -EBADMSG: a content was wrong and is forgotten. */
	int (*seal)(void *context, const struct digest *release, struct err *err);
	/* 0 and the manifest of a release (release_free()), or -ENOENT. */
	int (*release)(void *context, const struct digest *release, struct release *ret_release,
		       struct err *err);
	/* True when the release lies sealed on the disk. */
	bool (*sealed)(void *context, const struct digest *release);
	/* The helper found the release damaged on the disk (EBADMSG): it counts as not sealed until
	 * seal() has read all of it again; what is wrong is fetched anew. */
	void (*suspect)(void *context, const struct digest *release);
	/* Keeps these releases; others go, oldest first, while the quota or the free space asks.
	 * ret_dropped: releases went, whose unpacked forms the helper may forget. */
	int (*prune)(void *context, const struct digest_item *keep, size_t keep_count,
		     bool *ret_dropped, struct err *err);
	/* Forgets buffers and open files when no fetch is under way. */
	void (*idle)(void *context);
};
