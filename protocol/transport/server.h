/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One bound ROUTER: over TCP with CURVE and ZAP, or a local ipc socket whose file mode says who may
 * use it. A message is one part of bytes in both directions.
 */
#pragma once

#include "covey/ids.h"
#include "protocol/transport/keyfile.h"
#include "protocol/transport/zhub.h"

#include <sys/types.h>

struct server;

enum { SERVER_KEEP_GROUP = -1 };

struct server_config {
	const char *endpoint; /* tcp://[::]:7400, tcp://0.0.0.0:7400, tcp://127.0.0.1:* (any port),
				 ipc:///run/covey/control.sock */
	const char *zap_domain;	    /* ZAP_DOMAIN_...; needed with tcp */
	const struct link_key *key; /* needed with tcp, NULL with ipc; copied */
	size_t max_message_size;    /* LIMIT_... of the channel, towards here; at least 1024 */
	int send_queue;		    /* messages per connection before -EAGAIN; 0: 64 */
	int receive_queue;	    /* messages per connection; 0: 64 */
	int handshake_ms; /* give a connection up that does not prove a key; 0: LIMIT_HANDSHAKE_MS */
	mode_t ipc_mode;	    /* 0: 0660 */
	gid_t ipc_group;	    /* (gid_t)SERVER_KEEP_GROUP: as it is */
};

/* message->user_id: with CURVE the sender's link key in hex; with ipc "". */
typedef zhub_receive_fn server_receive_fn;

/* tcp without key or domain is refused (-EINVAL): no open server can be made by mistake. */
int server_new(struct zhub *hub, const struct server_config *config, server_receive_fn *receive,
	       void *ctx, struct server **ret_server, struct err *err) COVEY_MUST_CHECK;
/* Closes, and removes the ipc file. NULL is fine. */
void server_free(struct server *server);

/* As zhub_send(): 0, -EAGAIN (that peer does not read), -EHOSTUNREACH (it is gone). */
int server_send(struct server *server, const void *routing, size_t routing_size, const void *data,
		size_t size) COVEY_MUST_CHECK;
int server_send_owned(struct server *server, const void *routing, size_t routing_size, void *data,
		      size_t size, zhub_release_fn *release, void *hint) COVEY_MUST_CHECK;

const char *server_endpoint(const struct server *server); /* as bound: the port is a number */
struct zhub_stats server_stats(const struct server *server);
