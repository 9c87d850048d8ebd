/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder is opened once and its members below it, never through symbolic links: an image layout
 * is content from outside. An archive is searched anew for each member, which costs a seek for each
 * of its few hundred headers and keeps no state; one that is compressed as a whole is uncompressed
 * first. Blobs are verified before anything looks into them.
 */
#include "coordinator/cli/image_source.h"
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/cli/file.h"
#include "coordinator/cli/layer.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

enum { BLOCK_SIZE = 256 << 10, LINK_DEPTH_MAX = 4 };

int image_source_open(struct image_source *source, const char *path, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int r;

	*source = (struct image_source){.name = path, .folder = -1, .archive = -1};
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, -errno, "%s", path);
	if (S_ISDIR(st.st_mode)) {
		source->folder = TAKE_FD(fd);
		return 0;
	}
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s: this is neither a folder nor a file", path);
	r = layer_inflate(&fd, err);
	if (r < 0)
		return err_prefix(err, r, "%s", path);
	source->archive = TAKE_FD(fd);
	return 0;
}

void image_source_close(struct image_source *source)
{
	covey_close_p(&source->folder);
	covey_close_p(&source->archive);
	source->folder = source->archive = -1;
}

/* ---- members ---- */

static int folder_member(struct image_source *source, const char *name, int *ret_fd,
                         struct err *err)
{
	AUTO_CLOSE int at = openat(source->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char part[NAME_MAX + 1];

	while (at >= 0) {
		size_t size = strcspn(name, "/");
		bool last = !name[size];
		int next;

		if (!size || size > NAME_MAX || name[0] == '.')
			return err_set(err, -EINVAL, "%s: `%.200s` is not the name of a part",
			               source->name, name);
		memcpy(part, name, size);
		part[size] = 0;
		next = openat(at, part,
		              O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK |
		                  (last ? 0 : O_DIRECTORY));
		if (next < 0)
			break;
		close(at);
		at = next;
		if (last) {
			*ret_fd = TAKE_FD(at);
			return 0;
		}
		name += size + 1;
	}
	if (errno == ELOOP)
		return err_set(err, -EINVAL,
		               "%s: a part of it is a symbolic link, which nobody vouches for; "
		               "copy the image with `cp -rL`",
		               source->name);
	return err_errno(err, -errno, "%s: %s", source->name, name);
}

static void archive_close(struct archive **archive)
{
	archive_read_free(*archive);
}

/* A sparse entry may claim terabytes, which somebody would then have to hash. */
static int copy_member(struct archive *archive, struct archive_entry *entry,
                       struct image_source *source, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct stat st;
	int r;

	if (fstat(source->archive, &st) < 0 || archive_entry_size(entry) > st.st_size)
		return err_set(err, -EINVAL, "%s: a part claims more content than the archive has",
		               source->name);
	r = file_temporary(&fd, err);
	if (r < 0)
		return r;
	if (archive_read_data_into_fd(archive, fd) != ARCHIVE_OK)
		return err_set(err, archive_errno(archive) == ENOSPC ? -ENOSPC : -EINVAL,
		               "%s: a part cannot be copied to a temporary file: %s", source->name,
		               archive_error_string(archive));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int archive_find(struct image_source *source, const char *name, unsigned depth, int *ret_fd,
                        struct err *err);

/* Old docker archives hold a layer once and link to it: "../<other>/layer.tar". */
static int follow_link(struct image_source *source, const char *name, const char *target,
                       unsigned depth, int *ret_fd, struct err *err)
{
	const char *slash = strrchr(name, '/');
	AUTO_FREE char *other = NULL;
	bool beside = slash && slash == strchr(name, '/'); /* <id>/layer.tar */

	if (beside && str_starts(target, "../") && !strstr(target + 3, ".."))
		other = mem_str(target + 3);
	if (!other || depth == LINK_DEPTH_MAX)
		return err_set(
		    err, -EINVAL,
		    "%s: `%.200s` is a link to `%.200s`, which is not another part of this archive",
		    source->name, name, target);
	return archive_find(source, other, depth + 1, ret_fd, err);
}

static int archive_find(struct image_source *source, const char *name, unsigned depth, int *ret_fd,
                        struct err *err)
{
	COVEY_CLEANUP(archive_close) struct archive *archive = archive_read_new();
	struct archive_entry *entry;
	int status;

	if (!archive)
		abort();
	archive_read_support_format_tar(archive);
	if (lseek(source->archive, 0, SEEK_SET) < 0 ||
	    archive_read_open_fd(archive, source->archive, BLOCK_SIZE) != ARCHIVE_OK)
		return err_set(err, -EINVAL,
		               "%s: this is neither an image folder nor a tar archive",
		               source->name);
	while ((status = archive_read_next_header(archive, &entry)) == ARCHIVE_OK ||
	       status == ARCHIVE_WARN) {
		const char *at = archive_entry_pathname(entry);

		if (!at)
			continue;
		if (!str_equal(str_starts(at, "./") ? at + 2 : at, name))
			continue;
		if (archive_entry_filetype(entry) == AE_IFLNK && archive_entry_symlink(entry))
			return follow_link(source, name, archive_entry_symlink(entry), depth,
			                   ret_fd, err);
		if (archive_entry_filetype(entry) != AE_IFREG)
			return err_set(err, -EINVAL, "%s: `%s` is not a file", source->name, name);
		return copy_member(archive, entry, source, ret_fd, err);
	}
	if (status != ARCHIVE_EOF)
		return err_set(err, -EINVAL, "%s: this is not a whole tar archive: %s",
		               source->name, archive_error_string(archive));
	return err_set(err, -ENOENT, "%s: there is no `%s` in it", source->name, name);
}

int image_source_member(struct image_source *source, const char *name, int *ret_fd, struct err *err)
{
	if (source->folder >= 0)
		return folder_member(source, name, ret_fd, err);
	return archive_find(source, name, 0, ret_fd, err);
}

/* ---- JSON ---- */

static int parse_json(struct image_source *source, int fd, const char *name, json_t **ret_json,
                      struct err *err)
{
	struct bytes text = {0};
	json_error_t where;
	int r = file_read_fd(fd, IMAGE_JSON_MAX, &text, err);

	if (r < 0)
		return err_prefix(err, r, "%s: %s", source->name, name);
	*ret_json = json_loadb((const char *)text.data, text.size, 0, &where);
	free(text.data);
	if (!*ret_json)
		return err_set(err, -EINVAL, "%s: %s is not JSON (line %d: %s)", source->name, name,
		               where.line, where.text);
	return 0;
}

int image_source_json(struct image_source *source, const char *name, json_t **ret_json,
                      struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r = image_source_member(source, name, &fd, err);

	return r < 0 ? r : parse_json(source, fd, name, ret_json, err);
}

/* ---- blobs ---- */

int image_sha256_parse(const char *text, uint8_t ret_sha256[DIGEST_SIZE])
{
	if (!text || !str_starts(text, "sha256:"))
		return -EINVAL;
	return str_unhex(ret_sha256, DIGEST_SIZE, text + strlen("sha256:"));
}

int image_blob_parse(const json_t *descriptor, struct image_blob *ret_blob, struct err *err)
{
	const char *digest = json_string_value(json_object_get(descriptor, "digest"));
	json_int_t size = json_integer_value(json_object_get(descriptor, "size"));

	if (image_sha256_parse(digest, ret_blob->sha256) < 0 || size <= 0)
		return err_set(err, -EINVAL,
		               "a descriptor lacks a size or a sha256 digest (it says `%.100s`)",
		               digest ? digest : "nothing");
	ret_blob->size = (uint64_t)size;
	ret_blob->sized = true;
	return 0;
}

int image_source_blob(struct image_source *source, const struct image_blob *blob, int *ret_fd,
                      struct err *err)
{
	AUTO_CLOSE int fd = -1;
	char hex[2 * DIGEST_SIZE + 1], name[sizeof(hex) + 16];
	uint8_t sha256[DIGEST_SIZE];
	uint64_t size = 0;
	int r;

	str_hex(hex, blob->sha256, DIGEST_SIZE);
	snprintf(name, sizeof(name), "blobs/sha256/%s", hex);
	r = image_source_member(source, name, &fd, err);
	if (r < 0)
		return r;
	r = layer_sha256(fd, sha256, &size, err);
	if (r < 0)
		return err_prefix(err, r, "%s: %s", source->name, name);
	if ((blob->sized && size != blob->size) || memcmp(sha256, blob->sha256, DIGEST_SIZE) != 0)
		return err_set(err, -EINVAL,
		               "%s: %s does not have the content that its name and its descriptor "
		               "promise; build or download the image again",
		               source->name, name);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int image_source_blob_json(struct image_source *source, const struct image_blob *blob,
                           json_t **ret_json, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r = image_source_blob(source, blob, &fd, err);

	return r < 0 ? r : parse_json(source, fd, "a blob", ret_json, err);
}

void image_parts_free(struct image_parts *parts)
{
	json_decref(parts->config);
	for (size_t i = 0; i < parts->layers_count; i++)
		covey_close_p(&parts->layers[i]);
	free(parts->layers);
	*parts = (struct image_parts){0};
}
