/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a model folder, by name. */
#pragma once

#include "base/err.h"
#include "covey/ids.h"

struct model_file {
	char *path;    /* as seen from here */
	char *name;    /* below /model */
	uint32_t mode; /* 0644, or 0755 where the owner may execute it: equal on every machine */
};

struct model_files { /* ordered by name, bytewise */
	struct model_file *items;
	size_t count, cap;
};

/* Regular files, also behind symbolic links to files; anything else is refused with its name, as is
 * an empty folder. */
int model_files_list(const char *folder, struct model_files *ret_files,
                     struct err *err) COVEY_MUST_CHECK;
void model_files_free(struct model_files *files);
