/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting: sums, bounds, sizes of steps, tensor boundaries, and headers that lie. */
#include "coordinator/cli/chunker.h"
#include "base/rng.h"
#include "fake.h"

#include <string.h>

enum { KIB = 1024, MIB = 1024 * KIB };

static size_t next(struct chunker *c)
{
	static uint8_t window[1];
	uint64_t left = c->size - c->at;

	return chunker_next(c, window, left < LIMIT_CHUNK ? (size_t)left : LIMIT_CHUNK);
}

/* Cuts everything; checks that chunks are bounded and add up; returns their number. */
static size_t cut_all(struct chunker *c, uint64_t *offsets, size_t max)
{
	uint64_t at = 0;
	size_t count = 0, size;

	while ((size = next(c)) > 0) {
		assert_true(size <= LIMIT_CHUNK);
		if (count < max)
			offsets[count] = at;
		at += size;
		count++;
	}
	assert_int_equal(at, c->size);
	return count;
}

static void test_steps(void **state)
{
	const uint64_t gib = UINT64_C(1) << 30;
	const struct {
		enum blob_kind kind;
		uint64_t size;
		uint64_t step;
	} cases[] = {
	    {BLOB_LAYER, 10 * MIB, MIB},           {BLOB_FILE, 10 * MIB, 256 * KIB},
	    {BLOB_FILE, 256 * MIB - 1, 256 * KIB}, {BLOB_FILE, 256 * MIB, MIB},
	    {BLOB_FILE, 32 * gib, LIMIT_CHUNK},    {BLOB_LAYER, 200 * gib, LIMIT_CHUNK},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct chunker c;
		size_t count;

		chunker_init(&c, cases[i].kind, cases[i].size);
		assert_int_equal(next(&c), cases[i].step);
		count =
		    1 + cut_all(&(struct chunker){.size = c.size - c.at, .step = c.step}, NULL, 0);
		assert_int_equal(count, (cases[i].size + cases[i].step - 1) / cases[i].step);
		assert_true(count <= LIMIT_CHUNKS);
		chunker_free(&c);
	}
}

static void test_empty(void **state)
{
	struct chunker c;

	chunker_init(&c, BLOB_FILE, 0);
	assert_int_equal(cut_all(&c, NULL, 0), 0);
}

/* Builds a safetensors header with these tensor sizes; returns its whole length. */
static size_t make_header(const uint64_t *sizes, size_t count, size_t pad, struct str *header)
{
	uint64_t at = 0, length;
	uint8_t first[8];

	str_add_bytes(header, "........", 8);
	str_add(header, "{\"__metadata__\":{\"format\":\"pt\"}");
	for (size_t i = 0; i < count; i++) {
		str_addf(header,
		         ",\"t%zu\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%llu,%llu]}",
		         i, (unsigned long long)at, (unsigned long long)(at + sizes[i]));
		at += sizes[i];
	}
	str_addf(header, "}%*s", (int)pad, "");
	length = header->size - 8;
	for (int i = 0; i < 8; i++)
		first[i] = (uint8_t)(length >> 8 * i);
	memcpy(header->data, first, 8);
	return header->size;
}

/* spec: REL-4 */
static void test_tensors(void **state)
{
	const uint64_t sizes[] = {300 * KIB, 100, 200, 600 * KIB, 130 * KIB};
	AUTO_STR struct str header = {0};
	size_t head = make_header(sizes, ARRAY_SIZE(sizes), 3, &header), count;
	uint64_t size = head + 1030 * KIB + 300, offsets[16];
	struct chunker c;

	assert_int_equal(chunker_header_size((const uint8_t *)header.data, size), head);
	chunker_init(&c, BLOB_FILE, size);
	chunker_use_tensors(&c, (const uint8_t *)header.data, head);
	count = cut_all(&c, offsets, 16);
	assert_int_equal(count, 8);
	assert_int_equal(offsets[1], head);             /* the header apart */
	assert_int_equal(offsets[2], head + 256 * KIB); /* a step inside the first tensor */
	assert_int_equal(offsets[3], head + 300 * KIB); /* two small tensors in one chunk ... */
	assert_int_equal(offsets[4], head + 300 * KIB + 300); /* ... up to the large one */
	assert_int_equal(offsets[7], head + 900 * KIB + 300);
	chunker_free(&c);
}

/* A longer header moves no chunk of the weights. */
/* spec: REL-4 */
static void test_header_moves_nothing(void **state)
{
	const uint64_t sizes[] = {500 * KIB, 700 * KIB};
	uint64_t a[16], b[16];
	AUTO_STR struct str one = {0}, two = {0};
	size_t head_one = make_header(sizes, 2, 0, &one),
	       head_two = make_header(sizes, 2, 777, &two);
	struct chunker c, d;
	size_t count;

	chunker_init(&c, BLOB_FILE, head_one + 1200 * KIB);
	chunker_use_tensors(&c, (const uint8_t *)one.data, head_one);
	chunker_init(&d, BLOB_FILE, head_two + 1200 * KIB);
	chunker_use_tensors(&d, (const uint8_t *)two.data, head_two);
	count = cut_all(&c, a, 16);
	assert_int_equal(cut_all(&d, b, 16), count);
	for (size_t i = 1; i < count; i++)
		assert_int_equal(a[i] - head_one, b[i] - head_two);
	chunker_free(&c);
	chunker_free(&d);
}

static void test_lies(void **state)
{
	static const char *const headers[] = {
	    "",
	    "[]",
	    "{",
	    "{\"t\":{\"data_offsets\":[0,99999999999]}}",
	    "{\"t\":{\"data_offsets\":[-1,5]}}",
	    "{\"t\":{\"data_offsets\":[0]}}",
	    "{\"t\":{\"data_offsets\":\"x\"}}",
	    "{\"t\":5}",
	    "{}",
	    "{\"t\":{\"data_offsets\":[0,9223372036854775807]}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		AUTO_STR struct str header = {0};
		struct chunker c;

		str_add_bytes(&header, "\0\0\0\0\0\0\0\0", 8);
		str_add(&header, headers[i]);
		chunker_init(&c, BLOB_FILE, MIB);
		chunker_use_tensors(&c, (const uint8_t *)header.data, header.size);
		assert_int_equal(cut_all(&c, NULL, 0), 4);
		chunker_free(&c);
	}
	assert_int_equal(chunker_header_size(
	                     (const uint8_t[]){255, 255, 255, 255, 255, 255, 255, 255}, UINT64_MAX),
	                 0);
	assert_int_equal(chunker_header_size((const uint8_t[]){100, 0, 0, 0, 0, 0, 0, 0}, 50), 0);
}

/* A million tensors of half a step each would be too many chunks: fixed steps then. */
static void test_bounded_count(void **state)
{
	size_t tensors = 150000;
	AUTO_FREE uint64_t *sizes = mem_array(tensors, sizeof(*sizes));
	AUTO_STR struct str header = {0};
	struct chunker c;
	size_t head, count;

	for (size_t i = 0; i < tensors; i++)
		sizes[i] = 600 * KIB;
	head = make_header(sizes, tensors, 0, &header);
	chunker_init(&c, BLOB_FILE, head + tensors * 600 * KIB);
	c.step = MIB;
	chunker_use_tensors(&c, (const uint8_t *)header.data, head);
	c.step = LIMIT_CHUNK;
	count = cut_all(&c, NULL, 0);
	assert_true(count <= LIMIT_CHUNKS);
	assert_int_equal(c.cuts_count, 0);
	chunker_free(&c);
}

/* Random headers and sizes: always complete, bounded, and twice the same. */
static void test_random(void **state)
{
	struct rng rng = {42};

	for (unsigned round = 0; round < 200; round++) {
		uint64_t sizes[20], total = 0, a[512], b[512];
		size_t tensors = 1 + rng_below(&rng, 20), head, count;
		AUTO_STR struct str header = {0};
		struct chunker c, d;

		for (size_t i = 0; i < tensors; i++)
			total += sizes[i] = rng_below(&rng, rng_below(&rng, 2) ? 500 : 2 * MIB);
		head = make_header(sizes, tensors, rng_below(&rng, 9), &header);
		total += head + rng_below(&rng, 3);
		chunker_init(&c, BLOB_FILE, total);
		chunker_use_tensors(&c, (const uint8_t *)header.data, head);
		chunker_init(&d, BLOB_FILE, total);
		chunker_use_tensors(&d, (const uint8_t *)header.data, head);
		count = cut_all(&c, a, 512);
		assert_int_equal(cut_all(&d, b, 512), count);
		assert_memory_equal(a, b, count * sizeof(*a));
		chunker_free(&c);
		chunker_free(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_steps),   cmocka_unit_test(test_empty),
	    cmocka_unit_test(test_tensors), cmocka_unit_test(test_header_moves_nothing),
	    cmocka_unit_test(test_lies),    cmocka_unit_test(test_bounded_count),
	    cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
