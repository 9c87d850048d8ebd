/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests carry ids and the coordinator may answer them in any order: object uploads keep a few
 * under way, everything else asks one thing at a time. An answer is bounded and typed by
 * message_decode() before jansson sees its text.
 */
#include "coordinator/cli/client.h"
#include "base/mem.h"
#include "coordinator/cli/config.h"
#include "protocol/enrol.h"
#include "protocol/message.h"
#include "protocol/transport/zclient.h"

#include <string.h>

enum { CONNECT_MS = 10000, ANSWER_MS = 30000 };

struct client {
	struct zclient *link;
	uint64_t next_id;
	uint64_t timeout_ms;
};

void reply_free(struct reply *reply)
{
	json_decref(reply->body);
	free(reply->blob.data);
	*reply = (struct reply){0};
}

/* ---- where to ---- */

static int choose_place(const struct cli *cli, struct fleet_config *fleet, bool *ret_fleet,
                        char endpoint[LIMIT_ENDPOINT + 1], struct err *err)
{
	AUTO_FREE char *path = cli_home_file(cli, CONFIG_FLEET);
	const char *given = cli->options.coordinator;
	int r = config_load(path, fleet, err);

	if (r < 0 && r != -ENOENT)
		return r;
	*ret_fleet = r == 0;
	if (!given)
		given = *ret_fleet ? fleet->endpoint : CONFIG_LOCAL_SOCKET;
	err->text[0] = 0;
	if (str_starts(given, "tcp://"))
		return endpoint_channel(given, PORT_OFFSET_OPERATORS, endpoint, err);
	if (!str_starts(given, "ipc://"))
		return err_set(err, -EINVAL,
		               "--coordinator does not take `%s`; write "
		               "ipc:///run/covey/coordinator/control.sock or tcp://HOST:PORT",
		               given);
	if (str_set(endpoint, LIMIT_ENDPOINT + 1, given) < 0)
		return err_set(err, -EINVAL, "--coordinator: `%s` is too long", given);
	return 0;
}

static int load_key(const struct cli *cli, bool have_fleet, struct link_key *key, struct err *err)
{
	AUTO_FREE char *fleet = cli_home_file(cli, CONFIG_FLEET);
	AUTO_FREE char *path = cli_home_file(cli, CONFIG_OPERATOR_KEY);

	if (!have_fleet)
		return err_set(err, -EINVAL,
		               "%s is missing, so the coordinator's key is not known; copy it from "
		               "the folder in which `covey init` was run, or set COVEY_HOME",
		               fleet);
	return keyfile_load_link(path, key, err);
}

/* The transport says what happened; what to do next is known here. */
static int advise(const struct cli *cli, int r, const struct link_key *key, struct err *err)
{
	AUTO_FREE char *fleet = cli_home_file(cli, CONFIG_FLEET);
	char said[ERR_TEXT_MAX], mine[KEY_TEXT_MAX];

	memcpy(said, err->text, sizeof(said));
	public_key_text(mine, &key->public_key);
	switch (r) {
	case -ECONNREFUSED:
	case -ETIMEDOUT:
		return err_set(err, r,
		               "%.300s; is covey-coordinator running, and is --coordinator "
		               "(COVEY_COORDINATOR) right?",
		               said);
	case -EACCES:
		return err_set(err, r, "%.300s; become root, or a member of the socket's group",
		               said);
	case -EKEYREJECTED:
		return err_set(err, r,
		               "%.200s; ask its administrator for the line `operator %s NAME` in "
		               "the coordinator's file `operators`",
		               said, mine);
	case -EPROTO:
		return err_set(
		    err, r, "%.300s; compare server_key in %.150s with the coordinator's link.key",
		    said, fleet);
	default:
		return r;
	}
}

int client_open(const struct cli *cli, struct client **ret_client, struct err *err)
{
	COVEY_CLEANUP(link_key_wipe) struct link_key key = {0};
	struct client *client = mem_alloc(sizeof(*client));
	char endpoint[LIMIT_ENDPOINT + 1];
	struct fleet_config fleet = {0};
	struct zclient_config config = {.endpoint = endpoint,
	                                .max_message_size = LIMIT_CONTROL_MESSAGE};
	bool have_fleet = false;
	int r = choose_place(cli, &fleet, &have_fleet, endpoint, err);

	if (r == 0 && str_starts(endpoint, "tcp://")) {
		r = load_key(cli, have_fleet, &key, err);
		r = r < 0 ? -EINVAL : 0;
		config.key = &key;
		config.server_key = &fleet.server_key;
	}
	client->next_id = 1;
	client->timeout_ms = cli->options.timeout_ms ? cli->options.timeout_ms : ANSWER_MS;
	if (r == 0)
		r = zclient_new(NULL, &config,
		                client->timeout_ms < CONNECT_MS ? client->timeout_ms : CONNECT_MS,
		                &client->link, err);
	if (r < 0) {
		r = advise(cli, r, &key, err);
		free(client);
		return r;
	}
	*ret_client = client;
	return 0;
}

void client_free(struct client *client)
{
	if (!client)
		return;
	zclient_free(client->link);
	free(client);
}

void client_set_timeout(struct client *client, uint64_t timeout_ms)
{
	client->timeout_ms = timeout_ms;
}

/* ---- requests ---- */

int client_send(struct client *client, const char *verb, json_t *body, const void *blob,
                size_t size, uint64_t *ret_id, struct err *err)
{
	AUTO_JSON json_t *object = body ? body : json_object();
	AUTO_FREE char *text = json_dumps(object, JSON_COMPACT);
	struct msg_control message = {.id = client->next_id, .body = text};
	struct bytes data = {0};
	int r;

	if (!text || STR_SET(message.verb, verb) < 0)
		return err_set(err, -EINVAL, "the request %s cannot be written", verb);
	/* only read: the cast takes the blob's const away */
	message.blob = (struct bytes){(uint8_t *)(uintptr_t)blob, size};
	r = message_encode(MESSAGE_CONTROL, &message, &data, err);
	if (r < 0)
		return r;
	r = zclient_send(client->link, data.data, data.size, client->timeout_ms, err);
	free(data.data);
	if (r == 0)
		*ret_id = client->next_id++;
	return r;
}

static int take_reply(struct msg_control_reply *message, struct reply *ret_reply, struct err *err)
{
	struct reply reply = {.id = message->id, .exit_code = (int)message->exit_code};
	json_error_t where;

	reply.body = message->body && *message->body
	                 ? json_loads(message->body, JSON_DECODE_ANY, &where)
	                 : json_null();
	if (!reply.body)
		return err_set(err, -EBADMSG, "the coordinator's answer is not JSON: %s",
		               where.text);
	memcpy(reply.error, message->error, sizeof(reply.error));
	reply.blob = message->blob;
	message->blob = (struct bytes){0};
	*ret_reply = reply;
	return 0;
}

int client_receive(struct client *client, uint64_t timeout_ms, struct reply *ret_reply,
                   struct err *err)
{
	struct message message = {0};
	struct bytes data = {0};
	int r = zclient_receive(client->link, timeout_ms, &data, err);

	if (r < 0)
		return r;
	r = message_decode(data.data, data.size, CHANNEL_OPERATORS, FROM_COORDINATOR, &message,
	                   err);
	free(data.data);
	if (r < 0)
		return err_prefix(err, r, "the coordinator's answer makes no sense");
	r = take_reply(message.body, ret_reply, err);
	message_free(&message);
	return r;
}

int client_call(struct client *client, const char *verb, json_t *body, const void *blob,
                size_t size, uint64_t wait_ms, struct reply *ret_reply, struct err *err)
{
	uint64_t id = 0;
	int r = client_send(client, verb, body, blob, size, &id, err);

	while (r == 0) {
		struct reply reply = {0};

		r = client_receive(client, client->timeout_ms + wait_ms, &reply, err);
		if (r == 0 && reply.id == id) {
			*ret_reply = reply;
			return 0;
		}
		reply_free(&reply);
	}
	return r;
}

/* ---- for verbs ---- */

enum exit_code client_exit_code(int r)
{
	switch (r) {
	case -EINVAL:
		return EXIT_USAGE;
	case -EBADMSG:
	case -EMSGSIZE:
	case -EPROTONOSUPPORT:
		return EXIT_ERROR;
	default:
		return EXIT_UNREACHABLE;
	}
}

/* The coordinator's word, held to the contract. */
int client_reply_code(struct cli *cli, const struct reply *reply)
{
	if (reply->exit_code == EXIT_DONE)
		return EXIT_DONE;
	if (reply->exit_code < 0 || reply->exit_code > EXIT_TIMEOUT)
		return cli_fail(cli, EXIT_ERROR, "the coordinator answered with code %d: %s",
		                reply->exit_code, reply->error);
	return cli_fail(cli, (enum exit_code)reply->exit_code, "%s",
	                reply->error[0] ? reply->error
	                                : "the coordinator refused without a reason");
}

int client_ask(struct cli *cli, struct client *client, const char *verb, json_t *body,
               const struct bytes *blob, struct reply *ret_reply)
{
	struct reply reply = {0};
	int r = client_call(client, verb, body, blob ? blob->data : NULL, blob ? blob->size : 0, 0,
	                    &reply, &cli->err);

	if (r < 0)
		return (int)client_exit_code(r);
	r = client_reply_code(cli, &reply);
	if (r == EXIT_DONE)
		*ret_reply = reply;
	else
		reply_free(&reply);
	return r;
}

int client_simple(struct cli *cli, const char *verb, json_t *body, json_t **ret_body)
{
	COVEY_CLEANUP(client_free_p) struct client *client = NULL;
	AUTO_JSON json_t *request = body;
	AUTO_REPLY struct reply reply = {0};
	int r = client_open(cli, &client, &cli->err);

	if (r < 0)
		return (int)client_exit_code(r);
	r = client_ask(cli, client, verb, json_incref(request), NULL, &reply);
	if (r == EXIT_DONE && ret_body)
		*ret_body = json_incref(reply.body);
	return r;
}
