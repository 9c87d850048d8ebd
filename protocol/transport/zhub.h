/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ZeroMQ sockets inside sd-event. ZMQ_FD is edge-triggered and any call on a socket may consume its
 * edge, so readiness is read again before a sleep (a prepare callback), and one shared source
 * serves the ready sockets in turn, in bounded batches, at a lower priority than timers. Everything
 * runs in the thread of the loop. Each turn asks each socket: a hub is for tens of sockets (a server
 * with 10,000 connections is one). What the loop must never delay has a priority < ZHUB_PRIORITY
 * (sd-event's default 0 has).
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct zhub;
struct zhub_socket;

enum {
	ZHUB_PRIORITY = 10,
	ZHUB_ROUTING_MAX = 16, /* longer ones are the peer's own invention: dropped as malformed */
};

struct zmessage { /* borrowed, valid during the callback */
	const void *routing; /* ROUTER: the connection, to answer; else NULL. Never an identity */
	size_t routing_size; /* <= ZHUB_ROUTING_MAX */
	const char *user_id; /* what ZAP vouched for: public key in hex; "" if none */
	const char *peer_address; /* IP without port; ":uid:gid:pid" over ipc; "" if not known */
	const void *data;
	size_t size;
};

struct zhub_stats {
	uint64_t received; /* whole messages handed on */
	uint64_t dropped;  /* malformed: not exactly one part of data, or a strange routing id */
};

/* May remove this socket or others, send, and add sockets; may not free the hub. */
typedef void zhub_receive_fn(void *ctx, const struct zmessage *message);
/* For own framings: reads one message from the socket without waiting. Returns 0, -EAGAIN when
 * there is none, -EBADMSG when it was malformed (counted as dropped). */
typedef int zhub_read_fn(void *ctx, void *zmq_socket);
/* Frees a buffer that was sent without a copy. Called once, perhaps from another thread. */
typedef void zhub_release_fn(void *data, void *hint);

/* Takes its own reference to the loop. */
int zhub_new(sd_event *event, void *zmq_context, struct zhub **ret_hub) COVEY_MUST_CHECK;
/* After the links and servers on it. Closes every socket that is still there, without waiting. NULL
 * is fine. */
void zhub_free(struct zhub *hub);

/* Takes the ZeroMQ socket over, also on failure (it is closed then). */
int zhub_add(struct zhub *hub, void *zmq_socket, zhub_receive_fn *receive, void *ctx,
	     struct zhub_socket **ret_socket) COVEY_MUST_CHECK;
int zhub_add_reader(struct zhub *hub, void *zmq_socket, zhub_read_fn *read, void *ctx,
		    struct zhub_socket **ret_socket) COVEY_MUST_CHECK;
/* Closes the socket; no callback of it runs afterwards. NULL is fine. */
void zhub_remove(struct zhub_socket *socket);

/*
 * Sends one message without waiting. routing: as it came in zmessage, NULL (size 0) for a DEALER.
 * 0: queued; -EAGAIN: that peer's queue is full, or a DEALER is not connected; -EHOSTUNREACH: that
 * peer is gone. Data is copied.
 */
int zhub_send(struct zhub_socket *socket, const void *routing, size_t routing_size,
	      const void *data, size_t size) COVEY_MUST_CHECK;
/* The same without a copy: on success the buffer is released when nobody reads it any more; on
 * failure it still belongs to the caller. */
int zhub_send_owned(struct zhub_socket *socket, const void *routing, size_t routing_size,
		    void *data, size_t size, zhub_release_fn *release, void *hint) COVEY_MUST_CHECK;

sd_event *zhub_event(const struct zhub *hub);	     /* borrowed */
void *zhub_context(const struct zhub *hub);	     /* the ZeroMQ context */
void *zhub_zmq_socket(struct zhub_socket *socket); /* borrowed, until the next sleep */
struct zhub_stats zhub_stats(const struct zhub_socket *socket);
