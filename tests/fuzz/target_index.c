/* SPDX-License-Identifier: Apache-2.0 */
/* A chunk index: a list that may have 131,072 items, and of which no count may be believed. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_round_trip(&codec_chunk_index, data, size, LIMIT_OBJECT);
	return 0;
}
