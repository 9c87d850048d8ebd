/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain file work of the chunk store, apart from its decisions: everything is relative to the
 * folders that were opened once, reads and writes are whole or fail, and a file that readers may
 * see is written under another name first.
 */
#include "agent/chunks/files.h"

#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_folder(int parent, const char *name, int *ret_fd, struct err *err)
{
	int fd;

	if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
		return err_errno(err, -errno, "make folder %s", name);
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "open folder %s", name);
	*ret_fd = fd;
	return 0;
}

int store_files_open(const char *dir, struct store_files *ret_files, struct err *err)
{
	struct store_files files = {-1, -1, -1, -1, -1, -1};
	int r = open_folder(AT_FDCWD, dir, &files.root, err);

	if (r == 0)
		r = open_folder(files.root, "parts", &files.parts, err);
	if (r == 0)
		r = open_folder(files.root, "blobs", &files.blobs, err);
	if (r == 0)
		r = open_folder(files.root, "releases", &files.releases, err);
	if (r == 0)
		r = open_folder(files.root, "objects", &files.objects, err);
	if (r == 0)
		r = open_folder(files.root, "deltas", &files.deltas, err);
	if (r < 0) {
		store_files_close(&files);
		return err_prefix(err, r, "chunk store %s", dir);
	}
	*ret_files = files;
	return 0;
}

void store_files_close(struct store_files *files)
{
	int *fds[] = {&files->root, &files->parts, &files->blobs, &files->releases,
		      &files->objects, &files->deltas};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

void store_name(char dst[STORE_NAME_MAX], const struct digest *digest, const char *suffix)
{
	str_hex(dst, digest->bytes, DIGEST_SIZE);
	str_cut(dst + 2 * DIGEST_SIZE, STORE_NAME_MAX - 2 * DIGEST_SIZE, suffix);
}

int store_name_parse(const char *name, const char *suffix, struct digest *ret_digest)
{
	char hex[2 * DIGEST_SIZE + 1];

	if (strlen(name) < 2 * DIGEST_SIZE || !str_equal(name + 2 * DIGEST_SIZE, suffix))
		return -EINVAL;
	str_cut(hex, sizeof(hex), name);
	return str_unhex(ret_digest->bytes, DIGEST_SIZE, hex);
}

int store_read_file(int dir, const char *name, size_t max, struct bytes *ret_data, struct err *err)
{
	AUTO_CLOSE int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_FREE uint8_t *data = NULL;
	struct stat st;
	int r;

	if (fd < 0)
		return err_errno(err, -errno, "open %s", name);
	if (fstat(fd, &st) < 0)
		return err_errno(err, -errno, "look at %s", name);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > max)
		return err_set(err, -EFBIG, "%s is larger than %zu bytes", name, max);
	data = mem_alloc((size_t)st.st_size + 1);
	r = store_read_at(fd, data, (size_t)st.st_size, 0);
	if (r < 0)
		return err_errno(err, r, "read %s", name);
	ret_data->size = (size_t)st.st_size;
	ret_data->data = TAKE_PTR(data);
	return 0;
}

static int write_new(int dir, const char *name, const void *data, size_t size, bool sync)
{
	AUTO_CLOSE int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
				   0644);
	int r;

	if (fd < 0)
		return -errno;
	r = store_write_at(fd, data, size, 0);
	if (r == 0 && sync && fsync(fd) < 0)
		r = -errno;
	return r;
}

int store_write_file(int dir, const char *name, const void *data, size_t size, bool sync,
		     struct err *err)
{
	AUTO_FREE char *other = mem_format(".%s.new", name);
	int r = write_new(dir, other, data, size, sync);

	if (r == 0 && renameat(dir, other, dir, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dir, other, 0);
		return err_errno(err, r, "write %s", name);
	}
	if (sync && fsync(dir) < 0)
		return err_errno(err, -errno, "write %s", name);
	return 0;
}

int store_read_at(int fd, void *data, size_t size, uint64_t offset)
{
	uint8_t *at = data;

	while (size > 0) {
		ssize_t n = pread(fd, at, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

int store_write_at(int fd, const void *data, size_t size, uint64_t offset)
{
	const uint8_t *at = data;

	while (size > 0) {
		ssize_t n = pwrite(fd, at, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

int store_copy_at(int from, uint64_t from_offset, int to, uint64_t to_offset, const void *data,
		  size_t size)
{
	off_t in = (off_t)from_offset, out = (off_t)to_offset;
	size_t left = size;

	while (left > 0) {
		ssize_t n = copy_file_range(from, &in, to, &out, left, 0);

		if (n < 0 && errno == ENOSPC)
			return -ENOSPC;
		if (n <= 0)
			return store_write_at(to, data, size, to_offset);
		left -= (size_t)n;
	}
	return 0;
}
