/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk store alone: a transfer that is cut, killed or spoiled, and room that is made. */
#include "store_steps.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void release_arrives_in_order_and_is_sealed(void **state)
{
	struct node *node = *state;
	struct digest release = node_release(node, "1.0.0", 1, 7, CHUNK);

	assert_false(store_is_sealed(node, &release));
	assert_int_equal(store_bring(node, &release, SIZE_MAX), node->objects_count);
	assert_int_equal(store_files_in(node, "blobs"), 0);
	assert_int_equal(store_seal(node, &release), 0);
	assert_true(store_is_sealed(node, &release));
	assert_int_equal(store_files_in(node, "blobs"), 7);
	assert_int_equal(store_files_in(node, "parts"), 0);
	store_check_blobs(node);
	node_restart_agent(node);
	assert_true(store_is_sealed(node, &release));
}

/* Killed after any number of objects: what was given is not asked for again. */
/* spec: REL-5 */
static void kill_loses_no_verified_chunk(void **state)
{
	struct node *node = *state;
	struct digest release = node_release(node, "1.0.0", 1, 7, CHUNK);
	size_t brought = 0;

	while (brought < node->objects_count) {
		int r = store_bring(node, &release, 3);

		assert_true(r > 0);
		brought += (size_t)r;
		node_restart_agent(node);
	}
	assert_int_equal(brought, node->objects_count);
	assert_int_equal(store_bring(node, &release, SIZE_MAX), 0);
	assert_int_equal(store_seal(node, &release), 0);
	store_check_blobs(node);
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

	store_bring(node, &release, 4);
	node->world.store.idle(node->world.store.context); /* forces out */
	store_bring(node, &release, 1);
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
	assert_true(store_bring(node, &release, SIZE_MAX) >= 0);
	assert_int_equal(store_seal(node, &release), 0);
	store_check_blobs(node);
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

	store_bring(node, &release, 4); /* manifest and indices */
	assert_int_equal(store->missing(store->context, &release, items, BATCH, &count, &progress,
					NULL),
			 0);
	assert_true(count > 0 && items[0].kind == OBJECT_CHUNK);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(store->put(store->context, &release, OBJECT_CHUNK,
					    &items[i].digest, bytes, sizeof(bytes), NULL),
				 -EBADMSG);
	assert_int_equal(store_bring(node, &release, SIZE_MAX), (int)node->objects_count - 4);
	assert_int_equal(store_seal(node, &release), 0);
	store_check_blobs(node);
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

	store_bring(node, &release, SIZE_MAX);
	node_restart_agent(node);
	assert_int_equal(store_bring(node, &release, SIZE_MAX), 0);
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
	assert_int_equal(store_seal(node, &release), -EBADMSG);
	r = store_bring(node, &release, SIZE_MAX);
	assert_in_range(r, 1, 5 + 1);
	assert_int_equal(store_seal(node, &release), 0);
	store_check_blobs(node);
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

	store_bring(node, &release, SIZE_MAX);
	assert_int_equal(store_seal(node, &release), 0);
	flip_one_byte(node, "blobs");
	store->suspect(store->context, &release);
	assert_false(store_is_sealed(node, &release));
	assert_int_equal(store_bring(node, &release, SIZE_MAX), 0); /* as far as the journal knows */
	assert_int_equal(store_seal(node, &release), -EBADMSG);
	r = store_bring(node, &release, SIZE_MAX);
	assert_in_range(r, 1, 5);
	assert_int_equal(store_seal(node, &release), 0);
	assert_true(store_is_sealed(node, &release));
	store_check_blobs(node);
	/* one that is fine after all costs nothing but the reading */
	store->suspect(store->context, &release);
	assert_int_equal(store_bring(node, &release, SIZE_MAX), 0);
	assert_int_equal(store_seal(node, &release), 0);
	store_check_blobs(node);
}

static void manifest_must_be_signed_and_be_the_one(void **state)
{
	struct node *node = *state;
	struct chunk_store_ops *store = &node->world.store;
	struct digest release = node_release(node, "1.0.0", 1, 1, CHUNK);
	struct digest other = node_release(node, "2.0.0", 2, 1, CHUNK);
	const struct node_object *manifest = store_object(node, &other);
	AUTO_FREE uint8_t *spoiled = mem_copy(manifest->data.data, manifest->data.size);

	assert_true(store->put(store->context, &release, OBJECT_MANIFEST, &release,
			       manifest->data.data, manifest->data.size, NULL) < 0);
	spoiled[manifest->data.size - 5] ^= 1; /* in the signature */
	assert_true(store->put(store->context, &other, OBJECT_MANIFEST, &other, spoiled,
			       manifest->data.size, NULL) < 0);
	assert_int_equal(store_files_in(node, "releases"), 0);
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

	store_bring(node, &first, SIZE_MAX);
	assert_int_equal(store_seal(node, &first), 0);
	before = node->objects_count;
	/* blobs of seeds 2..7: the first chunks of 2..5 are those of the first release's blobs,
	 * although the blobs have other lengths */
	second = node_release(node, "2.0.0", 2, 6, CHUNK);
	assert_int_equal(store_bring(node, &second, SIZE_MAX), (int)(node->objects_count - before));
	assert_int_equal(store_seal(node, &second), 0);
	store_check_blobs(node);
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
		assert_memory_equal(buffer, store_object(node, &chunks[i].digest)->data.data,
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
	store_bring(node, &release, 1 + 4); /* the manifest and the indices */
	assert_int_equal(readable(node, &release, &all), 0);
	assert_int_equal(all, 1 + 2 + 3 + 4);
	store_bring(node, &release, 3);
	assert_int_equal(readable(node, &release, &all), 3);
	store_bring(node, &release, SIZE_MAX);
	assert_int_equal(readable(node, &release, &all), all);
	assert_int_equal(store_seal(node, &release), 0);
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
		store_bring(node, &releases[i], SIZE_MAX);
		assert_int_equal(store_seal(node, &releases[i]), 0);
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
	assert_true(store_is_sealed(node, &releases[0]));
	assert_false(store_is_sealed(node, &releases[1]));
	assert_false(store_is_sealed(node, &releases[2]));
	assert_true(store_is_sealed(node, &releases[3]));
	assert_int_equal(store_files_in(node, "blobs"), 4);
	assert_int_equal(store_files_in(node, "releases"), 2);
	assert_int_equal(store_files_in(node, "objects"), 4);
	assert_int_equal(known_chunks(node), 2 * 3);
	store_check_blobs(node);
	/* what a lost journal left behind goes too, but only when room is asked for */
	{
		AUTO_FREE char *orphan = mem_format("%s/blobs/%064d", node->dir, 7);
		AUTO_FREE uint8_t *bytes = mem_alloc(4 * CHUNK);
		int fd = open(orphan, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		assert_int_equal(write(fd, bytes, 4 * CHUNK), 4 * CHUNK);
		close(fd);
		assert_int_equal(store->prune(store->context, keep, 2, &dropped, NULL), 0);
		assert_int_equal(access(orphan, F_OK), -1);
		assert_int_equal(store_files_in(node, "blobs"), 4);
	}
	/* a chunk of what went is not found any more, and what went can come again */
	assert_true(store_bring(node, &releases[1], SIZE_MAX) > 3);
	assert_int_equal(store_seal(node, &releases[1]), 0);
	store_check_blobs(node);
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

	store_bring(node, &old, SIZE_MAX);
	assert_int_equal(store_seal(node, &old), 0);
	brought = (size_t)store_bring(node, &arriving, 10);
	chunk_store_close(node->store);
	assert_int_equal(chunk_store_open(&config, &node->store, NULL), 0);
	node->world.store = chunk_store_ops(node->store);
	brought += (size_t)store_bring(node, &arriving, 3);
	assert_int_equal(store->prune(store->context, &keep, 1, &dropped, NULL), 0);
	assert_true(dropped); /* the old one alone */
	assert_false(store_is_sealed(node, &old));
	assert_true(store_files_in(node, "parts") > 0);
	brought += (size_t)store_bring(node, &arriving, SIZE_MAX);
	assert_int_equal(brought, 1 + 5 + 1 + 2 + 3 + 4 + 5); /* each object came once */
	assert_int_equal(store_seal(node, &arriving), 0);
	store_check_blobs(node);
	/* nobody wants it any more: nothing of it stays */
	assert_int_equal(store->prune(store->context, NULL, 0, &dropped, NULL), 0);
	assert_true(dropped);
	assert_int_equal(store_files_in(node, "blobs") + store_files_in(node, "parts"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, store_setup, store_teardown)

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
	};

	return cmocka_run_group_tests_name("agent chunk store", tests, NULL, NULL);
}
