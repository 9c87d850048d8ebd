/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's socket and its monitor are polled together, so that a connection that breaks while
 * an answer is awaited ends the wait at once and with its cause. What arrived before the break is
 * still handed out first.
 */
#include "protocol/transport/zclient.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/transport/zcontext.h"
#include "protocol/transport/zframes.h"
#include "protocol/transport/zsocket.h"

#include <string.h>

struct zclient {
	void *own_context; /* NULL: borrowed */
	char endpoint[ZSOCKET_ENDPOINT_MAX];
	struct link_key key;
	struct public_key server_key;
	struct zsocket_client_config config; /* points at the three above */
	struct zclient_socket socket;
	bool connected, up;
};

static uint64_t deadline_after(uint64_t timeout_ms)
{
	uint64_t now = clock_mono_ms();

	return timeout_ms < UINT64_MAX - now ? now + timeout_ms : UINT64_MAX;
}

/* Waits for the monitor, and for `events` of the socket. 0, -ETIMEDOUT, -EINTR: no sentence yet. */
static int wait_for(struct zclient *client, short events, uint64_t deadline_ms)
{
	zmq_pollitem_t items[] = {{client->socket.monitor, 0, ZMQ_POLLIN, 0},
				  {client->socket.zmq, 0, events, 0}};
	uint64_t now = clock_mono_ms();
	long wait = -1;
	int r;

	if (now >= deadline_ms)
		return -ETIMEDOUT;
	if (deadline_ms != UINT64_MAX)
		wait = deadline_ms - now < 86400000 ? (long)(deadline_ms - now) : 86400000;
	r = zmq_poll(items, events ? 2 : 1, wait);
	return r < 0 ? -errno : 0;
}

/* Reads what the monitor has to say. 0, or why the connection is of no more use. */
static int check_connection(struct zclient *client, struct err *err)
{
	enum zsocket_event event = ZSOCKET_NOTHING;
	char text[ZSOCKET_TEXT_MAX];
	int r;

	for (;;) {
		r = zsocket_read_monitor(client->socket.monitor, &event);
		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return err_errno(err, r, "cannot watch the connection to %s",
					 client->endpoint);
		if (event == ZSOCKET_CONNECTED)
			client->connected = true;
		else if (event == ZSOCKET_UP)
			client->up = true;
		else if (event != ZSOCKET_NOTHING)
			break;
	}
	r = zsocket_explain(event, client->up, &client->config, text);
	client->up = false;
	return err_set(err, r, "%s", text);
}

static int say_failure(struct zclient *client, int r, struct err *err)
{
	if (r == -ETIMEDOUT)
		return err_set(err, r, "the coordinator at %s does not answer in time",
			       client->endpoint);
	if (r == -EINTR)
		return err_set(err, r, "interrupted while waiting for the coordinator at %s",
			       client->endpoint);
	return err_errno(err, r, "cannot talk to the coordinator at %s", client->endpoint);
}

static int wait_until_up(struct zclient *client, uint64_t timeout_ms, struct err *err)
{
	uint64_t deadline = deadline_after(timeout_ms);
	uint64_t connect_deadline = deadline_after(ZSOCKET_CONNECT_MS);

	while (!client->up) {
		bool connecting = !client->connected && connect_deadline < deadline;
		int r = wait_for(client, 0, connecting ? connect_deadline : deadline);

		if (r == -ETIMEDOUT && !client->connected) {
			char text[ZSOCKET_TEXT_MAX];

			r = zsocket_explain(ZSOCKET_UNREACHABLE, false, &client->config, text);
			return err_set(err, r, "%s", text);
		}
		if (r < 0)
			return say_failure(client, r, err);
		r = check_connection(client, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A name may have an IPv6 and an IPv4 address, of which only one answers. */
static int connect_client(void *zmq_context, struct zclient *client, uint64_t timeout_ms,
			  struct err *err)
{
	uint64_t deadline = deadline_after(timeout_ms), now;
	int r = zsocket_open_client(zmq_context, &client->config, &client->socket, err);

	if (r == 0)
		r = wait_until_up(client, timeout_ms, err);
	now = clock_mono_ms();
	if (r != -ECONNREFUSED || !zsocket_is_name(client->endpoint) || client->config.ipv4_only ||
	    now >= deadline)
		return r;
	client->config.ipv4_only = true;
	zsocket_close_client(&client->socket);
	return connect_client(zmq_context, client, deadline - now, err);
}

static void take_config(struct zclient *client, const struct zclient_config *config)
{
	STR_CUT(client->endpoint, config->endpoint);
	client->config = (struct zsocket_client_config){
		.endpoint = client->endpoint,
		.max_message_size = config->max_message_size,
	};
	if (config->key) {
		client->key = *config->key;
		client->config.key = &client->key;
	}
	if (config->server_key) {
		client->server_key = *config->server_key;
		client->config.server_key = &client->server_key;
	}
}

int zclient_new(void *zmq_context, const struct zclient_config *config, uint64_t timeout_ms,
		struct zclient **ret_client, struct err *err)
{
	const struct zsocket_client_config check = {.endpoint = config->endpoint,
						    .key = config->key,
						    .server_key = config->server_key,
						    .max_message_size = config->max_message_size};
	struct zclient *client;
	int r = zsocket_check_client(&check, err);

	if (r < 0)
		return r;
	client = mem_alloc(sizeof(*client));
	take_config(client, config);
	if (!zmq_context) {
		r = zcontext_new(NULL, &client->own_context, err);
		zmq_context = client->own_context;
	}
	if (r == 0)
		r = connect_client(zmq_context, client, timeout_ms, err);
	if (r < 0) {
		zclient_free(client);
		return r;
	}
	*ret_client = client;
	return 0;
}

void zclient_free(struct zclient *client)
{
	if (!client)
		return;
	zsocket_close_client(&client->socket);
	zcontext_free(client->own_context);
	link_key_wipe(&client->key);
	free(client);
}

int zclient_send(struct zclient *client, const void *data, size_t size, uint64_t timeout_ms,
		 struct err *err)
{
	uint64_t deadline = deadline_after(timeout_ms);

	for (;;) {
		int r = check_connection(client, err);

		if (r < 0)
			return r;
		if (client->up && zmq_send(client->socket.zmq, data, size, ZMQ_DONTWAIT) >= 0)
			return 0;
		if (!client->up)
			return err_set(err, -ECONNRESET, "the connection to %s is broken",
				       client->endpoint);
		r = errno == EAGAIN ? wait_for(client, ZMQ_POLLOUT, deadline) : -errno;
		if (r < 0)
			return say_failure(client, r, err);
	}
}

/* 0, -EAGAIN. A message of several parts is nothing that a coordinator sends: skipped. */
static int take_message(struct zclient *client, struct bytes *ret_data)
{
	for (;;) {
		AUTO_ZFRAMES struct zframes frames = {.count = 0};
		int r = zframes_receive(client->socket.zmq, &frames);

		if (r < 0 && r != -EBADMSG)
			return r;
		if (r == -EBADMSG || frames.count != 1)
			continue;
		ret_data->size = zframes_size(&frames, 0);
		ret_data->data = ret_data->size > 0
					 ? mem_copy(zframes_data(&frames, 0), ret_data->size)
					 : NULL;
		return 0;
	}
}

int zclient_receive(struct zclient *client, uint64_t timeout_ms, struct bytes *ret_data,
		    struct err *err)
{
	uint64_t deadline = deadline_after(timeout_ms);

	for (;;) {
		struct err broken = {0};
		int state = check_connection(client, &broken);
		int r = take_message(client, ret_data);

		if (r == 0)
			return 0;
		if (state < 0)
			return err_set(err, state, "%s", broken.text);
		if (r == -EAGAIN && !client->up)
			return err_set(err, -ECONNRESET, "the connection to %s is broken",
				       client->endpoint);
		if (r == -EAGAIN)
			r = wait_for(client, ZMQ_POLLIN, deadline);
		if (r < 0)
			return say_failure(client, r, err);
	}
}

int zclient_request(struct zclient *client, const void *data, size_t size, uint64_t timeout_ms,
		    struct bytes *ret_data, struct err *err)
{
	uint64_t deadline = deadline_after(timeout_ms), now;
	int r = zclient_send(client, data, size, timeout_ms, err);

	if (r < 0)
		return r;
	now = clock_mono_ms();
	return zclient_receive(client, now < deadline ? deadline - now : 0, ret_data, err);
}
