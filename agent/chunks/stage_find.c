/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks that lie on the disk: in the part that an earlier run left, in another blob, or among
 * those that were just written. What is found for an assembly is verified before it counts; what
 * is read for a neighbour is not, for the neighbour does that.
 */
#include "agent/chunks/stage.h"

#include <fcntl.h>
#include <unistd.h>

/* Bytes that a killed run wrote but did not name in the journal. */
bool stage_find_in_part(const struct assembly *a, size_t i, int part, void *buffer)
{
	const struct chunk_ref *chunk = &a->index.chunks[i];
	struct digest digest;
	off_t data;

	if (!a->resumed)
		return false;
	data = lseek(part, (off_t)a->offsets[i], SEEK_DATA);
	if (data < 0 || (uint64_t)data >= a->offsets[i] + chunk->size)
		return false;
	if (store_read_at(part, buffer, chunk->size, a->offsets[i]) < 0)
		return false;
	digest_of(&digest, buffer, chunk->size);
	return digest_equal(&digest, &chunk->digest);
}

static int open_holder(const struct stage *stage, const struct digest *content)
{
	char name[STORE_NAME_MAX];
	int fd;

	store_name(name, content, "");
	fd = openat(stage->files->blobs, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0)
		return fd;
	store_name(name, content, ".part");
	return openat(stage->files->parts, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* Copies the chunk from another blob on the disk. 0, -ENOENT, -ENOSPC, -EIO. */
int stage_find_elsewhere(struct stage *stage, const struct assembly *a, size_t i, int part,
			  void *buffer, struct err *err)
{
	const struct chunk_ref *chunk = &a->index.chunks[i];
	AUTO_CLOSE int fd = -1;
	struct digest holder, digest;
	uint64_t offset, size;
	int r = journal_find_chunk(stage->journal, &chunk->digest, NULL, &holder, &offset, &size,
				   err);

	if (r < 0)
		return r;
	fd = open_holder(stage, &holder);
	if (fd < 0 || size != chunk->size || store_read_at(fd, buffer, size, offset) < 0)
		return -ENOENT;
	digest_of(&digest, buffer, size);
	if (!digest_equal(&digest, &chunk->digest))
		return -ENOENT;
	return store_copy_at(fd, offset, part, a->offsets[i], buffer, size);
}

/* ---- reading back ---- */

static const struct assembly *find_written(const struct stage *stage, const struct digest *chunk,
					   size_t *ret_blob, size_t *ret_at)
{
	for (size_t b = 0; b < stage->release.blobs_count; b++) {
		const struct assembly *a = stage->blobs[b].assembly;

		for (size_t i = 0; a && i < a->index.chunks_count; i++) {
			if (a->states[i] < CHUNK_WRITTEN ||
			    !digest_equal(&a->index.chunks[i].digest, chunk))
				continue;
			*ret_blob = b;
			*ret_at = i;
			return a;
		}
	}
	return NULL;
}

int stage_read(const struct stage *stage, const struct digest *chunk, void *buffer, size_t size)
{
	size_t blob, at;
	const struct assembly *a = find_written(stage, chunk, &blob, &at);
	AUTO_CLOSE int fd = -1;

	if (!a || a->index.chunks[at].size != size)
		return -ENOENT;
	fd = open_holder(stage, &stage->blobs[blob].of->content);
	return fd < 0 ? -ENOENT : store_read_at(fd, buffer, size, a->offsets[at]);
}
