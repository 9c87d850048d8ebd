/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects as files: <dir>/ab/<64 hex>. A file under its final name is complete and durable: it was
 * written beside, synced, renamed, and its folder synced. Reading checks the digest again.
 */
#pragma once

#include "coordinator/world.h"

struct object_files;

/* Makes the folder, empties <dir>/tmp of what a crash left. */
int object_files_open(const char *dir, struct object_files **ret_files,
		      struct err *err) COVEY_MUST_CHECK;
void object_files_close(struct object_files *files);
COVEY_DEFINE_CLEANUP(struct object_files *, object_files_close)

/* As the members of struct coordinator_world of the same names. */
bool object_files_has(struct object_files *files, const struct digest *digest);
int object_files_put(struct object_files *files, const struct digest *digest, const void *data,
		     size_t size, struct err *err) COVEY_MUST_CHECK;
int object_files_get(struct object_files *files, const struct digest *digest,
		     struct bytes *ret_data, struct err *err) COVEY_MUST_CHECK;
int object_files_peek(struct object_files *files, const struct digest *digest, void *buffer,
		      size_t size) COVEY_MUST_CHECK;
int object_files_remove(struct object_files *files, const struct digest *digest,
			struct err *err) COVEY_MUST_CHECK;
int object_files_each(struct object_files *files, world_object_fn *fn, void *arg,
		      struct err *err) COVEY_MUST_CHECK;
