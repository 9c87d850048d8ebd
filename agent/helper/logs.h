/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's output as conmon keeps it (format k8s-file): "TIME stdout F text\n", P in place of
 * F for a piece of a longer line.
 */
#pragma once

#include "base/str.h"

struct logs_line {    /* points into the text that was parsed */
	bool error;   /* standard error */
	bool partial; /* the line goes on with the next entry of the same stream */
	const char *text;
	size_t size;
};

/* One entry without its newline. False: not of this format. */
bool logs_parse(const char *entry, size_t size, struct logs_line *ret_line);

/* The last `lines` lines of the file, at most max bytes, oldest first; what is not printable is
 * shown as ?. An absent file is an empty log. The text is owned by the caller. */
char *logs_tail(const char *path, uint32_t lines, size_t max);
