/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a neighbour says first, and a record behind the coordinator's good signature in a greeting:
 * only the neighbour that is expected may pass.
 */
#include "agent/chunks/peer_hello.h"
#include "fuzz.h"
#include "protocol/digest.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct msg_neighbour expected = {0};
	struct bytes identity = {0}, greeting = {0};
	struct identity record;
	struct peer_hello hello = {0};
	struct err err = {0};
	bool known;

	node_id_of_key(&expected.id, &fuzz_key(1)->public_key);
	if (peer_hello_check(data, size, fuzz_root(), &expected, 1, &hello, &err) == 0)
		assert(size > SIGNATURE_SIZE);
	if (size > LIMIT_PEER_HELLO / 2)
		return 0;
	identity = fuzz_sign((struct bytes){(uint8_t *)(uintptr_t)data, size}, SIGNED_IDENTITY, 0);
	known = identity_open(identity.data, identity.size, fuzz_root(), &record, &err) == 0;
	if (peer_hello_make(&identity, &(struct peer_hello){.session = 7}, &greeting, &err) == 0 &&
	    peer_hello_check(greeting.data, greeting.size, fuzz_root(), &expected, 1, &hello,
			     &err) == 0) {
		assert(known && node_id_equal(&record.id, &expected.id) && hello.session == 7);
		assert(!record.expires_unix_ms || record.expires_unix_ms > 1);
	}
	if (known)
		codec_free(&codec_identity, &record);
	free(identity.data);
	free(greeting.data);
	return 0;
}
