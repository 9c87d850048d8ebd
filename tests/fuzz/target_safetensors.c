/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a safetensors file, in a file that is as long as the first two bytes say (in steps
 * of a part of a chunk): whatever it holds, the chunks cover the file, and are not too many.
 */
#include "coordinator/cli/chunker.h"
#include "fuzz.h"

#include <string.h>

enum { STEP = 50 << 10 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	uint64_t file = (uint64_t)fuzz_byte(&input) * STEP, sum = 0, header;
	struct chunker chunker;
	size_t chunks = 0, next;
	uint8_t first[8] = {0};

	file = file * (fuzz_byte(&input) + 1u) + input.left;
	memcpy(first, input.at, input.left < sizeof(first) ? input.left : sizeof(first));
	header = chunker_header_size(first, file);
	assert(header <= file);
	chunker_init(&chunker, BLOB_FILE, file);
	if (header && header <= input.left)
		chunker_use_tensors(&chunker, input.at, (size_t)header);
	for (; sum < file; sum += next, chunks++) {
		next = chunker_next(&chunker, input.at, LIMIT_CHUNK);
		assert(next > 0 && next <= LIMIT_CHUNK && next <= file - sum);
	}
	assert(chunks <= LIMIT_CHUNKS);
	assert(chunker_next(&chunker, input.at, 0) == 0);
	chunker_free(&chunker);
	return 0;
}
