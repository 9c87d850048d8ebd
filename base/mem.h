/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory. Out of memory ends the process: the supervisor restarts it and the journal has the
 * state, so no caller carries an untested path for it. Sizes that come from outside are bounded
 * (include/covey/limits.h) before they get here.
 */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull)); /* zeroed */
void *mem_array(size_t count, size_t size) __attribute__((malloc, returns_nonnull)); /* zeroed */
void *mem_resize(void *old, size_t count, size_t size) __attribute__((returns_nonnull));
void *mem_copy(const void *data, size_t size) __attribute__((malloc, returns_nonnull));
char *mem_str(const char *text) __attribute__((malloc, returns_nonnull));
char *mem_format(const char *format, ...)
	__attribute__((format(printf, 1, 2), malloc, returns_nonnull));

/* Grows *items so that one more fits: capacity doubles. *items may be NULL with *cap 0. */
void mem_grow(void **items, size_t *cap, size_t count, size_t item_size);

#define MEM_GROW(items, cap, count)                                                                \
	do {                                                                                       \
		void *grow_items = (items);                                                        \
		mem_grow(&grow_items, (cap), (count), sizeof(*(items)));                           \
		(items) = grow_items;                                                              \
	} while (0)
