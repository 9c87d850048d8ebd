/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blocking client for command lines: the same channel as link.h without an event loop. One
 * request at a time, no retries: a command says at once why it cannot talk to the coordinator.
 */
#pragma once

#include "covey/ids.h"
#include "protocol/transport/keyfile.h"

struct zclient;

struct zclient_config { /* everything is copied */
	const char *endpoint;		     /* tcp://host:port or ipc:///path */
	const struct link_key *key;	     /* NULL with ipc */
	const struct public_key *server_key; /* NULL with ipc */
	size_t max_message_size;	     /* towards us; at least 1024 */
};

/*
 * Connects and waits until both sides have proved their keys. Every failure comes with a sentence:
 * -ECONNREFUSED (nobody there), -EACCES (ipc socket not for us), -ETIMEDOUT, -EKEYREJECTED (the
 * server does not know our key), -EPROTO (it did not prove the server key), -EBUSY (no
 * room). zmq_context: of zcontext_new(), borrowed; NULL makes one for this client alone.
 */
int zclient_new(void *zmq_context, const struct zclient_config *config, uint64_t timeout_ms,
		struct zclient **ret_client, struct err *err) COVEY_MUST_CHECK;
void zclient_free(struct zclient *client); /* NULL is fine */

/* All three: -ETIMEDOUT; -ECONNRESET: the connection broke (a new client is needed); -EINTR: a
 * signal handler ran. */
int zclient_send(struct zclient *client, const void *data, size_t size, uint64_t timeout_ms,
		 struct err *err) COVEY_MUST_CHECK;
/* The next message; ret_data is owned by the caller (free data). */
int zclient_receive(struct zclient *client, uint64_t timeout_ms, struct bytes *ret_data,
		    struct err *err) COVEY_MUST_CHECK;
/* Send, then receive. After -ETIMEDOUT a late answer may still come: compare ids, or start anew. */
int zclient_request(struct zclient *client, const void *data, size_t size, uint64_t timeout_ms,
		    struct bytes *ret_data, struct err *err) COVEY_MUST_CHECK;
