/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The distinct chunks of a release (or of a part of it), numbered: what the schedulers, which know
 * numbers only (agent/core/fetch.h, agent/core/serve.h, coordinator/core/seeding.h), stand on, and
 * the answer to "does this release have that chunk?". A number is the position among the distinct
 * digests in the order of their first occurrence, so two programs that make the list from the same
 * entries number alike. About 52 bytes a chunk.
 */
#pragma once

#include "base/cleanup.h"
#include "covey/release.h"

enum { CHUNK_NONE = UINT32_MAX };

struct chunk_list;

/* Copies. Of a digest that comes twice the first size counts. */
struct chunk_list *chunk_list_create(const struct chunk_ref *refs, size_t count);
void chunk_list_free(struct chunk_list *list);
COVEY_DEFINE_CLEANUP(struct chunk_list *, chunk_list_free)

uint32_t chunk_list_count(const struct chunk_list *list); /* distinct */
const struct digest *chunk_list_digest(const struct chunk_list *list, uint32_t number);
const uint32_t *chunk_list_sizes(const struct chunk_list *list); /* bytes, by number */
/* CHUNK_NONE: not of this list. */
uint32_t chunk_list_find(const struct chunk_list *list, const struct digest *digest);
