/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk store on a disk that is too small, and a model that is very large. */
#include "store_steps.h"

#include "base/mem.h"
#include "protocol/digest.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

/* A disk of its own, too small. */
/* spec: REL-7 */
static void full_disk_is_told_and_survived(void **state)
{
	struct node *node = *state;
	struct digest small = node_release(node, "1.0.0", 1, 3, CHUNK);
	struct digest large = node_release(node, "2.0.0", 50, 64, 600000);
	int r;

	store_bring(node, &small, SIZE_MAX);
	assert_int_equal(store_seal(node, &small), 0);
	r = store_bring(node, &large, SIZE_MAX);
	assert_int_equal(r, -ENOSPC);
	assert_true(store_is_sealed(node, &small));
	store_check_blobs(node);
	/* room appears: it goes on with what is there */
	assert_int_equal(mount("none", "/dev/shm", "none", MS_REMOUNT, "size=400m"), 0);
	assert_true(store_bring(node, &large, SIZE_MAX) > 0);
	assert_int_equal(store_seal(node, &large), 0);
	store_check_blobs(node);
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
	store_bring(node, &release, 5); /* manifest and indices */
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
		const struct node_object *o = store_object(node, &items[i].digest);

		refused += store->put(store->context, &release, OBJECT_CHUNK, &o->digest,
				      o->data.data, o->data.size, NULL) == -ENOSPC;
	}
	assert_true(refused > 0);
	unlink(filler);
	assert_true(store_bring(node, &release, SIZE_MAX) >= (int)refused);
	assert_int_equal(store_seal(node, &release), 0);
	store_check_blobs(node);
}

#ifdef __SANITIZE_ADDRESS__ /* which keeps what was freed */
static const bool memory_is_plain = false;
#else
static const bool memory_is_plain = true;
#endif

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
	if (memory_is_plain)
		assert_in_range(memory_kib("VmHWM") - before, 0, MOST_KIB);
}

static int setup_small_disk(void **state)
{
	/* a mount namespace of this process alone */
	if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return -1;
	if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=24m") < 0)
		return -1;
	return store_setup(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_small_disk, store_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(full_disk_is_told_and_survived),
		TEST(large_model_takes_little_memory),
		TEST(write_that_finds_no_room_is_told),
	};

	return cmocka_run_group_tests_name("agent chunk store's disk", tests, NULL, NULL);
}
