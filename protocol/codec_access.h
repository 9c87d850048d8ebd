/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For codec.c and codec_objects.c alone: a member of a struct, by its field. Pointers of different
 * types are read and written as bytes, so that the compiler's rules on aliasing hold. const ends
 * here: whoever looks does not write.
 */
#pragma once

#include "protocol/codec.h"

#include <string.h>

static inline void *member_at(const void *object, const struct codec_field *f)
{
	return (char *)(uintptr_t)object + f->offset;
}

/* A member that is a pointer, of whatever type. */
static inline void *pointer_of(const void *object, const struct codec_field *f)
{
	void *pointer;

	memcpy(&pointer, member_at(object, f), sizeof(pointer));
	return pointer;
}

static inline void set_pointer(void *object, const struct codec_field *f, void *pointer)
{
	memcpy(member_at(object, f), &pointer, sizeof(pointer));
}

/* How many items a STRUCT, ARRAY, LIST or NUMBERS has, and where the first one is. */
static inline size_t items_of(const void *object, const struct codec_field *f, char **ret_first)
{
	if (f->count_offset) {
		*ret_first = pointer_of(object, f);
		return *(const size_t *)(const void *)((const char *)object + f->count_offset);
	}
	*ret_first = member_at(object, f);
	return f->kind == FIELD_ARRAY ? (size_t)f->limit : 1;
}

static inline void set_list(void *object, const struct codec_field *f, void *first, size_t count)
{
	set_pointer(object, f, first);
	*(size_t *)(void *)((char *)object + f->count_offset) = count;
}

/* Bytes of one item of a LIST or NUMBERS. */
static inline size_t item_size(const struct codec_field *f)
{
	return f->type ? f->type->size : sizeof(uint64_t);
}

static inline uint64_t number_of(const void *object, const struct codec_field *f)
{
	if (f->kind == FIELD_U64)
		return *(uint64_t *)member_at(object, f);
	if (f->kind == FIELD_BOOL)
		return *(bool *)member_at(object, f);
	return *(uint32_t *)member_at(object, f);
}

static inline void set_number(void *object, const struct codec_field *f, uint64_t value)
{
	if (f->kind == FIELD_U64)
		*(uint64_t *)member_at(object, f) = value;
	else if (f->kind == FIELD_BOOL)
		*(bool *)member_at(object, f) = value != 0;
	else
		*(uint32_t *)member_at(object, f) = (uint32_t)value;
}
