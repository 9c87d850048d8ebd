/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A delta is a promise: only the digest of what comes out of it counts. So a base that is not here,
 * a delta that was made wrong or one that was made to harm cost what was fetched, and the chunk is
 * then fetched whole like any other that is missing.
 *
 * Objects are written down after what was made of them, so one that is there needs no second look.
 */
#include "agent/chunks/deltas.h"

#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

enum { KEEP_MS = 24 * 3600 * 1000 };

struct delta_stage *deltas_find(const struct deltas *deltas, const struct digest *set)
{
	for (struct delta_stage *stage = deltas->first; stage; stage = stage->next)
		if (digest_equal(&stage->id, set))
			return stage;
	return NULL;
}

struct delta_stage *deltas_add(struct deltas *deltas, const struct digest *set,
			       const struct digest *target)
{
	struct delta_stage *stage = mem_alloc(sizeof(*stage));

	stage->id = *set;
	stage->target = *target;
	stage->next = deltas->first;
	deltas->first = stage;
	if (!deltas->coding)
		deltas->coding = coding_create();
	return stage;
}

void deltas_drop(struct deltas *deltas, struct delta_stage *stage)
{
	struct delta_stage **at = &deltas->first;

	while (*at != stage)
		at = &(*at)->next;
	*at = stage->next;
	codec_free(&codec_delta_set, &stage->set);
	free(stage->done);
	free(stage);
	if (deltas->first)
		return;
	coding_free(deltas->coding);
	deltas->coding = NULL;
}

/* ---- what has to come ---- */

static bool lies_here(const struct store_files *files, const struct digest *object, uint64_t size)
{
	char name[STORE_NAME_MAX];
	struct stat st;

	store_name(name, object, "");
	return fstatat(files->deltas, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (uint64_t)st.st_size == size;
}

/* Best effort: what is not written is asked for again, or asked elsewhere. */
static void keep(const struct store_files *files, const struct digest *digest, const void *data,
		 size_t size)
{
	char name[STORE_NAME_MAX];

	store_name(name, digest, "");
	(void)!store_write_file(files->deltas, name, data, size, false, NULL);
}

int deltas_open(struct deltas *deltas, struct delta_stage *stage, const void *data, size_t size,
		struct err *err)
{
	int r = delta_set_open(data, size, &stage->id, &stage->set, err);

	if (r < 0)
		return r;
	if (!digest_equal(&stage->set.target, &stage->target)) {
		codec_free(&codec_delta_set, &stage->set);
		return err_set(err, -EBADMSG, "a delta set is for another release");
	}
	stage->opened = true;
	stage->done = mem_array(stage->set.objects_count + 1, sizeof(*stage->done));
	for (size_t i = 0; i < stage->set.objects_count; i++) {
		const struct delta_object *object = &stage->set.objects[i];

		stage->done[i] = lies_here(deltas->files, &object->digest, object->size);
		stage->left += !stage->done[i];
	}
	keep(deltas->files, &stage->id, data, size);
	return 0;
}

void deltas_missing(const struct delta_stage *stage, struct wanted_object *ret_items, size_t max,
		    size_t *ret_count)
{
	size_t count = 0;

	for (size_t i = 0; i < stage->set.objects_count && count < max; i++)
		if (!stage->done[i])
			ret_items[count++] =
				(struct wanted_object){OBJECT_CHUNK, stage->set.objects[i].digest,
						       stage->set.objects[i].size};
	*ret_count = count;
}

/* ---- from deltas to chunks ---- */

/* 0, -ESTALE, or what the stage of the target says. */
static int apply(struct deltas *deltas, struct stage *to, const struct delta_source *source,
		 const struct delta_item *item, const uint8_t *data, struct err *err)
{
	AUTO_FREE uint8_t *chunk = NULL;
	struct bytes base = {0};
	struct digest digest;
	size_t size = 0;
	int r = coding_size(data, (size_t)item->size, LIMIT_CHUNK, &size);

	if (r == 0)
		r = source->read(source->context, &item->base, &base);
	if (r < 0)
		return -ESTALE;
	chunk = mem_resize(NULL, size, 1);
	r = coding_decode(deltas->coding, data, (size_t)item->size, base.data, base.size, chunk);
	free(base.data);
	if (r < 0)
		return -ESTALE;
	digest_of(&digest, chunk, size);
	if (!digest_equal(&digest, &item->chunk))
		return -ESTALE;
	return stage_put(to, &item->chunk, chunk, size, err);
}

static int apply_all(struct deltas *deltas, struct stage *to, const struct delta_source *source,
		     const struct delta_item *items, size_t count, const uint8_t *data,
		     struct err *err)
{
	size_t stale = 0;

	for (size_t i = 0; i < count; i++) {
		int r = apply(deltas, to, source, &items[i], data, err);

		if (r < 0 && r != -ESTALE)
			return r;
		stale += r == -ESTALE;
		data += items[i].size;
	}
	return stale == 0 ? 0
			  : err_set(err, -ESTALE, "%zu of %zu deltas did not give the chunk that "
				    "they are for: it is fetched whole", stale, count);
}

int deltas_put(struct deltas *deltas, struct delta_stage *stage, struct stage *to,
	       const struct delta_source *source, const struct digest *digest,
	       const struct bytes *data, struct err *err)
{
	const struct delta_item *items = stage->set.items;

	for (size_t i = 0; i < stage->set.objects_count; i++) {
		const struct delta_object *object = &stage->set.objects[i];
		int r;

		if (!stage->done[i] && object->size == data->size &&
		    digest_equal(&object->digest, digest)) {
			r = apply_all(deltas, to, source, items, object->items, data->data, err);
			if (r < 0 && r != -ESTALE)
				return r;
			stage->done[i] = true;
			stage->left--;
			keep(deltas->files, digest, data->data, data->size);
			return r;
		}
		items += object->items;
	}
	return 0;
}

/* ---- for neighbours ---- */

static int load_set(const struct store_files *files, const struct digest *digest,
		    struct delta_set *ret_set, struct err *err)
{
	char name[STORE_NAME_MAX];
	struct bytes data = {0};
	int r;

	store_name(name, digest, "");
	r = store_read_file(files->deltas, name, LIMIT_OBJECT, &data, err);
	if (r == 0)
		r = delta_set_open(data.data, data.size, digest, ret_set, err);
	free(data.data);
	return r;
}

int deltas_chunks(const struct store_files *files, const struct digest *set,
		  struct chunk_ref **ret_chunks, size_t *ret_count, struct err *err)
{
	struct delta_set list = {0};
	int r = load_set(files, set, &list, err);

	if (r < 0)
		return r;
	*ret_chunks = mem_array(list.objects_count + 1, sizeof(**ret_chunks));
	for (size_t i = 0; i < list.objects_count; i++)
		(*ret_chunks)[i] = (struct chunk_ref){list.objects[i].digest, list.objects[i].size};
	*ret_count = list.objects_count;
	codec_free(&codec_delta_set, &list);
	return 0;
}

bool deltas_are_whole(const struct store_files *files, const struct digest *set)
{
	struct delta_set list = {0};
	bool whole = load_set(files, set, &list, NULL) == 0;

	for (size_t i = 0; whole && i < list.objects_count; i++)
		whole = lies_here(files, &list.objects[i].digest, list.objects[i].size);
	codec_free(&codec_delta_set, &list);
	return whole;
}

int deltas_read(const struct store_files *files, const struct digest *object, void *buffer,
		size_t size)
{
	AUTO_CLOSE int fd = -1;
	char name[STORE_NAME_MAX];

	store_name(name, object, "");
	fd = openat(files->deltas, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || store_read_at(fd, buffer, size, 0) < 0)
		return -ENOENT;
	return 0;
}

void deltas_sweep(const struct store_files *files, uint64_t unix_ms, bool all)
{
	int fd = openat(files->deltas, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	struct stat st;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' &&
		    fstatat(files->deltas, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    (all || (uint64_t)st.st_mtim.tv_sec * 1000 + KEEP_MS < unix_ms))
			unlinkat(files->deltas, entry->d_name, 0);
	if (dir)
		closedir(dir);
}
