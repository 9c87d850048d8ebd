/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object store on disk. The name is the digest, so that a second put is nothing but a new time
 * stamp, and a file that no longer has its digest is known for what it is when it is read. Folders
 * are held as descriptors: no path is joined after the start.
 */
#include "coordinator/object_files.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

struct object_files {
	int dir, tmp;
	uint64_t counter;
};

struct object_name {
	char folder[3];
	char file[2 * DIGEST_SIZE + 1];
	char path[3 + 2 * DIGEST_SIZE + 1];
};

static void name_of(const struct digest *digest, struct object_name *name)
{
	str_hex(name->file, digest->bytes, DIGEST_SIZE);
	memcpy(name->folder, name->file, 2);
	name->folder[2] = '\0';
	snprintf(name->path, sizeof(name->path), "%s/%s", name->folder, name->file);
}

static int fail(struct err *err, const char *what)
{
	if (errno == ENOSPC || errno == EDQUOT)
		return err_set(err, -ENOSPC, "the disk with the coordinator's objects is full: "
			       "remove releases with `covey release rm`, or make room");
	return err_errno(err, -errno, "objects: %s", what);
}

/* ---- open ---- */

static int open_folder(int at, const char *path, int *ret_fd, struct err *err)
{
	if (mkdirat(at, path, 0700) < 0 && errno != EEXIST)
		return fail(err, path);
	*ret_fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret_fd < 0 ? fail(err, path) : 0;
}

/* Calls fn with each name in the folder, which stays open. */
static int each_name(int folder, int (*fn)(void *arg, int folder, const char *name), void *arg,
		     struct err *err)
{
	int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;
	int r = 0;

	if (!dir) {
		r = fail(err, "reading a folder");
		if (copy >= 0)
			close(copy);
		return r;
	}
	while (r == 0 && (errno = 0, entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			r = fn(arg, folder, entry->d_name);
	}
	if (r == 0 && errno)
		r = fail(err, "reading a folder");
	closedir(dir);
	return r;
}

static int remove_name(void *arg, int folder, const char *name)
{
	unlinkat(folder, name, 0);
	return 0;
}

int object_files_open(const char *dir, struct object_files **ret_files, struct err *err)
{
	COVEY_CLEANUP(object_files_close_p) struct object_files *files = mem_alloc(sizeof(*files));
	int r;

	files->dir = files->tmp = -1;
	r = open_folder(AT_FDCWD, dir, &files->dir, err);
	if (r == 0)
		r = open_folder(files->dir, "tmp", &files->tmp, err);
	if (r == 0)
		r = each_name(files->tmp, remove_name, NULL, err);
	if (r < 0)
		return r;
	*ret_files = TAKE_PTR(files);
	return 0;
}

void object_files_close(struct object_files *files)
{
	if (files->dir >= 0)
		close(files->dir);
	if (files->tmp >= 0)
		close(files->tmp);
	free(files);
}

/* ---- put ---- */

static int write_all(int fd, const uint8_t *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

static int write_file(struct object_files *files, const char *tmp, const void *data, size_t size,
		      struct err *err)
{
	AUTO_CLOSE int fd = openat(files->tmp, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return fail(err, "creating a file");
	if (write_all(fd, data, size) < 0 || fsync(fd) < 0)
		return fail(err, "writing a file");
	return 0;
}

static int rename_file(struct object_files *files, const char *tmp, const struct object_name *name,
		       struct err *err)
{
	AUTO_CLOSE int folder = -1;
	int r = open_folder(files->dir, name->folder, &folder, err);

	if (r < 0)
		return r;
	if (renameat(files->tmp, tmp, folder, name->file) < 0)
		return fail(err, "renaming a file");
	/* The folder itself may be new. */
	return fsync(folder) < 0 || fsync(files->dir) < 0 ? fail(err, "syncing a folder") : 0;
}

bool object_files_has(struct object_files *files, const struct digest *digest)
{
	struct object_name name;

	name_of(digest, &name);
	return utimensat(files->dir, name.path, NULL, 0) == 0;
}

int object_files_put(struct object_files *files, const struct digest *digest, const void *data,
		     size_t size, struct err *err)
{
	struct object_name name;
	struct bytes there = {0};
	char tmp[32];
	int r;

	name_of(digest, &name);
	/* Read, not only looked at: a damaged file is mended by pushing it again. */
	if (object_files_has(files, digest) && object_files_get(files, digest, &there, NULL) == 0) {
		free(there.data);
		return 0;
	}
	snprintf(tmp, sizeof(tmp), "%llu", (unsigned long long)++files->counter);
	r = write_file(files, tmp, data, size, err);
	if (r == 0)
		r = rename_file(files, tmp, &name, err);
	if (r < 0)
		unlinkat(files->tmp, tmp, 0);
	return r;
}

/* ---- get ---- */

static int read_all(int fd, uint8_t *data, size_t size)
{
	while (size > 0) {
		ssize_t n = read(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n < 0 ? errno : EIO;
			return -1;
		}
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

int object_files_get(struct object_files *files, const struct digest *digest,
		     struct bytes *ret_data, struct err *err)
{
	struct object_name name;
	struct digest found;
	struct stat st;
	AUTO_FREE uint8_t *data = NULL;
	AUTO_CLOSE int fd = -1;

	name_of(digest, &name);
	fd = openat(files->dir, name.path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? err_set(err, -ENOENT, "object %s is not here", name.file)
				       : fail(err, "opening a file");
	if (fstat(fd, &st) < 0)
		return fail(err, "opening a file");
	if (st.st_size < 0 || st.st_size > LIMIT_OBJECT)
		return err_set(err, -EBADMSG, "object %s is damaged", name.file);
	data = mem_alloc((size_t)st.st_size + 1);
	if (read_all(fd, data, (size_t)st.st_size) < 0)
		return fail(err, "reading a file");
	digest_of(&found, data, (size_t)st.st_size);
	if (!digest_equal(&found, digest)) {
		/* Gone, it is one that a push brings again. */
		unlinkat(files->dir, name.path, 0);
		return err_set(err, -EBADMSG,
			       "object %s was damaged on the coordinator's disk and is removed: "
			       "push its release again", name.file);
	}
	ret_data->size = (size_t)st.st_size;
	ret_data->data = TAKE_PTR(data);
	return 0;
}

int object_files_peek(struct object_files *files, const struct digest *digest, void *buffer,
		      size_t size)
{
	struct object_name name;
	struct stat st;
	AUTO_CLOSE int fd = -1;

	name_of(digest, &name);
	fd = openat(files->dir, name.path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < 0 || (uint64_t)st.st_size != size)
		return -ENOENT;
	return read_all(fd, buffer, size) < 0 ? -errno : 0;
}

/* ---- remove, each ---- */

int object_files_remove(struct object_files *files, const struct digest *digest, struct err *err)
{
	struct object_name name;

	name_of(digest, &name);
	if (unlinkat(files->dir, name.path, 0) < 0 && errno != ENOENT)
		return fail(err, "removing a file");
	return 0;
}

struct walk {
	world_object_fn *fn;
	void *arg;
	struct err *err;
};

static int visit_file(void *arg, int folder, const char *file)
{
	struct walk *walk = arg;
	struct digest digest;
	struct stat st;

	if (str_unhex(digest.bytes, DIGEST_SIZE, file) < 0 || fstatat(folder, file, &st, 0) < 0)
		return 0;
	return walk->fn(walk->arg, &digest, (uint64_t)st.st_size,
			(uint64_t)st.st_mtim.tv_sec * 1000 +
				(uint64_t)st.st_mtim.tv_nsec / 1000000);
}

static int visit_folder(void *arg, int dir, const char *name)
{
	struct walk *walk = arg;
	AUTO_CLOSE int folder = -1;

	if (strlen(name) != 2)
		return 0;
	folder = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return folder < 0 ? 0 : each_name(folder, visit_file, walk, walk->err);
}

int object_files_each(struct object_files *files, world_object_fn *fn, void *arg, struct err *err)
{
	struct walk walk = {fn, arg, err};

	return each_name(files->dir, visit_folder, &walk, err);
}
