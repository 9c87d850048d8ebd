/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links and servers with real CURVE over loopback: who gets in, what a link says about a failure,
 * and that it comes back.
 */
#include "fixture.h"

#include "base/clock.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <zmq.h>

enum { WAIT_MS = 10000, HERD = 200, HERD_MS = 30000, REOPENINGS = 60 };

struct scene { /* one server, one caller */
	struct fixture fixture;
	struct listener listener;
	struct caller caller;
};

static void scene_open(struct scene *scene)
{
	memset(scene, 0, sizeof(*scene));
	fixture_open(&scene->fixture, 0);
	fixture_open_zap(&scene->fixture);
	listener_open(&scene->fixture, &scene->listener, NULL, ZAP_DOMAIN_AGENTS);
}

static void scene_call(struct scene *scene)
{
	caller_open(&scene->fixture, &scene->caller, server_endpoint(scene->listener.server),
		    &scene->listener.key.public_key);
}

static void scene_close(struct scene *scene)
{
	link_free(scene->caller.link);
	server_free(scene->listener.server);
	fixture_close(&scene->fixture);
}

/* ---- addresses ---- */

static void test_ipv6_and_names_work(void **state)
{
	struct scene scene;
	char endpoint[64];
	const char *port;

	scene_open(&scene);
	server_free(scene.listener.server);
	listener_open(&scene.fixture, &scene.listener, "tcp://[::]:*", ZAP_DOMAIN_AGENTS);
	admit(&scene.fixture, &scene.caller);
	port = strrchr(server_endpoint(scene.listener.server), ':') + 1;
	snprintf(endpoint, sizeof(endpoint), "tcp://[::1]:%s", port);
	caller_open(&scene.fixture, &scene.caller, endpoint, &scene.listener.key.public_key);
	assert_true(wait_count(&scene.fixture, &scene.caller.up, 1, WAIT_MS));
	snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%s", port);
	assert_int_equal(link_set_endpoint(scene.caller.link, endpoint), 0);
	assert_true(wait_count(&scene.fixture, &scene.caller.up, 2, WAIT_MS));
	assert_int_equal(link_send(scene.caller.link, "x", 1), 0);
	assert_true(wait_count(&scene.fixture, &scene.listener.heard, 1, WAIT_MS));
	assert_string_equal(scene.listener.peer_address, "127.0.0.1");
	server_free(scene.listener.server);
	listener_open(&scene.fixture, &scene.listener, NULL, ZAP_DOMAIN_AGENTS);
	port = strrchr(server_endpoint(scene.listener.server), ':') + 1;
	snprintf(endpoint, sizeof(endpoint), "tcp://" NAME_OF_TWO ":%s", port);
	assert_int_equal(link_set_endpoint(scene.caller.link, endpoint), 0);
	assert_true(wait_count(&scene.fixture, &scene.caller.up, 3, WAIT_MS));
	scene_close(&scene);
}

/* ---- who gets in ---- */

static void test_a_known_key_is_admitted_and_named(void **state)
{
	struct scene scene;
	char hex[KEY_TEXT_MAX];

	scene_open(&scene);
	scene.listener.echo = true;
	admit(&scene.fixture, &scene.caller);
	scene_call(&scene);
	assert_int_equal(link_send(scene.caller.link, "early", 5), -ENOTCONN);
	assert_true(wait_count(&scene.fixture, &scene.caller.up, 1, WAIT_MS));
	assert_true(link_is_up(scene.caller.link));
	assert_int_equal(link_send(scene.caller.link, "hello", 5), 0);
	assert_true(wait_count(&scene.fixture, &scene.caller.messages, 1, WAIT_MS));
	public_key_text(hex, &scene.caller.key.public_key);
	assert_string_equal(scene.listener.user_id, hex);
	assert_string_equal(scene.listener.peer_address, "127.0.0.1");
	assert_memory_equal(scene.listener.text, "hello", 5);
	assert_int_equal(scene.caller.size, 5);
	assert_int_equal(scene.listener.heard, 1);
	assert_int_equal(scene.caller.down, 0);
	assert_int_equal(zap_stats(scene.fixture.zap).admitted, 1);
	scene_close(&scene);
}

/* spec: TRUST-5 */
static void test_an_unknown_key_is_refused_and_waits_long(void **state)
{
	struct scene scene;

	scene_open(&scene);
	scene_call(&scene);
	assert_true(wait_count(&scene.fixture, &scene.caller.down, 1, WAIT_MS));
	assert_int_equal(scene.caller.cause, LINK_REFUSED);
	assert_non_null(strstr(scene.caller.text, "does not admit our key"));
	/* backoff_max_ms is 2000: the next attempt comes after 1.5 s at the earliest */
	run_for(&scene.fixture, 1200);
	assert_int_equal(zap_stats(scene.fixture.zap).refused, 1);
	assert_int_equal(scene.caller.down, 1);
	assert_int_equal(scene.caller.up, 0);
	assert_int_equal(scene.listener.heard, 0);
	scene_close(&scene);
}

/* spec: TRUST-5 */
static void test_without_a_handler_nobody_gets_in(void **state)
{
	struct scene scene = {0};

	fixture_open(&scene.fixture, 0);
	listener_open(&scene.fixture, &scene.listener, NULL, ZAP_DOMAIN_AGENTS);
	scene_call(&scene);
	assert_true(wait_count(&scene.fixture, &scene.caller.down, 2, WAIT_MS));
	assert_int_equal(scene.caller.up, 0);
	assert_int_equal(scene.listener.heard, 0);
	scene_close(&scene);
}

static void test_a_client_without_encryption_gets_nothing_in(void **state)
{
	struct scene scene;
	void *plain;
	int zero = 0;

	scene_open(&scene);
	scene.fixture.admit_all = true;
	plain = zmq_socket(scene.fixture.context, ZMQ_DEALER);
	assert_int_equal(zmq_setsockopt(plain, ZMQ_LINGER, &zero, sizeof(zero)), 0);
	assert_int_equal(zmq_connect(plain, server_endpoint(scene.listener.server)), 0);
	assert_int_equal(zmq_send(plain, "hello", 5, ZMQ_DONTWAIT), 5);
	run_for(&scene.fixture, patient(300));
	assert_int_equal(scene.listener.heard, 0);
	assert_int_equal(zap_stats(scene.fixture.zap).admitted, 0);
	zmq_close(plain);
	scene_close(&scene);
}

static void test_an_open_server_cannot_be_made(void **state)
{
	struct fixture fixture;
	struct link_key key;
	struct server *server = NULL;
	struct server_config config = {.endpoint = "tcp://127.0.0.1:*",
				       .max_message_size = MESSAGE_MAX};
	struct err err = {0};

	fixture_open(&fixture, 0);
	link_key_generate(&key);
	assert_int_equal(server_new(fixture.hub, &config, NULL, NULL, &server, &err), -EINVAL);
	config.key = &key;
	assert_int_equal(server_new(fixture.hub, &config, NULL, NULL, &server, &err), -EINVAL);
	config.zap_domain = "";
	assert_int_equal(server_new(fixture.hub, &config, NULL, NULL, &server, &err), -EINVAL);
	assert_non_null(strstr(err.text, "strangers"));
	config.zap_domain = ZAP_DOMAIN_AGENTS;
	config.max_message_size = 0;
	assert_int_equal(server_new(fixture.hub, &config, NULL, NULL, &server, &err), -EINVAL);
	assert_null(server);
	fixture_close(&fixture);
}

/* spec: TRUST-5 */
static void test_the_self_test_passes_only_where_strangers_stay_out(void **state)
{
	struct fixture fixture;
	struct zap *second = NULL;
	struct err err = {0};

	fixture_open(&fixture, 0);
	fixture_open_zap(&fixture);
	if (zap_self_test(fixture.zap, ZAP_DOMAIN_AGENTS, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(zap_stats(fixture.zap).admitted, 0);
	fixture.admit_all = true;
	assert_int_equal(zap_self_test(fixture.zap, ZAP_DOMAIN_AGENTS, &err), -EKEYREJECTED);
	assert_non_null(strstr(err.text, "unknown key"));
	/* a domain that is not one of ours admits nobody */
	assert_int_equal(zap_self_test(fixture.zap, "elsewhere", &err), -EKEYREJECTED);
	assert_int_equal(zap_new(fixture.hub, NULL, NULL, &second, &err), -EADDRINUSE);
	fixture_close(&fixture);
}

/* spec: LINK-6 */
static void test_garbage_disturbs_nobody(void **state)
{
	struct scene scene;
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char garbage[4096];

	scene_open(&scene);
	admit(&scene.fixture, &scene.caller);
	scene_call(&scene);
	assert_true(wait_count(&scene.fixture, &scene.caller.up, 1, WAIT_MS));
	address.sin_port = htons((uint16_t)strtoul(
		strrchr(server_endpoint(scene.listener.server), ':') + 1, NULL, 10));
	for (int i = 0; i < 20; i++) {
		AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		randombytes_buf_deterministic(garbage, sizeof(garbage),
					      (uint8_t[randombytes_SEEDBYTES]){(uint8_t)i});
		if (i % 2) /* half of them begin like ZMTP 3.1 with CURVE */
			memcpy(garbage, "\xff\0\0\0\0\0\0\0\1\x7f\3\1CURVE\0\0\0\0", 21);
		assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
		(void)!send(fd, garbage, sizeof(garbage), MSG_NOSIGNAL);
		run_for(&scene.fixture, 5);
	}
	assert_int_equal(link_send(scene.caller.link, "fine", 4), 0);
	assert_true(wait_count(&scene.fixture, &scene.listener.heard, 1, WAIT_MS));
	assert_int_equal(scene.caller.down, 0);
	assert_int_equal(zap_stats(scene.fixture.zap).admitted, 1);
	scene_close(&scene);
}

/* A client that claims another one's routing id must not get its messages. */
/* spec: TRUST-6 */
static void test_a_routing_id_cannot_be_taken_over(void **state)
{
	struct scene scene;
	struct zclient_socket_pair {
		void *victim, *thief;
	} sockets;
	void **each[] = {&sockets.victim, &sockets.thief};
	int zero = 0, wait_ms = 1000;
	char got[16] = "";

	scene_open(&scene);
	scene.fixture.admit_all = true;
	for (int i = 0; i < 2; i++) {
		struct link_key key;
		void *socket = *each[i] = zmq_socket(scene.fixture.context, ZMQ_DEALER);

		link_key_generate(&key);
		zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof(zero));
		zmq_setsockopt(socket, ZMQ_RCVTIMEO, &wait_ms, sizeof(wait_ms));
		zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY,
			       scene.listener.key.public_key.bytes, KEY_SIZE);
		zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, key.public_key.bytes, KEY_SIZE);
		zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, key.secret, KEY_SIZE);
		zmq_setsockopt(socket, ZMQ_ROUTING_ID, "victim", 6);
		assert_int_equal(zmq_connect(socket, server_endpoint(scene.listener.server)), 0);
		assert_int_equal(zmq_send(socket, "hello", 5, 0), 5);
		run_for(&scene.fixture, patient(300));
	}
	assert_int_equal(scene.listener.heard, 1); /* the thief is not heard at all */
	assert_int_equal(server_send(scene.listener.server, "victim", 6, "secret", 6), 0);
	assert_int_equal(zmq_recv(sockets.victim, got, sizeof(got), 0), 6);
	assert_int_equal(zmq_recv(sockets.thief, got, sizeof(got), ZMQ_DONTWAIT), -1);
	zmq_close(sockets.victim);
	zmq_close(sockets.thief);
	scene_close(&scene);
}

/* ---- what a link says ---- */

static void test_a_wrong_server_key_has_its_own_cause(void **state)
{
	struct scene scene;
	struct link_key other;
	char hex[KEY_TEXT_MAX];

	scene_open(&scene);
	admit(&scene.fixture, &scene.caller);
	link_key_generate(&other);
	public_key_text(hex, &other.public_key);
	caller_open(&scene.fixture, &scene.caller, server_endpoint(scene.listener.server),
		    &other.public_key);
	assert_true(wait_count(&scene.fixture, &scene.caller.down, 1, WAIT_MS));
	assert_int_equal(scene.caller.cause, LINK_WRONG_SERVER);
	assert_non_null(strstr(scene.caller.text, hex));
	assert_int_equal(scene.caller.up, 0);
	scene_close(&scene);
}

static void test_nobody_there_is_unreachable(void **state)
{
	struct scene scene;
	char endpoint[256];

	scene_open(&scene);
	STR_CUT(endpoint, server_endpoint(scene.listener.server));
	server_free(TAKE_PTR(scene.listener.server));
	run_for(&scene.fixture, 100);
	caller_open(&scene.fixture, &scene.caller, endpoint, &scene.listener.key.public_key);
	assert_true(wait_count(&scene.fixture, &scene.caller.down, 2, WAIT_MS));
	assert_int_equal(scene.caller.cause, LINK_UNREACHABLE);
	assert_non_null(strstr(scene.caller.text, endpoint));
	scene_close(&scene);
}

static void test_a_silent_peer_is_given_up(void **state)
{
	struct scene scene;
	static const struct link_events none = {0};
	struct link_config config;
	struct link *link = NULL;
	uint64_t start = clock_mono_ms();
	unsigned tries = 0;
	void *deaf;

	scene_open(&scene);
	zap_free(TAKE_PTR(scene.fixture.zap));
	/* bound, but nobody answers: the handshake's question to ZAP stays open */
	deaf = zmq_socket(scene.fixture.context, ZMQ_ROUTER);
	while (zmq_bind(deaf, "inproc://zeromq.zap.01") < 0 && clock_mono_ms() < start + WAIT_MS)
		run_for(&scene.fixture, 1);
	link_key_generate(&scene.caller.key);
	config = caller_config(&scene.caller, server_endpoint(scene.listener.server),
			       &scene.listener.key.public_key);
	config.handshake_ms = 100;
	assert_int_equal(link_new(scene.fixture.hub, &config, &none, NULL, &link, NULL), 0);
	for (; tries < 2 && clock_mono_ms() < start + WAIT_MS; run_for(&scene.fixture, 10)) {
		char got[256];

		while (zmq_recv(deaf, got, sizeof(got), ZMQ_DONTWAIT) >= 0) {
			int more = 0;
			size_t size = sizeof(more);

			zmq_getsockopt(deaf, ZMQ_RCVMORE, &more, &size);
			tries += !more;
		}
	}
	assert_int_equal(tries, 2);
	link_free(link);
	zmq_close(deaf);
	scene_close(&scene);
}

static void test_bad_configurations_are_refused(void **state)
{
	struct scene scene;
	static const struct link_events none = {0};
	struct link_config config;
	struct link *link = NULL;

	scene_open(&scene);
	config = caller_config(&scene.caller, "tcp://127.0.0.1:1", &scene.listener.key.public_key);
	config.key = NULL;
	assert_int_equal(link_new(scene.fixture.hub, &config, &none, NULL, &link, NULL), -EINVAL);
	config = caller_config(&scene.caller, "http://x", &scene.listener.key.public_key);
	assert_int_equal(link_new(scene.fixture.hub, &config, &none, NULL, &link, NULL), -EINVAL);
	config = caller_config(&scene.caller, "tcp://127.0.0.1:1", &scene.listener.key.public_key);
	config.max_message_size = 0;
	assert_int_equal(link_new(scene.fixture.hub, &config, &none, NULL, &link, NULL), -EINVAL);
	scene_close(&scene);
}

/* ---- coming back ---- */

static void test_a_link_survives_a_restart_of_the_server(void **state)
{
	struct scene scene;
	char endpoint[256];

	scene_open(&scene);
	scene.listener.echo = true;
	admit(&scene.fixture, &scene.caller);
	scene_call(&scene);
	assert_true(wait_count(&scene.fixture, &scene.caller.up, 1, WAIT_MS));
	STR_CUT(endpoint, server_endpoint(scene.listener.server));
	server_free(TAKE_PTR(scene.listener.server));
	assert_true(wait_count(&scene.fixture, &scene.caller.down, 3, WAIT_MS));
	listener_open(&scene.fixture, &scene.listener, endpoint, ZAP_DOMAIN_AGENTS);
	assert_true(wait_count(&scene.fixture, &scene.caller.up, 2, WAIT_MS));
	assert_int_equal(link_send(scene.caller.link, "again", 5), 0);
	assert_true(wait_count(&scene.fixture, &scene.caller.messages, 1, WAIT_MS));
	scene_close(&scene);
}

static void test_a_lost_connection_is_told_at_once(void **state)
{
	struct scene scene;

	scene_open(&scene);
	admit(&scene.fixture, &scene.caller);
	scene_call(&scene);
	assert_true(wait_count(&scene.fixture, &scene.caller.up, 1, WAIT_MS));
	server_free(TAKE_PTR(scene.listener.server));
	assert_true(wait_count(&scene.fixture, &scene.caller.down, 1, WAIT_MS));
	assert_int_equal(scene.caller.cause, LINK_LOST);
	assert_int_equal(link_send(scene.caller.link, "x", 1), -ENOTCONN);
	scene_close(&scene);
}

/* Five for each link, as both ends are here. */
static void allow_descriptors(void)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static unsigned count_up(const struct caller *herd)
{
	unsigned up = 0;

	for (int i = 0; i < HERD; i++)
		up += link_is_up(herd[i].link);
	return up;
}

static unsigned count_failed(const struct caller *herd)
{
	unsigned failed = 0;

	for (int i = 0; i < HERD; i++)
		failed += herd[i].failed;
	return failed;
}

static void wait_herd(struct fixture *fixture, const struct caller *herd, unsigned wanted)
{
	uint64_t deadline = clock_mono_ms() + patient(HERD_MS);

	while (count_up(herd) != wanted && clock_mono_ms() < deadline)
		run_for(fixture, 20);
	assert_int_equal(count_up(herd), wanted);
}

/* spec: LINK-5 */
static void test_a_herd_comes_back_after_a_restart(void **state)
{
	struct fixture fixture;
	struct listener listener = {0};
	struct caller *herd = calloc(HERD, sizeof(*herd));
	char endpoint[256];

	assert_non_null(herd);
	allow_descriptors();
	fixture_open(&fixture, 4 * HERD);
	fixture_open_zap(&fixture);
	fixture.admit_all = true;
	listener_open(&fixture, &listener, NULL, ZAP_DOMAIN_AGENTS);
	for (int i = 0; i < HERD; i++) {
		herd[i].greets = true;
		caller_open(&fixture, &herd[i], server_endpoint(listener.server),
			    &listener.key.public_key);
	}
	wait_herd(&fixture, herd, HERD);
	assert_int_equal(count_failed(herd), 0);
	assert_true(wait_count(&fixture, &listener.heard, HERD, WAIT_MS));
	STR_CUT(endpoint, server_endpoint(listener.server));
	server_free(TAKE_PTR(listener.server));
	wait_herd(&fixture, herd, 0);
	listener_open(&fixture, &listener, endpoint, ZAP_DOMAIN_AGENTS);
	wait_herd(&fixture, herd, HERD);
	assert_int_equal(count_failed(herd), 0);
	assert_true(wait_count(&fixture, &listener.heard, 2 * HERD, WAIT_MS));
	for (int i = 0; i < HERD; i++)
		link_free(herd[i].link);
	free(herd);
	server_free(listener.server);
	fixture_close(&fixture);
}

static void test_reopening_leaks_nothing_and_loses_no_greeting(void **state)
{
	struct scene scene;
	unsigned before, after;

	scene_open(&scene);
	admit(&scene.fixture, &scene.caller);
	scene_call(&scene);
	assert_true(wait_count(&scene.fixture, &scene.caller.up, 1, WAIT_MS));
	run_for(&scene.fixture, 50);
	before = open_fds();
	scene.caller.greets = true;
	for (unsigned i = 0; i < REOPENINGS; i++) {
		link_restart(scene.caller.link);
		assert_false(link_is_up(scene.caller.link));
		assert_true(wait_count(&scene.fixture, &scene.caller.up, i + 2, WAIT_MS));
	}
	run_for(&scene.fixture, 100);
	after = open_fds();
	assert_in_range(after, before - 2, before + 2);
	assert_int_equal(scene.caller.failed, 0);
	assert_int_equal(scene.listener.heard, REOPENINGS);
	scene_close(&scene);
}

/* spec: LINK-4 */
static void test_a_refusal_by_the_application_waits_long(void **state)
{
	struct scene scene;

	scene_open(&scene);
	admit(&scene.fixture, &scene.caller);
	scene_call(&scene);
	assert_true(wait_count(&scene.fixture, &scene.caller.up, 1, WAIT_MS));
	link_refuse(scene.caller.link);
	assert_false(link_is_up(scene.caller.link));
	run_for(&scene.fixture, 1200);
	assert_int_equal(scene.caller.up, 1);
	assert_int_equal(scene.caller.down, 0);
	assert_true(wait_count(&scene.fixture, &scene.caller.up, 2, WAIT_MS));
	scene_close(&scene);
}

static void test_another_endpoint_is_used_at_once_when_up(void **state)
{
	struct scene scene;
	struct listener second = {0};

	scene_open(&scene);
	admit(&scene.fixture, &scene.caller);
	scene_call(&scene);
	assert_true(wait_count(&scene.fixture, &scene.caller.up, 1, WAIT_MS));
	second.key = scene.listener.key;
	listener_open(&scene.fixture, &second, NULL, ZAP_DOMAIN_AGENTS);
	assert_int_equal(link_set_endpoint(scene.caller.link, "nowhere"), -EINVAL);
	assert_true(link_is_up(scene.caller.link));
	assert_int_equal(link_set_endpoint(scene.caller.link, server_endpoint(second.server)), 0);
	assert_true(wait_count(&scene.fixture, &scene.caller.up, 2, WAIT_MS));
	assert_int_equal(link_send(scene.caller.link, "x", 1), 0);
	assert_true(wait_count(&scene.fixture, &second.heard, 1, WAIT_MS));
	server_free(second.server);
	scene_close(&scene);
}

/* ---- bounds ---- */

/* spec: LINK-6 */
static void test_a_message_that_is_too_large_costs_only_its_sender(void **state)
{
	struct scene scene;
	struct caller other = {0};
	char *large = calloc(2, MESSAGE_MAX);

	assert_non_null(large);
	scene_open(&scene);
	admit(&scene.fixture, &scene.caller);
	admit(&scene.fixture, &other);
	scene_call(&scene);
	caller_open(&scene.fixture, &other, server_endpoint(scene.listener.server),
		    &scene.listener.key.public_key);
	assert_true(wait_count(&scene.fixture, &scene.caller.up, 1, WAIT_MS));
	assert_true(wait_count(&scene.fixture, &other.up, 1, WAIT_MS));
	assert_int_equal(link_send(scene.caller.link, large, 2 * MESSAGE_MAX), 0);
	assert_true(wait_count(&scene.fixture, &scene.caller.down, 1, WAIT_MS));
	assert_int_equal(scene.caller.cause, LINK_LOST);
	assert_int_equal(link_send(other.link, "fine", 4), 0);
	assert_true(wait_count(&scene.fixture, &scene.listener.heard, 1, WAIT_MS));
	assert_memory_equal(scene.listener.text, "fine", 4);
	assert_int_equal(other.down, 0);
	free(large);
	link_free(other.link);
	scene_close(&scene);
}

static void test_a_gone_peer_is_unreachable_for_the_server(void **state)
{
	struct scene scene;
	uint64_t deadline;
	int r = 0;

	scene_open(&scene);
	scene.listener.echo = true;
	admit(&scene.fixture, &scene.caller);
	scene_call(&scene);
	assert_true(wait_count(&scene.fixture, &scene.caller.up, 1, WAIT_MS));
	assert_int_equal(link_send(scene.caller.link, "hello", 5), 0);
	assert_true(wait_count(&scene.fixture, &scene.caller.messages, 1, WAIT_MS));
	link_free(TAKE_PTR(scene.caller.link));
	deadline = clock_mono_ms() + WAIT_MS;
	do {
		run_for(&scene.fixture, 10);
		r = server_send(scene.listener.server, scene.listener.routing,
				scene.listener.routing_size, "x", 1);
	} while (r == 0 && clock_mono_ms() < deadline);
	assert_int_equal(r, -EHOSTUNREACH);
	scene_close(&scene);
}

/* A process without descriptors cannot accept, and cannot write its state either. */
/* spec: LINK-7 */
static void test_a_reserve_of_descriptors_is_kept(void **state)
{
	struct scene scene;
	struct caller late = {0};
	struct rlimit old, tight;
	int lowest;

	scene_open(&scene);
	admit(&scene.fixture, &scene.caller);
	admit(&scene.fixture, &late);
	scene_call(&scene);
	assert_true(wait_count(&scene.fixture, &scene.caller.up, 1, WAIT_MS));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	tight = old;
	lowest = dup(0); /* the lowest free number: what others hold far above does not count */
	assert_int_equal(close(lowest), 0);
	tight.rlim_cur = (rlim_t)(lowest + 1) * 5 / 4;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	caller_open(&scene.fixture, &late, server_endpoint(scene.listener.server),
		    &scene.listener.key.public_key);
	assert_true(wait_count(&scene.fixture, &late.down, 1, WAIT_MS));
	assert_int_equal(late.cause, LINK_UNREACHABLE);
	assert_non_null(strstr(late.text, "no room"));
	assert_int_equal(zap_stats(scene.fixture.zap).no_room, 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_true(wait_count(&scene.fixture, &late.up, 1, WAIT_MS));
	assert_int_equal(scene.caller.down, 0);
	link_free(late.link);
	scene_close(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ipv6_and_names_work),
		cmocka_unit_test(test_a_known_key_is_admitted_and_named),
		cmocka_unit_test(test_an_unknown_key_is_refused_and_waits_long),
		cmocka_unit_test(test_without_a_handler_nobody_gets_in),
		cmocka_unit_test(test_a_client_without_encryption_gets_nothing_in),
		cmocka_unit_test(test_an_open_server_cannot_be_made),
		cmocka_unit_test(test_the_self_test_passes_only_where_strangers_stay_out),
		cmocka_unit_test(test_garbage_disturbs_nobody),
		cmocka_unit_test(test_a_routing_id_cannot_be_taken_over),
		cmocka_unit_test(test_a_wrong_server_key_has_its_own_cause),
		cmocka_unit_test(test_nobody_there_is_unreachable),
		cmocka_unit_test(test_a_silent_peer_is_given_up),
		cmocka_unit_test(test_bad_configurations_are_refused),
		cmocka_unit_test(test_a_link_survives_a_restart_of_the_server),
		cmocka_unit_test(test_a_lost_connection_is_told_at_once),
		cmocka_unit_test(test_a_herd_comes_back_after_a_restart),
		cmocka_unit_test(test_reopening_leaks_nothing_and_loses_no_greeting),
		cmocka_unit_test(test_a_refusal_by_the_application_waits_long),
		cmocka_unit_test(test_another_endpoint_is_used_at_once_when_up),
		cmocka_unit_test(test_a_message_that_is_too_large_costs_only_its_sender),
		cmocka_unit_test(test_a_reserve_of_descriptors_is_kept),
		cmocka_unit_test(test_a_gone_peer_is_unreachable_for_the_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
