/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of include/covey/message.h, made into data: one row for each type, with who may send
 * it where and how large it may be. A message is judged by its row before its body is looked at.
 */
#include "protocol/message.h"
#include "base/mem.h"
#include "protocol/codec_tables.h"
#include "protocol/wire.h"

#include <assert.h>

struct row {
	enum message_type type;
	const char *name;
	const struct codec_struct *body;
	enum message_sender sender;
	enum message_channel channel;
	size_t max;
};

#define X(name, of, number, sender, channel, max) \
	{MESSAGE_##name, #name, &codec_##of, sender, channel, max},
static const struct row rows[] = {MESSAGES(X)};
#undef X

static const struct row *find_row(uint64_t number)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if ((uint64_t)rows[i].type == number)
			return &rows[i];
	return NULL;
}

int message_encode(enum message_type type, const void *body, struct bytes *ret_bytes,
                   struct err *err)
{
	const struct row *row = find_row(type);
	struct wire_writer writer;
	int r;

	assert(row);
	wire_writer_init(&writer, row->max);
	msgpack_pack_array(&writer.packer, 2);
	msgpack_pack_uint64(&writer.packer, type);
	r = codec_write(row->body, body, &writer, err);
	if (r == 0)
		r = wire_writer_end(&writer, ret_bytes, err);
	wire_writer_free(&writer);
	return r < 0 ? err_prefix(err, r, "%s", row->name) : 0;
}

static int read_type(struct wire_reader *reader, uint64_t *ret_number, struct err *err)
{
	struct wire_item list, number;

	if (wire_read(reader, &list, err) < 0 || wire_read(reader, &number, err) < 0)
		return -EBADMSG;
	if (list.kind != WIRE_ARRAY || list.size != 2 || number.kind != WIRE_UINT)
		return err_set(err, -EBADMSG, "not a message: [type, body] is expected");
	*ret_number = number.number;
	return 0;
}

static int check_row(const struct row *row, size_t size, enum message_channel channel,
                     enum message_sender sender, struct err *err)
{
	if (row->channel != channel || row->sender != sender)
		return err_set(err, -EPERM, "%s: this peer may not send it on this channel",
		               row->name);
	if (size > row->max)
		return err_set(err, -EMSGSIZE, "%s: %zu bytes, at most %zu are allowed", row->name,
		               size, row->max);
	return 0;
}

static int read_body(const struct row *row, struct wire_reader *reader, void **ret_body,
                     struct err *err)
{
	AUTO_FREE void *body = mem_alloc(row->body->size);
	int r;

	r = codec_read(row->body, reader, body, err);
	if (r < 0)
		return err_prefix(err, r, "%s", row->name);
	if (reader->left) {
		codec_free(row->body, body);
		return err_set(err, -EBADMSG, "%s: %zu bytes too many", row->name, reader->left);
	}
	*ret_body = TAKE_PTR(body);
	return 0;
}

int message_decode(const void *data, size_t size, enum message_channel channel,
                   enum message_sender sender, struct message *ret_message, struct err *err)
{
	struct wire_reader reader = {data, size};
	const struct row *row;
	uint64_t number = 0;
	void *body = NULL;
	int r;

	r = read_type(&reader, &number, err);
	if (r < 0)
		return r;
	row = find_row(number);
	if (!row)
		return err_set(err, -ENOTSUP, "messages of type %llu are not known here",
		               (unsigned long long)number);
	r = check_row(row, size, channel, sender, err);
	if (r == 0)
		r = read_body(row, &reader, &body, err);
	if (r == 0)
		*ret_message = (struct message){row->type, body};
	return r;
}

/* A list of two, whose first is the type in one byte: all types are below 128. */
bool message_is(const void *data, size_t size, enum message_type type)
{
	const uint8_t *bytes = data;

	return size >= 2 && bytes[0] == 0x92 && bytes[1] == (uint8_t)type;
}

void message_free(struct message *message)
{
	const struct row *row = find_row(message->type);

	if (row && message->body) {
		codec_free(row->body, message->body);
		free(message->body);
	}
	*message = (struct message){0};
}

const char *message_name(enum message_type type)
{
	const struct row *row = find_row(type);

	return row ? row->name : "unknown";
}
