/* SPDX-License-Identifier: Apache-2.0 */
/* `covey gate replay`: the real program on evidence as people write it, right and wrong. */
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <sys/wait.h>

struct ran {
	int code;
	char text[4096]; /* stdout and stderr */
};

static char path[] = "/tmp/covey-replay-XXXXXX";

static struct ran replay(const char *evidence, const char *options)
{
	AUTO_FREE char *command =
	    mem_format("\"$COVEY_BIN\" gate replay %s %s 2>&1", path, options);
	FILE *file = fopen(path, "w");
	struct ran ran = {0};
	int status;

	assert_non_null(file);
	fputs(evidence, file);
	assert_int_equal(fclose(file), 0);
	file = popen(command, "r");
	assert_non_null(file);
	ran.text[fread(ran.text, 1, sizeof(ran.text) - 1, file)] = 0;
	status = pclose(file);
	ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	return ran;
}

static json_t *result(const char *evidence)
{
	struct ran ran = replay(evidence, "-o json");
	json_t *json = json_loads(ran.text, 0, NULL);

	if (ran.code != 0 || !json)
		fail_msg("%s: exit code %d: %s", evidence, ran.code, ran.text);
	return json;
}

static void near(const json_t *json, const char *name, double wanted)
{
	double value = json_number_value(json_object_get(json, name));

	if (!(fabs(value - wanted) <= 1e-9 * fabs(wanted)))
		fail_msg("%s: %.17g is not %.17g", name, value, wanted);
}

static void test_rate_ratio(void **state)
{
	json_t *json = result("{\"test\":\"rate_ratio\",\"periods\":[[20,80,5,3],[20,80,7,5]],"
	                      "\"tolerance\":1,\"margin\":2,\"alpha\":0.05}");

	near(json, "ratio_lo", 1.519293398132281);
	near(json, "ratio_hi", 27.081534549302845);
	assert_string_equal(json_string_value(json_object_get(json, "verdict")), "fail");
	json_decref(json);
	json = result("{\"test\":\"rate_ratio\",\"periods\":[[20,80,0,20]]}");
	near(json, "ln_e_halt", -2.7725859513554854);
	near(json, "ln_e_promote", 6.795632107844696);
	assert_string_equal(json_string_value(json_object_get(json, "verdict")), "pass");
	assert_true(json_number_value(json_object_get(json, "ratio_lo")) == 0);
	json_decref(json);
	json = result("{\"test\":\"rate_ratio\",\"periods\":[[10,10,3,0]]}");
	near(json, "ln_e_halt", 1.4044265775116278);
	assert_string_equal(json_string_value(json_object_get(json, "verdict")), "inconclusive");
	assert_true(json_is_null(json_object_get(json, "ratio_hi"))); /* no bound */
	json_decref(json);
}

static void test_other_tests(void **state)
{
	json_t *json = result("{\"test\":\"exact\",\"periods\":[[20,80,8,31],[20,80,12,40],"
	                      "[20,80,11,38],[20,80,13,41]],\"alpha\":0.05}");

	near(json, "ln_e_halt", -0.8080369994954959);
	json_decref(json);
	json = result("{\"test\":\"hierarchical\",\"events\":[12,8],\"pi0\":0.2,\"m\":50}");
	near(json, "ln_e_halt", 4.629340985096611);
	json_decref(json);
	json = result("{\"test\":\"absolute\",\"n\":354,\"x\":0,\"slo\":0.01}");
	assert_true(json_number_value(json_object_get(json, "ln_e_promote")) >= log(20));
	json_decref(json);
	json = result("{\"test\":\"drift\",\"baseline\":[100,120,80,150,50],"
	              "\"window\":[30,50,20,80,20],\"m1\":30,\"m\":180}");
	near(json, "psi", 0.07176074856771386);
	near(json, "psi_critical", 0.1292677886703222);
	near(json, "js", 0.11343756859258544);
	near(json, "js_critical", 0.15268185782099178);
	near(json, "ln_e", -0.1167834876056304);
	json_decref(json);
}

/* Ones alone: M grows from 0 to an alarm in n steps, again and again. */
static void test_alarms(void **state)
{
	json_t *json = result("{\"test\":\"sr\",\"p0\":0.5,\"threshold\":5,"
	                      "\"outcomes\":\"0111111\"}"),
	       *alarms = json_object_get(json, "alarms");

	/* 0: M = .75 .5 0 0 0; 01: 2.1875 2.25 2 2 2; 011: 3.98 4.875 6 6 6, mean 5.37; anew:
	 * 1: 1.25 1.5 2 2 2; 11: 2.8125 3.75 6 6 6, mean 4.91; 111: beyond */
	assert_int_equal(json_array_size(alarms), 2);
	assert_int_equal(json_integer_value(json_array_get(alarms, 0)), 3);
	assert_int_equal(json_integer_value(json_array_get(alarms, 1)), 6);
	json_decref(json);
}

static void test_table(void **state)
{
	struct ran ran = replay("{\"test\":\"rate_ratio\",\"periods\":[[20,80,0,20]]}", "");

	assert_int_equal(ran.code, 0);
	assert_non_null(strstr(ran.text, "ln E promote   6.79563\n"));
	assert_non_null(strstr(ran.text, "verdict        pass\n"));
}

static void test_bad_input(void **state)
{
	static const struct {
		const char *evidence, *said;
	} cases[] = {
	    {"", ":1: this is not JSON"},
	    {"{\"test\":\"sr\",}", ":1: this is not JSON"},
	    {"[]", ": write one object"},
	    {"{}", ": test: write rate_ratio"},
	    {"{\"test\":\"z\"}", ": test: write rate_ratio"},
	    {"{\"test\":\"exact\",\"test\":\"sr\"}", "this is not JSON"},
	    {"{\"test\":\"exact\"}", ": periods: write a list"},
	    {"{\"test\":\"exact\",\"periods\":[]}", ": periods: write a list"},
	    {"{\"test\":\"exact\",\"periods\":[[1,2,3]]}", ": periods[0]: write a list of 4"},
	    {"{\"test\":\"exact\",\"periods\":[[1,2,1,1],[5,5,1,-1]]}", ": periods[1][3]: write"},
	    {"{\"test\":\"exact\",\"periods\":[[1,2,1.5,1]]}", ": periods[0][2]: write a whole"},
	    {"{\"test\":\"exact\",\"periods\":[[1,2,2,1]]}", ": periods[0]: more bad events"},
	    {"{\"test\":\"exact\",\"periods\":[[1,9000000000000,1,1]]}", ": periods[0][1]: write"},
	    {"{\"test\":\"rate_ratio\",\"periods\":[[0,2,1,1]]}",
	     ": periods[0]: bad events without"},
	    {"{\"test\":\"rate_ratio\",\"periods\":[[1,2,1,1]],\"tolerence\":1}",
	     ": tolerence: this test has no such field"},
	    {"{\"test\":\"rate_ratio\",\"periods\":[[1,2,1,1]],\"tolerance\":\"1\"}",
	     ": tolerance: is not a number"},
	    {"{\"test\":\"rate_ratio\",\"periods\":[[1,2,1,1]],\"tolerance\":16}",
	     ": tolerance: write a ratio"},
	    {"{\"test\":\"rate_ratio\",\"periods\":[[1,2,1,1]],\"margin\":0}", ": margin: write"},
	    {"{\"test\":\"rate_ratio\",\"periods\":[[1,2,1,1]],\"alpha\":1}", ": alpha: write"},
	    {"{\"test\":\"hierarchical\",\"events\":[1,2],\"m\":50}", ": pi0: is missing"},
	    {"{\"test\":\"hierarchical\",\"events\":[1,2],\"pi0\":0.2,\"m\":0}", ": m: write"},
	    {"{\"test\":\"hierarchical\",\"events\":[1],\"pi0\":0.2,\"m\":9}", ": events: write"},
	    {"{\"test\":\"absolute\",\"n\":3,\"x\":4,\"slo\":0.1}", ": x: more failures"},
	    {"{\"test\":\"absolute\",\"x\":4,\"slo\":0.1}", ": n: is missing"},
	    {"{\"test\":\"absolute\",\"n\":3,\"x\":0,\"slo\":0}", ": slo: write a number between"},
	    {"{\"test\":\"drift\",\"baseline\":[1],\"window\":[1]}",
	     ": baseline: write a list of 2"},
	    {"{\"test\":\"drift\",\"baseline\":[1,2],\"window\":[1]}",
	     ": window: write a list of 2"},
	    {"{\"test\":\"drift\",\"baseline\":[0,0],\"window\":[1,1]}", ": baseline: holds no"},
	    {"{\"test\":\"drift\",\"baseline\":[1,1],\"window\":[0,0]}", ": window: holds no"},
	    {"{\"test\":\"drift\",\"baseline\":[1,1],\"window\":[1,0],\"m1\":0}", ": m1: write"},
	    {"{\"test\":\"drift\",\"baseline\":[1,1],\"window\":[1,0],\"m\":-2}", ": m: write"},
	    {"{\"test\":\"hierarchical\",\"events\":[1,2],\"pi0\":1e-300,\"m\":9}", ": m: write"},
	    {"{\"test\":\"drift\",\"baseline\":[1,1],\"window\":[1,0],\"alpha\":1e-300}",
	     ": alpha: write at least"},
	    {"{\"test\":\"sr\",\"p0\":0.1,\"outcomes\":\"012\"}", ": outcomes: write"},
	    {"{\"test\":\"sr\",\"p0\":0.1,\"threshold\":1,\"outcomes\":\"0\"}",
	     ": threshold: write"},
	    {"{\"test\":\"sr\",\"p0\":0.1,\"outcomes\":7}", ": outcomes: write"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ran ran = replay(cases[i].evidence, "-o json");

		if (ran.code != 2 || !strstr(ran.text, path) || !strstr(ran.text, cases[i].said))
			fail_msg("%s: exit code %d: %s", cases[i].evidence, ran.code, ran.text);
		assert_ptr_equal(strchr(ran.text, '\n'), ran.text + strlen(ran.text) - 1);
	}
}

/* ---- the reference values, through the program ---- */

static const json_t *vectors;

static const json_t *get(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (!value)
		fail_msg("%s is not there", name);
	return value;
}

static double number(const json_t *object, const char *name)
{
	return json_number_value(get(object, name));
}

/* x of n events with the share w, in one period of 1,000 attempts. */
static json_t *ratio_of(const json_t *c, double tolerance, double margin)
{
	long x = (long)number(c, "x"), n = (long)number(c, "n"),
	     canary = (long)(number(c, "w") * 1000);
	AUTO_FREE char *evidence = mem_format(
	    "{\"test\":\"rate_ratio\",\"periods\":[[%ld,%ld,%ld,%ld]],\"tolerance\":%g,"
	    "\"margin\":%g,\"alpha\":0.05}",
	    canary, 1000 - canary, x, n - x, tolerance, margin);

	return result(evidence);
}

static void test_vectors_of_ratios(void **state)
{
	const json_t *grid = get(get(vectors, "rate_ratio_grid"), "cases"),
	             *bounds = get(vectors, "rate_ratio_cs95");

	for (size_t i = 0; i < json_array_size(grid); i++) {
		const json_t *c = json_array_get(grid, i);
		json_t *a = ratio_of(c, 1, 2), *b = ratio_of(c, 1.25, 1.5);

		near(a, "ln_e_halt", number(c, "lnE_halt_rho_gt_1"));
		near(a, "ln_e_promote", number(c, "lnE_promote_rho_lt_2"));
		near(b, "ln_e_halt", number(c, "lnE_halt_rho_gt_1.25"));
		near(b, "ln_e_promote", number(c, "lnE_promote_rho_lt_1.5"));
		json_decref(a);
		json_decref(b);
	}
	for (size_t i = 0; i < json_array_size(bounds); i++) {
		const json_t *c = json_array_get(bounds, i);
		json_t *a = ratio_of(c, 1, 2);

		near(a, "ratio_lo", number(c, "lo"));
		near(a, "ratio_hi", number(c, "hi"));
		json_decref(a);
	}
}

static void test_vectors_of_counts(void **state)
{
	const json_t *shares = get(get(vectors, "hier_share"), "cases");
	json_t *needed = json_object_iter_value(
	           json_object_iter((json_t *)get(vectors, "abs_slo_zero_failure"))),
	       *n;
	const char *slo;

	for (size_t i = 0; i < json_array_size(shares); i++) {
		const json_t *c = json_array_get(shares, i);
		AUTO_FREE char *evidence = mem_format(
		    "{\"test\":\"hierarchical\",\"events\":[%.0f,%.0f],\"pi0\":%.17g,"
		    "\"m\":%.17g}",
		    number(c, "a"), number(c, "b"), number(c, "pi0"), number(c, "m"));
		json_t *json = result(evidence);

		near(json, "ln_e_halt", number(c, "lnE"));
		json_decref(json);
	}
	json_object_foreach(needed, slo, n)
	{
		for (json_int_t less = 0; less < 2; less++) {
			AUTO_FREE char *evidence =
			    mem_format("{\"test\":\"absolute\",\"n\":%lld,\"x\":0,\"slo\":%s}",
			               (long long)(json_integer_value(n) - less), slo);
			json_t *json = result(evidence);
			double ln_e = json_number_value(get(json, "ln_e_promote"));

			assert_true(less ? ln_e < log(20) : ln_e >= log(20));
			json_decref(json);
		}
	}
}

/* Alarms count from 0 in the file, and from 1 in what people read. */
static void test_vectors_of_streams(void **state)
{
	static const struct {
		const char *name;
		uint64_t seed;
		double before, after;
	} streams[] = {{"seed 7 p 0.05->0.2 at 2000, n=4000", 7, 0.05, 0.2},
	               {"seed 8 p 0.2->0.5 at 2000, n=4000", 8, 0.2, 0.5}};
	const json_t *all = get(get(vectors, "stream_detectors_splitmix64"), "streams");

	for (size_t s = 0; s < ARRAY_SIZE(streams); s++) {
		const json_t *wanted =
		    get(get(all, streams[s].name), "SR(grid 1.25,1.5,2,3,5 x p0, A=1e5)");
		struct rng rng = {streams[s].seed};
		char outcomes[4001] = "";
		AUTO_FREE char *evidence = NULL;
		json_t *json, *alarms;

		for (int t = 0; t < 4000; t++)
			outcomes[t] = rng_unit(&rng) < (t < 2000 ? streams[s].before
			                                         : streams[s].after)
			                  ? '1'
			                  : '0';
		evidence = mem_format("{\"test\":\"sr\",\"p0\":%g,\"threshold\":1e5,"
		                      "\"outcomes\":\"%s\"}",
		                      streams[s].before, outcomes);
		json = result(evidence);
		alarms = json_object_get(json, "alarms");
		assert_int_equal(json_array_size(alarms), json_array_size(wanted));
		for (size_t i = 0; i < json_array_size(alarms); i++)
			assert_int_equal(json_integer_value(json_array_get(alarms, i)),
			                 json_integer_value(json_array_get(wanted, i)) + 1);
		json_decref(json);
	}
}

static void test_no_file(void **state)
{
	struct ran ran;

	unlink(path);
	ran = replay("{}", "extra");
	assert_int_equal(ran.code, 2);
	ran = replay("{}", "&& false; \"$COVEY_BIN\" gate replay /nonexistent/evidence.json");
	assert_int_equal(ran.code, 2);
	assert_non_null(strstr(ran.text, "/nonexistent/evidence.json: No such file"));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rate_ratio), cmocka_unit_test(test_other_tests),
	    cmocka_unit_test(test_alarms),     cmocka_unit_test(test_table),
	    cmocka_unit_test(test_vectors_of_ratios),
	    cmocka_unit_test(test_vectors_of_counts),
	    cmocka_unit_test(test_vectors_of_streams),
	    cmocka_unit_test(test_bad_input),  cmocka_unit_test(test_no_file),
	};
	int fd = mkstemp(path), r;

	vectors = argc > 1 ? json_load_file(argv[1], 0, NULL) : NULL;
	if (fd < 0 || !vectors)
		return 1;
	close(fd);
	r = cmocka_run_group_tests_name("stats: replay", tests, NULL, NULL);
	unlink(path);
	return r;
}
