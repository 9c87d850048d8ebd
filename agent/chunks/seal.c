/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the last chunk to final names. The digest of each chunk was right before the chunk was
 * written. What was put together in this run would be read from the page cache, and nothing is
 * learned from that: only what an earlier run left is read once more here, and everything by the
 * helper before it is used (agent/helper/seal.c). A blob gets its final name by rename, after its
 * bytes are durable, followed by an fsync of the folders. A crash leaves a blob under one name or
 * the other, never half a blob under the final one.
 */
#include "agent/chunks/stage.h"

#include "base/clock.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { STEP_BYTES = 8 << 20, STEP_RENAMES = 1024 };

/* Where the blob's bytes are. */
static int folder_of(const struct stage *stage, const struct stage_blob *blob,
		     char name[STORE_NAME_MAX])
{
	bool named = blob->phase == BLOB_SUSPECT;

	store_name(name, &blob->of->content, named ? "" : ".part");
	return named ? stage->files->blobs : stage->files->parts;
}

/* A content that is not what the manifest says is of no use: it starts anew, chunks and all. */
static int forget(struct stage *stage, struct stage_blob *blob, struct err *err)
{
	char name[STORE_NAME_MAX];
	int folder = folder_of(stage, blob, name);
	int r = journal_drop_blob(stage->journal, &blob->of->content, err);

	if (r < 0)
		return r;
	unlinkat(folder, name, 0);
	stage->bytes_done -= blob->of->size;
	blob->phase = BLOB_CLOSED; /* the index is checked when it is read */
	stage->first_open = 0;
	stage->hash_offset = 0;
	return err_set(err, -EBADMSG, "a file of the release is not what its manifest says: its "
				      "chunks are fetched again");
}

/* Reads on in one blob. 0: verified; -EAGAIN: the budget is used up. */
static int verify(struct stage *stage, struct stage_blob *blob, size_t *budget, void *buffer,
		  struct err *err)
{
	char name[STORE_NAME_MAX];
	struct digest digest;
	int folder = folder_of(stage, blob, name);
	AUTO_CLOSE int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return forget(stage, blob, err);
	if (stage->hash_offset == 0)
		digest_init(&stage->hash);
	while (stage->hash_offset < blob->of->size) {
		uint64_t left = blob->of->size - stage->hash_offset;
		size_t size = left < LIMIT_CHUNK ? (size_t)left : LIMIT_CHUNK;

		if (*budget == 0)
			return -EAGAIN;
		*budget -= size < *budget ? size : *budget;
		if (store_read_at(fd, buffer, size, stage->hash_offset) < 0)
			return forget(stage, blob, err);
		digest_add(&stage->hash, buffer, size);
		stage->hash_offset += size;
	}
	digest_end(&stage->hash, &digest);
	stage->hash_offset = 0;
	return digest_equal(&digest, &blob->of->content) ? 0 : forget(stage, blob, err);
}

static int verify_step(struct stage *stage, struct err *err)
{
	AUTO_FREE void *buffer = mem_alloc(LIMIT_CHUNK);
	size_t budget = STEP_BYTES;

	for (; stage->hash_blob < stage->release.blobs_count; stage->hash_blob++) {
		struct stage_blob *blob = &stage->blobs[stage->hash_blob];
		int r;

		if (blob->phase >= BLOB_VERIFIED)
			continue;
		r = verify(stage, blob, &budget, buffer, err);
		if (r < 0) {
			if (r != -EAGAIN)
				stage->hash_blob = 0;
			return r;
		}
		blob->phase = blob->phase == BLOB_SUSPECT ? BLOB_DONE : BLOB_VERIFIED;
		if (budget == 0)
			return -EAGAIN;
	}
	return 0;
}

static int rename_blob(struct stage *stage, struct stage_blob *blob, struct err *err)
{
	char part[STORE_NAME_MAX], name[STORE_NAME_MAX];

	store_name(part, &blob->of->content, ".part");
	store_name(name, &blob->of->content, "");
	if (renameat(stage->files->parts, part, stage->files->blobs, name) < 0) {
		/* Another release with the same content was faster. */
		if (errno != ENOENT || faccessat(stage->files->blobs, name, F_OK, 0) < 0)
			return err_errno(err, -errno, "name blob %s", name);
	}
	blob->phase = BLOB_DONE;
	return 0;
}

static int rename_step(struct stage *stage, struct err *err)
{
	size_t left = STEP_RENAMES;

	for (size_t i = 0; i < stage->release.blobs_count; i++) {
		int r;

		if (stage->blobs[i].phase != BLOB_VERIFIED)
			continue;
		if (left-- == 0)
			return -EAGAIN;
		r = rename_blob(stage, &stage->blobs[i], err);
		if (r < 0)
			return r;
	}
	if (fsync(stage->files->blobs) < 0 || fsync(stage->files->parts) < 0 ||
	    fsync(stage->files->objects) < 0)
		return err_errno(err, -errno, "sync the chunk store's folders");
	return 0;
}

int stage_seal_step(struct stage *stage, struct err *err)
{
	int r;

	if (!stage_is_complete(stage))
		return err_set(err, -EBADMSG, "the release is not complete yet");
	r = stage_flush(stage, err);
	if (r == 0)
		r = verify_step(stage, err);
	if (r == 0)
		r = rename_step(stage, err);
	return r;
}
