/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A release is assembled blob by blob, a window of blobs at a time. A chunk goes UNKNOWN ->
 * (found in the part that an earlier run left, or copied from another blob | MISSING, to be
 * fetched) -> WRITTEN -> DURABLE. Only the last step touches the journal: first the bytes are
 * forced out, then one transaction names them; a crash in between costs a look at the part file,
 * not a transfer. seal.c takes it from there.
 */
#include "agent/chunks/stage.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	WINDOW_CHUNKS = LIMIT_CHUNKS, /* in the indices of blobs that are open at a time: memory */
	STEP_BYTES = 8 << 20,	      /* copied or looked at in one call */
	STEP_LOOKUPS = 256,
	FLUSH_BYTES = 16 << 20,
	FLUSH_MS = 5000,
	SYNC_EACH = 8, /* above this many dirty files one syncfs() is cheaper */
};

/* ---- opening and closing ---- */

static void assembly_free(struct assembly *a)
{
	codec_free(&codec_chunk_index, &a->index);
	free(a->offsets);
	free(a->states);
	free(a);
}

COVEY_DEFINE_CLEANUP(struct assembly *, assembly_free)

static bool file_is_there(int dir, const struct digest *digest, const char *suffix, uint64_t size)
{
	char name[STORE_NAME_MAX];
	struct stat st;

	store_name(name, digest, suffix);
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       (size == UINT64_MAX || (uint64_t)st.st_size == size);
}

static int by_content(const void *a, const void *b)
{
	const struct stage_blob *const *x = a, *const *y = b;
	int order = memcmp((*x)->of->content.bytes, (*y)->of->content.bytes, DIGEST_SIZE);

	return order != 0 ? order : (*x < *y ? -1 : *x > *y);
}

/* The second file with the same content is the first one: assembled once. */
static void mark_twins(struct stage *stage)
{
	size_t count = stage->release.blobs_count;
	AUTO_FREE struct stage_blob **sorted = mem_array(count + 1, sizeof(struct stage_blob *));

	for (size_t i = 0; i < count; i++)
		sorted[i] = &stage->blobs[i];
	qsort(sorted, count, sizeof(struct stage_blob *), by_content);
	for (size_t i = 1; i < count; i++)
		if (digest_equal(&sorted[i]->of->content, &sorted[i - 1]->of->content))
			sorted[i]->phase = BLOB_DONE;
}

static void look_at_disk(struct stage *stage, bool suspect)
{
	for (size_t i = 0; i < stage->release.blobs_count; i++) {
		struct stage_blob *blob = &stage->blobs[i];
		const struct release_blob *of = blob->of;

		if (blob->phase != BLOB_DONE &&
		    file_is_there(stage->files->blobs, &of->content, "", of->size))
			blob->phase = suspect ? BLOB_SUSPECT : BLOB_DONE;
		if (blob->phase == BLOB_INDEX &&
		    file_is_there(stage->files->objects, &of->index, "", of->index_size))
			blob->phase = BLOB_CLOSED;
		stage->bytes_total += of->size;
		if (blob->phase >= BLOB_WHOLE)
			stage->bytes_done += of->size;
	}
}

struct stage *stage_create(const struct store_files *files, struct journal *journal,
			   const struct digest *id, struct release *release, bool suspect)
{
	struct stage *stage = mem_alloc(sizeof(*stage));

	stage->files = files;
	stage->journal = journal;
	stage->id = *id;
	stage->release = *release;
	memset(release, 0, sizeof(*release));
	stage->blobs = mem_array(stage->release.blobs_count + 1, sizeof(*stage->blobs));
	for (size_t i = 0; i < stage->release.blobs_count; i++)
		stage->blobs[i].of = &stage->release.blobs[i];
	mark_twins(stage);
	look_at_disk(stage, suspect);
	stage->flushed_ms = clock_mono_ms();
	return stage;
}

void stage_free(struct stage *stage)
{
	for (size_t i = 0; i < stage->release.blobs_count; i++)
		if (stage->blobs[i].assembly)
			assembly_free(stage->blobs[i].assembly);
	free(stage->blobs);
	release_free(&stage->release);
	free(stage);
}

/* ---- opening one blob for assembly ---- */

struct adoption {
	struct stage *stage;
	struct assembly *assembly;
};

/* A row of the journal says that this chunk is durable in the part. */
static int adopt_row(void *context, const struct journal_extent *extent)
{
	struct adoption *adoption = context;
	struct assembly *a = adoption->assembly;
	size_t low = 0, high = a->index.chunks_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (a->offsets[middle] < extent->offset)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == a->index.chunks_count || a->offsets[low] != extent->offset ||
	    a->states[low] != CHUNK_UNKNOWN ||
	    !digest_equal(&a->index.chunks[low].digest, &extent->chunk))
		return 0;
	a->states[low] = CHUNK_DURABLE;
	a->left--;
	adoption->stage->bytes_done += extent->size;
	return 0;
}

static int open_part(const struct stage *stage, const struct release_blob *of, int *ret_fd,
		     struct err *err)
{
	char name[STORE_NAME_MAX];
	int fd;

	store_name(name, &of->content, ".part");
	fd = openat(stage->files->parts, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_errno(err, -errno, "open %s", name);
	*ret_fd = fd;
	return 0;
}

/* Makes the part as long as its blob, without blocks. */
static int size_part(struct stage *stage, const struct release_blob *of, bool *ret_resumed,
		     struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct stat st;
	int r = open_part(stage, of, &fd, err);

	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return err_errno(err, -errno, "look at a part");
	*ret_resumed = (uint64_t)st.st_size == of->size;
	stage->new_parts |= !*ret_resumed;
	if (!*ret_resumed && ftruncate(fd, (off_t)of->size) < 0)
		return err_errno(err, -errno, "size a part");
	return 0;
}

static int open_blob(struct stage *stage, struct stage_blob *blob, struct err *err)
{
	COVEY_CLEANUP(assembly_free_p) struct assembly *a = mem_alloc(sizeof(*a));
	struct adoption adoption = {stage, a};
	uint64_t offset = 0;
	int r;

	r = stage_load_index(stage->files, blob->of, &a->index, err);
	if (r == -ENOENT) {
		blob->phase = BLOB_INDEX; /* ask for it again */
		return 0;
	}
	if (r < 0)
		return r;
	a->offsets = mem_array(a->index.chunks_count + 1, sizeof(*a->offsets));
	a->states = mem_alloc(a->index.chunks_count + 1);
	a->left = a->index.chunks_count;
	for (size_t i = 0; i < a->index.chunks_count; i++) {
		a->offsets[i] = offset;
		offset += a->index.chunks[i].size;
	}
	r = size_part(stage, blob->of, &a->resumed, err);
	if (r == 0 && a->resumed)
		r = journal_each_extent(stage->journal, &blob->of->content, adopt_row, &adoption,
					err);
	else if (r == 0)
		r = journal_drop_blob(stage->journal, &blob->of->content, err);
	if (r < 0)
		return r;
	blob->assembly = TAKE_PTR(a);
	blob->phase = BLOB_OPEN;
	return 0;
}

/* ---- chunks ---- */

static void set_written(struct stage *stage, struct assembly *a, size_t i)
{
	a->states[i] = CHUNK_WRITTEN;
	a->left--;
	a->written++;
	stage->bytes_done += a->index.chunks[i].size;
	stage->unflushed_bytes += a->index.chunks[i].size;
}

struct budget {
	size_t bytes, lookups;
	void *buffer; /* LIMIT_CHUNK */
};

static int look_for_chunk(struct stage *stage, struct assembly *a, size_t i, int part,
			  struct budget *budget, struct err *err)
{
	size_t size = a->index.chunks[i].size;
	int r = 0;

	budget->lookups--;
	if (!stage_find_in_part(a, i, part, budget->buffer))
		r = stage_find_elsewhere(stage, a, i, part, budget->buffer, err);
	if (r == -ENOENT) {
		a->states[i] = CHUNK_MISSING;
		return 0;
	}
	if (r < 0)
		return err_prefix(err, r, "copy a chunk");
	set_written(stage, a, i);
	budget->bytes -= size < budget->bytes ? size : budget->bytes;
	return 0;
}

/* Settles what is UNKNOWN in a blob, as far as the budget goes. */
static int look_for_chunks(struct stage *stage, const struct stage_blob *blob,
			   struct budget *budget, struct err *err)
{
	struct assembly *a = blob->assembly;
	AUTO_CLOSE int part = -1;
	int r = 0;

	for (; a->first_unknown < a->index.chunks_count; a->first_unknown++) {
		if (a->states[a->first_unknown] != CHUNK_UNKNOWN)
			continue;
		if (budget->bytes == 0 || budget->lookups == 0)
			return 0;
		if (part < 0)
			r = open_part(stage, blob->of, &part, err);
		if (r == 0)
			r = look_for_chunk(stage, a, a->first_unknown, part, budget, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void list_chunks(struct assembly *a, struct wanted_object *items, size_t max, size_t *count)
{
	while (a->first_missing < a->first_unknown &&
	       a->states[a->first_missing] > CHUNK_MISSING)
		a->first_missing++;
	for (size_t i = a->first_missing; i < a->first_unknown && *count < max; i++)
		if (a->states[i] == CHUNK_MISSING)
			items[(*count)++] = (struct wanted_object){
				OBJECT_CHUNK, a->index.chunks[i].digest, a->index.chunks[i].size};
}

static bool blob_lacks(const struct stage_blob *blob)
{
	return blob->phase == BLOB_INDEX || blob->phase == BLOB_CLOSED ||
	       (blob->phase == BLOB_OPEN && blob->assembly->left > 0);
}

static void list_indices(const struct stage *stage, struct wanted_object *items, size_t max,
			 size_t *count)
{
	for (size_t i = stage->first_open; i < stage->release.blobs_count && *count < max; i++) {
		const struct stage_blob *blob = &stage->blobs[i];

		if (blob->phase == BLOB_INDEX)
			items[(*count)++] = (struct wanted_object){OBJECT_CHUNK, blob->of->index,
								   blob->of->index_size};
	}
}

static int list_window(struct stage *stage, struct wanted_object *items, size_t max, size_t *count,
		       struct err *err)
{
	AUTO_FREE void *buffer = mem_alloc(LIMIT_CHUNK);
	struct budget budget = {STEP_BYTES, STEP_LOOKUPS, buffer};
	size_t chunks = 0;
	int r = 0;

	for (size_t i = stage->first_open; r == 0 && i < stage->release.blobs_count; i++) {
		struct stage_blob *blob = &stage->blobs[i];

		if (chunks >= WINDOW_CHUNKS || *count >= max)
			break;
		if (blob->phase == BLOB_CLOSED)
			r = open_blob(stage, blob, err);
		if (r < 0 || blob->phase != BLOB_OPEN)
			continue;
		r = look_for_chunks(stage, blob, &budget, err);
		list_chunks(blob->assembly, items, max, count);
		chunks += blob->assembly->index.chunks_count;
	}
	return r;
}

bool stage_is_complete(const struct stage *stage)
{
	for (size_t i = stage->first_open; i < stage->release.blobs_count; i++)
		if (blob_lacks(&stage->blobs[i]))
			return false;
	return true;
}

static bool is_looked_at(const struct stage *stage)
{
	for (size_t i = stage->first_open; i < stage->release.blobs_count; i++) {
		const struct stage_blob *blob = &stage->blobs[i];

		if (blob->phase == BLOB_INDEX || blob->phase == BLOB_CLOSED ||
		    (blob->phase == BLOB_OPEN &&
		     blob->assembly->first_unknown < blob->assembly->index.chunks_count))
			return false;
	}
	return true;
}

static bool should_flush(const struct stage *stage)
{
	return stage->unflushed_bytes >= FLUSH_BYTES ||
	       (stage->unflushed_bytes > 0 && clock_mono_ms() - stage->flushed_ms >= FLUSH_MS);
}

/* Blobs that lack nothing but are still open fill the window: let them go. */
static bool window_is_stuck(const struct stage *stage, size_t listed)
{
	size_t full = 0;

	for (size_t i = stage->first_open; i < stage->release.blobs_count; i++)
		if (stage->blobs[i].phase == BLOB_OPEN && stage->blobs[i].assembly->left == 0)
			full++;
	return listed == 0 && full > 0;
}

int stage_missing(struct stage *stage, struct wanted_object *ret_items, size_t max,
		  size_t *ret_count, struct stage_progress *ret_progress, struct err *err)
{
	size_t count = 0;
	int r;

	list_indices(stage, ret_items, max, &count);
	r = count > 0 ? 0 : list_window(stage, ret_items, max, &count, err);
	if (r == 0 && (should_flush(stage) || window_is_stuck(stage, count)))
		r = stage_flush(stage, err);
	if (r < 0)
		return r;
	while (stage->first_open < stage->release.blobs_count &&
	       stage->blobs[stage->first_open].phase >= BLOB_WHOLE)
		stage->first_open++;
	*ret_count = count;
	*ret_progress = (struct stage_progress){.manifest = true,
						.complete = stage_is_complete(stage),
						.looked = count < max && is_looked_at(stage),
						.bytes_done = stage->bytes_done,
						.bytes_total = stage->bytes_total};
	return 0;
}

static int put_at(struct stage *stage, const struct stage_blob *blob, size_t i, const void *data,
		  size_t size, struct err *err)
{
	struct assembly *a = blob->assembly;
	AUTO_CLOSE int fd = -1;
	int r;

	if (a->index.chunks[i].size != size)
		return err_set(err, -EPROTO, "the release contradicts itself: a chunk is not as "
					     "long as its index says");
	r = open_part(stage, blob->of, &fd, err);
	if (r < 0)
		return r;
	r = store_write_at(fd, data, size, a->offsets[i]);
	if (r < 0)
		return err_errno(err, r, "write a chunk");
	/* On its way to the platter now, so that the flush has little to wait for. */
	(void)!sync_file_range(fd, (off_t)a->offsets[i], (off_t)size, SYNC_FILE_RANGE_WRITE);
	set_written(stage, a, i);
	return 0;
}

int stage_put(struct stage *stage, const struct digest *digest, const void *data, size_t size,
	      struct err *err)
{
	int r = stage_take_index(stage, digest, data, size, err);

	for (size_t b = stage->first_open; r == 0 && b < stage->release.blobs_count; b++) {
		struct assembly *a = stage->blobs[b].assembly;

		if (!a || a->left == 0)
			continue;
		for (size_t i = a->first_missing; r == 0 && i < a->index.chunks_count; i++)
			if (a->states[i] <= CHUNK_MISSING &&
			    digest_equal(&a->index.chunks[i].digest, digest))
				r = put_at(stage, &stage->blobs[b], i, data, size, err);
	}
	if (r == 0 && should_flush(stage))
		r = stage_flush(stage, err);
	return r;
}

/* ---- to the platter, and into the journal ---- */

static int force_out(struct stage *stage, struct err *err)
{
	size_t dirty = 0;
	int r = 0;

	for (size_t i = stage->first_open; i < stage->release.blobs_count; i++)
		if (stage->blobs[i].assembly && stage->blobs[i].assembly->written > 0)
			dirty++;
	if (dirty > SYNC_EACH)
		return syncfs(stage->files->parts) < 0 ? err_errno(err, -errno, "sync") : 0;
	for (size_t i = stage->first_open; r == 0 && i < stage->release.blobs_count; i++) {
		const struct assembly *a = stage->blobs[i].assembly;
		AUTO_CLOSE int fd = -1;

		if (!a || a->written == 0)
			continue;
		r = open_part(stage, stage->blobs[i].of, &fd, err);
		if (r == 0 && fdatasync(fd) < 0)
			r = err_errno(err, -errno, "sync a part");
	}
	/* a row may not outlive the name of the file that it speaks of */
	if (r == 0 && stage->new_parts && fsync(stage->files->parts) < 0)
		r = err_errno(err, -errno, "sync the folder of parts");
	if (r == 0)
		stage->new_parts = false;
	return r;
}

static int record_rows(struct stage *stage, const struct stage_blob *blob, struct err *err)
{
	const struct assembly *a = blob->assembly;
	AUTO_FREE struct journal_extent *rows = mem_array(a->written + 1, sizeof(*rows));
	size_t count = 0;

	for (size_t i = 0; i < a->index.chunks_count; i++)
		if (a->states[i] == CHUNK_WRITTEN)
			rows[count++] = (struct journal_extent){a->index.chunks[i].digest,
								a->offsets[i],
								a->index.chunks[i].size};
	return journal_add_extents(stage->journal, &blob->of->content, rows, count, err);
}

static void settle(struct stage_blob *blob)
{
	struct assembly *a = blob->assembly;

	for (size_t i = 0; i < a->index.chunks_count; i++)
		if (a->states[i] == CHUNK_WRITTEN)
			a->states[i] = CHUNK_DURABLE;
	a->written = 0;
	if (a->left > 0)
		return;
	blob->phase = a->resumed ? BLOB_WHOLE : BLOB_VERIFIED;
	assembly_free(a);
	blob->assembly = NULL;
}

int stage_flush(struct stage *stage, struct err *err)
{
	int r = force_out(stage, err);

	if (r < 0)
		return r;
	r = journal_begin(stage->journal, err);
	if (r < 0)
		return r;
	for (size_t i = stage->first_open; r == 0 && i < stage->release.blobs_count; i++)
		if (stage->blobs[i].assembly && stage->blobs[i].assembly->written > 0)
			r = record_rows(stage, &stage->blobs[i], err);
	if (r < 0) {
		journal_abandon(stage->journal);
		return r;
	}
	r = journal_commit(stage->journal, err);
	if (r < 0)
		return r;
	for (size_t i = stage->first_open; i < stage->release.blobs_count; i++)
		if (stage->blobs[i].assembly)
			settle(&stage->blobs[i]);
	stage->unflushed_bytes = 0;
	stage->flushed_ms = clock_mono_ms();
	return 0;
}
