/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How one chunk is written so that fewer bytes travel: alone (on the wire) or against a base, a
 * chunk that the receiver holds already (a delta). The encoder chooses for each chunk; the encoded
 * form says what was chosen, so the decoder needs only it and the base. Nothing here knows digests:
 * whoever decodes verifies the result's.
 *
 *   RAW      as it is
 *   ZSTD     one frame
 *   PLANES   numbers cut into byte planes, each a stream of its own (as in ZipNN, arXiv 2411.05239)
 *   INTEGER  distance to the base's number, in planes
 *   SPARSE   the same, but only what changed: gaps and values
 *   SORTED   as INTEGER, in order of the base's exponents
 *   RARE     as SPARSE where little changed: a range coder that looks at the base's exponents
 *   PREFIX   one frame that may refer to the base, of whatever length
 *
 * Form: 1 byte method, 1 byte width (bits 0-3) and float flag (bit 7), 2 bytes stride, 4 bytes size
 * of the result, all little-endian; then the streams, each 4 bytes stored size, 4 bytes size, and
 * its bytes: a zstd frame, or the bytes themselves where both sizes are equal. What is left of a
 * chunk that does not divide into numbers stands at the end as it is; of RARE, before the coder's
 * bytes.
 *
 * Pure but for memory: a coder owns its buffers, some four times the largest chunk that it met.
 */
#pragma once

#include "base/err.h"
#include "covey/release.h"

enum coding_method { CODING_RAW, CODING_ZSTD, CODING_PLANES, CODING_INTEGER, CODING_SPARSE,
		     CODING_PREFIX, CODING_RARE, CODING_SORTED, CODING_METHOD_COUNT };
enum {
	CODING_HEAD = 8,    /* most that the encoded form is longer than the chunk */
	CODING_STRIDE_MAX = 1024,
};

struct coding; /* one for each thread */

struct coding_chunk { /* borrowed */
	const void *data;
	size_t size; /* 1..LIMIT_OBJECT */
	const void *base; /* NULL: none */
	size_t base_size;
	struct element element; /* of both; width 0: not known, found out from samples */
};

struct coding *coding_create(void);
void coding_free(struct coding *coding); /* NULL is fine */
COVEY_DEFINE_CLEANUP(struct coding *, coding_free)

/* Returns how many bytes were written: at most chunk->size + CODING_HEAD, which ret_data holds. */
size_t coding_encode(struct coding *coding, const struct coding_chunk *chunk, uint8_t *ret_data);
/* Nothing makes it smaller, as a look at samples says; much cheaper than to try. */
bool coding_is_noise(struct coding *coding, const void *data, size_t size);
/* What coding_encode() chose. */
enum coding_method coding_method_of(const uint8_t *data);
bool coding_needs_base(const uint8_t *data);

/* The size of the result, for whoever makes room for it. -EBADMSG: this is no encoded chunk;
 * -EMSGSIZE: it would be larger than max. */
int coding_size(const void *data, size_t size, size_t max, size_t *ret_size) COVEY_MUST_CHECK;
/* For the wire: an object takes its coded form where that saves something (true). */
bool coding_shrink(struct coding *coding, struct bytes *object);
/* ... and its own again, of at most max bytes. -EBADMSG, -EMSGSIZE leave it as it is. */
int coding_restore(struct coding *coding, struct bytes *object, size_t max) COVEY_MUST_CHECK;

/* Decodes whatever bytes: ret_data holds coding_size(). Memory is bounded by it. -EBADMSG: damaged,
 * or made against another base. */
int coding_decode(struct coding *coding, const void *data, size_t size, const void *base,
		  size_t base_size, void *ret_data) COVEY_MUST_CHECK;
