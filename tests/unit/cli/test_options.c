/* SPDX-License-Identifier: Apache-2.0 */
/* The option parser alone: forms, environment, refusals. */
#include "coordinator/cli/options.h"
#include "fake.h"

#include <string.h>

static int parse(struct options *o, uint64_t accepted, char **argv, struct err *err)
{
	int argc = 0, at = 0;

	options_init(o);
	while (argv[argc])
		argc++;
	return options_parse(o, accepted, false, argc, argv, &at, err);
}

#define PARSE(o, accepted, err, ...) parse(o, accepted, (char *[]){__VA_ARGS__, NULL}, err)

static void test_forms(void **state)
{
	uint64_t all = OPTIONS_COMMON | OPT(FILE) | OPT(YES) | OPT(LABEL) | OPT(TTL) | OPT(USES);
	struct options o;
	struct err err = {0};

	assert_int_equal(
	    PARSE(&o, all, &err, "-o", "json", "one", "--timeout=5m", "-yf", "x", "two"), 0);
	assert_int_equal(o.output, OUTPUT_JSON);
	assert_int_equal(o.timeout_ms, 300000);
	assert_true(o.yes);
	assert_string_equal(o.file, "x");
	assert_int_equal(o.args_count, 2);
	assert_string_equal(o.args[1], "two");
	assert_int_equal(PARSE(&o, all, &err, "-owide", "--", "-y", "--file"), 0);
	assert_int_equal(o.output, OUTPUT_WIDE);
	assert_false(o.yes);
	assert_string_equal(o.args[0], "-y");
	assert_int_equal(PARSE(&o, all, &err, "--label", "a=b", "--label=c=d", "--uses", "7"), 0);
	assert_int_equal(o.labels.count, 2);
	assert_string_equal(o.labels.items[1], "c=d");
	assert_int_equal(o.uses, 7);
	assert_int_equal(o.ttl_ms, 3600000);
	assert_int_equal(PARSE(&o, all, &err, "-"), 0);
	assert_string_equal(o.args[0], "-");
}

static void test_refusals(void **state)
{
	static const struct {
		const char *first, *second, *text;
	} cases[] = {
	    {"--nope", NULL, "there is no option --nope"},
	    {"-q", NULL, "there is no option -q"},
	    {"--detach", NULL, "there is no option --detach"}, /* not of this verb */
	    {"-o", "xml", "-o does not take `xml`; write table|wide|json"},
	    {"--output", NULL, "--output needs a value; write table|wide|json"},
	    {"--output=", NULL, "does not take ``"},
	    {"--timeout", "5", "does not take `5`; write a time such as 30s"},
	    {"--yes=maybe", NULL, "--yes does not take `maybe`; write 1 or 0"},
	    {"--file=", NULL, "--file does not take ``; write FILE"},
	    {"--out", "json", "there is no option --out"}, /* no guessing */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *argv[] = {(char *)(uintptr_t)cases[i].first,
		                (char *)(uintptr_t)cases[i].second, NULL};
		struct options o;
		struct err err = {0};

		assert_int_equal(parse(&o, OPTIONS_COMMON | OPT(YES) | OPT(FILE), argv, &err),
		                 -EINVAL);
		if (!strstr(err.text, cases[i].text))
			fail_msg("%s: %s", cases[i].first, err.text);
	}
}

/* -f is --file for one verb and --follow for another. */
static void test_letter_depends_on_verb(void **state)
{
	struct options o;
	struct err err = {0};

	assert_int_equal(PARSE(&o, OPT(FOLLOW), &err, "-f"), 0);
	assert_true(o.follow);
	assert_int_equal(PARSE(&o, OPT(FILE), &err, "-f"), -EINVAL);
}

/* spec: CLI-3 */
static void test_environment(void **state)
{
	uint64_t accepted = OPTIONS_COMMON | OPT(ALLOW_REMOVAL) | OPT(LABEL);
	struct options o;
	struct err err = {0};
	char *argv[] = {(char[]){"-o"}, (char[]){"wide"}, (char[]){"--label"}, (char[]){"b=2"}};
	int at = 0;

	setenv("COVEY_OUTPUT", "json", 1);
	setenv("COVEY_ALLOW_REMOVAL", "1", 1);
	setenv("COVEY_DETACH", "nonsense", 1); /* not of this verb: not read */
	setenv("COVEY_LABEL", "a=1", 1);
	setenv("COVEY_SELECTOR", "", 1);
	options_init(&o);
	assert_int_equal(options_environment(&o, accepted, &err), 0);
	assert_int_equal(o.output, OUTPUT_JSON);
	assert_true(o.allow_removal);
	assert_string_equal(o.labels.items[0], "a=1");
	assert_int_equal(options_parse(&o, accepted, false, 4, argv, &at, &err), 0);
	assert_int_equal(o.output, OUTPUT_WIDE); /* what is written wins */
	assert_int_equal(o.labels.count, 1);
	assert_string_equal(o.labels.items[0], "b=2");
	setenv("COVEY_OUTPUT", "paper", 1);
	assert_int_equal(options_environment(&o, accepted, &err), -EINVAL);
	assert_non_null(strstr(err.text, "COVEY_OUTPUT does not take `paper`"));
}

static void test_stops_at_word(void **state)
{
	char *argv[] = {(char[]){"-o"}, (char[]){"json"}, (char[]){"node"}, (char[]){"--nope"}};
	struct options o;
	struct err err = {0};
	int at = 0;

	options_init(&o);
	assert_int_equal(options_parse(&o, OPTIONS_COMMON, true, 4, argv, &at, &err), 0);
	assert_int_equal(at, 2);
	assert_int_equal(o.args_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_forms),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_letter_depends_on_verb),
	    cmocka_unit_test(test_environment),
	    cmocka_unit_test(test_stops_at_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
