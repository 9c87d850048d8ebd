/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tables are good for apart from bytes: freeing, copying, comparing and printing, each a
 * walk over the fields as in codec.c.
 */
#include "base/mem.h"
#include "protocol/codec_access.h"

#include <inttypes.h>

static void free_field(void *object, const struct codec_field *f)
{
	size_t count;
	char *first;

	if (f->kind == FIELD_TEXT) {
		free(pointer_of(object, f));
	} else if (f->kind == FIELD_BYTES) {
		free(((struct bytes *)member_at(object, f))->data);
	} else if (f->type || f->kind == FIELD_NUMBERS) {
		count = items_of(object, f, &first);
		for (size_t i = 0; f->type && i < count; i++)
			codec_free(f->type, first + i * f->type->size);
		if (f->count_offset)
			free(first);
	}
}

void codec_free(const struct codec_struct *type, void *object)
{
	for (size_t i = 0; i < type->fields_count; i++)
		free_field(object, &type->fields[i]);
	memset(object, 0, type->size);
}

/* dst holds a flat copy of src: replaces what it shares with copies of its own. */
static void unshare(const struct codec_struct *type, void *dst)
{
	for (size_t i = 0; i < type->fields_count; i++) {
		const struct codec_field *f = &type->fields[i];
		size_t count;
		char *first;

		if (f->kind == FIELD_TEXT) {
			const char *text = pointer_of(dst, f);

			set_pointer(dst, f, text ? mem_str(text) : NULL);
		} else if (f->kind == FIELD_BYTES) {
			struct bytes *bytes = member_at(dst, f);

			bytes->data = bytes->size ? mem_copy(bytes->data, bytes->size) : NULL;
		} else if (f->type || f->kind == FIELD_NUMBERS) {
			count = items_of(dst, f, &first);
			if (f->count_offset) {
				first = count ? mem_copy(first, count * item_size(f)) : NULL;
				set_list(dst, f, first, count);
			}
			for (size_t k = 0; f->type && k < count; k++)
				unshare(f->type, first + k * f->type->size);
		}
	}
}

void codec_copy(const struct codec_struct *type, void *dst, const void *src)
{
	memcpy(dst, src, type->size);
	unshare(type, dst);
}

static bool text_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool items_equal(const void *a, const void *b, const struct codec_field *f)
{
	char *first_a, *first_b;
	size_t count = items_of(a, f, &first_a);

	if (items_of(b, f, &first_b) != count)
		return false;
	if (f->kind == FIELD_NUMBERS)
		return !count || memcmp(first_a, first_b, count * item_size(f)) == 0;
	for (size_t i = 0; i < count; i++)
		if (!codec_equal(f->type, first_a + i * f->type->size, first_b + i * f->type->size))
			return false;
	return true;
}

static bool field_equal(const void *a, const void *b, const struct codec_field *f)
{
	const struct bytes *x, *y;

	switch (f->kind) {
	case FIELD_U64:
	case FIELD_U32:
	case FIELD_BOOL:
	case FIELD_ENUM:
		return number_of(a, f) == number_of(b, f);
	case FIELD_F64:
		return memcmp(member_at(a, f), member_at(b, f), sizeof(double)) == 0;
	case FIELD_STR:
		return text_equal(member_at(a, f), member_at(b, f));
	case FIELD_TEXT:
		return text_equal(pointer_of(a, f), pointer_of(b, f));
	case FIELD_BYTES:
		x = member_at(a, f);
		y = member_at(b, f);
		return x->size == y->size && (!x->size || memcmp(x->data, y->data, x->size) == 0);
	case FIELD_FIXED:
		return memcmp(member_at(a, f), member_at(b, f), (size_t)f->limit) == 0;
	case FIELD_STRUCT:
	case FIELD_ARRAY:
	case FIELD_LIST:
	case FIELD_NUMBERS:
		return items_equal(a, b, f);
	}
	return false;
}

bool codec_equal(const struct codec_struct *type, const void *a, const void *b)
{
	for (size_t i = 0; i < type->fields_count; i++)
		if (!field_equal(a, b, &type->fields[i]))
			return false;
	return true;
}

/* ---- describe ---- */

static void describe_kind(FILE *out, const struct codec_field *f)
{
	switch (f->kind) {
	case FIELD_U64:
		fputs("uint", out);
		return;
	case FIELD_U32:
		fputs("uint .size 4", out);
		return;
	case FIELD_BOOL:
		fputs("bool", out);
		return;
	case FIELD_F64:
		fputs("float64", out);
		return;
	case FIELD_ENUM:
		fprintf(out, "0..%" PRIu64, f->limit - 1);
		return;
	case FIELD_STR:
	case FIELD_TEXT:
		fprintf(out, "tstr .size (0..%" PRIu64 ")", f->limit);
		return;
	case FIELD_BYTES:
		fprintf(out, "bstr .size (0..%" PRIu64 ")", f->limit);
		return;
	case FIELD_FIXED:
		fprintf(out, "bstr .size %" PRIu64, f->limit);
		return;
	case FIELD_STRUCT:
		fputs(f->type->name, out);
		return;
	case FIELD_ARRAY:
		fprintf(out, "[%" PRIu64 "*%" PRIu64 " %s]", f->limit, f->limit, f->type->name);
		return;
	case FIELD_LIST:
		fprintf(out, "[0*%" PRIu64 " %s]", f->limit, f->type->name);
		return;
	case FIELD_NUMBERS:
		fprintf(out, "[0*%" PRIu64 " uint]", f->limit);
		return;
	}
}

void codec_describe(FILE *out, const struct codec_struct *type)
{
	fprintf(out, "%s = {\n", type->name);
	for (size_t i = 0; i < type->fields_count; i++) {
		const struct codec_field *f = &type->fields[i];

		fprintf(out, "  ? %u: ", f->number);
		describe_kind(out, f);
		fprintf(out, ", ; %s", f->name);
		if (f->kind == FIELD_ENUM)
			fprintf(out, ", below %s", f->values);
		fputc('\n', out);
	}
	fputs("  * uint => any\n}\n", out);
}
