/* SPDX-License-Identifier: Apache-2.0 */
/* Which chunk is made against which: by tensor, by path, or not at all. */
#include "coordinator/delta_pairs.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { HEAD = 100, STEP = 1000 };
enum { KEY_A = 11, KEY_B = 22, KEY_C = 33 };

/* A chunk's digest is its name, two bytes long. */
static struct chunk_ref chunk(const char *name, uint64_t size)
{
	struct chunk_ref ref = {.size = size};

	memcpy(ref.digest.bytes, name, 2);
	return ref;
}

static void add_file(struct delta_side *side, const char *path, const struct chunk_ref *chunks,
		     size_t count, const struct tensor_ref *tensors, size_t tensors_count)
{
	size_t at = side->release.blobs_count++;

	side->release.blobs = mem_resize(side->release.blobs, at + 1, sizeof(struct release_blob));
	side->release.blobs[at] =
		(struct release_blob){.kind = BLOB_FILE, .path = mem_str(path)};
	side->indices = mem_resize(side->indices, at + 1, sizeof(struct chunk_index));
	side->indices[at] = (struct chunk_index){
		.chunks = mem_copy(chunks, count * sizeof(*chunks)),
		.chunks_count = count,
		.tensors = tensors_count ? mem_copy(tensors, tensors_count * sizeof(*tensors)) : NULL,
		.tensors_count = tensors_count};
}

static void make(struct delta_side *base, struct delta_side *target)
{
	const struct element bf16 = {2, true, 0}, q4 = {1, false, 18};
	const struct chunk_ref old[] = {chunk("h0", HEAD), chunk("a0", STEP), chunk("a1", STEP),
					chunk("b0", STEP), chunk("c0", STEP)};
	const struct tensor_ref old_tensors[] = {{KEY_A, bf16, HEAD, 2 * STEP},
						 {KEY_B, q4, HEAD + 2 * STEP, STEP},
						 {KEY_C, bf16, HEAD + 3 * STEP, STEP}};
	/* tensor A moved to another file, B stayed, C has another shape: another key */
	const struct chunk_ref one[] = {chunk("H0", HEAD + 7), chunk("B0", STEP), chunk("C0", STEP),
					chunk("C0", STEP)};
	const struct tensor_ref one_tensors[] = {{KEY_B, q4, HEAD + 7, STEP},
						 {KEY_C + 1, bf16, HEAD + 7 + STEP, 2 * STEP}};
	const struct chunk_ref two[] = {chunk("a0", STEP), chunk("A1", STEP)};
	const struct tensor_ref two_tensors[] = {{KEY_A, bf16, 0, 2 * STEP}};
	const struct chunk_ref plain_old[] = {chunk("p0", STEP), chunk("p1", STEP)};
	const struct chunk_ref plain[] = {chunk("p0", STEP), chunk("P1", STEP), chunk("P2", STEP)};

	add_file(base, "model.gguf", old, 5, old_tensors, 3);
	add_file(base, "plain.bin", plain_old, 2, NULL, 0);
	add_file(target, "model.gguf", one, 4, one_tensors, 2);
	add_file(target, "new.gguf", two, 2, two_tensors, 1);
	add_file(target, "plain.bin", plain, 3, NULL, 0);
	delta_side_count(base);
	delta_side_count(target);
}

static void test_pairs(void **state)
{
	static const struct {
		const char *chunk, *base;
		uint32_t width, stride;
	} expected[] = {
		{"H0", "h0", 0, 0},  /* no tensor: the same place of the same file */
		{"B0", "b0", 1, 18}, /* its tensor, behind a longer header */
		{"C0", "", 2, 0},    /* a tensor that the base does not have; once */
		{"A1", "a1", 2, 0},  /* its tensor, in another file; a0 is here already */
		{"P1", "p1", 0, 0},
		{"P2", "", 0, 0},
	};
	struct delta_side base = {0}, target = {0};
	struct delta_pairs *pairs;
	struct delta_pair pair;

	make(&base, &target);
	pairs = delta_pairs_create(&target, &base);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		assert_true(delta_pairs_next(pairs, &pair));
		assert_memory_equal(pair.chunk.digest.bytes, expected[i].chunk, 2);
		assert_int_equal(pair.base.size > 0, expected[i].base[0] != 0);
		if (pair.base.size > 0)
			assert_memory_equal(pair.base.digest.bytes, expected[i].base, 2);
		assert_int_equal(pair.element.width, expected[i].width);
		assert_int_equal(pair.element.stride, expected[i].stride);
	}
	assert_false(delta_pairs_next(pairs, &pair));
	assert_false(delta_pairs_next(pairs, &pair));
	delta_pairs_free(pairs);
	delta_side_free(&base);
	delta_side_free(&target);
}

/* Releases without files, or without anything in common. */
static void test_nothing(void **state)
{
	struct delta_side base = {0}, target = {0};
	struct delta_pairs *pairs;
	struct delta_pair pair;

	delta_side_count(&base);
	delta_side_count(&target);
	pairs = delta_pairs_create(&target, &base);
	assert_false(delta_pairs_next(pairs, &pair));
	delta_pairs_free(pairs);
	delta_side_free(&base);
	delta_side_free(&target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
