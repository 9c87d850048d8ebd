/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A msgpack value is a header and, for strings, bytes; containers are headers that announce how
 * many values follow. So a reader needs a cursor and nothing else: every count is compared with
 * the bytes that are left before anybody acts on it, because each item takes at least one byte.
 */
#include "protocol/wire.h"
#include "base/mem.h"

#include <assert.h>

static uint64_t big_endian(const uint8_t *at, size_t size)
{
	uint64_t value = 0;

	for (size_t i = 0; i < size; i++)
		value = value << 8 | at[i];
	return value;
}

static int cut_short(struct err *err)
{
	return err_set(err, -EBADMSG, "the message ends too early");
}

static int take_number(struct wire_reader *r, size_t size, uint64_t *ret_value, struct err *err)
{
	if (r->left < size)
		return cut_short(err);
	*ret_value = big_endian(r->at, size);
	r->at += size;
	r->left -= size;
	return 0;
}

static int take_bytes(struct wire_reader *r, struct wire_item *item, uint64_t size, struct err *err)
{
	if (r->left < size)
		return cut_short(err);
	item->data = r->at;
	item->size = (size_t)size;
	r->at += size;
	r->left -= (size_t)size;
	return 0;
}

static int take_count(const struct wire_reader *r, struct wire_item *item, uint64_t count,
                      struct err *err)
{
	uint64_t values = item->kind == WIRE_MAP ? 2 * count : count;

	if (values > r->left)
		return err_set(err, -EBADMSG, "%llu values are announced, %zu bytes are left",
		               (unsigned long long)values, r->left);
	item->size = (size_t)count;
	return 0;
}

static void set_signed(struct wire_item *item, uint64_t bits, size_t size)
{
	unsigned shift = (unsigned)(64 - 8 * size);
	int64_t value = (int64_t)(bits << shift) >> shift;

	item->kind = value < 0 ? WIRE_NEGATIVE : WIRE_UINT;
	item->number = (uint64_t)value;
}

static void set_real(struct wire_item *item, uint64_t bits, size_t size)
{
	uint32_t bits32 = (uint32_t)bits;
	float real32;

	item->kind = WIRE_F64;
	if (size == 8) {
		memcpy(&item->real, &bits, sizeof(bits));
		return;
	}
	memcpy(&real32, &bits32, sizeof(bits32));
	item->real = (double)real32;
}

/* 0xc0..0xdf: each has its own form; `size` is the width of the number behind the first byte. */
static int read_long(struct wire_reader *r, uint8_t head, struct wire_item *item, struct err *err)
{
	/* 0xff: no such header */
	static const uint8_t widths[32] = {0, 0xff, 0, 0, 1, 2, 4, 1, 2, 4, 4, 8, 1, 2, 4, 8,
	                                   1, 2,    4, 8, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4};
	size_t size = widths[head - 0xc0];
	uint64_t value = 0;

	if (size == 0xff)
		return err_set(err, -EBADMSG, "0x%02x begins no msgpack value", head);
	if (take_number(r, size, &value, err) < 0)
		return -EBADMSG;
	switch (head) {
	case 0xc0:
		item->kind = WIRE_NIL;
		return 0;
	case 0xc2:
	case 0xc3:
		item->kind = WIRE_BOOL;
		item->number = head & 1;
		return 0;
	case 0xc4:
	case 0xc5:
	case 0xc6:
		item->kind = WIRE_BIN;
		return take_bytes(r, item, value, err);
	case 0xc7:
	case 0xc8:
	case 0xc9:
		item->kind = WIRE_EXT;
		return take_bytes(r, item, value + 1, err);
	case 0xca:
	case 0xcb:
		set_real(item, value, size);
		return 0;
	case 0xcc:
	case 0xcd:
	case 0xce:
	case 0xcf:
		item->kind = WIRE_UINT;
		item->number = value;
		return 0;
	case 0xd0:
	case 0xd1:
	case 0xd2:
	case 0xd3:
		set_signed(item, value, size);
		return 0;
	case 0xd4:
	case 0xd5:
	case 0xd6:
	case 0xd7:
	case 0xd8:
		item->kind = WIRE_EXT;
		return take_bytes(r, item, (UINT64_C(1) << (head - 0xd4)) + 1, err);
	case 0xd9:
	case 0xda:
	case 0xdb:
		item->kind = WIRE_STR;
		return take_bytes(r, item, value, err);
	default:
		item->kind = head < 0xde ? WIRE_ARRAY : WIRE_MAP;
		return take_count(r, item, value, err);
	}
}

static int read_after(struct wire_reader *r, uint8_t head, struct wire_item *item, struct err *err)
{
	if (head >= 0xc0 && head < 0xe0)
		return read_long(r, head, item, err);
	if (head >= 0xa0 && head < 0xc0) {
		item->kind = WIRE_STR;
		return take_bytes(r, item, head & 31, err);
	}
	if (head >= 0x80 && head < 0xa0) {
		item->kind = head < 0x90 ? WIRE_MAP : WIRE_ARRAY;
		return take_count(r, item, head & 15, err);
	}
	set_signed(item, head, 1); /* the number itself, -32 to 127 */
	return 0;
}

int wire_read(struct wire_reader *reader, struct wire_item *ret_item, struct err *err)
{
	uint8_t head;

	*ret_item = (struct wire_item){0};
	if (!reader->left)
		return cut_short(err);
	head = *reader->at++;
	reader->left--;
	return read_after(reader, head, ret_item, err);
}

int wire_skip(struct wire_reader *reader, struct err *err)
{
	uint64_t pending[WIRE_DEPTH_MAX] = {1};
	struct wire_item item;
	size_t depth = 0;

	for (;;) {
		while (!pending[depth]) {
			if (!depth)
				return 0;
			depth--;
		}
		pending[depth]--;
		if (wire_read(reader, &item, err) < 0)
			return -EBADMSG;
		if (item.kind != WIRE_ARRAY && item.kind != WIRE_MAP)
			continue;
		if (++depth == WIRE_DEPTH_MAX)
			return err_set(err, -EBADMSG, "values nest deeper than %d", WIRE_DEPTH_MAX);
		pending[depth] = item.kind == WIRE_MAP ? 2 * (uint64_t)item.size : item.size;
	}
}

/* msgpack-c calls this with each piece. */
static int write_piece(void *context, const char *data, size_t size)
{
	struct wire_writer *w = context;

	if (size > w->max - w->size) {
		w->full = true;
		return -1;
	}
	if (size > w->cap - w->size) {
		size_t need = w->size + size;
		size_t cap = w->cap < 128 ? 256 : 2 * w->cap;

		cap = cap < need ? need : cap;
		w->cap = cap > w->max ? w->max : cap;
		w->data = mem_resize(w->data, w->cap, 1);
	}
	if (size)
		memcpy(w->data + w->size, data, size);
	w->size += size;
	return 0;
}

void wire_writer_init(struct wire_writer *writer, size_t max)
{
	*writer = (struct wire_writer){.max = max};
	msgpack_packer_init(&writer->packer, writer, write_piece);
}

void wire_writer_free(struct wire_writer *writer)
{
	free(writer->data);
	*writer = (struct wire_writer){0};
}

int wire_writer_end(struct wire_writer *writer, struct bytes *ret_bytes, struct err *err)
{
	size_t max = writer->max;

	if (writer->full) {
		wire_writer_free(writer);
		return err_set(err, -EMSGSIZE, "the message is larger than %zu bytes", max);
	}
	*ret_bytes = (struct bytes){TAKE_PTR(writer->data), writer->size};
	wire_writer_free(writer);
	return 0;
}

/* Bytes of the UTF-8 character at text, or 0 where there is none. */
static size_t character_size(const uint8_t *text, size_t left)
{
	uint8_t first = text[0], low = 0x80, high = 0xbf;
	size_t size;

	if (first < 0x80)
		return first ? 1 : 0;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	if (size > left)
		return 0;
	/* RFC 3629, section 4: only the second byte has narrower ranges. */
	if (first == 0xe0)
		low = 0xa0;
	else if (first == 0xed)
		high = 0x9f;
	else if (first == 0xf0)
		low = 0x90;
	else if (first == 0xf4)
		high = 0x8f;
	if (text[1] < low || text[1] > high)
		return 0;
	for (size_t i = 2; i < size; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	return size;
}

bool wire_text_is_valid(const char *text, size_t size)
{
	for (size_t i = 0, step; i < size; i += step) {
		step = character_size((const uint8_t *)text + i, size - i);
		if (!step)
			return false;
	}
	return true;
}

void wire_text_clean(char *dst, const char *text, size_t size)
{
	for (size_t i = 0, step; i < size; i += step) {
		step = character_size((const uint8_t *)text + i, size - i);
		if (step)
			memmove(dst + i, text + i, step);
		else
			dst[i] = '?';
		step = step ? step : 1;
	}
}
