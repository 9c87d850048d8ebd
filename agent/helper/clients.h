/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who talks to the helper: connections on its UNIX socket, let in by the kernel's word on who they
 * are (SO_PEERCRED: root or the agent's user). One packet is one request or one reply.
 */
#pragma once

#include "agent/helper/api.h"
#include "agent/helper/loop.h"

enum { CLIENTS_MAX = 8 };

struct clients;

struct clients_options {
	uint32_t uid; /* besides root */
	/* A request came; *request may be taken (zeroed). client is its address for answers. */
	void (*request)(void *context, uint64_t client, struct helper_request *request);
	void *context;
};

/* listener: a listening SOCK_SEQPACKET socket, taken over. */
int clients_create(struct loop *loop, int listener, const struct clients_options *options,
                   struct clients **ret_clients, struct err *err) COVEY_MUST_CHECK;
void clients_free(struct clients *clients);

/* To one client that may be gone by now, or to all (client 0). One that does not read is dropped.
 */
void clients_send(struct clients *clients, uint64_t client, const void *packet, size_t size);
void clients_reply(struct clients *clients, uint64_t client, const struct helper_reply *reply);
