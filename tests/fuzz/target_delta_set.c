/* SPDX-License-Identifier: Apache-2.0 */
/* A list of deltas, which nobody signed: what opens has objects and items that fit each other. */
#include "covey/delta.h"
#include "fuzz.h"
#include "protocol/delta_set.h"
#include "protocol/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct delta_set set;
	struct digest digest;
	struct err err = {0};
	size_t item = 0;

	fuzz_round_trip(&codec_delta_set, data, size, LIMIT_OBJECT);
	digest_of(&digest, data, size);
	if (delta_set_open(data, size, &digest, &set, &err) < 0) {
		assert(err.text[0]);
		return 0;
	}
	for (size_t i = 0; i < set.objects_count; i++) {
		uint64_t sum = 0;

		assert(set.objects[i].items <= set.items_count - item);
		for (uint32_t k = 0; k < set.objects[i].items; k++)
			sum += set.items[item++].size;
		assert(sum == set.objects[i].size && sum <= LIMIT_OBJECT);
	}
	assert(item == set.items_count);
	codec_free(&codec_delta_set, &set);
	return 0;
}
