/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunk store's face: it opens manifests (never believing the disk: signatures are checked
 * whenever one is read), hands the work on a release to its stage (stage.c, seal.c) and keeps room
 * (prune.c). Stages live only while something is being fetched.
 */
#include "agent/chunks/store.h"

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

static int store_missing(void *context, const struct digest *release,
			 struct wanted_object *ret_items, size_t max, size_t *ret_count,
			 struct stage_progress *ret_progress, struct err *err)
{
	struct chunk_store *store = context;
	struct stage *stage;
	int r = need_stage(store, release, &stage, err);

	if (r == -ENOENT) {
		*ret_count = max > 0 ? 1 : 0;
		if (max > 0)
			ret_items[0] = (struct wanted_object){OBJECT_MANIFEST, *release, 0};
		*ret_progress = (struct stage_progress){0};
		return 0;
	}
	if (r == 0)
		r = stage_missing(stage, ret_items, max, ret_count, ret_progress, err);
	return r < 0 ? r : check_room(store, ret_progress, err);
}

static int store_put(void *context, const struct digest *release, enum object_kind kind,
		     const struct digest *digest, const void *data, size_t size, struct err *err)
{
	struct chunk_store *store = context;
	struct digest found;
	struct stage *stage;
	int r;

	if (kind == OBJECT_MANIFEST)
		return put_manifest(store, release, data, size, err);
	digest_of(&found, data, size);
	if (!digest_equal(&found, digest))
		return err_set(err, -EBADMSG, "a chunk is not what its digest says");
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
	struct stage *stage;
	int r = need_stage(store, release, &stage, err);

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

static int open_blob(const struct chunk_store *store, const struct digest *blob)
{
	char name[STORE_NAME_MAX];
	int fd;

	store_name(name, blob, "");
	fd = openat(store->files.blobs, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0)
		return fd;
	store_name(name, blob, ".part");
	return openat(store->files.parts, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* From any blob on the disk that the journal knows it in. */
static int read_durable(struct chunk_store *store, const struct digest *chunk, void *buffer,
			size_t size, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct digest blob;
	uint64_t offset, found;
	int r = journal_find_chunk(store->config.journal, chunk, NULL, &blob, &offset, &found, err);

	if (r < 0)
		return r;
	if (found != size)
		return -ENOENT;
	fd = open_blob(store, &blob);
	if (fd < 0)
		return -ENOENT;
	r = store_read_at(fd, buffer, size, offset);
	return r < 0 ? err_errno(err, r, "read a chunk") : 0;
}

static int store_read(void *context, const struct digest *release, const struct digest *chunk,
		      void *buffer, size_t size, struct err *err)
{
	struct chunk_store *store = context;
	const struct stage *stage = find_stage(store, release);
	int r = stage ? stage_read(stage, chunk, buffer, size) : -ENOENT;

	return r == -ENOENT ? read_durable(store, chunk, buffer, size, err) : r;
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
	int r = store_release(store, digest, &release, err);

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
