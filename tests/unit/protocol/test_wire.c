/* SPDX-License-Identifier: Apache-2.0 */
/* The reader against what msgpack-c writes, against every short input, and against bombs. */
#include "base/mem.h"
#include "base/rng.h"
#include "protocol/wire.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct bytes finish(struct wire_writer *writer)
{
	struct bytes bytes = {0};

	assert_int_equal(wire_writer_end(writer, &bytes, NULL), 0);
	return bytes;
}

static struct wire_item only_item(struct bytes bytes)
{
	struct wire_reader reader = {bytes.data, bytes.size};
	struct wire_item item;
	struct err err;

	if (wire_read(&reader, &item, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(reader.left, 0);
	return item;
}

static void test_numbers(void **state)
{
	for (unsigned shift = 0; shift < 64; shift++) {
		for (int64_t delta = -2; delta <= 2; delta++) {
			uint64_t value = (UINT64_C(1) << shift) + (uint64_t)delta;
			struct wire_writer w;
			struct wire_item item;
			struct bytes bytes;

			wire_writer_init(&w, 16);
			msgpack_pack_uint64(&w.packer, value);
			bytes = finish(&w);
			item = only_item(bytes);
			assert_int_equal(item.kind, WIRE_UINT);
			assert_true(item.number == value);
			free(bytes.data);
			wire_writer_init(&w, 16);
			msgpack_pack_int64(&w.packer, (int64_t)value);
			bytes = finish(&w);
			item = only_item(bytes);
			assert_int_equal(item.kind, (int64_t)value < 0 ? WIRE_NEGATIVE : WIRE_UINT);
			assert_true(item.number == value);
			free(bytes.data);
		}
	}
}

static void test_strings(void **state)
{
	static const size_t sizes[] = {0, 1, 31, 32, 255, 256, 65535, 65536, 100000};
	AUTO_FREE char *data = mem_alloc(100000);

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (int kind = 0; kind < 3; kind++) {
			struct wire_writer w;
			struct wire_item item;
			struct bytes bytes;

			wire_writer_init(&w, 200000);
			if (kind == 0) {
				msgpack_pack_str(&w.packer, sizes[i]);
				msgpack_pack_str_body(&w.packer, data, sizes[i]);
			} else if (kind == 1) {
				msgpack_pack_bin(&w.packer, sizes[i]);
				msgpack_pack_bin_body(&w.packer, data, sizes[i]);
			} else {
				msgpack_pack_ext(&w.packer, sizes[i], 5);
				msgpack_pack_ext_body(&w.packer, data, sizes[i]);
			}
			bytes = finish(&w);
			item = only_item(bytes);
			assert_int_equal(item.kind, WIRE_STR + kind);
			assert_int_equal(item.size, sizes[i] + (kind == 2));
			free(bytes.data);
		}
	}
}

static void test_reals_and_words(void **state)
{
	static const double reals[] = {0, -0.0, 1.5, 1e300, -1e-300};
	struct wire_writer w;
	struct wire_item item;
	struct bytes bytes;

	for (size_t i = 0; i < ARRAY_SIZE(reals); i++) {
		wire_writer_init(&w, 16);
		msgpack_pack_double(&w.packer, reals[i]);
		bytes = finish(&w);
		item = only_item(bytes);
		assert_int_equal(item.kind, WIRE_F64);
		assert_memory_equal(&item.real, &reals[i], sizeof(double));
		free(bytes.data);
	}
	item = only_item((struct bytes){(uint8_t[]){0xca, 0x3f, 0xc0, 0, 0}, 5});
	assert_true(item.kind == WIRE_F64 && item.real == 1.5);
	assert_int_equal(only_item((struct bytes){(uint8_t[]){0xc0}, 1}).kind, WIRE_NIL);
	item = only_item((struct bytes){(uint8_t[]){0xc3}, 1});
	assert_true(item.kind == WIRE_BOOL && item.number == 1);
	item = only_item((struct bytes){(uint8_t[]){0xc2}, 1});
	assert_true(item.kind == WIRE_BOOL && item.number == 0);
}

/* Writes one random value and everything in it. */
static void pack_any(struct rng *rng, msgpack_packer *pk, unsigned depth)
{
	static const char zeros[70000];
	size_t size = (size_t)(rng_next(rng) & 0xffff) >> rng_below(rng, 17);
	uint64_t what = rng_below(rng, depth < 6 ? 8 : 6);

	switch (what) {
	case 0:
		msgpack_pack_uint64(pk, rng_next(rng) >> rng_below(rng, 64));
		return;
	case 1:
		msgpack_pack_int64(pk, -(int64_t)(rng_next(rng) >> (1 + rng_below(rng, 63))));
		return;
	case 2:
		msgpack_pack_double(pk, rng_unit(rng));
		return;
	case 3:
		msgpack_pack_str(pk, size);
		msgpack_pack_str_body(pk, zeros, size);
		return;
	case 4:
		msgpack_pack_ext(pk, size % 20, 1);
		msgpack_pack_ext_body(pk, zeros, size % 20);
		return;
	case 5:
		msgpack_pack_nil(pk);
		return;
	default:
		size = (size_t)rng_below(rng, depth ? 4 : 40);
		if (what == 6)
			msgpack_pack_array(pk, size);
		else
			msgpack_pack_map(pk, size);
		for (size_t i = 0; i < (what - 5) * size; i++)
			pack_any(rng, pk, depth + 1);
	}
}

static void test_skip_whole_values(void **state)
{
	struct rng rng = {.state = 7};

	for (int i = 0; i < 300; i++) {
		struct wire_reader reader;
		struct wire_writer w;
		struct bytes bytes;

		wire_writer_init(&w, 64 << 20);
		pack_any(&rng, &w.packer, 0);
		msgpack_pack_uint64(&w.packer, 42);
		bytes = finish(&w);
		reader = (struct wire_reader){bytes.data, bytes.size};
		assert_int_equal(wire_skip(&reader, NULL), 0);
		assert_int_equal(reader.left, 1);
		/* Without its last byte the value is not whole. */
		reader = (struct wire_reader){bytes.data, bytes.size - 2};
		assert_int_equal(wire_skip(&reader, NULL), -EBADMSG);
		free(bytes.data);
	}
}

/* Every input of up to three bytes, and heads of longer ones: no reading beyond, no crash. */
static void test_all_short_inputs(void **state)
{
	for (uint32_t value = 0; value < 1 << 24; value += value < 1 << 16 ? 1 : 251) {
		for (size_t size = 0; size <= 3; size++) {
			uint8_t *data =
			    malloc(size ? size : 1); /* exact: a sanitizer sees overruns */
			struct wire_reader reader = {data, size};
			const uint8_t bytes[3] = {(uint8_t)value, (uint8_t)(value >> 8),
			                          (uint8_t)(value >> 16)};
			int r;

			memcpy(data, bytes, size);
			r = wire_skip(&reader, NULL);
			assert_true(r == 0 || r == -EBADMSG);
			assert_true(reader.left <= size);
			free(data);
		}
	}
}

static void test_bombs(void **state)
{
	static const uint8_t counts[][5] = {
	    {0xdd, 0xff, 0xff, 0xff, 0xff}, /* array of 4 billion */
	    {0xdf, 0xff, 0xff, 0xff, 0xff}, /* map */
	    {0xdb, 0xff, 0xff, 0xff, 0xff}, /* string */
	    {0xc6, 0xff, 0xff, 0xff, 0xff}, /* bytes */
	    {0xc9, 0xff, 0xff, 0xff, 0xff}, /* extension */
	};
	static uint8_t deep[100000];
	struct wire_reader reader;
	struct wire_item item;
	struct err err = {0};

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		reader = (struct wire_reader){counts[i], 5};
		assert_int_equal(wire_read(&reader, &item, &err), -EBADMSG);
	}
	memset(deep, 0x91, sizeof(deep)); /* array of one, of one, ... */
	reader = (struct wire_reader){deep, sizeof(deep)};
	assert_int_equal(wire_skip(&reader, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "nest"));
	memset(deep, 0x81, sizeof(deep));
	reader = (struct wire_reader){deep, sizeof(deep)};
	assert_int_equal(wire_skip(&reader, &err), -EBADMSG);
	/* As deep as is allowed. */
	memset(deep, 0x91, WIRE_DEPTH_MAX - 1);
	deep[WIRE_DEPTH_MAX - 1] = 0xc0;
	reader = (struct wire_reader){deep, WIRE_DEPTH_MAX};
	assert_int_equal(wire_skip(&reader, &err), 0);
	assert_int_equal(reader.left, 0);
}

static void test_writer_is_bounded(void **state)
{
	static const char zeros[1000];
	struct wire_writer w;
	struct bytes bytes = {0};

	wire_writer_init(&w, 100);
	msgpack_pack_bin(&w.packer, sizeof(zeros));
	msgpack_pack_bin_body(&w.packer, zeros, sizeof(zeros));
	msgpack_pack_nil(&w.packer); /* would fit, but comes after what did not */
	assert_true(w.full);
	assert_true(w.cap <= 100);
	assert_int_equal(wire_writer_end(&w, &bytes, NULL), -EMSGSIZE);
	assert_null(bytes.data);
}

static void test_utf8(void **state)
{
	static const char *const good[] = {"",
	                                   "abc",
	                                   "\xc2\x80",
	                                   "\xdf\xbf",
	                                   "\xe0\xa0\x80",
	                                   "\xed\x9f\xbf",
	                                   "\xee\x80\x80",
	                                   "\xf0\x90\x80\x80",
	                                   "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x80",
	                                  "\xc0\x80",
	                                  "\xc1\xbf",
	                                  "\xc3",
	                                  "\xe0\x9f\xbf",
	                                  "\xed\xa0\x80",
	                                  "\xe2\x82",
	                                  "\xf0\x8f\xbf\xbf",
	                                  "\xf4\x90\x80\x80",
	                                  "\xf5\x80\x80\x80",
	                                  "\xff",
	                                  "a\xc3(",
	                                  "\xe2(\xa1"};
	char clean[8] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(wire_text_is_valid(good[i], strlen(good[i])));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_false(wire_text_is_valid(bad[i], strlen(bad[i])));
		wire_text_clean(clean, bad[i], strlen(bad[i]));
		assert_true(wire_text_is_valid(clean, strlen(bad[i])));
	}
	assert_false(wire_text_is_valid("a\0b", 3));
	wire_text_clean(clean, "a\xff\xc3\xa9\xe2\x82", 6);
	assert_memory_equal(clean, "a?\xc3\xa9??", 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_numbers),           cmocka_unit_test(test_strings),
	    cmocka_unit_test(test_reals_and_words),   cmocka_unit_test(test_skip_whole_values),
	    cmocka_unit_test(test_all_short_inputs),  cmocka_unit_test(test_bombs),
	    cmocka_unit_test(test_writer_is_bounded), cmocka_unit_test(test_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
