/* SPDX-License-Identifier: Apache-2.0 */
/* A file that says it is an image: OCI layout or docker archive in a tar, maybe compressed. */
#include "coordinator/cli/image.h"
#include "fuzz.h"

#include <locale.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_jail();
	setlocale(LC_CTYPE, "C.UTF-8"); /* as the command line has it */
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image image = {0};
	struct err err = {0};

	if (image_read(fuzz_file("image.tar", data, size), "amd64", &image, &err) < 0) {
		assert(err.text[0]);
		return 0;
	}
	assert(image.layers_count <= LIMIT_LAYERS && image.argv_count <= LIMIT_ARGV);
	image_free(&image);
	return 0;
}
