/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files go is decided from the manifests of the releases that stay: their blobs and indices
 * are collected in one sorted list, and what is not in it goes. So nothing has to be counted up
 * and down, and a file that a crash left behind is found like any other.
 */
#include "agent/chunks/prune.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/manifest.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct known { /* releases of the journal, longest unused first */
	struct digest *digests;
	size_t count, cap;
};

struct needed {
	struct digest *digests;
	size_t count, cap;
};

static int add_known(void *context, const struct digest *release, uint64_t used_unix_ms,
		     bool sealed)
{
	struct known *known = context;

	MEM_GROW(known->digests, &known->cap, known->count);
	known->digests[known->count++] = *release;
	return 0;
}

static bool is_kept(const struct digest_item *keep, size_t count, const struct digest *digest)
{
	for (size_t i = 0; i < count; i++)
		if (digest_equal(&keep[i].digest, digest))
			return true;
	return false;
}

/* ---- how full ---- */

static uint64_t folder_bytes(int folder)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	uint64_t bytes = 0;
	struct dirent *entry;
	struct stat st;

	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' &&
		    fstatat(folder, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			bytes += 512 * (uint64_t)st.st_blocks;
	closedir(dir);
	return bytes;
}

bool prune_is_due(const struct store_files *files, const struct chunk_store_config *config)
{
	struct statvfs vfs;

	if (fstatvfs(files->root, &vfs) == 0 && vfs.f_blocks > 0 &&
	    (uint64_t)vfs.f_bavail * 100 < (uint64_t)vfs.f_blocks * config->free_percent)
		return true;
	return config->quota_bytes > 0 &&
	       folder_bytes(files->blobs) + folder_bytes(files->parts) > config->quota_bytes;
}

/* ---- what is needed ---- */

static void need(struct needed *needed, const struct digest *digest)
{
	MEM_GROW(needed->digests, &needed->cap, needed->count);
	needed->digests[needed->count++] = *digest;
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, DIGEST_SIZE);
}

/* False: the manifest cannot be read; then nothing may go that it might need. */
static bool need_release(const struct store_files *files, const struct root_document *root,
			 const struct digest *digest, struct needed *needed)
{
	char name[STORE_NAME_MAX];
	struct bytes bytes = {0};
	struct release release = {0};
	int r;

	store_name(name, digest, ".manifest");
	need(needed, digest);
	r = store_read_file(files->releases, name, LIMIT_MANIFEST, &bytes, NULL);
	if (r == -ENOENT)
		return true; /* its fetch has not begun */
	if (r == 0)
		r = release_open(bytes.data, bytes.size, root, digest, &release, NULL);
	free(bytes.data);
	if (r < 0)
		return false;
	for (size_t i = 0; i < release.blobs_count; i++) {
		need(needed, &release.blobs[i].content);
		need(needed, &release.blobs[i].index);
	}
	release_free(&release);
	return true;
}

static int collect_needed(const struct store_files *files, const struct root_document *root,
			  const struct known *known, struct needed *needed, struct err *err)
{
	needed->count = 0;
	for (size_t i = 0; i < known->count; i++)
		if (!need_release(files, root, &known->digests[i], needed))
			return err_set(err, -EKEYREJECTED,
				       "a manifest on the disk cannot be read: nothing is removed");
	if (needed->count > 0) /* else there may be no array at all */
		qsort(needed->digests, needed->count, sizeof(struct digest), compare);
	return 0;
}

static bool is_needed(const struct needed *needed, const struct digest *digest)
{
	return needed->count > 0 && bsearch(digest, needed->digests, needed->count,
					    sizeof(struct digest), compare) != NULL;
}

/* ---- removing ---- */

static int sweep(int folder, const char *suffix, const struct needed *needed,
		 struct journal *journal, struct err *err)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	int r = 0;

	if (!dir)
		return err_errno(err, -errno, "read a folder of the chunk store");
	while (r == 0 && (entry = readdir(dir))) {
		struct digest digest;

		if (store_name_parse(entry->d_name, suffix, &digest) < 0 ||
		    is_needed(needed, &digest))
			continue;
		/* The rows first: a row must never name bytes that are gone. */
		if (journal)
			r = journal_drop_blob(journal, &digest, err);
		if (r == 0 && unlinkat(folder, entry->d_name, 0) < 0)
			r = err_errno(err, -errno, "remove %s", entry->d_name);
	}
	closedir(dir);
	return r;
}

static int sweep_all(const struct store_files *files, const struct chunk_store_config *config,
		     const struct known *known, struct err *err)
{
	struct needed needed = {0};
	int r = collect_needed(files, config->root, known, &needed, err);

	if (r == 0)
		r = sweep(files->blobs, "", &needed, config->journal, err);
	if (r == 0)
		r = sweep(files->parts, ".part", &needed, config->journal, err);
	if (r == 0)
		r = sweep(files->objects, "", &needed, NULL, err);
	if (r == 0)
		r = sweep(files->releases, ".manifest", &needed, NULL, err);
	free(needed.digests);
	return r;
}

static int drop_oldest(struct known *known, const struct chunk_store_config *config,
		       const struct digest_item *keep, size_t keep_count, bool *ret_dropped,
		       struct err *err)
{
	int r;

	*ret_dropped = false;
	for (size_t i = 0; i < known->count; i++) {
		if (is_kept(keep, keep_count, &known->digests[i]))
			continue;
		r = journal_drop_release(config->journal, &known->digests[i], err);
		if (r < 0)
			return r;
		memmove(&known->digests[i], &known->digests[i + 1],
			(known->count - i - 1) * sizeof(struct digest));
		known->count--;
		*ret_dropped = true;
		return 0;
	}
	return 0;
}

int prune_run(const struct store_files *files, const struct chunk_store_config *config,
	      const struct digest_item *keep, size_t keep_count, bool *ret_dropped, struct err *err)
{
	struct known known = {0};
	bool dropped = true, any = false;
	int r = journal_each_release(config->journal, add_known, &known, err);

	/* What nobody knows goes first: left over from a crash, or from a journal that was lost. */
	if (r == 0 && prune_is_due(files, config))
		r = sweep_all(files, config, &known, err);
	while (r == 0 && dropped && prune_is_due(files, config)) {
		r = drop_oldest(&known, config, keep, keep_count, &dropped, err);
		if (r == 0 && dropped)
			r = sweep_all(files, config, &known, err);
		any = any || dropped;
	}
	free(known.digests);
	*ret_dropped = any;
	return r;
}
