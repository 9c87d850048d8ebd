/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A release manifest behind a signature that is good: the signer's machine may be the enemy's. What
 * a node opens must be what release_encode() would sign.
 */
#include "fuzz.h"
#include "protocol/digest.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes envelope = {0}, payload = {0};
	struct release release;
	struct digest digest, expected;
	struct err err = {0};
	int r;

	fuzz_round_trip(&codec_release, data, size, LIMIT_MANIFEST);
	if (size > LIMIT_MANIFEST / 2)
		return 0;
	envelope = fuzz_sign((struct bytes){(uint8_t *)(uintptr_t)data, size}, SIGNED_RELEASE, 0);
	digest_of(&expected, data, size);
	r = release_open(envelope.data, envelope.size, fuzz_root(), &expected, &release, &err);
	free(envelope.data);
	if (r < 0) {
		assert(err.text[0]);
		return 0;
	}
	r = release_encode(&release, &payload, &digest, &err);
	if (r < 0) {
		fprintf(stderr, "opened, and cannot be encoded: %s\n", err.text);
		abort();
	}
	assert(release_size(&release) < UINT64_MAX);
	free(payload.data);
	release_free(&release);
	return 0;
}
