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
#include "coordinator/cli/tar_cuts.h"
#include "protocol/digest.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { HEADER_FIRST = 64 << 10 };

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
		struct chunk_ref chunk = {0};
		int r = file_read_at(fd, b->window, chunker_window(chunker), at, b->err);

		if (r < 0)
			return r;
		chunk.size = chunker_next(chunker, b->window);
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

/* blob->size is known; takes path, without which fd is borrowed for good. */
static int add_blob(struct build *b, int fd, char *path, struct chunker *chunker,
                    const struct tensors *tensors, struct release_blob *blob)
{
	struct chunk_index index = {.tensors = tensors->items, .tensors_count = tensors->count};
	int r;

	b->pack.blobs[b->pack.blobs_count++] = (struct pack_blob){path ? -1 : fd, path, {0}};
	r = cut_blob(b, fd, chunker, blob, &index);
	if (r == 0)
		r = encode_index(b, &index, blob);
	free(index.chunks);
	return r;
}

static int add_layer(struct build *b, const struct image_layer *layer, struct release_blob *blob)
{
	struct chunk_cut *cuts = NULL;
	struct chunker chunker;
	size_t count = 0;
	int r = 0;

	*blob = (struct release_blob){.kind = BLOB_LAYER, .size = layer->size};
	memcpy(blob->diff_id, layer->diff_id, sizeof(blob->diff_id));
	chunker_init(&chunker, BLOB_LAYER, layer->size);
	if (chunker.least)
		r = tar_cuts(layer->fd, layer->size, chunker.least, &cuts, &count, b->err);
	chunker_use_cuts(&chunker, cuts, count);
	if (r == 0)
		r = add_blob(b, layer->fd, NULL, &chunker, &(struct tensors){0}, blob);
	chunker_free(&chunker);
	return r;
}

/* ---- model files ---- */

/* The file's tensors from its own header, of which ever more is read until it is enough. */
static int read_own_tensors(struct build *b, int fd, uint64_t file_size, struct tensors *ret)
{
	size_t size = HEADER_FIRST;
	int r = -EAGAIN;

	while (r == -EAGAIN && size <= TENSORS_HEADER_MAX) {
		AUTO_FREE uint8_t *head = NULL;
		uint64_t wanted;

		size = size < file_size ? size : (size_t)file_size;
		head = mem_resize(NULL, size + 1, 1);
		r = file_read_at(fd, head, size, 0, b->err);
		if (r < 0)
			return r;
		r = tensors_read(head, size, file_size, ret);
		wanted = tensors_header_size(head, size);
		size = wanted > size ? (size_t)wanted : 4 * size;
	}
	return 0;
}

static bool ends_with(const char *name, const char *suffix)
{
	size_t length = strlen(name), wanted = strlen(suffix);

	return length > wanted && str_equal(name + length - wanted, suffix);
}

/* The part of `name` behind the folder of `beside`, or NULL when it is not in that folder. */
static const char *name_beside(const char *name, const char *beside)
{
	const char *slash = strrchr(beside, '/');
	size_t folder = slash ? (size_t)(slash - beside) + 1 : 0;

	return strncmp(name, beside, folder) == 0 ? name + folder : NULL;
}

/* The tensors that an ONNX model keeps in `file`: itself, or one beside it. */
static int read_onnx_tensors(struct build *b, const struct model_file *model,
                             const struct model_file *file, uint64_t file_size,
                             struct tensors *ret)
{
	struct bytes data = {0};
	int r = file_read(model->path, TENSORS_HEADER_MAX, &data, b->err);

	if (r == -EFBIG)
		return 0;
	if (r < 0)
		return r;
	tensors_read_onnx(data.data, data.size,
	                  model == file ? NULL : name_beside(file->name, model->name), file_size,
	                  ret);
	free(data.data);
	return 0;
}

static int find_tensors(struct build *b, int fd, const struct model_files *files,
                        const struct model_file *file, uint64_t file_size, struct tensors *ret)
{
	int r;

	*ret = (struct tensors){0};
	if (ends_with(file->name, ".onnx"))
		return read_onnx_tensors(b, file, file, file_size, ret);
	r = read_own_tensors(b, fd, file_size, ret);
	for (size_t i = 0; r == 0 && !ret->count && i < files->count; i++)
		if (ends_with(files->items[i].name, ".onnx") &&
		    name_beside(file->name, files->items[i].name))
			r = read_onnx_tensors(b, &files->items[i], file, file_size, ret);
	return r;
}

static int add_file(struct build *b, const struct model_files *files,
                    const struct model_file *file, struct release_blob *blob)
{
	AUTO_CLOSE int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	COVEY_CLEANUP(tensors_free) struct tensors tensors = {0};
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
	r = find_tensors(b, fd, files, file, blob->size, &tensors);
	if (r == 0) {
		chunker_use_tensors(&chunker, &tensors);
		r = add_blob(b, fd, mem_str(file->path), &chunker, &tensors, blob);
	}
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
		r = add_file(b, files, &files->items[i], &release->blobs[release->blobs_count++]);
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
