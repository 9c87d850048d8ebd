/* SPDX-License-Identifier: Apache-2.0 */
/* The traffic map on a real kernel: swaps under load, who reaches whom, flushed rules. */
#include "tests/integration/helper/fixture.h"

#include "base/clock.h"
#include "base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

enum { LOADERS = 3, SWITCHES = 50, PORT = 8080 };

static struct fixture fx;
static struct digest one, two;

static int setup(void **state)
{
	(void)state;
	fixture_up(&fx, "traffic", "instance = httraffic");
	/* a router already: nothing is closed for others, our own rules must do it all */
	fixture_shell(fx.node, NULL,
	              "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
	fixture_start(&fx);
	one = fixture_release(&fx, &(struct fixture_release){.text = "one"});
	two = fixture_release(&fx, &(struct fixture_release){.text = "two", .no_egress = true});
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &one), 0);
	assert_int_equal(fixture_do(&fx, HELPER_UNPACK, "web", COLOUR_BLUE, &two), 0);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_GREEN, &two), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fixture_down(&fx);
	return 0;
}

static int serve_one(void **state)
{
	(void)state;
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_BLUE, &one), 0);
	assert_int_equal(fixture_do(&fx, HELPER_START, "web", COLOUR_GREEN, &two), 0);
	assert_int_equal(fixture_traffic(&fx, "web", COLOUR_BLUE, &one, PORT), 0);
	assert_true(fixture_answers(fx.client, "10.90.0.1", PORT, "one", 3000));
	return 0;
}

static uint32_t pid_of(const char *slot)
{
	AUTO_STR struct str output = {0};
	uint64_t pid;

	fixture_shell("", &output, "cat %s/run/helper/slots/%s/pid", fx.dir, slot);
	output.data[strcspn(output.data, "\n")] = 0;
	assert_int_equal(str_parse_u64(output.data, INT32_MAX, &pid), 0);
	return (uint32_t)pid;
}

static void value_of(const char *slot, const char *key, char dst[64])
{
	AUTO_STR struct str output = {0};

	fixture_shell("", &output, "sed -n s/^%s=//p %s/run/helper/slots/%s/record", key, fx.dir,
	              slot);
	str_cut(dst, 64, str_get(&output));
	dst[strcspn(dst, "\n")] = 0;
}

/* ---- load ---- */

struct load { /* shared with the loaders */
	volatile bool stop;
	unsigned requests[LOADERS], failures[LOADERS], answers[2];
};

/* What an open connection answers to one request: '1' or '2', or 0. */
static char ask(int fd)
{
	static const char request[] = "GET / HTTP/1.0\r\n\r\n";
	char text[1024];
	size_t size = 0;
	ssize_t got;

	if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) != sizeof(request) - 1)
		return 0;
	while ((got = recv(fd, text + size, sizeof(text) - 1 - size, 0)) > 0)
		size += (size_t)got;
	text[size] = 0;
	if (size >= 3 && str_equal(text + size - 3, "one"))
		return '1';
	return size >= 3 && str_equal(text + size - 3, "two") ? '2' : 0;
}

static _Noreturn void run_loader(struct load *load, int index, const char *netns,
                                 const char *address)
{
	while (!load->stop) {
		int fd = fixture_dial(netns, address, PORT);
		char answer = fd >= 0 ? ask(fd) : 0;

		if (fd >= 0)
			close(fd);
		load->requests[index]++;
		if (answer)
			load->answers[answer - '1']++;
		else
			load->failures[index]++;
	}
	_exit(0);
}

/* spec: SLOT-5 */
static void swaps_under_load_lose_nothing(void **state)
{
	struct load *load =
	    mmap(NULL, sizeof(*load), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned requests = 0, failures = 0;
	pid_t loaders[LOADERS];

	(void)state;
	for (int i = 0; i < LOADERS; i++) {
		loaders[i] = fork();
		if (loaders[i] == 0)
			run_loader(load, i, i ? fx.client : fx.node, i ? "10.90.0.1" : "127.0.0.1");
	}
	for (int i = 0; i < 10; i++) {
		usleep(200000);
		assert_int_equal(fixture_traffic(&fx, "web", i % 2 ? COLOUR_BLUE : COLOUR_GREEN,
		                                 i % 2 ? &one : &two, PORT),
		                 0);
	}
	load->stop = true;
	for (int i = 0; i < LOADERS; i++) {
		waitpid(loaders[i], NULL, 0);
		requests += load->requests[i];
		failures += load->failures[i];
	}
	printf("# %u requests in ten swaps, %u failed, %u answered by one slot, %u by the other\n",
	       requests, failures, load->answers[0], load->answers[1]);
	assert_int_equal(failures, 0);
	assert_true(requests > 500 && load->answers[0] > 50 && load->answers[1] > 50);
	munmap(load, sizeof(*load));
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void many_switches_are_done(void **state)
{
	double ms[SWITCHES];

	(void)state;
	for (int i = 0; i < SWITCHES; i++) {
		struct timespec from, to;

		clock_gettime(CLOCK_MONOTONIC, &from);
		assert_int_equal(fixture_traffic(&fx, "web", i % 2 ? COLOUR_BLUE : COLOUR_GREEN,
		                                 i % 2 ? &one : &two, PORT),
		                 0);
		clock_gettime(CLOCK_MONOTONIC, &to);
		ms[i] = (double)(to.tv_sec - from.tv_sec) * 1e3 +
		        (double)(to.tv_nsec - from.tv_nsec) / 1e6;
	}
	qsort(ms, SWITCHES, sizeof(*ms), compare);
	printf("# switch of traffic: p50 %.1f ms, p99 %.1f ms\n", ms[SWITCHES / 2],
	       ms[SWITCHES - 1]);
}

/* spec: SLOT-6 */
static void open_connections_stay_with_their_slot(void **state)
{
	int fd = fixture_dial(fx.client, "10.90.0.1", PORT);
	int local = fixture_dial(fx.node, "127.0.0.1", PORT);

	(void)state;
	assert_true(fd >= 0 && local >= 0);
	assert_int_equal(fixture_traffic(&fx, "web", COLOUR_GREEN, &two, PORT), 0);
	assert_string_equal(fixture_get(fx.client, "10.90.0.1", PORT), "two");
	assert_int_equal(ask(fd), '1');
	assert_int_equal(ask(local), '1');
	close(fd);
	close(local);
}

/* Rollback: the map turns, the failed slot is killed; who was connected there hears of it. */
/* spec: SLOT-7 */
static void clients_of_a_killed_slot_do_not_hang(void **state)
{
	int idle = fixture_dial(fx.client, "10.90.0.1", PORT);
	int busy = fixture_dial(fx.client, "10.90.0.1", PORT);
	int local = fixture_dial(fx.node, "127.0.0.1", PORT);
	char address[64];
	uint64_t before;

	(void)state;
	value_of("web-blue", "address", address);
	assert_true(idle >= 0 && busy >= 0 && local >= 0);
	assert_int_equal(send(busy, "GET / HT", 8, 0), 8);
	before = clock_mono_ms();
	assert_int_equal(fixture_traffic(&fx, "web", COLOUR_GREEN, &two, PORT), 0);
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_BLUE, true), 0);
	assert_int_equal(ask(idle), 0);
	assert_int_equal(ask(busy), 0);
	assert_int_equal(ask(local), 0);
	assert_true(clock_mono_ms() - before < fixture_ms(3000));
	assert_string_equal(fixture_get(fx.client, "10.90.0.1", PORT), "two");
	assert_int_not_equal(
	    fixture_shell(fx.node, NULL, "conntrack -L 2>/dev/null | grep -q %s", address), 0);
	close(idle);
	close(busy);
	close(local);
}

/* A crashed slot that the map still points to: an error at once. */
static void clients_of_a_dead_slot_are_refused(void **state)
{
	uint64_t before;

	(void)state;
	fixture_shell("", NULL, "kill -9 $(cat %s/run/helper/slots/web-blue/pid)", fx.dir);
	assert_non_null(fixture_exited(&fx, 3000));
	usleep(200000);
	before = clock_mono_ms();
	assert_string_equal(fixture_get(fx.client, "10.90.0.1", PORT), "");
	assert_string_equal(fixture_get(fx.node, "127.0.0.1", PORT), "");
	assert_true(clock_mono_ms() - before < fixture_ms(1500));
}

static void a_route_must_fit_what_runs(void **state)
{
	(void)state;
	assert_int_equal(fixture_traffic(&fx, "web", COLOUR_BLUE, &two, PORT), ESTALE);
	assert_int_equal(fixture_traffic(&fx, "nobody", COLOUR_BLUE, &two, PORT), ENOENT);
	assert_int_equal(fixture_traffic(&fx, "web", COLOUR_BLUE, &one, 70000), EINVAL);
	assert_string_equal(fixture_get(fx.client, "10.90.0.1", PORT), "one"); /* as before */
}

/* spec: SLOT-10 */
static void flushed_rules_come_back(void **state)
{
	uint64_t before;

	(void)state;
	for (int i = 0; i < 3; i++) {
		static const char *const attacks[] = {
		    "flush ruleset", "delete table inet $(nft list tables | cut -d\" \" -f3)",
		    "flush map inet $(nft list tables | cut -d\" \" -f3) slots4"};

		fixture_shell(fx.node, NULL, "nft %s", attacks[i]);
		before = clock_mono_ms();
		assert_true(fixture_answers(fx.client, "10.90.0.1", PORT, "one", 5000));
		printf("# after `%s`: back in %llu ms\n", attacks[i],
		       (unsigned long long)(clock_mono_ms() - before));
		usleep(2200000);
	}
	/* other people's rules are none of our business, and our own changes make no loop */
	fixture_shell(fx.node, NULL, "nft add table inet other");
	usleep(300000);
	assert_int_equal(fixture_processes(&fx, "/covey-worker-traffic", 0), 0);
}

/* curl from inside a slot's network; 0 when it got an answer, were it 404. */
static int from_slot(const char *slot, const char *url)
{
	return fixture_shell("", NULL, "nsenter -t %u -n curl -gs -m 1 -o /dev/null '%s'",
	                     pid_of(slot), url);
}

/* spec: SLOT-8 */
static void slots_reach_nothing_that_is_not_theirs(void **state)
{
	char other[64], other6[64], url[160];
	pid_t server = fixture_server(fx.node, "9999", "/dev/null");

	(void)state;
	value_of("web-green", "address", other);
	value_of("web-green", "address6", other6);
	/* the node, by each of its addresses */
	assert_int_not_equal(from_slot("web-blue", "http://10.90.0.1:9999/"), 0);
	assert_int_not_equal(from_slot("web-blue", "http://[fd90::1]:9999/"), 0);
	assert_int_not_equal(from_slot("web-blue", "http://10.90.0.1:8080/"), 0);
	assert_int_not_equal(
	    fixture_shell("", NULL,
	                  "nsenter -t %u -n sh -c \"curl -gs -m 1 http://$(nsenter -t %u -n "
	                  "ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p'):9999/\"",
	                  pid_of("web-blue"), pid_of("web-blue")),
	    0);
	/* the other slot */
	snprintf(url, sizeof(url), "http://%s:8000/", other);
	assert_int_not_equal(from_slot("web-blue", url), 0);
	snprintf(url, sizeof(url), "http://[%s]:8000/", other6);
	assert_int_not_equal(from_slot("web-blue", url), 0);
	kill(server, SIGKILL);
}

/* spec: SLOT-8 */
static void egress_is_masqueraded_or_denied(void **state)
{
	AUTO_STR struct str seen = {0};
	AUTO_FREE char *log = mem_format("%s/seen", fx.dir);
	pid_t server = fixture_server(fx.client, "7778", log);

	(void)state;
	assert_int_equal(from_slot("web-blue", "http://10.90.0.2:7778/"), 0);
	assert_int_not_equal(from_slot("web-green", "http://10.90.0.2:7778/"), 0);
	fixture_shell("", &seen, "cat %s/seen", fx.dir);
	assert_non_null(strstr(str_get(&seen), "10.90.0.1]"));
	assert_null(strstr(str_get(&seen), "10.213."));
	kill(server, SIGKILL);
}

/* spec: SLOT-9 */
static void outsiders_reach_only_what_is_mapped(void **state)
{
	char address[64];

	(void)state;
	value_of("web-green", "address", address);
	fixture_shell("", NULL, "ip -n %s route add 10.213.0.0/16 via 10.90.0.1", fx.client);
	assert_string_equal(fixture_get(fx.client, address, 8000), "");
	/* the node itself may: probes go there */
	assert_string_equal(fixture_get(fx.node, address, 8000), "two");
	fixture_shell("", NULL, "ip -n %s route del 10.213.0.0/16", fx.client);
	/* what a node that was a router before forwards for others is its own affair */
	assert_int_not_equal(fixture_shell(fx.node, NULL,
	                                   "nft list ruleset | grep -q "
	                                   "\"nfproto ipv4 drop\""),
	                     0);
}

/* spec: SLOT-9 */
static void martians_for_127_are_dropped(void **state)
{
	AUTO_STR struct str output = {0};
	/* a service of the node on loopback only */
	pid_t server = fixture_server(fx.node, "127.0.0.1:9998", "/dev/null");

	(void)state;
	assert_int_equal(fixture_shell(fx.node, NULL, "curl -s -m 1 -o /dev/null 127.0.0.1:9998"),
	                 0);
	/* the client sends 127.0.0.1 to the node's link address; route_localnet would let it in */
	fixture_shell("", NULL,
	              "M=$(ip -n %s -br link show up0 | awk \"{print \\$3}\"); "
	              "nsenter --net=/run/netns/%s sh -c \"sysctl -qw "
	              "net.ipv4.conf.all.route_localnet=1; ip addr del 127.0.0.1/8 dev lo; "
	              "ip route add 127.0.0.1/32 dev up0 src 10.90.0.2; "
	              "ip neigh replace 127.0.0.1 lladdr $M dev up0\"; "
	              "nsenter --net=/run/netns/%s sysctl -qw net.ipv4.conf.up0.route_localnet=1",
	              fx.node, fx.client, fx.node);
	assert_int_not_equal(
	    fixture_shell(fx.client, &output, "curl -s -m 1 -o /dev/null 127.0.0.1:9998"), 0);
	fixture_shell(fx.client, NULL, "ip route del 127.0.0.1/32; ip addr add 127.0.0.1/8 dev lo");
	kill(server, SIGKILL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, serve_one)
	const struct CMUnitTest tests[] = {
	    TEST(swaps_under_load_lose_nothing),
	    TEST(many_switches_are_done),
	    TEST(open_connections_stay_with_their_slot),
	    TEST(clients_of_a_killed_slot_do_not_hang),
	    TEST(clients_of_a_dead_slot_are_refused),
	    TEST(a_route_must_fit_what_runs),
	    TEST(flushed_rules_come_back),
	    TEST(slots_reach_nothing_that_is_not_theirs),
	    TEST(egress_is_masqueraded_or_denied),
	    TEST(outsiders_reach_only_what_is_mapped),
	    TEST(martians_for_127_are_dropped),
	};

	if (!fixture_usable())
		return 77;
	return cmocka_run_group_tests(tests, setup, teardown);
}
