/* SPDX-License-Identifier: Apache-2.0 */
/* The blocking client against a server in another thread, over CURVE and over ipc. */
#include "fixture.h"

#include "base/clock.h"
#include "base/str.h"
#include "protocol/transport/zclient.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { WAIT_MS = 10000, SHORT_MS = 200, NOBODY = 65534 };

struct service { /* echoes in a thread of its own, until it is told to stop */
	pthread_t thread;
	int stop;
	bool silent;
	const char *ipc; /* NULL: tcp with CURVE */
	struct link_key server_key, client_key;
	char endpoint[256], peer_address[64];
	unsigned heard;
	pthread_barrier_t started;
};

static int on_stop(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	return sd_event_exit(ctx, 0);
}

static void *serve(void *ctx)
{
	struct service *service = ctx;
	struct fixture fixture;
	struct listener listener = {.key = service->server_key, .echo = !service->silent};

	fixture_open(&fixture, 0);
	fixture_open_zap(&fixture);
	fixture.admitted[fixture.admitted_count++] = service->client_key;
	listener_open(&fixture, &listener, service->ipc, service->ipc ? NULL : ZAP_DOMAIN_AGENTS);
	STR_CUT(service->endpoint, server_endpoint(listener.server));
	assert_true(sd_event_add_io(fixture.event, NULL, service->stop, EPOLLIN, on_stop,
				    fixture.event) >= 0);
	pthread_barrier_wait(&service->started);
	assert_true(sd_event_loop(fixture.event) >= 0);
	STR_CUT(service->peer_address, listener.peer_address);
	service->heard = listener.heard;
	server_free(listener.server);
	fixture_close(&fixture);
	return NULL;
}

static void service_start(struct service *service)
{
	link_key_generate(&service->server_key);
	link_key_generate(&service->client_key);
	service->stop = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(pthread_barrier_init(&service->started, NULL, 2), 0);
	assert_int_equal(pthread_create(&service->thread, NULL, serve, service), 0);
	pthread_barrier_wait(&service->started);
}

static void service_stop(struct service *service)
{
	assert_int_equal(eventfd_write(service->stop, 1), 0);
	assert_int_equal(pthread_join(service->thread, NULL), 0);
	pthread_barrier_destroy(&service->started);
	close(service->stop);
}

static struct zclient_config config_for(const struct service *service)
{
	return (struct zclient_config){
		.endpoint = service->endpoint,
		.key = service->ipc ? NULL : &service->client_key,
		.server_key = service->ipc ? NULL : &service->server_key.public_key,
		.max_message_size = MESSAGE_MAX,
	};
}

static void expect_echo(struct zclient *client)
{
	struct bytes answer = {0};
	struct err err = {0};
	int r = zclient_request(client, "hello", 5, WAIT_MS, &answer, &err);

	if (r < 0)
		fail_msg("%s", err_text(&err, r));
	assert_int_equal(answer.size, 5);
	assert_memory_equal(answer.data, "hello", 5);
	free(answer.data);
}

/* ---- CURVE ---- */

static void test_a_request_is_answered(void **state)
{
	struct service service = {0};
	struct zclient *client = NULL;
	struct zclient_config config;

	service_start(&service);
	config = config_for(&service);
	assert_int_equal(zclient_new(NULL, &config, WAIT_MS, &client, NULL), 0);
	expect_echo(client);
	expect_echo(client);
	zclient_free(client);
	service_stop(&service);
	assert_int_equal(service.heard, 2);
}

/* The server listens on the IPv4 address only. */
static void test_a_name_is_tried_with_both_kinds_of_address(void **state)
{
	struct service service = {0};
	struct zclient *client = NULL;
	struct zclient_config config;
	char endpoint[64];

	service_start(&service);
	config = config_for(&service);
	snprintf(endpoint, sizeof(endpoint), "tcp://" NAME_OF_TWO ":%s",
		 strrchr(service.endpoint, ':') + 1);
	config.endpoint = endpoint;
	assert_int_equal(zclient_new(NULL, &config, WAIT_MS, &client, NULL), 0);
	expect_echo(client);
	zclient_free(client);
	service_stop(&service);
}

static void test_every_failure_has_its_sentence(void **state)
{
	struct service service = {0};
	struct zclient *client = NULL;
	struct zclient_config config;
	struct link_key stranger;
	struct err err = {0};

	service_start(&service);
	link_key_generate(&stranger);
	config = config_for(&service);
	config.key = &stranger;
	assert_int_equal(zclient_new(NULL, &config, WAIT_MS, &client, &err), -EKEYREJECTED);
	assert_non_null(strstr(err.text, "does not admit our key"));
	config = config_for(&service);
	config.server_key = &stranger.public_key;
	assert_int_equal(zclient_new(NULL, &config, WAIT_MS, &client, &err), -EPROTO);
	assert_non_null(strstr(err.text, "did not prove the key"));
	service_stop(&service);
	config = config_for(&service);
	assert_int_equal(zclient_new(NULL, &config, WAIT_MS, &client, &err), -ECONNREFUSED);
	assert_non_null(strstr(err.text, "cannot reach the coordinator at tcp://127.0.0.1"));
	assert_null(client);
}

static void test_a_silent_server_times_out(void **state)
{
	struct service service = {.silent = true};
	struct zclient *client = NULL;
	struct zclient_config config;
	struct bytes answer = {0};
	struct err err = {0};
	uint64_t start;

	service_start(&service);
	config = config_for(&service);
	assert_int_equal(zclient_new(NULL, &config, WAIT_MS, &client, NULL), 0);
	start = clock_mono_ms();
	assert_int_equal(zclient_request(client, "x", 1, SHORT_MS, &answer, &err), -ETIMEDOUT);
	assert_in_range(clock_mono_ms() - start, SHORT_MS - 1, SHORT_MS + 1000);
	assert_non_null(strstr(err.text, "in time"));
	assert_null(answer.data);
	zclient_free(client);
	service_stop(&service);
}

static void test_a_peer_without_handshake_times_out(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct zclient *client = NULL;
	struct link_key key;
	struct zclient_config config = {
		.key = &key, .server_key = &key.public_key, .max_message_size = MESSAGE_MAX};
	char endpoint[64];
	struct err err = {0};

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%d", ntohs(address.sin_port));
	config.endpoint = endpoint;
	link_key_generate(&key);
	assert_int_equal(zclient_new(NULL, &config, SHORT_MS, &client, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, endpoint));
	close(fd);
}

static void *stop_soon(void *ctx)
{
	usleep(SHORT_MS * 1000);
	service_stop(ctx);
	return NULL;
}

static void test_a_server_that_goes_ends_the_wait(void **state)
{
	struct service service = {.silent = true};
	struct zclient *client = NULL;
	struct zclient_config config;
	struct bytes answer = {0};
	struct err err = {0};
	pthread_t stopper;

	service_start(&service);
	config = config_for(&service);
	assert_int_equal(zclient_new(NULL, &config, WAIT_MS, &client, NULL), 0);
	assert_int_equal(pthread_create(&stopper, NULL, stop_soon, &service), 0);
	assert_int_equal(zclient_request(client, "x", 1, 3 * WAIT_MS, &answer, &err),
			 -ECONNRESET);
	assert_non_null(strstr(err.text, "broke"));
	assert_int_equal(zclient_send(client, "x", 1, WAIT_MS, &err), -ECONNRESET);
	assert_int_equal(pthread_join(stopper, NULL), 0);
	zclient_free(client);
}

/* ---- ipc ---- */

/* Of this process alone, as tests may run side by side. */
static const char *local_endpoint(const char *name)
{
	static char endpoint[96];

	snprintf(endpoint, sizeof(endpoint), "ipc:///tmp/covey-test-%s-%d.sock", name, getpid());
	return endpoint;
}

static void test_the_local_socket_answers_and_says_who_asks(void **state)
{
	struct service service = {.ipc = local_endpoint("transport")};
	const char *path = service.ipc + strlen("ipc://");
	struct zclient *client = NULL;
	struct zclient_config config;
	char expected[64];
	struct stat st;

	service_start(&service);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	config = config_for(&service);
	assert_int_equal(zclient_new(NULL, &config, WAIT_MS, &client, NULL), 0);
	expect_echo(client);
	zclient_free(client);
	service_stop(&service);
	snprintf(expected, sizeof(expected), ":%u:%u:%d", getuid(), getgid(), getpid());
	assert_string_equal(service.peer_address, expected);
	assert_int_equal(stat(path, &st), -1); /* taken away with the server */
}

/* spec: SERV-6 */
static void test_the_local_socket_is_closed_to_others(void **state)
{
	struct service service = {.ipc = local_endpoint("transport")};
	struct zclient *client = NULL;
	struct zclient_config config;
	struct err err = {0};

	if (geteuid() != 0)
		skip();
	service_start(&service);
	config = config_for(&service);
	assert_int_equal(setegid(NOBODY), 0);
	assert_int_equal(seteuid(NOBODY), 0);
	assert_int_equal(zclient_new(NULL, &config, WAIT_MS, &client, &err), -EACCES);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(setegid(0), 0);
	assert_non_null(strstr(err.text, "may not use"));
	service_stop(&service);
}

static void test_no_local_socket_means_no_coordinator(void **state)
{
	struct zclient *client = NULL;
	struct zclient_config config = {.endpoint = "ipc:///tmp/covey-test-none.sock",
					.max_message_size = MESSAGE_MAX};
	struct err err = {0};

	assert_int_equal(zclient_new(NULL, &config, WAIT_MS, &client, &err), -ECONNREFUSED);
	assert_non_null(strstr(err.text, "no coordinator serves /tmp/covey-test-none.sock"));
}

static void test_a_served_socket_is_not_taken_over_but_a_stale_one_is(void **state)
{
	const char *endpoint = local_endpoint("taken"), *path = endpoint + strlen("ipc://");
	struct server_config config = {.endpoint = endpoint,
				       .max_message_size = MESSAGE_MAX,
				       .ipc_mode = 0600,
				       .ipc_group = (gid_t)SERVER_KEEP_GROUP};
	struct server *first = NULL, *second = NULL;
	struct fixture fixture;
	struct err err = {0};
	char moved[128];
	struct stat st;

	snprintf(moved, sizeof(moved), "%s.moved", path);
	fixture_open(&fixture, 0);
	assert_int_equal(server_new(fixture.hub, &config, NULL, NULL, &first, &err), 0);
	assert_int_equal(server_new(fixture.hub, &config, NULL, NULL, &second, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(rename(path, moved), 0);
	server_free(first);
	assert_int_equal(rename(moved, path), 0);
	run_for(&fixture, 100); /* now nobody listens on the file */
	assert_int_equal(server_new(fixture.hub, &config, NULL, NULL, &second, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	server_free(TAKE_PTR(second));
	assert_int_equal(close(open(path, O_CREAT | O_CLOEXEC | O_WRONLY, 0600)), 0);
	assert_int_equal(server_new(fixture.hub, &config, NULL, NULL, &second, &err), -EADDRINUSE);
	assert_int_equal(unlink(path), 0); /* a file that is no socket stays */
	fixture_close(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_request_is_answered),
		cmocka_unit_test(test_a_name_is_tried_with_both_kinds_of_address),
		cmocka_unit_test(test_every_failure_has_its_sentence),
		cmocka_unit_test(test_a_silent_server_times_out),
		cmocka_unit_test(test_a_peer_without_handshake_times_out),
		cmocka_unit_test(test_a_server_that_goes_ends_the_wait),
		cmocka_unit_test(test_the_local_socket_answers_and_says_who_asks),
		cmocka_unit_test(test_the_local_socket_is_closed_to_others),
		cmocka_unit_test(test_no_local_socket_means_no_coordinator),
		cmocka_unit_test(test_a_served_socket_is_not_taken_over_but_a_stale_one_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
