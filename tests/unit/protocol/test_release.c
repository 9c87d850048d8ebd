/* SPDX-License-Identifier: Apache-2.0 */
/* release_check: one wrong thing at a time in a release that is otherwise good. */
#include "base/mem.h"
#include "base/str.h"
#include "protocol/manifest.h"
#include "sample.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void set_text(char **text, const char *value)
{
	free(*text);
	*text = value ? mem_str(value) : NULL;
}

/* Runs the statements on a good release and expects a refusal that says `says`. */
#define REFUSED(says, ...)                                                         \
	do {                                                                       \
		struct release r;                                                  \
		struct err err = {0};                                              \
		sample_release(&r);                                                \
		__VA_ARGS__;                                                       \
		if (release_check(&r, &err) != -EINVAL || !strstr(err.text, says)) \
			fail_msg("%s / %s", #__VA_ARGS__, err.text);               \
		release_free(&r);                                                  \
	} while (0)

#define ACCEPTED(...)                                                \
	do {                                                         \
		struct release r;                                    \
		struct err err = {0};                                \
		sample_release(&r);                                  \
		__VA_ARGS__;                                         \
		if (release_check(&r, &err) != 0)                    \
			fail_msg("%s / %s", #__VA_ARGS__, err.text); \
		release_free(&r);                                    \
	} while (0)

static void test_good(void **state)
{
	ACCEPTED((void)0);
	ACCEPTED(r.blobs_count = 2, free(r.blobs[2].path), free(r.blobs[3].path)); /* no files */
	ACCEPTED(STR_CUT(r.model, "a.b-c9"), STR_CUT(r.version, "1.0.0-rc.1+build_7"));
	ACCEPTED(set_text(&r.workdir, "/"));
	ACCEPTED(set_text(&r.workdir, "/srv/app"), set_text(&r.user, "1000:1000"));
	ACCEPTED(r.serve.port = 443, r.serve.privileged_port = true);
	ACCEPTED(set_text(&r.blobs[2].path, "..."), set_text(&r.blobs[3].path, "a b/\xc3\xa9..x"));
	ACCEPTED(r.health.kind = HEALTH_TCP, set_text(&r.health.http_path, NULL));
	ACCEPTED(set_text(&r.argv[1].text, "line\nbreaks are for scripts"));
}

static void test_names(void **state)
{
	static const char *const names[] = {"",    "-a",  ".a",       "A",  "a_b",
	                                    "a/b", "a b", "\xc3\xa9", "a\n"};
	static const char *const versions[] = {"",    ".1",  "-1",  "+1",
	                                       "1/2", "1 2", "1@2", "v\xc3\xa9"};
	char name[80] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		REFUSED("model: ", STR_CUT(r.model, names[i]));
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		REFUSED("version: ", STR_CUT(r.version, versions[i]));
	memset(name, 'a', LIMIT_NAME);
	assert_true(name_is_valid(name) && version_is_valid(name));
	name[LIMIT_NAME] = 'a';
	assert_false(name_is_valid(name) || version_is_valid(name));
	REFUSED("image: ", r.arch[0] = 0);
	REFUSED("image: ", STR_CUT(r.os, "linux/x"));
}

static void test_paths(void **state)
{
	static const char *const paths[] = {
	    "",    "/",   "/model", "..", "../x", "z/..",  "z/../y",   ".",
	    "./z", "z/.", "z//y",   "z/", "z\ny", "z\x7f", "\x1b[31m",
	};
	AUTO_FREE char *component = mem_alloc(300);
	char folder[32];

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		REFUSED("files: ", set_text(&r.blobs[3].path, paths[i]));
		if (str_starts(paths[i], "/"))
			continue;
		snprintf(folder, sizeof(folder), "/%s", paths[i]);
		REFUSED("working folder", set_text(&r.workdir, paths[i][0] ? folder : "x"));
	}
	REFUSED("files: ", set_text(&r.blobs[3].path, NULL));
	memset(component, 'z', 256);
	REFUSED("255", set_text(&r.blobs[3].path, component));
	component[255] = 0;
	ACCEPTED(set_text(&r.blobs[3].path, component));
}

static void test_unique_paths(void **state)
{
	REFUSED("sorted", set_text(&r.blobs[3].path, "model.safetensors"));
	REFUSED("sorted", set_text(&r.blobs[3].path, "a"));
	REFUSED("file and a folder", set_text(&r.blobs[2].path, "vocab"));
	REFUSED("file and a folder", set_text(&r.blobs[2].path, "vocab"),
	        set_text(&r.blobs[3].path, "vocab/x/y"));
	ACCEPTED(set_text(&r.blobs[2].path, "voca"));
}

static void test_blobs(void **state)
{
	REFUSED("image: ", r.blobs[0].kind = r.blobs[1].kind = BLOB_FILE);
	REFUSED("image: ", r.blobs_count = 0, free(r.blobs[2].path), free(r.blobs[3].path));
	REFUSED("before files", r.blobs[1].kind = BLOB_FILE, r.blobs[2].kind = BLOB_LAYER,
	        set_text(&r.blobs[1].path, "a"), set_text(&r.blobs[2].path, NULL));
	REFUSED("neither path nor mode", set_text(&r.blobs[0].path, "x"));
	REFUSED("neither path nor mode", r.blobs[1].mode = 0644);
	REFUSED("diff_id", memset(r.blobs[0].diff_id, 0, DIGEST_SIZE));
	REFUSED("digest", memset(&r.blobs[2].content, 0, DIGEST_SIZE));
	REFUSED("digest", memset(&r.blobs[2].index, 0, DIGEST_SIZE));
	REFUSED("chunk index", r.blobs[2].index_size = 0);
	REFUSED("chunk index", r.blobs[2].index_size = LIMIT_OBJECT + 1);
	REFUSED("permission bits", r.blobs[2].mode = 04755);
	REFUSED("bytes", r.blobs[0].size = UINT64_MAX);
	REFUSED("bytes", r.blobs[0].size = (UINT64_C(512) << 30) + 1);
	ACCEPTED(r.blobs[0].size = UINT64_C(512) << 30);
	ACCEPTED(r.blobs[2].size = 0);
}

static void test_release_size_does_not_wrap(void **state)
{
	struct release r;

	sample_release(&r);
	assert_int_equal(release_size(&r), 4000);
	r.blobs[0].size = UINT64_MAX;
	assert_true(release_size(&r) == UINT64_MAX);
	release_free(&r);
}

static void test_too_many(void **state)
{
	REFUSED("image: 1 to", {
		free(r.blobs[2].path);
		free(r.blobs[3].path);
		r.blobs = mem_resize(r.blobs, LIMIT_LAYERS + 1, sizeof(*r.blobs));
		for (size_t i = 1; i <= LIMIT_LAYERS; i++)
			r.blobs[i] = r.blobs[0];
		r.blobs_count = LIMIT_LAYERS + 1;
	});
}

static void test_how_it_runs(void **state)
{
	REFUSED("command: ", r.argv_count = 0, free(r.argv[0].text), free(r.argv[1].text));
	REFUSED("command: ", set_text(&r.argv[0].text, ""));
	REFUSED("command: ", set_text(&r.argv[0].text, NULL));
	REFUSED("command: argument 1", set_text(&r.argv[1].text, NULL));
	REFUSED("env: ", set_text(&r.env[0].name, "A=B"));
	REFUSED("env: ", set_text(&r.env[0].name, ""));
	REFUSED("env: ", set_text(&r.env[0].name, "A\nB"));
	REFUSED("env: ", set_text(&r.env[0].name, NULL));
	REFUSED("env: THREADS", set_text(&r.env[0].value, NULL));
	REFUSED("twice", set_text(&r.env[1].name, "THREADS"));
	REFUSED("user", set_text(&r.user, "root\n"));
	REFUSED("working folder", set_text(&r.workdir, "srv"));
	REFUSED("serve.port", r.serve.port = 0);
	REFUSED("serve.port", r.serve.port = 65536);
	REFUSED("privileged_port", r.serve.port = 1023);
	REFUSED("serve.container_port", r.serve.container_port = 0);
	REFUSED("serve.container_port", r.serve.container_port = 65536);
}

static void set_device(struct release *r, const char *path)
{
	r->resources.devices = mem_array(1, sizeof(*r->resources.devices));
	r->resources.devices_count = 1;
	r->resources.devices[0].text = mem_str(path);
}

static void test_devices(void **state)
{
	ACCEPTED(set_device(&r, "/dev/dri/renderD128"));
	REFUSED("devices[0]", set_device(&r, "/dev/../etc/shadow"));
	REFUSED("devices[0]", set_device(&r, "/etc/shadow"));
	REFUSED("devices[0]", set_device(&r, "dev/null"));
	REFUSED("devices[0]", set_device(&r, ""));
}

static void test_health(void **state)
{
	REFUSED("health.http", set_text(&r.health.http_path, NULL));
	REFUSED("health.http", set_text(&r.health.http_path, "healthz"));
	REFUSED("health.http", set_text(&r.health.http_path, "/a b"));
	REFUSED("health.http", set_text(&r.health.http_path, "/a\r\nHost: x"));
	REFUSED("health.command", r.health.kind = HEALTH_COMMAND);
	REFUSED("health: ", r.health.kind = HEALTH_KIND_COUNT);
	REFUSED("health.interval", r.health.interval_ms = 0);
	REFUSED("health.timeout", r.health.timeout_ms = 0);
	REFUSED("health.interval", r.health.interval_ms = UINT64_MAX);
	REFUSED("health.start_period", r.health.start_period_ms = UINT64_MAX);
	REFUSED("health.failures", r.health.failures = 0);
	REFUSED("health.failures", r.health.failures = 1001);
	ACCEPTED(r.health.start_period_ms = 0);
}

static void test_smokes(void **state)
{
	static const char *const methods[] = {
	    "", "get", "G E", "GET ", "POST\r\n", "M-SEARCH", "AAAAAAAAAAAAAAAAA"};

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		REFUSED("smoke[1] (eight): request.method",
		        set_text(&r.smokes[1].method, methods[i]));
	REFUSED("request.method", set_text(&r.smokes[0].method, NULL));
	REFUSED("request.path", set_text(&r.smokes[0].path, "classify"));
	REFUSED("request.path", set_text(&r.smokes[0].path, "/x HTTP/1.1\r\nA: b"));
	REFUSED("request.path", set_text(&r.smokes[0].path, NULL));
	REFUSED("content_type", set_text(&r.smokes[0].content_type, "text/plain\r\nA: b"));
	REFUSED("smoke[0].name", set_text(&r.smokes[0].name, ""));
	REFUSED("smoke[0].name", set_text(&r.smokes[0].name, NULL));
	REFUSED("smoke[1].name: seven is there twice", set_text(&r.smokes[1].name, "seven"));
	REFUSED("expect.status", r.smokes[0].expect_status = 99);
	REFUSED("expect.status", r.smokes[0].expect_status = 600);
	REFUSED("expect.tolerance", r.smokes[0].tolerance = -0.1);
	REFUSED("expect.tolerance", r.smokes[0].tolerance = NAN);
	ACCEPTED(r.smokes[0].expect_status = 0);
}

static void test_lineage(void **state)
{
	ACCEPTED(set_text(&r.lineage_code, "git:4f2a"));
	REFUSED("lineage.code", set_text(&r.lineage_code, "git\x1b[31m"));
	REFUSED("lineage.data", set_text(&r.lineage_data, "a\nb"));
	REFUSED("lineage.metrics", r.lineage_metrics = mem_array(1, sizeof(*r.lineage_metrics)),
	        r.lineage_metrics_count = 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),     cmocka_unit_test(test_names),
	    cmocka_unit_test(test_paths),    cmocka_unit_test(test_unique_paths),
	    cmocka_unit_test(test_blobs),    cmocka_unit_test(test_release_size_does_not_wrap),
	    cmocka_unit_test(test_too_many), cmocka_unit_test(test_how_it_runs),
	    cmocka_unit_test(test_devices),  cmocka_unit_test(test_health),
	    cmocka_unit_test(test_smokes),   cmocka_unit_test(test_lineage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
