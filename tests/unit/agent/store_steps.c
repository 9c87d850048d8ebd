/* SPDX-License-Identifier: Apache-2.0 */
/* Objects come straight from the fake origin, without a scheduler between. */
#include "store_steps.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

int store_setup(void **state)
{
	struct node *node = mem_alloc(sizeof(*node));

	node_create(node);
	*state = node;
	return 0;
}

int store_teardown(void **state)
{
	node_destroy(*state);
	free(*state);
	return 0;
}

const struct node_object *store_object(const struct node *node, const struct digest *digest)
{
	for (size_t i = 0; i < node->objects_count; i++)
		if (digest_equal(&node->objects[i].digest, digest))
			return &node->objects[i];
	fail_msg("the store asks for something that nobody has");
	return NULL;
}

int store_bring(struct node *node, const struct digest *release, size_t most)
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
			o = store_object(node, &items[i].digest);
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

int store_seal(struct node *node, const struct digest *release)
{
	struct chunk_store_ops *store = &node->world.store;
	int r;

	do
		r = store->seal(store->context, release, NULL);
	while (r == -EAGAIN);
	return r;
}

bool store_is_sealed(struct node *node, const struct digest *release)
{
	return node->world.store.sealed(node->world.store.context, release);
}

void store_check_blobs(const struct node *node)
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

size_t store_files_in(const struct node *node, const char *folder)
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
