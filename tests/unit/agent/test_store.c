/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk store alone: a transfer that is cut, killed, spoiled, or runs out of disk. */
#include "fleetless.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { BATCH = 64, CHUNK = 70000 };

static int setup(void **state)
{
	struct node *node = mem_alloc(sizeof(*node));

	node_create(node);
	*state = node;
	return 0;
}

static int teardown(void **state)
{
	node_destroy(*state);
	free(*state);
	return 0;
}

static const struct node_object *object(const struct node *node, const struct digest *digest)
{
	for (size_t i = 0; i < node->objects_count; i++)
		if (digest_equal(&node->objects[i].digest, digest))
			return &node->objects[i];
	fail_msg("the store asks for something that nobody has");
	return NULL;
}

/* Brings at most `most` objects; returns how many it brought, or a negative errno. */
static int bring(struct node *node, const struct digest *release, size_t most)
{
	struct chunk_store_ops *store = &node->world.store;
	struct wanted_object items[BATCH];
	struct stage_progress progress;
	size_t brought = 0, count, rounds = 0;

	do {
		int r = store->missing(store->context, release, items, BATCH, &count, &progress,
				       NULL);

		assert_true(++rounds < 10000);
		if (r < 0)
			return r;
		for (size_t i = 0; i < count && brought < most; i++) {
			const struct node_object *o;

			if (items[i].kind == OBJECT_DELTAS) { /* there are none */
				assert_int_equal(store->put(store->context, release, OBJECT_DELTAS,
							    release, NULL, 0, NULL), 0);
				continue;
			}
			o = object(node, &items[i].digest);
			if (items[i].kind == OBJECT_CHUNK)
				assert_int_equal(items[i].size, o->data.size);
			r = store->put(store->context, release, items[i].kind, &o->digest,
				       o->data.data, o->data.size, NULL);
			if (r < 0)
				return r;
			brought++;
		}
	} while (!progress.complete && brought < most);
	return (int)brought;
}

static int seal(struct node *node, const struct digest *release)
{
	struct chunk_store_ops *store = &node->world.store;
	int r;

	do
		r = store->seal(store->context, release, NULL);
	while (r == -EAGAIN);
	return r;
}

static bool is_sealed(struct node *node, const struct digest *release)
{
	return node->world.store.sealed(node->world.store.context, release);
}

/* Every blob on the disk is what its name says. */
static void check_blobs(const struct node *node)
{
	AUTO_FREE char *path = mem_format("%s/blobs", node->dir);
	DIR *dir = opendir(path);
	struct dirent *entry;

	while ((entry = readdir(dir))) {
		AUTO_FREE char *file = mem_format("%s/%s", path, entry->d_name);
		AUTO_FREE uint8_t *data = NULL;
		struct digest digest, name;
		struct stat st;
		int fd;

		if (entry->d_name[0] == '.')
			continue;
		assert_int_equal(str_unhex(name.bytes, DIGEST_SIZE, entry->d_name), 0);
		fd = open(file, O_RDONLY | O_CLOEXEC);
		assert_int_equal(fstat(fd, &st), 0);
		data = mem_alloc((size_t)st.st_size + 1);
		assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
		close(fd);
		digest_of(&digest, data, (size_t)st.st_size);
		assert_true(digest_equal(&digest, &name));
	}
	closedir(dir);
}

static size_t files_in(const struct node *node, const char *folder)
{
	AUTO_FREE char *path = mem_format("%s/%s", node->dir, folder);
	DIR *dir = opendir(path);
	struct dirent *entry;
	size_t count = 0;

	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static void release_arrives_in_order_and_is_sealed(void **state)
{
	struct node *node = *state;
	struct digest release = node_release(node, "1.0.0", 1, 7, CHUNK);

	assert_false(is_sealed(node, &release));
	assert_int_equal(bring(node, &release, SIZE_MAX), node->objects_count);
	assert_int_equal(files_in(node, "blobs"), 0);
	assert_int_equal(seal(node, &release), 0);
	assert_true(is_sealed(node, &release));
	assert_int_equal(files_in(node, "blobs"), 7);
	assert_int_equal(files_in(node, "parts"), 0);
	check_blobs(node);
	node_restart_agent(node);
	assert_true(is_sealed(node, &release));
}

/* Killed after any number of objects: what was given is not asked for again. */
/* spec: REL-5 */
static void kill_loses_no_verified_chunk(void **state)
{
	struct node *node = *state;
	struct digest release = node_release(node, "1.0.0", 1, 7, CHUNK);
	size_t brought = 0;

	while (brought < node->objects_count) {
		int r = bring(node, &release, 3);

		assert_true(r > 0);
		brought += (size_t)r;
		node_restart_agent(node);
	}
	assert_int_equal(brought, node->objects_count);
	assert_int_equal(bring(node, &release, SIZE_MAX), 0);
	assert_int_equal(seal(node, &release), 0);
	check_blobs(node);
}

/* A power cut: what was not forced out may be anything. Rows are only trusted for what was. */
/* spec: REL-5 */
static void power_cut_loses_only_what_was_not_forced_out(void **state)
{
	struct node *node = *state;
	struct digest release = node_release(node, "1.0.0", 1, 2, CHUNK);
	AUTO_FREE char *parts = mem_format("%s/parts", node->dir);
	struct dirent *entry;
	DIR *dir;

	bring(node, &release, 4);
	node->world.store.idle(node->world.store.context); /* forces out */
	bring(node, &release, 1);
	node_restart_agent(node);
	dir = opendir(parts);
	while ((entry = readdir(dir))) { /* the last chunk's bytes never came to the platter */
		AUTO_FREE char *path = mem_format("%s/%s", parts, entry->d_name);
		struct stat st;

		if (entry->d_name[0] == '.' || stat(path, &st) < 0 || st.st_size <= CHUNK)
			continue;
		assert_int_equal(truncate(path, CHUNK), 0);
		assert_int_equal(truncate(path, st.st_size), 0);
	}
	closedir(dir);
	assert_true(bring(node, &release, SIZE_MAX) >= 0);
	assert_int_equal(seal(node, &release), 0);
	check_blobs(node);
}

/* spec: TRUST-3 */
static void wrong_bytes_are_refused(void **state)
{
	struct node *node = *state;
	struct chunk_store_ops *store = &node->world.store;
	struct digest release = node_release(node, "1.0.0", 1, 3, CHUNK);
	struct wanted_object items[BATCH];
	struct stage_progress progress;
	uint8_t bytes[CHUNK] = {1};
	size_t count;

	bring(node, &release, 4); /* manifest and indices */
	assert_int_equal(store->missing(store->context, &release, items, BATCH, &count, &progress,
					NULL),
			 0);
	assert_true(count > 0 && items[0].kind == OBJECT_CHUNK);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(store->put(store->context, &release, OBJECT_CHUNK,
					    &items[i].digest, bytes, sizeof(bytes), NULL),
				 -EBADMSG);
	assert_int_equal(bring(node, &release, SIZE_MAX), (int)node->objects_count - 4);
	assert_int_equal(seal(node, &release), 0);
	check_blobs(node);
}

/* The disk gives back something else than an earlier run gave it: seen before the blob gets its
 * name. */
static void spoiled_part_is_fetched_again(void **state)
{
	struct node *node = *state;
	struct digest release = node_release(node, "1.0.0", 1, 5, CHUNK);
	AUTO_FREE char *parts = mem_format("%s/parts", node->dir);
	struct dirent *entry;
	DIR *dir;
	int r;

	bring(node, &release, SIZE_MAX);
	node_restart_agent(node);
	assert_int_equal(bring(node, &release, SIZE_MAX), 0);
	dir = opendir(parts);
	while ((entry = readdir(dir))) {
		AUTO_FREE char *path = mem_format("%s/%s", parts, entry->d_name);
		int fd;

		if (entry->d_name[0] == '.')
			continue;
		fd = open(path, O_WRONLY | O_CLOEXEC);
		assert_int_equal(pwrite(fd, "spoiled", 7, CHUNK / 2), 7);
		close(fd);
		break;
	}
	closedir(dir);
	assert_int_equal(seal(node, &release), -EBADMSG);
	r = bring(node, &release, SIZE_MAX);
	assert_in_range(r, 1, 5 + 1);
	assert_int_equal(seal(node, &release), 0);
	check_blobs(node);
}

static void flip_one_byte(const struct node *node, const char *folder)
{
	AUTO_FREE char *path = mem_format("%s/%s", node->dir, folder);
	DIR *dir = opendir(path);
	struct dirent *entry;
	int fd = -1;

	while (fd < 0 && (entry = readdir(dir))) {
		AUTO_FREE char *file = mem_format("%s/%s", path, entry->d_name);

		if (entry->d_name[0] != '.')
			fd = open(file, O_RDWR | O_CLOEXEC);
	}
	closedir(dir);
	assert_true(fd >= 0);
	{
		uint8_t byte;

		assert_int_equal(pread(fd, &byte, 1, CHUNK / 2), 1);
		byte ^= 0x10;
		assert_int_equal(pwrite(fd, &byte, 1, CHUNK / 2), 1);
	}
	close(fd);
}

/* A bit flips on the disk long after the blob was sealed: the helper says so, the release mends. */
/* spec: REL-8 */
static void sealed_blob_that_rots_is_mended(void **state)
{
	struct node *node = *state;
	struct chunk_store_ops *store = &node->world.store;
	struct digest release = node_release(node, "1.0.0", 1, 5, CHUNK);
	int r;

	bring(node, &release, SIZE_MAX);
	assert_int_equal(seal(node, &release), 0);
	flip_one_byte(node, "blobs");
	store->suspect(store->context, &release);
	assert_false(is_sealed(node, &release));
	assert_int_equal(bring(node, &release, SIZE_MAX), 0); /* as far as the journal knows */
	assert_int_equal(seal(node, &release), -EBADMSG);
	r = bring(node, &release, SIZE_MAX);
	assert_in_range(r, 1, 5);
	assert_int_equal(seal(node, &release), 0);
	assert_true(is_sealed(node, &release));
	check_blobs(node);
	/* one that is fine after all costs nothing but the reading */
	store->suspect(store->context, &release);
	assert_int_equal(bring(node, &release, SIZE_MAX), 0);
	assert_int_equal(seal(node, &release), 0);
	check_blobs(node);
}

static void manifest_must_be_signed_and_be_the_one(void **state)
{
	struct node *node = *state;
	struct chunk_store_ops *store = &node->world.store;
	struct digest release = node_release(node, "1.0.0", 1, 1, CHUNK);
	struct digest other = node_release(node, "2.0.0", 2, 1, CHUNK);
	const struct node_object *manifest = object(node, &other);
	AUTO_FREE uint8_t *spoiled = mem_copy(manifest->data.data, manifest->data.size);

	assert_true(store->put(store->context, &release, OBJECT_MANIFEST, &release,
			       manifest->data.data, manifest->data.size, NULL) < 0);
	spoiled[manifest->data.size - 5] ^= 1; /* in the signature */
	assert_true(store->put(store->context, &other, OBJECT_MANIFEST, &other, spoiled,
			       manifest->data.size, NULL) < 0);
	assert_int_equal(files_in(node, "releases"), 0);
	assert_int_equal(store->put(store->context, &other, OBJECT_MANIFEST, &other,
				    manifest->data.data, manifest->data.size, NULL),
			 0);
}

static void chunks_of_other_blobs_are_copied(void **state)
{
	struct node *node = *state;
	struct digest first = node_release(node, "1.0.0", 1, 5, CHUNK);
	size_t before;
	struct digest second;

	bring(node, &first, SIZE_MAX);
	assert_int_equal(seal(node, &first), 0);
	before = node->objects_count;
	/* blobs of seeds 2..7: the first chunks of 2..5 are those of the first release's blobs,
	 * although the blobs have other lengths */
	second = node_release(node, "2.0.0", 2, 6, CHUNK);
	assert_int_equal(bring(node, &second, SIZE_MAX), (int)(node->objects_count - before));
	assert_int_equal(seal(node, &second), 0);
	check_blobs(node);
}

/* How many of the release's chunks can be read; those that can are what they should be. */
static size_t readable(struct node *node, const struct digest *release, size_t *ret_all)
{
	const struct chunk_store_ops *store = &node->world.store;
	AUTO_FREE struct chunk_ref *chunks = NULL;
	AUTO_FREE uint8_t *buffer = mem_alloc(LIMIT_CHUNK);
	size_t found = 0;

	assert_int_equal(store->chunks(store->context, release, &chunks, ret_all, NULL), 0);
	for (size_t i = 0; i < *ret_all; i++) {
		int r = store->read(store->context, release, &chunks[i].digest, buffer,
				    chunks[i].size, NULL);

		assert_true(r == 0 || r == -ENOENT);
		if (r < 0)
			continue;
		assert_memory_equal(buffer, object(node, &chunks[i].digest)->data.data,
				    chunks[i].size);
		assert_int_equal(store->read(store->context, release, &chunks[i].digest, buffer,
					     chunks[i].size - 1, NULL),
				 -ENOENT);
		found++;
	}
	return found;
}

/* What a neighbour may ask for: also while it is written, and in the order of the indices. */
static void chunks_are_read_back(void **state)
{
	struct node *node = *state;
	const struct chunk_store_ops *store = &node->world.store;
	struct digest release = node_release(node, "1.0.0", 1, 4, CHUNK);
	struct chunk_ref *chunks = NULL;
	size_t all;

	assert_int_equal(store->chunks(store->context, &release, &chunks, &all, NULL), -ENOENT);
	bring(node, &release, 1 + 4); /* the manifest and the indices */
	assert_int_equal(readable(node, &release, &all), 0);
	assert_int_equal(all, 1 + 2 + 3 + 4);
	bring(node, &release, 3);
	assert_int_equal(readable(node, &release, &all), 3);
	bring(node, &release, SIZE_MAX);
	assert_int_equal(readable(node, &release, &all), all);
	assert_int_equal(seal(node, &release), 0);
	assert_int_equal(readable(node, &release, &all), all);
}

/* Chunks of which the journal says that they are on the disk. */
static size_t known_chunks(const struct node *node)
{
	struct digest blob;
	uint64_t offset, size;
	size_t count = 0;

	for (size_t i = 0; i < node->objects_count; i++)
		count += journal_find_chunk(node->journal, &node->objects[i].digest, NULL, &blob,
					    &offset, &size, NULL) == 0;
	return count;
}

/* The rule: what is kept stays whatever the disk says, the rest goes, longest unused first. */
/* spec: NODE-30 */
static void room_is_made_by_the_rule(void **state)
{
	struct node *node = *state;
	struct chunk_store_ops *store = &node->world.store;
	struct chunk_store_config config = {.dir = node->dir, .journal = node->journal,
					    .root = &node->root, .quota_bytes = 7 * CHUNK,
					    .unix_ms = node_unix_ms};
	struct digest_item keep[2];
	struct digest releases[4];
	bool dropped;

	for (unsigned i = 0; i < 4; i++) {
		char version[16];

		snprintf(version, sizeof(version), "%u.0.0", i);
		releases[i] = node_release(node, version, 10 * i, 2, CHUNK); /* three chunks */
		bring(node, &releases[i], SIZE_MAX);
		assert_int_equal(seal(node, &releases[i]), 0);
	}
	keep[0].digest = releases[0];
	keep[1].digest = releases[3];
	assert_int_equal(store->prune(store->context, keep, 2, &dropped, NULL), 0);
	assert_false(dropped); /* no quota, disk not full */
	chunk_store_close(node->store);
	assert_int_equal(chunk_store_open(&config, &node->store, NULL), 0);
	node->world.store = chunk_store_ops(node->store);
	assert_int_equal(store->prune(store->context, keep, 2, &dropped, NULL), 0);
	assert_true(dropped);
	assert_true(is_sealed(node, &releases[0]));
	assert_false(is_sealed(node, &releases[1]));
	assert_false(is_sealed(node, &releases[2]));
	assert_true(is_sealed(node, &releases[3]));
	assert_int_equal(files_in(node, "blobs"), 4);
	assert_int_equal(files_in(node, "releases"), 2);
	assert_int_equal(files_in(node, "objects"), 4);
	assert_int_equal(known_chunks(node), 2 * 3);
	check_blobs(node);
	/* what a lost journal left behind goes too, but only when room is asked for */
	{
		AUTO_FREE char *orphan = mem_format("%s/blobs/%064d", node->dir, 7);
		AUTO_FREE uint8_t *bytes = mem_alloc(4 * CHUNK);
		int fd = open(orphan, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		assert_int_equal(write(fd, bytes, 4 * CHUNK), 4 * CHUNK);
		close(fd);
		assert_int_equal(store->prune(store->context, keep, 2, &dropped, NULL), 0);
		assert_int_equal(access(orphan, F_OK), -1);
		assert_int_equal(files_in(node, "blobs"), 4);
	}
	/* a chunk of what went is not found any more, and what went can come again */
	assert_true(bring(node, &releases[1], SIZE_MAX) > 3);
	assert_int_equal(seal(node, &releases[1]), 0);
	check_blobs(node);
}

/* Room is made while a release is on its way: what it has stays, also over a restart. */
/* spec: NODE-30 */
static void transfer_keeps_what_it_has(void **state)
{
	struct node *node = *state;
	struct chunk_store_ops *store = &node->world.store;
	struct chunk_store_config config = {.dir = node->dir, .journal = node->journal,
					    .root = &node->root, .quota_bytes = CHUNK,
					    .unix_ms = node_unix_ms};
	struct digest old = node_release(node, "1.0.0", 1, 2, CHUNK);
	struct digest arriving = node_release(node, "2.0.0", 30, 5, CHUNK); /* 15 chunks */
	struct digest_item keep = {.digest = arriving};
	size_t brought;
	bool dropped;

	bring(node, &old, SIZE_MAX);
	assert_int_equal(seal(node, &old), 0);
	brought = (size_t)bring(node, &arriving, 10);
	chunk_store_close(node->store);
	assert_int_equal(chunk_store_open(&config, &node->store, NULL), 0);
	node->world.store = chunk_store_ops(node->store);
	brought += (size_t)bring(node, &arriving, 3);
	assert_int_equal(store->prune(store->context, &keep, 1, &dropped, NULL), 0);
	assert_true(dropped); /* the old one alone */
	assert_false(is_sealed(node, &old));
	assert_true(files_in(node, "parts") > 0);
	brought += (size_t)bring(node, &arriving, SIZE_MAX);
	assert_int_equal(brought, 1 + 5 + 1 + 2 + 3 + 4 + 5); /* each object came once */
	assert_int_equal(seal(node, &arriving), 0);
	check_blobs(node);
	/* nobody wants it any more: nothing of it stays */
	assert_int_equal(store->prune(store->context, NULL, 0, &dropped, NULL), 0);
	assert_true(dropped);
	assert_int_equal(files_in(node, "blobs") + files_in(node, "parts"), 0);
}

/* A disk of its own, too small. */
/* spec: REL-7 */
static void full_disk_is_told_and_survived(void **state)
{
	struct node *node = *state;
	struct digest small = node_release(node, "1.0.0", 1, 3, CHUNK);
	struct digest large = node_release(node, "2.0.0", 50, 64, 600000);
	int r;

	bring(node, &small, SIZE_MAX);
	assert_int_equal(seal(node, &small), 0);
	r = bring(node, &large, SIZE_MAX);
	assert_int_equal(r, -ENOSPC);
	assert_true(is_sealed(node, &small));
	check_blobs(node);
	/* room appears: it goes on with what is there */
	assert_int_equal(mount("none", "/dev/shm", "none", MS_REMOUNT, "size=400m"), 0);
	assert_true(bring(node, &large, SIZE_MAX) > 0);
	assert_int_equal(seal(node, &large), 0);
	check_blobs(node);
}

/* The disk fills up between the look at it and the write. */
static void write_that_finds_no_room_is_told(void **state)
{
	struct node *node = *state;
	struct chunk_store_ops *store = &node->world.store;
	struct digest release = node_release(node, "1.0.0", 1, 4, CHUNK);
	AUTO_FREE char *filler = mem_format("%s/filler", node->dir);
	AUTO_FREE uint8_t *bytes = mem_alloc(1 << 20);
	struct wanted_object items[BATCH];
	struct stage_progress progress;
	size_t count, refused = 0;
	int fd;

	assert_int_equal(mount("none", "/dev/shm", "none", MS_REMOUNT, "size=40m"), 0);
	bring(node, &release, 5); /* manifest and indices */
	assert_int_equal(store->missing(store->context, &release, items, BATCH, &count, &progress,
					NULL),
			 0);
	fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, bytes, 1 << 20) > 0)
		;
	while (write(fd, bytes, 4096) > 0)
		;
	close(fd);
	for (size_t i = 0; i < count; i++) {
		const struct node_object *o = object(node, &items[i].digest);

		refused += store->put(store->context, &release, OBJECT_CHUNK, &o->digest,
				      o->data.data, o->data.size, NULL) == -ENOSPC;
	}
	assert_true(refused > 0);
	unlink(filler);
	assert_true(bring(node, &release, SIZE_MAX) >= (int)refused);
	assert_int_equal(seal(node, &release), 0);
	check_blobs(node);
}

static uint64_t memory_kib(const char *which) /* VmRSS, VmHWM */
{
	AUTO_FCLOSE FILE *file = fopen("/proc/self/status", "re");
	unsigned long long kib = 0;
	char line[128];

	while (fgets(line, sizeof(line), file))
		if (strncmp(line, which, strlen(which)) == 0)
			sscanf(line + strlen(which), ": %llu", &kib);
	return kib;
}

static size_t bring_if_there(struct node *node, const struct digest *release,
			     const struct wanted_object *item)
{
	struct chunk_store_ops *store = &node->world.store;

	if (item->kind == OBJECT_DELTAS) { /* there are none */
		assert_int_equal(store->put(store->context, release, OBJECT_DELTAS, release, NULL,
					    0, NULL), 0);
		return 0;
	}
	for (size_t i = 0; i < node->objects_count; i++) {
		const struct node_object *o = &node->objects[i];

		if (!digest_equal(&o->digest, &item->digest))
			continue;
		assert_int_equal(store->put(store->context, release, item->kind, &o->digest,
					    o->data.data, o->data.size, NULL), 0);
		return 1;
	}
	return 0;
}

/* What the tables of a model of 100 GiB take, and a chunk on its way; its bytes never come. */
/* spec: NODE-32 */
static void large_model_takes_little_memory(void **state)
{
	enum { CHUNKS = 25600, MOST_KIB = 24 << 10 };
	struct node *node = *state;
	struct chunk_store_ops *store = &node->world.store;
	struct wanted_object items[BATCH];
	struct stage_progress progress = {0};
	struct digest release;
	uint64_t before;
	size_t count, brought = 0;
	int fd;

	assert_int_equal(mount("none", "/dev/shm", "none", MS_REMOUNT, "size=200g"), 0);
	node->promised = CHUNKS;
	release = node_release(node, "1.0.0", 1, 2, LIMIT_CHUNK); /* three chunks are there */
	fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(fd, "5", 1), 1); /* the peak starts anew */
	close(fd);
	before = memory_kib("VmRSS");
	for (int round = 0; round < 8; round++) {
		assert_int_equal(store->missing(store->context, &release, items, BATCH, &count,
						&progress, NULL), 0);
		for (size_t i = 0; i < count; i++)
			brought += bring_if_there(node, &release, &items[i]);
	}
	assert_int_equal(brought, 1 + 2 + 3); /* manifest, indices, chunks */
	assert_int_equal(progress.bytes_total, (CHUNKS + UINT64_C(3)) * LIMIT_CHUNK);
	assert_int_equal(progress.bytes_done, UINT64_C(3) * LIMIT_CHUNK);
#ifndef __SANITIZE_ADDRESS__ /* which keeps what was freed */
	assert_in_range(memory_kib("VmHWM") - before, 0, MOST_KIB);
#endif
}

static int setup_small_disk(void **state)
{
	/* a mount namespace of this process alone */
	if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return -1;
	if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=24m") < 0)
		return -1;
	return setup(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(release_arrives_in_order_and_is_sealed),
		TEST(kill_loses_no_verified_chunk),
		TEST(power_cut_loses_only_what_was_not_forced_out),
		TEST(wrong_bytes_are_refused),
		TEST(spoiled_part_is_fetched_again),
		TEST(sealed_blob_that_rots_is_mended),
		TEST(manifest_must_be_signed_and_be_the_one),
		TEST(chunks_of_other_blobs_are_copied),
		TEST(chunks_are_read_back),
		TEST(room_is_made_by_the_rule),
		TEST(transfer_keeps_what_it_has),
		cmocka_unit_test_setup_teardown(full_disk_is_told_and_survived, setup_small_disk,
						teardown),
		cmocka_unit_test_setup_teardown(large_model_takes_little_memory, setup_small_disk,
						teardown),
		cmocka_unit_test_setup_teardown(write_that_finds_no_room_is_told, setup_small_disk,
						teardown),
	};

	return cmocka_run_group_tests_name("agent chunk store", tests, NULL, NULL);
}
