/* SPDX-License-Identifier: Apache-2.0 */
/* The distinct chunks of releases, to say what one has of another (chunk_set.c). */
#pragma once

#include "coordinator/shell.h"

struct chunk_set { /* sorted by digest, each once; owned */
	struct chunk_ref *chunks;
	size_t count, cap;
	uint64_t unpacked_bytes; /* of the layers */
};

/* What cannot be read is left out. */
void chunk_set_add(struct coordinator *c, const struct digest *release, struct chunk_set *set);
void chunk_set_free(struct chunk_set *set);
size_t chunk_set_find(const struct chunk_set *set, const struct digest *digest); /* SIZE_MAX: no */
/* Bytes of those that are marked; which: one mark a chunk. */
uint64_t chunk_set_sum(const struct chunk_set *set, const bool *which);
