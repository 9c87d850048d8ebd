/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order matters. The file must be the agent's (or be sealed already), so that an agent that was
 * taken over cannot have us change the mode of /etc/shadow behind a hard link. Then owner and mode
 * change, so that nobody can open it for writing any more; then a read lease proves that nobody
 * who opened it before is left (mapped files count as open); only then the bytes are hashed. A file
 * that was sealed before is hashed again: root's word may be broken by a disk.
 */
#include "agent/helper/seal.h"

#include "agent/helper/trusted.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { PIECE = 1 << 20 };

static int check_owner(const struct agent_config *config, const struct stat *st, struct err *err)
{
	uint32_t agent;
	int r = config_user_id(config->user, &agent, err);

	if (r < 0)
		return r;
	if (st->st_uid != agent && (st->st_uid != geteuid() || (st->st_mode & 0222)))
		return err_set(err, -EPERM, "the blob belongs to user %u", (unsigned)st->st_uid);
	return 0;
}

/* Fails while a descriptor or mapping that may write is left anywhere. */
static int check_writers(int fd, struct err *err)
{
	if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
		return errno == EAGAIN
		           ? err_set(err, -ETXTBSY, "somebody has the blob open for writing")
		           : err_errno(err, -errno, "cannot tell who has the blob open");
	if (fcntl(fd, F_SETLEASE, F_UNLCK) < 0)
		return err_errno(err, -errno, "lease");
	return 0;
}

/* Hashes the file, and copies it to `copy` when that is a descriptor. */
static int check_bytes(int fd, int copy, const struct release_blob *blob, struct err *err)
{
	AUTO_FREE uint8_t *piece = mem_alloc(PIECE);
	struct digest_state state;
	struct digest digest;
	uint64_t left = blob->size;
	ssize_t got = 0;

	digest_init(&state);
	while ((got = read(fd, piece, PIECE)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_errno(err, -errno, "cannot read the blob");
		if ((uint64_t)got > left)
			break;
		left -= (uint64_t)got;
		digest_add(&state, piece, (size_t)got);
		if (copy >= 0 && write(copy, piece, (size_t)got) != got)
			return err_errno(err, errno ? -errno : -EIO, "cannot copy the blob");
	}
	digest_end(&state, &digest);
	if (got != 0 || left > 0 || !digest_equal(&digest, &blob->content))
		return err_set(err, -EBADMSG, "its bytes are not the ones that were signed");
	return 0;
}

/* Opens the folder that a relative path of the manifest leads to, making what is missing. The
 * manifest was checked: no empty parts, no .., and in our own tree there are no symlinks. */
static int open_folder(int folder, char *path, char **ret_name, struct err *err)
{
	int fd = fcntl(folder, F_DUPFD_CLOEXEC, 0);
	char *slash;

	for (; fd >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
		AUTO_CLOSE int parent = fd;

		*slash = 0;
		if (mkdirat(parent, path, 0755) < 0 && errno != EEXIST)
			return err_errno(err, -errno, "folder %s", path);
		fd = openat(parent, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	}
	if (fd < 0)
		return err_errno(err, -errno, "folder %s", path);
	*ret_name = path;
	return fd;
}

static int link_to(int fd, int folder, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, path, folder, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static int copy_to(int fd, int folder, const char *name, mode_t mode,
                   const struct release_blob *blob, struct err *err)
{
	AUTO_CLOSE int copy = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (copy < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(err, -errno, "%s", name);
	if (fchmod(copy, mode) < 0)
		return err_errno(err, -errno, "%s", name);
	return check_bytes(fd, copy, blob, err);
}

static int place_file(int fd, int folder, const char *name, mode_t mode,
                      const struct release_blob *blob, struct err *err)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return err_errno(err, -errno, "%s", name);
	/* One inode has one mode: two releases that differ in it cannot share the file. */
	if ((st.st_mode & 07777) != mode)
		return copy_to(fd, folder, name, mode, blob, err);
	r = link_to(fd, folder, name);
	if (r == -EXDEV || r == -EMLINK || r == -EPERM)
		return copy_to(fd, folder, name, mode, blob, err);
	return r < 0 ? err_errno(err, r, "%s", name) : 0;
}

static mode_t mode_of(const struct release_blob *blob)
{
	return blob->mode & 0111 ? 0555 : 0444;
}

static int seal(const struct agent_config *config, int fd, mode_t mode, struct err *err)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return err_errno(err, -errno, "blob");
	r = check_owner(config, &st, err);
	if (r < 0)
		return r;
	if ((st.st_uid != geteuid() || (st.st_mode & 0222)) &&
	    (fchown(fd, geteuid(), (gid_t)-1) < 0 || fchmod(fd, mode) < 0))
		return err_errno(err, -errno, "cannot seal the blob");
	return check_writers(fd, err);
}

int seal_open(const struct agent_config *config, const struct release_blob *blob, struct err *err)
{
	AUTO_FREE char *relative = NULL;
	AUTO_CLOSE int fd = -1;
	char hex[DIGEST_HEX_MAX];
	int r;

	str_hex(hex, blob->content.bytes, DIGEST_SIZE);
	relative = mem_format("blobs/%s", hex);
	r = fd = trusted_open(config, relative, err);
	if (r >= 0)
		r = seal(config, fd, mode_of(blob), err);
	return r < 0 ? r : TAKE_FD(fd);
}

int seal_file(const struct agent_config *config, const struct release_blob *blob, int folder,
              struct err *err)
{
	AUTO_FREE char *path = mem_str(blob->path);
	AUTO_CLOSE int fd = -1, to = -1;
	char *name = NULL;
	int r;

	r = fd = seal_open(config, blob, err);
	if (r >= 0)
		r = check_bytes(fd, -1, blob, err);
	if (r == 0)
		r = to = open_folder(folder, path, &name, err);
	if (r >= 0)
		r = place_file(fd, to, name, mode_of(blob), blob, err);
	return r < 0 ? err_prefix(err, r, "model file %s", blob->path) : 0;
}
