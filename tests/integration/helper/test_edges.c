/* SPDX-License-Identifier: Apache-2.0 */
/* The helper's edges: who may talk to it, what it is handed by systemd, what reaches the journal,
 * slots side by side, a configuration that changes under it. */
#include "tests/integration/helper/fixture.h"

#include "agent/helper/pump.h"

#include "base/clock.h"
#include "base/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#define JOURNAL "/run/systemd/journal/socket"

static struct fixture fx;
static struct digest one;
static int journal = -1;

/* A journal of our own, in a mount namespace of our own. */
static void open_journal(void)
{
	const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JOURNAL};
	const int size = 1 << 20;

	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount("none", "/", "none", MS_REC | MS_SLAVE, NULL), 0);
	assert_int_equal(mkdir("/run/systemd", 0755) < 0 && errno != EEXIST, 0);
	assert_int_equal(mkdir("/run/systemd/journal", 0755) < 0 && errno != EEXIST, 0);
	assert_int_equal(mount("tmpfs", "/run/systemd/journal", "tmpfs", 0, NULL), 0);
	journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(journal, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	assert_int_equal(bind(journal, (const struct sockaddr *)&address, sizeof(address)), 0);
}

/* The next entry within ms; "" when none came. */
static const char *next_entry(int ms)
{
	static char text[32768];
	struct pollfd wait = {journal, POLLIN, 0};
	ssize_t size = poll(&wait, 1, ms) == 1 ? recv(journal, text, sizeof(text) - 1, 0) : 0;

	text[size > 0 ? size : 0] = 0;
	return text;
}

static int setup(void **state)
{
	(void)state;
	open_journal();
	fixture_up(&fx, "edges", "instance = htedges");
	fixture_start(&fx);
	one = fixture_release(&fx, &(struct fixture_release){.text = "one"});
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &one), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fixture_down(&fx);
	close(journal);
	return 0;
}

static int clear(void **state)
{
	(void)state;
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_BLUE, true), 0);
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_GREEN, true), 0);
	while (fixture_exited(&fx, 0))
		;
	while (next_entry(0)[0])
		;
	return 0;
}

static struct digest start_script(const char *script)
{
	const char *command[] = {"/bin/sh", "-c", script, NULL};
	struct digest digest = fixture_release(&fx, &(struct fixture_release){.command = command});

	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &digest), 0);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &digest), 0);
	return digest;
}

/* spec: SLOT-18 */
static void output_reaches_the_journal(void **state)
{
	struct digest digest = start_script("echo first; echo \"se\033cond\" >&2; "
	                                    "busybox sleep 0.7; echo third; busybox sleep 100");
	char release[100], hex[2 * DIGEST_SIZE + 1];
	const char *entry = next_entry(3000);

	(void)state;
	str_hex(hex, digest.bytes, DIGEST_SIZE);
	snprintf(release, sizeof(release), "COVEY_RELEASE=%s\n", hex);
	assert_non_null(strstr(entry, "MESSAGE=first\n"));
	assert_non_null(strstr(entry, "SYSLOG_IDENTIFIER=covey\n"));
	assert_non_null(strstr(entry, "COVEY_DEPLOYMENT=web\n"));
	assert_non_null(strstr(entry, "COVEY_SLOT=blue\n"));
	assert_non_null(strstr(entry, release));
	entry = next_entry(3000);
	assert_non_null(strstr(entry, "MESSAGE=se?cond\n"));
	assert_non_null(strstr(entry, "COVEY_STREAM=stderr\n"));
	/* nothing is lost over a kill; nothing comes twice that was noted before it */
	usleep(100000);
	fixture_kill(&fx);
	usleep(1000000);
	fixture_start(&fx);
	entry = next_entry(3000);
	if (!strstr(entry, "MESSAGE=third\n"))
		fail_msg("not the third line: %s", entry);
	assert_string_equal(next_entry(300), "");
}

/* Lines keep coming while the helper is killed again and again. */
static void a_kill_repeats_one_line_at_most(void **state)
{
	unsigned next = 0, twice = 0, number;
	enum { LINES = 400, KILLS = 8 };
	const char *entry, *at;

	(void)state;
	start_script("i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); busybox usleep 5000; "
	             "done; busybox sleep 100");
	for (unsigned kills = 0; kills < KILLS; kills++) {
		usleep(170000 + 7001 * kills);
		fixture_kill(&fx);
		fixture_start(&fx);
	}
	while (next < LINES && (entry = next_entry(10000))[0]) {
		at = strstr(entry, "MESSAGE=line ");
		if (!at)
			continue;
		number = (unsigned)atoi(at + strlen("MESSAGE=line "));
		twice += number + 1 == next;
		if (number != next && number + 1 != next)
			fail_msg("line %u comes where line %u is due", number, next);
		next = number + 1;
	}
	assert_int_equal(next, LINES);
	assert_true(twice <= KILLS);
}

/* spec: SLOT-18 */
static void a_flood_is_bounded_and_the_rest_survives_rotation(void **state)
{
	struct helper_request request = {.op = HELPER_LOGS, .deployment = "web", .lines = 1};
	struct helper_reply reply;
	unsigned entries = 0;
	uint64_t begin, seconds = 0;
	bool told = false;
	const char *entry;

	(void)state;
	/* 13 MB: more than one log file holds */
	start_script("busybox yes "
	             "0123456789012345678901234567890123456789012345678901234567890123456789 | "
	             "busybox head -n 180000; busybox sleep 1; busybox usleep 1500000; echo end; "
	             "busybox sleep 100");
	for (begin = clock_mono_ms(); seconds < 8 || (seconds < 60 && (!told || entries < 1001));) {
		entry = next_entry(1000);
		entries += entry[0] != 0;
		told = told || strstr(entry, "lines left out)");
		seconds = (clock_mono_ms() - begin) / 1000 + 1;
	}
	printf("# %u entries of 180001 in %u s\n", entries, (unsigned)seconds);
	assert_true(entries > 1000 && entries < PUMP_BURST + PUMP_LINES_PER_SECOND * seconds + 100);
	assert_true(told);
	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	assert_string_equal(reply.logs, "end\n");
	codec_free(&codec_helper_reply, &reply);
	assert_int_equal(fixture_shell("", NULL,
	                               "[ $(du -sm %s/helper/logs/web-blue | cut -f1) -lt 20 ]",
	                               fx.dir),
	                 0);
}

static void an_idle_helper_does_not_wake_up(void **state)
{
	AUTO_STR struct str before = {0}, after = {0};

	(void)state;
	start_script("busybox sleep 100");
	usleep(500000);
	fixture_shell("", &before, "grep voluntary_ctxt /proc/%d/status | head -1", (int)fx.helper);
	usleep(1500000);
	fixture_shell("", &after, "grep voluntary_ctxt /proc/%d/status | head -1", (int)fx.helper);
	assert_string_equal(before.data, after.data);
}

/* Connects as another user; true when a request is answered. */
static bool may_talk(uid_t uid)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		fixture_shell("", NULL, "chmod 777 %s/run/helper.sock", fx.dir);
		if (setuid(uid) < 0)
			_exit(2);
		alarm(2); /* fixture_connect() tries again and again */
		fixture_connect(&fx);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* spec: SLOT-12 */
static void strangers_are_turned_away(void **state)
{
	struct stat st;
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/run/helper.sock", fx.dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_true(may_talk(0));
	assert_false(may_talk(65534));
}

/* spec: SLOT-12 */
static void garbage_closes_the_connection_only(void **state)
{
	(void)state;
	assert_true(send(fx.fd, "garbage", 7, 0) == 7);
	usleep(100000);
	close(fx.fd);
	fixture_connect(&fx);
	assert_int_equal(fixture_do(&fx, HELPER_LIST, "", COLOUR_BLUE, NULL), 0);
}

static void a_socket_of_systemd_is_taken(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	(void)state;
	fixture_kill(&fx);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/run/helper.sock", fx.dir);
	unlink(address.sun_path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	fixture_start_with(&fx, fd);
	close(fd);
	assert_int_equal(fixture_do(&fx, HELPER_LIST, "", COLOUR_BLUE, NULL), 0);
	fixture_kill(&fx);
	fixture_start(&fx);
}

/* Forwarding was off: nobody but slots may profit from it, in this boot and after a restart. */
/* spec: SLOT-9 */
static void a_node_does_not_become_a_router_for_others(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fixture_traffic(&fx, "", COLOUR_BLUE, NULL, 0), 0);
		assert_int_equal(
		    fixture_shell(fx.node, NULL,
		                  "grep -q 1 /proc/sys/net/ipv4/ip_forward && "
		                  "nft list ruleset | grep -q \"nfproto ipv4 drop\" && "
		                  "nft list ruleset | grep -q \"nfproto ipv6 drop\""),
		    0);
		fixture_kill(&fx);
		fixture_start(&fx);
	}
}

static void slots_start_side_by_side(void **state)
{
	struct helper_request request = {.op = HELPER_START, .deployment = "web", .release = one};
	struct bytes packet = {0};
	struct helper_reply reply;
	uint64_t begin = clock_mono_ms(), alone, both;

	(void)state;
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_GREEN, &one), 0);
	alone = clock_mono_ms() - begin;
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_GREEN, true), 0);
	begin = clock_mono_ms();
	request.id = 1u << 30; /* its reply is nobody's */
	assert_int_equal(
	    codec_encode(&codec_helper_request, &request, LIMIT_HELPER_MESSAGE, &packet, NULL), 0);
	assert_true(send(fx.fd, packet.data, packet.size, 0) == (ssize_t)packet.size);
	free(packet.data);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_GREEN, &one), 0);
	request.op = HELPER_STOP;
	request.kill = true;
	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	codec_free(&codec_helper_reply, &reply);
	both = clock_mono_ms() - begin;
	printf("# one slot in %llu ms, two beside each other and one stopped in %llu ms\n",
	       (unsigned long long)alone, (unsigned long long)both);
}

static void a_configuration_that_moves_is_refused(void **state)
{
	(void)state;
	fixture_shell("", NULL, "sed -i s/htedges/htother/ %s/agent.conf", fx.dir);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), ESTALE);
	fixture_shell("", NULL, "sed -i s/htother/htedges/ %s/agent.conf", fx.dir);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
}

static void a_folder_that_others_may_write_is_refused(void **state)
{
	AUTO_STR struct str output = {0};

	(void)state;
	fixture_kill(&fx);
	fixture_shell("", NULL, "chmod 777 %s/run", fx.dir);
	assert_int_equal(fixture_shell(fx.node, &output, "timeout 5 %s --config %s/agent.conf",
	                               getenv("COVEY_HELPER"), fx.dir),
	                 1);
	assert_non_null(strstr(str_get(&output), "must belong to root"));
	fixture_shell("", NULL, "chmod 755 %s/run", fx.dir);
	fixture_start(&fx);
	/* and a root document that the agent could write */
	fixture_shell("", NULL, "chmod 666 %s/trust/root.doc", fx.dir);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), EPERM);
	fixture_shell("", NULL, "chmod 644 %s/trust/root.doc; chmod 777 %s/trust", fx.dir, fx.dir);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), EPERM);
	fixture_shell("", NULL, "chmod 755 %s/trust", fx.dir);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, clear, clear)
	const struct CMUnitTest tests[] = {
	    TEST(output_reaches_the_journal),
	    TEST(a_kill_repeats_one_line_at_most),
	    TEST(a_flood_is_bounded_and_the_rest_survives_rotation),
	    TEST(an_idle_helper_does_not_wake_up),
	    TEST(strangers_are_turned_away),
	    TEST(garbage_closes_the_connection_only),
	    TEST(a_socket_of_systemd_is_taken),
	    TEST(a_node_does_not_become_a_router_for_others),
	    TEST(slots_start_side_by_side),
	    TEST(a_configuration_that_moves_is_refused),
	    TEST(a_folder_that_others_may_write_is_refused),
	};

	if (!fixture_usable())
		return 77;
	return cmocka_run_group_tests(tests, setup, teardown);
}
