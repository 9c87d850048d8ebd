/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a model server may do to its node: the kernel's sockets, the agent's own loop and shell, and
 * a server that floods, talks nonsense, says too much at once, or ends in the middle of a line.
 * Everything that was sent is counted or counted as dropped, and no memory is taken for it.
 */
#include "agent/observe/observation.h"
#include "agent/observe_sockets.h"
#include "base/mem.h"
#include "fleetless.h"
#include "protocol/codec_tables.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

enum { MINUTE_MS = 60000, SLACK_MS = 6000, MEMORY_SLACK = 4096 };

static struct node node;
static struct digest release;
static char folder[] = "/tmp/covey-sockets-XXXXXX";
static sd_event *event;
static struct observe_sockets *sockets;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int server;

/* ---- the world's part ---- */

static int observe_open(void *context, const char *deployment, enum colour colour, uint64_t handle)
{
	return observe_sockets_open(sockets, deployment, colour, handle);
}

static ssize_t observe_read(void *context, uint64_t handle, void *data, size_t size)
{
	return observe_sockets_read(sockets, handle, data, size);
}

static void observe_close(void *context, uint64_t handle)
{
	observe_sockets_close(sockets, handle);
}

static uint64_t on_observed(void *context, uint64_t handle)
{
	return agent_on_observed(node.agent, handle);
}

static void make_folder(const char *name)
{
	AUTO_FREE char *path = mem_format("%s/%s", folder, name);

	assert_int_equal(mkdir(path, 0755), 0);
}

static int setup(void **state)
{
	struct assignment a;

	assert_non_null(mkdtemp(folder));
	make_folder("observe");
	make_folder("observe/ocr-blue");
	make_folder("observe/ocr-green");
	assert_int_equal(sd_event_new(&event), 0);
	assert_int_equal(observe_sockets_new(event, folder, on_observed, NULL, &sockets, NULL), 0);
	node_create(&node);
	node.world.observe_open = observe_open; /* the kernel's, in place of the fleetless ones */
	node.world.observe_read = observe_read;
	node.world.observe_close = observe_close;
	release = node_release(&node, "1.0.0", 1, 2, 1000);
	node_start(&node);
	a = node_assignment(&release, NULL, GOAL_NONE);
	node_desire(&node, 1, &a, 1);
	node_run(&node, 90000); /* the record of the smoke tests is told */
	codec_free(&codec_observation_record, &node.observed);
	node.observed = (struct observation_record){0};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/observe/ocr-blue/observe.sock",
	         folder);
	if (access(address.sun_path, F_OK) < 0)
		snprintf(address.sun_path, sizeof(address.sun_path),
		         "%s/observe/ocr-green/observe.sock", folder);
	server = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(server >= 0);
	return 0;
}

static int teardown(void **state)
{
	AUTO_FREE char *command = mem_format("rm -r %s", folder);

	node_destroy(&node);
	observe_sockets_free(sockets);
	sd_event_unref(event);
	close(server);
	assert_int_equal(system(command), 0);
	memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
	return 0;
}

/* ---- the server's part ---- */

/* Until nothing waits, also behind a moment in which the server is not listened to. */
static void run_loop(void)
{
	while (sd_event_run(event, 50000) > 0)
		;
}

/* Once: the queue is full until the agent has read it. */
static void tell(const void *data, size_t size)
{
	while (sendto(server, data, size, 0, (const struct sockaddr *)&address, sizeof(address)) <
	       0) {
		assert_int_equal(errno, EAGAIN);
		assert_true(sd_event_run(event, 1000000) >= 0);
	}
}

static void tell_text(const char *text)
{
	tell(text, strlen(text));
}

static const struct observed_counts *counted(void)
{
	run_loop();
	node_run(&node, MINUTE_MS + SLACK_MS);
	return &node.observed.counts;
}

static size_t memory(void)
{
	return mallinfo2().uordblks; /* 0 under a sanitizer: suite `memory` */
}

/* ---- tests ---- */

/* No time passes for the node: more than a moment's share of it is shut out. Datagrams are large,
 * so that few of them do. */
static void test_flood(void **state)
{
	enum { SENT = 4500 };
	static char text[8000];
	const struct observed_counts *sum;
	size_t before;

	memset(text, ' ', sizeof(text));
	memcpy(text, "status=200 latency_us=1000", 26);
	tell(text, sizeof(text));
	run_loop();
	before = memory();
	for (int i = 1; i < SENT; i++)
		tell(text, sizeof(text));
	run_loop();
	assert_true(memory() <= before + MEMORY_SLACK);
	sum = counted();
	assert_true(sum->dropped > 0 && sum->ok > 1000);
	assert_int_equal(sum->ok + sum->dropped, SENT);
	assert_int_equal(sum->attempted, sum->ok);
}

static void test_rubbish(void **state)
{
	uint8_t noise[500];
	size_t before;

	tell_text("status=200");
	run_loop();
	before = memory();
	for (int i = 0; i < 10000; i++) {
		for (size_t k = 0; k < sizeof(noise); k++)
			noise[k] = (uint8_t)((unsigned)rand() >> 7);
		tell(noise, (size_t)i % sizeof(noise)); /* also of no byte at all */
	}
	run_loop();
	assert_true(memory() <= before + MEMORY_SLACK);
	tell_text("status=200 x.a=1 x.a=2 status=700 class=\x80");
	assert_true(counted()->rubbish > 9000);
	assert_true(counted()->attempted >= 2); /* the good ones, before and after */
}

static void test_too_long(void **state)
{
	AUTO_FREE char *text = mem_alloc(4 * OBSERVE_DATAGRAM_MAX);
	size_t size = 0;

	while (size < OBSERVE_DATAGRAM_MAX)
		size += (size_t)sprintf(text + size, "status=500\n");
	tell(text, size); /* cut by the kernel: nothing of it counts but itself */
	tell(text, OBSERVE_DATAGRAM_MAX - OBSERVE_DATAGRAM_MAX % 11);
	tell_text("status=200");
	assert_int_equal(counted()->rubbish, 1);
	assert_int_equal(counted()->errors, OBSERVE_DATAGRAM_MAX / 11);
	assert_int_equal(counted()->ok, 1);
}

/* A server that ends within a line: the request counts, what is missing is rubbish. */
static void test_truncated(void **state)
{
	tell_text("latency_us=1000 sta");
	tell_text("status=500 latency_us=");
	tell_text("status=200 score=0.5\nstat");
	assert_int_equal(counted()->attempted, 3);
	assert_int_equal(counted()->errors, 1);
	assert_int_equal(counted()->ok, 2);
	assert_int_equal(counted()->rubbish, 3);
	assert_int_equal(counted()->latencies, 1);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(test_flood),
	    T(test_rubbish),
	    T(test_too_long),
	    T(test_truncated),
	};

	return cmocka_run_group_tests_name("agent: observe sockets", tests, NULL, NULL);
}
