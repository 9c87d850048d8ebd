/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server is a bound ROUTER in the hub; all that makes it safe is in zsocket.c. What is left is
 * its life: the ipc file is removed by whoever made it.
 */
#include "protocol/transport/server.h"

#include "base/mem.h"
#include "protocol/transport/zsocket.h"

#include <string.h>

struct server {
	struct zhub_socket *socket;
	char endpoint[ZSOCKET_ENDPOINT_MAX];
};

int server_new(struct zhub *hub, const struct server_config *config, server_receive_fn *receive,
	       void *ctx, struct server **ret_server, struct err *err)
{
	struct server *server = mem_alloc(sizeof(*server));
	void *zmq_socket = NULL;
	int r;

	r = zsocket_open_server(zhub_context(hub), config, &zmq_socket, server->endpoint, err);
	if (r < 0) {
		free(server);
		return r;
	}
	r = zhub_add(hub, zmq_socket, receive, ctx, &server->socket);
	if (r < 0) {
		server_free(server);
		return err_errno(err, r, "cannot serve %s", config->endpoint);
	}
	*ret_server = server;
	return 0;
}

void server_free(struct server *server)
{
	if (!server)
		return;
	if (zsocket_is_ipc(server->endpoint))
		unlink(server->endpoint + strlen("ipc://"));
	zhub_remove(server->socket);
	free(server);
}

int server_send(struct server *server, const void *routing, size_t routing_size, const void *data,
		size_t size)
{
	return zhub_send(server->socket, routing, routing_size, data, size);
}

int server_send_owned(struct server *server, const void *routing, size_t routing_size, void *data,
		      size_t size, zhub_release_fn *release, void *hint)
{
	return zhub_send_owned(server->socket, routing, routing_size, data, size, release, hint);
}

const char *server_endpoint(const struct server *server)
{
	return server->endpoint;
}

struct zhub_stats server_stats(const struct server *server)
{
	return zhub_stats(server->socket);
}
