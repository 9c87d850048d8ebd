/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed documents as they come over the wire, opened as each of the three kinds. The keys are
 * known to nobody but the seeds, so whatever opens must be a payload of theirs.
 */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct release release;
	struct root_document root;
	struct identity identity;
	struct err err = {0};

	fuzz_round_trip(&codec_envelope, data, size, LIMIT_OBJECT);
	if (release_open(data, size, fuzz_root(), NULL, &release, &err) == 0)
		release_free(&release);
	if (root_open(data, size, fuzz_root(), &root, &err) == 0)
		codec_free(&codec_root_document, &root);
	if (identity_open(data, size, fuzz_root(), &identity, &err) == 0)
		codec_free(&codec_identity, &identity);
	return 0;
}
