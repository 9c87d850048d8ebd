/* SPDX-License-Identifier: Apache-2.0 */
/* Digests (BLAKE2b-256 by libsodium) and their text forms. */
#pragma once

#include "base/err.h"
#include "covey/ids.h"

struct digest_state { /* incremental; holds libsodium's own state at any address; do not copy */
	uint8_t opaque[384 + 63];
};

void digest_of(struct digest *ret_digest, const void *data, size_t size);
void digest_init(struct digest_state *state);
void digest_add(struct digest_state *state, const void *data, size_t size);
void digest_end(struct digest_state *state, struct digest *ret_digest);

void digest_text(char dst[DIGEST_TEXT_MAX], const struct digest *digest); /* blake2b:<hex> */
int digest_parse(const char *text, struct digest *ret_digest) COVEY_MUST_CHECK; /* also bare hex */

void node_id_of_key(struct node_id *ret_id, const struct public_key *sign_key);
void node_id_text(char dst[NODE_ID_TEXT_MAX], const struct node_id *id);
int node_id_parse(const char *text, struct node_id *ret_id) COVEY_MUST_CHECK;
void rollout_id_text(char dst[ROLLOUT_ID_TEXT_MAX], const struct rollout_id *id);
int rollout_id_parse(const char *text, struct rollout_id *ret_id) COVEY_MUST_CHECK;
