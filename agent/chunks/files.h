/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk store's files: names, durable writes, bounded copies. Used by store.c and prune.c. */
#pragma once

#include "base/err.h"
#include "covey/ids.h"

#include <sys/types.h>

enum { STORE_NAME_MAX = 2 * DIGEST_SIZE + 16 };

struct store_files { /* open folders; -1: none */
	int root, parts, blobs, releases, objects, deltas;
};

int store_files_open(const char *dir, struct store_files *ret_files, struct err *err)
	COVEY_MUST_CHECK;
void store_files_close(struct store_files *files);

/* "<hex><suffix>" */
void store_name(char dst[STORE_NAME_MAX], const struct digest *digest, const char *suffix);
/* The other way; -EINVAL for any other name. */
int store_name_parse(const char *name, const char *suffix,
		     struct digest *ret_digest) COVEY_MUST_CHECK;

/* Whole small file, at most max bytes. -ENOENT, -EFBIG. */
int store_read_file(int dir, const char *name, size_t max, struct bytes *ret_data,
		    struct err *err) COVEY_MUST_CHECK;
/* Replaces a file atomically; durable only when `sync`. Leaves no half file behind. */
int store_write_file(int dir, const char *name, const void *data, size_t size, bool sync,
		     struct err *err) COVEY_MUST_CHECK;

int store_read_at(int fd, void *data, size_t size, uint64_t offset) COVEY_MUST_CHECK;
int store_write_at(int fd, const void *data, size_t size, uint64_t offset) COVEY_MUST_CHECK;
/* Copies inside the kernel (shares blocks where the file system can), by hand where it cannot:
 * then from data, which holds the same bytes. */
int store_copy_at(int from, uint64_t from_offset, int to, uint64_t to_offset, const void *data,
		  size_t size) COVEY_MUST_CHECK;
