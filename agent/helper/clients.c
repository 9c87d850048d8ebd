/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client is addressed by place and a running number, so that an answer for one that went away
 * never reaches the one that came after it. Nothing is queued: a socket buffer holds more than an
 * agent ever leaves unread, and an agent that connects again asks for everything anew.
 */
#include "agent/helper/clients.h"

#include "base/log.h"
#include "base/mem.h"

#include <sys/socket.h>

struct client {
	struct loop_source source;
	uint64_t number; /* 0: free */
	struct clients *clients;
};

struct clients {
	struct loop *loop;
	struct clients_options options;
	struct loop_source listener;
	uint64_t numbers;
	struct client items[CLIENTS_MAX];
	uint8_t packet[LIMIT_HELPER_MESSAGE];
};

static void drop(struct clients *clients, struct client *client)
{
	loop_remove(clients->loop, &client->source);
	client->number = 0;
}

static void on_packet(struct loop_source *source)
{
	struct client *client = source->owner;
	struct clients *clients = client->clients;
	struct helper_request request;
	struct err err = {0};
	ssize_t size =
	    recv(source->fd, clients->packet, sizeof(clients->packet), MSG_DONTWAIT | MSG_TRUNC);
	int r;

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (size <= 0) {
		drop(clients, client);
		return;
	}
	r = (size_t)size > sizeof(clients->packet)
	        ? err_set(&err, -EMSGSIZE, "larger than %zu bytes", sizeof(clients->packet))
	        : codec_decode(&codec_helper_request, clients->packet, (size_t)size, &request,
	                       &err);
	if (r < 0) { /* no agent of ours speaks like that */
		log_warning("request refused: %s", err_text(&err, r));
		drop(clients, client);
		return;
	}
	clients->options.request(clients->options.context, client->number, &request);
	codec_free(&codec_helper_request, &request);
}

static bool may_talk(const struct clients *clients, int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return false;
	if (peer.uid == 0 || peer.uid == clients->options.uid)
		return true;
	log_warning("process %d of user %u may not talk to the helper", (int)peer.pid,
	            (unsigned)peer.uid);
	return false;
}

static void on_connection(struct loop_source *source)
{
	struct clients *clients = source->owner;
	const int buffer = 2 * LIMIT_HELPER_MESSAGE;
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (!may_talk(clients, fd)) {
		close(fd);
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer));
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &clients->items[i];

		if (client->number)
			continue;
		client->clients = clients;
		if (loop_add(clients->loop, &client->source, fd, on_packet, client) == 0)
			client->number = ++clients->numbers * CLIENTS_MAX + i;
		return;
	}
	log_warning("more than %d connections at once", CLIENTS_MAX);
	close(fd);
}

int clients_create(struct loop *loop, int listener, const struct clients_options *options,
                   struct clients **ret_clients, struct err *err)
{
	struct clients *clients = mem_alloc(sizeof(*clients));
	int r;

	clients->loop = loop;
	clients->options = *options;
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		clients->items[i].source.fd = -1;
	r = loop_add(loop, &clients->listener, listener, on_connection, clients);
	if (r < 0) {
		free(clients);
		return err_errno(err, r, "helper socket");
	}
	*ret_clients = clients;
	return 0;
}

void clients_free(struct clients *clients)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (clients->items[i].number)
			drop(clients, &clients->items[i]);
	loop_remove(clients->loop, &clients->listener);
	free(clients);
}

void clients_send(struct clients *clients, uint64_t client, const void *packet, size_t size)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *item = &clients->items[i];

		if (!item->number || (client && item->number != client))
			continue;
		if (send(item->source.fd, packet, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
			log_warning("a connection is dropped: %s", strerror(errno));
			drop(clients, item);
		}
	}
}

void clients_reply(struct clients *clients, uint64_t client, const struct helper_reply *reply)
{
	struct bytes packet = {0};
	struct err err = {0};
	int r = codec_encode(&codec_helper_reply, reply, LIMIT_HELPER_MESSAGE, &packet, &err);

	if (r < 0)
		log_error("reply not sent: %s", err_text(&err, r));
	else
		clients_send(clients, client, packet.data, packet.size);
	free(packet.data);
}
