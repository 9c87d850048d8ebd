/* SPDX-License-Identifier: Apache-2.0 */
/* Units, hex, buffers and sentences of base. */
#include "base/err.h"
#include "base/lines.h"
#include "base/rng.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {{"500ms", 500},    {"2s", 2000},   {"5m", 300000}, {"24h", 86400000},
	            {"7d", 604800000}, {"1.5s", 1500}, {"0", 0}};
	static const char *const bad[] = {"",     "5",    "s",   "-1s", "1 s", "1s ",
	                                  "1e3s", "0x1s", "inf", "nan", "1S",  "99999999999999999d",
	                                  "+1s",  ".s"};
	char text[STR_DURATION_MAX];
	uint64_t ms;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(str_parse_duration(good[i].text, &ms), 0);
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (str_parse_duration(bad[i], &ms) == 0)
			fail_msg("accepted: %s", bad[i]);
	str_format_duration(text, 90000);
	assert_string_equal(text, "1m30s");
	str_format_duration(text, 250);
	assert_string_equal(text, "250ms");
}

static void test_sizes_and_numbers(void **state)
{
	char text[STR_SIZE_MAX];
	uint64_t value;

	assert_int_equal(str_parse_size("512MiB", &value), 0);
	assert_int_equal(value, UINT64_C(512) << 20);
	assert_int_equal(str_parse_size("100", &value), 0);
	assert_int_equal(value, 100);
	assert_int_not_equal(str_parse_size("1MB", &value), 0);
	assert_int_equal(str_parse_u64("65535", 65535, &value), 0);
	assert_int_equal(str_parse_u64("65536", 65535, &value), -ERANGE);
	assert_int_equal(str_parse_u64("18446744073709551616", UINT64_MAX, &value), -ERANGE);
	assert_int_equal(str_parse_u64("18446744073709551615", UINT64_MAX, &value), 0);
	assert_int_equal(str_parse_u64("+1", 9, &value), -EINVAL);
	assert_int_equal(str_parse_u64("", 9, &value), -EINVAL);
	str_format_size(text, 13107200);
	assert_string_equal(text, "12.5 MiB");
}

static void test_hex(void **state)
{
	static const uint8_t bytes[] = {0x00, 0x1f, 0xff};
	uint8_t back[3] = {0};
	char text[7];

	str_hex(text, bytes, sizeof(bytes));
	assert_string_equal(text, "001fff");
	assert_int_equal(str_unhex(back, 3, text), 0);
	assert_memory_equal(back, bytes, 3);
	assert_int_not_equal(str_unhex(back, 3, "001ff"), 0);
	assert_int_not_equal(str_unhex(back, 3, "001ffg"), 0);
}

static void test_buffers(void **state)
{
	AUTO_STR struct str s = {0};
	char small[4] = "x";

	assert_string_equal(str_get(&s), "");
	for (int i = 0; i < 1000; i++)
		str_addf(&s, "%d,", i);
	str_add(&s, "end");
	assert_int_equal(s.size, strlen(s.data));
	assert_string_equal(s.data + s.size - 7, "999,end");
	assert_int_equal(STR_SET(small, "abcd"), -ENAMETOOLONG);
	assert_string_equal(small, "x");
	STR_CUT(small, "abcd");
	assert_string_equal(small, "abc");
}

static void test_sentences(void **state)
{
	struct err err = {0};

	assert_int_equal(err_set(NULL, -EINVAL, "nobody reads it"), -EINVAL);
	assert_string_equal(err_text(NULL, -ENOENT), strerror(ENOENT));
	assert_int_equal(err_prefix(&err, -ENOENT, "file"), -ENOENT);
	assert_string_equal(err_text(&err, -ENOENT), "file: No such file or directory");
	err_set(&err, -EINVAL, "%s", "wrong");
	err_prefix(&err, -EINVAL, "line %d", 4);
	assert_string_equal(err.text, "line 4: wrong");
	for (int i = 0; i < 200; i++)
		err_prefix(&err, -EINVAL, "deeper");
	assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
}

static void test_rng_is_repeatable(void **state)
{
	struct rng a = {.state = 42}, b = {.state = 42};
	uint32_t items[100], seen = 0;

	for (uint32_t i = 0; i < 100; i++)
		items[i] = i;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(rng_below(&a, 7), rng_below(&b, 7));
	rng_shuffle(&a, items, 100);
	for (uint32_t i = 0; i < 100; i++)
		seen += items[i];
	assert_int_equal(seen, 4950);
	/* Reference value of splitmix64 for seed 0. */
	a.state = 0;
	assert_true(rng_next(&a) == UINT64_C(0xe220a8397b1dcdaf));
}

static void test_lines_are_whole(void **state)
{
	static const char text[] = "one\n\nfour567\n12345678\nnot read\n";
	AUTO_FCLOSE FILE *file = fmemopen((char *)text, strlen(text), "r");
	struct lines lines = {.file = file};
	char line[9];

	assert_string_equal(lines_read(line, sizeof(line), &lines), "one\n");
	assert_string_equal(lines_read(line, sizeof(line), &lines), "\n");
	assert_string_equal(lines_read(line, sizeof(line), &lines), "four567\n");
	assert_null(lines_read(line, sizeof(line), &lines));
	assert_true(lines.too_long);
	assert_int_equal(lines.number, 4);
	assert_null(lines_read(line, sizeof(line), &lines));
	assert_int_equal(lines.number, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_durations), cmocka_unit_test(test_sizes_and_numbers),
	    cmocka_unit_test(test_hex),       cmocka_unit_test(test_buffers),
	    cmocka_unit_test(test_sentences), cmocka_unit_test(test_rng_is_repeatable),
	    cmocka_unit_test(test_lines_are_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
