/* SPDX-License-Identifier: Apache-2.0 */
/* The journal is believed about places only: bytes are what their digest says, or of no use. */
#include "agent/chunks/held.h"

#include "base/mem.h"
#include "protocol/digest.h"

#include <fcntl.h>
#include <unistd.h>

static int open_blob(const struct store_files *files, const struct digest *blob)
{
	char name[STORE_NAME_MAX];
	int fd;

	store_name(name, blob, "");
	fd = openat(files->blobs, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0)
		return fd;
	store_name(name, blob, ".part");
	return openat(files->parts, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

int held_read(const struct store_files *files, struct journal *journal, const struct digest *chunk,
	      void *buffer, size_t size, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct digest blob;
	uint64_t offset, found;
	int r = journal_find_chunk(journal, chunk, NULL, &blob, &offset, &found, err);

	if (r < 0)
		return r;
	if (found != size)
		return -ENOENT;
	fd = open_blob(files, &blob);
	if (fd < 0)
		return -ENOENT;
	r = store_read_at(fd, buffer, size, offset);
	return r < 0 ? err_errno(err, r, "read a chunk") : 0;
}

int held_chunk(const struct store_files *files, struct journal *journal, const struct digest *chunk,
	       struct bytes *ret_data)
{
	AUTO_FREE uint8_t *data = NULL;
	struct digest blob, digest;
	uint64_t offset, size;
	int r = journal_find_chunk(journal, chunk, NULL, &blob, &offset, &size, NULL);

	if (r < 0)
		return r;
	if (size > LIMIT_CHUNK)
		return -EBADMSG;
	data = mem_resize(NULL, size + 1, 1);
	r = held_read(files, journal, chunk, data, size, NULL);
	if (r < 0)
		return r;
	digest_of(&digest, data, size);
	if (!digest_equal(&digest, chunk))
		return -EBADMSG;
	*ret_data = (struct bytes){TAKE_PTR(data), size};
	return 0;
}

struct holding {
	const struct digest *not_this;
	struct held_release *held;
	size_t count;
};

/* Comes with the longest unused first: the latest ones stay, in front. */
static int add_release(void *context, const struct digest *release, uint64_t used_unix_ms,
		       bool sealed)
{
	struct holding *holding = context;

	if (!sealed || digest_equal(release, holding->not_this))
		return 0;
	memmove(&holding->held[1], &holding->held[0], (LIMIT_HELD - 1) * sizeof(*holding->held));
	holding->held[0].digest = *release;
	holding->count += holding->count < LIMIT_HELD;
	return 0;
}

size_t held_releases(struct journal *journal, const struct digest *not_this,
		     struct held_release ret_held[LIMIT_HELD])
{
	struct holding holding = {not_this, ret_held, 0};

	return journal_each_release(journal, add_release, &holding, NULL) < 0 ? 0 : holding.count;
}
