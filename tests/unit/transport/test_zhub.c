/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The four ways in which ZeroMQ sockets in an event loop fail (each test fails with the loop that
 * has that fault), and what a hub promises about messages.
 */
#include "fixture.h"

#include "base/mem.h"

#include <string.h>
#include <zmq.h>

enum { MANY = 200, FLOOD = 500, FLOOD_MS = 400, TIMER_MS = 10 };

struct count {
	unsigned received;
	struct zhub_socket *socket; /* that on_relay sends to */
	char last[32];
};

struct probe {
	struct fixture *fixture;
	struct zhub_socket *router;
	void *peer;
	unsigned fired;
};

static void on_count(void *ctx, const struct zmessage *message)
{
	struct count *count = ctx;

	count->received++;
	snprintf(count->last, sizeof(count->last), "%.*s", (int)message->size,
		 (const char *)message->data);
}

/* Keeps a flood going: what comes in goes out again. */
static void on_relay(void *ctx, const struct zmessage *message)
{
	struct count *count = ctx;

	count->received++;
	(void)!zhub_send(count->socket, NULL, 0, message->data, message->size);
}

static void *plain_socket(struct fixture *fixture, int type)
{
	void *socket = zmq_socket(fixture->context, type);
	int zero = 0, wait_ms = 2000;

	assert_non_null(socket);
	assert_int_equal(zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof(zero)), 0);
	assert_int_equal(zmq_setsockopt(socket, ZMQ_SNDTIMEO, &wait_ms, sizeof(wait_ms)), 0);
	assert_int_equal(zmq_setsockopt(socket, ZMQ_RCVTIMEO, &wait_ms, sizeof(wait_ms)), 0);
	return socket;
}

/* A bound ROUTER in the hub and a connected DEALER outside of it. */
static void *pair_up(struct fixture *fixture, zhub_receive_fn *receive, void *ctx,
		     struct zhub_socket **ret_router)
{
	void *router = plain_socket(fixture, ZMQ_ROUTER), *peer = plain_socket(fixture, ZMQ_DEALER);
	char endpoint[128];
	size_t size = sizeof(endpoint);
	int one = 1;

	assert_int_equal(zmq_setsockopt(router, ZMQ_ROUTER_MANDATORY, &one, sizeof(one)), 0);
	assert_int_equal(zmq_bind(router, "tcp://127.0.0.1:*"), 0);
	assert_int_equal(zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
	assert_int_equal(zmq_connect(peer, endpoint), 0);
	assert_int_equal(zhub_add(fixture->hub, router, receive, ctx, ret_router), 0);
	return peer;
}

/* Two PAIRs in the hub between which FLOOD messages go round without end. */
static void flood(struct fixture *fixture, const char *address, struct count *a, struct count *b)
{
	void *left = plain_socket(fixture, ZMQ_PAIR), *right = plain_socket(fixture, ZMQ_PAIR);

	assert_int_equal(zmq_bind(left, address), 0);
	assert_int_equal(zmq_connect(right, address), 0);
	assert_int_equal(zhub_add(fixture->hub, left, on_relay, a, &a->socket), 0);
	assert_int_equal(zhub_add(fixture->hub, right, on_relay, b, &b->socket), 0);
	for (int i = 0; i < FLOOD; i++) {
		assert_int_equal(zhub_send(a->socket, NULL, 0, "x", 1), 0);
		assert_int_equal(zhub_send(b->socket, NULL, 0, "x", 1), 0);
	}
}

static int on_tick(sd_event_source *source, uint64_t now_us, void *ctx)
{
	unsigned *ticks = ctx;

	(*ticks)++;
	assert_true(sd_event_source_set_time_relative(source, TIMER_MS * 1000) >= 0);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* ---- the four failures ---- */

/* spec: LINK-3 */
static void test_a_burst_is_read_to_its_end(void **state)
{
	struct fixture fixture;
	struct count count = {0};
	struct zhub_socket *router;
	void *peer;

	fixture_open(&fixture, 0);
	peer = pair_up(&fixture, on_count, &count, &router);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(zmq_send(peer, "x", 1, 0), 1);
	assert_true(wait_count(&fixture, &count.received, MANY, 2000));
	zmq_close(peer);
	fixture_close(&fixture);
}

/* A message arrives while a callback runs; the callback sends on the same socket. */
static int on_send_over(sd_event_source *source, uint64_t now_us, void *ctx)
{
	struct probe *probe = ctx;

	assert_int_equal(zmq_send(probe->peer, "late", 4, 0), 4);
	usleep(50000);
	assert_int_equal(zhub_send(probe->router, "none", 4, "x", 1), -EHOSTUNREACH);
	probe->fired++;
	return 0;
}

/* spec: LINK-3 */
static void test_a_send_does_not_swallow_what_arrived(void **state)
{
	struct fixture fixture;
	struct count count = {0};
	struct probe probe = {&fixture, NULL, NULL, 0};
	sd_event_source *timer = NULL;

	fixture_open(&fixture, 0);
	probe.peer = pair_up(&fixture, on_count, &count, &probe.router);
	assert_int_equal(zmq_send(probe.peer, "first", 5, 0), 5);
	assert_true(wait_count(&fixture, &count.received, 1, 2000));
	run_for(&fixture, 50);
	assert_true(sd_event_add_time_relative(fixture.event, &timer, CLOCK_MONOTONIC, 1000, 0,
					       on_send_over, &probe) >= 0);
	assert_true(wait_count(&fixture, &probe.fired, 1, 2000));
	assert_true(wait_count(&fixture, &count.received, 2, 1000));
	assert_string_equal(count.last, "late");
	sd_event_source_unref(timer);
	zmq_close(probe.peer);
	fixture_close(&fixture);
}

/* spec: LINK-3 */
static void test_a_flood_does_not_starve_timers(void **state)
{
	struct fixture fixture;
	struct count a = {0}, b = {0};
	sd_event_source *timer = NULL;
	unsigned ticks = 0;

	fixture_open(&fixture, 0);
	flood(&fixture, "inproc://flood", &a, &b);
	assert_true(sd_event_add_time_relative(fixture.event, &timer, CLOCK_MONOTONIC,
					       TIMER_MS * 1000, 0, on_tick, &ticks) >= 0);
	run_for(&fixture, FLOOD_MS);
	assert_true(a.received > FLOOD);
	/* An idle loop makes 40: a busy machine delays some, starvation is none at all. */
	assert_true(ticks >= 3);
	sd_event_source_unref(timer);
	fixture_close(&fixture);
}

/* spec: LINK-3 */
static void test_a_flooded_socket_does_not_starve_another(void **state)
{
	struct fixture fixture;
	struct count a = {0}, b = {0}, c = {0}, d = {0};

	fixture_open(&fixture, 0);
	flood(&fixture, "inproc://one", &a, &b);
	flood(&fixture, "inproc://two", &c, &d);
	run_for(&fixture, FLOOD_MS);
	assert_true(a.received + b.received > 4 * FLOOD);
	assert_in_range(c.received + d.received, (a.received + b.received) * 4 / 5,
			(a.received + b.received) * 5 / 4);
	fixture_close(&fixture);
}

struct endless {
	unsigned ticks, reads, longest; /* reads without a tick in between */
};

static int on_read_endless(void *ctx, void *zmq_socket)
{
	struct endless *endless = ctx;

	if (++endless->reads > endless->longest)
		endless->longest = endless->reads;
	return endless->reads < 100000 ? 0 : -EAGAIN;
}

static int on_turn(sd_event_source *source, void *ctx)
{
	struct endless *endless = ctx;

	endless->ticks++;
	endless->reads = 0;
	return 0;
}

static void test_a_socket_that_never_runs_dry_is_read_in_batches(void **state)
{
	struct fixture fixture;
	struct endless endless = {0};
	struct zhub_socket *socket = NULL;
	sd_event_source *turn = NULL;
	void *left, *right;

	fixture_open(&fixture, 0);
	left = plain_socket(&fixture, ZMQ_PAIR);
	right = plain_socket(&fixture, ZMQ_PAIR);
	assert_int_equal(zmq_bind(left, "inproc://endless"), 0);
	assert_int_equal(zmq_connect(right, "inproc://endless"), 0);
	assert_int_equal(zmq_send(right, "x", 1, 0), 1);
	assert_int_equal(zhub_add_reader(fixture.hub, left, on_read_endless, &endless, &socket), 0);
	assert_true(sd_event_add_post(fixture.event, &turn, on_turn, &endless) >= 0);
	run_for(&fixture, 50);
	assert_true(endless.ticks > 100);
	assert_in_range(endless.longest, 1, 200);
	sd_event_source_unref(turn);
	zmq_close(right);
	fixture_close(&fixture);
}

/* ---- messages ---- */

static void test_malformed_messages_are_dropped_and_counted(void **state)
{
	struct fixture fixture;
	struct count count = {0};
	struct zhub_socket *router;
	void *peer;

	fixture_open(&fixture, 0);
	peer = pair_up(&fixture, on_count, &count, &router);
	assert_int_equal(zmq_send(peer, "two", 3, ZMQ_SNDMORE), 3);
	assert_int_equal(zmq_send(peer, "parts", 5, 0), 5);
	for (int i = 0; i < 100; i++)
		assert_int_equal(zmq_send(peer, "many", 4, i < 99 ? ZMQ_SNDMORE : 0), 4);
	assert_int_equal(zmq_send(peer, "good", 4, 0), 4);
	assert_true(wait_count(&fixture, &count.received, 1, 2000));
	assert_string_equal(count.last, "good");
	assert_int_equal(zhub_stats(router).dropped, 2);
	assert_int_equal(zhub_stats(router).received, 1);
	zmq_close(peer);
	fixture_close(&fixture);
}

static void test_invented_routing_ids_are_dropped(void **state)
{
	static const char invented[] = "a routing id that no client of Covey's has";
	struct fixture fixture;
	struct count count = {0};
	struct zhub_socket *router;
	void *peer, *other = NULL;
	char endpoint[128];
	size_t size = sizeof(endpoint);

	fixture_open(&fixture, 0);
	peer = pair_up(&fixture, on_count, &count, &router);
	assert_int_equal(zmq_getsockopt(zhub_zmq_socket(router), ZMQ_LAST_ENDPOINT, endpoint,
					&size),
			 0);
	other = plain_socket(&fixture, ZMQ_DEALER);
	assert_int_equal(zmq_setsockopt(other, ZMQ_ROUTING_ID, invented, sizeof(invented) - 1), 0);
	assert_int_equal(zmq_connect(other, endpoint), 0);
	assert_int_equal(zmq_send(other, "bad", 3, 0), 3);
	run_for(&fixture, 200);
	assert_int_equal(count.received, 0);
	assert_int_equal(zhub_stats(router).dropped, 1);
	zmq_close(peer);
	zmq_close(other);
	fixture_close(&fixture);
}

struct self_remover {
	struct zhub_socket *router;
	unsigned received;
};

static void on_remove_self(void *ctx, const struct zmessage *message)
{
	struct self_remover *self = ctx;

	self->received++;
	zhub_remove(self->router);
	assert_memory_equal(message->data, "x", 1); /* still there */
}

static void test_a_socket_may_go_in_its_own_callback(void **state)
{
	struct fixture fixture;
	struct self_remover self = {0};
	void *peer;

	fixture_open(&fixture, 0);
	peer = pair_up(&fixture, on_remove_self, &self, &self.router);
	for (int i = 0; i < 10; i++)
		assert_int_equal(zmq_send(peer, "x", 1, 0), 1);
	assert_true(wait_count(&fixture, &self.received, 1, 2000));
	run_for(&fixture, 50);
	assert_int_equal(self.received, 1);
	zmq_close(peer);
	fixture_close(&fixture);
}

static void on_release(void *data, void *hint)
{
	free(data);
	__atomic_add_fetch((unsigned *)hint, 1, __ATOMIC_SEQ_CST);
}

struct answerer {
	struct zhub_socket *router;
	unsigned answered;
	unsigned *released;
};

static void on_answer_large(void *ctx, const struct zmessage *message)
{
	struct answerer *self = ctx;
	size_t size = 4 << 20;
	char *data = mem_alloc(size);

	data[size - 1] = 'z';
	assert_int_equal(zhub_send_owned(self->router, message->routing, message->routing_size,
					 data, size, on_release, self->released),
			 0);
	self->answered++;
}

static void test_an_owned_buffer_is_released_once(void **state)
{
	struct fixture fixture;
	unsigned released = 0;
	struct answerer self = {.released = &released};
	char *unsent = mem_alloc(16);
	zmq_msg_t got;
	void *peer;

	fixture_open(&fixture, 0);
	peer = pair_up(&fixture, on_answer_large, &self, &self.router);
	assert_int_equal(zmq_send(peer, "x", 1, 0), 1);
	assert_true(wait_count(&fixture, &self.answered, 1, 2000));
	zmq_msg_init(&got);
	assert_int_equal(zmq_msg_recv(&got, peer, 0), 4 << 20);
	assert_int_equal(((char *)zmq_msg_data(&got))[(4 << 20) - 1], 'z');
	zmq_msg_close(&got);
	for (int i = 0; i < 200 && !__atomic_load_n(&released, __ATOMIC_SEQ_CST); i++)
		run_for(&fixture, 10);
	assert_int_equal(released, 1);
	assert_int_equal(zhub_send_owned(self.router, "none", 4, unsent, 16, on_release, &released),
			 -EHOSTUNREACH);
	assert_int_equal(released, 1);
	unsent[15] = 1; /* still ours */
	free(unsent);
	zmq_close(peer);
	fixture_close(&fixture);
}

static void test_a_peer_that_does_not_read_gives_eagain(void **state)
{
	struct fixture fixture;
	struct answerer unused = {0};
	struct count count = {0};
	char block[64 << 10] = {0};
	void *router = NULL, *peer = NULL;
	int one = 1, r = 0;

	fixture_open(&fixture, 0);
	router = plain_socket(&fixture, ZMQ_PAIR);
	peer = plain_socket(&fixture, ZMQ_PAIR);
	assert_int_equal(zmq_setsockopt(router, ZMQ_SNDHWM, &one, sizeof(one)), 0);
	assert_int_equal(zmq_setsockopt(peer, ZMQ_RCVHWM, &one, sizeof(one)), 0);
	assert_int_equal(zmq_bind(router, "inproc://full"), 0);
	assert_int_equal(zmq_connect(peer, "inproc://full"), 0);
	assert_int_equal(zhub_add(fixture.hub, router, on_count, &count, &unused.router), 0);
	for (int i = 0; i < 10 && r == 0; i++)
		r = zhub_send(unused.router, NULL, 0, block, sizeof(block));
	assert_int_equal(r, -EAGAIN);
	zmq_close(peer);
	fixture_close(&fixture);
}

/*
 * A queue is full when it is, not when libzmq has not looked yet at what was read: a fast asker lost
 * every so many answers.
 *
 * spec: LINK-3
 */
static void test_a_peer_that_reads_never_gives_eagain(void **state)
{
	struct fixture fixture;
	struct count count = {0};
	struct zhub_socket *sender;
	void *from, *peer;
	int one = 1;
	char text;

	fixture_open(&fixture, 0);
	from = plain_socket(&fixture, ZMQ_PAIR);
	peer = plain_socket(&fixture, ZMQ_PAIR);
	assert_int_equal(zmq_setsockopt(from, ZMQ_SNDHWM, &one, sizeof(one)), 0);
	assert_int_equal(zmq_setsockopt(peer, ZMQ_RCVHWM, &one, sizeof(one)), 0);
	assert_int_equal(zmq_bind(from, "inproc://read"), 0);
	assert_int_equal(zmq_connect(peer, "inproc://read"), 0);
	assert_int_equal(zhub_add(fixture.hub, from, on_count, &count, &sender), 0);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(zhub_send(sender, NULL, 0, "x", 1), 0);
		assert_int_equal(zmq_recv(peer, &text, 1, 0), 1);
	}
	zmq_close(peer);
	fixture_close(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_burst_is_read_to_its_end),
		cmocka_unit_test(test_a_send_does_not_swallow_what_arrived),
		cmocka_unit_test(test_a_flood_does_not_starve_timers),
		cmocka_unit_test(test_a_flooded_socket_does_not_starve_another),
		cmocka_unit_test(test_a_socket_that_never_runs_dry_is_read_in_batches),
		cmocka_unit_test(test_malformed_messages_are_dropped_and_counted),
		cmocka_unit_test(test_invented_routing_ids_are_dropped),
		cmocka_unit_test(test_a_socket_may_go_in_its_own_callback),
		cmocka_unit_test(test_an_owned_buffer_is_released_once),
		cmocka_unit_test(test_a_peer_that_does_not_read_gives_eagain),
		cmocka_unit_test(test_a_peer_that_reads_never_gives_eagain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
