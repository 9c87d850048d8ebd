/* SPDX-License-Identifier: Apache-2.0 */
/* An identity record with the coordinator's good signature. */
#include "fuzz.h"
#include "base/selector.h"
#include "protocol/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes envelope = {0};
	struct identity identity;
	struct node_id id;
	struct err err = {0};

	fuzz_round_trip(&codec_identity, data, size, LIMIT_ENROL_MESSAGE);
	if (size > LIMIT_ENROL_MESSAGE)
		return 0;
	envelope = fuzz_sign((struct bytes){(uint8_t *)(uintptr_t)data, size}, SIGNED_IDENTITY, 0);
	if (identity_open(envelope.data, envelope.size, fuzz_root(), &identity, &err) == 0) {
		node_id_of_key(&id, &identity.sign_key);
		assert(name_is_valid(identity.name) && node_id_equal(&id, &identity.id));
		codec_free(&codec_identity, &identity);
	}
	free(envelope.data);
	return 0;
}
