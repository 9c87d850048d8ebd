/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of chunks. */
#include "base/mem.h"
#include "protocol/chunk_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct chunk_ref ref(uint32_t i, uint64_t size)
{
	struct chunk_ref ref = {.size = size};

	i %= 1000; /* many begin alike: the table must cope */
	memcpy(ref.digest.bytes + 8, &i, sizeof(i));
	ref.digest.bytes[0] = (uint8_t)(i % 3);
	return ref;
}

static void numbers_go_by_first_occurrence(void **state)
{
	struct chunk_ref refs[3000];
	struct chunk_list *list;

	for (uint32_t i = 0; i < 3000; i++)
		refs[i] = ref(i, i + 1);
	list = chunk_list_create(refs, 3000);
	assert_int_equal(chunk_list_count(list), 1000);
	for (uint32_t i = 0; i < 3000; i++) {
		uint32_t number = chunk_list_find(list, &refs[i].digest);

		assert_int_equal(number, i % 1000);
		assert_true(digest_equal(chunk_list_digest(list, number), &refs[i].digest));
		assert_int_equal(chunk_list_sizes(list)[number], number + 1);
	}
	chunk_list_free(list);
}

static void strangers_have_no_number(void **state)
{
	struct chunk_ref refs[] = {ref(1, 5), ref(4, 5)}, stranger = ref(7, 5);
	struct chunk_list *list = chunk_list_create(refs, 2), *empty = chunk_list_create(NULL, 0);

	assert_int_equal(chunk_list_find(list, &stranger.digest), CHUNK_NONE);
	assert_int_equal(chunk_list_find(empty, &stranger.digest), CHUNK_NONE);
	assert_int_equal(chunk_list_count(empty), 0);
	chunk_list_free(list);
	chunk_list_free(empty);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_go_by_first_occurrence),
		cmocka_unit_test(strangers_have_no_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
