/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting: sums, bounds, sizes of steps, tensor boundaries, and headers that lie. */
#include "coordinator/cli/chunker.h"
#include "base/rng.h"
#include "coordinator/cli/file.h"
#include "coordinator/cli/tar_cuts.h"
#include "fake.h"

#include <string.h>

enum { KIB = 1024, MIB = 1024 * KIB };

static size_t next(struct chunker *c)
{
	static const uint8_t zeros[LIMIT_CHUNK];

	assert_true(chunker_window(c) <= LIMIT_CHUNK);
	return chunker_next(c, zeros);
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
	    {BLOB_FILE, 10 * MIB, 256 * KIB},     {BLOB_FILE, gib - 1, 256 * KIB},
	    {BLOB_FILE, gib, MIB},          {BLOB_FILE, 32 * gib, LIMIT_CHUNK},
	    {BLOB_LAYER, 200 * gib, LIMIT_CHUNK},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct chunker c;
		size_t count;

		chunker_init(&c, cases[i].kind, cases[i].size);
		assert_int_equal(next(&c), cases[i].step);
		c.at = 0;
		count = cut_all(&c, NULL, 0);
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

/* A chunker for a file that begins with this header. */
static void use_header(struct chunker *c, const struct str *header, uint64_t size)
{
	struct tensors tensors = {0};

	chunker_init(c, BLOB_FILE, size);
	assert_int_equal(
	    tensors_read((const uint8_t *)str_get(header), header->size, size, &tensors), 0);
	chunker_use_tensors(c, &tensors);
	tensors_free(&tensors);
}

/* spec: REL-4 */
static void test_tensors(void **state)
{
	const uint64_t sizes[] = {300 * KIB, 100, 200, 600 * KIB, 130 * KIB};
	AUTO_STR struct str header = {0};
	size_t head = make_header(sizes, ARRAY_SIZE(sizes), 3, &header), count;
	uint64_t size = head + 1030 * KIB + 300, offsets[16];
	struct tensors tensors;
	struct chunker c;

	assert_int_equal(tensors_header_size((const uint8_t *)header.data, header.size), head);
	assert_int_equal(tensors_read((const uint8_t *)header.data, head - 1, size, &tensors),
	                 -EAGAIN);
	use_header(&c, &header, size);
	count = cut_all(&c, offsets, 16);
	assert_int_equal(count, 8);
	assert_int_equal(offsets[1], head);             /* the header apart */
	assert_int_equal(offsets[2], head + 256 * KIB); /* a step inside the first tensor */
	assert_int_equal(offsets[3], head + 300 * KIB); /* two small tensors in one chunk ... */
	assert_int_equal(offsets[4], head + 300 * KIB + 300); /* ... up to the large one */
	assert_int_equal(offsets[7], head + 900 * KIB + 300);
	chunker_free(&c);
}

/* Name, type and shape make the key; where a tensor lies does not. */
static void test_keys(void **state)
{
	static const char *const headers[] = {
	    "{\"a\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[0,12]}}",
	    "{\"a\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[4,16]},\"__metadata__\":{\"x\":\"y\"}}",
	    "{\"a\":{\"dtype\":\"BF16\",\"shape\":[3,2],\"data_offsets\":[0,12]}}",
	    "{\"a\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[0,12]}}",
	    "{\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[0,12]}}",
	};
	uint64_t keys[ARRAY_SIZE(headers)];

	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		AUTO_STR struct str header = {0};
		uint8_t first[8] = {(uint8_t)strlen(headers[i])};
		struct tensors tensors;

		str_add_bytes(&header, first, 8);
		str_add(&header, headers[i]);
		assert_int_equal(
		    tensors_read((uint8_t *)header.data, header.size, header.size + 16, &tensors),
		    0);
		assert_int_equal(tensors.count, 1);
		assert_int_equal(tensors.items[0].offset, header.size + (i == 1 ? 4 : 0));
		assert_int_equal(tensors.items[0].size, 12);
		assert_int_equal(tensors.items[0].element.width, 2);
		assert_true(tensors.items[0].element.is_float);
		keys[i] = tensors.items[0].key;
		tensors_free(&tensors);
	}
	assert_true(keys[0] == keys[1]);
	for (size_t i = 2; i < ARRAY_SIZE(headers); i++)
		assert_true(keys[i] != keys[0]);
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

	use_header(&c, &one, head_one + 1200 * KIB);
	use_header(&d, &two, head_two + 1200 * KIB);
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
	    "{\"t\":{\"data_offsets\":[5,1]}}",
	    "{\"t\":{\"data_offsets\":[0]}}",
	    "{\"t\":{\"data_offsets\":\"x\"}}",
	    "{\"t\":{\"data_offsets\":[0,600000]},\"u\":{\"data_offsets\":[300000,900000]}}",
	    "{\"t\":5}",
	    "{}",
	    "{\"t\":{\"data_offsets\":[0,9223372036854775807]}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		AUTO_STR struct str header = {0};
		uint8_t first[8] = {(uint8_t)strlen(headers[i])};
		struct chunker c;

		str_add_bytes(&header, first, 8);
		str_add(&header, headers[i]);
		str_add(&header, "                ");
		use_header(&c, &header, MIB);
		assert_int_equal(cut_all(&c, NULL, 0), 4);
		chunker_free(&c);
	}
	assert_int_equal(
	    tensors_header_size((const uint8_t[]){255, 255, 255, 255, 255, 255, 255, 255, '{'}, 9),
	    0);
}

/* 40,000 tensors are more than deltas look for; they would be too many chunks as well. */
static void test_bounded_count(void **state)
{
	size_t tensors = 40000;
	AUTO_FREE uint64_t *sizes = mem_array(tensors, sizeof(*sizes));
	AUTO_STR struct str header = {0};
	struct chunker c;
	size_t head;

	for (size_t i = 0; i < tensors; i++)
		sizes[i] = 600 * KIB;
	head = make_header(sizes, tensors, 0, &header);
	use_header(&c, &header, head + tensors * 600 * KIB);
	assert_int_equal(c.cuts_count, 0);
	assert_true(cut_all(&c, NULL, 0) <= LIMIT_CHUNKS);
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
		use_header(&c, &header, total);
		use_header(&d, &header, total);
		count = cut_all(&c, a, 512);
		assert_int_equal(cut_all(&d, b, 512), count);
		assert_memory_equal(a, b, count * sizeof(*a));
		chunker_free(&c);
		chunker_free(&d);
	}
}

/* ---- GGUF ---- */

static void add_number(struct str *s, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		str_add_bytes(s, &(uint8_t){(uint8_t)(value >> 8 * i)}, 1);
}

static void add_text(struct str *s, const char *text)
{
	add_number(s, strlen(text), 8);
	str_add(s, text);
}

/* Q4_K (144 bytes for 256 numbers), then F32. Returns where the tensors begin. */
static uint64_t make_gguf(struct str *s, uint64_t alignment)
{
	str_add_bytes(s, "GGUF", 4);
	add_number(s, 3, 4);
	add_number(s, 2, 8);
	add_number(s, 3, 8);
	add_text(s, "general.alignment");
	add_number(s, 4, 4);
	add_number(s, alignment, 4);
	add_text(s, "tokenizer.ggml.tokens");
	add_number(s, 9, 4);
	add_number(s, 8, 4);
	add_number(s, 500, 8);
	for (int i = 0; i < 500; i++)
		add_text(s, "token");
	add_text(s, "general.name");
	add_number(s, 8, 4);
	add_text(s, "small");
	add_text(s, "blk.0.weight");
	add_number(s, 2, 4);
	add_number(s, 4096, 8);
	add_number(s, 500, 8);
	add_number(s, 12, 4);
	add_number(s, 0, 8);
	add_text(s, "blk.0.norm");
	add_number(s, 1, 4);
	add_number(s, 4096, 8);
	add_number(s, 0, 4);
	add_number(s, 4096 * 500 / 256 * 144, 8);
	return (s->size + alignment - 1) / alignment * alignment;
}

static void test_gguf(void **state)
{
	AUTO_STR struct str s = {0};
	uint64_t start = make_gguf(&s, 64), weights = 4096 * 500 / 256 * 144, offsets[16];
	uint64_t size = start + weights + 4 * 4096;
	const uint8_t *head = (const uint8_t *)s.data;
	struct tensors tensors;
	struct chunker c;
	size_t count;

	for (size_t i = 0; i < s.size; i += 1 + i / 40)
		assert_int_equal(tensors_read(head, i, size, &tensors), -EAGAIN);
	assert_int_equal(tensors_read(head, s.size, size, &tensors), 0);
	assert_int_equal(tensors.count, 2);
	assert_int_equal(tensors.items[0].offset, start);
	assert_int_equal(tensors.items[0].size, weights);
	assert_int_equal(tensors.items[0].element.stride, 144);
	assert_int_equal(tensors.items[1].element.width, 4);
	chunker_init(&c, BLOB_FILE, size);
	chunker_use_tensors(&c, &tensors);
	tensors_free(&tensors);
	count = cut_all(&c, offsets, 16);
	assert_int_equal(offsets[1], start);
	for (size_t i = 1; i + 1 < count; i++) /* whole blocks in every chunk */
		assert_int_equal((offsets[i] - start) % 144, 0);
	assert_int_equal(offsets[2], start + 256 * KIB / 144 * 144);
	chunker_free(&c);
}

/* Damaged headers of all three formats: a list that fits the file, or none. */
static void check_damaged(const uint8_t *data, size_t size, uint64_t file_size, bool onnx)
{
	AUTO_FREE uint8_t *exact = mem_copy(data, size);
	struct tensors tensors = {0};
	uint64_t end = 0;

	if (onnx)
		tensors_read_onnx(exact, size, "w.bin", file_size, &tensors);
	else
		(void)!tensors_read(exact, size, file_size, &tensors);
	for (size_t i = 0; i < tensors.count; i++) {
		assert_true(tensors.items[i].offset >= end && tensors.items[i].size > 0);
		end = tensors.items[i].offset + tensors.items[i].size;
		assert_true(end <= file_size);
	}
	tensors_free(&tensors);
}

static void damage(const struct str *s, uint64_t file_size, bool onnx)
{
	struct rng rng = {5};

	for (int i = 0; i < 3000; i++) {
		AUTO_FREE uint8_t *bytes = mem_copy(s->data, s->size);

		for (uint64_t n = 1 + rng_below(&rng, 3); n > 0; n--)
			bytes[rng_below(&rng, s->size)] = (uint8_t)rng_next(&rng);
		check_damaged(bytes, s->size - rng_below(&rng, 2) * rng_below(&rng, s->size),
		              file_size, onnx);
	}
}

/* ---- ONNX ---- */

static void add_field(struct str *s, unsigned number, const void *data, size_t size)
{
	str_add_bytes(s, &(uint8_t){(uint8_t)(number << 3 | 2)}, 1);
	str_add_bytes(s, (uint8_t[]){(uint8_t)(size | 0x80), (uint8_t)(size >> 7)}, 2);
	str_add_bytes(s, data, size);
}

static void add_entry(struct str *tensor, const char *key, const char *value)
{
	AUTO_STR struct str entry = {0};

	add_field(&entry, 1, key, strlen(key));
	add_field(&entry, 2, value, strlen(value));
	add_field(tensor, 13, str_get(&entry), entry.size);
}

static void make_onnx(struct str *model)
{
	AUTO_STR struct str graph = {0}, outside = {0}, inside = {0};

	str_add_bytes(&outside, "\x08\x80\x01\x08\x04\x10\x01", 7); /* dims 128, 4; F32 */
	add_field(&outside, 8, "w1", 2);
	add_entry(&outside, "location", "w.bin");
	add_entry(&outside, "offset", "4096");
	add_entry(&outside, "length", "2048");
	str_add_bytes(&inside, "\x0a\x02\x05\x02\x10\x0a", 6); /* dims 5, 2 packed; F16 */
	add_field(&inside, 8, "w2", 2);
	add_field(&inside, 9, "12345678901234567890", 20);
	add_field(&graph, 2, "name", 4);
	add_field(&graph, 5, str_get(&outside), outside.size);
	add_field(&graph, 5, str_get(&inside), inside.size);
	str_add_bytes(model, "\x08\x08", 2); /* ir_version */
	add_field(model, 7, str_get(&graph), graph.size);
}

static void test_onnx(void **state)
{
	AUTO_STR struct str model = {0};
	const uint8_t *data;
	struct tensors tensors;

	make_onnx(&model);
	data = (const uint8_t *)str_get(&model);
	tensors_read_onnx(data, model.size, "w.bin", 10000, &tensors);
	assert_int_equal(tensors.count, 1);
	assert_int_equal(tensors.items[0].offset, 4096);
	assert_int_equal(tensors.items[0].size, 2048);
	assert_int_equal(tensors.items[0].element.width, 4);
	tensors_free(&tensors);
	tensors_read_onnx(data, model.size, "other.bin", 10000, &tensors);
	assert_int_equal(tensors.count, 0);
	tensors_read_onnx(data, model.size, "w.bin", 6000, &tensors); /* it ends behind the file */
	assert_int_equal(tensors.count, 0);
	tensors_read_onnx(data, model.size, NULL, model.size, &tensors);
	assert_int_equal(tensors.count, 1);
	assert_memory_equal(data + tensors.items[0].offset, "12345678901234567890", 20);
	assert_int_equal(tensors.items[0].element.width, 2);
	tensors_free(&tensors);
}

static void test_damage(void **state)
{
	AUTO_STR struct str gguf = {0}, onnx = {0}, safetensors = {0};
	const uint64_t sizes[] = {3000, 5000};

	make_gguf(&gguf, 32);
	damage(&gguf, 2 * MIB, false);
	make_onnx(&onnx);
	damage(&onnx, 10000, true);
	make_header(sizes, 2, 0, &safetensors);
	damage(&safetensors, 10000, false);
}

/* ---- layers ---- */

static size_t cut_content(const uint8_t *data, size_t size, struct chunk_cut *cuts, size_t count,
                          uint64_t *offsets)
{
	struct chunker c;
	size_t chunks = 0, n;

	chunker_init(&c, BLOB_LAYER, size);
	chunker_use_cuts(&c, cuts, count);
	while ((n = chunker_next(&c, data + c.at)) > 0) {
		offsets[chunks++] = c.at - n;
		assert_true(n <= 512 * KIB);
	}
	assert_int_equal(c.at, size);
	chunker_free(&c);
	return chunks;
}

/* Bytes that go in at the front move all boundaries with the content, but for the first few. */
static void test_by_content(void **state)
{
	enum { SIZE = 16 * MIB, MORE = 1000 };
	AUTO_FREE uint8_t *data = mem_alloc(SIZE + MORE);
	uint64_t a[1024], b[1024];
	struct rng rng = {9};
	size_t count, other, same = 0;

	for (size_t i = 0; i < SIZE + MORE; i++)
		data[i] = (uint8_t)rng_next(&rng);
	count = cut_content(data + MORE, SIZE, NULL, 0, a);
	other = cut_content(data, SIZE + MORE, NULL, 0, b);
	assert_in_range(count, SIZE / (200 * KIB), SIZE / (90 * KIB));
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < other; k++)
			same += b[k] == a[i] + MORE;
	assert_true(same + 4 > count);
	for (size_t i = 0; i + 1 < count; i++)
		assert_true(a[i + 1] - a[i] >= 32 * KIB);
}

/* More than the layer of a machine may have of them: bounded all the same. */
static void test_layer_bounds(void **state)
{
	const uint64_t gib = UINT64_C(1) << 30, sizes[] = {1, gib, 4 * gib, 10 * gib, 100 * gib};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct chunker c;

		chunker_init(&c, BLOB_LAYER, sizes[i]);
		if (c.least)
			assert_true(3 * (sizes[i] / c.least) <= LIMIT_CHUNKS &&
			            c.most <= LIMIT_CHUNK);
		else
			assert_true(sizes[i] / c.step <= LIMIT_CHUNKS);
		chunker_free(&c);
	}
}

static void add_entry_of(struct str *tar, const char *name, char type, size_t size)
{
	char block[512] = "";
	unsigned sum = 0;

	snprintf(block, 100, "%s", name);
	snprintf(block + 124, 12, "%011zo", size);
	memset(block + 148, ' ', 8);
	block[156] = type;
	for (size_t i = 0; i < sizeof(block); i++)
		sum += (uint8_t)block[i];
	snprintf(block + 148, 8, "%06o", sum);
	str_add_bytes(tar, block, sizeof(block));
	for (size_t i = 0; i < (size + 511) / 512; i++)
		str_add_bytes(tar, memset(block, 'x', sizeof(block)), sizeof(block));
}

static void test_tar(void **state)
{
	AUTO_STR struct str tar = {0};
	AUTO_CLOSE int fd = -1;
	struct chunk_cut *cuts = NULL;
	uint64_t offsets[32];
	size_t count = 0, chunks;

	add_entry_of(&tar, "small", '0', 100);
	add_entry_of(&tar, "large", '0', 100 * KIB + 1);
	add_entry_of(&tar, "folder", '5', 0);
	add_entry_of(&tar, "other", '0', 40 * KIB);
	str_add_bytes(&tar, (char[1024]){0}, 1024);
	assert_int_equal(file_temporary(&fd, NULL), 0);
	assert_int_equal(file_write_all(fd, tar.data, tar.size, NULL), 0);
	assert_int_equal(tar_cuts(fd, tar.size, 32 * KIB, &cuts, &count, NULL), 0);
	assert_int_equal(count, 4);
	assert_int_equal(cuts[0].at, 3 * 512);
	assert_int_equal(cuts[1].at, 3 * 512 + 100 * KIB + 512);
	assert_int_equal(cuts[2].at, cuts[1].at + 2 * 512);
	assert_int_equal(cuts[3].at, cuts[2].at + 40 * KIB);
	chunks = cut_content((uint8_t *)tar.data, tar.size, cuts, count, offsets);
	assert_int_equal(chunks, 5);
	tar.data[512 * 3 + 100 * KIB + 512 + 3] ^= 1; /* no header any more: cuts up to here */
	assert_int_equal(pwrite(fd, tar.data, tar.size, 0), tar.size);
	assert_int_equal(tar_cuts(fd, tar.size, 32 * KIB, &cuts, &count, NULL), 0);
	assert_int_equal(count, 2);
	free(cuts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_steps),   cmocka_unit_test(test_empty),
	    cmocka_unit_test(test_tensors), cmocka_unit_test(test_header_moves_nothing),
	    cmocka_unit_test(test_lies),    cmocka_unit_test(test_bounded_count),
	    cmocka_unit_test(test_random),  cmocka_unit_test(test_keys),
	    cmocka_unit_test(test_gguf),    cmocka_unit_test(test_onnx),
	    cmocka_unit_test(test_damage),  cmocka_unit_test(test_by_content),
	    cmocka_unit_test(test_tar),     cmocka_unit_test(test_layer_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
