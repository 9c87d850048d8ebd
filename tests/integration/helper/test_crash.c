/* SPDX-License-Identifier: Apache-2.0 */
/* kill -9 at any point: the helper, its workers, the supervisor. What ran goes on and is found. */
#include "tests/integration/helper/fixture.h"

#include "base/clock.h"
#include "base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

static struct fixture fx;
static struct digest one, two;

static int setup(void **state)
{
	(void)state;
	fixture_up(&fx, "crash", "instance = htcrash");
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

static int clear(void **state)
{
	(void)state;
	if (!fx.helper)
		fixture_start(&fx);
	assert_int_equal(fixture_traffic(&fx, "", COLOUR_BLUE, NULL, 0), 0);
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_BLUE, true), 0);
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_GREEN, true), 0);
	while (fixture_exited(&fx, 0))
		;
	return 0;
}

static void expect_slot(enum colour colour, enum helper_slot_state state)
{
	struct helper_request request = {.op = HELPER_LIST};
	struct helper_reply reply;
	bool found = false;

	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	for (size_t i = 0; i < reply.slots_count; i++) {
		if (reply.slots[i].colour != colour)
			continue;
		found = true;
		assert_int_equal(reply.slots[i].state, state);
		assert_true(digest_equal(&reply.slots[i].release, &one));
	}
	assert_true(found);
	codec_free(&codec_helper_reply, &reply);
}

static void nothing_is_left(void)
{
	AUTO_STR struct str output = {0};

	assert_int_equal(fixture_processes(&fx, "/run/helper/slots", 0), 0);
	assert_int_not_equal(fixture_shell("", NULL, "ip -n %s link | grep -q ': cv'", fx.node), 0);
	assert_int_not_equal(fixture_shell("", NULL, "ls -d /sys/fs/cgroup/*/covey/htcrash/web-*"),
	                     0);
	assert_int_not_equal(fixture_shell("", NULL, "grep -qs %s /proc/mounts", fx.dir), 0);
	fixture_shell("", &output,
	              "ls %s/run/helper/runtime %s/run/helper/exits; "
	              "ls -d %s/run/helper/slots/*/",
	              fx.dir, fx.dir, fx.dir);
	assert_null(strstr(str_get(&output), "web-"));
}

/* spec: NODE-25 */
static void a_killed_helper_finds_what_runs(void **state)
{
	const struct helper_reply *ended;

	(void)state;
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
	assert_int_equal(fixture_traffic(&fx, "web", COLOUR_BLUE, &one, 8080), 0);
	assert_true(fixture_answers(fx.client, "10.90.0.1", 8080, "one", 3000));
	fixture_kill(&fx);
	assert_string_equal(fixture_get(fx.client, "10.90.0.1", 8080), "one");
	fixture_start(&fx);
	expect_slot(COLOUR_BLUE, HELPER_SLOT_RUNNING);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
	assert_string_equal(fixture_get(fx.client, "10.90.0.1", 8080), "one");
	/* and notices its end */
	fixture_shell("", NULL, "kill -9 $(cat %s/run/helper/slots/web-blue/pid)", fx.dir);
	ended = fixture_exited(&fx, 3000);
	assert_non_null(ended);
	assert_int_equal(ended->slots[0].exit_code, 137);
	expect_slot(COLOUR_BLUE, HELPER_SLOT_EXITED);
}

static void an_end_without_the_helper_is_found_later(void **state)
{
	(void)state;
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
	fixture_kill(&fx);
	fixture_shell("", NULL, "kill -9 $(cat %s/run/helper/slots/web-blue/pid)", fx.dir);
	usleep(300000);
	fixture_start(&fx);
	expect_slot(COLOUR_BLUE, HELPER_SLOT_EXITED);
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_BLUE, true), 0);
	nothing_is_left();
}

static void rules_flushed_without_the_helper_come_back(void **state)
{
	(void)state;
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
	assert_int_equal(fixture_traffic(&fx, "web", COLOUR_BLUE, &one, 8080), 0);
	fixture_kill(&fx);
	fixture_shell(fx.node, NULL, "nft flush ruleset");
	fixture_start(&fx);
	assert_true(fixture_answers(fx.client, "10.90.0.1", 8080, "one", 5000));
}

/* Sends without waiting for the reply. */
static void send_request(enum helper_op op, enum colour colour, const struct digest *release)
{
	struct helper_request request = {.id = 1, .op = op, .colour = colour, .kill = true};
	struct bytes packet = {0};

	STR_CUT(request.deployment, "web");
	if (release)
		request.release = *release;
	assert_int_equal(
	    codec_encode(&codec_helper_request, &request, LIMIT_HELPER_MESSAGE, &packet, NULL), 0);
	assert_true(send(fx.fd, packet.data, packet.size, 0) == (ssize_t)packet.size);
	free(packet.data);
}

static void kill_all_of_the_helper(void)
{
	fixture_kill(&fx);
	fixture_processes(&fx, "/covey-worker-", SIGKILL);
}

/* spec: SLOT-16 */
static void a_start_cut_short_anywhere_is_repaired(void **state)
{
	(void)state;
	for (int i = 0; i < 16; i++) {
		send_request(HELPER_START, COLOUR_BLUE, &one);
		usleep((useconds_t)(i * 17000));
		if (i % 4 == 3)
			fixture_kill(&fx); /* its worker goes on alone */
		else
			kill_all_of_the_helper();
		fixture_start(&fx);
		if (i % 2 == 0) {
			assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one),
			                 0);
			assert_int_equal(fixture_traffic(&fx, "web", COLOUR_BLUE, &one, 8080), 0);
			assert_true(fixture_answers(fx.client, "10.90.0.1", 8080, "one", 3000));
		}
		assert_int_equal(fixture_traffic(&fx, "", COLOUR_BLUE, NULL, 0), 0);
		assert_int_equal(fixture_stop(&fx, "web", COLOUR_BLUE, true), 0);
		nothing_is_left();
	}
}

/* The kernel kills when memory is short; the release is not to blame. */
static void a_killed_worker_is_run_once_more(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++) {
		pid_t killer = fork();

		if (killer == 0) {
			usleep((useconds_t)(i * 9000));
			fixture_processes(&fx, "/covey-worker-slot", SIGKILL);
			_exit(0);
		}
		assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
		assert_int_equal(waitpid(killer, NULL, 0), killer);
		expect_slot(COLOUR_BLUE, HELPER_SLOT_RUNNING);
		assert_int_equal(fixture_stop(&fx, "web", COLOUR_BLUE, true), 0);
		nothing_is_left();
	}
}

/* spec: SLOT-16 */
static void a_stop_cut_short_anywhere_is_repaired(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++) {
		assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
		send_request(HELPER_STOP, COLOUR_BLUE, NULL);
		usleep((useconds_t)(i * 8000));
		kill_all_of_the_helper();
		fixture_start(&fx);
		assert_int_equal(fixture_stop(&fx, "web", COLOUR_BLUE, true), 0);
		nothing_is_left();
	}
}

/* spec: SLOT-16 */
static void an_unpack_cut_short_anywhere_is_repaired(void **state)
{
	char text[32];

	(void)state;
	for (int i = 0; i < 8; i++) {
		struct digest digest;

		snprintf(text, sizeof(text), "text %d", i);
		digest =
		    fixture_release(&fx, &(struct fixture_release){.text = text, .model = text});
		send_request(HELPER_UNPACK, COLOUR_BLUE, &digest);
		usleep((useconds_t)(i * 4000));
		kill_all_of_the_helper();
		fixture_start(&fx);
		assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &digest), 0);
		assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_GREEN, &digest), 0);
		assert_int_equal(fixture_traffic(&fx, "web", COLOUR_GREEN, &digest, 8080), 0);
		assert_true(fixture_answers(fx.client, "10.90.0.1", 8080, text, 3000));
		assert_int_equal(fixture_traffic(&fx, "", COLOUR_BLUE, NULL, 0), 0);
		assert_int_equal(fixture_stop(&fx, "web", COLOUR_GREEN, true), 0);
	}
	/* broken attempts are pruned with everything else that nobody wants */
	assert_int_equal(fixture_do(&fx, HELPER_PRUNE, "", COLOUR_BLUE, NULL), 0);
	assert_int_not_equal(fixture_shell("", NULL, "ls -A %s/helper/layers | grep .", fx.dir), 0);
	assert_int_not_equal(fixture_shell("", NULL, "ls -A %s/helper/releases | grep .", fx.dir),
	                     0);
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &one), 0);
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &two), 0);
}

/* conmon dead: the container's end is seen all the same. */
static void a_killed_supervisor_hides_nothing(void **state)
{
	const struct helper_reply *ended;

	(void)state;
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
	fixture_shell("", NULL, "kill -9 $(cat %s/run/helper/slots/web-blue/supervisor)", fx.dir);
	expect_slot(COLOUR_BLUE, HELPER_SLOT_RUNNING);
	fixture_shell("", NULL, "kill -9 $(cat %s/run/helper/slots/web-blue/pid)", fx.dir);
	ended = fixture_exited(&fx, 5000);
	assert_non_null(ended);
	assert_int_equal(ended->slots[0].exit_code, 255);
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_BLUE, false), 0);
	nothing_is_left();
}

/* A rollback does not wait behind a start that hangs (here: a runtime that does nothing). */
static void a_kill_overtakes_a_hanging_start(void **state)
{
	struct helper_request request = {.op = HELPER_STOP, .deployment = "web", .kill = true};
	struct helper_reply reply;
	uint64_t before;

	(void)state;
	fixture_shell("", NULL,
	              "printf \"#!/bin/bash\\nexec -a \\$0 sleep 30\\n\" >%s/slow; "
	              "chmod 755 %s/slow; "
	              "sed -i \"s|^runtime.*|runtime = %s/slow|\" %s/agent.conf",
	              fx.dir, fx.dir, fx.dir, fx.dir);
	send_request(HELPER_START, COLOUR_BLUE, &one);
	usleep(500000);
	assert_true(fixture_processes(&fx, "/slow", 0) > 0);
	fixture_shell("", NULL, "sed -i \"s|^runtime.*|runtime = runc|\" %s/agent.conf", fx.dir);
	before = clock_mono_ms();
	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	codec_free(&codec_helper_reply, &reply);
	assert_true(clock_mono_ms() - before < fixture_ms(3000));
	nothing_is_left();
}

/* Nor behind a stop that waits for a server to finish. */
static void a_kill_overtakes_a_patient_stop(void **state)
{
	const char *const command[] = {"/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done",
	                               NULL};
	struct digest deaf = fixture_release(&fx, &(struct fixture_release){.command = command});
	struct helper_request patient = {.op = HELPER_STOP, .deployment = "web", .grace_ms = 60000};
	struct helper_request request = {.op = HELPER_STOP, .deployment = "web", .kill = true};
	struct bytes packet = {0};
	struct helper_reply reply;
	uint64_t before;

	(void)state;
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &deaf), 0);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &deaf), 0);
	patient.id = 1;
	assert_int_equal(
	    codec_encode(&codec_helper_request, &patient, LIMIT_HELPER_MESSAGE, &packet, NULL), 0);
	assert_true(send(fx.fd, packet.data, packet.size, 0) == (ssize_t)packet.size);
	free(packet.data);
	usleep(500000);
	assert_int_equal(fixture_shell("", NULL, "kill -0 $(cat %s/run/helper/slots/web-blue/pid)",
	                               fx.dir),
	                 0); /* does not listen */
	before = clock_mono_ms();
	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	codec_free(&codec_helper_reply, &reply);
	assert_true(clock_mono_ms() - before < fixture_ms(20000));
	nothing_is_left();
}

/* The resident process is small, whatever it has done before. */
static void the_helper_stays_small(void **state)
{
	AUTO_STR struct str output = {0};
	uint64_t kib;

	(void)state;
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(fixture_traffic(&fx, "web", COLOUR_BLUE, &one, 8080), 0);
	fixture_shell("", &output,
	              "sed -n \"s/^Pss: *\\([0-9]*\\) kB/\\1/p\" "
	              "/proc/%d/smaps_rollup",
	              (int)fx.helper);
	output.data[strcspn(output.data, "\n")] = 0;
	assert_int_equal(str_parse_u64(output.data, 1 << 20, &kib), 0);
	printf("# covey-helper: PSS %llu KiB\n", (unsigned long long)kib);
#ifndef __SANITIZE_ADDRESS__ /* whose shadow memory is not the helper's */
	assert_true(kib < 1536);
#endif
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, clear, clear)
	const struct CMUnitTest tests[] = {
	    TEST(a_killed_helper_finds_what_runs),
	    TEST(an_end_without_the_helper_is_found_later),
	    TEST(rules_flushed_without_the_helper_come_back),
	    TEST(a_start_cut_short_anywhere_is_repaired),
	    TEST(a_killed_worker_is_run_once_more),
	    TEST(a_stop_cut_short_anywhere_is_repaired),
	    TEST(an_unpack_cut_short_anywhere_is_repaired),
	    TEST(a_killed_supervisor_hides_nothing),
	    TEST(a_kill_overtakes_a_hanging_start),
	    TEST(a_kill_overtakes_a_patient_stop),
	    TEST(the_helper_stays_small),
	};

	if (!fixture_usable())
		return 77;
	return cmocka_run_group_tests(tests, setup, teardown);
}
