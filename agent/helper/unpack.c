/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libarchive only parses; every file is made here, relative to a directory descriptor that was
 * opened with openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), so that neither .. nor a symlink that
 * the same archive made before can lead out. Names are taken apart by our own rules first. A tar
 * has at least one block of 512 bytes for each entry and all content inside, so entries and bytes
 * are bounded by the signed size: sparse files that claim more are refused.
 */
#include "agent/helper/unpack.h"

#include "base/mem.h"
#include "base/str.h"
#include "covey/limits.h"

#include <archive.h>
#include <archive_entry.h>
#include <assert.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

enum { PIECE = 256 << 10, TAR_BLOCK = 512 };

#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"

struct source { /* the tar, hashed as it is read */
	int fd;
	uint64_t left;
	EVP_MD_CTX *sha256;
	uint8_t *piece;
};

struct target {
	int root;
	uint64_t bytes_left, entries_left;
};

struct place {      /* where one entry goes */
	int parent; /* -1: the root itself */
	char name[NAME_MAX + 1];
};

static void close_place(struct place *place)
{
	if (place->parent >= 0)
		close(place->parent);
}

#define AUTO_PLACE COVEY_CLEANUP(close_place)

static la_ssize_t read_piece(struct archive *archive, void *context, const void **ret_data)
{
	struct source *source = context;
	size_t want = source->left < PIECE ? (size_t)source->left : PIECE;
	ssize_t got;

	do
		got = read(source->fd, source->piece, want);
	while (got < 0 && errno == EINTR);
	if (got < 0) {
		archive_set_error(archive, errno, "cannot read");
		return -1;
	}
	source->left -= (uint64_t)got;
	if (EVP_DigestUpdate(source->sha256, source->piece, (size_t)got) != 1) {
		archive_set_error(archive, EIO, "cannot hash");
		return -1;
	}
	*ret_data = source->piece;
	return got;
}

/* The archive's end marker may be followed by padding: all signed bytes are hashed. */
static int check_digest(struct source *source, const uint8_t diff_id[DIGEST_SIZE], struct err *err)
{
	uint8_t digest[EVP_MAX_MD_SIZE], one;
	const void *data;
	unsigned size;

	while (source->left > 0) {
		ssize_t got = read(source->fd, source->piece,
		                   source->left < PIECE ? (size_t)source->left : PIECE);

		if (got <= 0)
			break;
		source->left -= (uint64_t)got;
		data = source->piece;
		if (EVP_DigestUpdate(source->sha256, data, (size_t)got) != 1)
			return err_set(err, -EIO, "cannot hash");
	}
	if (EVP_DigestFinal_ex(source->sha256, digest, &size) != 1 || size != DIGEST_SIZE)
		return err_set(err, -EIO, "cannot hash");
	if (source->left > 0 || read(source->fd, &one, 1) == 1 ||
	    memcmp(digest, diff_id, DIGEST_SIZE) != 0)
		return err_set(err, -EBADMSG, "its bytes are not the ones that were signed");
	return 0;
}

static int open_beneath(int root, const char *path)
{
	struct open_how how = {.flags = O_DIRECTORY | O_RDONLY | O_CLOEXEC,
	                       .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
	                                  RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
	int fd = (int)syscall(SYS_openat2, root, path[0] ? path : ".", &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

/* "./a//b/" -> "a/b"; "" for the root. */
static int clean_path(const char *path, char dst[LIMIT_PATH + 1], struct err *err)
{
	size_t used = 0;

	if (path[0] == '/')
		return err_set(err, -EINVAL, "absolute name");
	while (*path) {
		size_t size = strcspn(path, "/");

		if (size == 2 && path[0] == '.' && path[1] == '.')
			return err_set(err, -EINVAL, "name with ..");
		if (size > NAME_MAX || used + size + 1 > LIMIT_PATH)
			return err_set(err, -ENAMETOOLONG, "name is too long");
		if (size && !(size == 1 && path[0] == '.')) {
			if (used)
				dst[used++] = '/';
			memcpy(dst + used, path, size);
			used += size;
		}
		path += size + (path[size] == '/');
	}
	dst[used] = 0;
	return 0;
}

static bool is_whiteout(int parent, const char *name)
{
	struct stat st;

	return fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) &&
	       st.st_rdev == makedev(0, 0);
}

static int make_opaque(int parent, const char *name, struct err *err)
{
	AUTO_CLOSE int fd = open_beneath(parent, name);

	if (fd < 0 || fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0)
		return err_errno(err, fd < 0 ? fd : -errno, "cannot be made opaque");
	return 0;
}

/* Opens one folder, or makes it: also where a whiteout of an older one stands, and then opaque. */
static int enter(int parent, const char *name, struct err *err)
{
	bool opaque = is_whiteout(parent, name);
	int fd;

	if (opaque && unlinkat(parent, name, 0) < 0)
		return err_errno(err, -errno, "its folder cannot be made");
	if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
		return err_errno(err, -errno, "its folder cannot be made");
	fd = opaque ? make_opaque(parent, name, err) : 0;
	if (fd < 0)
		return fd;
	fd = open_beneath(parent, name);
	return fd < 0 ? err_errno(err, fd, "its folder cannot be entered") : fd;
}

/* Opens a folder beneath root; those that the archive did not mention are made. */
static int open_parent(int root, const char *path, struct err *err)
{
	AUTO_FREE char *copy = mem_str(path);
	int fd = open_beneath(root, path);

	if (fd != -ENOENT && fd != -ENOTDIR)
		return fd < 0 ? err_errno(err, fd, "its folder cannot be entered") : fd;
	fd = open_beneath(root, "");
	if (fd < 0)
		return err_errno(err, fd, "its folder cannot be entered");
	for (char *rest = copy, *name; fd >= 0 && (name = strsep(&rest, "/"));) {
		AUTO_CLOSE int parent = fd;

		fd = enter(parent, name, err);
	}
	return fd;
}

static int find_place(int root, const char *path, struct place *ret_place, struct err *err)
{
	char clean[LIMIT_PATH + 1];
	int r = clean_path(path, clean, err);
	char *slash;

	if (r < 0)
		return r;
	ret_place->name[0] = 0;
	if (!clean[0])
		return 0;
	slash = strrchr(clean, '/');
	if (slash)
		*slash++ = 0;
	str_cut(ret_place->name, sizeof(ret_place->name), slash ? slash : clean);
	r = open_parent(root, slash ? clean : "", err);
	if (r < 0)
		return r;
	ret_place->parent = r;
	return 0;
}

static int apply_whiteout(const struct place *place, struct err *err)
{
	const char *name = place->name + strlen(WHITEOUT);
	struct stat st;

	if (str_equal(place->name, OPAQUE))
		return make_opaque(place->parent, "", err);
	if (str_starts(name, WHITEOUT)) /* other notes of aufs */
		return 0;
	if (!name[0] || str_equal(name, ".") || str_equal(name, ".."))
		return err_set(err, -EINVAL, "whiteout of nothing");
	if (fstatat(place->parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		/* This layer has a new thing of that name; a folder must not show the old one's. */
		return S_ISDIR(st.st_mode) ? make_opaque(place->parent, name, err) : 0;
	}
	if (mknodat(place->parent, name, S_IFCHR, makedev(0, 0)) < 0)
		return err_errno(err, -errno, "whiteout cannot be made");
	return 0;
}

/* Owner before mode: chown() clears bits. The root's own folder and symlinks come here too. */
static int set_owner(int parent, const char *name, struct archive_entry *entry, bool folder,
                     struct err *err)
{
	mode_t mode = archive_entry_perm(entry) & (folder ? 01777 : 0777);
	la_int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
	                                  {.tv_sec = archive_entry_mtime(entry)}};
	bool link = archive_entry_filetype(entry) == AE_IFLNK;

	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return err_set(err, -EINVAL, "owner out of range");
	if (fchownat(parent, name, (uid_t)uid, (gid_t)gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (!link && fchmodat(parent, name, mode, 0) < 0))
		return err_errno(err, -errno, "owner and mode");
	/* A time that the file system cannot hold is no reason to refuse an image. */
	return utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0 && errno != EINVAL
	           ? err_errno(err, -errno, "time")
	           : 0;
}

static int make_folder(const struct place *place, struct archive_entry *entry, struct err *err)
{
	bool opaque = is_whiteout(place->parent, place->name);
	struct stat st;
	int r = 0;

	if (fstatat(place->parent, place->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !S_ISDIR(st.st_mode) && unlinkat(place->parent, place->name, 0) < 0)
		return err_errno(err, -errno, "cannot be replaced");
	if (mkdirat(place->parent, place->name, 0700) < 0 && errno != EEXIST)
		return err_errno(err, -errno, "folder cannot be made");
	if (opaque)
		r = make_opaque(place->parent, place->name, err);
	return r == 0 ? set_owner(place->parent, place->name, entry, true, err) : r;
}

/* A later entry replaces an earlier one of its name; a folder only when it is empty. */
static int clear_place(const struct place *place, struct err *err)
{
	if (unlinkat(place->parent, place->name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno == EISDIR && unlinkat(place->parent, place->name, AT_REMOVEDIR) == 0)
		return 0;
	return err_errno(err, -errno, "cannot be replaced");
}

static int write_block(int fd, const uint8_t *data, size_t size, la_int64_t offset)
{
	while (size > 0) {
		ssize_t got = pwrite(fd, data, size, offset);

		if (got < 0 && errno != EINTR)
			return -errno;
		if (got > 0) {
			data += got;
			offset += got;
			size -= (size_t)got;
		}
	}
	return 0;
}

static int write_content(struct target *target, struct archive *archive,
                         struct archive_entry *entry, int fd, struct err *err)
{
	la_int64_t size = archive_entry_size(entry), offset;
	const void *data;
	size_t count;
	int r;

	if (size < 0 || (uint64_t)size > target->bytes_left)
		return err_set(err, -EINVAL, "claims more content than the archive holds");
	target->bytes_left -= (uint64_t)size;
	while ((r = archive_read_data_block(archive, &data, &count, &offset)) == ARCHIVE_OK) {
		if (offset < 0 || offset > size || count > (uint64_t)(size - offset))
			return err_set(err, -EINVAL, "content beyond its size");
		r = write_block(fd, data, count, offset);
		if (r < 0)
			return err_errno(err, r, "cannot write");
	}
	if (r != ARCHIVE_EOF)
		return err_set(err, -EINVAL, "%s", archive_error_string(archive));
	return ftruncate(fd, size) < 0 ? err_errno(err, -errno, "cannot write") : 0;
}

static int make_file(struct target *target, const struct place *place, struct archive *archive,
                     struct archive_entry *entry, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r = clear_place(place, err);

	if (r < 0)
		return r;
	fd = openat(place->parent, place->name,
	            O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, -errno, "file cannot be made");
	r = write_content(target, archive, entry, fd, err);
	return r == 0 ? set_owner(place->parent, place->name, entry, false, err) : r;
}

static int make_symlink(const struct place *place, struct archive_entry *entry, struct err *err)
{
	const char *to = archive_entry_symlink(entry);
	int r = clear_place(place, err);

	if (r < 0)
		return r;
	if (!to || !to[0] || strlen(to) > LIMIT_PATH) /* where it leads is the container's affair */
		return err_set(err, -EINVAL, "symlink to nowhere");
	if (symlinkat(to, place->parent, place->name) < 0)
		return err_errno(err, -errno, "symlink cannot be made");
	return set_owner(place->parent, place->name, entry, false, err);
}

static int make_hardlink(struct target *target, const struct place *place, const char *to,
                         struct err *err)
{
	AUTO_PLACE struct place source = {.parent = -1};
	struct stat from, at;
	int r = find_place(target->root, to, &source, err);

	if (r < 0)
		return err_prefix(err, r, "hard link");
	if (source.parent < 0 ||
	    fstatat(source.parent, source.name, &from, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(from.st_mode))
		return err_set(err, -EINVAL, "hard link to what is no file of the layer");
	if (fstatat(place->parent, place->name, &at, AT_SYMLINK_NOFOLLOW) == 0 &&
	    at.st_ino == from.st_ino && at.st_dev == from.st_dev)
		return 0; /* a link to itself must not delete it */
	r = clear_place(place, err);
	if (r == 0 && linkat(source.parent, source.name, place->parent, place->name, 0) < 0)
		r = err_errno(err, -errno, "hard link cannot be made");
	return r;
}

static int make_entry(struct target *target, const struct place *place, struct archive *archive,
                      struct archive_entry *entry, struct err *err)
{
	mode_t kind = archive_entry_filetype(entry);

	if (archive_entry_hardlink(entry))
		return make_hardlink(target, place, archive_entry_hardlink(entry), err);
	if (kind == AE_IFDIR)
		return make_folder(place, entry, err);
	if (kind == AE_IFREG)
		return make_file(target, place, archive, entry, err);
	if (kind == AE_IFLNK)
		return make_symlink(place, entry, err);
	return 0; /* devices, fifos and sockets: a container gets its own /dev */
}

static int take_entry(struct target *target, struct archive *archive, struct archive_entry *entry,
                      struct err *err)
{
	AUTO_PLACE struct place place = {.parent = -1};
	const char *path = archive_entry_pathname(entry);
	char shown[128] = "(no name)";
	int r;

	if (path)
		str_cut(shown, sizeof(shown), path);
	if (target->entries_left-- == 0)
		return err_set(err, -EINVAL, "more entries than the archive has room for");
	r = path && path[0] ? find_place(target->root, path, &place, err)
	                    : err_set(err, -EINVAL, "entry without a name");
	if (r == 0 && place.parent < 0)
		r = archive_entry_filetype(entry) == AE_IFDIR
		        ? set_owner(target->root, ".", entry, true, err)
		        : err_set(err, -EINVAL, "the root is a folder");
	else if (r == 0 && str_starts(place.name, WHITEOUT))
		r = apply_whiteout(&place, err);
	else if (r == 0)
		r = make_entry(target, &place, archive, entry, err);
	return r < 0 ? err_prefix(err, r, "%s", shown) : 0;
}

static int take_all(struct archive *archive, struct target *target, struct err *err)
{
	struct archive_entry *entry;
	int got, r;

	while ((got = archive_read_next_header(archive, &entry)) == ARCHIVE_OK ||
	       got == ARCHIVE_WARN) {
		r = take_entry(target, archive, entry, err);
		if (r < 0)
			return r;
	}
	if (got != ARCHIVE_EOF)
		return err_set(err, -EINVAL, "not a tar: %s",
		               archive_error_string(archive) ? archive_error_string(archive) : "?");
	return 0;
}

static int read_archive(const struct unpack_layer *layer, struct source *source, struct err *err)
{
	struct archive *archive = archive_read_new();
	struct target target = {.root = layer->root,
	                        .bytes_left = layer->size,
	                        .entries_left = layer->size / TAR_BLOCK + 1};
	int r;

	assert(archive);
	if (archive_read_support_format_tar(archive) != ARCHIVE_OK ||
	    archive_read_support_format_empty(archive) != ARCHIVE_OK ||
	    archive_read_support_filter_none(archive) != ARCHIVE_OK ||
	    archive_read_open(archive, source, NULL, read_piece, NULL) != ARCHIVE_OK)
		r = err_set(err, -EINVAL, "not a tar: %s",
		            archive_error_string(archive) ? archive_error_string(archive) : "?");
	else
		r = take_all(archive, &target, err);
	archive_read_free(archive);
	return r;
}

/* A source for this layer, at the start of its file. */
static int open_source(const struct unpack_layer *layer, struct source *ret_source, struct err *err)
{
	*ret_source = (struct source){.fd = layer->tar,
	                              .left = layer->size,
	                              .sha256 = EVP_MD_CTX_new(),
	                              .piece = mem_alloc(PIECE)};
	assert(ret_source->sha256);
	if (EVP_DigestInit_ex(ret_source->sha256, EVP_sha256(), NULL) != 1)
		return err_set(err, -EIO, "no SHA-256");
	if (lseek(layer->tar, 0, SEEK_SET) < 0)
		return err_errno(err, -errno, "cannot read");
	return 0;
}

static void close_source(struct source *source)
{
	EVP_MD_CTX_free(source->sha256);
	free(source->piece);
}

int unpack_verify(const struct unpack_layer *layer, struct err *err)
{
	struct source source;
	int r = open_source(layer, &source, err);

	if (r == 0)
		r = check_digest(&source, layer->diff_id, err);
	if (r == 0 && lseek(layer->tar, 0, SEEK_SET) < 0)
		r = err_errno(err, -errno, "cannot read");
	close_source(&source);
	return r;
}

int unpack_layer(const struct unpack_layer *layer, struct err *err)
{
	struct source source;
	int r = open_source(layer, &source, err);

	if (r == 0)
		r = read_archive(layer, &source, err);
	/* An archive that is refused may simply be the wrong bytes: that is the better answer. */
	if (r == 0 || r == -EINVAL) {
		struct err other = {0};
		int digest = check_digest(&source, layer->diff_id, &other);

		if (digest < 0) {
			r = digest;
			if (err)
				*err = other;
		}
	}
	close_source(&source);
	return r;
}
