/* SPDX-License-Identifier: Apache-2.0 */
/* `covey init`: what it makes is right and believed by protocol/; it never overwrites; whatever
 * fails leaves nothing behind. */
#include "coordinator/cli/config.h"
#include "coordinator/cli/file.h"
#include "fake.h"

#include "protocol/manifest.h"

#include <string.h>
#include <sys/stat.h>

static char *folder;

static int setup(void **state)
{
	folder = temp_folder();
	return 0;
}

static int teardown(void **state)
{
	remove_folder(folder);
	return 0;
}

static mode_t mode_of(const char *name)
{
	AUTO_FREE char *path = mem_format("%s/%s", folder, name);
	struct stat st;

	if (lstat(path, &st) < 0)
		return 0;
	return st.st_mode & 07777;
}

static void test_makes_a_fleet(void **state)
{
	AUTO_FREE char *home = mem_format("%s/h/home", folder);
	AUTO_FREE char *conf = mem_format("%s/fleet.conf", home);
	AUTO_FREE char *root_path = mem_format("%s/s/co/root.doc", folder);
	AUTO_FREE char *release_path = mem_format("%s/release.key", home);
	AUTO_FREE char *link_path = mem_format("%s/s/co/link.key", folder);
	AUTO_FREE char *operators_path = mem_format("%s/s/co/operators", folder);
	AUTO_FREE char *operator_path = mem_format("%s/operator.key", home);
	struct fleet_config config = {0};
	struct root_document root = {0};
	struct sign_key release = {0};
	struct link_key link = {0}, op = {0};
	struct bytes data = {0}, operators = {0};
	char key[KEY_TEXT_MAX];
	struct err err = {0};
	struct ran ran =
	    run_covey(home, NULL, "init --dir %s/s/co --endpoint tcp://host:7400", folder);

	assert_ran(ran, 0, NULL);
	ran_free(&ran);
	assert_int_equal(mode_of("h/home"), 0700);
	assert_int_equal(mode_of("h/home/operator.key"), 0600);
	assert_int_equal(mode_of("h/home/release.key"), 0600);
	assert_int_equal(mode_of("s/co/online.key"), 0600);
	assert_int_equal(mode_of("s/co/release.key"), 0); /* never at the coordinator */
	assert_int_equal(config_load(conf, &config, &err), 0);
	assert_string_equal(config.endpoint, "tcp://host:7400");
	assert_int_equal(keyfile_load_link(link_path, &link, &err), 0);
	assert_memory_equal(&link.public_key, &config.server_key, KEY_SIZE);
	assert_int_equal(file_read(root_path, LIMIT_ROOT_DOCUMENT, &data, &err), 0);
	assert_int_equal(root_open(data.data, data.size, NULL, &root, &err), 0);
	assert_int_equal(root.version, 1);
	assert_string_equal(root.endpoint, "tcp://host:7400");
	assert_memory_equal(&root.server_key, &link.public_key, KEY_SIZE);
	assert_int_equal(keyfile_load_sign(release_path, &release, &err), 0);
	assert_int_equal(root.release_keys_count, 1);
	assert_memory_equal(&root.release_keys[0], &release.public_key, KEY_SIZE);
	assert_int_equal(keyfile_load_link(operator_path, &op, &err), 0);
	public_key_text(key, &op.public_key);
	assert_int_equal(file_read(operators_path, 4096, &operators, &err), 0);
	assert_non_null(strstr((char *)operators.data, key));
	assert_non_null(strstr((char *)operators.data, "\nadmin "));
	codec_free(&codec_root_document, &root);
	free(data.data);
	free(operators.data);
}

/* spec: CLI-7 */
static void test_never_overwrites(void **state)
{
	static const char *const files[] = {"s/link.key",    "s/root.doc",   "s/operators",
	                                    "h/release.key", "h/fleet.conf", "h/operator.key"};
	AUTO_FREE char *home = mem_format("%s/h", folder), *dir = mem_format("%s/s", folder);

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		AUTO_FREE char *path = mem_format("%s/%s", folder, files[i]);
		struct bytes data = {0};
		struct ran ran;

		mkdir(home, 0700);
		mkdir(dir, 0700);
		write_textf(path, "mine");
		ran = run_covey(home, NULL, "init --dir %s --endpoint tcp://host:7400", dir);
		assert_ran(ran, 1, "is there already");
		ran_free(&ran);
		assert_int_equal(file_read(path, 100, &data, NULL), 0);
		assert_string_equal((char *)data.data, "mine");
		free(data.data);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(rmdir(home) | rmdir(dir), 0); /* nothing else was made */
	}
}

/* The state folder is made, the operator's cannot be: the first must be gone again. */
/* spec: CLI-7 */
static void test_leaves_nothing_half_made(void **state)
{
	AUTO_FREE char *block = mem_format("%s/file", folder);
	AUTO_FREE char *home = mem_format("%s/file/home", folder);
	struct ran ran;

	write_textf(block, "not a folder");
	ran = run_covey(home, NULL, "init --dir %s/new/state --endpoint tcp://host:7400", folder);
	assert_ran(ran, 1, "Not a directory");
	ran_free(&ran);
	assert_int_equal(mode_of("new"), 0);
}

/* A full disk in the middle: files are bounded to nothing, the folders were made. */
static void test_failing_write(void **state)
{
	AUTO_FREE char *command =
	    mem_format("ulimit -f 0; trap '' XFSZ; COVEY_HOME=%s/h2 %s init --dir %s/s2 --endpoint "
	               "tcp://h:7400 2>%s/said",
	               folder, getenv("COVEY_BIN"), folder, folder);
	int status = system(command);

	assert_int_not_equal(status, 0);
	assert_int_equal(mode_of("h2"), 0);
	assert_int_equal(mode_of("s2"), 0);
}

static void test_bad_usage(void **state)
{
	AUTO_FREE char *home = mem_format("%s/u", folder);
	static const char *const arguments[] = {"init",
	                                        "init --endpoint http://x:1",
	                                        "init --endpoint tcp://x",
	                                        "init --endpoint tcp://x:70000",
	                                        "init --endpoint tcp://x:65534",
	                                        "init --endpoint ipc:///x"};

	for (size_t i = 0; i < ARRAY_SIZE(arguments); i++) {
		struct ran ran = run_covey(home, NULL, "%s --dir %s/u2", arguments[i], folder);

		assert_ran(ran, 2, "--endpoint");
		ran_free(&ran);
	}
	assert_int_equal(mode_of("u") | mode_of("u2"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_makes_a_fleet, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_never_overwrites, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_leaves_nothing_half_made, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_failing_write, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_bad_usage, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
