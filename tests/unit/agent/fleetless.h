/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node without a machine: the shell with a real journal and a real chunk store in a folder of
 * its own, everything else played by this fake: clock, coordinator, data channel, helper, probes,
 * smoke tests. Answers come after a little virtual time, in order.
 */
#pragma once

#include "agent/agent.h"
#include "agent/chunks/store.h"
#include "protocol/manifest.h"
#include "protocol/message.h"

enum { NODE_SLOTS = 8, NODE_OBJECTS = 512, NODE_QUEUE = 4096 };

enum answer_kind { ANSWER_HELPER, ANSWER_PROBE, ANSWER_SMOKE, ANSWER_OBJECT, ANSWER_SOURCE_UP,
		   ANSWER_OBSERVED_ACK, ANSWER_SCRAPE };

struct answer {
	enum answer_kind kind;
	uint64_t at_ms, order;
	uint64_t id;
	struct helper_request request;
	struct agent_probe probe;
	struct agent_smoke smoke;
	struct wanted_object object;
	struct msg_observed_ack ack;
	char address[64];
};

struct node_slot {
	char deployment[LIMIT_NAME + 1];
	enum colour colour;
	struct digest release;
	bool used, exited;
	uint32_t number; /* its address is 10.0.0.<number> */
};

struct node_socket { /* of one slot, as the agent opened it */
	uint64_t handle; /* 0: not open */
	char deployment[LIMIT_NAME + 1];
	enum colour colour;
	struct bytes waiting[64]; /* datagrams */
	size_t count;
};

struct node_object {
	struct digest digest;
	struct bytes data;
	bool corrupt; /* the origin sends something else */
};

struct node { /* the fake and the agent on it */
	char dir[64];
	struct sign_key key;
	struct root_document root;
	struct journal *journal;
	struct chunk_store *store;
	struct agent_world world;
	struct agent *agent;

	uint64_t now_ms, random, order;
	char boot_id[BOOT_ID_TEXT_MAX];
	struct answer queue[NODE_QUEUE];
	size_t queued;
	uint64_t armed_ms;

	bool link_up, helper_up, origin_up, origin_cut;
	struct node_status status; /* newest that the coordinator got */
	size_t statuses, heartbeats, subscribes, leaves, log_answers, relinks;
	struct msg_subscribe subscribed;
	struct msg_heartbeat beat; /* newest */
	char *logs;
	bool no_acks;
	struct node_socket sockets[NODE_SLOTS];
	struct observation_record observed; /* sum of all that the coordinator took */
	struct observation_record newest;   /* the last one that it got */
	size_t observations, observed_messages; /* records taken; messages, also repeated ones */
	uint64_t mark_boot_epoch, mark_sequence;
	bool no_observed_acks;
	struct bytes proposal; /* the newest baseline that was proposed */
	bool with_metrics; /* releases that are made from now on serve /metrics */
	const char *metrics; /* what it says; borrowed */
	size_t scrapes;
	struct bytes baseline; /* of releases that are made from now on; borrowed */
	size_t promised; /* chunks that their files have more, behind the others; nobody has them */

	struct node_slot slots[NODE_SLOTS];
	struct helper_route map[LIMIT_DEPLOYMENTS_PER_NODE];
	size_t map_count, map_changes, unroutable; /* unroutable: routes to slots that do not run */
	size_t asked[HELPER_OP_COUNT];
	uint64_t connections;

	struct node_object objects[NODE_OBJECTS];
	size_t objects_count;
	size_t gets, chunk_gets;
	size_t busy_gets; /* so many requests still find the queue full */

	/* what goes wrong */
	struct digest bad; /* the release that these speak of */
	bool damaged_once; /* the next UNPACK of a bad release finds damage */
	bool bad_preflight, bad_unpack, bad_start, bad_smoke, bad_probe, forgotten;
	bool bad_traffic;
	bool is_short;
	bool by_command;     /* releases are probed by a command */
	uint64_t fetch_rate; /* of agents that start from now on, and: */
	struct agent_peering peering;
	struct msg_peer_report peers_said; /* the newest; owned */
	size_t peer_reports;
	size_t errors; /* log lines of level error */
	bool verbose;
};

/* "1.0.0" with blobs_count files of a few chunks each, signed and put to the origin. seed makes the
 * content: equal seeds have equal files. */
struct digest node_release(struct node *node, const char *version, unsigned seed,
			   size_t blobs_count, size_t chunk_size);

void node_create(struct node *node);
void node_destroy(struct node *node);
/* The agent ends without a word (kill -9) and starts anew; slots go on. */
void node_restart_agent(struct node *node);
/* The machine: slots are gone, the boot clock begins again. */
void node_reboot(struct node *node);
void node_start(struct node *node);

uint64_t node_unix_ms(void); /* a clock that stands */

void node_link(struct node *node, bool up);
void node_helper(struct node *node, bool up);
/* Desired state with one assignment of "ocr" (or none). */
struct assignment node_assignment(const struct digest *base, const struct digest *next,
				  enum goal goal);
void node_desire(struct node *node, uint64_t generation, const struct assignment *assignments,
		 size_t count);
void node_send(struct node *node, enum message_type type, const void *body);
/* The server of this release says something. */
void node_observe(struct node *node, const struct digest *release, const char *text);
/* A container ends by itself. */
void node_exit_slot(struct node *node, const struct digest *release);

/* Lets virtual time pass. */
void node_run(struct node *node, uint64_t ms);
/* ... until the deployment reports this state, at most ms. */
bool node_run_until(struct node *node, enum node_state state, uint64_t ms);
const struct deployment_report *node_report(const struct node *node);
/* What clients of "ocr" reach; zero: nothing. */
struct digest node_reached(const struct node *node);
