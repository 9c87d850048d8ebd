/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record is written when it says something new: each field that the journal keeps counts, what
 * lies between the fields does not.
 */
#include "agent/record_codec.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct deploy_record *a, *b;

typedef void leaf_fn(const struct codec_struct *type, const struct codec_field *f, size_t at);

static void each_leaf(const struct codec_struct *type, size_t at, leaf_fn *leaf)
{
	for (size_t i = 0; i < type->fields_count; i++) {
		const struct codec_field *f = &type->fields[i];
		size_t count = f->kind == FIELD_ARRAY ? f->limit : f->kind == FIELD_STRUCT;

		for (size_t k = 0; k < count; k++)
			each_leaf(f->type, at + f->offset + k * f->type->size, leaf);
		if (!count)
			leaf(type, f, at + f->offset);
	}
}

static void change_one(const struct codec_struct *type, const struct codec_field *f, size_t at)
{
	assert_true(deploy_record_same(a, b));
	((uint8_t *)b)[at] ^= 1;
	if (deploy_record_same(a, b))
		fail_msg("%s.%s is not looked at", type->name, f->name);
	((uint8_t *)b)[at] ^= 1;
}

static void copy_one(const struct codec_struct *type, const struct codec_field *f, size_t at)
{
	static const size_t sizes[] = {[FIELD_U64] = sizeof(uint64_t),
				       [FIELD_U32] = sizeof(uint32_t),
				       [FIELD_BOOL] = sizeof(bool),
				       [FIELD_ENUM] = sizeof(int)};
	size_t size = f->kind == FIELD_STR     ? f->limit + 1
		      : f->kind == FIELD_FIXED ? f->limit
					       : sizes[f->kind];

	assert_int_not_equal(size, 0);
	memcpy((uint8_t *)b + at, (const uint8_t *)a + at, size);
}

static void each_field_counts(void **state)
{
	a->vetoes_count = b->vetoes_count = LIMIT_VETOES; /* so that each of them can be changed */
	each_leaf(&codec_deploy_record, 0, change_one);
}

static void what_lies_between_fields_does_not_count(void **state)
{
	memset(b, 0xa5, sizeof(*b));
	assert_false(deploy_record_same(a, b));
	each_leaf(&codec_deploy_record, 0, copy_one);
	assert_int_not_equal(memcmp(a, b, sizeof(*a)), 0);
	assert_true(deploy_record_same(a, b));
}

static int setup(void **state)
{
	a = mem_alloc(sizeof(*a));
	b = mem_alloc(sizeof(*b));
	return 0;
}

static int teardown(void **state)
{
	free(a);
	free(b);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_field_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(what_lies_between_fields_does_not_count, setup,
						teardown),
	};

	return cmocka_run_group_tests_name("agent record", tests, NULL, NULL);
}
