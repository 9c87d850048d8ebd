/* SPDX-License-Identifier: Apache-2.0 */
/* A root document with a good signature: who it makes itself trusted by must make sense. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes envelope = {0};
	struct root_document root;
	struct err err = {0};

	fuzz_round_trip(&codec_root_document, data, size, LIMIT_ROOT_DOCUMENT);
	if (size > LIMIT_ROOT_DOCUMENT)
		return 0;
	envelope = fuzz_sign((struct bytes){(uint8_t *)(uintptr_t)data, size}, SIGNED_ROOT, 0);
	for (unsigned with_previous = 0; with_previous < 2; with_previous++) {
		const struct root_document *previous = with_previous ? fuzz_root() : NULL;

		if (root_open(envelope.data, envelope.size, previous, &root, &err) < 0)
			continue;
		assert(root.root_threshold >= 1 && root.root_threshold <= root.root_keys_count);
		assert(root.release_threshold >= 1 &&
		       root.release_threshold <= root.release_keys_count);
		assert(!previous || root.version >= previous->version);
		codec_free(&codec_root_document, &root);
	}
	free(envelope.data);
	return 0;
}
