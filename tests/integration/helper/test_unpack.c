/* SPDX-License-Identifier: Apache-2.0 */
/* Archives that mean harm, against the unpacker itself. Needs root for owners and whiteouts. */
#include "tests/integration/helper/fixture.h"

#include "agent/helper/paths.h"
#include "agent/helper/unpack.h"
#include "base/mem.h"
#include "base/rng.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cmocka.h>

#define HOME "/dev/shm/covey-ht-unpack"
#define ROOT HOME "/root"
#define OUTSIDE HOME "/outside"

static int clear(void **state)
{
	(void)state;
	assert_int_equal(paths_remove(HOME, NULL), 0);
	assert_int_equal(mkdir(HOME, 0700), 0);
	assert_int_equal(mkdir(ROOT, 0755), 0);
	assert_int_equal(mkdir(OUTSIDE, 0755), 0);
	return 0;
}

static int remove_all(void **state)
{
	(void)state;
	return paths_remove(HOME, NULL);
}

static int unpack_bytes(const void *data, size_t size, size_t signed_size, bool wrong_digest)
{
	struct unpack_layer layer = {.size = signed_size, .tar = memfd_create("tar", MFD_CLOEXEC)};
	unsigned length;
	struct err err = {0};
	int r;

	assert_true(layer.tar >= 0 && write(layer.tar, data, size) == (ssize_t)size);
	assert_true(lseek(layer.tar, 0, SEEK_SET) == 0);
	EVP_Digest(data, signed_size < size ? signed_size : size, layer.diff_id, &length,
	           EVP_sha256(), NULL);
	layer.diff_id[0] ^= wrong_digest;
	layer.root = open(ROOT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = unpack_layer(&layer, &err);
	if (r < 0)
		printf("# %s\n", err.text);
	close(layer.tar);
	close(layer.root);
	return r;
}

static int unpack_entries(const struct fixture_entry *entries, size_t count)
{
	AUTO_STR struct str tar = {0};

	for (size_t i = 0; i < count; i++)
		fixture_tar(&tar, &entries[i]);
	fixture_tar_end(&tar);
	return unpack_bytes(tar.data, tar.size, tar.size, false);
}

#define UNPACK(...)                                                 \
	unpack_entries((const struct fixture_entry[]){__VA_ARGS__}, \
	               ARRAY_SIZE(((const struct fixture_entry[]){__VA_ARGS__})))
#define FILE_ENTRY(path, text)                                                                  \
	{                                                                                       \
		.name = (path), .type = '0', .mode = 0644, .data = (text), .size = strlen(text) \
	}
#define LINK_ENTRY(path, to)                                            \
	{                                                               \
		.name = (path), .type = '2', .mode = 0777, .link = (to) \
	}
#define HARD_ENTRY(path, to)                                            \
	{                                                               \
		.name = (path), .type = '1', .mode = 0644, .link = (to) \
	}
#define DIR_ENTRY(path)                                   \
	{                                                 \
		.name = (path), .type = '5', .mode = 0755 \
	}

static bool there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static void content_is(const char *path, const char *text)
{
	struct bytes data = {0};

	assert_int_equal(paths_read(path, 4096, &data, NULL), 0);
	assert_string_equal((char *)data.data, text);
	free(data.data);
}

static void an_honest_layer_is_kept_as_it_is(void **state)
{
	const struct fixture_entry owned = {
	    .name = "d/owned", .type = '0', .mode = 06751, .uid = 4321, .data = "x", .size = 1};
	struct stat st;

	(void)state;
	assert_int_equal(UNPACK(DIR_ENTRY("./"), DIR_ENTRY("d/"), owned, LINK_ENTRY("d/l", "owned"),
	                        HARD_ENTRY("d/h", "d/owned"), LINK_ENTRY("abs", "/etc/passwd"),
	                        FILE_ENTRY("deep/er/f", "deep"), FILE_ENTRY("d/twice", "1"),
	                        FILE_ENTRY("d/twice", "2"),
	                        {.name = "t", .type = '5', .mode = 01777}),
	                 0);
	assert_int_equal(lstat(ROOT "/d/owned", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0751); /* no setuid, no setgid */
	assert_int_equal(st.st_uid, 4321);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(lstat(ROOT "/t", &st), 0);
	assert_int_equal(st.st_mode & 07777, 01777);
	content_is(ROOT "/deep/er/f", "deep");
	content_is(ROOT "/d/twice", "2");
	assert_int_equal(lstat(ROOT "/abs", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
}

/* spec: SLOT-15 */
static void names_that_lead_out_are_refused(void **state)
{
	static const char *const names[] = {"/evil", "../evil",   "a/../../evil", "..",
	                                    "a/..",  "./../evil", "//evil"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		clear(state);
		assert_int_equal(UNPACK(FILE_ENTRY(names[i], "evil")), -EINVAL);
		assert_false(there(HOME "/evil"));
	}
}

/* spec: SLOT-15 */
static void nothing_goes_through_a_symlink(void **state)
{
	static const char *const targets[] = {OUTSIDE, "../outside", ".", "..", "sub"};

	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		clear(state);
		assert_true(UNPACK(DIR_ENTRY("sub/"), LINK_ENTRY("l", targets[i]),
		                   FILE_ENTRY("l/evil", "evil")) < 0);
		assert_false(there(OUTSIDE "/evil"));
		assert_false(there(HOME "/evil"));
		clear(state);
		assert_true(UNPACK(DIR_ENTRY("sub/"), LINK_ENTRY("l", targets[i]),
		                   DIR_ENTRY("l/evil/")) < 0);
		assert_false(there(OUTSIDE "/evil"));
		clear(state);
		assert_true(UNPACK(DIR_ENTRY("sub/"), LINK_ENTRY("l", targets[i]),
		                   FILE_ENTRY("l/.wh.evil", "")) < 0);
		assert_false(there(OUTSIDE "/evil"));
		clear(state);
		assert_true(UNPACK(DIR_ENTRY("sub/"), LINK_ENTRY("l", targets[i]),
		                   FILE_ENTRY("l/.wh..wh..opq", "")) < 0);
		assert_true(getxattr(OUTSIDE, "trusted.overlay.opaque", NULL, 0) < 0);
	}
}

static void a_file_replaces_a_symlink_and_does_not_follow_it(void **state)
{
	(void)state;
	assert_int_equal(paths_write(OUTSIDE "/victim", "safe", 4, 0600, NULL), 0);
	assert_int_equal(UNPACK(LINK_ENTRY("f", OUTSIDE "/victim"), FILE_ENTRY("f", "evil"),
	                        LINK_ENTRY("d", OUTSIDE), DIR_ENTRY("d/"), FILE_ENTRY("d/x", "x")),
	                 0);
	content_is(OUTSIDE "/victim", "safe");
	content_is(ROOT "/f", "evil");
	content_is(ROOT "/d/x", "x");
	assert_false(there(OUTSIDE "/x"));
}

/* spec: SLOT-15 */
static void hard_links_stay_inside(void **state)
{
	struct stat st;

	assert_int_equal(paths_write(OUTSIDE "/victim", "safe", 4, 0600, NULL), 0);
	assert_true(UNPACK(HARD_ENTRY("h", OUTSIDE "/victim")) < 0);
	assert_true(UNPACK(HARD_ENTRY("h", "../outside/victim")) < 0);
	assert_true(UNPACK(LINK_ENTRY("l", OUTSIDE), HARD_ENTRY("h", "l/victim")) < 0);
	clear(state);
	assert_int_equal(paths_write(OUTSIDE "/victim", "safe", 4, 0600, NULL), 0);
	assert_true(UNPACK(LINK_ENTRY("l", OUTSIDE "/victim"), HARD_ENTRY("h", "l")) < 0);
	assert_true(UNPACK(HARD_ENTRY("h", "not-there")) < 0);
	assert_true(UNPACK(DIR_ENTRY("dir/"), HARD_ENTRY("h", "dir")) < 0);
	assert_int_equal(stat(OUTSIDE "/victim", &st), 0);
	assert_int_equal(st.st_nlink, 1);
	/* a link to itself keeps the file */
	clear(state);
	assert_int_equal(UNPACK(FILE_ENTRY("f", "text"), HARD_ENTRY("f", "f")), 0);
	content_is(ROOT "/f", "text");
}

/* spec: SLOT-15 */
static void devices_are_left_out(void **state)
{
	(void)state;
	assert_int_equal(UNPACK({.name = "null", .type = '3', .mode = 0666},
	                        {.name = "disk", .type = '4', .mode = 0666},
	                        {.name = "pipe", .type = '6', .mode = 0666},
	                        FILE_ENTRY("f", "text")),
	                 0);
	assert_false(there(ROOT "/null"));
	assert_false(there(ROOT "/disk"));
	assert_false(there(ROOT "/pipe"));
	content_is(ROOT "/f", "text");
}

static bool is_whiteout(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0;
}

static bool is_opaque(const char *path)
{
	char value[4] = "";

	return getxattr(path, "trusted.overlay.opaque", value, sizeof(value)) == 1 &&
	       value[0] == 'y';
}

static void whiteouts_become_overlays(void **state)
{
	assert_int_equal(UNPACK(DIR_ENTRY("d/"), FILE_ENTRY("d/.wh.gone", ""),
	                        FILE_ENTRY(".wh.top", ""), DIR_ENTRY("o/"),
	                        FILE_ENTRY("o/.wh..wh..opq", ""), FILE_ENTRY(".wh..wh.plnk", ""),
	                        /* a thing that this layer brings anew */
	                        FILE_ENTRY(".wh.new", ""), FILE_ENTRY("new", "new"),
	                        FILE_ENTRY("new2", "new"), FILE_ENTRY(".wh.new2", ""),
	                        FILE_ENTRY(".wh.dir", ""), DIR_ENTRY("dir/"), DIR_ENTRY("dir2/"),
	                        FILE_ENTRY(".wh.dir2", ""),
	                        /* folders that have no entry of their own */
	                        FILE_ENTRY(".wh.dir3", ""), FILE_ENTRY("dir3/a/b", "new")),
	                 0);
	assert_true(is_whiteout(ROOT "/d/gone"));
	assert_true(is_whiteout(ROOT "/top"));
	assert_true(is_opaque(ROOT "/o"));
	assert_false(is_opaque(ROOT "/d"));
	assert_false(there(ROOT "/.wh..wh.plnk"));
	content_is(ROOT "/new", "new");
	content_is(ROOT "/new2", "new");
	assert_true(is_opaque(ROOT "/dir"));
	assert_true(is_opaque(ROOT "/dir2"));
	assert_true(is_opaque(ROOT "/dir3"));
	assert_false(is_opaque(ROOT "/dir3/a"));
	content_is(ROOT "/dir3/a/b", "new");
	clear(state);
	assert_int_equal(UNPACK(FILE_ENTRY(".wh.", "")), -EINVAL);
	assert_int_equal(UNPACK(FILE_ENTRY(".wh..", "")), -EINVAL);
	assert_int_equal(UNPACK(FILE_ENTRY(".wh...", "")), -EINVAL);
	assert_int_equal(UNPACK(FILE_ENTRY("d/.wh...", "")), -EINVAL);
	assert_true(there(ROOT));
}

/* One PAX record: "<length> key=value\n". */
static void pax_record(struct str *text, const char *key, const char *value)
{
	size_t size = strlen(key) + strlen(value) + 3, digits = 1;

	while (snprintf(NULL, 0, "%zu", size + digits) > (int)digits)
		digits++;
	str_addf(text, "%zu %s=%s\n", size + digits, key, value);
}

static void attributes_of_the_archive_are_not_taken(void **state)
{
	AUTO_STR struct str pax = {0};

	(void)state;
	pax_record(&pax, "SCHILY.xattr.trusted.overlay.redirect", "/evil");
	pax_record(&pax, "SCHILY.xattr.trusted.overlay.opaque", "y");
	pax_record(&pax, "SCHILY.xattr.security.capability", "evil");
	pax_record(&pax, "SCHILY.xattr.user.x", "evil");
	assert_int_equal(UNPACK({.name = "pax", .type = 'x', .data = pax.data, .size = pax.size},
	                        DIR_ENTRY("d/")),
	                 0);
	assert_true(there(ROOT "/d"));
	assert_int_equal(listxattr(ROOT "/d", NULL, 0), 0);
	/* nor a name or link that PAX hides */
	str_free(&pax);
	pax_record(&pax, "path", "../evil");
	assert_int_equal(UNPACK({.name = "pax", .type = 'x', .data = pax.data, .size = pax.size},
	                        FILE_ENTRY("good", "x")),
	                 -EINVAL);
	assert_false(there(HOME "/evil"));
}

static void bombs_are_refused(void **state)
{
	struct fixture_entry liar = FILE_ENTRY("liar", "short");
	AUTO_STR struct str tar = {0};

	liar.claimed_size = (uint64_t)1 << 32;
	assert_true(UNPACK(liar) < 0);
	clear(state);
	/* old GNU sparse file: 8 GiB of holes in one block */
	fixture_tar(&tar, &(struct fixture_entry){.name = "sparse", .type = 'S', .mode = 0644});
	memcpy(tar.data + 257, "ustar  ", 8);
	memcpy(tar.data + 386, "00000000000", 12);
	memcpy(tar.data + 398, "00000000000", 12);
	memcpy(tar.data + 483, "77777777777", 12);
	memset(tar.data + 148, ' ', 8);
	unsigned sum = 0;
	for (size_t i = 0; i < 512; i++)
		sum += (unsigned char)tar.data[i];
	snprintf(tar.data + 148, 8, "%06o", sum);
	fixture_tar_end(&tar);
	assert_int_equal(unpack_bytes(tar.data, tar.size, tar.size, false), -EINVAL);
}

static void other_bytes_than_signed_are_refused(void **state)
{
	AUTO_STR struct str tar = {0};
	static const uint8_t gzip[64] = {0x1f, 0x8b, 8};

	fixture_tar(&tar, &(struct fixture_entry)FILE_ENTRY("f", "text"));
	fixture_tar_end(&tar);
	str_add(&tar, "padding that is signed too");
	assert_int_equal(unpack_bytes(tar.data, tar.size, tar.size, false), 0);
	clear(state);
	assert_int_equal(unpack_bytes(tar.data, tar.size, tar.size, true), -EBADMSG);
	clear(state);
	assert_int_equal(unpack_bytes(tar.data, tar.size, tar.size - 1, false), -EBADMSG);
	clear(state);
	assert_int_equal(unpack_bytes(tar.data, tar.size, tar.size + 1, false), -EBADMSG);
	clear(state);
	assert_int_equal(unpack_bytes(gzip, sizeof(gzip), sizeof(gzip), false), -EINVAL);
	clear(state);
	assert_int_equal(unpack_bytes("", 0, 0, false), 0); /* an empty layer is one */
}

/* Random damage: whatever happens, nothing appears outside. */
static void damaged_archives_do_no_harm(void **state)
{
	struct rng rng = {.state = 42};

	for (int round = 0; round < 300; round++) {
		AUTO_STR struct str tar = {0};
		struct stat st;

		clear(state);
		fixture_tar(&tar, &(struct fixture_entry)DIR_ENTRY("d/"));
		fixture_tar(&tar, &(struct fixture_entry)LINK_ENTRY("d/l", "../../outside"));
		fixture_tar(&tar, &(struct fixture_entry)FILE_ENTRY("d/l2/f", "text"));
		fixture_tar(&tar, &(struct fixture_entry)HARD_ENTRY("h", "d/l2/f"));
		fixture_tar(&tar, &(struct fixture_entry)FILE_ENTRY("d/.wh.x", ""));
		fixture_tar_end(&tar);
		for (uint64_t i = rng_below(&rng, 6); i > 0; i--)
			tar.data[rng_below(&rng, tar.size)] = (char)rng_next(&rng);
		if (unpack_bytes(tar.data, tar.size, tar.size, false) < 0)
			continue;
		assert_int_equal(stat(OUTSIDE, &st), 0);
		assert_int_equal(st.st_nlink, 2);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, clear, remove_all)
	const struct CMUnitTest tests[] = {
	    TEST(an_honest_layer_is_kept_as_it_is),
	    TEST(names_that_lead_out_are_refused),
	    TEST(nothing_goes_through_a_symlink),
	    TEST(a_file_replaces_a_symlink_and_does_not_follow_it),
	    TEST(hard_links_stay_inside),
	    TEST(devices_are_left_out),
	    TEST(whiteouts_become_overlays),
	    TEST(attributes_of_the_archive_are_not_taken),
	    TEST(bombs_are_refused),
	    TEST(other_bytes_than_signed_are_refused),
	    TEST(damaged_archives_do_no_harm),
	};

	if (!fixture_usable())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
