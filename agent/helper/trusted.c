/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's directory is enemy territory: an agent that was taken over may put symlinks, fifos
 * or other people's files there. Files are opened beneath the directory without following links
 * and must be regular; what they say counts only after a signature or a digest was checked.
 */
#include "agent/helper/trusted.h"

#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sodium.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int trusted_open(const struct agent_config *config, const char *relative, struct err *err)
{
	AUTO_CLOSE int dir = open(config->state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int fd = -1;
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
	                       .resolve =
	                           RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	struct stat st;

	if (dir < 0)
		return err_errno(err, -errno, "%s", config->state_dir);
	fd = (int)syscall(SYS_openat2, dir, relative, &how, sizeof(how));
	if (fd < 0)
		return err_errno(err, -errno, "%s/%s", config->state_dir, relative);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s/%s is not a plain file", config->state_dir,
		               relative);
	return TAKE_FD(fd);
}

static int read_fd(int fd, size_t max, struct bytes *ret_data, struct err *err)
{
	AUTO_FREE uint8_t *data = mem_alloc(max + 1);
	size_t size = 0;
	ssize_t got;

	while ((got = read(fd, data + size, max + 1 - size)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_errno(err, -errno, "cannot read");
		size += (size_t)got;
		if (size > max)
			return err_set(err, -EFBIG, "larger than %zu bytes", max);
	}
	*ret_data = (struct bytes){TAKE_PTR(data), size};
	return 0;
}

static int load_root(const struct agent_config *config, struct root_document *ret_root,
                     struct err *err)
{
	AUTO_FREE char *path = mem_format("%s/root.doc", config->trust_dir);
	AUTO_FREE uint8_t *data = NULL;
	struct bytes text = {0};
	struct stat st;
	int r;

	if (lstat(path, &st) < 0)
		return err_errno(err, -errno, "this node has not joined: %s", path);
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & 022))
		return err_set(err, -EPERM, "%s must belong to root and be writable by root alone",
		               path);
	r = paths_check_own(config->trust_dir, err);
	if (r == 0)
		r = paths_read(path, LIMIT_ROOT_DOCUMENT, &text, err);
	data = text.data;
	if (r < 0)
		return r;
	r = root_open(text.data, text.size, NULL, ret_root, err);
	return r < 0 ? err_prefix(err, r, "%s", path) : 0;
}

static int open_manifest(const struct agent_config *config, const struct bytes *data,
                         const struct digest *digest, struct release *ret_release, struct err *err)
{
	struct root_document root = {0};
	int r;

	if (sodium_init() < 0)
		return err_set(err, -EIO, "libsodium does not start");
	r = load_root(config, &root, err);
	if (r == 0)
		r = release_open(data->data, data->size, &root, digest, ret_release, err);
	codec_free(&codec_root_document, &root);
	return r;
}

int trusted_fetched(const struct agent_config *config, const struct digest *digest,
                    struct release *ret_release, struct bytes *ret_data, struct err *err)
{
	AUTO_FREE char *relative = NULL;
	AUTO_FREE uint8_t *bytes = NULL;
	struct bytes data = {0};
	char hex[DIGEST_HEX_MAX];
	int r;

	str_hex(hex, digest->bytes, DIGEST_SIZE);
	relative = mem_format("releases/%s.manifest", hex);
	AUTO_CLOSE int fd = trusted_open(config, relative, err);
	if (fd < 0)
		return err_prefix(err, fd, "manifest of release %.12s", hex);
	r = read_fd(fd, LIMIT_MANIFEST, &data, err);
	bytes = data.data;
	if (r == 0)
		r = open_manifest(config, &data, digest, ret_release, err);
	if (r < 0)
		return err_prefix(err, r, "manifest of release %.12s", hex);
	if (ret_data)
		*ret_data = (struct bytes){TAKE_PTR(bytes), data.size};
	return 0;
}

int trusted_unpacked(const struct agent_config *config, const struct digest *digest,
                     struct release *ret_release, struct err *err)
{
	AUTO_FREE uint8_t *bytes = NULL;
	struct bytes data = {0};
	char path[PATHS_MAX];
	int r = paths_read(paths_release(config, digest, path, "/manifest"), LIMIT_MANIFEST, &data,
	                   NULL);

	bytes = data.data;
	if (r == -ENOENT)
		return err_set(err, -ENOENT, "the release is not unpacked on this node");
	if (r < 0)
		return err_errno(err, r, "%s", path);
	return open_manifest(config, &data, digest, ret_release, err);
}
