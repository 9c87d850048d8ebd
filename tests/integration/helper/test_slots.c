/* SPDX-License-Identifier: Apache-2.0 */
/* Slots on a real kernel: they start, are confined, say what they said and how they ended, and go.
 */
#include "tests/integration/helper/fixture.h"

#include "agent/helper/paths.h"
#include "base/clock.h"
#include "base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct fixture fx;
static struct digest one, two;

static int setup(void **state)
{
	(void)state;
	fixture_up(&fx, "slots", "allow_devices = /dev/null\ninstance = htslots");
	fixture_start(&fx);
	one = fixture_release(&fx, &(struct fixture_release){.text = "one", .model = "weights"});
	two = fixture_release(&fx, &(struct fixture_release){.text = "two"});
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &one), 0);
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &two), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fixture_down(&fx);
	return 0;
}

/* Nothing runs, nobody remembers anything. */
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

static int shell_line(char *dst, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int shell_line(char *dst, size_t size, const char *format, ...)
{
	AUTO_STR struct str output = {0};
	AUTO_FREE char *line = NULL;
	va_list args;
	int code;

	va_start(args, format);
	assert_true(vasprintf(&line, format, args) >= 0);
	va_end(args);
	code = fixture_shell("", &output, "%s", line);
	str_cut(dst, size, str_get(&output));
	dst[strcspn(dst, "\n")] = 0;
	return code;
}

/* Starts a release made of one shell script in the blue slot. */
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

/* What a script prints until it ends. */
static const struct helper_reply *run_script(struct fixture_release *wanted, const char *script)
{
	const struct helper_reply *ended;

	start_script(wanted, script);
	ended = fixture_exited(&fx, 10000);
	assert_non_null(ended);
	return ended;
}

static void has(const char *text, const char *part)
{
	if (!text || !strstr(text, part))
		fail_msg("`%s` is not in: %s", part, text ? text : "(nothing)");
}

/* spec: SLOT-4 */
static void clients_reach_a_slot_from_everywhere(void **state)
{
	(void)state;
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
	assert_int_equal(fixture_traffic(&fx, "web", COLOUR_BLUE, &one, 8080), 0);
	assert_true(fixture_answers(fx.client, "10.90.0.1", 8080, "one", 3000));
	assert_true(fixture_answers(fx.client, "fd90::1", 8080, "one", 3000));
	assert_string_equal(fixture_get(fx.node, "127.0.0.1", 8080), "one");
	assert_string_equal(fixture_get(fx.node, "localhost", 8080), "one");
	assert_string_equal(fixture_get(fx.node, "10.90.0.1", 8080), "one");
	assert_string_equal(fixture_get(fx.node, "fd90::1", 8080), "one");
}

static void starting_what_runs_changes_nothing(void **state)
{
	struct helper_request request = {.op = HELPER_START, .deployment = "web", .release = one};
	struct helper_reply first, second, list;
	char before[32], after[32];

	(void)state;
	assert_int_equal(fixture_ask(&fx, &request, &first), 0);
	shell_line(before, sizeof(before), "cat %s/run/helper/slots/web-blue/pid", fx.dir);
	assert_int_equal(fixture_ask(&fx, &request, &second), 0);
	shell_line(after, sizeof(after), "cat %s/run/helper/slots/web-blue/pid", fx.dir);
	assert_string_equal(before, after);
	assert_int_equal(first.slots_count, 1);
	assert_string_equal(first.slots[0].address, second.slots[0].address);
	assert_int_equal(first.slots[0].probe_port, 8000);
	assert_int_equal(first.slots[0].state, HELPER_SLOT_RUNNING);
	assert_true(fixture_answers(fx.node, first.slots[0].address, 8000, "one", 3000));
	request.op = HELPER_LIST;
	assert_int_equal(fixture_ask(&fx, &request, &list), 0);
	assert_int_equal(list.slots_count, 1);
	assert_string_equal(list.slots[0].deployment, "web");
	assert_true(digest_equal(&list.slots[0].release, &one));
	codec_free(&codec_helper_reply, &first);
	codec_free(&codec_helper_reply, &second);
	codec_free(&codec_helper_reply, &list);
	/* another release in the same slot replaces it */
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &two), 0);
	shell_line(after, sizeof(after), "cat %s/run/helper/slots/web-blue/pid", fx.dir);
	assert_string_not_equal(before, after);
}

/* spec: SLOT-1 */
static void a_container_is_confined(void **state)
{
	static const char script[] =
	    "echo uid $(busybox id -u):$(busybox id -g); "
	    "busybox grep -E \"CapEff|CapBnd|NoNewPrivs|Seccomp:\" /proc/self/status; "
	    "busybox touch /x 2>/dev/null || echo root is read-only; "
	    "busybox touch /tmp/x && echo tmp works; "
	    "busybox touch /model/x 2>/dev/null || echo model is read-only; "
	    "echo model $(busybox cat /model/sub/weights); "
	    "busybox unshare -n true 2>/dev/null || echo no namespaces; "
	    "busybox mount -t tmpfs t /tmp 2>/dev/null || echo no mounts; "
	    "echo setuid $(busybox stat -c %a /bin/busybox); "
	    "busybox head -c1 /proc/kcore | busybox wc -c; "
	    "echo port $PORT slot $COVEY_SLOT node $COVEY_NODE release $COVEY_RELEASE; "
	    "busybox ls -d $COVEY_OBSERVE/.. >/dev/null; busybox ls -d /run/covey; "
	    "echo host $(busybox hostname); busybox cat /etc/hosts; exit 7";
	struct fixture_release wanted = {.text = "x", .model = "weights"};
	const struct helper_reply *ended;
	const char *logs;

	(void)state;
	ended = run_script(&wanted, script);
	logs = ended->logs;
	assert_int_equal(ended->slots[0].exit_code, 7);
	assert_int_equal(ended->slots[0].state, HELPER_SLOT_EXITED);
	has(logs, "uid 1000:1000");
	has(logs, "CapEff:\t0000000000000000");
	has(logs, "CapBnd:\t0000000000000000");
	has(logs, "NoNewPrivs:\t1");
	has(logs, "Seccomp:\t2");
	has(logs, "root is read-only");
	has(logs, "tmp works");
	has(logs, "model is read-only");
	has(logs, "model weights");
	has(logs, "no namespaces");
	has(logs, "no mounts");
	has(logs, "setuid 755");
	has(logs, "\n0\n"); /* kcore is masked */
	has(logs, "port 8000 slot blue node ht release ");
	has(logs, "/run/covey");
	has(logs, "host web-blue");
}

/* spec: SLOT-1 */
static void users_are_those_of_the_image(void **state)
{
	struct fixture_release wanted = {.text = "x", .user = "model"};
	struct fixture_release unknown = {.text = "x", .user = "nobody-here"};
	struct helper_request request = {.op = HELPER_START, .deployment = "web"};
	struct helper_reply reply;

	(void)state;
	has(run_script(&wanted, "busybox id -u")->logs, "1000");
	request.release = fixture_release(&fx, &unknown);
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &request.release), 0);
	assert_int_equal(fixture_ask(&fx, &request, &reply), ENOENT);
	has(reply.text, "nobody-here");
	codec_free(&codec_helper_reply, &reply);
}

/* spec: SLOT-2 */
static void limits_are_applied(void **state)
{
	struct fixture_release wanted = {
	    .text = "x", .memory_bytes = 48 << 20, .cpu_millis = 500, .pids = 12};
	const char *group = "covey/htslots/web-blue";
	char line[64];

	(void)state;
	start_script(&wanted, "busybox sleep 100");
	shell_line(line, sizeof(line), "cat /sys/fs/cgroup/memory/%s/memory.limit_in_bytes", group);
	assert_string_equal(line, "50331648");
	shell_line(line, sizeof(line), "cat /sys/fs/cgroup/cpu/%s/cpu.cfs_quota_us", group);
	assert_string_equal(line, "50000");
	shell_line(line, sizeof(line), "cat /sys/fs/cgroup/pids/%s/pids.max", group);
	assert_string_equal(line, "12");
	clear(NULL);
	/* 20 processes do not fit into 12 */
	has(run_script(&wanted, "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do busybox sleep 3 & "
	                        "done; echo done")
	        ->logs,
	    "fork");
	clear(NULL);
	/* 100 MB do not fit into 48 */
	assert_int_equal(run_script(&wanted, "exec busybox tail /dev/zero")->slots[0].exit_code,
	                 137);
}

/* spec: SLOT-3 */
static void devices_need_the_nodes_consent(void **state)
{
	struct fixture_release good = {.text = "x", .device = "/dev/null"};
	struct fixture_release bad = {.text = "x", .device = "/dev/kmsg"};
	struct helper_request request = {.op = HELPER_START, .deployment = "web"};
	struct helper_reply reply;

	(void)state;
	has(run_script(&good, "echo x >/dev/null && echo ok")->logs, "ok");
	request.release = fixture_release(&fx, &bad);
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &request.release), 0);
	assert_int_equal(fixture_ask(&fx, &request, &reply), EPERM);
	assert_string_equal(reply.check, "devices");
	codec_free(&codec_helper_reply, &reply);
	request.op = HELPER_PREFLIGHT;
	assert_int_equal(fixture_ask(&fx, &request, &reply), EPERM);
	assert_string_equal(reply.check, "devices");
	codec_free(&codec_helper_reply, &reply);
}

static void a_killed_container_is_told_at_once(void **state)
{
	const struct helper_reply *ended;
	uint64_t before;

	(void)state;
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
	before = clock_mono_ms();
	fixture_shell("", NULL, "kill -9 $(cat %s/run/helper/slots/web-blue/pid)", fx.dir);
	ended = fixture_exited(&fx, 5000);
	assert_non_null(ended);
	assert_int_equal(ended->slots[0].exit_code, 137);
	assert_true(digest_equal(&ended->slots[0].release, &one));
	assert_true(clock_mono_ms() - before < fixture_ms(1000));
	/* a wanted stop is no event */
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_BLUE, false), 0);
	assert_null(fixture_exited(&fx, 300));
}

static void stopping_asks_before_it_kills(void **state)
{
	static const char script[] = "trap \"echo asked; exit 0\" TERM; "
	                             "while :; do busybox sleep 0.05; done";
	struct fixture_release wanted = {.text = "x"};
	struct helper_request request = {.op = HELPER_LOGS, .deployment = "web", .lines = 5};
	struct helper_reply reply;
	char line[64];

	(void)state;
	start_script(&wanted, script);
	usleep(200000);
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_BLUE, false), 0);
	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	has(reply.logs, "asked");
	codec_free(&codec_helper_reply, &reply);
	/* again, and one that never was */
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_BLUE, false), 0);
	assert_int_equal(fixture_stop(&fx, "never-was", COLOUR_GREEN, true), 0);
	assert_int_not_equal(fixture_shell("", NULL, "ls -d %s/run/helper/slots/web-blue", fx.dir),
	                     0);
	shell_line(line, sizeof(line), "ls -d /sys/fs/cgroup/*/covey/htslots/web-blue | wc -l");
	assert_int_not_equal(fixture_shell("", NULL, "ip -n %s link | grep -q cv", fx.node), 0);
	assert_int_not_equal(fixture_shell("", NULL, "grep -q %s /proc/mounts", fx.dir), 0);
}

static void logs_are_the_last_lines(void **state)
{
	struct fixture_release wanted = {.text = "x"};
	struct helper_request request = {.op = HELPER_LOGS, .deployment = "web", .lines = 3};
	struct helper_reply reply;
	const struct helper_reply *ended;

	(void)state;
	ended = run_script(&wanted, "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo line $i; done; "
	                            "busybox printf \"\\033[31mred\\n\" >&2; exit 3");
	assert_int_equal(ended->slots[0].exit_code, 3);
	has(ended->logs, "line 82\n"); /* 20 lines */
	assert_null(strstr(ended->logs, "line 81\n"));
	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	assert_string_equal(reply.logs, "line 99\nline 100\n?[31mred\n");
	codec_free(&codec_helper_reply, &reply);
}

static void health_commands_run_inside(void **state)
{
	const char *const good[] = {"/bin/sh", "-c", "test -e /www/index.html", NULL};
	const char *const bad[] = {"/bin/sh", "-c", "echo sick; exit 4", NULL};
	const char *const slow[] = {"/bin/busybox", "sleep", "77", NULL};
	struct helper_request request = {.op = HELPER_EXEC, .deployment = "web"};
	struct helper_reply reply;
	struct digest digest;
	char line[64];

	(void)state;
	digest = fixture_release(&fx, &(struct fixture_release){.health = good});
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &digest), 0);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &digest), 0);
	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	assert_int_equal(reply.exit_code, 0);
	codec_free(&codec_helper_reply, &reply);
	digest = fixture_release(&fx, &(struct fixture_release){.health = bad});
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &digest), 0);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &digest), 0);
	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	assert_int_equal(reply.exit_code, 4);
	has(reply.text, "sick");
	codec_free(&codec_helper_reply, &reply);
	digest = fixture_release(&fx, &(struct fixture_release){.health = slow});
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &digest), 0);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &digest), 0);
	assert_int_equal(fixture_ask(&fx, &request, &reply), ETIMEDOUT);
	codec_free(&codec_helper_reply, &reply);
	for (int i = 0; i < 100; i++) { /* a killed process takes its time to go */
		shell_line(line, sizeof(line),
		           "wc -l < /sys/fs/cgroup/pids/covey/htslots/web-blue/tasks");
		if (str_equal(line, "1"))
			break;
		usleep(10000);
	}
	assert_string_equal(line, "1"); /* the server alone: the command is gone */
}

static void connections_are_counted(void **state)
{
	struct helper_request request = {.op = HELPER_CONNECTIONS, .deployment = "web"};
	struct helper_reply reply;
	int fd;

	(void)state;
	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	assert_int_equal(reply.connections, 0);
	codec_free(&codec_helper_reply, &reply);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
	assert_int_equal(fixture_traffic(&fx, "web", COLOUR_BLUE, &one, 8080), 0);
	assert_true(fixture_answers(fx.client, "10.90.0.1", 8080, "one", 3000));
	fd = fixture_dial(fx.client, "10.90.0.1", 8080);
	assert_true(fd >= 0);
	usleep(100000);
	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	assert_int_equal(reply.connections, 1);
	codec_free(&codec_helper_reply, &reply);
	close(fd);
	usleep(200000);
	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	assert_int_equal(reply.connections, 0);
	codec_free(&codec_helper_reply, &reply);
}

/* spec: SLOT-17 */
static void host_network_gets_a_port(void **state)
{
	struct fixture_release wanted = {.text = "host", .network = SERVE_NETWORK_HOST};
	struct helper_request request = {.op = HELPER_LIST};
	struct helper_reply reply;
	struct digest digest;
	uint32_t port;

	(void)state;
	digest = start_script(&wanted, "exec busybox httpd -f -p $PORT -h /www");
	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	port = reply.slots[0].probe_port;
	assert_true(port >= 21000 && port <= 21999);
	assert_string_equal(reply.slots[0].address, "");
	codec_free(&codec_helper_reply, &reply);
	assert_true(fixture_answers(fx.node, "127.0.0.1", port, "host", 3000));
	assert_int_equal(fixture_traffic(&fx, "web", COLOUR_BLUE, &digest, 8080), 0);
	assert_string_equal(fixture_get(fx.client, "10.90.0.1", 8080), "host");
	assert_string_equal(fixture_get(fx.client, "fd90::1", 8080), "host");
	assert_string_equal(fixture_get(fx.node, "127.0.0.1", 8080), "host");
}

static void a_missing_program_is_a_sentence(void **state)
{
	const char *const command[] = {"/no/such/server", NULL};
	struct helper_request request = {.op = HELPER_START, .deployment = "web"};
	struct helper_reply reply;

	(void)state;
	request.release = fixture_release(&fx, &(struct fixture_release){.command = command});
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &request.release), 0);
	assert_int_not_equal(fixture_ask(&fx, &request, &reply), 0);
	assert_string_equal(reply.check, "runtime");
	has(reply.text, "/no/such/server");
	codec_free(&codec_helper_reply, &reply);
}

/* spec: SLOT-12 */
static void what_makes_no_sense_is_refused(void **state)
{
	struct helper_request request = {.op = HELPER_START, .deployment = "../web"};
	struct helper_reply reply;

	(void)state;
	request.release = one;
	assert_int_equal(fixture_ask(&fx, &request, &reply), EINVAL);
	codec_free(&codec_helper_reply, &reply);
	memset(&request.release, 7, sizeof(request.release));
	STR_CUT(request.deployment, "web");
	assert_int_equal(fixture_ask(&fx, &request, &reply), ENOENT); /* not unpacked */
	codec_free(&codec_helper_reply, &reply);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, clear, clear)
	const struct CMUnitTest tests[] = {
	    TEST(clients_reach_a_slot_from_everywhere),
	    TEST(starting_what_runs_changes_nothing),
	    TEST(a_container_is_confined),
	    TEST(users_are_those_of_the_image),
	    TEST(limits_are_applied),
	    TEST(devices_need_the_nodes_consent),
	    TEST(a_killed_container_is_told_at_once),
	    TEST(stopping_asks_before_it_kills),
	    TEST(logs_are_the_last_lines),
	    TEST(health_commands_run_inside),
	    TEST(connections_are_counted),
	    TEST(host_network_gets_a_port),
	    TEST(a_missing_program_is_a_sentence),
	    TEST(what_makes_no_sense_is_refused),
	};

	if (!fixture_usable())
		return 77;
	return cmocka_run_group_tests(tests, setup, teardown);
}
