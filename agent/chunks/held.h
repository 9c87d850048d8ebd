/* SPDX-License-Identifier: Apache-2.0 */
/* What the journal says lies on this disk: chunks in whatever blob, and sealed releases. */
#pragma once

#include "agent/chunks/files.h"
#include "agent/journal.h"
#include "covey/message.h"

/* Reads a chunk of exactly this size from any blob on the disk; not verified. -ENOENT: not here. */
int held_read(const struct store_files *files, struct journal *journal, const struct digest *chunk,
	      void *buffer, size_t size, struct err *err) COVEY_MUST_CHECK;
/* Any chunk, verified; ret_data is the caller's. -ENOENT, -EBADMSG. */
int held_chunk(const struct store_files *files, struct journal *journal, const struct digest *chunk,
	       struct bytes *ret_data) COVEY_MUST_CHECK;
/* Sealed releases but for one, the latest used first. Returns how many. */
size_t held_releases(struct journal *journal, const struct digest *not_this,
		     struct held_release ret_held[LIMIT_HELD]);
