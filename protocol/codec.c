/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One interpreter for all tables. Encoding and decoding are walks over the fields of a struct, with
 * one switch over the kinds of field; structs inside structs are the same walk again, as deep as
 * the tables nest and never as deep as a message asks for.
 *
 * Decoding fills a zeroed struct in place and lets codec_free() undo what was built when it fails:
 * whatever a half-filled struct points to is either NULL or complete.
 */
#include "protocol/codec.h"
#include "base/mem.h"
#include "protocol/codec_access.h"
#include "protocol/wire.h"

#include <inttypes.h>
#include <math.h>

static bool all_zero(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			return false;
	return true;
}

static bool struct_is_zero(const struct codec_struct *type, const void *object);

static bool field_is_zero(const void *object, const struct codec_field *f)
{
	size_t count;
	char *first;

	switch (f->kind) {
	case FIELD_U64:
	case FIELD_U32:
	case FIELD_BOOL:
	case FIELD_ENUM:
		return !number_of(object, f);
	case FIELD_F64: /* by its bits: -0.0 is sent */
		return all_zero(member_at(object, f), sizeof(double));
	case FIELD_STR:
		return !*(char *)member_at(object, f);
	case FIELD_TEXT:
		return !pointer_of(object, f);
	case FIELD_BYTES:
		return !((struct bytes *)member_at(object, f))->size;
	case FIELD_FIXED:
		return all_zero(member_at(object, f), (size_t)f->limit);
	case FIELD_STRUCT:
	case FIELD_ARRAY:
		count = items_of(object, f, &first);
		for (size_t i = 0; i < count; i++)
			if (!struct_is_zero(f->type, first + i * f->type->size))
				return false;
		return true;
	case FIELD_LIST:
	case FIELD_NUMBERS:
		return !items_of(object, f, &first);
	}
	return true;
}

static bool struct_is_zero(const struct codec_struct *type, const void *object)
{
	for (size_t i = 0; i < type->fields_count; i++)
		if (!field_is_zero(object, &type->fields[i]))
			return false;
	return true;
}

/* ---- encode ---- */

static int write_bytes(const void *data, size_t size, uint64_t limit, struct wire_writer *w,
                       struct err *err)
{
	if (size > limit)
		return err_set(err, -EINVAL, "%zu bytes, at most %" PRIu64 " are allowed", size,
		               limit);
	msgpack_pack_bin(&w->packer, size);
	msgpack_pack_bin_body(&w->packer, data, size);
	return 0;
}

static void write_str(const char *text, size_t size, struct wire_writer *w)
{
	msgpack_pack_str(&w->packer, size);
	msgpack_pack_str_body(&w->packer, text, size);
}

static int write_text(const char *text, const struct codec_field *f, struct wire_writer *w,
                      struct err *err)
{
	size_t size = strnlen(text, (size_t)f->limit + 1);
	AUTO_FREE char *clean = NULL;

	if (f->prose && f->kind == FIELD_TEXT && size > f->limit) {
		size = (size_t)f->limit;
		text += strlen(text) - size;
	}
	if (size > f->limit)
		return err_set(err, -EINVAL, "the text is longer than %" PRIu64 " bytes", f->limit);
	if (!wire_text_is_valid(text, size)) {
		if (!f->prose)
			return err_set(err, -EINVAL, "the text is not UTF-8");
		clean = mem_alloc(size);
		wire_text_clean(clean, text, size);
		text = clean;
	}
	write_str(text, size, w);
	return 0;
}

static int write_items(const void *object, const struct codec_field *f, struct wire_writer *w,
                       struct err *err)
{
	char *first;
	size_t count = items_of(object, f, &first);
	int r;

	if (count > f->limit)
		return err_set(err, -EINVAL, "%zu items, at most %" PRIu64 " are allowed", count,
		               f->limit);
	msgpack_pack_array(&w->packer, count);
	for (size_t i = 0; i < count && !w->full; i++) {
		if (f->kind == FIELD_NUMBERS) {
			msgpack_pack_uint64(&w->packer, ((const uint64_t *)(void *)first)[i]);
			continue;
		}
		r = codec_write(f->type, first + i * f->type->size, w, err);
		if (r < 0)
			return err_prefix(err, r, "item %zu", i);
	}
	return 0;
}

static int write_field(const void *object, const struct codec_field *f, struct wire_writer *w,
                       struct err *err)
{
	const struct bytes *bytes;
	double real;

	switch (f->kind) {
	case FIELD_U64:
	case FIELD_U32:
		msgpack_pack_uint64(&w->packer, number_of(object, f));
		return 0;
	case FIELD_BOOL:
		msgpack_pack_true(&w->packer);
		return 0;
	case FIELD_ENUM:
		if (number_of(object, f) >= f->limit)
			return err_set(err, -EINVAL, "%" PRIu64 " is not one of its values",
			               number_of(object, f));
		msgpack_pack_uint64(&w->packer, number_of(object, f));
		return 0;
	case FIELD_F64:
		real = *(double *)member_at(object, f);
		if (!isfinite(real))
			return err_set(err, -EINVAL, "not a finite number");
		msgpack_pack_double(&w->packer, real);
		return 0;
	case FIELD_STR:
		return write_text(member_at(object, f), f, w, err);
	case FIELD_TEXT:
		return write_text(pointer_of(object, f), f, w, err);
	case FIELD_BYTES:
		bytes = member_at(object, f);
		return write_bytes(bytes->data, bytes->size, f->limit, w, err);
	case FIELD_FIXED:
		return write_bytes(member_at(object, f), (size_t)f->limit, f->limit, w, err);
	case FIELD_STRUCT:
		return codec_write(f->type, member_at(object, f), w, err);
	case FIELD_ARRAY:
	case FIELD_LIST:
	case FIELD_NUMBERS:
		return write_items(object, f, w, err);
	}
	return -EINVAL;
}

int codec_write(const struct codec_struct *type, const void *object, struct wire_writer *writer,
                struct err *err)
{
	size_t count = 0;
	int r;

	for (size_t i = 0; i < type->fields_count; i++)
		count += !field_is_zero(object, &type->fields[i]);
	msgpack_pack_map(&writer->packer, count);
	for (size_t i = 0; i < type->fields_count; i++) {
		const struct codec_field *f = &type->fields[i];

		if (field_is_zero(object, f))
			continue;
		msgpack_pack_uint8(&writer->packer, f->number);
		r = write_field(object, f, writer, err);
		if (r < 0)
			return err_prefix(err, r, "%s", f->name);
	}
	return 0;
}

int codec_encode(const struct codec_struct *type, const void *object, size_t max,
                 struct bytes *ret_bytes, struct err *err)
{
	struct wire_writer writer;
	int r;

	wire_writer_init(&writer, max);
	r = codec_write(type, object, &writer, err);
	if (r == 0)
		r = wire_writer_end(&writer, ret_bytes, err);
	wire_writer_free(&writer);
	return r < 0 ? err_prefix(err, r, "%s", type->name) : 0;
}

/* ---- decode ---- */

static int expect(const struct wire_item *item, enum wire_kind kind, struct err *err)
{
	static const char *const names[] = {
	    [WIRE_NIL] = "nil",       [WIRE_BOOL] = "a bool",
	    [WIRE_UINT] = "a number", [WIRE_NEGATIVE] = "a negative number",
	    [WIRE_F64] = "a float",   [WIRE_STR] = "a string",
	    [WIRE_BIN] = "bytes",     [WIRE_EXT] = "an extension",
	    [WIRE_ARRAY] = "a list",  [WIRE_MAP] = "a map",
	};

	if (item->kind == kind)
		return 0;
	return err_set(err, -EBADMSG, "%s instead of %s", names[item->kind], names[kind]);
}

static int too_large(struct err *err, uint64_t size, uint64_t limit)
{
	return err_set(err, -EMSGSIZE, "%" PRIu64 ", at most %" PRIu64 " is allowed", size, limit);
}

static int read_number(struct wire_item *item, const struct codec_field *f, void *object,
                       struct err *err)
{
	int r = expect(item, f->kind == FIELD_BOOL ? WIRE_BOOL : WIRE_UINT, err);

	if (r < 0)
		return r;
	if (f->kind == FIELD_ENUM && item->number >= f->limit)
		return err_set(err, -EBADMSG, "%" PRIu64 " is not one of its values", item->number);
	if (item->number > f->limit)
		return too_large(err, item->number, f->limit);
	set_number(object, f, item->number);
	return 0;
}

static int read_real(struct wire_item *item, const struct codec_field *f, void *object,
                     struct err *err)
{
	int r = expect(item, WIRE_F64, err);

	if (r < 0)
		return r;
	if (!isfinite(item->real))
		return err_set(err, -EBADMSG, "not a finite number");
	*(double *)member_at(object, f) = item->real;
	return 0;
}

static int read_text(struct wire_item *item, const struct codec_field *f, void *object,
                     struct err *err)
{
	int r = expect(item, WIRE_STR, err);
	char *text;

	if (r < 0)
		return r;
	if (item->size > f->limit)
		return too_large(err, item->size, f->limit);
	if (!wire_text_is_valid((const char *)item->data, item->size))
		return err_set(err, -EBADMSG, "the text is not UTF-8 or has a NUL");
	text = f->kind == FIELD_TEXT ? mem_alloc(item->size + 1) : member_at(object, f);
	if (f->kind == FIELD_TEXT)
		set_pointer(object, f, text);
	memcpy(text, item->data, item->size);
	return 0;
}

static int read_bytes(struct wire_item *item, const struct codec_field *f, void *object,
                      struct err *err)
{
	int r = expect(item, WIRE_BIN, err);
	struct bytes *bytes;

	if (r < 0)
		return r;
	if (item->size > f->limit)
		return too_large(err, item->size, f->limit);
	if (f->kind == FIELD_FIXED) {
		if (item->size != f->limit)
			return err_set(err, -EBADMSG, "%zu bytes instead of %" PRIu64, item->size,
			               f->limit);
		memcpy(member_at(object, f), item->data, item->size);
		return 0;
	}
	bytes = member_at(object, f);
	if (item->size)
		*bytes = (struct bytes){mem_copy(item->data, item->size), item->size};
	return 0;
}

/* The rest of a struct, whose map header was read. *object is zero; the caller frees it. */
static int read_map(const struct codec_struct *type, struct wire_reader *reader,
                    const struct wire_item *map, void *object, struct err *err);

static int read_struct(const struct codec_struct *type, struct wire_reader *reader, void *object,
                       struct err *err)
{
	struct wire_item map;
	int r;

	r = wire_read(reader, &map, err);
	if (r == 0)
		r = expect(&map, WIRE_MAP, err);
	return r < 0 ? r : read_map(type, reader, &map, object, err);
}

static int read_item_number(struct wire_reader *reader, uint64_t *ret_number, struct err *err)
{
	struct wire_item item;
	int r = wire_read(reader, &item, err);

	if (r == 0)
		r = expect(&item, WIRE_UINT, err);
	if (r == 0)
		*ret_number = item.number;
	return r;
}

/* The count was compared with the bytes that are left, so memory is at most the struct's size for
 * each byte of input and never more than the limit says. */
static int read_items(struct wire_reader *reader, const struct wire_item *item,
                      const struct codec_field *f, void *object, struct err *err)
{
	int r = expect(item, WIRE_ARRAY, err);
	char *first;

	if (r < 0)
		return r;
	if (item->size > f->limit)
		return too_large(err, item->size, f->limit);
	if (f->kind == FIELD_ARRAY && item->size != f->limit)
		return err_set(err, -EBADMSG, "%zu items instead of %" PRIu64, item->size,
		               f->limit);
	if (f->count_offset && item->size)
		set_list(object, f, mem_array(item->size, item_size(f)), item->size);
	items_of(object, f, &first);
	for (size_t i = 0; i < item->size; i++) {
		if (f->kind == FIELD_NUMBERS)
			r = read_item_number(reader, &((uint64_t *)(void *)first)[i], err);
		else
			r = read_struct(f->type, reader, first + i * f->type->size, err);
		if (r < 0)
			return err_prefix(err, r, "item %zu", i);
	}
	return 0;
}

static int read_field(struct wire_reader *reader, const struct codec_field *f, void *object,
                      struct err *err)
{
	struct wire_item item;
	int r = wire_read(reader, &item, err);

	if (r < 0)
		return r;
	switch (f->kind) {
	case FIELD_U64:
	case FIELD_U32:
	case FIELD_BOOL:
	case FIELD_ENUM:
		return read_number(&item, f, object, err);
	case FIELD_F64:
		return read_real(&item, f, object, err);
	case FIELD_STR:
	case FIELD_TEXT:
		return read_text(&item, f, object, err);
	case FIELD_BYTES:
	case FIELD_FIXED:
		return read_bytes(&item, f, object, err);
	case FIELD_STRUCT:
		r = expect(&item, WIRE_MAP, err);
		return r < 0 ? r : read_map(f->type, reader, &item, member_at(object, f), err);
	case FIELD_ARRAY:
	case FIELD_LIST:
	case FIELD_NUMBERS:
		return read_items(reader, &item, f, object, err);
	}
	return -EBADMSG;
}

/* Numbers rise on the wire as in the table: none comes twice, and one pass finds each field. */
static int read_map(const struct codec_struct *type, struct wire_reader *reader,
                    const struct wire_item *map, void *object, struct err *err)
{
	const struct codec_field *f = type->fields, *end = f + type->fields_count;
	struct wire_item key;
	uint64_t last = 0;
	int r;

	for (size_t i = 0; i < map->size; i++) {
		r = wire_read(reader, &key, err);
		if (r == 0)
			r = expect(&key, WIRE_UINT, err);
		if (r < 0)
			return r;
		if (key.number <= last)
			return err_set(err, -EBADMSG, "the field numbers do not rise");
		last = key.number;
		while (f < end && f->number < last)
			f++;
		if (f < end && f->number == last) {
			r = read_field(reader, f, object, err);
			if (r < 0)
				return err_prefix(err, r, "%s", f->name);
		} else if (wire_skip(reader, err) < 0) {
			return err_prefix(err, -EBADMSG, "field %" PRIu64, last);
		}
	}
	return 0;
}

int codec_read(const struct codec_struct *type, struct wire_reader *reader, void *object,
               struct err *err)
{
	int r;

	memset(object, 0, type->size);
	r = read_struct(type, reader, object, err);
	if (r < 0)
		codec_free(type, object);
	return r;
}

int codec_decode(const struct codec_struct *type, const void *data, size_t size, void *object,
                 struct err *err)
{
	struct wire_reader reader = {data, size};
	int r;

	r = codec_read(type, &reader, object, err);
	if (r == 0 && reader.left) {
		codec_free(type, object);
		r = err_set(err, -EBADMSG, "%zu bytes too many", reader.left);
	}
	return r < 0 ? err_prefix(err, r, "%s", type->name) : 0;
}
