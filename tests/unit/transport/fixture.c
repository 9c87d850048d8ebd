/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "base/clock.h"
#include "base/str.h"
#include "protocol/transport/zcontext.h"

#include <dirent.h>
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

static bool key_is_missing(const struct link_key *key)
{
	static const struct link_key none;

	return memcmp(key, &none, sizeof(none)) == 0;
}

void fixture_open(struct fixture *fixture, int max_sockets)
{
	struct zcontext_config config = {.max_sockets = max_sockets};

	memset(fixture, 0, sizeof(*fixture));
	assert_int_equal(sd_event_new(&fixture->event), 0);
	assert_int_equal(zcontext_new(&config, &fixture->context, NULL), 0);
	assert_int_equal(zhub_new(fixture->event, fixture->context, &fixture->hub), 0);
}

static bool admit_known(void *ctx, const char *domain, const struct public_key *key,
			char ret_user_id[ZAP_USER_ID_MAX])
{
	struct fixture *fixture = ctx;

	assert_string_equal(domain, ZAP_DOMAIN_AGENTS);
	for (size_t i = 0; i < fixture->admitted_count; i++) {
		if (memcmp(fixture->admitted[i].public_key.bytes, key->bytes, KEY_SIZE) == 0)
			return true;
	}
	return fixture->admit_all;
}

void fixture_open_zap(struct fixture *fixture)
{
	assert_int_equal(zap_new(fixture->hub, admit_known, fixture, &fixture->zap, NULL), 0);
}

void fixture_close(struct fixture *fixture)
{
	zap_free(fixture->zap);
	zhub_free(fixture->hub);
	zcontext_free(fixture->context);
	sd_event_unref(fixture->event);
}

uint64_t patient(uint64_t ms)
{
	const char *patience = getenv("COVEY_PATIENCE");

	return patience ? ms * strtoull(patience, NULL, 10) : ms;
}

bool wait_count(struct fixture *fixture, const unsigned *value, unsigned wanted, uint64_t ms)
{
	uint64_t deadline = clock_mono_ms() + patient(ms);

	while (*value < wanted && clock_mono_ms() < deadline)
		assert_true(sd_event_run(fixture->event, 10000) >= 0);
	return *value >= wanted;
}

void run_for(struct fixture *fixture, uint64_t ms)
{
	uint64_t deadline = clock_mono_ms() + ms;

	while (clock_mono_ms() < deadline)
		assert_true(sd_event_run(fixture->event, 10000) >= 0);
}

static void on_heard(void *ctx, const struct zmessage *message)
{
	struct listener *listener = ctx;
	size_t kept = message->size < HEARD_MAX ? message->size : HEARD_MAX;

	listener->heard++;
	STR_CUT(listener->user_id, message->user_id);
	STR_CUT(listener->peer_address, message->peer_address);
	memcpy(listener->routing, message->routing, message->routing_size);
	listener->routing_size = message->routing_size;
	listener->size = message->size;
	memcpy(listener->text, message->data, kept);
	if (listener->echo)
		assert_int_equal(server_send(listener->server, message->routing,
					     message->routing_size, message->data, message->size),
				 0);
}

void listener_open(struct fixture *fixture, struct listener *listener, const char *endpoint,
		   const char *domain)
{
	uint64_t deadline = clock_mono_ms() + 2000;
	struct server_config config = {.endpoint = endpoint ? endpoint : "tcp://127.0.0.1:*",
				       .zap_domain = domain,
				       .key = domain ? &listener->key : NULL,
				       .max_message_size = MESSAGE_MAX,
				       .ipc_group = (gid_t)SERVER_KEEP_GROUP};
	struct err err = {0};
	int r;

	if (key_is_missing(&listener->key))
		link_key_generate(&listener->key);
	do {
		r = server_new(fixture->hub, &config, on_heard, listener, &listener->server, &err);
		if (r == -EADDRINUSE)
			run_for(fixture, 10);
	} while (r == -EADDRINUSE && clock_mono_ms() < deadline);
	if (r < 0)
		fail_msg("%s", err_text(&err, r));
}

static void on_up(void *ctx)
{
	struct caller *caller = ctx;

	caller->up++;
	if (caller->greets && link_send(caller->link, "hello", 5) < 0)
		caller->failed++;
}

static void on_down(void *ctx, enum link_cause cause, const char *text)
{
	struct caller *caller = ctx;

	caller->down++;
	caller->cause = cause;
	STR_CUT(caller->text, text);
}

static void on_message(void *ctx, const void *data, size_t size)
{
	struct caller *caller = ctx;

	caller->messages++;
	caller->size = size;
}

struct link_config caller_config(struct caller *caller, const char *endpoint,
				 const struct public_key *server_key)
{
	return (struct link_config){.endpoint = endpoint,
				    .key = server_key ? &caller->key : NULL,
				    .server_key = server_key,
				    .max_message_size = MESSAGE_MAX,
				    .backoff_min_ms = 20,
				    .backoff_max_ms = 2000};
}

void caller_open(struct fixture *fixture, struct caller *caller, const char *endpoint,
		 const struct public_key *server_key)
{
	static const struct link_events events = {on_up, on_down, on_message};
	struct link_config config = caller_config(caller, endpoint, server_key);

	if (key_is_missing(&caller->key))
		link_key_generate(&caller->key);
	assert_int_equal(
		link_new(fixture->hub, &config, &events, caller, &caller->link, NULL), 0);
}

void admit(struct fixture *fixture, struct caller *caller)
{
	assert_true(fixture->admitted_count < ADMITTED_MAX);
	link_key_generate(&caller->key);
	fixture->admitted[fixture->admitted_count++] = caller->key;
}

unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* In place of the C library's: a name of which only the IPv4 address is served. */
int getaddrinfo(const char *restrict host, const char *restrict service,
		const struct addrinfo *restrict hints, struct addrinfo **restrict ret_list)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
		(int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))
			dlsym(RTLD_NEXT, "getaddrinfo");

	if (host && strcmp(host, NAME_OF_TWO) == 0)
		host = hints->ai_family == AF_INET6 ? "::1" : "127.0.0.1";
	return real(host, service, hints, ret_list);
}
