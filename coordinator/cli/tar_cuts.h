/* SPDX-License-Identifier: Apache-2.0 */
/* Where the larger files of an uncompressed tar archive begin and end. */
#pragma once

#include "coordinator/cli/chunker.h"

/* The content of each regular file of at least `least` bytes gives two cuts. What is no archive, or
 * stops being one, gives none from there on: that is no error. */
int tar_cuts(int fd, uint64_t size, uint64_t least, struct chunk_cut **ret_cuts, size_t *ret_count,
             struct err *err) COVEY_MUST_CHECK;
