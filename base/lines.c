/* SPDX-License-Identifier: Apache-2.0 */
/* fgets() cuts a long line in two without a word; here that ends the reading. */
#include "base/lines.h"

#include <string.h>

char *lines_read(char *dst, int size, void *context)
{
	struct lines *lines = context;

	if (lines->too_long || !fgets(dst, size, lines->file))
		return NULL;
	lines->number++;
	lines->too_long = !strchr(dst, '\n') && !feof(lines->file);
	return lines->too_long ? NULL : dst;
}
