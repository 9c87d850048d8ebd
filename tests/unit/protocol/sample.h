/* SPDX-License-Identifier: Apache-2.0 */
/* Things that the protocol's tests need again and again. */
#pragma once

#include "base/rng.h"
#include "protocol/codec.h"
#include "protocol/manifest.h"

/* Fills *object with random valid values by its table; about one field in four stays zero. */
void sample_fill(struct rng *rng, const struct codec_struct *type, void *object);

/* A small release that release_check accepts: two layers, two files, two smoke tests. */
void sample_release(struct release *ret_release);

/* Signs payload (which it takes) with each key and encodes the envelope. */
struct bytes sample_signed(struct bytes payload, enum signed_purpose purpose,
                           const struct sign_key *const *keys, size_t keys_count);
