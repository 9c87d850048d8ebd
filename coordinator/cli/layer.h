/* SPDX-License-Identifier: Apache-2.0 */
/* Single files of an image: SHA-256, decompression, and what a layer's tar may not contain. */
#pragma once

#include "base/err.h"
#include "covey/ids.h"

/* SHA-256 and size of a whole open file. */
int layer_sha256(int fd, uint8_t ret_sha256[DIGEST_SIZE], uint64_t *ret_size,
                 struct err *err) COVEY_MUST_CHECK;
/* gzip or zstd (by its first bytes): replaces *fd by an uncompressed temporary file. Else nothing.
 */
int layer_inflate(int *fd, struct err *err) COVEY_MUST_CHECK;
/*
 * Reads the tar's headers: whole, and no entry with an absolute name or .., behind a symbolic link,
 * no hard link to what is no file of this layer, no relative symbolic link that leaves the root, no
 * device, no more content than the tar has bytes, nothing that would replace a folder which is not
 * empty: what passes here can be unpacked on every node. The sentence names the entry. -EINVAL.
 */
int layer_check(int fd, struct err *err) COVEY_MUST_CHECK;
