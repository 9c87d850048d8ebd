/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OCI layout whose digests are right, because they are filled in here: a fuzzer cannot hash. The
 * parts are layer, config, manifest, index; in a later part "@layer", "@config" and "@manifest"
 * stand for `"digest": "sha256:...", "size": N`, and "@diff" for the layer's digest alone.
 */
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/cli/image.h"
#include "fuzz.h"

#include <locale.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char *folders[] = {(char *)"layout", (char *)"layout/blobs", (char *)"layout/blobs/sha256"};

struct blob {
	const char *mark;
	char hex[2 * SHA256_DIGEST_LENGTH + 1];
	size_t size;
	char path[128];
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_jail();
	setlocale(LC_CTYPE, "C.UTF-8");
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		AUTO_FREE char *path = mem_format(FUZZ_DIR "/%s", folders[i]);

		assert(mkdir(path, 0755) == 0);
	}
	return 0;
}

static void put_blob(const char *mark, const void *data, size_t size, struct blob *ret_blob)
{
	uint8_t sha256[SHA256_DIGEST_LENGTH];
	AUTO_FREE char *name = NULL;

	SHA256(data, size, sha256);
	str_hex(ret_blob->hex, sha256, sizeof(sha256));
	name = mem_format("layout/blobs/sha256/%s", ret_blob->hex);
	ret_blob->mark = mark;
	ret_blob->size = size;
	STR_CUT(ret_blob->path, fuzz_file(name, data, size));
}

static void add_mark(struct str *text, const char *word, const struct blob *blobs, size_t count,
		     size_t *ret_taken)
{
	*ret_taken = 1;
	if (count && str_starts(word, "@diff")) {
		str_addf(text, "\"sha256:%s\"", blobs[0].hex);
		*ret_taken = strlen("@diff");
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (str_starts(word, blobs[i].mark)) {
			str_addf(text, "\"digest\":\"sha256:%s\",\"size\":%zu", blobs[i].hex,
				 blobs[i].size);
			*ret_taken = strlen(blobs[i].mark);
			return;
		}
	str_add(text, "@");
}

static void fill_in(struct str *ret_text, const char *template, const struct blob *blobs,
		    size_t count)
{
	while (*template) {
		size_t plain = strcspn(template, "@"), taken = 0;

		str_add_bytes(ret_text, template, plain);
		template += plain;
		if (*template)
			add_mark(ret_text, template, blobs, count, &taken);
		template += taken;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const marks[] = {"@layer", "@config", "@manifest"};
	struct fuzz_input input = {data, size};
	struct bytes layer = fuzz_part(&input);
	struct blob blobs[ARRAY_SIZE(marks)];
	struct image image = {0};
	struct err err = {0};

	put_blob(marks[0], layer.data, layer.size, &blobs[0]);
	for (size_t i = 1; i <= ARRAY_SIZE(marks); i++) {
		AUTO_FREE char *template = fuzz_text(&input);
		AUTO_STR struct str text = {0};

		fill_in(&text, template, blobs, i);
		if (i < ARRAY_SIZE(marks))
			put_blob(marks[i], str_get(&text), text.size, &blobs[i]);
		else
			fuzz_file("layout/index.json", str_get(&text), text.size);
	}
	if (image_read(FUZZ_DIR "/layout", "amd64", &image, &err) == 0)
		image_free(&image);
	else
		assert(err.text[0]);
	for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
		unlink(blobs[i].path);
	return 0;
}
