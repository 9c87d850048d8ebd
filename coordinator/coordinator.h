/* SPDX-License-Identifier: Apache-2.0 */
/*
 * THE shell of the coordinator. Each entry point takes one event from outside through the same
 * steps: decode, admit, commit to the store, apply, decide, perform. After a restart the store has
 * all that was ever acknowledged; coordinator_new() replays it and decides again. One thread.
 *
 * Who is at the other end is the transport's word (ZAP's user id), never the message's.
 */
#pragma once

#include "coordinator/judge/lookout.h"
#include "coordinator/store/store.h"
#include "coordinator/world.h"
#include "covey/ids.h"

#include <stdbool.h>

struct coordinator;

enum operator_role { ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN };

struct coordinator_config {
	struct bytes root; /* the signed root document; borrowed during coordinator_new() */
	uint64_t observe_period_ms; /* of nodes' observation records; 0: their default */
	struct lookout_policy drift; /* window 0: the defaults of judge/lookout.h */
};

/* Loads everything from the store, replays, decides. world is copied, store is borrowed and must
 * outlive the coordinator. -EBADMSG: root document or store make no sense; err says which part. */
int coordinator_new(const struct coordinator_config *config,
		    const struct coordinator_world *world, struct store *store,
		    struct coordinator **ret_coordinator, struct err *err) COVEY_MUST_CHECK;
/* Writes the leases that are only in memory, then frees. Skipping it is what a crash does. */
void coordinator_close(struct coordinator *coordinator);
/* Frees without writing anything: a crash, as far as the store is concerned. */
void coordinator_free(struct coordinator *coordinator);
COVEY_DEFINE_CLEANUP(struct coordinator *, coordinator_free)

/* ---- events from outside ---- */

/* One message of a node on the agents' channel; `from` is the address that it came from, without
 * port, "" where that is not known. */
void coordinator_on_agent(struct coordinator *coordinator, const struct node_id *node,
			  const char *from, const void *data, size_t size);
/* One message on the data channel; ret_reply is an encoded msg_object (free data), or empty when
 * the request deserves no answer, or has it through world.send_data. */
void coordinator_on_data(struct coordinator *coordinator, const struct node_id *node,
			 const void *data, size_t size, struct bytes *ret_reply);
/* One message of a stranger at the enrolment socket; `from` is for the audit log. ret_reply is an
 * encoded msg_enrolled, or empty. */
void coordinator_on_enrol(struct coordinator *coordinator, const char *from, const void *data,
			  size_t size, struct bytes *ret_reply);
/* One message of an operator. client: for world.control_reply, which is called now or later, once
 * for each message. who and from are for the audit log: "root via socket",
 * "ci (9f3a...)". */
void coordinator_on_control(struct coordinator *coordinator, uint64_t client,
			    enum operator_role role, const char *who, const char *from,
			    const void *data, size_t size);
/* The time has come (or not: calling early is harmless). */
void coordinator_tick(struct coordinator *coordinator);

/* ---- questions ---- */

/* When coordinator_tick() is wanted next, unix ms; UINT64_MAX: not before the next event. */
uint64_t coordinator_deadline(const struct coordinator *coordinator);
/* For ZAP: the node that has this link key and is not revoked. */
bool coordinator_node_of_key(const struct coordinator *coordinator,
			     const struct public_key *link_key, struct node_id *ret_node);
/* Is this node known and not revoked? Asked on every message: a live link cannot be dropped. */
bool coordinator_admits_node(const struct coordinator *coordinator, const struct node_id *node);
/* Compares memory with what a fresh load of the store gives, and the state machines' invariants:
 * 0, or -EUCLEAN with the sentence. For tests and the simulator; costs a full load. */
int coordinator_check(struct coordinator *coordinator, struct err *err) COVEY_MUST_CHECK;
