/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of the four channels (docs/PROTOCOL). A message on the wire is
 * [type, body]; body is a map from field numbers to values (protocol/codec.h), so that an older
 * peer skips what it does not know. Heap members belong to the struct: message_free().
 */
#pragma once

#include "covey/policy.h"
#include "covey/release.h"
#include "covey/report.h"

/* X(NAME, struct name, type number, who sends it, on which channel, largest size) */
#define MESSAGES(X)                                                                                \
	X(SUBSCRIBE, msg_subscribe, 1, FROM_AGENT, CHANNEL_AGENTS, LIMIT_AGENT_MESSAGE)            \
	X(HEARTBEAT, msg_heartbeat, 2, FROM_AGENT, CHANNEL_AGENTS, LIMIT_AGENT_MESSAGE)            \
	X(STATUS, node_status, 3, FROM_AGENT, CHANNEL_AGENTS, LIMIT_AGENT_MESSAGE)                 \
	X(LOGS, msg_logs, 4, FROM_AGENT, CHANNEL_AGENTS, LIMIT_AGENT_MESSAGE)                      \
	X(LEAVE, msg_leave, 5, FROM_AGENT, CHANNEL_AGENTS, LIMIT_AGENT_MESSAGE)                    \
	X(DESIRED, desired_state, 16, FROM_COORDINATOR, CHANNEL_AGENTS, LIMIT_DESIRED_MESSAGE)     \
	X(ACK, msg_ack, 17, FROM_COORDINATOR, CHANNEL_AGENTS, LIMIT_DESIRED_MESSAGE)               \
	X(REFUSED, msg_refused, 18, FROM_COORDINATOR, CHANNEL_AGENTS, LIMIT_DESIRED_MESSAGE)       \
	X(LOGS_WANTED, msg_logs_wanted, 19, FROM_COORDINATOR, CHANNEL_AGENTS,                      \
	  LIMIT_DESIRED_MESSAGE)                                                                   \
	X(GET, msg_get, 32, FROM_AGENT, CHANNEL_DATA, LIMIT_DATA_REQUEST)                          \
	X(OBJECT, msg_object, 33, FROM_COORDINATOR, CHANNEL_DATA, LIMIT_DATA_MESSAGE)              \
	X(ENROL, msg_enrol, 48, FROM_STRANGER, CHANNEL_ENROL, LIMIT_ENROL_MESSAGE)                 \
	X(ENROLLED, msg_enrolled, 49, FROM_COORDINATOR, CHANNEL_ENROL, LIMIT_ENROL_MESSAGE)        \
	X(CONTROL, msg_control, 64, FROM_OPERATOR, CHANNEL_OPERATORS, LIMIT_CONTROL_MESSAGE)       \
	X(CONTROL_REPLY, msg_control_reply, 65, FROM_COORDINATOR, CHANNEL_OPERATORS,               \
	  LIMIT_CONTROL_MESSAGE)

enum message_sender { FROM_AGENT, FROM_COORDINATOR, FROM_STRANGER, FROM_OPERATOR };
enum message_channel { CHANNEL_AGENTS, CHANNEL_DATA, CHANNEL_ENROL, CHANNEL_OPERATORS };

#define X(name, type, number, sender, channel, size) MESSAGE_##name = (number),
enum message_type { MESSAGES(X) };
#undef X

/* ---- agents' channel ---- */

struct msg_subscribe { /* first message of a link, and again after every reconnect */
	uint32_t protocol_version;
	char agent_version[LIMIT_SHORT_TEXT + 1];
	char name[LIMIT_NAME + 1]; /* wished for; the coordinator's record wins */
	uint64_t epoch, generation; /* that the agent knows; 0, 0: none */
	uint64_t boot_epoch;
};

struct msg_heartbeat {
	uint64_t epoch, generation;
	uint64_t boot_epoch, sequence; /* of the newest status: the coordinator asks if it lacks it */
};

struct msg_leave { /* the node leaves the fleet for good; REFUSED is the answer, again and again */
	uint64_t boot_epoch;
};

enum goal { GOAL_NONE, GOAL_FETCH, GOAL_PREPARE, GOAL_SERVE, GOAL_COUNT };

struct assignment { /* one deployment on one node: what must be true, not what to do */
	char deployment[LIMIT_NAME + 1];
	struct digest base; /* what serves when `next` may not: the last completed release; zero: none */
	struct digest next; /* of the rollout under way; zero: none */
	enum goal goal;	    /* how far the node goes with `next` */
	bool revert;	    /* coordinator veto: go back to base at once, without bake */
	struct rollout_id rollout; /* that `next` or `revert` belongs to */
	uint64_t attempt;   /* raised by `retry`: clears the node's veto against `next` */
	enum swap_kind swap;
	uint64_t bake_ms;
	uint64_t drain_ms;
	uint64_t keep_warm_ms;
	bool hold_old;	    /* the rollout has not ended: the old slot stays warm */
	uint64_t node_deadline_ms; /* for one change, from its start on the node; 0: none */
	struct window_spec windows;
};

struct desired_state { /* complete: a deployment that is not in it is drained and removed */
	uint64_t epoch, generation;
	struct assignment *assignments;
	size_t assignments_count;
};

struct msg_ack { /* answers status and heartbeat */
	uint64_t boot_epoch, sequence; /* newest status that is committed at the coordinator */
	bool send_status;
};

struct msg_refused { /* the coordinator will not talk to this agent; back off long */
	char text[LIMIT_REASON_TEXT + 1];
};

struct msg_logs_wanted {
	uint64_t id;
	char deployment[LIMIT_NAME + 1];
	uint32_t lines;
};

struct msg_logs {
	uint64_t id;
	char *text; /* may be NULL */
	char error[LIMIT_REASON_TEXT + 1]; /* "" : fine */
};

/* ---- data channel: objects by digest ---- */

enum object_kind {
	OBJECT_CHUNK,	 /* chunks, indices, objects with deltas */
	OBJECT_MANIFEST, /* the signed envelope of the release with this digest */
	OBJECT_DELTAS,	 /* which delta set there is for the release: data is the set's digest */
	OBJECT_SET,	 /* a delta set (protocol/delta_set.h) */
	OBJECT_KIND_COUNT
};

struct held_release {
	struct digest digest;
};


struct msg_get {
	enum object_kind kind;
	struct digest digest;
	bool takes_coded; /* the answer's data may be coded (protocol/coding/coding.h) */
	struct held_release *held; /* DELTAS: what lies sealed on the node's disk */
	size_t held_count;
};

struct msg_object {
	enum object_kind kind;
	struct digest digest;
	bool missing; /* the sender does not have it */
	struct bytes data;
	bool coded; /* data is a coded form; the digest is that of what it stands for */
	uint32_t retry_ms; /* missing, but it is being made: ask again after this; 0: it is not */
};

/* ---- enrolment ---- */

struct msg_enrol {
	uint32_t protocol_version;
	char token_id[LIMIT_SHORT_TEXT + 1];
	char name[LIMIT_NAME + 1];
	struct public_key link_key; /* Curve25519 */
	struct public_key sign_key; /* Ed25519; the node's id comes from it */
	uint8_t proof[DIGEST_SIZE]; /* HMAC: protocol/enrol.h */
	struct inventory inventory;
};

struct msg_enrolled {
	char error[LIMIT_REASON_TEXT + 1]; /* "" : welcome */
	struct bytes identity;		   /* signed identity record */
	struct bytes root;		   /* signed root document */
};

/* ---- operators' channel ---- */

struct msg_control {
	uint64_t id;
	char verb[LIMIT_SHORT_TEXT + 1]; /* "node.ls", "rollout.show", ... */
	char *body;			 /* JSON object */
	struct bytes blob;		 /* object.put, release.put */
};

struct msg_control_reply {
	uint64_t id;
	uint32_t exit_code; /* 0, or product.md's exit codes */
	char error[LIMIT_REASON_TEXT + 1];
	char *body; /* JSON, or NULL */
	struct bytes blob;
};
