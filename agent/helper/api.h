/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one interface between the unprivileged agent and its privileged helper: packets on a UNIX
 * SOCK_SEQPACKET socket, each one encoded struct. The agent names things (deployment, colour,
 * release digest); it never sends paths, container specs, mounts or firewall rules. The helper
 * takes those from its own configuration and from the signed manifest, whose signatures it checks
 * against the pinned root document itself: an agent that is taken over cannot run unsigned code.
 *
 * Every request may be sent again at any time: it says what must be true afterwards. Requests of
 * one slot are carried out in order, those of different slots side by side.
 */
#pragma once

#include "covey/ids.h"
#include "protocol/codec.h"

enum helper_op {
	HELPER_HELLO,	   /* -> runtime name and version, protocol version */
	HELPER_PREFLIGHT,  /* can this release run here, in this deployment? -> code, check, text */
	HELPER_UNPACK,	   /* layers of a release -> verified root file system; model files sealed */
	HELPER_START,	   /* slot runs this release; -> address. Running already: nothing happens */
	HELPER_STOP,	   /* slot is empty afterwards: processes, mounts, network namespace */
	HELPER_TRAFFIC,	   /* the complete map: host port -> slot; nothing else is forwarded */
	HELPER_LIST,	   /* -> slots as they are, for adoption after a restart */
	HELPER_EXEC,	   /* runs the release's health command in the slot -> exit code */
	HELPER_LOGS,	   /* -> last lines of the slot's container */
	HELPER_CONNECTIONS, /* -> established connections that clients hold to the slot */
	HELPER_PRUNE,	   /* forget unpacked releases that are not in `keep` */
	HELPER_CLOSE,	   /* resets what clients still hold to a slot that drained -> connections */
	HELPER_OP_COUNT
};

enum helper_event { HELPER_REPLY, HELPER_EXITED, HELPER_EVENT_COUNT };

enum helper_slot_state { HELPER_SLOT_RUNNING, HELPER_SLOT_EXITED, HELPER_SLOT_BROKEN,
			 HELPER_SLOT_STATE_COUNT };

struct helper_route { /* one entry of the traffic map */
	char deployment[LIMIT_NAME + 1];
	uint32_t port; /* clients' port on the node */
	enum colour colour;
	struct digest release; /* must be what runs in that slot */
};

struct digest_item {
	struct digest digest;
};

struct helper_request {
	uint64_t id; /* the agent's, echoed */
	enum helper_op op;
	char deployment[LIMIT_NAME + 1];
	enum colour colour;
	struct digest release;
	uint64_t attempt;
	bool kill;	   /* STOP: at once, connections are reset (rollback) */
	uint64_t grace_ms; /* STOP: from SIGTERM to SIGKILL */
	uint32_t lines;	   /* LOGS */
	struct helper_route *routes; /* TRAFFIC: complete list */
	size_t routes_count;
	struct digest_item *keep; /* PRUNE */
	size_t keep_count;
};

struct helper_slot {
	char deployment[LIMIT_NAME + 1];
	enum colour colour;
	struct digest release;
	enum helper_slot_state state;
	uint32_t exit_code;
	char address[64]; /* IPv4 of the slot; "" with network: host */
	uint32_t probe_port; /* where probes reach the server: container port, or PORT on the host */
};

struct helper_reply {
	uint64_t id; /* 0 with event EXITED */
	enum helper_event event;
	uint32_t error;			    /* 0 or a positive errno */
	char check[LIMIT_SHORT_TEXT + 1];   /* which check failed: disk, memory, arch, port, ... */
	char text[LIMIT_REASON_TEXT + 1];   /* one sentence */
	char runtime[LIMIT_SHORT_TEXT + 1]; /* HELLO */
	uint32_t exit_code;		    /* EXEC */
	uint64_t connections;		    /* CONNECTIONS */
	char *logs;			    /* LOGS, and the tail with EXITED */
	struct helper_slot *slots;	    /* START, LIST, EXITED */
	size_t slots_count;
};

extern const struct codec_struct codec_helper_request, codec_helper_reply;
