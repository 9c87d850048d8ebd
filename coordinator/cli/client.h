/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the coordinator (docs/PROTOCOL.md, "The operators' channel"). The place comes from
 * --coordinator, else from fleet.conf in the operator's folder, else the local socket. Over TCP
 * both sides prove their keys: operator.key here, the server key of fleet.conf there.
 */
#pragma once

#include "coordinator/cli/cli.h"
#include "covey/message.h"

struct client;

struct reply {
	uint64_t id;
	int exit_code; /* of the operator's contract */
	char error[LIMIT_REASON_TEXT + 1];
	json_t *body; /* never NULL: JSON null where there was none */
	struct bytes blob;
};

void reply_free(struct reply *reply); /* safe on a zeroed one */

/* -EHOSTUNREACH-like: every failure means "not reachable" and has its own sentence; a bad
 * fleet.conf or key file is -EINVAL. */
int client_open(const struct cli *cli, struct client **ret_client,
                struct err *err) COVEY_MUST_CHECK;
void client_free(struct client *client);
COVEY_DEFINE_CLEANUP(struct client *, client_free)

/* Sends one request and returns its id; body is taken over, NULL: an empty object. */
int client_send(struct client *client, const char *verb, json_t *body, const void *blob,
                size_t size, uint64_t *ret_id, struct err *err) COVEY_MUST_CHECK;
/* The next answer, of whichever request. -ETIMEDOUT, -ECONNRESET, -EBADMSG. */
int client_receive(struct client *client, uint64_t timeout_ms, struct reply *ret_reply,
                   struct err *err) COVEY_MUST_CHECK;
/* One request and its answer; answers of earlier ones are dropped. wait_ms is added to the usual
 * time (long polls). */
int client_call(struct client *client, const char *verb, json_t *body, const void *blob,
                size_t size, uint64_t wait_ms, struct reply *ret_reply,
                struct err *err) COVEY_MUST_CHECK;

/* How long answers may take from now on. */
void client_set_timeout(struct client *client, uint64_t timeout_ms);

/* The exit code of an answer, held to the contract, with its sentence in cli->err. Everything that
 * was asked with client_call() or client_receive() goes through here. */
int client_reply_code(struct cli *cli, const struct reply *reply);
/* The exit code for what client_*() returned. */
enum exit_code client_exit_code(int r);

/*
 * For verbs: one call on a connection of its own or on `client`. Returns EXIT_DONE with ret_body
 * (owned; may be NULL), or the exit code with the sentence in cli->err.
 */
int client_simple(struct cli *cli, const char *verb, json_t *body, json_t **ret_body);
int client_ask(struct cli *cli, struct client *client, const char *verb, json_t *body,
               const struct bytes *blob, struct reply *ret_reply);

#define AUTO_REPLY COVEY_CLEANUP(reply_free)
static inline void client_json_free(json_t **value)
{
	json_decref(*value);
}
#define AUTO_JSON COVEY_CLEANUP(client_json_free)
