/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model file: as safetensors or GGUF by its beginning, and as ONNX, with the weights inside or
 * beside. The first two bytes say how much longer the file is than what is here. Whatever it holds,
 * tensors lie inside the file, and the chunks cover it and are not too many.
 */
#include "coordinator/cli/chunker.h"
#include "fuzz.h"

#include <string.h>

enum { STEP = 50 << 10 };

static void check_tensors(const struct tensors *tensors, uint64_t file)
{
	uint64_t before = 0;

	assert(tensors->count <= LIMIT_CHUNKS);
	for (size_t i = 0; i < tensors->count; i++) {
		const struct tensor_ref *tensor = &tensors->items[i];

		assert(tensor->offset >= before && tensor->offset <= file);
		assert(tensor->size <= file - tensor->offset);
		before = tensor->offset + tensor->size;
	}
}

static void check_chunks(const struct tensors *tensors, uint64_t file, const struct bytes *head)
{
	struct chunker chunker;
	uint64_t sum = 0;
	size_t chunks = 0, next;

	chunker_init(&chunker, BLOB_FILE, file);
	chunker_use_tensors(&chunker, tensors);
	for (; sum < file; sum += next, chunks++) {
		assert(chunker_window(&chunker) <= file - sum);
		next = chunker_next(&chunker, head->data);
		assert(next > 0 && next <= LIMIT_CHUNK && next <= file - sum);
	}
	assert(chunks <= LIMIT_CHUNKS);
	chunker_free(&chunker);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	uint64_t file = (uint64_t)fuzz_byte(&input) * STEP;
	struct tensors tensors = {0};
	struct bytes head;

	file = file * (fuzz_byte(&input) + 1u) + input.left;
	head = (struct bytes){(uint8_t *)(uintptr_t)input.at, input.left};
	assert(tensors_header_size(head.data, head.size) <= TENSORS_HEADER_MAX);
	if (tensors_read(head.data, head.size, file, &tensors) == 0) {
		check_tensors(&tensors, file);
		check_chunks(&tensors, file, &head);
	}
	tensors_free(&tensors);
	for (int inside = 0; inside < 2; inside++) {
		tensors_read_onnx(head.data, head.size, inside ? NULL : "weights.bin", file,
				  &tensors);
		check_tensors(&tensors, file);
		tensors_free(&tensors);
	}
	return 0;
}
