/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a blob is cut into chunks. Pure and deterministic: the same content gives the same chunks
 * on every machine, so that pushing it again sends nothing. The caller reads; the chunker only says
 * how long the next chunk is. Its window is there for cutting by content, too.
 *
 * Model files: safetensors at tensor boundaries, the header apart; fixed steps inside a tensor and
 * everywhere else: 256 KiB under 256 MiB, 1 MiB under 32 GiB, else 4 MiB. Layers: 1 MiB.
 */
#pragma once

#include "covey/ids.h"
#include "covey/release.h"

enum { CHUNKER_HEADER_MAX = 32 << 20 }; /* a larger safetensors header is not looked into */

struct chunker {
	uint64_t size, at, step;
	uint64_t *cuts; /* ascending offsets inside the blob that must be boundaries; owned */
	size_t cuts_count, cuts_next;
};

void chunker_init(struct chunker *chunker, enum blob_kind kind, uint64_t size);
void chunker_free(struct chunker *chunker);

/* How many bytes from the start of a file a safetensors header takes, from its first 8 bytes; 0:
 * this is not one, or it is too large. */
uint64_t chunker_header_size(const uint8_t first[8], uint64_t file_size);
/* Takes the tensor boundaries from the header (with its first 8 bytes). What makes no sense, or
 * more than LIMIT_CHUNKS, leaves the fixed steps. */
void chunker_use_tensors(struct chunker *chunker, const uint8_t *header, size_t header_size);

/* The length of the next chunk, at most LIMIT_CHUNK; 0 at the end. window: the bytes at the present
 * position, at least LIMIT_CHUNK of them or all that are left. */
size_t chunker_next(struct chunker *chunker, const uint8_t *window, size_t window_size);
