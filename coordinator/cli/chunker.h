/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a blob is cut into chunks. Pure and deterministic: the same content gives the same chunks
 * on every machine, so that pushing it again sends nothing. The caller reads; the chunker only says
 * how long the next chunk is.
 *
 * Model files: at tensor boundaries, the header apart; fixed steps inside a tensor and everywhere
 * else: 256 KiB under 1 GiB, 1 MiB under 32 GiB, else 4 MiB, in a quantised tensor rounded down
 * to whole blocks. Layers: around the larger files of the archive, and by content in between:
 * FastCDC (Xia et al., USENIX ATC 2016), 32 KiB at least, 128 on average, 512 at most; twice,
 * four, ... times that where a layer is so large that its chunks would be too many.
 */
#pragma once

#include "coordinator/cli/tensors.h"

struct chunk_cut {
	uint64_t at;   /* a chunk begins here */
	uint64_t step; /* of fixed steps from here on; 0: as everywhere */
};

struct chunker {
	uint64_t size, at;
	uint64_t step;          /* fixed, or the average */
	uint64_t least, most;   /* of chunks that are cut by content; least 0: fixed steps */
	struct chunk_cut *cuts; /* ascending; owned */
	size_t cuts_count, cuts_next;
	uint64_t step_here;
};

void chunker_init(struct chunker *chunker, enum blob_kind kind, uint64_t size);
void chunker_free(struct chunker *chunker);

/* Cuts around tensors. More than LIMIT_CHUNKS leave the fixed steps. */
void chunker_use_tensors(struct chunker *chunker, const struct tensors *tensors);
/* Cuts at these offsets, ascending, each at least `least` bytes after the one before it or before
 * the one after it. Takes them. */
void chunker_use_cuts(struct chunker *chunker, struct chunk_cut *cuts, size_t count);

/* How many bytes from the present position chunker_next() may look at. */
size_t chunker_window(const struct chunker *chunker);
/* The length of the next chunk, at most LIMIT_CHUNK; 0 at the end. window: chunker_window() bytes
 * from the present position. */
size_t chunker_next(struct chunker *chunker, const uint8_t *window);
