/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codings of chunks: everything comes back as it was, for each kind of number, pattern of
 * change and length; what is damaged is refused or gives other bytes, and never reads or writes
 * outside (the sanitizers watch); typical changes of weights take no more than they are said to.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "protocol/coding/coding.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { LARGE = 256 << 10 };

static const struct element elements[] = {
    {0},
    {.width = 1},
    {.width = 1, .is_float = true},
    {.width = 2},
    {.width = 2, .is_float = true},
    {.width = 4},
    {.width = 4, .is_float = true},
    {.width = 8},
    {.width = 8, .is_float = true},
    {.width = 1, .stride = 18},
    {.width = 1, .stride = 210},
    {.width = 1, .stride = CODING_STRIDE_MAX},
};

enum pattern { FEW, SOME, HALF, ALL, NOISE, ZEROS, TEXT, SPECIAL, PATTERNS };

static void fill(struct rng *rng, enum pattern pattern, uint8_t *base, uint8_t *data, size_t size)
{
	static const uint64_t per_mille[PATTERNS] = {
	    [FEW] = 10, [SOME] = 200, [HALF] = 500, [ALL] = 1000};

	for (size_t i = 0; i < size; i++)
		base[i] = data[i] = (uint8_t)rng_next(rng);
	for (size_t i = 0; i < size; i++) {
		if (rng_below(rng, 1000) < per_mille[pattern])
			data[i] = (uint8_t)(data[i] + 1 + rng_below(rng, 3));
		if (pattern == NOISE)
			data[i] = (uint8_t)rng_next(rng);
		if (pattern == ZEROS)
			data[i] = 0;
		if (pattern == TEXT)
			base[i] = data[i] =
			    (uint8_t) "{\"dtype\":\"BF16\",\"shape\":[4096]}"[i % 31];
		if (pattern == SPECIAL) /* NaN, infinities, -0, largest and smallest */
			data[i] = (uint8_t[]){0x00, 0x80, 0xff, 0x7f}[rng_below(rng, 4)];
	}
}

static size_t encode(struct coding *coding, const struct coding_chunk *chunk, uint8_t **ret_data)
{
	uint8_t *data = mem_resize(NULL, chunk->size + CODING_HEAD, 1);
	size_t size = coding_encode(coding, chunk, data), result = 0;

	assert_in_range(size, 1, chunk->size + CODING_HEAD);
	assert_int_equal(coding_size(data, size, chunk->size, &result), 0);
	assert_int_equal(result, chunk->size);
	*ret_data = mem_resize(data, size, 1); /* exact: the sanitizer sees a byte too far */
	return size;
}

static void round_trip(struct coding *coding, const struct coding_chunk *chunk)
{
	AUTO_FREE uint8_t *data = NULL, *back = mem_resize(NULL, chunk->size, 1);
	size_t size = encode(coding, chunk, &data);

	memset(back, 0x5a, chunk->size);
	assert_int_equal(coding_decode(coding, data, size, chunk->base, chunk->base_size, back), 0);
	assert_memory_equal(back, chunk->data, chunk->size);
}

static const size_t sizes[] = {1, 2, 3, 7, 8, 9, 17, 63, 64, 255, 1021, 4096, 12345, 70001};

static void test_round_trips(void **state)
{
	struct coding *coding = coding_create();
	struct rng rng = {1};

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		size_t size = sizes[s];
		AUTO_FREE uint8_t *base = mem_resize(NULL, size, 1);
		AUTO_FREE uint8_t *data = mem_resize(NULL, size, 1);

		for (size_t e = 0; e < ARRAY_SIZE(elements); e++) {
			for (enum pattern p = 0; p < PATTERNS; p++) {
				struct coding_chunk chunk = {
				    .data = data, .size = size, .element = elements[e]};

				fill(&rng, p, base, data, size);
				round_trip(coding, &chunk);
				chunk.base = base;
				chunk.base_size = size;
				round_trip(coding, &chunk);
				chunk.base_size = size / 2 + 1;
				round_trip(coding, &chunk);
			}
		}
	}
	coding_free(coding);
}

/* ---- what weights take ---- */

static double normal(struct rng *rng)
{
	return sqrt(-2 * log(1 - rng_unit(rng))) * cos(6.283185307179586 * rng_unit(rng));
}

static uint16_t bf16(double w)
{
	float x = (float)w;
	uint32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

struct weights {
	uint16_t base[LARGE / 2], data[LARGE / 2];
	size_t changed;
};

static void train(struct weights *w, double step)
{
	struct rng rng = {7};

	w->changed = 0;
	for (size_t i = 0; i < ARRAY_SIZE(w->base); i++) {
		double x = 0.02 * normal(&rng);

		w->base[i] = bf16(x);
		w->data[i] = bf16(x + step * normal(&rng));
		w->changed += w->base[i] != w->data[i];
	}
}

static void takes(struct coding *coding, const struct weights *w, bool base, struct element element,
                  enum coding_method method, double share)
{
	struct coding_chunk chunk = {.data = w->data, .size = LARGE, .element = element};
	AUTO_FREE uint8_t *data = NULL;
	size_t size;

	if (base) {
		chunk.base = w->base;
		chunk.base_size = LARGE;
	}
	round_trip(coding, &chunk);
	size = encode(coding, &chunk, &data);
	assert_int_equal(coding_method_of(data), method);
	assert_true((double)size <= share * LARGE);
}

static void test_weights(void **state)
{
	static const struct {
		double step, changed, share;
		enum coding_method method;
	} rows[] = {
	    {3.2e-7, 0.0125, 0.008, CODING_RARE},
	    {3e-6, 0.08, 0.041, CODING_SPARSE},
	    {2e-4, 0.82, 0.27, CODING_SORTED},
	};
	const struct element element = {.width = 2, .is_float = true};
	AUTO_FREE struct weights *w = mem_alloc(sizeof(*w));
	struct coding *coding = coding_create();

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		train(w, rows[i].step);
		print_message("%zu: %.4f changed\n", i, (double)w->changed / (LARGE / 2));
		assert_true((double)w->changed >= rows[i].changed * LARGE / 2);
		takes(coding, w, true, element, rows[i].method, rows[i].share);
		/* nobody says what the numbers are */
		takes(coding, w, true, (struct element){0}, rows[i].method, rows[i].share);
	}
	takes(coding, w, false, element, CODING_PLANES, 0.67);
	takes(coding, w, false, (struct element){0}, CODING_PLANES, 0.67);
	coding_free(coding);
}

static void test_choice(void **state)
{
	AUTO_FREE uint8_t *base = mem_resize(NULL, LARGE, 1), *data = mem_resize(NULL, LARGE, 1);
	struct coding_chunk chunk = {.data = data, .size = LARGE};
	struct coding *coding = coding_create();
	struct rng rng = {3};
	AUTO_FREE uint8_t *raw = NULL, *text = NULL, *moved = NULL, *useless = NULL;

	fill(&rng, NOISE, base, data, LARGE);
	assert_int_equal(encode(coding, &chunk, &raw), LARGE + CODING_HEAD);
	assert_int_equal(coding_method_of(raw), CODING_RAW);
	chunk.base = base; /* that has nothing to do with it */
	chunk.base_size = LARGE;
	encode(coding, &chunk, &useless);
	assert_int_equal(coding_method_of(useless), CODING_RAW);
	memcpy(data, base + 1000,
	       LARGE - 1000); /* moved: a base of another length or place helps */
	encode(coding, &chunk, &moved);
	assert_int_equal(coding_method_of(moved), CODING_PREFIX);
	fill(&rng, TEXT, base, data, LARGE);
	chunk.base = NULL;
	encode(coding, &chunk, &text);
	assert_int_equal(coding_method_of(text), CODING_ZSTD);
	coding_free(coding);
}

/* ---- damage ---- */

struct sample {
	struct coding_chunk chunk;
	uint8_t *data;
	size_t size;
	uint8_t *back;
	size_t refused;
};

/* Any bytes: refused, or decoded into a buffer of exactly the size that they claim. */
static void feed(struct coding *coding, struct sample *s, const uint8_t *bytes, size_t size)
{
	size_t result = 0;

	AUTO_FREE uint8_t *exact = mem_resize(NULL, size + !size, 1);
	if (size)
		memcpy(exact, bytes, size);
	if (coding_size(exact, size, s->chunk.size, &result) < 0 ||
	    coding_decode(coding, exact, size, s->chunk.base, s->chunk.base_size,
	                  s->back = mem_resize(s->back, result, 1)) < 0)
		s->refused++;
}

static void damage(struct coding *coding, struct sample *s, struct rng *rng)
{
	AUTO_FREE uint8_t *bytes = mem_copy(s->data, s->size);

	for (size_t size = 0; size < s->size; size += 1 + s->size / 97)
		feed(coding, s, bytes, size);
	for (int i = 0; i < 200; i++) {
		size_t at = rng_below(rng, i < 100 && s->size > 24 ? 24 : s->size);

		bytes[at] ^= (uint8_t)(1u << rng_below(rng, 8));
		feed(coding, s, bytes, s->size);
		if (i % 4 == 3)
			memcpy(bytes, s->data, s->size);
	}
}

static void test_damage(void **state)
{
	struct coding *coding = coding_create();
	AUTO_FREE uint8_t *base = mem_resize(NULL, 4096, 1), *data = mem_resize(NULL, 4096, 1);
	struct rng rng = {11};
	size_t refused = 0;

	for (size_t e = 0; e < ARRAY_SIZE(elements); e++) {
		for (enum pattern p = 0; p < PATTERNS; p++) {
			struct sample s = {.chunk = {.data = data,
			                             .size = 4096,
			                             .base = base,
			                             .base_size = p % 2 ? 4096 : 3000,
			                             .element = elements[e]}};

			fill(&rng, p, base, data, 4096);
			if (p == SPECIAL)
				s.chunk.base = NULL, s.chunk.base_size = 0;
			s.size = encode(coding, &s.chunk, &s.data);
			damage(coding, &s, &rng);
			refused += s.refused;
			free(s.data);
			free(s.back);
		}
	}
	assert_true(refused > 1000);
	coding_free(coding);
}

static void test_noise(void **state)
{
	struct coding *coding = coding_create();
	uint8_t base[300], bytes[300];
	struct sample s = {.chunk = {.size = 65536, .base = base, .base_size = sizeof(base)}};
	struct rng rng = {13};

	for (size_t k = 0; k < sizeof(base); k++)
		base[k] = (uint8_t)rng_next(&rng);
	for (int i = 0; i < 20000; i++) {
		uint32_t size = rng_below(&rng, 2) ? 300 : (uint32_t)rng_below(&rng, 65536) + 1;

		for (size_t k = 0; k < sizeof(bytes); k++)
			bytes[k] = (uint8_t)rng_next(&rng);
		bytes[0] %= CODING_METHOD_COUNT;
		bytes[1] = (uint8_t[]){0x01, 0x82, 0x84, 0x88}[rng_below(&rng, 4)];
		bytes[2] = (uint8_t)(i % 16 ? 0 : 18);
		bytes[3] = 0;
		memcpy(bytes + 4, &size, sizeof(size));
		feed(coding, &s, bytes, sizeof(bytes));
	}
	free(s.back);
	coding_free(coding);
}

/* A claim of 4 GiB allocates nothing. */
static void test_bound(void **state)
{
	uint8_t head[CODING_HEAD] = {CODING_ZSTD, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, back[1];
	struct coding *coding = coding_create();
	size_t size = 7;

	assert_int_equal(coding_size(head, sizeof(head), LIMIT_CHUNK, &size), -EMSGSIZE);
	assert_int_equal(coding_decode(coding, head, sizeof(head), NULL, 0, back), -EMSGSIZE);
	memset(head + 4, 0, 4);
	assert_int_equal(coding_size(head, sizeof(head), LIMIT_CHUNK, &size), -EBADMSG);
	assert_int_equal(coding_size(head, 7, LIMIT_CHUNK, &size), -EBADMSG);
	head[0] = CODING_METHOD_COUNT;
	head[4] = 1;
	assert_int_equal(coding_size(head, sizeof(head), LIMIT_CHUNK, &size), -EBADMSG);
	assert_int_equal(size, 7);
	coding_free(coding);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trips), cmocka_unit_test(test_weights),
	    cmocka_unit_test(test_choice),      cmocka_unit_test(test_damage),
	    cmocka_unit_test(test_noise),       cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
