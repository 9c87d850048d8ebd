/* SPDX-License-Identifier: Apache-2.0 */
/* The selector's grammar, case by case: what it selects, what it refuses and where. */
#include "base/selector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct selector_label labels[] = {
    {"site", "lyon"}, {"hw", "new"}, {"ring", "1"}, {"gpu", ""}, {"covey.dev/rack", "a-7"},
};

static bool matches(const char *text)
{
	struct err err = {0};

	if (selector_check(text, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return selector_matches(text, labels, ARRAY_SIZE(labels));
}

static void test_matches(void **state)
{
	static const struct {
		const char *text;
		bool expected;
	} cases[] = {
	    {"all", true},
	    {"site=lyon", true},
	    {"site==lyon", true},
	    {"site = lyon", true},
	    {"site=paris", false},
	    {"site=lyo", false},
	    {"site=lyons", false},
	    {"sit=lyon", false},
	    {"site!=lyon", false},
	    {"site!=paris", true},
	    {"absent!=x", true},
	    {"site in (lyon,paris)", true},
	    {"site in ( paris , lyon )", true},
	    {"site in(lyon)", true},
	    {"site in (paris,lyo,lyons)", false},
	    {"absent in (x)", false},
	    {"site notin (lyon)", false},
	    {"site notin (paris)", true},
	    {"absent notin (x)", true},
	    {"gpu", true},
	    {"gpu=", true},
	    {"gpu in ()", true},
	    {"gpu in (x,)", true},
	    {"site in (x,)", false},
	    {"!gpu", false},
	    {"! gpu", false},
	    {"edge", false},
	    {"!edge", true},
	    {"ring=1,gpu,!edge", true},
	    {"site in (lyon,paris),hw!=old,ring=1,gpu,!edge", true},
	    {"site in (lyon,paris),hw!=new", false},
	    {"edge,site=lyon", false},
	    {" site=lyon , gpu ", true},
	    {"covey.dev/rack=a-7", true},
	    {"in in (x)", false},
	    {"notin notin (x)", true},
	    {"all=x", false},
	    {"ALL", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (matches(cases[i].text) != cases[i].expected)
			fail_msg("%s", cases[i].text);
}

static void test_all_needs_no_labels(void **state)
{
	assert_true(selector_matches("all", NULL, 0));
	assert_false(selector_matches("site", NULL, 0));
	assert_true(selector_matches("!site", NULL, 0));
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
	    {"", "empty"},
	    {"  ", "empty"},
	    {",", "character 1:"},
	    {"a,", "character 3:"},
	    {"a,,b", "character 3:"},
	    {"=x", "character 1:"},
	    {"a=b=c", "character 4:"},
	    {"a b", "character 3:"},
	    {"a in", "character 5:"},
	    {"a in x", "character 6:"},
	    {"a in (x", "character 8:"},
	    {"a in (x y)", "character 9:"},
	    {"a in (x))", "character 9:"},
	    {"a in (x)b", "character 9:"},
	    {"a>1", "character 2:"},
	    {"-a=1", "character 1:"},
	    {"a/=1", "character 1:"},
	    {"a/b/c=1", "character 1:"},
	    {"a=-x", "character 3:"},
	    {"a=x.", "character 3:"},
	    {"!", "character 2:"},
	    {"!a=b", "character 3:"},
	    {"a!", "character 2:"},
	    {"s\xc3\xa9=1", "character 2:"},
	    {"a\n=1", "character 2:"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};

		if (selector_check(cases[i].text, &err) != -EINVAL)
			fail_msg("accepted: %s", cases[i].text);
		if (!strstr(err.text, cases[i].says))
			fail_msg("%s: %s", cases[i].text, err.text);
	}
}

static void test_lengths(void **state)
{
	char text[256] = {0};

	memset(text, 'a', 63);
	assert_int_equal(selector_check(text, NULL), 0);
	assert_int_equal(selector_check_label(text, text, NULL), 0);
	text[63] = 'a';
	assert_int_equal(selector_check(text, NULL), -EINVAL);
	assert_int_equal(selector_check_label(text, "", NULL), -EINVAL);
	assert_int_equal(selector_check_label("a", text, NULL), -EINVAL);
	assert_int_equal(selector_check_label("", "x", NULL), -EINVAL);
	assert_int_equal(selector_check_label("a", "x y", NULL), -EINVAL);
	assert_int_equal(selector_check_label("a", "x,y", NULL), -EINVAL);
	assert_int_equal(selector_check_label("a", "\x1b[0m", NULL), -EINVAL);
	assert_int_equal(selector_check_label("covey.dev/a", "", NULL), 0);
}

/* Every prefix of a good selector either parses or says why; none reads beyond its end. */
static void test_prefixes(void **state)
{
	static const char whole[] = "site in (lyon,paris),hw!=old,ring==1,gpu,!edge,x notin (y)";

	for (size_t size = 0; size < sizeof(whole); size++) {
		char *text = strndup(whole, size);
		struct err err = {0};

		if (selector_check(text, &err) == 0)
			selector_matches(text, labels, ARRAY_SIZE(labels));
		else
			assert_true(err.text[0]);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_matches),  cmocka_unit_test(test_all_needs_no_labels),
	    cmocka_unit_test(test_refused),  cmocka_unit_test(test_lengths),
	    cmocka_unit_test(test_prefixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
