/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside transport: ZeroMQ sockets with all of Covey's options, and what a client's monitor says.
 * server, link, zclient and the ZAP self-test open their sockets here, so that the test at start-up
 * tests the options that the real servers have.
 */
#pragma once

#include "covey/ids.h"
#include "protocol/transport/server.h"

enum {
	ZSOCKET_STATUS_FULL = 500, /* ZAP's answer when there is no room; the client is told it */
	ZSOCKET_CONNECT_MS = 10000, /* a peer that does not even answer SYN */
	ZSOCKET_MESSAGE_MIN = 1024, /* the bound also holds for the messages of the handshake */
	ZSOCKET_ENDPOINT_MAX = LIMIT_ENDPOINT + 1,
};

struct zsocket_client_config {
	const char *endpoint;
	const struct link_key *key;	     /* NULL with ipc */
	const struct public_key *server_key; /* NULL with ipc */
	size_t max_message_size;
	int send_queue, receive_queue;
	const char *whom; /* in sentences; NULL: coordinator */
	bool ipv4_only; /* for names; addresses say themselves what they are */
};

struct zclient_socket {
	void *zmq;     /* DEALER; connects once, never again by itself */
	void *monitor; /* PAIR; feed zsocket_read_monitor() */
};

/* What a client's connection came to. One attempt: CONNECTED, then UP, then LOST; or one of the
 * failures, after which the socket is of no more use. */
enum zsocket_event {
	ZSOCKET_NOTHING,      /* an event without meaning for us */
	ZSOCKET_CONNECTED,    /* TCP or ipc stands, keys are not yet proved */
	ZSOCKET_UP,
	ZSOCKET_UNREACHABLE,
	ZSOCKET_REFUSED,      /* by ZAP */
	ZSOCKET_FULL,	      /* by ZAP, which has no room for another connection */
	ZSOCKET_NOT_PROVED,   /* the connection ended before the server proved its key */
	ZSOCKET_OTHER_PROTOCOL, /* it is not a server of this kind */
	ZSOCKET_DISCONNECTED, /* while up: lost; before: as NOT_PROVED */
};

enum { ZSOCKET_TEXT_MAX = 512 };

int zsocket_set_int(void *zmq_socket, int option, int value) COVEY_MUST_CHECK;

/* A bound ROUTER. ret_endpoint is as bound. */
int zsocket_open_server(void *zmq_context, const struct server_config *config, void **ret_socket,
			char ret_endpoint[ZSOCKET_ENDPOINT_MAX], struct err *err) COVEY_MUST_CHECK;

int zsocket_open_client(void *zmq_context, const struct zsocket_client_config *config,
			struct zclient_socket *ret_client, struct err *err) COVEY_MUST_CHECK;
void zsocket_close_client(struct zclient_socket *client);
/* tcp needs both keys, ipc none: -EINVAL with a sentence. */
int zsocket_check_client(const struct zsocket_client_config *config,
			 struct err *err) COVEY_MUST_CHECK;
/* Starts the monitor's end: call before anything else that closes the socket. */
void zsocket_stop_monitor(void *zmq_socket);

/* One event, without waiting: 0, -EAGAIN, -EBADMSG. */
int zsocket_read_monitor(void *monitor, enum zsocket_event *ret_event) COVEY_MUST_CHECK;

/* The failure as one sentence, and as an errno for those who return one. */
int zsocket_explain(enum zsocket_event event, bool was_up,
		    const struct zsocket_client_config *config, char ret_text[ZSOCKET_TEXT_MAX]);

/* tcp to a name, whose address may be IPv6 or IPv4? */
bool zsocket_is_name(const char *endpoint);
bool zsocket_is_ipc(const char *endpoint);
