/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunk indices: lists of what a blob is made of, objects of their own under objects/. They are
 * written without being forced out, because they are never believed: whenever one is read, its
 * digest must be the one that the manifest names, and its chunks must fill the blob exactly.
 */
#include "agent/chunks/stage.h"

#include "base/mem.h"

#include <unistd.h>

static int check_index(const struct release_blob *of, const struct chunk_index *index,
		       struct err *err)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < index->chunks_count; i++) {
		uint64_t size = index->chunks[i].size;

		if (size == 0 || size > LIMIT_CHUNK || size > of->size - sum)
			return err_set(err, -EPROTO, "the release contradicts itself: an index has "
						     "chunks that do not fit its blob");
		sum += size;
	}
	if (sum != of->size)
		return err_set(err, -EPROTO, "the release contradicts itself: the chunks of an "
					     "index do not add up to its blob");
	return 0;
}

int stage_take_index(struct stage *stage, const struct digest *digest, const void *data,
		      size_t size, struct err *err)
{
	struct chunk_index index = {0};
	bool decoded = false;
	int r = 0;

	for (size_t i = 0; r == 0 && i < stage->release.blobs_count; i++) {
		struct stage_blob *blob = &stage->blobs[i];

		if (blob->phase != BLOB_INDEX || !digest_equal(&blob->of->index, digest))
			continue;
		if (!decoded) {
			char name[STORE_NAME_MAX];

			store_name(name, digest, "");
			r = codec_decode(&codec_chunk_index, data, size, &index, err);
			if (r < 0)
				return -EPROTO;
			decoded = true;
			/* Not forced out: it is checked against its digest when it is read. */
			r = store_write_file(stage->files->objects, name, data, size, false, err);
		}
		if (r == 0)
			r = check_index(blob->of, &index, err);
		if (r == 0)
			blob->phase = BLOB_CLOSED;
	}
	codec_free(&codec_chunk_index, &index);
	return r;
}

int stage_load_index(const struct store_files *files, const struct release_blob *of,
		     struct chunk_index *ret_index, struct err *err)
{
	AUTO_FREE uint8_t *data = NULL;
	struct bytes bytes = {0};
	char name[STORE_NAME_MAX];
	struct digest digest;
	int r;

	store_name(name, &of->index, "");
	r = store_read_file(files->objects, name, LIMIT_OBJECT, &bytes, err);
	if (r < 0)
		return r;
	data = bytes.data;
	digest_of(&digest, bytes.data, bytes.size);
	if (!digest_equal(&digest, &of->index)) {
		unlinkat(files->objects, name, 0);
		return err_set(err, -ENOENT, "index %s was damaged on the disk", name);
	}
	r = codec_decode(&codec_chunk_index, bytes.data, bytes.size, ret_index, err);
	if (r == 0) {
		free(ret_index->tensors); /* whoever makes deltas needs them, not who applies them */
		ret_index->tensors = NULL;
		ret_index->tensors_count = 0;
		r = check_index(of, ret_index, err);
		if (r < 0)
			codec_free(&codec_chunk_index, ret_index);
	}
	return r;
}
