/* SPDX-License-Identifier: Apache-2.0 */
/* Identifiers and small values that every part of Covey shares. */
#pragma once

#include "covey/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { DIGEST_SIZE = 32, NODE_ID_SIZE = 16, ROLLOUT_ID_SIZE = 8, KEY_SIZE = 32, SIGNATURE_SIZE = 64 };
enum {
	DIGEST_TEXT_MAX = 8 + 2 * DIGEST_SIZE + 1, /* "blake2b:<hex>" */
	NODE_ID_TEXT_MAX = 2 * NODE_ID_SIZE + 1,
	ROLLOUT_ID_TEXT_MAX = 2 * ROLLOUT_ID_SIZE + 1,
};

struct digest { /* BLAKE2b-256 of a content-addressed object; all zero means none */
	uint8_t bytes[DIGEST_SIZE];
};

struct node_id { /* first 16 bytes of BLAKE2b-256 of the node's Ed25519 public key */
	uint8_t bytes[NODE_ID_SIZE];
};

struct rollout_id { /* random; all zero means none */
	uint8_t bytes[ROLLOUT_ID_SIZE];
};

struct public_key { /* Curve25519 (link) or Ed25519 (signatures) */
	uint8_t bytes[KEY_SIZE];
};

struct bytes { /* heap memory of its owner; data may be NULL when size is 0 */
	uint8_t *data;
	size_t size;
};

struct text_item { /* one string of a list */
	char *text;
};

struct label {
	char key[LIMIT_LABEL_KEY + 1];
	char value[LIMIT_LABEL_VALUE + 1];
};

struct share { /* "20%" or a count */
	bool percent;
	uint32_t value;
};

enum colour { COLOUR_BLUE, COLOUR_GREEN, COLOUR_COUNT };

static inline bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a->bytes, b->bytes, DIGEST_SIZE) == 0;
}

static inline bool digest_is_zero(const struct digest *d)
{
	static const struct digest zero;

	return digest_equal(d, &zero);
}

static inline bool node_id_equal(const struct node_id *a, const struct node_id *b)
{
	return memcmp(a->bytes, b->bytes, NODE_ID_SIZE) == 0;
}

static inline bool rollout_id_equal(const struct rollout_id *a, const struct rollout_id *b)
{
	return memcmp(a->bytes, b->bytes, ROLLOUT_ID_SIZE) == 0;
}

static inline bool rollout_id_is_zero(const struct rollout_id *id)
{
	static const struct rollout_id zero;

	return rollout_id_equal(id, &zero);
}

static inline enum colour colour_other(enum colour colour)
{
	return colour == COLOUR_BLUE ? COLOUR_GREEN : COLOUR_BLUE;
}
