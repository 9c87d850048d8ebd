/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files are read through one bounded function, so that a wrong path (a device, a huge file) is a
 * sentence and not a full memory. Temporary files have no name: an interrupted command leaves
 * nothing to clean up.
 */
#include "coordinator/cli/file.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <sys/stat.h>

static int check_size(int fd, size_t max, size_t *ret_size, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(err, -errno, "cannot be read");
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "this is not a regular file");
	if ((uint64_t)st.st_size > max)
		return err_set(err, -EFBIG, "the file has %lld bytes; %zu are allowed",
		               (long long)st.st_size, max);
	*ret_size = (size_t)st.st_size;
	return 0;
}

int file_read_at(int fd, void *data, size_t size, uint64_t offset, struct err *err)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, (char *)data + done, size - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, -errno, "cannot be read");
		if (n == 0)
			return err_set(err, -EIO, "the file became shorter while it was read");
		done += (size_t)n;
	}
	return 0;
}

int file_read_fd(int fd, size_t max, struct bytes *ret_data, struct err *err)
{
	AUTO_FREE uint8_t *data = NULL;
	size_t size = 0;
	int r = check_size(fd, max, &size, err);

	if (r < 0)
		return r;
	data = mem_alloc(size + 1);
	r = file_read_at(fd, data, size, 0, err);
	if (r < 0)
		return r;
	*ret_data = (struct bytes){TAKE_PTR(data), size};
	return 0;
}

int file_read(const char *path, size_t max, struct bytes *ret_data, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r;

	if (fd < 0)
		return err_errno(err, -errno, "%s", path);
	r = file_read_fd(fd, max, ret_data, err);
	return r < 0 ? err_prefix(err, r, "%s", path) : 0;
}

int file_write_all(int fd, const void *data, size_t size, struct err *err)
{
	const char *at = data;

	while (size) {
		ssize_t n = write(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, -errno, "cannot be written");
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int file_create(const char *path, mode_t mode, const void *data, size_t size, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	int r;

	if (fd < 0)
		return err_errno(err, -errno, "%s", path);
	r = file_write_all(fd, data, size, err);
	if (r == 0 && fsync(fd) < 0)
		r = err_errno(err, -errno, "cannot be written");
	if (r == 0)
		return 0;
	unlink(path);
	return err_prefix(err, r, "%s", path);
}

int file_temporary(int *ret_fd, struct err *err)
{
	const char *folder = getenv("TMPDIR");
	AUTO_FREE char *template = NULL;
	int fd;

	if (!folder || !*folder)
		folder = "/var/tmp";
	template = mem_format("%s/covey-XXXXXX", folder);
	fd = mkostemp(template, O_CLOEXEC);
	if (fd < 0)
		return err_errno(
		    err, -errno,
		    "%s: no temporary file can be made there; set TMPDIR to a folder with space",
		    folder);
	unlink(template);
	*ret_fd = fd;
	return 0;
}

char *file_beside(const char *base_file, const char *path)
{
	const char *slash = strrchr(base_file, '/');

	if (path[0] == '/' || !slash)
		return mem_str(path);
	return mem_format("%.*s/%s", (int)(slash - base_file), base_file, path);
}

int file_make_folders(const char *path, mode_t mode, char **ret_created, struct err *err)
{
	AUTO_FREE char *part = mem_str(path);
	AUTO_FREE char *created = NULL;

	for (char *at = part + 1; *part; at++) {
		bool last = !*at;

		if (*at != '/' && !last)
			continue;
		*at = 0;
		if (mkdir(part, last ? mode : 0755) == 0) {
			if (!created)
				created = mem_str(part);
		} else if (errno != EEXIST) {
			return err_errno(err, -errno, "%s cannot be made", part);
		}
		if (last)
			break;
		*at = '/';
	}
	*ret_created = created ? TAKE_PTR(created) : mem_str("");
	return 0;
}
