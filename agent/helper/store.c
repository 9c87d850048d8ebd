/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacking makes what is missing: layers first, then the release's folder with its model files
 * and, last in it, the manifest. The release may start when the manifest is there. One syncfs()
 * before each rename puts thousands of small files on the disk at once.
 *
 * Pruning holds the store's lock alone, unpacking and starting share it, so nothing is removed
 * that somebody is about to need.
 */
#include "agent/helper/store.h"

#include "agent/helper/record.h"
#include "agent/helper/seal.h"
#include "agent/helper/trusted.h"
#include "agent/helper/unpack.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define TEMPORARY ".tmp-"

enum { LOG_DAYS = 7 };

/* ---- unpack ---- */

static int open_new(const char *path, mode_t mode, struct err *err)
{
	int fd, r = paths_remove(path, err);

	if (r < 0)
		return r;
	if (mkdir(path, mode) < 0 || chmod(path, mode) < 0)
		return err_errno(err, -errno, "%s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_errno(err, -errno, "%s", path) : fd;
}

/* Everything below is on the disk, then it appears under its name. */
static int publish(int fd, const char *temporary, const char *path, struct err *err)
{
	AUTO_FREE char *folder = mem_str(path);
	AUTO_CLOSE int parent = -1;

	*strrchr(folder, '/') = 0;
	parent = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0 || syncfs(fd) < 0)
		return err_errno(err, -errno, "%s", temporary);
	if (rename(temporary, path) < 0 && errno != EEXIST && errno != ENOTEMPTY)
		return err_errno(err, -errno, "%s", path);
	return fsync(parent) < 0 ? err_errno(err, -errno, "%s", folder) : 0;
}

static int unpack_one(const struct agent_config *config, const struct release_blob *blob,
                      struct err *err)
{
	char path[PATHS_MAX], temporary[PATHS_MAX], hex[DIGEST_HEX_MAX], tail[64];
	struct unpack_layer layer = {.size = blob->size};
	AUTO_CLOSE int root = -1, tar = -1;
	int r;

	if (access(paths_layer(config, blob->diff_id, path), F_OK) == 0)
		return 0;
	str_hex(hex, blob->content.bytes, DIGEST_SIZE);
	memcpy(layer.diff_id, blob->diff_id, DIGEST_SIZE);
	snprintf(tail, sizeof(tail), "/layers/" TEMPORARY "%d", (int)getpid());
	paths_state(config, temporary, tail);
	r = tar = layer.tar = seal_open(config, blob, err);
	if (r >= 0)
		r = unpack_verify(&layer, err); /* no parser sees a byte that nobody signed */
	if (r == 0)
		r = root = layer.root = open_new(temporary, 0755, err);
	if (r >= 0)
		r = unpack_layer(&layer, err);
	if (r == 0)
		r = publish(root, temporary, path, err);
	if (r < 0 && paths_remove(temporary, NULL) < 0)
		return err_prefix(err, r, "layer %.12s", hex); /* pruning finds it */
	return r < 0 ? err_prefix(err, r, "layer %.12s", hex) : 0;
}

static int seal_files(const struct agent_config *config, const struct release *release,
                      const char *temporary, struct err *err)
{
	AUTO_FREE char *path = mem_format("%s/model", temporary);
	AUTO_CLOSE int model = -1;
	int r = 0;

	for (size_t i = 0; i < release->blobs_count && r == 0; i++) {
		if (release->blobs[i].kind != BLOB_FILE)
			continue;
		if (model < 0)
			r = model = open_new(path, 0755, err);
		if (r >= 0)
			r = seal_file(config, &release->blobs[i], model, err);
	}
	return r;
}

static int unpack_release(struct worker *worker, const struct release *release,
                          const struct bytes *manifest, struct err *err)
{
	const struct agent_config *config = &worker->config;
	char path[PATHS_MAX], temporary[PATHS_MAX], tail[64];
	AUTO_FREE char *file = NULL;
	AUTO_CLOSE int folder = -1;
	int r = 0;

	for (size_t i = 0; i < release->blobs_count && r == 0; i++)
		if (release->blobs[i].kind == BLOB_LAYER)
			r = unpack_one(config, &release->blobs[i], err);
	if (r < 0)
		return r;
	snprintf(tail, sizeof(tail), "/releases/" TEMPORARY "%d", (int)getpid());
	r = folder = open_new(paths_state(config, temporary, tail), 0755, err);
	if (r >= 0)
		r = seal_files(config, release, temporary, err);
	file = mem_format("%s/manifest", temporary);
	if (r == 0)
		r = paths_write(file, manifest->data, manifest->size, 0600, err);
	if (r == 0)
		r = paths_remove(paths_release(config, &worker->request.release, path, ""), err);
	if (r == 0)
		r = publish(folder, temporary, path, err);
	if (r < 0 && paths_remove(temporary, NULL) < 0)
		return r; /* pruning finds it */
	return r;
}

static bool layers_are_there(const struct agent_config *config, const struct release *release)
{
	char path[PATHS_MAX];

	for (size_t i = 0; i < release->blobs_count; i++)
		if (release->blobs[i].kind == BLOB_LAYER &&
		    access(paths_layer(config, release->blobs[i].diff_id, path), F_OK) < 0)
			return false;
	return true;
}

int store_unpack(struct worker *worker, struct err *err)
{
	const struct digest *digest = &worker->request.release;
	struct release release = {0};
	struct bytes manifest = {0};
	int r = worker_lock(worker, "store", true, err);

	if (r < 0)
		return worker_fail(worker, r, "busy");
	if (trusted_unpacked(&worker->config, digest, &release, NULL) == 0 &&
	    layers_are_there(&worker->config, &release)) {
		release_free(&release);
		return 0;
	}
	release_free(&release);
	r = trusted_fetched(&worker->config, digest, &release, &manifest, err);
	if (r < 0)
		return worker_fail(worker, r, "manifest");
	r = unpack_release(worker, &release, &manifest, err);
	free(manifest.data);
	release_free(&release);
	if (r < 0)
		worker_fail(worker, r, r == -EBADMSG ? "digest" : r == -ENOSPC ? "disk" : "unpack");
	return r;
}

/* ---- prune ---- */

struct kept { /* what must stay */
	struct digest *releases;
	size_t releases_count, releases_cap;
	uint8_t (*layers)[DIGEST_SIZE];
	size_t layers_count, layers_cap;
};

static void free_kept(struct kept *kept)
{
	free(kept->releases);
	free(kept->layers);
}

static void keep_release(struct kept *kept, const struct digest *digest)
{
	MEM_GROW(kept->releases, &kept->releases_cap, kept->releases_count);
	kept->releases[kept->releases_count++] = *digest;
}

static int keep_running(void *context, const struct slot_name *slot, const struct record *record)
{
	(void)slot;
	if (record)
		keep_release(context, &record->release);
	return 0;
}

static int keep_layers(const struct agent_config *config, struct kept *kept, struct err *err)
{
	for (size_t i = 0; i < kept->releases_count; i++) {
		struct release release = {0};
		int r = trusted_unpacked(config, &kept->releases[i], &release, err);

		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r; /* better to keep too much than to guess */
		for (size_t k = 0; k < release.blobs_count; k++) {
			if (release.blobs[k].kind != BLOB_LAYER)
				continue;
			MEM_GROW(kept->layers, &kept->layers_cap, kept->layers_count);
			memcpy(kept->layers[kept->layers_count++], release.blobs[k].diff_id,
			       DIGEST_SIZE);
		}
		release_free(&release);
	}
	return 0;
}

static bool is_kept(const struct kept *kept, bool layers, const char *name)
{
	uint8_t digest[DIGEST_SIZE];

	if (str_unhex(digest, sizeof(digest), name))
		return false;
	for (size_t i = 0; layers && i < kept->layers_count; i++)
		if (memcmp(kept->layers[i], digest, DIGEST_SIZE) == 0)
			return true;
	for (size_t i = 0; !layers && i < kept->releases_count; i++)
		if (memcmp(kept->releases[i].bytes, digest, DIGEST_SIZE) == 0)
			return true;
	return false;
}

/* Out of sight first: half a layer must never lie under a layer's name. */
static int remove_whole(const char *folder, const char *name, struct err *err)
{
	AUTO_FREE char *path = mem_format("%s/%s", folder, name);
	AUTO_FREE char *hidden = mem_format("%s/" TEMPORARY "%s", folder, name);

	if (str_starts(name, TEMPORARY))
		return paths_remove(path, err);
	if (rename(path, hidden) < 0)
		return err_errno(err, -errno, "%s", path);
	return paths_remove(hidden, err);
}

static int prune_folder(const struct agent_config *config, const struct kept *kept, bool layers,
                        struct err *err)
{
	char folder[PATHS_MAX];
	struct dirent **names = NULL;
	int count, r = 0;

	count = scandir(paths_state(config, folder, layers ? "/layers" : "/releases"), &names, NULL,
	                NULL);
	if (count < 0)
		return err_errno(err, -errno, "%s", folder);
	for (int i = 0; i < count; i++) {
		const char *name = names[i]->d_name;

		if (r == 0 && !str_equal(name, ".") && !str_equal(name, "..") &&
		    !is_kept(kept, layers, name))
			r = remove_whole(folder, name, err);
		free(names[i]);
	}
	free(names);
	return r;
}

/* Logs of slots that do not run stay for a while: somebody may still ask why. */
static int prune_logs(const struct agent_config *config, struct err *err)
{
	char folder[PATHS_MAX], path[PATHS_MAX];
	struct dirent **names = NULL;
	time_t oldest = time(NULL) - LOG_DAYS * 86400;
	int count = scandir(paths_state(config, folder, "/logs"), &names, NULL, NULL), r = 0;

	for (int i = 0; i < count; i++) {
		char deployment[LIMIT_NAME + 1];
		struct slot_name slot;
		enum colour colour;
		struct stat st;

		if (r == 0 && paths_slot_parse(names[i]->d_name, deployment, &colour) &&
		    paths_slot(deployment, colour, &slot, NULL) == 0 &&
		    access(paths_slot_run(config, &slot, path, ""), F_OK) < 0 &&
		    stat(paths_log(config, &slot, path, ""), &st) == 0 && st.st_mtime < oldest)
			r = paths_remove(path, err);
		free(names[i]);
	}
	free(names);
	return r;
}

int store_prune(struct worker *worker, struct err *err)
{
	COVEY_CLEANUP(free_kept) struct kept kept = {0};
	int lock, r;

	worker->end_ms = 0; /* do not wait: the agent prunes again later */
	lock = worker_lock(worker, "store", false, err);
	if (lock < 0)
		return err_set(err, -EBUSY, "a release is being unpacked or started");
	for (size_t i = 0; i < worker->request.keep_count; i++)
		keep_release(&kept, &worker->request.keep[i].digest);
	r = record_each(&worker->config, keep_running, &kept, err);
	if (r == 0)
		r = keep_layers(&worker->config, &kept, err);
	if (r == 0)
		r = prune_folder(&worker->config, &kept, false, err);
	if (r == 0)
		r = prune_folder(&worker->config, &kept, true, err);
	return r == 0 ? prune_logs(&worker->config, err) : r;
}
