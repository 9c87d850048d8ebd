/* SPDX-License-Identifier: Apache-2.0 */
/* release.yaml, with expected.json as a second part for `body_file` and the like. What is accepted
 * fits the manifest's tables; what is not names file and line. */
#include "base/mem.h"
#include "coordinator/cli/yml_files.h"
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_jail();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct bytes yaml = fuzz_part(&input), beside = fuzz_part(&input);
	AUTO_FREE char *path = mem_str(fuzz_file("release.yaml", yaml.data, yaml.size));
	struct release_file file = {0};
	struct bytes encoded = {0};
	enum file_kind kind;
	struct err err = {0};
	int r;

	fuzz_file("expected.json", beside.data, beside.size);
	if (yml_file_kind(path, &kind, &err) < 0)
		assert(strstr(err.text, path));
	if (release_file_read(path, false, &file, &err) < 0) {
		assert(strstr(err.text, path));
		return 0;
	}
	r = codec_encode(&codec_release, &file.release, LIMIT_MANIFEST, &encoded, &err);
	assert(r == 0 || r == -EMSGSIZE);
	free(encoded.data);
	release_file_free(&file);
	return 0;
}
