/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SOCK_SEQPACKET keeps packets whole, so there is no framing: one recv() is one reply. The buffer
 * for the largest packet lives only while a packet is read; an idle agent does not carry it.
 */
#include "agent/helper_client.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "agent/core/backoff.h"

#include <sodium.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { RETRY_MIN_MS = 200, RETRY_MAX_MS = 10000, ACCURACY_US = 100000 };

struct helper_client {
	sd_event *event;
	sd_event_source *io, *timer;
	struct helper_client_events events;
	void *context;
	struct sockaddr_un address;
	int fd; /* -1: not connected */
	uint32_t failures;
	int told; /* errno of the failure that was told last */
};

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata);

static void retry(struct helper_client *client)
{
	uint64_t wait_ms = backoff_ms(RETRY_MIN_MS, RETRY_MAX_MS, client->failures,
				      randombytes_random());

	sd_event_source_set_time(client->timer, (clock_mono_ms() + wait_ms) * 1000);
	sd_event_source_set_enabled(client->timer, SD_EVENT_ONESHOT);
}

int helper_client_new(sd_event *event, const char *path, const struct helper_client_events *events,
		      void *context, struct helper_client **ret_client, struct err *err)
{
	struct helper_client *client = mem_alloc(sizeof(*client));
	int r;

	client->fd = -1;
	client->events = *events;
	client->context = context;
	client->address.sun_family = AF_UNIX;
	r = STR_SET(client->address.sun_path, path);
	if (r == 0)
		r = sd_event_add_time(event, &client->timer, CLOCK_BOOTTIME, 0, ACCURACY_US,
				      on_timer, client);
	if (r < 0) {
		free(client);
		return err_errno(err, r, "helper socket %s", path);
	}
	client->event = sd_event_ref(event);
	*ret_client = client;
	return 0;
}

void helper_client_free(struct helper_client *client)
{
	if (!client)
		return;
	sd_event_source_disable_unref(client->io);
	sd_event_source_disable_unref(client->timer);
	if (client->fd >= 0)
		close(client->fd);
	sd_event_unref(client->event);
	free(client);
}

static void disconnect(struct helper_client *client, int error)
{
	char text[LIMIT_SHORT_TEXT + 1];

	sd_event_source_disable_unref(client->io);
	client->io = NULL;
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
	client->failures++;
	retry(client);
	if (client->told == error)
		return;
	client->told = error;
	snprintf(text, sizeof(text), "helper at %.70s: %s", client->address.sun_path,
		 strerror(-error));
	client->events.down(client->context, text);
}

static void receive(struct helper_client *client)
{
	AUTO_FREE uint8_t *buffer = mem_alloc(LIMIT_HELPER_MESSAGE);
	ssize_t n = recv(client->fd, buffer, LIMIT_HELPER_MESSAGE, MSG_DONTWAIT | MSG_TRUNC);
	struct helper_reply reply = {0};
	int r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || n > LIMIT_HELPER_MESSAGE) {
		disconnect(client, n < 0 ? -errno : n == 0 ? -ECONNRESET : -EMSGSIZE);
		return;
	}
	r = codec_decode(&codec_helper_reply, buffer, (size_t)n, &reply, NULL);
	if (r < 0) {
		disconnect(client, r);
		return;
	}
	client->events.reply(client->context, &reply);
	codec_free(&codec_helper_reply, &reply);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct helper_client *client = userdata;

	if (revents & EPOLLIN)
		receive(client);
	else
		disconnect(client, -ECONNRESET);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct helper_client *client = userdata;
	int r = 0;

	client->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&client->address,
				      sizeof(client->address)) < 0)
		r = -errno;
	if (r == 0)
		r = sd_event_add_io(client->event, &client->io, client->fd, EPOLLIN, on_io, client);
	if (r < 0) {
		disconnect(client, r);
		return 0;
	}
	client->failures = 0;
	client->told = 0;
	client->events.up(client->context);
	return 0;
}

int helper_client_send(struct helper_client *client, const struct helper_request *request)
{
	struct bytes bytes = {0};
	ssize_t n;
	int r;

	if (client->fd < 0)
		return -ENOTCONN;
	r = codec_encode(&codec_helper_request, request, LIMIT_HELPER_MESSAGE, &bytes, NULL);
	if (r < 0)
		return r;
	n = send(client->fd, bytes.data, bytes.size, MSG_DONTWAIT | MSG_NOSIGNAL);
	r = n < 0 ? -errno : 0;
	free(bytes.data);
	return r == -EPIPE || r == -ECONNRESET ? -ENOTCONN : r;
}
