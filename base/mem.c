/* SPDX-License-Identifier: Apache-2.0 */
/* See mem.h: every function here either succeeds or ends the process with a line on stderr. */
#include "base/mem.h"

#include <stdarg.h>
#include <string.h>

static void *check(void *p)
{
	if (p)
		return p;
	fputs("out of memory\n", stderr);
	abort();
}

void *mem_alloc(size_t size)
{
	return check(calloc(1, size ? size : 1));
}

void *mem_array(size_t count, size_t size)
{
	return check(calloc(count ? count : 1, size ? size : 1));
}

void *mem_resize(void *old, size_t count, size_t size)
{
	return check(reallocarray(old, count ? count : 1, size ? size : 1));
}

void *mem_copy(const void *data, size_t size)
{
	void *copy = check(malloc(size ? size : 1));

	if (size)
		memcpy(copy, data, size);
	return copy;
}

char *mem_str(const char *text)
{
	return mem_copy(text, strlen(text) + 1);
}

char *mem_format(const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	return check(text);
}

void mem_grow(void **items, size_t *cap, size_t count, size_t item_size)
{
	if (count < *cap)
		return;
	*cap = *cap ? *cap * 2 : 8;
	*items = mem_resize(*items, *cap, item_size);
}
