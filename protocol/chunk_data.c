/* SPDX-License-Identifier: Apache-2.0 */
/*
 * [type, {1: release, 2: chunk, 3: data, 4: coded}]: the same bytes that the codec would write, in two
 * halves. Of a plain chunk the data is the last field, so its end is the message's end. A field that
 * is zero is not sent: chunk 0 has no field 2.
 */
#include "protocol/chunk_data.h"
#include "base/mem.h"
#include "protocol/wire.h"

#include <assert.h>

enum { FIELD_RELEASE = 1, FIELD_CHUNK, FIELD_DATA, FIELD_CODED };

static size_t write_head(uint8_t dst[CHUNK_DATA_HEAD_MAX], enum message_type type,
			 const struct chunk_data *about)
{
	struct wire_writer writer;
	size_t used;

	assert(type == MESSAGE_PEER_CHUNK || type == MESSAGE_SEED_CHUNK);
	assert(about->size > 0 && about->size <= LIMIT_CHUNK);
	wire_writer_init(&writer, CHUNK_DATA_HEAD_MAX);
	msgpack_pack_array(&writer.packer, 2);
	msgpack_pack_uint64(&writer.packer, type);
	msgpack_pack_map(&writer.packer, 2u + (about->chunk != 0) + about->coded);
	msgpack_pack_uint64(&writer.packer, FIELD_RELEASE);
	msgpack_pack_bin(&writer.packer, DIGEST_SIZE);
	msgpack_pack_bin_body(&writer.packer, about->release.bytes, DIGEST_SIZE);
	if (about->chunk) {
		msgpack_pack_uint64(&writer.packer, FIELD_CHUNK);
		msgpack_pack_uint64(&writer.packer, about->chunk);
	}
	msgpack_pack_uint64(&writer.packer, FIELD_DATA);
	msgpack_pack_bin(&writer.packer, about->size);
	assert(!writer.full);
	used = writer.size;
	memcpy(dst, writer.data, used);
	wire_writer_free(&writer);
	return used;
}

size_t chunk_data_head(uint8_t dst[CHUNK_DATA_HEAD_MAX], enum message_type type,
		       const struct digest *release, uint32_t chunk, size_t size)
{
	return write_head(dst, type,
			  &(struct chunk_data){.release = *release, .chunk = chunk, .size = size});
}

/* ---- coded ---- */

void chunk_data_shrink(struct coding *coding, enum message_type type,
		       const struct chunk_data *about, size_t head, struct bytes *message)
{
	static const uint8_t tail[] = {FIELD_CODED, 0xc3}; /* true */
	const struct coding_chunk chunk = {.data = message->data + head,
					   .size = message->size - head};
	struct chunk_data coded = *about;
	uint8_t first[CHUNK_DATA_HEAD_MAX], *data;
	size_t used;

	if (coding_is_noise(coding, chunk.data, chunk.size))
		return;
	data = mem_resize(NULL, CHUNK_DATA_HEAD_MAX + chunk.size + CODING_HEAD, 1);
	coded.coded = true;
	coded.size = coding_encode(coding, &chunk, data + CHUNK_DATA_HEAD_MAX);
	if (coded.size + sizeof(tail) >= chunk.size) {
		free(data);
		return;
	}
	used = write_head(first, type, &coded);
	memmove(data + used, data + CHUNK_DATA_HEAD_MAX, coded.size);
	memcpy(data, first, used);
	memcpy(data + used + coded.size, tail, sizeof(tail));
	free(message->data);
	*message = (struct bytes){data, used + coded.size + sizeof(tail)};
}

int chunk_data_restore(struct coding *coding, struct chunk_data *data, uint8_t **ret_owned)
{
	AUTO_FREE uint8_t *plain = NULL;
	size_t size = 0;
	int r;

	*ret_owned = NULL;
	if (!data->coded)
		return 0;
	r = coding_size(data->data, data->size, LIMIT_CHUNK, &size);
	if (r < 0)
		return r;
	plain = mem_resize(NULL, size, 1);
	r = coding_decode(coding, data->data, data->size, NULL, 0, plain);
	if (r < 0)
		return r;
	data->data = *ret_owned = TAKE_PTR(plain);
	data->size = size;
	data->coded = false;
	return 0;
}

/* ---- reading ---- */

static int set_field(struct chunk_data *data, uint64_t field, const struct wire_item *value,
		     struct err *err)
{
	if (field == FIELD_RELEASE && value->kind == WIRE_BIN && value->size == DIGEST_SIZE) {
		memcpy(data->release.bytes, value->data, DIGEST_SIZE);
	} else if (field == FIELD_CHUNK && value->kind == WIRE_UINT &&
		   value->number <= UINT32_MAX) {
		data->chunk = (uint32_t)value->number;
	} else if (field == FIELD_DATA && value->kind == WIRE_BIN) {
		data->data = value->data;
		data->size = value->size;
	} else if (field == FIELD_CODED && value->kind == WIRE_BOOL) {
		data->coded = value->number != 0;
	} else {
		return err_set(err, -EBADMSG, "chunk: field %llu is not what it should be",
			       (unsigned long long)field);
	}
	return data->size > LIMIT_CHUNK
		       ? err_set(err, -EMSGSIZE, "chunk: more than a chunk may have")
		       : 0;
}

static int read_field(struct wire_reader *reader, uint64_t *last, struct chunk_data *data,
		      struct err *err)
{
	struct wire_item number, value;

	if (wire_read(reader, &number, err) < 0)
		return -EBADMSG;
	if (number.kind != WIRE_UINT || number.number <= *last)
		return err_set(err, -EBADMSG, "chunk: field numbers must rise");
	*last = number.number;
	if (number.number > FIELD_CODED) /* of a newer peer */
		return wire_skip(reader, err);
	if (wire_read(reader, &value, err) < 0)
		return -EBADMSG;
	return set_field(data, number.number, &value, err);
}

int chunk_data_open(const void *message, size_t size, struct chunk_data *ret_data, struct err *err)
{
	struct wire_reader reader = {message, size};
	struct chunk_data data = {0};
	struct wire_item list, type, map;
	uint64_t last = 0;

	if (size > LIMIT_CHUNK_MESSAGE)
		return err_set(err, -EMSGSIZE, "chunk: %zu bytes", size);
	if (wire_read(&reader, &list, err) < 0 || wire_read(&reader, &type, err) < 0 ||
	    wire_read(&reader, &map, err) < 0)
		return -EBADMSG;
	if (list.kind != WIRE_ARRAY || list.size != 2 || type.kind != WIRE_UINT ||
	    (type.number != MESSAGE_PEER_CHUNK && type.number != MESSAGE_SEED_CHUNK) ||
	    map.kind != WIRE_MAP)
		return err_set(err, -EBADMSG, "not a chunk");
	for (size_t i = 0; i < map.size; i++) {
		int r = read_field(&reader, &last, &data, err);

		if (r < 0)
			return r;
	}
	if (reader.left)
		return err_set(err, -EBADMSG, "chunk: %zu bytes too many", reader.left);
	*ret_data = data;
	return 0;
}
