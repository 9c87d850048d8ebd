/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shell of a node: the one place where the link, the journal, the pure machines of agent/core
 * and the helper meet. For each event: decode, admits, journal commit, apply, decide, perform.
 * It has no loop, no socket and no clock of its own: see world.h. Single-threaded; none of the
 * functions may be called from inside a function of the world.
 */
#pragma once

#include "agent/journal.h"
#include "agent/peering.h"
#include "agent/world.h"

struct agent;

struct agent_peering { /* exchange with other nodes, as its administrator wishes; copied */
	bool on;
	char address[LIMIT_SHORT_TEXT + 1]; /* "": as the coordinator sees it */
	uint32_t port;			    /* 0: nobody may connect */
	uint64_t upload_rate;		    /* bytes a second; 0: no limit */
	bool metered;			    /* gives nothing */
	char window[LIMIT_SHORT_TEXT + 1], timezone[LIMIT_SHORT_TEXT + 1];
};

struct agent_options {
	const char *name;    /* wished for at the coordinator; copied */
	uint64_t fetch_rate; /* bytes a second; 0: no limit */
	struct agent_peering peering;
};

/* world and journal are borrowed and outlive the agent. Loads the journal, counts the boot epoch
 * up. Nothing is sent before agent_start(). */
int agent_create(const struct agent_options *options, const struct agent_world *world,
		 struct journal *journal, struct agent **ret_agent,
		 struct err *err) COVEY_MUST_CHECK;
void agent_free(struct agent *agent); /* leaves the journal and everything outside as it is */
COVEY_DEFINE_CLEANUP(struct agent *, agent_free)

/* First decisions: after a reboot committed slots start here, before the network is there. */
void agent_start(struct agent *agent);

/* The node leaves its fleet: every deployment drains and goes, the coordinator is told instead of
 * asked. From now on nothing that it wants is done. May be called before or after agent_start(). */
void agent_leave(struct agent *agent);
bool agent_is_empty(const struct agent *agent); /* nothing of any deployment is left here */
bool agent_was_let_go(const struct agent *agent); /* the coordinator knows that the node left */

void agent_on_link_up(struct agent *agent); /* connected (again): subscribes */
void agent_on_link_down(struct agent *agent);
void agent_on_message(struct agent *agent, const void *data, size_t size);
void agent_on_helper_up(struct agent *agent); /* connected (again): HELLO, LIST, repeats */
void agent_on_helper_down(struct agent *agent);
void agent_on_helper(struct agent *agent, const struct helper_reply *reply);
void agent_on_probe(struct agent *agent, uint64_t id, enum probe_answer answer, const char *text);
/* test: name of the test that failed, "" when none is to blame; text: one sentence. */
void agent_on_smoke(struct agent *agent, uint64_t id, bool ok, const char *test,
		    const char *text);
/* The way to a source of chunks opened or closed; closed gives its requests back. */
void agent_on_source(struct agent *agent, uint32_t source, bool up);
/* An object came, or the source says that it does not have it. */
void agent_on_object(struct agent *agent, uint32_t source, const struct msg_object *object);

/* The server of a slot sent something (observe_open). Returns for how many ms it is not listened to,
 * because it sends more than a node takes; 0: call again when more is there. */
uint64_t agent_on_observed(struct agent *agent, uint64_t handle);
/* data: the body of /metrics, NULL when there was none in time. */
void agent_on_scraped(struct agent *agent, uint64_t id, const char *data, size_t size);
/* The program ends: what was measured and not yet acknowledged goes to the journal. */
void agent_stop(struct agent *agent);

/* A message of the data channel about chunks by number. */
void agent_on_origin(struct agent *agent, const void *data, size_t size);

/* Neighbours, by the numbers that world->peers.set() was given. */
void agent_on_peer_up(struct agent *agent, uint32_t peer);
void agent_on_peer_down(struct agent *agent, uint32_t peer, enum peer_fault fault,
			const char *text);
void agent_on_peer_message(struct agent *agent, uint32_t peer, enum peer_way way, const void *data,
			   size_t size);
/* Others can connect here (""), or why not. */
void agent_on_peers_listen(struct agent *agent, const char *problem);

void agent_tick(struct agent *agent, uint64_t now_ms);
uint64_t agent_deadline(const struct agent *agent); /* what world->arm() was told last */

/* The node's status as the coordinator gets it; caller: codec_free(&codec_node_status, ...). */
void agent_status(const struct agent *agent, struct node_status *ret_status);
/* caller: free neighbours. */
void agent_peering(const struct agent *agent, struct peering_view *ret_view);
/* True when every committed deployment's serving slot answers its probe. */
bool agent_is_healthy(const struct agent *agent);
bool agent_link_is_up(const struct agent *agent);
