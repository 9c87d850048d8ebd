/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over each blob: read up to one chunk, ask the chunker for its length, hash chunk and
 * whole. What is kept is digests and offsets, 64 bytes a chunk; content is read again when it is
 * sent. Equal chunks of different blobs become one object by sorting.
 */
#include "coordinator/cli/pack.h"
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/cli/chunker.h"
#include "coordinator/cli/file.h"
#include "coordinator/cli/model_files.h"
#include "protocol/digest.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct build {
	struct pack pack;
	uint8_t *window; /* LIMIT_CHUNK bytes */
	uint64_t bytes;
	pack_progress_fn *progress;
	void *arg;
	struct err *err;
};

void pack_free(struct pack *pack)
{
	for (size_t i = 0; i < pack->blobs_count; i++) {
		free(pack->blobs[i].path);
		free(pack->blobs[i].index.data);
	}
	free(pack->blobs);
	free(pack->objects);
	free(pack->envelope.data);
	release_free(&pack->release);
	*pack = (struct pack){0};
}

static void add_object(struct pack *pack, const struct digest *digest, uint64_t size,
                       uint64_t offset, bool index)
{
	MEM_GROW(pack->objects, &pack->objects_cap, pack->objects_count);
	pack->objects[pack->objects_count++] =
	    (struct pack_object){.digest = *digest,
	                         .size = size,
	                         .offset = offset,
	                         .blob = (uint32_t)pack->blobs_count - 1,
	                         .index = index};
}

/* ---- one blob ---- */

static int cut_blob(struct build *b, int fd, struct chunker *chunker, struct release_blob *blob,
                    struct chunk_index *index)
{
	struct digest_state whole;
	size_t cap = 0;
	uint64_t at = 0;

	digest_init(&whole);
	while (at < blob->size) {
		size_t room =
		    blob->size - at < LIMIT_CHUNK ? (size_t)(blob->size - at) : LIMIT_CHUNK;
		struct chunk_ref chunk = {0};
		int r = file_read_at(fd, b->window, room, at, b->err);

		if (r < 0)
			return r;
		chunk.size = chunker_next(chunker, b->window, room);
		digest_of(&chunk.digest, b->window, (size_t)chunk.size);
		digest_add(&whole, b->window, (size_t)chunk.size);
		if (index->chunks_count == LIMIT_CHUNKS)
			return err_set(b->err, -EFBIG, "it is larger than %d chunks", LIMIT_CHUNKS);
		MEM_GROW(index->chunks, &cap, index->chunks_count);
		index->chunks[index->chunks_count++] = chunk;
		add_object(&b->pack, &chunk.digest, chunk.size, at, false);
		at += chunk.size;
		b->bytes += chunk.size;
		if (b->progress)
			b->progress(b->arg, b->bytes);
	}
	digest_end(&whole, &blob->content);
	return 0;
}

static int encode_index(struct build *b, struct chunk_index *index, struct release_blob *blob)
{
	struct pack_blob *place = &b->pack.blobs[b->pack.blobs_count - 1];
	int r = codec_encode(&codec_chunk_index, index, LIMIT_OBJECT, &place->index, b->err);

	if (r < 0)
		return r;
	digest_of(&blob->index, place->index.data, place->index.size);
	blob->index_size = place->index.size;
	add_object(&b->pack, &blob->index, blob->index_size, 0, true);
	return 0;
}

/* blob->size is known; takes path. */
static int add_blob(struct build *b, int fd, char *path, bool borrowed, struct chunker *chunker,
                    struct release_blob *blob)
{
	struct chunk_index index = {0};
	int r;

	b->pack.blobs[b->pack.blobs_count++] = (struct pack_blob){borrowed ? fd : -1, path, {0}};
	r = cut_blob(b, fd, chunker, blob, &index);
	if (r == 0)
		r = encode_index(b, &index, blob);
	free(index.chunks);
	return r;
}

static int add_layer(struct build *b, const struct image_layer *layer, struct release_blob *blob)
{
	struct chunker chunker;
	int r;

	*blob = (struct release_blob){.kind = BLOB_LAYER, .size = layer->size};
	memcpy(blob->diff_id, layer->diff_id, sizeof(blob->diff_id));
	chunker_init(&chunker, BLOB_LAYER, layer->size);
	r = add_blob(b, layer->fd, NULL, true, &chunker, blob);
	chunker_free(&chunker);
	return r;
}

/* Looks for tensor boundaries; a file that only pretends keeps the fixed steps. */
static int find_tensors(struct build *b, int fd, const char *name, struct chunker *chunker)
{
	AUTO_FREE uint8_t *header = NULL;
	size_t length = strlen(name), size;
	uint8_t first[8];
	int r;

	if (length < 12 || !str_equal(name + length - 12, ".safetensors") || chunker->size < 8)
		return 0;
	r = file_read_at(fd, first, sizeof(first), 0, b->err);
	size = r < 0 ? 0 : (size_t)chunker_header_size(first, chunker->size);
	if (r < 0 || !size)
		return r;
	header = mem_alloc(size);
	r = file_read_at(fd, header, size, 0, b->err);
	if (r == 0)
		chunker_use_tensors(chunker, header, size);
	return r;
}

static int add_file(struct build *b, const struct model_file *file, struct release_blob *blob)
{
	AUTO_CLOSE int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct chunker chunker;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(b->err, -errno, "%s", file->path);
	*blob = (struct release_blob){.kind = BLOB_FILE,
	                              .path = mem_str(file->name),
	                              .mode = file->mode,
	                              .size = (uint64_t)st.st_size};
	chunker_init(&chunker, BLOB_FILE, blob->size);
	r = find_tensors(b, fd, file->name, &chunker);
	if (r == 0)
		r = add_blob(b, fd, mem_str(file->path), false, &chunker, blob);
	chunker_free(&chunker);
	return r < 0 ? err_prefix(b->err, r, "%s", file->path) : 0;
}

/* ---- all blobs ---- */

static int add_blobs(struct build *b, const struct image *image, const struct model_files *files)
{
	struct release *release = &b->pack.release;
	size_t count = image->layers_count + files->count;
	int r = 0;

	release->blobs = mem_array(count, sizeof(*release->blobs));
	b->pack.blobs = mem_array(count, sizeof(*b->pack.blobs));
	for (size_t i = 0; r == 0 && i < image->layers_count; i++) {
		r = add_layer(b, &image->layers[i], &release->blobs[release->blobs_count++]);
		if (r < 0)
			err_prefix(b->err, r, "layer %zu", i + 1);
	}
	for (size_t i = 0; r == 0 && i < files->count; i++)
		r = add_file(b, &files->items[i], &release->blobs[release->blobs_count++]);
	return r;
}

static int compare(const void *a, const void *b)
{
	return memcmp(((const struct pack_object *)a)->digest.bytes,
	              ((const struct pack_object *)b)->digest.bytes, DIGEST_SIZE);
}

static void unique_objects(struct pack *pack)
{
	size_t kept = 0;

	qsort(pack->objects, pack->objects_count, sizeof(*pack->objects), compare);
	for (size_t i = 0; i < pack->objects_count; i++)
		if (!kept || compare(&pack->objects[kept - 1], &pack->objects[i]) != 0)
			pack->objects[kept++] = pack->objects[i];
	pack->objects_count = kept;
}

/* ---- the manifest ---- */

/* The image's variables first, then release.yaml's; a name that is there is replaced in place. */
static void merge_env(struct release *release, const struct image *image)
{
	struct env_var *own = release->env;
	size_t own_count = release->env_count;
	struct env_var *all = mem_array(image->env_count + own_count, sizeof(*all));
	size_t count = 0;

	for (size_t i = 0; i < image->env_count; i++)
		all[count++] =
		    (struct env_var){mem_str(image->env[i].name), mem_str(image->env[i].value)};
	for (size_t i = 0; i < own_count; i++) {
		size_t at = 0;

		while (at < count && !str_equal(all[at].name, own[i].name))
			at++;
		if (at < count) {
			free(all[at].name);
			free(all[at].value);
		} else {
			count++;
		}
		all[at] = own[i];
	}
	free(own);
	release->env = all;
	release->env_count = count;
}

static int take_process(struct release *release, const struct image *image, struct err *err)
{
	memcpy(release->os, image->os, sizeof(release->os));
	memcpy(release->arch, image->arch, sizeof(release->arch));
	release->user = mem_str(image->user);
	release->workdir = mem_str(image->workdir);
	merge_env(release, image);
	if (release->env_count > LIMIT_ENV)
		return err_set(
		    err, -EINVAL,
		    "env: image and release have %zu variables together; at most %d are possible",
		    release->env_count, LIMIT_ENV);
	if (release->argv_count)
		return 0;
	if (!image->argv_count)
		return err_set(
		    err, -EINVAL,
		    "the image has neither entrypoint nor command; write `command: [...]`");
	release->argv = mem_array(image->argv_count, sizeof(*release->argv));
	for (size_t i = 0; i < image->argv_count; i++)
		release->argv[release->argv_count++].text = mem_str(image->argv[i].text);
	return 0;
}

static int sign(struct pack *pack, const struct sign_key *key, struct err *err)
{
	struct envelope envelope = {0};
	int r = release_check(&pack->release, err);

	if (r == 0)
		r = release_encode(&pack->release, &envelope.payload, &pack->digest, err);
	if (r < 0)
		return r;
	envelope_sign(&envelope, SIGNED_RELEASE, key);
	r = codec_encode(&codec_envelope, &envelope, LIMIT_OBJECT, &pack->envelope, err);
	codec_free(&codec_envelope, &envelope);
	return r;
}

int pack_build(struct release_file *file, const struct image *image, const struct sign_key *key,
               pack_progress_fn *progress, void *arg, struct pack *ret_pack, struct err *err)
{
	AUTO_FREE uint8_t *window = mem_alloc(LIMIT_CHUNK);
	struct build b = {.window = window, .progress = progress, .arg = arg, .err = err};
	struct model_files files = {0};
	int r = 0;

	b.pack.release = file->release;
	file->release = (struct release){0};
	if (file->files)
		r = model_files_list(file->files, &files, err);
	if (r == 0)
		r = take_process(&b.pack.release, image, err);
	if (r == 0)
		r = add_blobs(&b, image, &files);
	model_files_free(&files);
	if (r == 0) {
		unique_objects(&b.pack);
		r = sign(&b.pack, key, err);
	}
	if (r < 0)
		pack_free(&b.pack);
	else
		*ret_pack = b.pack;
	return r;
}

/* ---- reading again ---- */

int pack_read(const struct pack *pack, const struct pack_object *object, uint8_t *data,
              struct err *err)
{
	const struct pack_blob *blob = &pack->blobs[object->blob];
	AUTO_CLOSE int opened = -1;
	struct digest digest;
	int r;

	if (object->index) {
		memcpy(data, blob->index.data, blob->index.size);
		return 0;
	}
	if (blob->fd < 0) {
		opened = open(blob->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (opened < 0)
			return err_errno(err, -errno, "%s", blob->path);
	}
	r = file_read_at(blob->fd < 0 ? opened : blob->fd, data, (size_t)object->size,
	                 object->offset, err);
	if (r < 0)
		return r;
	digest_of(&digest, data, (size_t)object->size);
	if (!digest_equal(&digest, &object->digest))
		return err_set(err, -EINVAL, "%s changed while it was being pushed; push again",
		               blob->path ? blob->path : "the image");
	return 0;
}
