/* SPDX-License-Identifier: Apache-2.0 */
/* Health probes and smoke tests against small servers that behave well or badly. */
#include "agent/probe/compare.h"
#include "agent/probe/health.h"
#include "agent/probe/smoke.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"
#include "protocol/manifest.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

/* ---- servers ---- */

struct server {
	pid_t pid;
	uint32_t port;
};

typedef void serve_fn(int peer, const char *request);

/* A child process that serves one connection after the other. */
static struct server server_start(serve_fn *serve)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	struct server server = {0};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	server.port = ntohs(address.sin_port);
	server.pid = fork();
	if (server.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGPIPE, SIG_IGN);
		for (;;) {
			int peer = accept(fd, NULL, NULL);
			char request[65536];
			ssize_t n = recv(peer, request, sizeof(request) - 1, 0);

			request[n > 0 ? n : 0] = '\0';
			serve(peer, request);
			close(peer);
		}
	}
	close(fd);
	return server;
}

static void server_stop(struct server *server)
{
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
}

static void say(int peer, const char *text)
{
	if (send(peer, text, strlen(text), MSG_NOSIGNAL) < 0)
		_exit(0);
}

static void serve_ok(int peer, const char *request)
{
	say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

static void serve_if_asked_right(int peer, const char *request)
{
	bool right = str_starts(request, "GET /healthz?a=1 HTTP/1.1\r\n") &&
		     strstr(request, "\r\nHost: 127.0.0.1:") && strstr(request, "\r\n\r\n");

	say(peer, right ? "HTTP/1.1 204 No Content\r\n\r\n" : "HTTP/1.1 400 Bad\r\n\r\n");
}

static void serve_unavailable(int peer, const char *request)
{
	say(peer, "HTTP/1.1 503 Service Unavailable\r\n\r\n");
}

static void serve_redirect(int peer, const char *request)
{
	say(peer, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n");
}

static void serve_drop_by_drop(int peer, const char *request)
{
	const char *answer = "HTTP/1.0 200 OK\r\n\r\n";

	for (; *answer; answer++) {
		if (send(peer, answer, 1, MSG_NOSIGNAL) < 0)
			return;
		usleep(2000);
	}
}

static void serve_half_and_wait(int peer, const char *request)
{
	say(peer, "HTTP/1.1 20");
	sleep(10);
}

static void serve_nothing(int peer, const char *request)
{
	sleep(10);
}

static void serve_close(int peer, const char *request)
{
}

static void serve_garbage(int peer, const char *request)
{
	say(peer, "\x01\x02SSH-2.0-x\n");
}

static void serve_endless_line(int peer, const char *request)
{
	for (int i = 0; i < 100000; i++)
		say(peer, "HTTP/1.1 200 xxxxxxxxxxxxxxxxxxxxxxxxxx");
}

/* ---- health ---- */

struct outcome_of_probe {
	sd_event *event;
	bool ok, lost;
	unsigned calls;
	uint64_t id;
	char text[256];
};

static void on_probed(void *context, uint64_t id, enum probe_answer answer, const char *text)
{
	struct outcome_of_probe *outcome = context;

	outcome->ok = answer == PROBE_GOOD;
	outcome->lost = answer == PROBE_LOST;
	outcome->calls++;
	outcome->id = id;
	STR_CUT(outcome->text, text);
	sd_event_exit(outcome->event, 0);
}

static struct outcome_of_probe probe(uint32_t port, enum health_kind kind, uint64_t timeout_ms)
{
	struct agent_probe wanted = {.id = 77,
				     .kind = kind,
				     .address = "127.0.0.1",
				     .port = port,
				     .http_path = "/healthz?a=1",
				     .timeout_ms = timeout_ms};
	struct outcome_of_probe outcome = {0};
	struct health *health;

	assert_true(sd_event_new(&outcome.event) >= 0);
	assert_int_equal(health_new(outcome.event, on_probed, &outcome, &health, NULL), 0);
	health_start(health, &wanted);
	assert_int_equal(outcome.calls, 0); /* never from inside the call */
	sd_event_loop(outcome.event);
	health_free(health);
	sd_event_unref(outcome.event);
	assert_int_equal(outcome.calls, 1);
	assert_true(outcome.id == 77);
	return outcome;
}

static struct outcome_of_probe probe_server(serve_fn *serve, uint64_t timeout_ms)
{
	struct server server = server_start(serve);
	struct outcome_of_probe outcome = probe(server.port, HEALTH_HTTP, timeout_ms);

	server_stop(&server);
	return outcome;
}

static void good_answers_are_healthy(void **state)
{
	serve_fn *const good[] = {serve_ok, serve_if_asked_right, serve_redirect,
				  serve_drop_by_drop};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct outcome_of_probe outcome = probe_server(good[i], 5000);

		assert_true(outcome.ok);
		assert_string_equal(outcome.text, "");
	}
}

static void bad_answers_say_why(void **state)
{
	static const struct {
		serve_fn *serve;
		const char *text;
	} cases[] = {
		{serve_unavailable, "status 503"},
		{serve_garbage, "not HTTP"},
		{serve_endless_line, "not HTTP"},
		{serve_close, "closed"},
		{serve_half_and_wait, "no answer within"},
		{serve_nothing, "no answer within"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t began = clock_mono_ms();
		struct outcome_of_probe outcome = probe_server(cases[i].serve, 300);

		assert_false(outcome.ok);
		assert_non_null(strstr(outcome.text, cases[i].text));
		assert_true(clock_mono_ms() - began < 3000);
	}
}

static void connect_is_enough_for_tcp(void **state)
{
	struct server server = server_start(serve_nothing);
	struct outcome_of_probe outcome = probe(server.port, HEALTH_TCP, 5000);

	assert_true(outcome.ok);
	server_stop(&server);
	outcome = probe(server.port, HEALTH_TCP, 5000);
	assert_false(outcome.ok);
	assert_non_null(strstr(outcome.text, "refused"));
	outcome = probe(server.port, HEALTH_HTTP, 5000);
	assert_false(outcome.ok);
	outcome = probe(0, HEALTH_HTTP, 5000);
	assert_false(outcome.ok);
}

/* Without a descriptor to spare. */
static void a_probe_that_cannot_be_asked_blames_nobody(void **state)
{
	struct agent_probe wanted = {.id = 5, .kind = HEALTH_HTTP, .address = "127.0.0.1",
				     .port = 1, .timeout_ms = 100};
	struct outcome_of_probe outcome = {0};
	struct rlimit before, none;
	struct health *health;

	assert_true(sd_event_new(&outcome.event) >= 0);
	assert_int_equal(health_new(outcome.event, on_probed, &outcome, &health, NULL), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	health_start(health, &wanted);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	sd_event_loop(outcome.event);
	assert_int_equal(outcome.calls, 1);
	assert_true(outcome.lost);
	assert_non_null(strstr(outcome.text, "Too many open files"));
	health_free(health);
	sd_event_unref(outcome.event);
}

static void cancelled_probe_says_nothing(void **state)
{
	struct server server = server_start(serve_ok);
	struct agent_probe wanted = {.id = 5, .kind = HEALTH_HTTP, .address = "127.0.0.1",
				     .port = server.port, .timeout_ms = 100};
	struct outcome_of_probe outcome = {0};
	struct health *health;

	assert_true(sd_event_new(&outcome.event) >= 0);
	assert_int_equal(health_new(outcome.event, on_probed, &outcome, &health, NULL), 0);
	health_start(health, &wanted);
	health_cancel(health, 5);
	health_cancel(health, 6);
	for (int i = 0; i < 5; i++)
		sd_event_run(outcome.event, 50000);
	assert_int_equal(outcome.calls, 0);
	health_start(health, &wanted); /* freed with one under way */
	health_free(health);
	sd_event_unref(outcome.event);
	server_stop(&server);
}

/* ---- what is compared ---- */

static void check_compare(const struct release_smoke *smoke, unsigned status, const char *body,
			  const char *expected)
{
	struct err err = {0};
	int r = compare_answer(smoke, status, body, strlen(body), &err);

	assert_int_equal(r, expected ? -EBADMSG : 0);
	if (expected && !strstr(err.text, expected))
		fail_msg("'%s' is not in '%s'", expected, err.text);
}

static void json_must_hold_what_is_expected(void **state)
{
	static char expected[] = "{\"label\":7,\"p\":[0.5,{\"x\":null}]}";
	struct release_smoke smoke = {.expect_json = expected, .tolerance = 0.01};

	check_compare(&smoke, 200, "{\"p\":[0.509,{\"x\":null,\"y\":1}],\"label\":7.0,\"z\":2}",
		      NULL);
	check_compare(&smoke, 200, "{\"label\":1,\"p\":[0.5,{\"x\":null}]}",
		      "label: expected 7, got 1");
	check_compare(&smoke, 200, "{\"p\":[0.5,{\"x\":null}]}", "label is missing");
	check_compare(&smoke, 200, "{\"label\":7,\"p\":[0.52,{\"x\":null}]}",
		      "p[0]: expected 0.5, got 0.52");
	check_compare(&smoke, 200, "{\"label\":7,\"p\":[0.5]}", "p: expected 2 items, got 1");
	check_compare(&smoke, 200, "{\"label\":7,\"p\":[0.5,{\"x\":false}]}",
		      "p[1].x: expected null, got false");
	check_compare(&smoke, 200, "{\"label\":\"7\",\"p\":[0.5,{\"x\":null}]}",
		      "label: expected 7, got \"7\"");
	check_compare(&smoke, 200, "<html>", "not JSON");
	check_compare(&smoke, 500, "{}", "expected a status from 200 to 299, got 500");
}

static void status_text_and_body_are_compared(void **state)
{
	uint8_t bytes[] = {1, 2, 3};
	struct release_smoke smoke = {.expect_status = 404, .expect_contains = (char *)"needle"};

	check_compare(&smoke, 404, "a needle in", NULL);
	check_compare(&smoke, 404, "a nee\xc3\xa9le", "does not contain \"needle\"");
	check_compare(&smoke, 200, "a needle in", "expected status 404, got 200");
	smoke = (struct release_smoke){.expect_body = {bytes, 3}};
	check_compare(&smoke, 200, "\x01\x02\x03", NULL);
	check_compare(&smoke, 200, "\x01\x02\x03\x04", "at byte 3 (3 bytes expected, 4 came)");
	check_compare(&smoke, 200, "\x01\x09\x03", "at byte 1");
}

static void line_of_the_worker_is_read(void **state)
{
	char test[LIMIT_SHORT_TEXT + 1], text[LIMIT_REASON_TEXT + 1];
	bool ok;

	assert_true(smoke_parse("{\"ok\":true}\n", &ok, test, text) && ok);
	assert_true(smoke_parse("{\"ok\":false,\"test\":\"a\\\"b\",\"text\":\"x\\u00e9\\n\\\\\"}",
				&ok, test, text));
	assert_false(ok);
	assert_string_equal(test, "a\"b");
	assert_string_equal(text, "x\xc3\xa9\n\\");
	assert_false(smoke_parse("", &ok, test, text));
	assert_false(smoke_parse("{\"ok\":false,\"test\":\"a\"}", &ok, test, text));
	assert_false(smoke_parse("{\"ok\":false,\"test\":\"a\",\"text\":\"b\\", &ok, test, text));
	assert_false(
		smoke_parse("{\"ok\":false,\"test\":\"a\",\"text\":\"b\\u12", &ok, test, text));
}

/* ---- the worker ---- */

struct outcome_of_smoke {
	sd_event *event;
	unsigned calls;
	bool ok;
	char test[LIMIT_SHORT_TEXT + 1], text[LIMIT_REASON_TEXT + 1];
};

static void on_smoked(void *context, uint64_t id, bool ok, const char *test, const char *text)
{
	struct outcome_of_smoke *outcome = context;

	outcome->ok = ok;
	outcome->calls++;
	STR_CUT(outcome->test, test);
	STR_CUT(outcome->text, text);
	sd_event_exit(outcome->event, 0);
}

static const char *worker_path;

/* A manifest with these tests, where the agent would have it. */
static struct digest put_manifest(const char *dir, struct release_smoke *smokes, size_t count)
{
	struct release release = {.model = "ocr", .version = "1", .smokes = smokes,
				  .smokes_count = count};
	struct envelope envelope = {0};
	struct bytes bytes = {0};
	struct digest digest;
	char hex[2 * DIGEST_SIZE + 1];
	AUTO_FREE char *path = NULL;
	int fd;

	assert_int_equal(codec_encode(&codec_release, &release, LIMIT_MANIFEST, &envelope.payload,
				      NULL),
			 0);
	digest_of(&digest, envelope.payload.data, envelope.payload.size);
	assert_int_equal(codec_encode(&codec_envelope, &envelope, LIMIT_MANIFEST, &bytes, NULL), 0);
	str_hex(hex, digest.bytes, DIGEST_SIZE);
	path = mem_format("%s/releases/%s.manifest", dir, hex);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, bytes.data, bytes.size), bytes.size);
	close(fd);
	free(bytes.data);
	codec_free(&codec_envelope, &envelope);
	return digest;
}

static struct outcome_of_smoke run_smoke(serve_fn *serve, struct release_smoke *smokes,
					 size_t count, uint64_t timeout_ms)
{
	char dir[] = "/tmp/covey-smoke-XXXXXX";
	AUTO_FREE char *releases = NULL, *command = NULL;
	struct smoke_config config = {.worker = worker_path, .state_dir = dir};
	struct outcome_of_smoke outcome = {0};
	struct server server = server_start(serve);
	struct agent_smoke wanted = {.id = 3, .address = "127.0.0.1", .port = server.port,
				     .timeout_ms = timeout_ms};
	struct smoke *smoke;

	assert_non_null(mkdtemp(dir));
	releases = mem_format("%s/releases", dir);
	mkdir(releases, 0700);
	wanted.release = put_manifest(dir, smokes, count);
	assert_true(sd_event_new(&outcome.event) >= 0);
	assert_int_equal(smoke_new(outcome.event, &config, on_smoked, &outcome, &smoke, NULL), 0);
	smoke_start(smoke, &wanted);
	sd_event_loop(outcome.event);
	smoke_free(smoke);
	sd_event_unref(outcome.event);
	server_stop(&server);
	command = mem_format("rm -r %s", dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(outcome.calls, 1);
	return outcome;
}

static void serve_model(int peer, const char *request)
{
	bool right = str_starts(request, "POST /classify HTTP/1.1\r\n") &&
		     strstr(request, "\r\nContent-Type: application/json\r\n") &&
		     strstr(request, "\r\n\r\n[1,2]");
	const char *body = right ? "{\"label\":7}" : "{\"label\":0}";
	AUTO_FREE char *answer =
		mem_format("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);

	say(peer, answer);
}

static void serve_too_much(int peer, const char *request)
{
	AUTO_FREE char *body = mem_alloc(65536 + 1);

	memset(body, 'x', 65536);
	say(peer, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
	for (int i = 0; i < 64; i++)
		say(peer, body);
}

static struct release_smoke classify = {.name = (char *)"seven", .method = (char *)"POST",
					.path = (char *)"/classify",
					.content_type = (char *)"application/json",
					.body = {(uint8_t *)"[1,2]", 5},
					.expect_json = (char *)"{\"label\":7}"};

static void worker_passes_what_is_right(void **state)
{
	struct outcome_of_smoke outcome = run_smoke(serve_model, &classify, 1, 5000);

	assert_string_equal(outcome.text, "");
	assert_true(outcome.ok);
	outcome = run_smoke(serve_model, NULL, 0, 5000);
	assert_true(outcome.ok);
}

/* Somebody kills the first worker, or the first two. */
static struct outcome_of_smoke smoke_with_kills(int kills)
{
	char dir[] = "/tmp/covey-killed-XXXXXX";
	const char *real = worker_path;
	AUTO_FREE char *script = NULL, *command = NULL;
	struct outcome_of_smoke outcome;

	assert_non_null(mkdtemp(dir));
	script = mem_format("%s/worker", dir);
	command = mem_format("printf '#!/bin/sh\\nfor i in $(seq %d); do [ -e %s/$i ] || "
			     "{ : >%s/$i; kill -9 $$; }; done; exec %s \"$@\"\\n' >%s && "
			     "chmod +x %s",
			     kills, dir, dir, real, script, script);
	assert_int_equal(system(command), 0);
	worker_path = script;
	outcome = run_smoke(serve_model, &classify, 1, 5000);
	worker_path = real;
	free(command);
	command = mem_format("rm -r %s", dir);
	assert_int_equal(system(command), 0);
	return outcome;
}

static void a_killed_worker_does_not_blame_the_release(void **state)
{
	struct outcome_of_smoke outcome = smoke_with_kills(1);

	assert_string_equal(outcome.text, "");
	assert_true(outcome.ok);
	outcome = smoke_with_kills(2);
	assert_false(outcome.ok);
	assert_string_equal(outcome.text, "the program that runs the smoke tests failed");
}

static void worker_names_the_test_and_the_difference(void **state)
{
	struct release_smoke smokes[] = {classify, classify};
	struct outcome_of_smoke outcome;

	smokes[1].name = (char *)"eight";
	smokes[1].expect_json = (char *)"{\"label\":8}";
	outcome = run_smoke(serve_model, smokes, 2, 5000);
	assert_false(outcome.ok);
	assert_string_equal(outcome.test, "eight");
	assert_string_equal(outcome.text, "label: expected 8, got 7");
}

static void worker_follows_no_redirect(void **state)
{
	struct outcome_of_smoke outcome = run_smoke(serve_redirect, &classify, 1, 5000);

	assert_false(outcome.ok);
	assert_non_null(strstr(outcome.text, "got 302"));
}

static void worker_bounds_body_and_time(void **state)
{
	uint64_t began = clock_mono_ms();
	struct outcome_of_smoke outcome = run_smoke(serve_too_much, &classify, 1, 5000);

	assert_false(outcome.ok);
	assert_non_null(strstr(outcome.text, "larger than"));
	outcome = run_smoke(serve_nothing, &classify, 1, 400);
	assert_false(outcome.ok);
	assert_string_equal(outcome.test, "seven");
	assert_true(clock_mono_ms() - began < 5000);
}

static void worker_that_hangs_or_lies_is_a_failure(void **state)
{
	const char *real = worker_path;
	struct outcome_of_smoke outcome;

	worker_path = "/bin/true";
	outcome = run_smoke(serve_ok, &classify, 1, 5000);
	assert_false(outcome.ok);
	assert_non_null(strstr(outcome.text, "failed"));
	worker_path = real;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_answers_are_healthy),
		cmocka_unit_test(bad_answers_say_why),
		cmocka_unit_test(connect_is_enough_for_tcp),
		cmocka_unit_test(a_probe_that_cannot_be_asked_blames_nobody),
		cmocka_unit_test(cancelled_probe_says_nothing),
		cmocka_unit_test(json_must_hold_what_is_expected),
		cmocka_unit_test(status_text_and_body_are_compared),
		cmocka_unit_test(line_of_the_worker_is_read),
		cmocka_unit_test(worker_passes_what_is_right),
		cmocka_unit_test(a_killed_worker_does_not_blame_the_release),
		cmocka_unit_test(worker_names_the_test_and_the_difference),
		cmocka_unit_test(worker_follows_no_redirect),
		cmocka_unit_test(worker_bounds_body_and_time),
		cmocka_unit_test(worker_that_hangs_or_lies_is_a_failure),
	};

	if (argc != 2) {
		fputs("usage: test-agent-probe covey-worker-smoke\n", stderr);
		return 2;
	}
	worker_path = argv[1];
	return cmocka_run_group_tests_name("agent probes", tests, NULL, NULL);
}
