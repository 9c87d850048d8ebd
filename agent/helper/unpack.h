/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image layer from its tar to a directory that overlayfs can use, as if the tar were written by
 * an enemy: nothing outside the directory is touched or read, whatever names, links and sizes it
 * holds. The bytes are hashed before a parser sees them (unpack_verify(), on a sealed file), and
 * once more while they are read: what was made counts only when the digest is the signed one.
 *
 * Kept: folders, files, symlinks, hard links inside the layer, permission bits, owners. Made into
 * overlayfs' own form: whiteouts (.wh.NAME, .wh..wh..opq). Dropped: setuid and setgid bits, device
 * nodes, sockets, fifos, extended attributes. Refused: absolute and .. names, paths that lead
 * through a symlink, links to what is not in the layer, more content than the tar has bytes.
 */
#pragma once

#include "base/err.h"
#include "covey/ids.h"

struct unpack_layer {
	int tar;                      /* readable, at its start */
	uint64_t size;                /* of the tar, as signed */
	uint8_t diff_id[DIGEST_SIZE]; /* SHA-256 of the tar, as signed */
	int root;                     /* empty directory to fill */
};

/* 0 when the file has the signed size and digest; its read position is at the start then. */
int unpack_verify(const struct unpack_layer *layer, struct err *err) COVEY_MUST_CHECK;

/* -EBADMSG: not the signed bytes; -EINVAL: an archive that is refused. What was made stays. */
int unpack_layer(const struct unpack_layer *layer, struct err *err) COVEY_MUST_CHECK;
