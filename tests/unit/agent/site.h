/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a real covey-agent finds around it, played by a test over loopback: a coordinator with its
 * three ports for agents, a helper and a model server.
 */
#pragma once

#include "fleetless.h"

#include "protocol/enrol.h"
#include "protocol/transport/server.h"

#include <sys/types.h>

struct site { /* a coordinator, a helper and a model server */
	struct node node; /* only its key, root and objects are used */
	sd_event *event;
	void *zmq_context;
	struct zhub *hub;
	struct zap *zap;
	struct link_key server_key;
	struct sign_key root_key, online_key;
	uint32_t port;
	char endpoint[LIMIT_ENDPOINT + 1];
	char join[JOIN_STRING_MAX];
	uint8_t secret[TOKEN_SECRET_SIZE];
	struct server *agents, *data, *enrol;
	struct bytes root; /* signed */
	bool other_root;   /* the root document names another server key */
	unsigned enrolled;

	uint8_t agent_routing[256];
	size_t agent_routing_size;
	struct node_status status;
	unsigned statuses, heartbeats, gets;
	bool spoil; /* send wrong chunks */

	int helper_fd;
	sd_event_source *helper_io;
	unsigned helper_asked[HELPER_OP_COUNT];
	struct helper_route route;
	bool routed;

	pid_t model;
	uint32_t model_port;
	char config[96];
};

int site_setup(void **state); /* *state: the site, everything open */
int site_teardown(void **state);
/* The root document and the join string, with any server's key and port. */
void site_root(struct site *site, const struct public_key *server_key);
void site_join(struct site *site, const struct public_key *server_key, uint32_t port);
