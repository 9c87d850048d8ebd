/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt is one socket: it connects once and is closed for good when that fails or breaks, and
 * a timer decides when the next one is made. The socket's monitor says how far the attempt came,
 * and the same timer ends an attempt that comes to nothing. libzmq would try again by itself, but
 * without a cap on its haste (its jitter is on the base only), without telling a refusal from an
 * absence, and with old messages in its queue.
 */
#include "protocol/transport/link.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/transport/zsocket.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <zmq.h>

enum link_state { STATE_WAITING, STATE_CONNECTING, STATE_PROVING, STATE_UP };
enum { BACKOFF_DOUBLINGS_MAX = 16, US_PER_MS = 1000 };

struct link {
	struct zhub *hub;
	struct link_events events;
	void *ctx;
	enum link_state state;
	char endpoint[ZSOCKET_ENDPOINT_MAX];
	struct link_key key;
	struct public_key server_key;
	struct zsocket_client_config config; /* points at the three above */
	uint64_t backoff_min_ms, backoff_max_ms, connect_ms, handshake_ms;
	unsigned failures; /* in a row, without a message from the server in between */
	bool heard;	   /* a message, over this connection */
	bool silent;	   /* the last attempt: no answer at all */
	bool eager;
	struct zhub_socket *socket, *monitor;
	sd_event_source *timer;
};

static const char *const cause_texts[LINK_CAUSE_COUNT] = {
	[LINK_UNREACHABLE] = "unreachable",
	[LINK_WRONG_SERVER] = "wrong_server",
	[LINK_REFUSED] = "refused",
	[LINK_LOST] = "lost",
};

/* ---- time ---- */

static void schedule(struct link *link, uint64_t ms)
{
	int r = sd_event_source_set_time_relative(link->timer, ms * US_PER_MS);

	assert(r >= 0);
	r = sd_event_source_set_enabled(link->timer, SD_EVENT_ONESHOT);
	assert(r >= 0);
	(void)r;
}

/* A quarter of the span is the floor, so that an unlucky draw is no busy loop. */
static uint64_t jittered(uint64_t span_ms)
{
	uint64_t floor = span_ms / 4;

	return floor + randombytes_uniform((uint32_t)(span_ms - floor) + 1);
}

static uint64_t backoff(const struct link *link, enum link_cause cause)
{
	unsigned doublings = link->failures < BACKOFF_DOUBLINGS_MAX ? link->failures
								    : BACKOFF_DOUBLINGS_MAX;
	uint64_t span = link->backoff_min_ms << doublings;

	if (cause == LINK_REFUSED && !link->eager) /* a person has to act; from half to one and a half times */
		return link->backoff_max_ms / 2 + jittered(link->backoff_max_ms);
	return jittered(span < link->backoff_max_ms ? span : link->backoff_max_ms);
}

/* ---- ends of an attempt ---- */

static void close_sockets(struct link *link)
{
	if (!link->socket)
		return;
	zsocket_stop_monitor(zhub_zmq_socket(link->socket));
	zhub_remove(TAKE_PTR(link->socket));
	zhub_remove(TAKE_PTR(link->monitor));
}

static void wait_for_next(struct link *link, enum link_cause cause)
{
	close_sockets(link);
	link->state = STATE_WAITING;
	if (link->heard)
		link->failures = 0;
	link->heard = false;
	schedule(link, backoff(link, cause));
	link->failures++;
}

static void go_down(struct link *link, enum link_cause cause, const char *text)
{
	wait_for_next(link, cause);
	if (link->events.down)
		link->events.down(link->ctx, cause, text);
}

static enum link_cause cause_of(enum zsocket_event event, bool was_up, bool ipc)
{
	if (event == ZSOCKET_REFUSED)
		return LINK_REFUSED;
	if (was_up)
		return LINK_LOST;
	if (event == ZSOCKET_UNREACHABLE || event == ZSOCKET_FULL || ipc)
		return LINK_UNREACHABLE;
	return LINK_WRONG_SERVER;
}

static void fail(struct link *link, enum zsocket_event event)
{
	bool was_up = link->state == STATE_UP;
	char text[ZSOCKET_TEXT_MAX];

	(void)zsocket_explain(event, was_up, &link->config, text);
	if (event == ZSOCKET_UNREACHABLE && zsocket_is_name(link->endpoint))
		link->config.ipv4_only = !link->config.ipv4_only; /* the other one next time */
	go_down(link, cause_of(event, was_up, zsocket_is_ipc(link->endpoint)), text);
}

static void go_up(struct link *link)
{
	link->state = STATE_UP;
	sd_event_source_set_enabled(link->timer, SD_EVENT_OFF);
	if (link->events.up)
		link->events.up(link->ctx);
}

/* ---- what the sockets say ---- */

static void on_message(void *ctx, const struct zmessage *message)
{
	struct link *link = ctx;
	struct zhub_socket *socket = link->socket;

	/* The monitor is another socket, and may be read after the first message. */
	if (link->state != STATE_UP)
		go_up(link);
	if (link->socket != socket) /* up() closed it */
		return;
	link->heard = true;
	if (link->events.message)
		link->events.message(link->ctx, message->data, message->size);
}

static int on_monitor(void *ctx, void *zmq_socket)
{
	struct link *link = ctx;
	enum zsocket_event event = ZSOCKET_NOTHING;
	int r = zsocket_read_monitor(zmq_socket, &event);

	if (r < 0)
		return r;
	if (event == ZSOCKET_CONNECTED && link->state == STATE_CONNECTING) {
		link->state = STATE_PROVING;
		schedule(link, link->handshake_ms);
	} else if (event == ZSOCKET_UP && link->state != STATE_UP) {
		go_up(link);
	} else if (event != ZSOCKET_NOTHING && event != ZSOCKET_CONNECTED && event != ZSOCKET_UP) {
		fail(link, event);
	}
	return 0;
}

/* ---- attempts ---- */

static int open_sockets(struct link *link, struct err *err)
{
	struct zclient_socket client;
	int r = zsocket_open_client(zhub_context(link->hub), &link->config, &client, err);

	if (r < 0)
		return r;
	r = zhub_add(link->hub, client.zmq, on_message, link, &link->socket);
	if (r < 0) {
		zmq_close(client.monitor);
		return err_errno(err, r, "cannot watch the connection to %s", link->endpoint);
	}
	r = zhub_add_reader(link->hub, client.monitor, on_monitor, link, &link->monitor);
	if (r < 0) {
		close_sockets(link);
		return err_errno(err, r, "cannot watch the connection to %s", link->endpoint);
	}
	return 0;
}

static void attempt(struct link *link)
{
	struct err err = {0};
	int r;

	close_sockets(link);
	link->state = STATE_CONNECTING;
	link->heard = link->silent = false;
	schedule(link, link->connect_ms);
	r = open_sockets(link, &err);
	if (r < 0)
		go_down(link, LINK_UNREACHABLE, err_text(&err, r));
}

static int on_timer(sd_event_source *source, uint64_t now_us, void *ctx)
{
	struct link *link = ctx;
	char text[ZSOCKET_TEXT_MAX];

	switch (link->state) {
	case STATE_WAITING:
		attempt(link);
		break;
	case STATE_CONNECTING:
		link->silent = true;
		fail(link, ZSOCKET_UNREACHABLE);
		break;
	case STATE_PROVING:
		link->silent = true;
		snprintf(text, sizeof(text), "the %s at %s does not answer the handshake",
			 link->config.whom, link->endpoint);
		go_down(link, LINK_UNREACHABLE, text);
		break;
	case STATE_UP:
		break;
	}
	return 0;
}

/* ---- create, free ---- */

static uint64_t or_default(uint64_t value, uint64_t standard)
{
	return value > 0 ? value : standard;
}

static void take_config(struct link *link, const struct link_config *config)
{
	STR_CUT(link->endpoint, config->endpoint);
	link->backoff_min_ms = or_default(config->backoff_min_ms, LIMIT_BACKOFF_MIN_MS);
	link->backoff_max_ms = or_default(config->backoff_max_ms, LIMIT_BACKOFF_MAX_MS);
	link->eager = config->eager;
	link->connect_ms = or_default(config->connect_ms, ZSOCKET_CONNECT_MS);
	link->handshake_ms = or_default(config->handshake_ms, LIMIT_HANDSHAKE_MS);
	link->config = (struct zsocket_client_config){
		.endpoint = link->endpoint,
		.max_message_size = config->max_message_size,
		.send_queue = config->send_queue,
		.receive_queue = config->receive_queue,
		.whom = config->whom ? config->whom : "coordinator",
	};
	if (config->key) {
		link->key = *config->key;
		link->config.key = &link->key;
	}
	if (config->server_key) {
		link->server_key = *config->server_key;
		link->config.server_key = &link->server_key;
	}
}

int link_new(struct zhub *hub, const struct link_config *config, const struct link_events *events,
	     void *ctx, struct link **ret_link, struct err *err)
{
	const struct zsocket_client_config check = {.endpoint = config->endpoint,
						    .key = config->key,
						    .server_key = config->server_key,
						    .max_message_size = config->max_message_size};
	struct link *link;
	int r = zsocket_check_client(&check, err);

	if (r < 0)
		return r;
	link = mem_alloc(sizeof(*link));
	link->hub = hub;
	link->events = *events;
	link->ctx = ctx;
	take_config(link, config);
	r = sd_event_add_time_relative(zhub_event(hub), &link->timer, CLOCK_BOOTTIME, 0, 0,
				       on_timer, link);
	if (r < 0) {
		link_free(link);
		return err_errno(err, r, "cannot set a timer");
	}
	*ret_link = link;
	return 0;
}

void link_free(struct link *link)
{
	if (!link)
		return;
	close_sockets(link);
	sd_event_source_disable_unref(link->timer);
	link_key_wipe(&link->key);
	free(link);
}

/* ---- change ---- */

int link_send(struct link *link, const void *data, size_t size)
{
	return link->state == STATE_UP ? zhub_send(link->socket, NULL, 0, data, size) : -ENOTCONN;
}

int link_send_owned(struct link *link, void *data, size_t size, zhub_release_fn *release,
		    void *hint)
{
	return link->state == STATE_UP
		       ? zhub_send_owned(link->socket, NULL, 0, data, size, release, hint)
		       : -ENOTCONN;
}

void link_refuse(struct link *link)
{
	wait_for_next(link, LINK_REFUSED);
}

void link_restart(struct link *link)
{
	close_sockets(link);
	link->state = STATE_WAITING;
	schedule(link, 0);
}

int link_set_endpoint(struct link *link, const char *endpoint)
{
	struct zsocket_client_config config = link->config;
	int r;

	if (str_equal(endpoint, link->endpoint))
		return 0;
	config.endpoint = endpoint;
	r = zsocket_check_client(&config, NULL);
	if (r == 0)
		r = STR_SET(link->endpoint, endpoint);
	if (r == 0 && link->state != STATE_WAITING)
		link_restart(link);
	return r;
}

/* ---- ask ---- */

bool link_is_up(const struct link *link)
{
	return link->state == STATE_UP;
}

bool link_was_silent(const struct link *link)
{
	return link->silent;
}

const char *link_endpoint(const struct link *link)
{
	return link->endpoint;
}

const char *link_cause_text(enum link_cause cause)
{
	return cause_texts[cause];
}
