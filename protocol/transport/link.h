/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side of a channel, in an event loop: a DEALER with CURVE over TCP (or plain over
 * ipc) to one endpoint at a time. It tries again by itself, with a backoff that grows from
 * LIMIT_BACKOFF_MIN_MS to LIMIT_BACKOFF_MAX_MS with full jitter ("Exponential Backoff And Jitter",
 * AWS Architecture Blog, 2015), and at the longest distance after a refusal. Each attempt has a new
 * socket, so nothing that was queued for an old connection is sent over a new one.
 */
#pragma once

#include "covey/ids.h"
#include "protocol/transport/keyfile.h"
#include "protocol/transport/zhub.h"

struct link;

enum link_cause {
	LINK_UNREACHABLE,  /* nobody answers there, or only to say that there is no room */
	LINK_WRONG_SERVER, /* somebody answers, but does not prove the expected server key */
	LINK_REFUSED,	   /* the server does not know our key, or link_refuse() was called */
	LINK_LOST,	   /* the connection was up and broke */
	LINK_CAUSE_COUNT
};

struct link_config { /* everything is copied */
	const char *endpoint;		     /* tcp://host:port or ipc:///path */
	const struct link_key *key;	     /* ours; NULL with ipc */
	const struct public_key *server_key; /* whom we expect; NULL with ipc */
	size_t max_message_size;	     /* towards us; at least 1024 */
	int send_queue;			     /* messages; 0: 16 */
	int receive_queue;		     /* messages; 0: 16 */
	uint64_t backoff_min_ms, backoff_max_ms; /* 0: LIMIT_BACKOFF_MIN_MS, LIMIT_BACKOFF_MAX_MS */
	uint64_t connect_ms;   /* give an attempt up that nobody answers; 0: 10 s */
	uint64_t handshake_ms; /* give an attempt up; 0: LIMIT_HANDSHAKE_MS (busy coordinators) */
	bool eager; /* a refusal is no reason to wait longer: it may not have heard of us yet */
	const char *whom; /* who serves there, in sentences: a constant; NULL: coordinator */
};

/* Every callback may call link_send, link_refuse and link_set_endpoint, but not link_free. */
struct link_events {
	void (*up)(void *ctx); /* connected, both sides have proved their keys */
	/* text: one sentence for people. Called once for each attempt that fails, too. */
	void (*down)(void *ctx, enum link_cause cause, const char *text);
	void (*message)(void *ctx, const void *data, size_t size);
};

/* Starts at once; the first attempt is made from the loop. events is copied. */
int link_new(struct zhub *hub, const struct link_config *config, const struct link_events *events,
	     void *ctx, struct link **ret_link, struct err *err) COVEY_MUST_CHECK;
void link_free(struct link *link); /* no callback afterwards; NULL is fine */

/* 0; -ENOTCONN while it is down; -EAGAIN: the queue is full. Copies. */
int link_send(struct link *link, const void *data, size_t size) COVEY_MUST_CHECK;
/* The same without a copy: zhub_send_owned(). */
int link_send_owned(struct link *link, void *data, size_t size, zhub_release_fn *release,
		    void *hint) COVEY_MUST_CHECK;

/* The application was told to go away (msg_refused): down(LINK_REFUSED, text) is not called; the
 * next attempt comes after the long backoff. */
void link_refuse(struct link *link);
/* Closes and connects again, at once: nothing was heard for too long, or the network came back. */
void link_restart(struct link *link);
/* From the next attempt on; connects anew when the endpoint is another one. -ENAMETOOLONG. */
int link_set_endpoint(struct link *link, const char *endpoint) COVEY_MUST_CHECK;

bool link_is_up(const struct link *link);
/* The last attempt was given up because nobody answered at all: a firewall, or no such host. */
bool link_was_silent(const struct link *link);
const char *link_endpoint(const struct link *link);
const char *link_cause_text(enum link_cause cause); /* "unreachable", "wrong_server", ... */
