/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BLAKE2b-256, because libsodium is there anyway and it is faster than SHA-256 on machines without
 * special instructions. libsodium's state lives in an opaque buffer of the caller, so that no other
 * module needs sodium.h; the static assertion keeps the buffer honest. libsodium picks its fast
 * implementations in sodium_init(), so that runs before main() in every program that links this.
 */
#include "protocol/digest.h"
#include "base/str.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

enum { STATE_ALIGNMENT = _Alignof(crypto_generichash_state) };

static_assert(sizeof(crypto_generichash_state) + STATE_ALIGNMENT - 1 <=
                  sizeof((struct digest_state){0}.opaque),
              "digest_state is too small");

static const char prefix[] = "blake2b:";

static void __attribute__((constructor)) start_libsodium(void)
{
	if (sodium_init() < 0)
		abort();
}

void digest_of(struct digest *ret_digest, const void *data, size_t size)
{
	crypto_generichash(ret_digest->bytes, DIGEST_SIZE, data, size, NULL, 0);
}

/* Aligned here and not by the struct: gcc 12 misplaces over-aligned locals when ASan looks for
 * uses after return (gcc bug 110027). */
static crypto_generichash_state *state_of(struct digest_state *state)
{
	uintptr_t at = (uintptr_t)state->opaque + STATE_ALIGNMENT - 1;

	return (crypto_generichash_state *)(at - at % STATE_ALIGNMENT);
}

void digest_init(struct digest_state *state)
{
	crypto_generichash_init(state_of(state), NULL, 0, DIGEST_SIZE);
}

void digest_add(struct digest_state *state, const void *data, size_t size)
{
	crypto_generichash_update(state_of(state), data, size);
}

void digest_end(struct digest_state *state, struct digest *ret_digest)
{
	crypto_generichash_final(state_of(state), ret_digest->bytes, DIGEST_SIZE);
}

void digest_text(char dst[DIGEST_TEXT_MAX], const struct digest *digest)
{
	memcpy(dst, prefix, sizeof(prefix) - 1);
	str_hex(dst + sizeof(prefix) - 1, digest->bytes, DIGEST_SIZE);
}

int digest_parse(const char *text, struct digest *ret_digest)
{
	if (str_starts(text, prefix))
		text += sizeof(prefix) - 1;
	return str_unhex(ret_digest->bytes, DIGEST_SIZE, text);
}

void node_id_of_key(struct node_id *ret_id, const struct public_key *sign_key)
{
	struct digest digest;

	digest_of(&digest, sign_key->bytes, KEY_SIZE);
	memcpy(ret_id->bytes, digest.bytes, NODE_ID_SIZE);
}

void node_id_text(char dst[NODE_ID_TEXT_MAX], const struct node_id *id)
{
	str_hex(dst, id->bytes, NODE_ID_SIZE);
}

int node_id_parse(const char *text, struct node_id *ret_id)
{
	return str_unhex(ret_id->bytes, NODE_ID_SIZE, text);
}

void rollout_id_text(char dst[ROLLOUT_ID_TEXT_MAX], const struct rollout_id *id)
{
	str_hex(dst, id->bytes, ROLLOUT_ID_SIZE);
}

int rollout_id_parse(const char *text, struct rollout_id *ret_id)
{
	return str_unhex(ret_id->bytes, ROLLOUT_ID_SIZE, text);
}
