/* SPDX-License-Identifier: Apache-2.0 */
/* Key files: what is written is read back, and everything that is not right is refused by name. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "protocol/transport/keyfile.h"

#include <dirent.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/covey-test-keys-XXXXXX";
static char path[64];

static int set_up(void **state)
{
	strcpy(folder, "/tmp/covey-test-keys-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/key", folder);
	return 0;
}

static int tear_down(void **state)
{
	unlink(path);
	return rmdir(folder); /* fails when a temporary file was left behind */
}

static void write_file(const char *text, mode_t mode)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void test_a_link_key_is_read_back(void **state)
{
	struct link_key key, again;
	struct public_key public_key;
	struct stat st;

	link_key_generate(&key);
	assert_int_equal(keyfile_create_link(path, &key, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(keyfile_load_link(path, &again, NULL), 0);
	assert_memory_equal(&key, &again, sizeof(key));
	assert_int_equal(keyfile_load_public(path, &public_key, NULL), 0);
	assert_memory_equal(&public_key, &key.public_key, sizeof(public_key));
}

static void test_a_sign_key_is_read_back_and_signs(void **state)
{
	struct sign_key key, again;
	uint8_t signature[64];

	assert_int_equal(keyfile_ensure_sign(path, &key, NULL), 0);
	assert_int_equal(keyfile_ensure_sign(path, &again, NULL), 0);
	assert_memory_equal(&key, &again, sizeof(key));
	assert_int_equal(crypto_sign_detached(signature, NULL, (const uint8_t *)"x", 1, key.secret),
			 0);
	assert_int_equal(crypto_sign_verify_detached(signature, (const uint8_t *)"x", 1,
						     again.public_key.bytes),
			 0);
}

static void test_a_public_key_is_readable_by_all(void **state)
{
	struct link_key key;
	struct public_key again;
	struct stat st;

	link_key_generate(&key);
	assert_int_equal(keyfile_create_public(path, &key.public_key, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(keyfile_load_public(path, &again, NULL), 0);
	assert_memory_equal(&again, &key.public_key, sizeof(again));
	assert_int_equal(keyfile_load_link(path, &key, NULL), -EBADMSG);
}

/* spec: TRUST-10 */
static void test_a_key_is_never_overwritten(void **state)
{
	struct link_key first, second, got;
	struct err err = {0};

	assert_int_equal(keyfile_ensure_link(path, &first, NULL), 0);
	link_key_generate(&second);
	assert_int_equal(keyfile_create_link(path, &second, &err), -EEXIST);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(keyfile_ensure_link(path, &got, NULL), 0);
	assert_memory_equal(&got, &first, sizeof(got));
}

/* spec: TRUST-10 */
static void test_a_secret_that_others_can_read_is_refused(void **state)
{
	static const struct link_key none;
	static const mode_t modes[] = {0640, 0604, 0620, 0610, 0666};
	struct link_key key;

	assert_int_equal(keyfile_ensure_link(path, &key, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct err err = {0};

		assert_int_equal(chmod(path, modes[i]), 0);
		assert_int_equal(keyfile_load_link(path, &key, &err), -EPERM);
		assert_memory_equal(&key, &none, sizeof(key));
		assert_non_null(strstr(err.text, "chmod 600"));
	}
	assert_int_equal(chmod(path, 0400), 0);
	assert_int_equal(keyfile_load_link(path, &key, NULL), 0);
}

static void test_a_secret_of_another_user_is_refused(void **state)
{
	struct link_key key;

	if (geteuid() != 0)
		skip();
	assert_int_equal(keyfile_ensure_link(path, &key, NULL), 0);
	assert_int_equal(chown(path, 65534, 65534), 0);
	assert_int_equal(keyfile_load_link(path, &key, NULL), -EPERM);
}

static void test_what_is_no_key_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"covey link key 1\n",
		"covey link key 1\npublic 00\nsecret 00\n",
		"covey link key 2\npublic 00\nsecret 00\n",
		"-----BEGIN PRIVATE KEY-----\n",
	};
	struct link_key key;
	struct err err = {0};
	char long_text[4096];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		write_file(bad[i], 0600);
		assert_int_equal(keyfile_load_link(path, &key, &err), -EBADMSG);
		assert_non_null(strstr(err.text, "is not a key file"));
	}
	memset(long_text, 'a', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	write_file(long_text, 0600);
	assert_int_equal(keyfile_load_link(path, &key, &err), -EBADMSG);
	unlink(path);
	assert_int_equal(keyfile_load_link(path, &key, &err), -ENOENT);
	assert_int_equal(keyfile_load_link("/dev/zero", &key, &err), -EBADMSG);
	assert_int_equal(keyfile_load_link("/tmp", &key, &err), -EISDIR);
}

/* Every changed character of the file is noticed, except the case of a hex digit. */
static void test_a_damaged_key_is_refused(void **state)
{
	struct link_key key, again;
	char text[512] = "";
	FILE *f;
	size_t size;

	assert_int_equal(keyfile_ensure_link(path, &key, NULL), 0);
	f = fopen(path, "re");
	assert_non_null(f);
	size = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	for (size_t i = 0; i < size; i++) {
		char old = text[i];

		text[i] = old == '3' ? '4' : '3';
		write_file(text, 0600);
		/* X25519 ignores five bits of a secret: such a file still is the same key */
		if (keyfile_load_link(path, &again, NULL) == 0)
			assert_memory_equal(&again.public_key, &key.public_key, KEY_SIZE);
		text[i] = old;
	}
	text[size - 2] = text[size - 2] == '0' ? '1' : '0';
	text[20] = text[20] == '0' ? '1' : '0';
	write_file(text, 0600);
	assert_int_equal(keyfile_load_link(path, &again, NULL), -EBADMSG);
}

static void test_a_folder_that_is_missing_is_named(void **state)
{
	struct link_key key;
	struct err err = {0};

	assert_int_equal(keyfile_ensure_link("/tmp/covey-test-none/key", &key, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/tmp/covey-test-none/key"));
}

int main(void)
{
#define KEYFILE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		KEYFILE_TEST(test_a_link_key_is_read_back),
		KEYFILE_TEST(test_a_sign_key_is_read_back_and_signs),
		KEYFILE_TEST(test_a_public_key_is_readable_by_all),
		KEYFILE_TEST(test_a_key_is_never_overwritten),
		KEYFILE_TEST(test_a_secret_that_others_can_read_is_refused),
		KEYFILE_TEST(test_a_secret_of_another_user_is_refused),
		KEYFILE_TEST(test_what_is_no_key_is_refused),
		KEYFILE_TEST(test_a_damaged_key_is_refused),
		KEYFILE_TEST(test_a_folder_that_is_missing_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
