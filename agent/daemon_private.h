/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the daemon alone (daemon.c, daemon_leave.c): what it is made of. */
#pragma once

#include "agent/daemon.h"

#include "agent/agent.h"
#include "agent/chunks/client.h"
#include "agent/chunks/peers.h"
#include "agent/chunks/store.h"
#include "agent/helper_client.h"
#include "agent/joined.h"
#include "agent/local.h"
#include "agent/machine.h"
#include "agent/observe_sockets.h"
#include "agent/probe/health.h"
#include "agent/probe/scrape.h"
#include "agent/probe/smoke.h"

struct daemon {
	const struct agent_config *config;
	struct joined joined;
	char worker[CONFIG_PATH_MAX];
	sd_event *event;
	sd_event_source *timer;
	void *zmq_context;
	struct zhub *hub;
	struct link *link;
	struct origin *origin;
	struct peers *peers;
	struct helper_client *helper;
	struct health *health;
	struct scrape *scrape;
	struct smoke *smoke;
	struct observe_sockets *observed;
	struct local *local;
	struct journal *journal;
	struct chunk_store *store;
	struct agent_world world;
	struct agent *agent;

	/* daemon_leave() */
	bool helper_known;
	uint64_t leave_ms, empty_ms; /* when it began; since when nothing is left */
	uint64_t prune_id;	     /* the last request to the helper */
	bool pruned;
};

/* Everything that a daemon has, after joined_load(); daemon_close() also after a failure. */
int daemon_open(struct daemon *d, struct err *err) COVEY_MUST_CHECK;
void daemon_close(struct daemon *d);
