/* SPDX-License-Identifier: Apache-2.0 */
/* The two ways to write and read a chunk agree, also about what they refuse. */
#include "base/mem.h"
#include "base/rng.h"
#include "protocol/chunk_data.h"
#include "protocol/codec_tables.h"
#include "protocol/message.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct bytes write_by_head(const struct msg_chunk *data)
{
	uint8_t head[CHUNK_DATA_HEAD_MAX];
	size_t used = chunk_data_head(head, MESSAGE_PEER_CHUNK, &data->release, data->chunk,
				      data->data.size);
	struct bytes message = {mem_alloc(used + data->data.size), used + data->data.size};

	memcpy(message.data, head, used);
	memcpy(message.data + used, data->data.data, data->data.size);
	return message;
}

static void test_both_ways_agree(void **state)
{
	static const size_t sizes[] = {1, 255, 256, 65535, 65536, 1 << 20, LIMIT_CHUNK};
	static const uint32_t chunks[] = {0, 1, 127, 128, 65536, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(chunks); k++) {
			struct msg_chunk data = {.chunk = chunks[k],
						     .data = {mem_alloc(sizes[i]), sizes[i]}};
			struct bytes by_codec, by_head;
			struct chunk_data view;

			memset(data.release.bytes, 7, DIGEST_SIZE);
			data.data.data[sizes[i] - 1] = 9;
			assert_int_equal(
				message_encode(MESSAGE_PEER_CHUNK, &data, &by_codec, NULL), 0);
			by_head = write_by_head(&data);
			assert_int_equal(by_head.size, by_codec.size);
			assert_memory_equal(by_head.data, by_codec.data, by_codec.size);
			assert_true(message_is(by_head.data, by_head.size, MESSAGE_PEER_CHUNK));
			assert_int_equal(chunk_data_open(by_head.data, by_head.size, &view, NULL), 0);
			assert_true(digest_equal(&view.release, &data.release));
			assert_int_equal(view.chunk, chunks[k]);
			assert_int_equal(view.size, sizes[i]);
			assert_ptr_equal(view.data, by_head.data + by_head.size - sizes[i]);
			free(by_head.data);
			free(by_codec.data);
			free(data.data.data);
		}
	}
}

/* A chunk that zstd makes smaller, coded and back; one that it does not stays as it is. */
static void test_coded(void **state)
{
	struct coding *coding = coding_create();
	struct rng rng = {3};

	for (int noise = 0; noise < 2; noise++) {
		struct msg_chunk data = {.chunk = 5, .data = {mem_alloc(50000), 50000}};
		const struct chunk_data about = {.release = data.release, .chunk = 5};
		struct chunk_data view;
		struct message message;
		struct bytes bytes;
		uint8_t *owned;

		for (size_t i = 0; i < data.data.size; i++)
			data.data.data[i] = noise ? (uint8_t)rng_next(&rng) : (uint8_t)(i / 100);
		bytes = write_by_head(&data);
		chunk_data_shrink(coding, MESSAGE_PEER_CHUNK, &about, bytes.size - 50000, &bytes);
		assert_int_equal(bytes.size < 5000, !noise);
		assert_int_equal(chunk_data_open(bytes.data, bytes.size, &view, NULL), 0);
		assert_int_equal(view.coded, !noise);
		assert_int_equal(message_decode(bytes.data, bytes.size, CHANNEL_PEERS, FROM_PEER,
						&message, NULL), 0);
		assert_int_equal(((struct msg_chunk *)message.body)->coded, !noise);
		message_free(&message);
		assert_int_equal(chunk_data_restore(coding, &view, &owned), 0);
		assert_int_equal(view.size, 50000);
		assert_memory_equal(view.data, data.data.data, 50000);
		free(owned);
		free(bytes.data);
		free(data.data.data);
	}
	coding_free(coding);
}

/* Whatever arrives, the codec and the view say the same: taken or refused. */
static void test_damage(void **state)
{
	struct msg_chunk data = {.chunk = 300, .data = {mem_alloc(40), 40}};
	struct bytes message = write_by_head(&data);
	struct rng rng = {.state = 5};
	size_t refused = 0;

	for (int i = 0; i < 40000; i++) {
		size_t size = rng_below(&rng, 8) ? message.size : rng_below(&rng, message.size);
		AUTO_FREE uint8_t *exact = mem_copy(message.data, size);
		struct chunk_data view;
		struct message decoded;
		int by_view, by_codec;

		for (uint64_t n = rng_below(&rng, 3); n && size; n--)
			exact[rng_below(&rng, size)] ^= (uint8_t)(1 << rng_below(&rng, 8));
		if (!message_is(exact, size, MESSAGE_PEER_CHUNK))
			continue;
		by_view = chunk_data_open(exact, size, &view, NULL);
		by_codec = message_decode(exact, size, CHANNEL_PEERS, FROM_PEER, &decoded, NULL);
		assert_int_equal(by_view < 0, by_codec < 0);
		refused += by_view < 0;
		if (by_codec < 0)
			continue;
		assert_int_equal(view.chunk, ((struct msg_chunk *)decoded.body)->chunk);
		assert_int_equal(view.size, ((struct msg_chunk *)decoded.body)->data.size);
		message_free(&decoded);
	}
	assert_true(refused > 1000);
	free(message.data);
	free(data.data.data);
}

static void test_too_large(void **state)
{
	struct msg_chunk data = {.data = {mem_alloc(LIMIT_CHUNK), LIMIT_CHUNK}};
	struct bytes message = write_by_head(&data);
	struct chunk_data view;

	assert_int_equal(chunk_data_open(message.data, LIMIT_CHUNK_MESSAGE + 1, &view, NULL), -EMSGSIZE);
	assert_int_equal(chunk_data_open(message.data, message.size - 1, &view, NULL), -EBADMSG);
	free(message.data);
	free(data.data.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways_agree),
		cmocka_unit_test(test_coded),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
