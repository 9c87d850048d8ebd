/* SPDX-License-Identifier: Apache-2.0 */
/* What systemd hears on its socket. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdbool.h>
#include <cmocka.h>

#include "protocol/transport/notify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char path[64];

static int open_socket(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(path, sizeof(path), "/tmp/covey-test-notify-%d.sock", getpid());
	unlink(path);
	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", path, 1), 0);
	return fd;
}

static void expect(int fd, const char *text)
{
	char got[512];
	ssize_t n = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);

	assert_true(n >= 0);
	got[n] = '\0';
	assert_string_equal(got, text);
}

static void test_states_reach_systemd(void **state)
{
	int fd = open_socket();

	notify_ready("12 nodes");
	expect(fd, "READY=1\nSTATUS=12 nodes");
	notify_status("%d of %d", 3, 4);
	expect(fd, "STATUS=3 of 4");
	notify_status("two\nREADY=1");
	expect(fd, "STATUS=two READY=1");
	notify_stopping(NULL);
	expect(fd, "STOPPING=1\n");
	close(fd);
	unlink(path);
	unsetenv("NOTIFY_SOCKET");
	notify_ready("nobody listens");
}

/* spec: SERV-1 */
static void test_the_loop_feeds_the_watchdog(void **state)
{
	int fd = open_socket();
	char pid[16];
	sd_event *event = NULL;
	char got[64] = "";
	ssize_t n = -1;

	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("WATCHDOG_USEC", "100000", 1);
	setenv("WATCHDOG_PID", pid, 1);
	assert_int_equal(sd_event_new(&event), 0);
	assert_int_equal(notify_start(event, NULL), 0);
	for (int i = 0; i < 50 && n < 0; i++) {
		assert_true(sd_event_run(event, 20000) >= 0);
		n = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);
	}
	assert_string_equal(got, "WATCHDOG=1");
	sd_event_unref(event);
	unsetenv("WATCHDOG_USEC");
	assert_int_equal(sd_event_new(&event), 0);
	assert_int_equal(notify_start(event, NULL), 0); /* not asked for: nothing to do */
	sd_event_unref(event);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_states_reach_systemd),
		cmocka_unit_test(test_the_loop_feeds_the_watchdog),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
