/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything streams: a layer of any size passes through one buffer, and its uncompressed form is a
 * file without a name. The check refuses before signing what no node should ever have to unpack; a
 * node checks again, because it does not trust the signer's machine either.
 *
 * Absolute targets of symbolic links are common and harmless (they are resolved inside the
 * container's root). What makes them an attack is an entry that is written *through* one, and that
 * is what is refused: archives made from a real file tree never contain it.
 */
#include "coordinator/cli/layer.h"
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/cli/file.h"

#include <archive.h>
#include <archive_entry.h>
#include <jansson.h>
#include <limits.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

enum { BUFFER_SIZE = 256 << 10 };

static void digest_free(EVP_MD_CTX **context)
{
	EVP_MD_CTX_free(*context);
}

int layer_sha256(int fd, uint8_t ret_sha256[DIGEST_SIZE], uint64_t *ret_size, struct err *err)
{
	COVEY_CLEANUP(digest_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
	AUTO_FREE uint8_t *buffer = mem_alloc(BUFFER_SIZE);
	uint64_t at = 0;
	ssize_t n;

	if (!context || !EVP_DigestInit_ex(context, EVP_sha256(), NULL))
		return err_set(err, -EIO, "SHA-256 is not available");
	for (;;) {
		n = pread(fd, buffer, BUFFER_SIZE, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		EVP_DigestUpdate(context, buffer, (size_t)n);
		at += (uint64_t)n;
	}
	if (n < 0)
		return err_errno(err, -errno, "cannot be read");
	EVP_DigestFinal_ex(context, ret_sha256, NULL);
	*ret_size = at;
	return 0;
}

/* ---- decompression ---- */

static void archive_close(struct archive **archive)
{
	archive_read_free(*archive);
}

static int archive_fail(struct archive *archive, const char *what, struct err *err)
{
	const char *why = archive_error_string(archive);

	return err_set(err, -EINVAL, "%s: %s", what, why ? why : "damaged");
}

static bool is_compressed(int fd)
{
	uint8_t magic[4] = {0};

	if (pread(fd, magic, sizeof(magic), 0) < (ssize_t)sizeof(magic))
		return false;
	return (magic[0] == 0x1f && magic[1] == 0x8b) ||
	       memcmp(magic, (uint8_t[]){0x28, 0xb5, 0x2f, 0xfd}, sizeof(magic)) == 0;
}

static int copy_data(struct archive *archive, int to, struct err *err)
{
	const uint64_t max = (uint64_t)LIMIT_CHUNKS * LIMIT_CHUNK;
	AUTO_FREE uint8_t *buffer = mem_alloc(BUFFER_SIZE);
	uint64_t total = 0;

	for (;;) {
		ssize_t n = archive_read_data(archive, buffer, BUFFER_SIZE);
		int r;

		if (n < 0)
			return archive_fail(archive, "the compressed data is damaged", err);
		if (n == 0)
			return 0;
		total += (uint64_t)n;
		if (total > max)
			return err_set(err, -EFBIG, "it is larger than any layer may be");
		r = file_write_all(to, buffer, (size_t)n, err);
		if (r < 0)
			return err_prefix(err, r, "while uncompressing it to a temporary file");
	}
}

int layer_inflate(int *fd, struct err *err)
{
	COVEY_CLEANUP(archive_close) struct archive *archive = NULL;
	AUTO_CLOSE int to = -1;
	struct archive_entry *entry;
	int r;

	if (!is_compressed(*fd))
		return 0;
	r = file_temporary(&to, err);
	if (r < 0)
		return r;
	archive = archive_read_new();
	if (!archive)
		abort();
	archive_read_support_filter_gzip(archive);
	archive_read_support_filter_zstd(archive);
	archive_read_support_format_raw(archive);
	if (lseek(*fd, 0, SEEK_SET) < 0 ||
	    archive_read_open_fd(archive, *fd, BUFFER_SIZE) != ARCHIVE_OK ||
	    archive_read_next_header(archive, &entry) != ARCHIVE_OK)
		return archive_fail(archive, "the compressed data is damaged", err);
	r = copy_data(archive, to, err);
	if (r < 0)
		return r;
	close(*fd);
	*fd = TAKE_FD(to);
	return 0;
}

/* ---- the entries of a layer ---- */

struct check {
	/* Clean name -> true: a symbolic link, false: a file, null: a folder with something in it.
	 * Names are bytes: nobody checks that they are UTF-8. */
	json_t *names;
	uint64_t left; /* bytes that entries may still claim */
	struct err *err;
};

static int refuse(struct check *c, const char *name, const char *why)
{
	return err_set(c->err, -EINVAL, "its entry `%.200s` %s", name, why);
}

/* "./a//b/" -> "a/b". -EINVAL when it is absolute or has "..", or a part is too long. */
static int clean(const char *name, struct str *ret_clean)
{
	if (name[0] == '/')
		return -EINVAL;
	while (*name) {
		size_t size = strcspn(name, "/");

		if ((size == 2 && name[0] == '.' && name[1] == '.') || size > NAME_MAX)
			return -EINVAL;
		if (size && !(size == 1 && name[0] == '.')) {
			if (ret_clean->size)
				str_add(ret_clean, "/");
			str_add_bytes(ret_clean, name, size);
		}
		name += size + (name[size] == '/');
	}
	return 0;
}

/* What stands above the path must be a folder, or nothing yet. NULL, or what is wrong. */
static const char *bad_parent(const struct check *c, const char *path)
{
	char part[LIMIT_PATH + 1];

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		const json_t *above;

		memcpy(part, path, (size_t)(slash - path));
		part[slash - path] = 0;
		above = json_object_get(c->names, part);
		if (json_is_true(above))
			return "lies behind a symbolic link of the same layer";
		if (json_is_false(above))
			return "lies below a file of the same layer";
	}
	return NULL;
}

/* The folders above the path are not empty from now on. */
static void fill_parents(struct check *c, const char *path)
{
	char part[LIMIT_PATH + 1];

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		memcpy(part, path, (size_t)(slash - path));
		part[slash - path] = 0;
		json_object_set_new_nocheck(c->names, part, json_null());
	}
}

/* Does a relative target climb above the root from the folder in which the link lies? */
static bool climbs_out(const char *path, const char *target)
{
	long depth = 0;

	if (target[0] == '/')
		return false;
	for (const char *c = path; *c; c++)
		depth += *c == '/';
	while (*target) {
		size_t size = strcspn(target, "/");

		if (size == 2 && target[0] == '.' && target[1] == '.')
			depth--;
		else if (size && !(size == 1 && target[0] == '.'))
			depth++;
		if (depth < 0)
			return true;
		target += size + (target[size] == '/');
	}
	return false;
}

static int check_hard_link(struct check *c, const char *name, const char *path, const char *target)
{
	AUTO_STR struct str clean_target = {0};

	if (clean(target, &clean_target) < 0 || clean_target.size > LIMIT_PATH ||
	    bad_parent(c, str_get(&clean_target)))
		return refuse(c, name, "is a hard link to something outside the image's root");
	if (!json_is_false(json_object_get(c->names, str_get(&clean_target))))
		return refuse(c, name, "is a hard link to what is no file of its layer");
	json_object_set_new_nocheck(c->names, path, json_false());
	return 0;
}

/* The name that a whiteout takes away: "" when it names nothing in its own folder. NULL: none. */
static const char *whiteout_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;

	if (!str_starts(base, ".wh."))
		return NULL;
	base += strlen(".wh.");
	return str_equal(base, ".") || str_equal(base, "..") ? "" : base;
}

static bool has_good_owner(struct archive_entry *entry)
{
	return archive_entry_uid(entry) >= 0 && archive_entry_uid(entry) < UINT32_MAX &&
	       archive_entry_gid(entry) >= 0 && archive_entry_gid(entry) < UINT32_MAX;
}

/* The pieces of a sparse file lie within it? */
static bool has_good_pieces(struct archive_entry *entry)
{
	la_int64_t size = archive_entry_size(entry), offset, length;

	archive_entry_sparse_reset(entry);
	while (archive_entry_sparse_next(entry, &offset, &length) == ARCHIVE_OK)
		if (offset < 0 || length < 0 || offset > size || length > size - offset)
			return false;
	return true;
}

static int check_type(struct check *c, struct archive_entry *entry, const char *name,
                      const char *path)
{
	const char *link = archive_entry_symlink(entry);
	uint64_t size = archive_entry_size(entry) > 0 ? (uint64_t)archive_entry_size(entry) : 0;

	if (archive_entry_hardlink(entry))
		return check_hard_link(c, name, path, archive_entry_hardlink(entry));
	switch (archive_entry_filetype(entry)) {
	case AE_IFREG:
		if (size > c->left || !has_good_pieces(entry))
			return refuse(c, name, "claims more content than the archive has");
		c->left -= size;
		json_object_set_new_nocheck(c->names, path, json_false());
		return 0;
	case AE_IFLNK:
		if (!link || !*link || strlen(link) > LIMIT_PATH || climbs_out(path, link))
			return refuse(c, name, "is a symbolic link that leaves the image's root");
		json_object_set_new_nocheck(c->names, path, json_true());
		return 0;
	case AE_IFCHR:
	case AE_IFBLK:
		return refuse(c, name,
		              "is a device; `resources: {devices: [...]}` asks for devices");
	case AE_IFDIR: /* takes the place of a file or link */
		if (!json_is_null(json_object_get(c->names, path)))
			json_object_del(c->names, path);
		return 0;
	default: /* pipes and sockets, which a node leaves out */
		return 0;
	}
}

static int check_entry(struct check *c, struct archive_entry *entry)
{
	const char *name = archive_entry_pathname(entry), *whiteout, *why;
	bool folder = archive_entry_filetype(entry) == AE_IFDIR && !archive_entry_hardlink(entry);
	AUTO_STR struct str path = {0};

	if (!name || !*name)
		return refuse(c, "?", "has no name, or one that is not UTF-8");
	if (clean(name, &path) < 0)
		return refuse(c, name, "has a name that leads outside the image's root");
	if (path.size > LIMIT_PATH)
		return refuse(c, name, "has a name that is too long");
	why = bad_parent(c, str_get(&path));
	if (why)
		return refuse(c, name, why);
	if (!has_good_owner(entry))
		return refuse(c, name, "has an owner that no node can have");
	if (!path.size && !folder)
		return refuse(c, name, "takes the place of the root folder");
	fill_parents(c, str_get(&path));
	whiteout = whiteout_of(str_get(&path));
	if (whiteout)
		return *whiteout ? 0 : refuse(c, name, "is a whiteout without a name");
	if (!folder && json_is_null(json_object_get(c->names, str_get(&path))))
		return refuse(c, name, "takes the place of a folder that is not empty");
	return check_type(c, entry, name, str_get(&path));
}

static int check_entries(struct archive *archive, struct check *c)
{
	struct archive_entry *entry;

	for (;;) {
		int status = archive_read_next_header(archive, &entry);
		int r;

		if (status == ARCHIVE_EOF)
			return 0;
		if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
			return archive_fail(archive, "it is not a whole tar archive", c->err);
		r = check_entry(c, entry);
		if (r < 0)
			return r;
	}
}

int layer_check(int fd, struct err *err)
{
	COVEY_CLEANUP(archive_close) struct archive *archive = archive_read_new();
	struct check c = {.names = json_object(), .err = err};
	struct stat st;
	int r;

	if (!archive)
		abort();
	archive_read_support_format_tar(archive);
	archive_read_support_format_empty(archive);
	if (lseek(fd, 0, SEEK_SET) < 0 || fstat(fd, &st) < 0) {
		r = err_errno(err, -errno, "cannot be read");
	} else if (archive_read_open_fd(archive, fd, BUFFER_SIZE) != ARCHIVE_OK) {
		r = archive_fail(archive, "it is not a tar archive", err);
	} else {
		c.left = (uint64_t)st.st_size;
		r = check_entries(archive, &c);
	}
	json_decref(c.names);
	return r;
}
