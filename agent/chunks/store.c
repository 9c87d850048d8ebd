/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunk store's face: it opens manifests (never believing the disk: signatures are checked
 * whenever one is read), hands the work on a release to its stage (stage.c, seal.c) and keeps room
 * (prune.c). Stages live only while something is being fetched.
 */
#include "agent/chunks/store.h"

#include "agent/chunks/deltas.h"
#include "agent/chunks/held.h"
#include "agent/chunks/prune.h"
#include "agent/chunks/stage.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { SEALED_CACHE = 64, SPARE_BYTES = 16 << 20 };

struct chunk_store {
	struct chunk_store_config config;
	struct store_files files;
	struct stage *stages;
	struct deltas deltas;
	struct digest sealed[SEALED_CACHE]; /* looked at since the start */
	size_t sealed_count;
	struct digest suspect; /* to be read again when it is staged next; zero: none */
	struct digest touched; /* of the releases that were marked as used last */
};

int chunk_store_open(const struct chunk_store_config *config, struct chunk_store **ret_store,
		     struct err *err)
{
	struct chunk_store *store = mem_alloc(sizeof(*store));
	int r;

	store->config = *config;
	store->config.dir = NULL; /* the caller's; only needed here */
	r = store_files_open(config->dir, &store->files, err);
	if (r < 0) {
		free(store);
		return r;
	}
	store->deltas.files = &store->files;
	*ret_store = store;
	return 0;
}

static void drop_stages(struct chunk_store *store)
{
	while (store->stages) {
		struct stage *stage = store->stages;

		store->stages = stage->next;
		stage_free(stage);
	}
	while (store->deltas.first)
		deltas_drop(&store->deltas, store->deltas.first);
}

void chunk_store_close(struct chunk_store *store)
{
	drop_stages(store);
	store_files_close(&store->files);
	free(store);
}

uint64_t chunk_store_free_bytes(const struct chunk_store *store)
{
	struct statvfs vfs;

	if (fstatvfs(store->files.root, &vfs) < 0)
		return 0;
	return (uint64_t)vfs.f_bavail * vfs.f_frsize;
}

/* ---- manifests ---- */

static int store_release(void *context, const struct digest *digest, struct release *ret_release,
			 struct err *err)
{
	struct chunk_store *store = context;
	char name[STORE_NAME_MAX];
	struct bytes bytes = {0};
	int r;

	store_name(name, digest, ".manifest");
	r = store_read_file(store->files.releases, name, LIMIT_MANIFEST, &bytes, err);
	if (r < 0)
		return r;
	r = release_open(bytes.data, bytes.size, store->config.root, digest, ret_release, err);
	free(bytes.data);
	return r;
}

static int put_manifest(struct chunk_store *store, const struct digest *digest, const void *data,
			size_t size, struct err *err)
{
	char name[STORE_NAME_MAX];
	struct release release = {0};
	int r = release_open(data, size, store->config.root, digest, &release, err);

	release_free(&release);
	if (r < 0)
		return r == -EBADMSG || r == -EMSGSIZE || r == -EINVAL ? -EPROTO : r;
	store_name(name, digest, ".manifest");
	r = store_write_file(store->files.releases, name, data, size, true, err);
	return r < 0 ? r
		     : journal_touch_release(store->config.journal, digest,
					     store->config.unix_ms(), false, err);
}

/* ---- stages ---- */

static struct stage *find_stage(const struct chunk_store *store, const struct digest *digest)
{
	for (struct stage *stage = store->stages; stage; stage = stage->next)
		if (digest_equal(&stage->id, digest))
			return stage;
	return NULL;
}

/* -ENOENT: the manifest is not here. */
static int need_stage(struct chunk_store *store, const struct digest *digest,
		      struct stage **ret_stage, struct err *err)
{
	struct release release = {0};
	int r;

	*ret_stage = find_stage(store, digest);
	if (*ret_stage)
		return 0;
	r = store_release(store, digest, &release, err);
	if (r < 0) /* damaged on the disk, or signed by a key that went: fetched again */
		return r == -ENOMEM || r == -EIO ? r : -ENOENT;
	*ret_stage = stage_create(&store->files, store->config.journal, digest, &release,
				  digest_equal(digest, &store->suspect));
	store->suspect = (struct digest){0};
	(*ret_stage)->next = store->stages;
	store->stages = *ret_stage;
	return 0;
}

static void drop_stage(struct chunk_store *store, struct stage *stage)
{
	struct stage **at = &store->stages;

	while (*at != stage)
		at = &(*at)->next;
	*at = stage->next;
	stage_free(stage);
}

static int check_room(const struct chunk_store *store, const struct stage_progress *progress,
		      struct err *err)
{
	uint64_t needed = progress->bytes_total - progress->bytes_done;
	uint64_t room = chunk_store_free_bytes(store);
	char needed_text[STR_SIZE_MAX], room_text[STR_SIZE_MAX];

	if (needed == 0 || room >= needed + SPARE_BYTES)
		return 0;
	str_format_size(needed_text, needed);
	str_format_size(room_text, room);
	return err_set(err, -ENOSPC, "the release needs %s more on the disk, %s are free",
		       needed_text, room_text);
}

/* ---- deltas ---- */

size_t chunk_store_held(struct chunk_store *store, const struct digest *not_this,
			struct held_release ret_held[LIMIT_HELD])
{
	return held_releases(store->config.journal, not_this, ret_held);
}

/* Chunks are missing: perhaps deltas make them of what lies here. True: ret_item comes first. */
static bool deltas_come_first(struct chunk_store *store, struct stage *stage,
			      struct wanted_object *ret_item)
{
	struct held_release held[LIMIT_HELD];

	if (stage->deltas == DELTAS_UNASKED && chunk_store_held(store, &stage->id, held) == 0)
		stage->deltas = DELTAS_OVER;
	if (stage->deltas == DELTAS_OVER)
		return false;
	*ret_item = stage->deltas == DELTAS_UNASKED
			    ? (struct wanted_object){OBJECT_DELTAS, stage->id, 0}
			    : (struct wanted_object){OBJECT_SET, stage->set, 0};
	return true;
}

static int missing_of_set(const struct delta_stage *set, struct wanted_object *ret_items,
			  size_t max, size_t *ret_count, struct stage_progress *ret_progress)
{
	*ret_progress = (struct stage_progress){.manifest = set->opened,
						.looked = set->opened,
						.complete = set->opened && set->left == 0};
	*ret_count = max > 0 ? 1 : 0;
	if (!set->opened && max > 0)
		ret_items[0] = (struct wanted_object){OBJECT_SET, set->id, 0};
	else
		deltas_missing(set, ret_items, max, ret_count);
	return 0;
}

/* What a set is for goes on without it. */
static void end_set(struct chunk_store *store, struct delta_stage *set)
{
	struct stage *stage = find_stage(store, &set->target);

	if (stage)
		stage->deltas = DELTAS_OVER;
	deltas_drop(&store->deltas, set);
}

static int read_base(void *context, const struct digest *chunk, struct bytes *ret_data)
{
	const struct chunk_store *store = context;

	return held_chunk(&store->files, store->config.journal, chunk, ret_data);
}

/* The answer to DELTAS. */
static int put_deltas(struct chunk_store *store, const struct digest *release, const void *data,
		      size_t size, struct err *err)
{
	struct stage *stage = find_stage(store, release);

	if (!stage || stage->deltas != DELTAS_UNASKED)
		return 0;
	stage->deltas = DELTAS_OVER;
	if (size == 0)
		return 0;
	if (size != DIGEST_SIZE)
		return err_set(err, -EBADMSG, "the name of a delta set is no digest");
	memcpy(stage->set.bytes, data, DIGEST_SIZE);
	if (deltas_find(&store->deltas, &stage->set))
		return 0; /* for another release: that cannot be */
	(void)deltas_add(&store->deltas, &stage->set, release);
	stage->deltas = DELTAS_WAIT;
	return 0;
}

static int put_for_set(struct chunk_store *store, struct delta_stage *set,
		       const struct wanted_object *object, const struct bytes *data,
		       struct err *err)
{
	const struct delta_source source = {store, read_base};
	struct stage *stage = find_stage(store, &set->target);

	if (!stage) {
		end_set(store, set);
		return 0;
	}
	if (object->kind == OBJECT_SET)
		return set->opened ? 0
				   : deltas_open(&store->deltas, set, data->data, data->size, err);
	return deltas_put(&store->deltas, set, stage, &source, &object->digest, data, err);
}

/* ---- missing, put ---- */

static int store_missing(void *context, const struct digest *release,
			 struct wanted_object *ret_items, size_t max, size_t *ret_count,
			 struct stage_progress *ret_progress, struct err *err)
{
	struct chunk_store *store = context;
	const struct delta_stage *set = deltas_find(&store->deltas, release);
	struct stage *stage;
	int r;

	if (set)
		return missing_of_set(set, ret_items, max, ret_count, ret_progress);
	r = need_stage(store, release, &stage, err);
	if (r == -ENOENT) {
		*ret_count = max > 0 ? 1 : 0;
		if (max > 0)
			ret_items[0] = (struct wanted_object){OBJECT_MANIFEST, *release, 0};
		*ret_progress = (struct stage_progress){0};
		return 0;
	}
	if (r == 0)
		r = stage_missing(stage, ret_items, max, ret_count, ret_progress, err);
	if (r == 0 && *ret_count > 0 && ret_progress->looked &&
	    deltas_come_first(store, stage, &ret_items[0]))
		*ret_count = 1;
	return r < 0 ? r : check_room(store, ret_progress, err);
}

static int store_put(void *context, const struct digest *release, enum object_kind kind,
		     const struct digest *digest, const void *data, size_t size, struct err *err)
{
	struct chunk_store *store = context;
	struct delta_stage *set = deltas_find(&store->deltas, release);
	struct digest found;
	struct stage *stage;
	int r;

	if (kind == OBJECT_MANIFEST)
		return put_manifest(store, release, data, size, err);
	if (kind == OBJECT_DELTAS)
		return put_deltas(store, release, data, size, err);
	if (kind == OBJECT_SET && size == 0) {
		if (set)
			end_set(store, set);
		return 0;
	}
	digest_of(&found, data, size);
	if (!digest_equal(&found, digest))
		return err_set(err, -EBADMSG, "a chunk is not what its digest says");
	if (set)
		return put_for_set(store, set, &(struct wanted_object){kind, *digest, size},
				   &(struct bytes){(uint8_t *)(uintptr_t)data, size}, err);
	r = need_stage(store, release, &stage, err);
	return r < 0 ? r : stage_put(stage, digest, data, size, err);
}

/* ---- sealed ---- */

struct search {
	const struct digest *release;
	bool sealed;
};

static int match_sealed(void *context, const struct digest *release, uint64_t used_unix_ms,
			bool sealed)
{
	struct search *search = context;

	if (sealed && digest_equal(release, search->release))
		search->sealed = true;
	return 0;
}

static bool files_are_there(const struct chunk_store *store, const struct release *release)
{
	for (size_t i = 0; i < release->blobs_count; i++) {
		char name[STORE_NAME_MAX];
		struct stat st;

		store_name(name, &release->blobs[i].content, "");
		if (fstatat(store->files.blobs, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    (uint64_t)st.st_size != release->blobs[i].size)
			return false;
	}
	return true;
}

static void remember_sealed(struct chunk_store *store, const struct digest *digest)
{
	store->sealed[store->sealed_count % SEALED_CACHE] = *digest;
	store->sealed_count++;
}

/* The journal says so and, looked at once a run, the files are there. */
static bool store_sealed(void *context, const struct digest *digest)
{
	struct chunk_store *store = context;
	struct search search = {digest, false};
	struct release release = {0};
	bool there;

	for (size_t i = 0; i < store->sealed_count && i < SEALED_CACHE; i++)
		if (digest_equal(&store->sealed[i], digest))
			return true;
	if (deltas_are_whole(&store->files, digest))
		return true;
	if (journal_each_release(store->config.journal, match_sealed, &search, NULL) < 0 ||
	    !search.sealed || store_release(store, digest, &release, NULL) < 0)
		return false;
	there = files_are_there(store, &release);
	release_free(&release);
	if (there)
		remember_sealed(store, digest);
	return there;
}

static int store_seal(void *context, const struct digest *release, struct err *err)
{
	struct chunk_store *store = context;
	struct delta_stage *set = deltas_find(&store->deltas, release);
	struct stage *stage;
	int r;

	if (set) {
		end_set(store, set);
		return 0;
	}
	r = need_stage(store, release, &stage, err);
	if (r == 0)
		r = stage_seal_step(stage, err);
	if (r == 0)
		r = journal_touch_release(store->config.journal, release, store->config.unix_ms(),
					  true, err);
	if (r < 0)
		return r;
	drop_stage(store, stage);
	remember_sealed(store, release);
	return 0;
}

static void store_suspect(void *context, const struct digest *release)
{
	struct chunk_store *store = context;
	struct stage *stage = find_stage(store, release);

	/* A stage that is there was made before the damage was known. */
	if (stage)
		drop_stage(store, stage);
	store->suspect = *release;
	store->sealed_count = 0;
	memset(store->sealed, 0, sizeof(store->sealed));
	/* Not written: then the release is used as it is, and found damaged again. */
	(void)!journal_touch_release(store->config.journal, release, store->config.unix_ms(), false,
				     NULL);
}

/* ---- room ---- */

/* Only when the list is another one: an idle node writes nothing. */
static int touch_kept(struct chunk_store *store, const struct digest_item *keep,
		      size_t keep_count, struct err *err)
{
	struct digest list;
	int r;

	digest_of(&list, keep, keep_count * sizeof(*keep));
	if (digest_equal(&list, &store->touched))
		return 0;
	store->touched = list;
	r = journal_begin(store->config.journal, err);
	for (size_t i = 0; r == 0 && i < keep_count; i++) {
		struct search search = {&keep[i].digest, false};

		r = journal_each_release(store->config.journal, match_sealed, &search, err);
		if (r == 0 && search.sealed)
			r = journal_touch_release(store->config.journal, &keep[i].digest,
						  store->config.unix_ms(), true, err);
	}
	if (r < 0) {
		journal_abandon(store->config.journal);
		return r;
	}
	return journal_commit(store->config.journal, err);
}

static int store_prune(void *context, const struct digest_item *keep, size_t keep_count,
		       bool *ret_dropped, struct err *err)
{
	struct chunk_store *store = context;
	int r = touch_kept(store, keep, keep_count, err);

	*ret_dropped = false;
	deltas_sweep(&store->files, store->config.unix_ms(), prune_is_due(&store->files, &store->config));
	/* A stage holds what a transfer needs, in memory too: its release must be in keep. */
	if (r == 0)
		r = prune_run(&store->files, &store->config, keep, keep_count, ret_dropped, err);
	if (*ret_dropped)
		store->sealed_count = 0;
	return r;
}

static void store_idle(void *context)
{
	struct chunk_store *store = context;

	for (struct stage *stage = store->stages; stage; stage = stage->next)
		(void)!stage_flush(stage, NULL); /* what is lost here is found in the part */
	drop_stages(store);
	malloc_trim(0);
}

/* ---- for peers ---- */

static int store_read(void *context, const struct digest *release, const struct digest *chunk,
		      void *buffer, size_t size, struct err *err)
{
	struct chunk_store *store = context;
	const struct stage *stage = find_stage(store, release);
	int r = stage ? stage_read(stage, chunk, buffer, size)
		      : deltas_read(&store->files, chunk, buffer, size);

	return r == -ENOENT ? held_read(&store->files, store->config.journal, chunk, buffer, size,
					err)
			    : r;
}

static int add_chunks(struct chunk_store *store, const struct release_blob *of,
		      struct chunk_ref **chunks, size_t *count, struct err *err)
{
	struct chunk_index index = {0};
	int r = stage_load_index(&store->files, of, &index, err);

	if (r < 0)
		return r;
	*chunks = mem_resize(*chunks, *count + index.chunks_count + 1, sizeof(**chunks));
	for (size_t i = 0; i < index.chunks_count; i++)
		(*chunks)[(*count)++] = index.chunks[i];
	codec_free(&codec_chunk_index, &index);
	return 0;
}

static int store_chunks(void *context, const struct digest *digest, struct chunk_ref **ret_chunks,
			size_t *ret_count, struct err *err)
{
	struct chunk_store *store = context;
	AUTO_FREE struct chunk_ref *chunks = NULL;
	struct release release = {0};
	size_t count = 0;
	int r = deltas_chunks(&store->files, digest, ret_chunks, ret_count, NULL);

	if (r == 0)
		return 0;
	r = store_release(store, digest, &release, err);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < release.blobs_count; i++)
		r = add_chunks(store, &release.blobs[i], &chunks, &count, err);
	release_free(&release);
	if (r < 0)
		return r;
	*ret_count = count;
	*ret_chunks = TAKE_PTR(chunks);
	return 0;
}

struct chunk_store_ops chunk_store_ops(struct chunk_store *store)
{
	return (struct chunk_store_ops){
		.context = store,
		.missing = store_missing,
		.put = store_put,
		.chunks = store_chunks,
		.read = store_read,
		.seal = store_seal,
		.release = store_release,
		.sealed = store_sealed,
		.suspect = store_suspect,
		.prune = store_prune,
		.idle = store_idle,
	};
}
