/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers in a user namespace of their own, with runc and with crun: nobody inside is anybody
 * outside, and everything else is as without. Where the node cannot or must not, it says so.
 */
#include "tests/integration/helper/fixture.h"

#include "agent/helper/idmap.h"
#include "agent/helper/paths.h"
#include "base/mem.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct fixture fx;
static struct digest one, two;

static void begin(const char *tag, const char *config)
{
	fixture_up(&fx, tag, config);
	fixture_start(&fx);
	one = fixture_release(&fx, &(struct fixture_release){.text = "one", .model = "weights"});
	two = fixture_release(&fx, &(struct fixture_release){.text = "two", .model = "weights"});
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &one), 0);
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &two), 0);
}

static int setup_runc(void **state)
{
	(void)state;
	begin("usrunc", "instance = htusrunc\nallow_devices = /dev/null");
	return 0;
}

static int setup_off(void **state)
{
	(void)state;
	begin("usoff", "instance = htusoff\nuser_namespaces = off");
	return 0;
}

/* crun knows the unified hierarchy alone: in a mount namespace of ours that is what there is. */
static int setup_crun(void **state)
{
	static const char script[] = "#!/bin/sh\nexec crun --cgroup-manager=disabled \"$@\"\n";
	static char path[] = "/run/covey-ht-crun";
	AUTO_FREE char *config =
	    mem_format("instance = htuscrun\nallow_devices = /dev/null\nruntime = %s", path);

	(void)state;
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount("none", "/", "none", MS_REC | MS_SLAVE, NULL), 0);
	if (access("/sys/fs/cgroup/unified/cgroup.procs", F_OK) == 0)
		assert_int_equal(mount("/sys/fs/cgroup/unified", "/sys/fs/cgroup", "none", MS_BIND,
		                       NULL),
		                 0);
	fixture_write(path, script, strlen(script), 0755);
	begin("uscrun", config);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fixture_down(&fx);
	unlink("/run/covey-ht-crun");
	return 0;
}

static int clear(void **state)
{
	(void)state;
	assert_int_equal(fixture_traffic(&fx, "", COLOUR_BLUE, NULL, 0), 0);
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_BLUE, true), 0);
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_GREEN, true), 0);
	while (fixture_exited(&fx, 0))
		;
	return 0;
}

static void has(const char *text, const char *part)
{
	if (!text || !strstr(text, part))
		fail_msg("`%s` is not in: %s", part, text ? text : "(nothing)");
}

/* The first id on the node of what runs in a slot; 0: it has no range of its own. */
static unsigned first_id(const char *slot)
{
	AUTO_STR struct str output = {0};
	unsigned inside, first = 1;

	assert_int_equal(fixture_shell("", &output,
	                               "cat /proc/$(cat %s/run/helper/slots/%s/pid)/uid_map", fx.dir,
	                               slot),
	                 0);
	assert_int_equal(sscanf(str_get(&output), "%u %u", &inside, &first), 2);
	assert_int_equal(inside, 0);
	return first;
}

static struct digest start_script(struct fixture_release *wanted, const char *script)
{
	const char *command[] = {"/bin/sh", "-c", script, NULL};
	struct digest digest;

	wanted->command = command;
	digest = fixture_release(&fx, wanted);
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &digest), 0);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &digest), 0);
	return digest;
}

/* What a script says until it ends. */
static const char *said(struct fixture_release *wanted, const char *script)
{
	const struct helper_reply *ended;

	start_script(wanted, script);
	ended = fixture_exited(&fx, 10000);
	assert_non_null(ended);
	return ended->logs;
}

static void expect_hello(const char *part)
{
	struct helper_request request = {.op = HELPER_HELLO};
	struct helper_reply reply;

	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	has(reply.runtime, part);
	codec_free(&codec_helper_reply, &reply);
}

static void the_node_says_so(void **state)
{
	(void)state;
	expect_hello("; user namespaces");
}

static void root_inside_is_nobody_outside(void **state)
{
	AUTO_STR struct str output = {0};
	unsigned first;

	(void)state;
	start_script(&(struct fixture_release){.user = "0"}, "sleep 100");
	first = first_id("web-blue");
	assert_true(first > IDMAP_FIRST);
	assert_int_equal(first % IDMAP_SIZE, 0);
	assert_int_equal(
	    fixture_shell("", &output, "awk '/^[UG]id:/ {print $2, $3, $4, $5}' /proc/$(cat "
	                               "%s/run/helper/slots/web-blue/pid)/status | uniq",
	                  fx.dir),
	    0);
	AUTO_FREE char *wanted = mem_format("%u %u %u %u\n", first, first, first, first);
	assert_string_equal(str_get(&output), wanted);
}

static void files_have_their_owners_inside(void **state)
{
	const char *text;

	(void)state;
	text = said(&(struct fixture_release){.user = "0", .model = "weights"},
	            "id -u; cat /model/sub/weights; echo; stat -c '%n %u:%g' / /bin/busybox "
	            "/etc/hosts /model/sub /model/sub/weights /tmp; echo x > /tmp/x && echo tmp is "
	            "writable; echo x > /model/y || echo model is not; echo x > /etc/y || echo root "
	            "is not; ls /proc/sys/kernel/hostname /sys/class/net/eth0/address");
	has(text, "0\nweights\n");
	has(text, "/ 0:0\n");
	has(text, "/bin/busybox 0:0\n");
	has(text, "/etc/hosts 0:0\n");
	has(text, "/model/sub 0:0\n");
	has(text, "/model/sub/weights 0:0\n");
	has(text, "/tmp 0:0\n");
	has(text, "tmp is writable");
	has(text, "model is not");
	has(text, "root is not");
	has(text, "/proc/sys/kernel/hostname\n");
	has(text, "/sys/class/net/eth0/address");
}

static void slots_have_ranges_of_their_own_and_swap(void **state)
{
	(void)state;
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
	assert_int_equal(fixture_traffic(&fx, "web", COLOUR_BLUE, &one, 8080), 0);
	assert_true(fixture_answers(fx.client, "10.90.0.1", 8080, "one", 3000));
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_GREEN, &two), 0);
	assert_int_not_equal(first_id("web-blue"), first_id("web-green"));
	assert_int_equal(fixture_traffic(&fx, "web", COLOUR_GREEN, &two, 8080), 0);
	assert_true(fixture_answers(fx.client, "10.90.0.1", 8080, "two", 3000));
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_BLUE, false), 0);
	assert_string_equal(fixture_get(fx.client, "10.90.0.1", 8080), "two");
}

static void a_health_command_runs_inside(void **state)
{
	static const char *const health[] = {"/bin/sh", "-c",
	                                     "[ $(id -u) = 1000 ] && grep -q weights "
	                                     "/model/sub/weights",
	                                     NULL};
	struct helper_request request = {.op = HELPER_EXEC, .deployment = "web"};
	struct fixture_release wanted = {.health = health, .model = "weights"};
	struct helper_reply reply;

	(void)state;
	request.release = start_script(&wanted, "sleep 100");
	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	if (reply.exit_code != 0)
		fail_msg("exit code %u: %s", reply.exit_code, reply.text);
	codec_free(&codec_helper_reply, &reply);
}

static void the_nodes_network_goes_along(void **state)
{
	(void)state;
	has(said(&(struct fixture_release){.user = "0", .network = SERVE_NETWORK_HOST},
	         "cat /proc/self/uid_map; ls /sys/class/net; ls /sys/firmware /proc/keys"),
	    " 65536\n");
}

static void devices_keep_the_nodes_groups(void **state)
{
	(void)state;
	start_script(&(struct fixture_release){.device = "/dev/null"}, "sleep 100");
	assert_int_equal(first_id("web-blue"), 0);
}

static void off_is_said_and_done(void **state)
{
	(void)state;
	expect_hello("; no user namespaces: agent.conf says so");
	start_script(&(struct fixture_release){.user = "0"}, "sleep 100");
	assert_int_equal(first_id("web-blue"), 0);
}

/* A runtime that cannot is found out before a release meets it. */
static void a_runtime_that_cannot_is_named(void **state)
{
	static const char script[] = "#!/bin/sh\n"
	                             "for i; do case $i in create) [ -z \"$(grep -s gidMappings "
	                             "\"$PWD\"/config.json %s/run/helper/slots/trial/config.json)\" "
	                             "] || exit 1;; esac; done\nexec runc \"$@\"\n";
	AUTO_FREE char *path = mem_format("%s/cannot", fx.dir);
	AUTO_FREE char *text = mem_format(script, fx.dir);
	AUTO_FREE char *drop = mem_format("%s/agent.conf.d", fx.dir);
	AUTO_FREE char *file = mem_format("%s/runtime.conf", drop);
	AUTO_FREE char *config =
	    mem_format("[helper]\nruntime = %s\nuser_namespaces = auto\n", path);

	(void)state;
	fixture_write(path, text, strlen(text), 0755);
	assert_int_equal(mkdir(drop, 0755), 0);
	fixture_write(file, config, strlen(config), 0644);
	expect_hello("; no user namespaces: ");
	expect_hello("/cannot failed");
	start_script(&(struct fixture_release){.user = "0"}, "sleep 100");
	assert_int_equal(first_id("web-blue"), 0);
}

#define TEST(name) cmocka_unit_test_setup(name, clear)

int main(void)
{
	const struct CMUnitTest on[] = {
	    TEST(the_node_says_so),
	    TEST(root_inside_is_nobody_outside),
	    TEST(files_have_their_owners_inside),
	    TEST(slots_have_ranges_of_their_own_and_swap),
	    TEST(a_health_command_runs_inside),
	    TEST(the_nodes_network_goes_along),
	    TEST(devices_keep_the_nodes_groups),
	};
	const struct CMUnitTest off[] = {
	    TEST(off_is_said_and_done),
	    TEST(a_runtime_that_cannot_is_named),
	};
	int failed;

	if (!fixture_usable())
		return 77;
	failed = cmocka_run_group_tests_name("runc", on, setup_runc, teardown);
	failed += cmocka_run_group_tests_name("without", off, setup_off, teardown);
	if (fixture_shell("", NULL, "command -v crun") == 0)
		failed += cmocka_run_group_tests_name("crun", on, setup_crun, teardown);
	return failed;
}
