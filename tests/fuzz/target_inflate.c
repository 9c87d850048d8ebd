/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed layers: gzip and zstd, whole or damaged. */
#include "coordinator/cli/layer.h"
#include "fuzz.h"

#include <fcntl.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_jail();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_CLOSE int fd = open(fuzz_file("layer", data, size), O_RDONLY | O_CLOEXEC);
	uint8_t sha256[DIGEST_SIZE];
	uint64_t got = 0;
	struct err err = {0};

	assert(fd >= 0);
	if (layer_inflate(&fd, &err) < 0)
		assert(err.text[0]);
	else
		assert(layer_sha256(fd, sha256, &got, &err) == 0);
	return 0;
}
