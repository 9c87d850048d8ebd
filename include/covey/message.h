/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of the five channels (docs/PROTOCOL). A message on the wire is
 * [type, body]; body is a map from field numbers to values (protocol/codec.h), so that an older
 * peer skips what it does not know. Heap members belong to the struct: message_free().
 */
#pragma once

#include "covey/evidence.h"
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
	X(OBSERVED, msg_observed, 6, FROM_AGENT, CHANNEL_AGENTS, LIMIT_AGENT_MESSAGE)              \
	X(PEER_REPORT, msg_peer_report, 7, FROM_AGENT, CHANNEL_AGENTS, LIMIT_AGENT_MESSAGE)        \
	X(DESIRED, desired_state, 16, FROM_COORDINATOR, CHANNEL_AGENTS, LIMIT_DESIRED_MESSAGE)     \
	X(ACK, msg_ack, 17, FROM_COORDINATOR, CHANNEL_AGENTS, LIMIT_DESIRED_MESSAGE)               \
	X(REFUSED, msg_refused, 18, FROM_COORDINATOR, CHANNEL_AGENTS, LIMIT_DESIRED_MESSAGE)       \
	X(LOGS_WANTED, msg_logs_wanted, 19, FROM_COORDINATOR, CHANNEL_AGENTS,                      \
	  LIMIT_DESIRED_MESSAGE)                                                                   \
	X(OBSERVED_ACK, msg_observed_ack, 20, FROM_COORDINATOR, CHANNEL_AGENTS,                    \
	  LIMIT_DESIRED_MESSAGE)                                                                   \
	X(BASELINE, msg_baseline, 21, FROM_COORDINATOR, CHANNEL_AGENTS, LIMIT_DESIRED_MESSAGE)     \
	X(NEIGHBOURS, msg_neighbours, 22, FROM_COORDINATOR, CHANNEL_AGENTS, LIMIT_DESIRED_MESSAGE) \
	X(GET, msg_get, 32, FROM_AGENT, CHANNEL_DATA, LIMIT_DATA_REQUEST)                          \
	X(OBJECT, msg_object, 33, FROM_COORDINATOR, CHANNEL_DATA, LIMIT_DATA_MESSAGE)              \
	X(SEED_OFFER, msg_offer, 34, FROM_AGENT, CHANNEL_DATA, LIMIT_OFFER)                        \
	X(SEED_REQUEST, msg_request, 35, FROM_AGENT, CHANNEL_DATA, LIMIT_DATA_REQUEST)             \
	X(SEED_CANCEL, msg_request, 36, FROM_AGENT, CHANNEL_DATA, LIMIT_DATA_REQUEST)              \
	X(SEED_TAKEN, msg_taken, 37, FROM_AGENT, CHANNEL_DATA, LIMIT_DATA_REQUEST)                 \
	X(SEED_CHUNK, msg_chunk, 38, FROM_COORDINATOR, CHANNEL_DATA, LIMIT_CHUNK_MESSAGE)          \
	X(SEED_REFUSE, msg_refuse, 39, FROM_COORDINATOR, CHANNEL_DATA, LIMIT_DATA_REQUEST)         \
	X(ENROL, msg_enrol, 48, FROM_STRANGER, CHANNEL_ENROL, LIMIT_ENROL_MESSAGE)                 \
	X(ENROLLED, msg_enrolled, 49, FROM_COORDINATOR, CHANNEL_ENROL, LIMIT_ENROL_MESSAGE)        \
	X(CONTROL, msg_control, 64, FROM_OPERATOR, CHANNEL_OPERATORS, LIMIT_CONTROL_MESSAGE)       \
	X(CONTROL_REPLY, msg_control_reply, 65, FROM_COORDINATOR, CHANNEL_OPERATORS,               \
	  LIMIT_CONTROL_MESSAGE)                                                                   \
	X(PEER_HELLO, msg_peer_hello, 80, FROM_PEER, CHANNEL_PEERS, LIMIT_PEER_HELLO)              \
	X(PEER_OFFER, msg_offer, 81, FROM_PEER, CHANNEL_PEERS, LIMIT_OFFER)                        \
	X(PEER_HAVE, msg_have, 82, FROM_PEER, CHANNEL_PEERS, LIMIT_PEER_NEWS)                      \
	X(PEER_REQUEST, msg_request, 83, FROM_PEER, CHANNEL_PEERS, LIMIT_PEER_NEWS)                \
	X(PEER_CANCEL, msg_request, 84, FROM_PEER, CHANNEL_PEERS, LIMIT_PEER_NEWS)                 \
	X(PEER_TAKEN, msg_taken, 85, FROM_PEER, CHANNEL_PEERS, LIMIT_PEER_NEWS)                    \
	X(PEER_CHUNK, msg_chunk, 86, FROM_PEER, CHANNEL_PEERS, LIMIT_CHUNK_MESSAGE)                \
	X(PEER_REFUSE, msg_refuse, 87, FROM_PEER, CHANNEL_PEERS, LIMIT_PEER_NEWS)

enum message_sender { FROM_AGENT, FROM_COORDINATOR, FROM_STRANGER, FROM_OPERATOR, FROM_PEER };
enum message_channel { CHANNEL_AGENTS, CHANNEL_DATA, CHANNEL_ENROL, CHANNEL_OPERATORS,
		       CHANNEL_PEERS };

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
	struct observe_order observe;
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

struct baseline_proposal { /* learned from a server's first clean observations */
	char deployment[LIMIT_NAME + 1];
	struct digest release;
	struct bytes baseline; /* encoded struct baseline */
};

/* Oldest records first, from the oldest that is not acknowledged: none is sent before those before
 * it, and none that was sent once is changed. */
struct msg_observed {
	struct observation_record *records;
	size_t records_count;
	struct baseline_proposal *proposals;
	size_t proposals_count;
};

struct msg_observed_ack { /* every record up to this one, by (boot epoch, sequence), is committed */
	uint64_t boot_epoch, sequence;
};

struct msg_baseline { /* answers records that were counted against another one than ordered */
	char deployment[LIMIT_NAME + 1];
	struct bytes baseline; /* encoded; its digest is observe_order.baseline */
};

/* Who exchanges chunks with whom is the coordinator's word; what goes is between the nodes. */

struct release_item { /* one release of a list */
	struct digest digest;
};

enum peer_fault { /* what a node has against a neighbour */
	PEER_UNREACHABLE, /* one attempt came to nothing */
	PEER_NOT_PROVED,  /* it did not prove that it is the neighbour */
	PEER_SENT_BAD,	  /* bytes that are not what was asked for */
	PEER_LIED,	  /* it said that it has what it then refused, or contradicted itself */
	PEER_FAULT_COUNT
};

struct peer_complaint {
	struct node_id node;
	enum peer_fault fault;
	char text[LIMIT_SHORT_TEXT + 1];
};

struct msg_peer_report { /* whole truth: after SUBSCRIBE, and again when it has changed */
	char address[LIMIT_SHORT_TEXT + 1]; /* declared; "": where the coordinator sees the node */
	uint32_t port;			    /* 0: nobody may connect to it */
	char text[LIMIT_SHORT_TEXT + 1];    /* why not, for people */
	struct peer_complaint *complaints;
	size_t complaints_count;
	bool off; /* it takes part in no exchange: its administrator's wish, or not at this hour */
};

struct msg_neighbour {
	struct node_id id;
	char name[LIMIT_NAME + 1];
	struct public_key link_key;
	char endpoint[LIMIT_ENDPOINT + 1]; /* tcp://host:port; needed where dial is set */
	bool dial;		       /* the receiver of this connects; else the other does */
	bool far;		       /* behind a thin link: asked only in need */
	struct release_item *releases; /* that the two may give each other */
	size_t releases_count;
};

struct msg_neighbours { /* complete: whoever is not in it is a stranger from now on */
	struct bytes identity; /* fresh record of the node itself, to be shown to neighbours */
	struct msg_neighbour *neighbours;
	size_t neighbours_count;
	bool all; /* everybody who exchanges is in it: no chunk comes over several nodes */
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

/* ---- chunks by number: peers' channel, and the data channel (SEED_...) ----
 *
 * A chunk's number is its place in the release's list (protocol/chunk_list.h: blobs of the manifest
 * and chunks of their indices in order, each digest once). Between two nodes there are two
 * connections, both made by the same one: on the first go all messages but PEER_CHUNK, which alone
 * go on the second, so that news never wait behind data.
 */

struct msg_peer_hello { /* the first message each way, on both connections */
	uint32_t protocol_version;
	struct bytes identity; /* signed record; its link key is the connection's */
	uint64_t session;      /* the same on both connections of a pair, drawn by who connects */
	bool data;	       /* this is the second connection */
};

struct msg_offer { /* all that the sender has of a release: takes the place of older news */
	struct digest release;
	uint32_t chunks;     /* of the release: both sides must count alike */
	struct bytes bitmap; /* a bit for each chunk, least significant first; empty: none */
	bool first;	     /* SEED_OFFER: the first of this connection; `taken` begins at 0 */
};

struct chunk_run {
	uint32_t first, count;
};

struct msg_have { /* more of it */
	struct digest release;
	struct chunk_run *runs;
	size_t runs_count;
};

struct msg_request { /* also to cancel one: what is on its way may still come */
	struct digest release;
	uint32_t chunk;
	bool any;	/* SEED_REQUEST: whichever the origin has not given out yet; chunk is 0 */
	uint64_t taken; /* as in msg_taken */
	bool behind;	/* SEED_REQUEST: it has much that no neighbour took yet */
	bool takes_coded; /* the chunk's data may be coded (protocol/coding/coding.h) */
};

struct msg_taken { /* bytes of chunks that came over this connection since it was made */
	uint64_t taken;
};

struct msg_chunk { /* protocol/chunk_data.h: written and read without a copy */
	struct digest release;
	uint32_t chunk;
	struct bytes data;
	bool coded; /* `taken` counts what the data stands for */
};

enum refusal {
	REFUSAL_MISSING,  /* it does not have the chunk */
	REFUSAL_RELEASE,  /* the asker may not have the release, or it has nothing of it */
	REFUSAL_BUSY,	  /* more is asked for than was agreed */
	REFUSAL_CLOSED,	  /* it does not serve now: metered, or outside of its window */
	REFUSAL_STRANGER, /* it did not prove who it is: the connection is of no use */
	REFUSAL_ALL_OUT,  /* SEED_REFUSE: every chunk is in the fleet, ask for one by its number */
	REFUSAL_LATER,	  /* SEED_REFUSE: the chunk is on its way into the node's site */
	REFUSAL_COUNT
};

struct msg_refuse {
	enum refusal reason;
	struct digest release; /* zero with STRANGER */
	uint32_t chunk;
	bool any;	/* answers a request for any */
	bool neighbour; /* ALL_OUT: the origin is one neighbour among others; else a reserve */
	char text[LIMIT_SHORT_TEXT + 1];
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
