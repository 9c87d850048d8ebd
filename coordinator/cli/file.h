/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files in and out, temporary files that nobody can leave behind, and paths. */
#pragma once

#include "base/err.h"
#include "covey/ids.h"

#include <sys/types.h>

/* Reads a regular file of at most max bytes; data gets a NUL behind its end. -EFBIG. */
int file_read(const char *path, size_t max, struct bytes *ret_data,
              struct err *err) COVEY_MUST_CHECK;
/* All of an open file from its start. */
int file_read_fd(int fd, size_t max, struct bytes *ret_data, struct err *err) COVEY_MUST_CHECK;
/* Creates it, durably; -EEXIST when it is there. */
int file_create(const char *path, mode_t mode, const void *data, size_t size,
                struct err *err) COVEY_MUST_CHECK;
int file_write_all(int fd, const void *data, size_t size, struct err *err) COVEY_MUST_CHECK;
/* Exactly size bytes at offset; -EIO when the file is shorter. */
int file_read_at(int fd, void *data, size_t size, uint64_t offset,
                 struct err *err) COVEY_MUST_CHECK;
/* An open file without a name in $TMPDIR (default /var/tmp): it goes when it is closed. */
int file_temporary(int *ret_fd, struct err *err) COVEY_MUST_CHECK;
/* path as seen from the folder of `base_file`; owned by the caller. */
char *file_beside(const char *base_file, const char *path);
/* Creates the folder and what is missing above it (mode for the last one). ret_created: the first
 * that was made, "" when all was there. Owned by the caller. */
int file_make_folders(const char *path, mode_t mode, char **ret_created,
                      struct err *err) COVEY_MUST_CHECK;
