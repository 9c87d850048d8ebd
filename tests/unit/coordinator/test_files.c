/* SPDX-License-Identifier: Apache-2.0 */
/* The files around the shell: objects on disk, the configuration, the operators' list, routes. */
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/config.h"
#include "coordinator/object_files.h"
#include "coordinator/operators.h"
#include "coordinator/routes.h"
#include "protocol/digest.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cmocka.h>

static char folder[64];

static int setup(void **state)
{
	STR_CUT(folder, "/tmp/covey-files-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	AUTO_FREE char *command = mem_format("rm -rf %s", folder);

	return system(command);
}

static char *write_file(const char *name, const char *text)
{
	char *path = mem_format("%s/%s", folder, name);
	AUTO_FCLOSE FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
	return path;
}

/* ---- objects ---- */

static struct object_files *open_objects(void)
{
	AUTO_FREE char *path = mem_format("%s/objects", folder);
	struct object_files *files = NULL;

	assert_int_equal(object_files_open(path, &files, NULL), 0);
	return files;
}

static char *object_path(const struct digest *digest)
{
	char hex[2 * DIGEST_SIZE + 1];

	str_hex(hex, digest->bytes, DIGEST_SIZE);
	return mem_format("%s/objects/%.2s/%s", folder, hex, hex);
}

struct seen {
	size_t count;
	uint64_t bytes;
};

static int see(void *arg, const struct digest *digest, uint64_t size, uint64_t changed_ms)
{
	struct seen *seen = arg;

	seen->count++;
	seen->bytes += size;
	assert_true(changed_ms > UINT64_C(1500000000000));
	return 0;
}

static void test_objects(void **state)
{
	struct object_files *files = open_objects();
	struct digest a, b;
	struct bytes data = {0};
	struct seen seen = {0};

	digest_of(&a, "aaa", 3);
	digest_of(&b, "bbbb", 4);
	assert_false(object_files_has(files, &a));
	assert_int_equal(object_files_get(files, &a, &data, NULL), -ENOENT);
	assert_int_equal(object_files_put(files, &a, "aaa", 3, NULL), 0);
	assert_int_equal(object_files_put(files, &a, "aaa", 3, NULL), 0);
	assert_int_equal(object_files_put(files, &b, "bbbb", 4, NULL), 0);
	object_files_close(files);
	files = open_objects();
	assert_true(object_files_has(files, &a));
	assert_int_equal(object_files_get(files, &b, &data, NULL), 0);
	assert_int_equal(data.size, 4);
	assert_memory_equal(data.data, "bbbb", 4);
	free(data.data);
	assert_int_equal(object_files_each(files, see, &seen, NULL), 0);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.bytes, 7);
	assert_int_equal(object_files_remove(files, &a, NULL), 0);
	assert_int_equal(object_files_remove(files, &a, NULL), 0);
	assert_false(object_files_has(files, &a));
	object_files_close(files);
}

/* A flipped bit is noticed, never handed out, and mended by a push. */
static void test_damaged_object(void **state)
{
	struct object_files *files = open_objects();
	struct bytes data = {0};
	struct err err = {0};
	struct digest a;

	digest_of(&a, "aaa", 3);
	assert_int_equal(object_files_put(files, &a, "aaa", 3, NULL), 0);
	AUTO_FREE char *path = object_path(&a);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "b", 1, 1), 1);
	assert_int_equal(object_files_get(files, &a, &data, &err), -EBADMSG);
	assert_null(data.data);
	assert_false(object_files_has(files, &a));
	assert_int_equal(object_files_put(files, &a, "aaa", 3, NULL), 0);
	assert_int_equal(object_files_get(files, &a, &data, &err), 0);
	free(data.data);
	object_files_close(files);
}

/* What a crash left half-written has no name and goes at the next start. */
static void test_leftovers_go(void **state)
{
	struct object_files *files = open_objects();

	object_files_close(files);
	AUTO_FREE char *path = write_file("objects/tmp/17", "half");
	files = open_objects();
	assert_int_equal(access(path, F_OK), -1);
	object_files_close(files);
}

static void test_full_disk_has_a_sentence(void **state)
{
	AUTO_FREE char *path = mem_format("%s/objects", folder);
	AUTO_FREE uint8_t *data = mem_alloc(1 << 20);
	struct object_files *files;
	struct err err = {0};
	struct digest digest;

	assert_int_equal(mkdir(path, 0700), 0);
	if (mount("covey-test", path, "tmpfs", 0, "size=256k") < 0)
		skip(); /* needs to be root */
	digest_of(&digest, data, 1 << 20);
	files = open_objects();
	int r = object_files_put(files, &digest, data, 1 << 20, &err);
	bool there = object_files_has(files, &digest);
	int small = object_files_put(files, &digest, data, 16, NULL); /* room was given back */
	object_files_close(files);
	umount(path);
	assert_int_equal(r, -ENOSPC);
	assert_non_null(strstr(err.text, "full"));
	assert_false(there);
	assert_int_equal(small, 0);
}

/* ---- configuration ---- */

static void test_config(void **state)
{
	AUTO_FREE char *path = write_file("c.conf", "# a comment\nport = 9000\nlisten=::1\n");
	AUTO_FREE char *drop_ins = mem_format("%s/c.conf.d", folder);
	struct config config;
	struct err err = {0};

	assert_int_equal(config_load(path, &config, &err), 0);
	assert_int_equal(config.port, 9000);
	assert_string_equal(config.listen, "::1");
	assert_string_equal(config.state_dir, "/var/lib/covey/coordinator");
	assert_int_equal(mkdir(drop_ins, 0700), 0);
	free(write_file("c.conf.d/20-b.conf", "port = 9002\nlog_level=debug\n"));
	free(write_file("c.conf.d/10-a.conf", "port = 9001\nio_threads = 4\n"));
	free(write_file("c.conf.d/README", "port = 1\n"));
	assert_int_equal(config_load(path, &config, &err), 0);
	assert_int_equal(config.port, 9002);
	assert_int_equal(config.io_threads, 4);
	assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
}

static void expect_config_error(const char *text, const char *words)
{
	AUTO_FREE char *path = write_file("bad.conf", text);
	struct config config;
	struct err err = {0};

	assert_int_equal(config_load(path, &config, &err), -EINVAL);
	if (!strstr(err.text, words) || !strstr(err.text, "bad.conf:2"))
		fail_msg("%s", err.text);
}

static void test_config_mistakes(void **state)
{
	struct config config;

	expect_config_error("port=1\nprot = 9000\n", "prot");
	expect_config_error("port=1\nport = 70000\n", "70000");
	expect_config_error("port=1\nlog_level = loud\n", "loud");
	expect_config_error("port=1\nstate_dir =\n", "state_dir");
	expect_config_error("port=1\nnonsense\n", "key = value");
	assert_int_equal(config_load("/nonexistent.conf", &config, NULL), -ENOENT);
	/* What does not fit into a line is not a line of its own. */
	AUTO_FREE char *text = mem_format("port=1\n# %*s log_level=debug\n", 300, "long");
	expect_config_error(text, "too long");
}

/* ---- operators ---- */

#define KEY_A "0101010101010101010101010101010101010101010101010101010101010101"
#define KEY_B "0202020202020202020202020202020202020202020202020202020202020202"

static void test_operators(void **state)
{
	AUTO_FREE char *path = write_file("operators", "# who\n\nadmin " KEY_A " alice\n"
						       "viewer\t" KEY_B "  the dashboard # tv\n");
	struct operators operators = {0};
	struct public_key a, unknown = {{9}};
	struct err err = {0};

	memset(a.bytes, 1, KEY_SIZE);
	assert_int_equal(operators_load(path, &operators, &err), 0);
	assert_int_equal(operators.count, 2);
	assert_int_equal(operators_find(&operators, &a)->role, ROLE_ADMIN);
	assert_string_equal(operators_find(&operators, &a)->name, "alice");
	assert_int_equal(operators.entries[1].role, ROLE_VIEWER);
	assert_null(operators_find(&operators, &unknown));
	/* A mistake leaves the list as it was. */
	AUTO_FREE char *bad = write_file("operators", "admin " KEY_A " alice\nroot " KEY_B " bob\n");
	assert_int_equal(operators_load(bad, &operators, &err), -EINVAL);
	assert_non_null(strstr(err.text, ":2"));
	assert_int_equal(operators.count, 2);
	AUTO_FREE char *text = mem_format("# %*s\nadmin " KEY_B " bob\n", 600, "");
	memcpy(text + 509, "\tadmin " KEY_B " eve", 7 + 64 + 4);
	AUTO_FREE char *split = write_file("operators", text);
	assert_int_equal(operators_load(split, &operators, &err), -EINVAL);
	assert_non_null(strstr(err.text, ":1: the line is longer"));
	assert_int_equal(operators.count, 2);
	assert_int_equal(operators_load("/nonexistent", &operators, &err), 0);
	assert_int_equal(operators.count, 0);
	operators_free(&operators);
}

/* ---- routes ---- */

static void test_routes(void **state)
{
	struct routes *routes = routes_new();
	struct node_id one = {{1, 2, 3}}, beside = {{1, 2, 4}}, other = {{9}};
	const void *routing;
	size_t size;

	routes_set(routes, &one, "abcde", 5);
	routes_set(routes, &beside, "fghij", 5); /* the same place in the table */
	routes_set(routes, &one, "ABCDE", 5);
	assert_true(routes_get(routes, &one, &routing, &size));
	assert_int_equal(size, 5);
	assert_memory_equal(routing, "ABCDE", 5);
	assert_true(routes_get(routes, &beside, &routing, &size));
	assert_memory_equal(routing, "fghij", 5);
	assert_false(routes_get(routes, &other, &routing, &size));
	for (uint32_t i = 0; i < 60000; i++) {
		struct node_id id = {{(uint8_t)(i >> 8), (uint8_t)i, (uint8_t)(i >> 4), 7}};

		routes_set(routes, &id, "xxxxx", 5);
		assert_true(routes_get(routes, &id, &routing, &size));
	}
	routes_free(routes);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_objects),	 T(test_damaged_object), T(test_leftovers_go),
		T(test_full_disk_has_a_sentence), T(test_config), T(test_config_mistakes),
		T(test_operators),	 T(test_routes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
