/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A coordinator in a world of memory and virtual time, with nodes that do what they are told and
 * talk to it in bytes. Everything goes through coordinator.h's entry points.
 */
#pragma once

#include "coordinator/coordinator.h"
#include "protocol/message.h"

#include <jansson.h>

enum { FAKE_NODES_MAX = 32, FAKE_CLIENTS_MAX = 64 };

struct fake_node {
	struct node_id id;
	char name[LIMIT_NAME + 1];
	struct public_key link_key, sign_key;
	bool off;  /* hears and says nothing */
	bool lazy; /* hears what it must do, and leaves it */
	bool refused;
	uint64_t boot_epoch, sequence;
	struct desired_state desired; /* as last told; owned */
	size_t desired_count;	      /* DESIRED messages so far */
	struct node_status status;    /* owned */
	bool baking[LIMIT_DEPLOYMENTS_PER_NODE];
	uint64_t bake_ends_ms[LIMIT_DEPLOYMENTS_PER_NODE];
	struct digest vetoed; /* rolled back in attempt `vetoed_attempt` */
	uint64_t vetoed_attempt;
	uint64_t beat_ms; /* next heartbeat */
	struct msg_ack ack;
	struct msg_observed_ack observed;
	struct bytes baseline; /* of the newest BASELINE; owned */
	struct msg_neighbours neighbours; /* as last told; owned */
	size_t neighbours_count;	  /* NEIGHBOURS messages so far */
};

struct fake_object {
	struct digest digest;
	struct bytes data;
	uint64_t changed_ms;
};

struct packet {
	struct node_id node;
	struct bytes data;
};

struct fixture {
	struct store *store;
	struct coordinator *coordinator;
	struct coordinator_config config;
	struct public_key server_key;
	uint8_t sign_secret[64];
	struct public_key sign_public;
	uint64_t now_ms, armed_ms, random;
	struct fake_object objects[256];
	size_t objects_count;
	struct packet queue[4096];
	struct packet data[64]; /* sent over the data channel by world.send_data; newest at the end */
	size_t data_count;
	bool data_fails;
	size_t queue_count;
	struct fake_node nodes[FAKE_NODES_MAX];
	size_t nodes_count;
	struct digest bad; /* nodes fail this release in its bake */
	char *hooked; /* evidence that was last handed to the hook; owned */
	int hooks;
	bool hook_is_deaf;
	bool disk_full;
	/* newest control reply */
	uint64_t client, replies;
	struct msg_control_reply reply; /* owned */
	uint64_t reply_client;
	json_t *body;
};

struct fixture *fixture_new(const char *database); /* NULL: in memory */
void fixture_free(struct fixture *f);
/* The coordinator forgets everything that is not in the store; the store stays open. */
void fixture_crash(struct fixture *f);
void fixture_start(struct fixture *f);

/* Sends what the coordinator said to the nodes, and what they answer, until all is quiet. */
void fixture_deliver(struct fixture *f);
/* Time passes, second by second, with heartbeats, bakes and ticks. */
void fixture_pass(struct fixture *f, uint64_t ms);

/* Asks a verb as `role`; the exit code. f->body and f->reply hold the answer until the next one.
 * body: stolen, may be NULL. -1: no answer yet. */
int fixture_ask(struct fixture *f, enum operator_role role, const char *verb, json_t *body,
		const struct bytes *blob);
int fixture_admin(struct fixture *f, const char *verb, json_t *body);
const char *fixture_text(const json_t *object, const char *path); /* "reason.text"; "" */

/* Joins through a fresh token. labels: a JSON object, stolen; may be NULL. */
struct fake_node *fixture_join(struct fixture *f, const char *name, json_t *labels);
/* The bytes of an enrolment request with these keys and this join string. */
struct bytes fixture_enrol_request(const char *join, const char *name,
				   const struct public_key *link_key,
				   const struct public_key *sign_key);
struct fake_node *fixture_node(struct fixture *f, const char *name);

/* Pushes model@version with `files` distinct one-chunk files; its digest. */
struct digest fixture_push(struct fixture *f, const char *model, const char *version);
/* A signed manifest, not pushed. key NULL: the fleet's own. */
struct bytes fixture_manifest(struct fixture *f, const char *model, const char *version,
			      bool put_objects, const void *other_key);
/* A canary of one node, then the rest; bakes of 10 s. */
void fixture_spec(struct deployment_spec *spec, const char *name, const char *model,
		  const char *version);
int fixture_apply(struct fixture *f, const struct deployment_spec *spec, bool supersede,
		  bool allow_removal);
/* f->body of rollout.show; its state. */
const char *fixture_state(struct fixture *f, const char *rollout);
void fixture_send(struct fixture *f, struct fake_node *node, enum message_type type,
		  const void *body);
/* A lazy node does at last what it was told. */
void fixture_obey(struct fixture *f, struct fake_node *node);
void fixture_send_status(struct fixture *f, struct fake_node *node);
/* A message on the data channel that is answered through world.send_data, if at all. */
void fixture_send_data(struct fixture *f, struct fake_node *node, enum message_type type,
		       const void *body);
