/* SPDX-License-Identifier: Apache-2.0 */
/* A loop, a ZeroMQ context and a hub for one test, and waiting with a bound. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdbool.h>
#include <cmocka.h>

#include "protocol/transport/link.h"
#include "protocol/transport/server.h"
#include "protocol/transport/zap.h"

enum { ADMITTED_MAX = 8, MESSAGE_MAX = 2048, HEARD_MAX = 64 };

/* resolves to ::1 and 127.0.0.1 */
#define NAME_OF_TWO "two.covey.invalid"

struct fixture {
	sd_event *event;
	void *context;
	struct zhub *hub;
	struct zap *zap;
	struct link_key admitted[ADMITTED_MAX]; /* by the ZAP callback */
	size_t admitted_count;
	bool admit_all;
};

/* One server that remembers what it heard and may echo it. */
struct listener {
	struct server *server;
	struct link_key key;
	bool echo;
	unsigned heard;
	char user_id[ZAP_USER_ID_MAX]; /* of the last message */
	char peer_address[64];
	uint8_t routing[ZHUB_ROUTING_MAX];
	size_t routing_size;
	char text[HEARD_MAX];
	size_t size;
};

/* One link that counts what happens to it. */
struct caller {
	struct link *link;
	struct link_key key;
	unsigned up, down, messages;
	bool greets;	 /* sends from within up() */
	unsigned failed; /* greetings */
	enum link_cause cause; /* of the last down */
	char text[MESSAGE_MAX];
	size_t size; /* of the last message */
};

void fixture_open(struct fixture *fixture, int max_sockets);
void fixture_open_zap(struct fixture *fixture);
void fixture_close(struct fixture *fixture);

/* A time limit: as many times longer as COVEY_PATIENCE says (under valgrind). */
uint64_t patient(uint64_t ms);
/* Turns the loop until *value >= wanted; false when that takes longer than ms. */
bool wait_count(struct fixture *fixture, const unsigned *value, unsigned wanted, uint64_t ms);
void run_for(struct fixture *fixture, uint64_t ms);

/* endpoint NULL: any port of loopback. Waits for an address that is being given up. */
void listener_open(struct fixture *fixture, struct listener *listener, const char *endpoint,
		   const char *domain);
struct link_config caller_config(struct caller *caller, const char *endpoint,
				 const struct public_key *server_key);
/* Makes a key for the caller if it has none, and the link with short backoffs. */
void caller_open(struct fixture *fixture, struct caller *caller, const char *endpoint,
		 const struct public_key *server_key);
void admit(struct fixture *fixture, struct caller *caller); /* makes the key and admits it */
unsigned open_fds(void);
