/* SPDX-License-Identifier: Apache-2.0 */
/* The disk rule of the chunk store: what goes when room is needed. Internal to the store. */
#pragma once

#include "agent/chunks/files.h"
#include "agent/chunks/store.h"

/* Removes releases that are not in keep, longest unused first, while more than quota_bytes (0: no
 * quota) are used or less than free_percent is free; then everything that no release which is left
 * refers to. */
int prune_run(const struct store_files *files, const struct chunk_store_config *config,
	      const struct digest_item *keep, size_t keep_count, bool *ret_dropped,
	      struct err *err) COVEY_MUST_CHECK;

/* True when the disk asks for room. */
bool prune_is_due(const struct store_files *files, const struct chunk_store_config *config);
