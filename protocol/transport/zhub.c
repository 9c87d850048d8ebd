/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file descriptor of a ZeroMQ socket only says "something may have changed since you last
 * asked", and every call on the socket counts as asking. So the descriptor merely ends the sleep;
 * what is there to read is asked anew (ZMQ_EVENTS) by a prepare callback before the next sleep when
 * the descriptor spoke or anybody used the socket in between. (Asking costs a system call; where
 * neither happened the descriptor would still speak.) Sockets with something to read are served by one source for all of
 * them, a bounded batch of one socket at each turn of the loop: timers have a higher priority and
 * come in between, and no socket waits for more than one batch of each other socket.
 */
#include "protocol/transport/zhub.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/transport/zframes.h"

#include <assert.h>
#include <string.h>
#include <sys/epoll.h>

enum {
	BATCH_MESSAGES = 64,
	BATCH_BYTES = 1 << 20, /* a batch ends with the message that passes this */
};

struct zhub_socket {
	struct zhub *hub;
	void *zmq;
	bool router;
	bool ready; /* was readable when last asked */
	bool used; /* since it was last asked, or its descriptor spoke */
	bool removed; /* from within its own batch; freed at the end of it */
	zhub_receive_fn *receive;
	zhub_read_fn *read;
	void *ctx;
	sd_event_source *wake;
	size_t batch_bytes;
	struct zhub_stats stats;
};

struct zhub {
	sd_event *event;
	void *zmq_context;
	sd_event_source *serve;
	struct zhub_socket **sockets;
	size_t sockets_count, sockets_cap;
	size_t turn; /* index of the socket that is looked at first */
	struct zhub_socket *serving;
};

struct owned { /* a buffer on its way through ZeroMQ */
	zhub_release_fn *release; /* NULL: back with the caller */
	void *hint;
};

/* ---- sockets ---- */

static void socket_destroy(struct zhub_socket *socket)
{
	sd_event_source_disable_unref(socket->wake);
	if (socket->zmq) {
		int zero = 0;

		zmq_setsockopt(socket->zmq, ZMQ_LINGER, &zero, sizeof(zero));
		zmq_close(socket->zmq);
	}
	free(socket);
}

/* IPv4 stays IPv4 on a socket that also speaks IPv6; over ipc the host is no news. */
static const char *plain_address(const char *address)
{
	static const char *const prefixes[] = {"::ffff:", "localhost"};

	for (size_t i = 0; address && i < ARRAY_SIZE(prefixes); i++) {
		if (str_starts(address, prefixes[i]))
			return address + strlen(prefixes[i]);
	}
	return address ? address : "";
}

static int read_message(void *ctx, void *zmq_socket)
{
	struct zhub_socket *socket = ctx;
	AUTO_ZFRAMES struct zframes frames = {.count = 0};
	size_t body = socket->router ? 1 : 0;
	struct zmessage message = {0};
	const char *user_id;
	int r;

	r = zframes_receive(zmq_socket, &frames);
	if (r < 0)
		return r;
	if (frames.count != body + 1)
		return -EBADMSG;
	if (socket->router) {
		message.routing = zframes_data(&frames, 0);
		message.routing_size = zframes_size(&frames, 0);
		if (message.routing_size > ZHUB_ROUTING_MAX)
			return -EBADMSG;
	}
	message.data = zframes_data(&frames, body);
	message.size = zframes_size(&frames, body);
	user_id = zmq_msg_gets(&frames.parts[body], "User-Id");
	message.user_id = user_id ? user_id : "";
	message.peer_address = plain_address(zmq_msg_gets(&frames.parts[body], "Peer-Address"));
	socket->batch_bytes += message.size;
	socket->receive(socket->ctx, &message);
	return 0;
}

/* ---- the loop ---- */

/* What woke us is found out by prepare(), before the next sleep. */
static int on_wake(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct zhub_socket *socket = ctx;

	socket->used = true;
	return 0;
}

static int prepare(sd_event_source *source, void *ctx)
{
	struct zhub_socket *socket = ctx;
	int events = 0;
	size_t size = sizeof(events);

	if (socket->ready || !socket->used)
		return 0;
	socket->used = false;
	if (zmq_getsockopt(socket->zmq, ZMQ_EVENTS, &events, &size) < 0) {
		if (errno != EINTR)
			return -errno;
		events = ZMQ_POLLIN; /* not known: look */
	}
	if (!(events & ZMQ_POLLIN))
		return 0;
	socket->ready = true;
	return sd_event_source_set_enabled(socket->hub->serve, SD_EVENT_ON);
}

static struct zhub_socket *next_ready(struct zhub *hub)
{
	for (size_t i = 0; i < hub->sockets_count; i++) {
		size_t at = (hub->turn + i) % hub->sockets_count;

		if (hub->sockets[at]->ready) {
			hub->turn = at + 1;
			return hub->sockets[at];
		}
	}
	return NULL;
}

static void serve_batch(struct zhub_socket *socket)
{
	void *ctx = socket->read == read_message ? socket : socket->ctx;

	socket->batch_bytes = 0;
	socket->used = true;
	for (int i = 0; i < BATCH_MESSAGES && socket->batch_bytes < BATCH_BYTES; i++) {
		int r = socket->read(ctx, socket->zmq);

		if (socket->removed)
			return;
		if (r == 0) {
			socket->stats.received++;
		} else if (r == -EBADMSG) {
			socket->stats.dropped++;
		} else if (r != -EINTR) {
			socket->ready = false;
			return;
		}
	}
}

static int serve(sd_event_source *source, void *ctx)
{
	struct zhub *hub = ctx;
	struct zhub_socket *socket = next_ready(hub);

	if (!socket)
		return sd_event_source_set_enabled(source, SD_EVENT_OFF);
	hub->serving = socket;
	serve_batch(socket);
	hub->serving = NULL;
	if (socket->removed)
		socket_destroy(socket);
	return 0;
}

/* ---- create, free ---- */

int zhub_new(sd_event *event, void *zmq_context, struct zhub **ret_hub)
{
	struct zhub *hub = mem_alloc(sizeof(*hub));
	int r;

	hub->event = sd_event_ref(event);
	hub->zmq_context = zmq_context;
	r = sd_event_add_defer(event, &hub->serve, serve, hub);
	if (r >= 0)
		r = sd_event_source_set_priority(hub->serve,
						 SD_EVENT_PRIORITY_NORMAL + ZHUB_PRIORITY);
	if (r >= 0)
		r = sd_event_source_set_enabled(hub->serve, SD_EVENT_OFF);
	if (r < 0) {
		zhub_free(hub);
		return r;
	}
	*ret_hub = hub;
	return 0;
}

void zhub_free(struct zhub *hub)
{
	if (!hub)
		return;
	assert(!hub->serving);
	while (hub->sockets_count > 0)
		zhub_remove(hub->sockets[hub->sockets_count - 1]);
	sd_event_source_disable_unref(hub->serve);
	sd_event_unref(hub->event);
	free(hub->sockets);
	free(hub);
}

/* ---- add, remove ---- */

static int watch(struct zhub_socket *socket)
{
	int fd = -1, type = 0;
	size_t fd_size = sizeof(fd), type_size = sizeof(type);
	int r;

	if (zmq_getsockopt(socket->zmq, ZMQ_FD, &fd, &fd_size) < 0 ||
	    zmq_getsockopt(socket->zmq, ZMQ_TYPE, &type, &type_size) < 0)
		return -errno;
	socket->router = type == ZMQ_ROUTER;
	socket->used = true;
	r = sd_event_add_io(socket->hub->event, &socket->wake, fd, EPOLLIN, on_wake, socket);
	if (r < 0)
		return r;
	r = sd_event_source_set_priority(socket->wake, SD_EVENT_PRIORITY_NORMAL + ZHUB_PRIORITY);
	if (r < 0)
		return r;
	return sd_event_source_set_prepare(socket->wake, prepare);
}

static int add(struct zhub *hub, struct zhub_socket *socket, struct zhub_socket **ret_socket)
{
	int r = watch(socket);

	if (r < 0) {
		socket_destroy(socket);
		return r;
	}
	MEM_GROW(hub->sockets, &hub->sockets_cap, hub->sockets_count);
	hub->sockets[hub->sockets_count++] = socket;
	*ret_socket = socket;
	return 0;
}

int zhub_add(struct zhub *hub, void *zmq_socket, zhub_receive_fn *receive, void *ctx,
	     struct zhub_socket **ret_socket)
{
	struct zhub_socket *socket = mem_alloc(sizeof(*socket));

	*socket = (struct zhub_socket){
		.hub = hub,
		.zmq = zmq_socket,
		.receive = receive,
		.read = read_message,
		.ctx = ctx,
	};
	return add(hub, socket, ret_socket);
}

int zhub_add_reader(struct zhub *hub, void *zmq_socket, zhub_read_fn *read, void *ctx,
		    struct zhub_socket **ret_socket)
{
	struct zhub_socket *socket = mem_alloc(sizeof(*socket));

	*socket = (struct zhub_socket){.hub = hub, .zmq = zmq_socket, .read = read, .ctx = ctx};
	return add(hub, socket, ret_socket);
}

void zhub_remove(struct zhub_socket *socket)
{
	struct zhub *hub;

	if (!socket)
		return;
	hub = socket->hub;
	for (size_t i = 0; i < hub->sockets_count; i++) {
		if (hub->sockets[i] == socket) {
			hub->sockets[i] = hub->sockets[--hub->sockets_count];
			break;
		}
	}
	if (hub->serving == socket)
		socket->removed = true;
	else
		socket_destroy(socket);
}

/* ---- send ---- */

static void owned_free(void *data, void *hint)
{
	struct owned *owned = hint;

	if (owned->release)
		owned->release(data, owned->hint);
	free(owned);
}

/* A ROUTER says with the first part whether the peer takes the message; the second then goes. */
static int try_send(struct zhub_socket *socket, const void *routing, size_t routing_size,
		    zmq_msg_t *body)
{
	if (socket->router &&
	    zmq_send(socket->zmq, routing, routing_size, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
		return -errno;
	return zmq_msg_send(body, socket->zmq, ZMQ_DONTWAIT) < 0 ? -errno : 0;
}

/*
 * What a peer has read reaches a socket as a command in its mailbox, and a send looks there at most
 * once in a few million processor ticks. So a queue that is full may only seem so: asking for
 * ZMQ_EVENTS empties the mailbox.
 */
static int send_parts(struct zhub_socket *socket, const void *routing, size_t routing_size,
		      zmq_msg_t *body)
{
	int events, r;
	size_t size = sizeof(events);

	assert(socket->router == (routing_size > 0));
	socket->used = true;
	r = try_send(socket, routing, routing_size, body);
	if (r != -EAGAIN || zmq_getsockopt(socket->zmq, ZMQ_EVENTS, &events, &size) < 0)
		return r;
	return try_send(socket, routing, routing_size, body);
}

int zhub_send(struct zhub_socket *socket, const void *routing, size_t routing_size,
	      const void *data, size_t size)
{
	zmq_msg_t body;
	int r;

	if (zmq_msg_init_size(&body, size) < 0)
		return -errno;
	if (size > 0)
		memcpy(zmq_msg_data(&body), data, size);
	r = send_parts(socket, routing, routing_size, &body);
	if (r < 0)
		zmq_msg_close(&body);
	return r;
}

int zhub_send_owned(struct zhub_socket *socket, const void *routing, size_t routing_size,
		    void *data, size_t size, zhub_release_fn *release, void *hint)
{
	struct owned *owned = mem_alloc(sizeof(*owned));
	zmq_msg_t body;
	int r;

	*owned = (struct owned){.release = release, .hint = hint};
	if (zmq_msg_init_data(&body, data, size, owned_free, owned) < 0) {
		r = -errno;
		free(owned);
		return r;
	}
	r = send_parts(socket, routing, routing_size, &body);
	if (r < 0) {
		owned->release = NULL;
		zmq_msg_close(&body);
	}
	return r;
}

/* ---- ask ---- */

sd_event *zhub_event(const struct zhub *hub)
{
	return hub->event;
}

void *zhub_context(const struct zhub *hub)
{
	return hub->zmq_context;
}

void *zhub_zmq_socket(struct zhub_socket *socket)
{
	socket->used = true;
	return socket->zmq;
}

struct zhub_stats zhub_stats(const struct zhub_socket *socket)
{
	return socket->stats;
}
