/* SPDX-License-Identifier: Apache-2.0 */
/* Images in every form, and everything that an image from a stranger may try. */
#include "coordinator/cli/image.h"
#include "coordinator/cli/layer.h"
#include "coordinator/cli/file.h"
#include "fake.h"
#include "images.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <locale.h>
#include <string.h>

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

static const struct tar_entry good_one[] = {{"./", 'd', NULL},
                                            {"./bin", 'd', NULL},
                                            {"./bin/sh", 's', "/bin/busybox"},
                                            {"./bin/busybox", 'f', "program"},
                                            {"./bin/ls", 'h', "./bin/busybox"},
                                            {"usr/lib/x", 's', "../../bin/ls"},
                                            {0}};
static const struct tar_entry good_two[] = {{"bin/.wh.ls", 'f', ""},
                                            {"srv/.wh..wh..opq", 'f', ""},
                                            {"\xc3\xa9t\xc3\xa9", 'f', "name"},
                                            {0}};
static const struct tar_entry empty_layer[] = {{0}};

static void check_image(const char *source, const char *arch)
{
	struct image image = {0};
	struct err err = {0};

	if (image_read(source, arch, &image, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(image.arch, "amd64");
	assert_string_equal(image.os, "linux");
	assert_int_equal(image.layers_count, 2);
	assert_int_equal(image.layers[0].size % 512, 0);
	assert_int_equal(image.argv_count, 2);
	assert_string_equal(image.argv[0].text, "/server");
	assert_string_equal(image.argv[1].text, "--port");
	assert_string_equal(image.env[0].name, "PATH");
	assert_string_equal(image.user, "1000");
	assert_string_equal(image.workdir, "/srv");
	image_free(&image);
}

/* spec: REL-1 */
static void test_every_form(void **state)
{
	static const char compressions[] = {0, 'g', 'z'};
	AUTO_FREE char *layout = mem_format("%s/layout", folder);
	AUTO_FREE char *tar = mem_format("%s/image.tar", folder);
	AUTO_FREE char *packed = mem_format("gzip -k %s", tar), *tgz = mem_format("%s.gz", tar);

	for (size_t i = 0; i < ARRAY_SIZE(compressions); i++) {
		struct image_plan plan = {.layers = {good_one, good_two},
		                          .compression = compressions[i],
		                          .nested = i == 1};
		AUTO_FREE char *remove = mem_format("rm -rf %s %s %s", layout, tar, tgz);

		make_oci_layout(layout, &plan);
		check_image(layout, "amd64");
		make_oci_archive(layout, tar);
		check_image(tar, "amd64");
		assert_int_equal(system(packed), 0);
		check_image(tgz, "amd64");
		make_docker_archive(tar, &plan, false);
		check_image(tar, "amd64");
		assert_int_equal(system(remove), 0);
	}
}

/* Old `docker save` writes a layer that is there twice as a link. */
static void test_docker_links(void **state)
{
	AUTO_FREE char *tar = mem_format("%s/links.tar", folder);
	struct image_plan plan = {.layers = {good_one, good_one}};

	make_docker_archive(tar, &plan, true);
	check_image(tar, "amd64");
}

static void refused(const char *source, const char *arch, const char *text)
{
	struct image image = {0};
	struct err err = {0};

	assert_true(image_read(source, arch, &image, &err) < 0);
	if (!strstr(err.text, text))
		fail_msg("said: %s\nwanted: %s", err.text, text);
}

static void test_damaged_images(void **state)
{
	const struct {
		struct image_plan plan;
		const char *text;
	} cases[] = {
	    {{.wrong_digest = true}, "does not have the content that its name"},
	    {{.wrong_size = true}, "does not have the content that its name"},
	    {{.missing_blob = true}, "No such file"},
	    {{.wrong_diff_id = true}, "does not have the diff_id"},
	    {{.wrong_diff_id = true, .compression = 'z'}, "layer 1: its content does not have"},
	    {{.truncated_layer = true}, "layer 1: it is not a whole tar archive"},
	    {{.truncated_layer = true, .compression = 'g'}, "it is not a whole tar archive"},
	    {{.platform = "arm64"}, "the image is for arm64, not for amd64; choose with --arch"},
	    {{.arch = "arm64", .platform = "amd64"}, "the image is for arm64, not for amd64"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *layout = mem_format("%s/damaged%zu", folder, i);
		struct image_plan plan = cases[i].plan;

		plan.layers[0] = good_one;
		make_oci_layout(layout, &plan);
		refused(layout, "amd64", cases[i].text);
	}
}

/* spec: REL-11 */
static void test_architectures(void **state)
{
	AUTO_FREE char *layout = mem_format("%s/two", folder);
	struct image_plan plan = {.layers = {good_one}, .second_arch = "arm64"};
	struct image image = {0};
	struct err err = {0};

	make_oci_layout(layout, &plan);
	assert_int_equal(image_read(layout, "arm64", &image, &err), 0);
	assert_string_equal(image.arch, "arm64");
	image_free(&image);
	refused(layout, "riscv64", "the image is for amd64, arm64, not for riscv64");
}

static void test_no_image(void **state)
{
	AUTO_FREE char *file = mem_format("%s/text", folder),
	               *empty = mem_format("%s/none", folder);
	AUTO_FREE char *tar = mem_format("%s/short.tar", folder);
	AUTO_FREE char *cut = NULL;
	struct image_plan plan = {.layers = {good_one}};

	write_textf(file, "this is not a tar archive, whatever its name");
	refused(file, "amd64", "archive");
	refused(empty, "amd64", "No such file");
	refused(folder, "amd64", "this is no image");
	refused("/dev/null", "amd64", "neither a folder nor a file");
	make_docker_archive(tar, &plan, false);
	cut = mem_format("truncate -s 2000 %s", tar);
	assert_int_equal(system(cut), 0);
	refused(tar, "amd64", "not a whole tar archive");
	plan.wrong_digest = true;
	make_docker_archive(tar, &plan, false);
	refused(tar, "amd64", "does not have the content that its name promises");
}

/* A blob that is a link to a file outside, an index whose digest is a path. */
static void test_layout_that_reaches_out(void **state)
{
	AUTO_FREE char *layout = mem_format("%s/reach", folder);
	AUTO_FREE char *index = mem_format("%s/index.json", layout);
	AUTO_FREE char *command =
	    mem_format("cd %s/blobs/sha256 && for f in *; do mv $f ../../$f && "
	               "ln -s ../../$f $f; done",
	               layout);
	struct image_plan plan = {.layers = {good_one}};

	make_oci_layout(layout, &plan);
	assert_int_equal(system(command), 0);
	refused(layout, "amd64", "a part of it is a symbolic link");
	write_textf(index,
	            "{\"manifests\": [{\"digest\": \"sha256:../../../etc/passwd\", \"size\": 5}]}");
	refused(layout, "amd64", "lacks a size or a sha256 digest");
	write_textf(index, "{\"manifests\": 5}");
	refused(layout, "amd64", "an index has no manifests");
	write_textf(index, "{");
	refused(layout, "amd64", "index.json is not JSON");
}

/* ---- attacks inside a layer ---- */

static int check_layer(const struct tar_entry *entries, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct bytes tar = make_tar(entries);
	int r;

	assert_int_equal(file_temporary(&fd, err), 0);
	assert_int_equal(file_write_all(fd, tar.data, tar.size, err), 0);
	r = layer_check(fd, err);
	free(tar.data);
	return r;
}

static void test_attacks(void **state)
{
	static const struct {
		struct tar_entry entries[4];
		const char *text;
	} cases[] = {
	    {{{"../etc/passwd", 'f', "x"}}, "leads outside"},
	    {{{"a/../../b", 'f', "x"}}, "leads outside"},
	    {{{"/etc/passwd", 'f', "x"}}, "leads outside"},
	    {{{"a/..", 'd', NULL}}, "leads outside"},
	    {{{"a", 's', "/etc"}, {"a/passwd", 'f', "x"}}, "behind a symbolic link"},
	    {{{"d", 'd', NULL}, {"d/a", 's', "/"}, {"./d//a/b/c", 'f', "x"}},
	     "behind a symbolic link"},
	    {{{"a", 's', "../../etc"}}, "leaves the image's root"},
	    {{{"d/a", 's', "../../x"}}, "leaves the image's root"},
	    {{{"a", 'h', "../../etc/shadow"}}, "hard link to something outside"},
	    {{{"a", 'h', "/etc/shadow"}}, "hard link to something outside"},
	    {{{"l", 's', "/etc"}, {"a", 'h', "l/shadow"}}, "hard link to something outside"},
	    {{{"dev/null", 'c', NULL}}, "a device"},
	    {{{"a", 'h', "b"}, {"b", 'f', "x"}}, "no file of its layer"},
	    {{{"d", 'd', NULL}, {"a", 'h', "d"}}, "no file of its layer"},
	    {{{"s", 's', "x"}, {"a", 'h', "s"}}, "no file of its layer"},
	    {{{"d/.wh..", 'f', ""}}, "whiteout without a name"},
	    {{{"d/.wh...", 'f', ""}}, "whiteout without a name"},
	    {{{".wh.", 'f', ""}}, "whiteout without a name"},
	    {{{".", 's', "x"}}, "place of the root"},
	    {{{"a\xff", 's', "/etc"}, {"a\xff/x", 'f', "x"}}, "behind a symbolic link"},
	    {{{"a", 'f', "x"}, {"a/b", 'f', "x"}}, "below a file"},
	    {{{"a", 'f', "x"}, {"a", 'p', NULL}, {"a/b", 'd', NULL}}, "below a file"},
	    {{{"d/a", 'f', "x"}, {"d", 'f', "x"}}, "a folder that is not empty"},
	    {{{"d/a", 'd', NULL}, {"d", 's', "x"}}, "a folder that is not empty"},
	    {{{"d/a", 'f', "x"}, {"b", 'f', "x"}, {"d", 'h', "b"}}, "a folder that is not empty"},
	    {{{".wh.a", 'f', ""}, {"b", 'h', ".wh.a"}}, "no file of its layer"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};

		if (check_layer(cases[i].entries, &err) == 0)
			fail_msg("case %zu was taken: %s", i, cases[i].text);
		if (!strstr(err.text, cases[i].text))
			fail_msg("case %zu said: %s\nwanted: %s", i, err.text, cases[i].text);
	}
}

/* A sparse file claims a gigabyte in a tar of a few blocks. */
static void test_sparse_claim(void **state)
{
	struct archive *archive = archive_write_new();
	struct archive_entry *entry = archive_entry_new();
	struct err err = {0};
	int fd = -1;

	assert_int_equal(file_temporary(&fd, &err), 0);
	archive_write_set_format_pax(archive);
	archive_write_open_fd(archive, fd);
	archive_entry_set_pathname(entry, "huge");
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_size(entry, 1 << 30);
	archive_entry_sparse_add_entry(entry, 0, 512);
	assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
	archive_write_data(archive, (char[512]){1}, 512);
	archive_write_close(archive);
	archive_write_free(archive);
	archive_entry_free(entry);
	assert_int_equal(layer_check(fd, &err), -EINVAL);
	assert_non_null(strstr(err.text, "claims more content than the archive has"));
	close(fd);
}

static void test_good_layers(void **state)
{
	static const struct tar_entry replaced[] = {/* a link that becomes a folder again */
	                                            {"a", 's', "/etc"},      {"a", 'd', NULL},
	                                            {"a/b", 'f', "x"},       {"run", 'd', NULL},
	                                            {"run/pipe", 'p', NULL}, {"e", 'd', NULL},
	                                            {"e", 'f', "was empty"}, {"f\xff", 'f', "x"},
	                                            {"g", 'h', "f\xff"},    {"a/b", 'h', "g"},
	                                            {0}};
	struct err err = {0};

	assert_int_equal(check_layer(good_one, &err), 0);
	assert_int_equal(check_layer(good_two, &err), 0);
	assert_int_equal(check_layer(empty_layer, &err), 0);
	assert_int_equal(check_layer(replaced, &err), 0);
}

/* Each cut and each changed byte of a compressed layer ends in a sentence or in the same content.
 */
static void test_damaged_compression(void **state)
{
	struct bytes tar = make_tar(good_one), packed[2];

	packed[0] = compress_gzip(&tar);
	packed[1] = compress_zstd(&tar);
	for (size_t p = 0; p < 2; p++) {
		for (size_t i = 8; i < packed[p].size; i += 5) {
			int fd = -1;
			struct err err = {0};

			assert_int_equal(file_temporary(&fd, &err), 0);
			assert_int_equal(file_write_all(fd, packed[p].data, i, &err), 0);
			if (layer_inflate(&fd, &err) == 0)
				assert_true(layer_check(fd, &err) < 0 || i > packed[p].size - 16);
			else
				assert_true(err.text[0]);
			close(fd);
		}
		free(packed[p].data);
	}
	free(tar.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_form),     cmocka_unit_test(test_docker_links),
	    cmocka_unit_test(test_damaged_images), cmocka_unit_test(test_architectures),
	    cmocka_unit_test(test_no_image),       cmocka_unit_test(test_layout_that_reaches_out),
	    cmocka_unit_test(test_attacks),        cmocka_unit_test(test_sparse_claim),
	    cmocka_unit_test(test_good_layers),    cmocka_unit_test(test_damaged_compression),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, setup, teardown);
}
