/* SPDX-License-Identifier: Apache-2.0 */
/* From a release to config.json, and whose names of users count. */
#include "agent/helper/bundle.h"

#include "agent/helper/paths.h"
#include "agent/helper/preflight.h"
#include "base/mem.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct text_item argv[] = {{"/server"}, {"--fast"}};
static struct env_var env[] = {{"PATH", "/opt/bin"}, {"PORT", "1"}, {"THREADS", "2"}};
static struct release release;
static struct bundle bundle;

static int setup(void **state)
{
	(void)state;
	release = (struct release){.model = "ocr",
	                           .version = "2.1.0",
	                           .argv = argv,
	                           .argv_count = 2,
	                           .env = env,
	                           .env_count = 3,
	                           .resources = {.memory_bytes = 512 << 20, .cpu_millis = 1500}};
	bundle = (struct bundle){.release = &release,
	                         .colour = "blue",
	                         .node = "edge-1",
	                         .hostname = "ocr-blue",
	                         .rootfs = "/r",
	                         .model = "/m",
	                         .observe = "/o",
	                         .cgroup = "/covey/x/ocr-blue",
	                         .port = 8000,
	                         .limit_memory = true,
	                         .limit_cpu = true,
	                         .limit_pids = true,
	                         .user = {.uid = 1000, .gid = 1000}};
	return 0;
}

static json_t *make(void)
{
	AUTO_STR struct str text = {0};
	struct err err = {0};
	json_t *json;

	assert_int_equal(bundle_format(&bundle, &text, &err), 0);
	json = json_loads(text.data, 0, NULL);
	assert_non_null(json);
	return json;
}

static const json_t *at(const json_t *json, const char *path)
{
	AUTO_FREE char *copy = mem_str(path);
	char *rest = copy, *key;

	while (json && (key = strsep(&rest, "/")))
		json = json_object_get(json, key);
	return json;
}

static bool has_text(const json_t *array, const char *text)
{
	size_t i;
	const json_t *item;

	json_array_foreach(array, i, item)
	{
		if (json_is_string(item) && strcmp(json_string_value(item), text) == 0)
			return true;
	}
	return false;
}

static void the_container_is_confined(void **state)
{
	static const char *const sets[] = {"bounding", "effective", "inheritable", "permitted",
	                                   "ambient"};
	json_t *json = make();

	(void)state;
	assert_true(json_is_true(at(json, "root/readonly")));
	assert_true(json_is_true(at(json, "process/noNewPrivileges")));
	assert_true(json_is_false(at(json, "process/terminal")));
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		const json_t *set = json_object_get(at(json, "process/capabilities"), sets[i]);

		assert_true(json_is_array(set));
		assert_int_equal(json_array_size(set), 0);
	}
	assert_string_equal(json_string_value(at(json, "linux/seccomp/defaultAction")),
	                    "SCMP_ACT_ERRNO");
	assert_true(json_array_size(at(json, "linux/maskedPaths")) >= 8);
	assert_true(has_text(at(json, "linux/readonlyPaths"), "/proc/sys"));
	assert_int_equal(json_array_size(at(json, "linux/namespaces")), 5);
	assert_int_equal(json_integer_value(at(json, "process/user/uid")), 1000);
	json_decref(json);
	release.serve.network = SERVE_NETWORK_HOST;
	json = make();
	assert_int_equal(json_array_size(at(json, "linux/namespaces")), 4);
	json_decref(json);
}

static void ids_of_its_own_are_asked_for(void **state)
{
	AUTO_STR struct str text = {0};
	json_t *json;

	(void)state;
	bundle.first_id = 1879048192;
	json = make();
	assert_int_equal(json_array_size(at(json, "linux/namespaces")), 6);
	for (int i = 0; i < 2; i++) {
		const json_t *map = json_array_get(
		    json_object_get(json_object_get(json, "linux"),
		                    i ? "gidMappings" : "uidMappings"),
		    0);

		assert_int_equal(json_integer_value(at(map, "containerID")), 0);
		assert_int_equal(json_integer_value(at(map, "hostID")), 1879048192);
		assert_int_equal(json_integer_value(at(map, "size")), 65536);
	}
	json_decref(json);
	bundle.user.uid = 65536;
	assert_int_equal(bundle_format(&bundle, &text, NULL), -EINVAL);
	bundle.first_id = 0;
	json = make();
	assert_null(at(json, "linux/uidMappings"));
	json_decref(json);
}

static void dangerous_calls_are_not_allowed(void **state)
{
	static const char *const never[] = {"mount",
	                                    "umount2",
	                                    "setns",
	                                    "unshare",
	                                    "bpf",
	                                    "keyctl",
	                                    "reboot",
	                                    "ptrace2",
	                                    "io_uring_setup",
	                                    "kexec_load",
	                                    "init_module",
	                                    "open_by_handle_at",
	                                    "perf_event_open",
	                                    "clone3",
	                                    "socket",
	                                    "clone"};
	json_t *json = make();
	size_t i;
	const json_t *rule;

	(void)state;
	json_array_foreach(at(json, "linux/seccomp/syscalls"), i, rule)
	{
		if (json_array_size(json_object_get(rule, "args")) > 0 ||
		    strcmp(json_string_value(json_object_get(rule, "action")), "SCMP_ACT_ALLOW"))
			continue;
		assert_true(has_text(json_object_get(rule, "names"), "epoll_wait"));
		for (size_t k = 0; k < ARRAY_SIZE(never); k++)
			if (has_text(json_object_get(rule, "names"), never[k]))
				fail_msg("%s is allowed", never[k]);
	}
	json_decref(json);
}

static void limits_and_variables_are_those_of_the_release(void **state)
{
	json_t *json = make();
	const json_t *vars = at(json, "process/env");

	(void)state;
	assert_int_equal(json_integer_value(at(json, "linux/resources/memory/limit")), 512 << 20);
	assert_int_equal(json_integer_value(at(json, "linux/resources/cpu/quota")), 150000);
	assert_int_equal(json_integer_value(at(json, "linux/resources/pids/limit")),
	                 BUNDLE_PIDS_DEFAULT);
	assert_true(has_text(vars, "PATH=/opt/bin"));
	assert_true(has_text(vars, "THREADS=2"));
	assert_true(has_text(vars, "PORT=8000")); /* ours wins */
	assert_false(has_text(vars, "PORT=1"));
	assert_true(has_text(vars, "COVEY_RELEASE=ocr@2.1.0"));
	assert_true(has_text(vars, "COVEY_SLOT=blue"));
	assert_true(has_text(vars, "COVEY_NODE=edge-1"));
	json_decref(json);
	bundle.limit_memory = bundle.limit_pids = false;
	json = make();
	assert_null(at(json, "linux/resources/memory"));
	assert_null(at(json, "linux/resources/pids"));
	json_decref(json);
}

static void what_cannot_be_said_is_refused(void **state)
{
	AUTO_STR struct str text = {0};
	struct err err = {0};

	(void)state;
	release.argv_count = 0;
	assert_int_equal(bundle_format(&bundle, &text, &err), -EINVAL);
	release.argv_count = 2;
	bundle.node = "\xff\xfe";
	assert_int_equal(bundle_format(&bundle, &text, &err), -EINVAL);
}

/* ---- users ---- */

static char dir[] = "/tmp/covey-users-XXXXXX";

static void put(const char *name, const char *text)
{
	AUTO_FREE char *path = mem_format("%s/%s", dir, name);

	assert_int_equal(paths_write(path, text, strlen(text), 0644, NULL), 0);
}

static struct bundle_user user_of(const char *text)
{
	struct bundle_user user = {0};
	struct err err = {0};

	assert_int_equal(bundle_user_find(dir, text, &user, &err), 0);
	return user;
}

static void names_of_users_are_the_images(void **state)
{
	AUTO_FREE char *etc = NULL, *link = NULL;
	struct bundle_user user;

	(void)state;
	assert_non_null(mkdtemp(dir));
	etc = mem_format("%s/etc", dir);
	assert_int_equal(user_of("1000").uid, 1000); /* no files at all */
	assert_int_equal(user_of("").uid, 0);
	assert_int_equal(bundle_user_find(dir, "model", &user, NULL), -ENOENT);
	assert_int_equal(mkdir(etc, 0755), 0);
	put("etc/passwd", "root:x:0:0::/:/bin/sh\nbroken\nmodel:x:1000:1001::/:/bin/sh\n"
	                  "huge:x:99999999999:1::/:\nlast:x:7:8");
	put("etc/group",
	    "root:x:0:\nvideo:x:44:someone,model\nrender:x:105:model\nbad:x:y:model\n");
	user = user_of("model");
	assert_int_equal(user.uid, 1000);
	assert_int_equal(user.gid, 1001);
	assert_int_equal(user.groups_count, 2);
	assert_int_equal(user.groups[1], 105);
	user = user_of("model:video");
	assert_int_equal(user.gid, 44);
	assert_int_equal(user.groups_count, 0);
	assert_int_equal(user_of("1000").gid, 1001);
	assert_int_equal(user_of("4:5").gid, 5);
	assert_int_equal(user_of("last").gid, 8);
	assert_int_equal(bundle_user_find(dir, "huge", &user, NULL), -ENOENT);
	assert_int_equal(bundle_user_find(dir, "model:nobody", &user, NULL), -ENOENT);
	/* a symlink means a file of the image, not the node's */
	link = mem_format("%s/etc/passwd", dir);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink("/etc/passwd", link), 0);
	assert_int_equal(bundle_user_find(dir, "daemon", &user, NULL), -ENOENT);
	assert_int_equal(paths_remove(dir, NULL), 0);
}

static void devices_need_consent(void **state)
{
	struct text_item wanted[] = {{"/dev/null"}, {"/dev/zero"}};
	struct bundle_device devices[LIMIT_DEVICES];
	struct agent_config config;
	size_t count;

	(void)state;
	config_defaults(&config);
	release.resources.devices = wanted;
	release.resources.devices_count = 1;
	assert_int_equal(bundle_devices_find(&config, &release, devices, &count, NULL), -EPERM);
	STR_CUT(config.helper.allow_devices[0], "/dev/null");
	config.helper.allow_devices_count = 1;
	assert_int_equal(bundle_devices_find(&config, &release, devices, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_int_equal(devices[0].major, 1);
	assert_int_equal(devices[0].minor, 3);
	release.resources.devices_count = 2;
	assert_int_equal(bundle_devices_find(&config, &release, devices, &count, NULL), -EPERM);
	STR_CUT(config.helper.allow_devices[0], "/dev/no-such-device");
	wanted[0].text = config.helper.allow_devices[0];
	assert_int_equal(bundle_devices_find(&config, &release, devices, &count, NULL), -ENODEV);
}

static void foreign_firewalls_are_named(void **state)
{
	static const char json[] =
	    "{\"nftables\": [{\"metainfo\": {\"version\": \"1.0.6\"}},"
	    "{\"chain\": {\"family\": \"inet\", \"table\": \"covey_x\", \"name\": \"forward\","
	    " \"handle\": 1, \"type\": \"filter\", \"hook\": \"forward\", \"prio\": 0,"
	    " \"policy\": \"drop\"}},"
	    "{\"chain\": {\"family\": \"ip\", \"table\": \"nat\", \"name\": \"DOCKER\"}},"
	    "{\"chain\": {\"family\": \"ip\", \"table\": \"filter\", \"name\": \"FORWARD\","
	    " \"hook\": \"forward\", \"policy\": \"%s\"}}]}";
	AUTO_FREE char *drops = mem_format(json, "drop"), *accepts = mem_format(json, "accept");
	char chain[64];

	(void)state;
	preflight_foreign_drop(drops, "covey_x", chain, sizeof(chain));
	assert_string_equal(chain, "ip filter FORWARD");
	preflight_foreign_drop(accepts, "covey_x", chain, sizeof(chain));
	assert_string_equal(chain, "");
	preflight_foreign_drop("nonsense", "covey_x", chain, sizeof(chain));
	assert_string_equal(chain, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
	    TEST(the_container_is_confined),
	    TEST(ids_of_its_own_are_asked_for),
	    TEST(dangerous_calls_are_not_allowed),
	    TEST(limits_and_variables_are_those_of_the_release),
	    TEST(what_cannot_be_said_is_refused),
	    TEST(names_of_users_are_the_images),
	    TEST(devices_need_consent),
	    TEST(foreign_firewalls_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
