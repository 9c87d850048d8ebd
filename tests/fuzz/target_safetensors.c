/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a safetensors file, in a file that is as long as the first two bytes say (in steps
 * of a part of a chunk): whatever it holds, the chunks cover the file, and are not too many.
 */
#include "coordinator/cli/chunker.h"
#include "fuzz.h"

enum { STEP = 50 << 10 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	uint64_t file = (uint64_t)fuzz_byte(&input) * STEP, sum = 0, header;
	struct tensors tensors = {0};
	struct chunker chunker;
	size_t chunks = 0, next;
	static uint8_t window[LIMIT_CHUNK + 1]; /* content is not looked at, or is all alike */

	file = file * (fuzz_byte(&input) + 1u) + input.left;
	header = tensors_header_size(input.at, input.left < 8 ? input.left : 8);
	chunker_init(&chunker, BLOB_FILE, file);
	if (header && header <= input.left && tensors_read(input.at, (size_t)header, file, &tensors) == 0)
		chunker_use_tensors(&chunker, &tensors);
	tensors_free(&tensors);
	for (; sum < file; sum += next, chunks++) {
		next = chunker_next(&chunker, window);
		assert(next > 0 && next <= LIMIT_CHUNK && next <= file - sum);
	}
	assert(chunks <= LIMIT_CHUNKS);
	assert(chunker_next(&chunker, window) == 0);
	chunker_free(&chunker);
	return 0;
}
