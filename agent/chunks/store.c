/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunk store's face: it opens manifests (never believing the disk: signatures are checked
 * whenever one is read), hands the work on a release to its stage (stage.c, seal.c) and keeps room
 * (prune.c). Stages live only while something is being fetched.
 */
#include "agent/chunks/store.h"

#include "agent/chunks/delta.h"
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
	struct delta_stage *sets;
	struct coding *coding; /* while there are sets */
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

static void drop_set(struct chunk_store *store, struct delta_stage *set)
{
	struct delta_stage **at = &store->sets;

	while (*at != set)
		at = &(*at)->next;
	*at = set->next;
	delta_stage_free(set);
	if (store->sets)
		return;
	coding_free(store->coding);
	store->coding = NULL;
}

static void drop_stages(struct chunk_store *store)
{
	while (store->stages) {
		struct stage *stage = store->stages;

		store->stages = stage->next;
		stage_free(stage);
	}
	while (store->sets)
		drop_set(store, store->sets);
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

static struct delta_stage *find_set(const struct chunk_store *store, const struct digest *digest)
{
	for (struct delta_stage *set = store->sets; set; set = set->next)
		if (digest_equal(&set->id, digest))
			return set;
	return NULL;
}

struct holding {
	const struct digest *not_this;
	struct held_release *held;
	size_t count;
};

/* Comes with the longest unused first: the latest ones stay, in front. */
static int add_held(void *context, const struct digest *release, uint64_t used_unix_ms, bool sealed)
{
	struct holding *holding = context;

	if (!sealed || digest_equal(release, holding->not_this))
		return 0;
	memmove(&holding->held[1], &holding->held[0], (LIMIT_HELD - 1) * sizeof(*holding->held));
	holding->held[0].digest = *release;
	holding->count += holding->count < LIMIT_HELD;
	return 0;
}

size_t chunk_store_held(struct chunk_store *store, const struct digest *not_this,
			struct held_release ret_held[LIMIT_HELD])
{
	struct holding holding = {not_this, ret_held, 0};

	return journal_each_release(store->config.journal, add_held, &holding, NULL) < 0
		       ? 0
		       : holding.count;
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
						.complete = set->opened && set->left == 0};
	*ret_count = max > 0 ? 1 : 0;
	if (!set->opened && max > 0)
		ret_items[0] = (struct wanted_object){OBJECT_SET, set->id, 0};
	else
		delta_stage_missing(set, ret_items, max, ret_count);
	return 0;
}

/* What a set is for goes on without it. */
static void end_set(struct chunk_store *store, struct delta_stage *set)
{
	struct stage *stage = find_stage(store, &set->target);

	if (stage)
		stage->deltas = DELTAS_OVER;
	drop_set(store, set);
}

static int source_read(void *context, const struct digest *chunk, struct bytes *ret_data)
{
	return chunk_store_read(context, chunk, ret_data, NULL);
}

static bool source_has(void *context, const struct digest *chunk)
{
	const struct chunk_store *store = context;
	struct digest blob;
	uint64_t offset, size;

	return journal_find_chunk(store->config.journal, chunk, NULL, &blob, &offset, &size,
				  NULL) == 0;
}

/* The answer to DELTAS. */
static int put_deltas(struct chunk_store *store, const struct digest *release, const void *data,
		      size_t size, struct err *err)
{
	struct stage *stage = find_stage(store, release);
	struct delta_stage *set;
	struct digest digest;

	if (!stage || stage->deltas != DELTAS_UNASKED)
		return 0;
	stage->deltas = DELTAS_OVER;
	if (size == 0)
		return 0;
	if (size != DIGEST_SIZE)
		return err_set(err, -EBADMSG, "the name of a delta set is no digest");
	memcpy(digest.bytes, data, DIGEST_SIZE);
	if (find_set(store, &digest))
		return 0; /* for another release: that cannot be */
	set = delta_stage_create(&digest, release);
	set->next = store->sets;
	store->sets = set;
	if (!store->coding)
		store->coding = coding_create();
	stage->deltas = DELTAS_WAIT;
	stage->set = digest;
	return 0;
}

static int put_for_set(struct chunk_store *store, struct delta_stage *set,
		       const struct wanted_object *object, const struct bytes *data,
		       struct err *err)
{
	const struct delta_source source = {store, source_read, source_has};
	struct stage *stage = find_stage(store, &set->target);

	if (!stage || data->size == 0) {
		end_set(store, set);
		return 0;
	}
	if (object->kind == OBJECT_SET)
		return set->opened ? 0 : delta_stage_open(set, data->data, data->size, &source, err);
	return delta_stage_put(set, stage, store->coding, &source, &object->digest, data, err);
}

/* ---- missing, put ---- */

static int store_missing(void *context, const struct digest *release,
			 struct wanted_object *ret_items, size_t max, size_t *ret_count,
			 struct stage_progress *ret_progress, struct err *err)
{
	struct chunk_store *store = context;
	const struct delta_stage *set = find_set(store, release);
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
	if (r == 0 && *ret_count > 0 && stage_has_indices(stage) &&
	    deltas_come_first(store, stage, &ret_items[0]))
		*ret_count = 1;
	return r < 0 ? r : check_room(store, ret_progress, err);
}

static int store_put(void *context, const struct digest *release, enum object_kind kind,
		     const struct digest *digest, const void *data, size_t size, struct err *err)
{
	struct chunk_store *store = context;
	struct delta_stage *set = find_set(store, release);
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
	struct delta_stage *set = find_set(store, release);
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

struct chunk_store_ops chunk_store_ops(struct chunk_store *store)
{
	return (struct chunk_store_ops){
		.context = store,
		.missing = store_missing,
		.put = store_put,
		.seal = store_seal,
		.release = store_release,
		.sealed = store_sealed,
		.suspect = store_suspect,
		.prune = store_prune,
		.idle = store_idle,
	};
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

int chunk_store_read(struct chunk_store *store, const struct digest *chunk, struct bytes *ret_data,
		     struct err *err)
{
	AUTO_FREE uint8_t *data = NULL;
	AUTO_CLOSE int fd = -1;
	struct digest blob, digest;
	uint64_t offset, size;
	int r = journal_find_chunk(store->config.journal, chunk, NULL, &blob, &offset, &size, err);

	if (r < 0)
		return r;
	if (size > LIMIT_CHUNK)
		return err_set(err, -EBADMSG, "the journal names a chunk that is too large");
	fd = open_blob(store, &blob);
	if (fd < 0)
		return -ENOENT;
	data = mem_alloc(size + 1);
	r = store_read_at(fd, data, size, offset);
	if (r < 0)
		return err_errno(err, r, "read a chunk");
	digest_of(&digest, data, size);
	if (!digest_equal(&digest, chunk))
		return err_set(err, -EBADMSG, "a chunk was damaged on the disk");
	ret_data->size = (size_t)size;
	ret_data->data = TAKE_PTR(data);
	return 0;
}
