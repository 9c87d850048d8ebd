/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining. A token is a secret with a short life and a number of uses; who proves it gets a signed
 * identity record and the root document. An answer that was lost may be asked for again: the same
 * keys get the same record without using the token up. Every refusal says which it is, but only to
 * who has shown the secret, except that the token is not known or the secret is wrong.
 */
#include "coordinator/json.h"
#include "coordinator/shell.h"

#include "base/mem.h"
#include "base/selector.h"
#include "base/str.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

enum { MINUTE_MS = 60000, IDENTITY_DOCUMENT_MAX = 32 << 10 };
static const uint64_t identity_life_ms = UINT64_C(5) * 365 * 24 * 3600 * 1000;

/* ---- tokens ---- */

static int load(void *arg, const struct store_token *token)
{
	struct coordinator *c = arg;
	struct store_token copy = *token;

	copy.secret.data = mem_copy(token->secret.data, token->secret.size);
	copy.labels.data = mem_copy(token->labels.data, token->labels.size);
	MEM_GROW(c->tokens, &c->tokens_cap, c->tokens_count);
	c->tokens[c->tokens_count++] = copy;
	return 0;
}

int enrol_load(struct coordinator *c, struct err *err)
{
	return c->store->ops->token_each(c->store, load, c, err);
}

void enrol_free_all(struct coordinator *c)
{
	for (size_t i = 0; i < c->tokens_count; i++) {
		free(c->tokens[i].secret.data);
		free(c->tokens[i].labels.data);
	}
	free(c->tokens);
}

static struct store_token *find_token(struct coordinator *c, const char *id)
{
	for (size_t i = 0; i < c->tokens_count; i++) {
		if (str_equal(c->tokens[i].id, id))
			return &c->tokens[i];
	}
	return NULL;
}

/* ---- the checks ---- */

static bool too_many(struct coordinator *c)
{
	uint64_t minute = shell_now(c) / MINUTE_MS;

	if (minute != c->enrol_minute) {
		c->enrol_minute = minute;
		c->enrol_count = 0;
	}
	return ++c->enrol_count > LIMIT_ENROL_PER_MINUTE;
}

static int check_token(struct coordinator *c, const struct msg_enrol *enrol,
		       struct store_token **ret_token, struct err *err)
{
	struct store_token *token = find_token(c, enrol->token_id);
	uint8_t proof[DIGEST_SIZE];

	if (!token || token->secret.size != TOKEN_SECRET_SIZE)
		return err_set(err, -ENOKEY, "the token is not known to this coordinator (any "
			       "more): make a new one with `covey token create`");
	enrol_proof(proof, token->secret.data, &enrol->link_key, &enrol->sign_key,
		    &c->root.server_key);
	if (!enrol_proof_equal(proof, enrol->proof))
		return err_set(err, -EACCES, "the token's secret is wrong, or the keys were "
			       "changed on the way: copy the join string again");
	*ret_token = token;
	return 0;
}

static int check_token_life(const struct coordinator *c, const struct store_token *token,
			    struct err *err)
{
	char at[STR_TIME_MAX];

	str_format_time(at, token->expires_ms);
	if (token->expires_ms <= shell_now(c))
		return err_set(err, -ETIMEDOUT, "the token expired at %s: make a new one with "
			       "`covey token create`", at);
	if (token->uses_left == 0)
		return err_set(err, -EDQUOT, "the token is used up: make a new one with `covey "
			       "token create`");
	return 0;
}

/* The node that these keys already are; NULL: a new one. -EEXIST: one of them is taken. */
static int check_keys(struct coordinator *c, const struct msg_enrol *enrol,
		      const struct node_id *id, struct shell_node **ret_node, struct err *err)
{
	struct node_id owner;
	struct shell_node *node = agents_find(c, id);
	bool taken = false;

	for (size_t i = 0; !node && !taken && i < c->nodes_count; i++) {
		owner = c->nodes[i]->record.id;
		taken = memcmp(c->nodes[i]->record.link_key.bytes, enrol->link_key.bytes,
			       KEY_SIZE) == 0;
	}
	if (node && node->record.revoked)
		return err_set(err, -EKEYREVOKED,
			       "this node was revoked: give it new keys, or remove it with `covey "
			       "node rm`");
	if (taken || (node && memcmp(node->record.link_key.bytes, enrol->link_key.bytes,
				     KEY_SIZE) != 0))
		return err_set(err, -EEXIST,
			       "node %.*s has one of these keys already: remove it with `covey "
			       "node rm` first", LIMIT_NAME,
			       node ? node->record.name : agents_find(c, &owner)->record.name);
	*ret_node = node;
	return 0;
}

static bool name_taken(const struct coordinator *c, const char *name)
{
	for (size_t i = 0; i < c->nodes_count; i++) {
		if (str_equal(c->nodes[i]->record.name, name))
			return true;
	}
	return false;
}

/* The name that was wished for, or one beside it that is free. */
static void choose_name(const struct coordinator *c, const struct msg_enrol *enrol,
			const struct node_id *id, char dst[LIMIT_NAME + 1])
{
	char hex[NODE_ID_TEXT_MAX], base[LIMIT_NAME + 1];

	node_id_text(hex, id);
	STR_CUT(base, enrol->name);
	if (!name_is_valid(base))
		snprintf(base, sizeof(base), "node-%.8s", hex);
	str_cut(dst, LIMIT_NAME + 1, base);
	for (unsigned i = 2; name_taken(c, dst); i++)
		snprintf(dst, LIMIT_NAME + 1, "%.50s-%u", base, i);
}

/* ---- joining ---- */

static size_t token_labels(const struct store_token *token, struct label labels[LIMIT_LABELS])
{
	json_t *object = json_loadb((const char *)token->labels.data, token->labels.size, 0, NULL);
	size_t count = 0;
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) {
		if (count == LIMIT_LABELS || !json_is_string(value))
			continue;
		STR_CUT(labels[count].key, key);
		STR_CUT(labels[count].value, json_string_value(value));
		count++;
	}
	json_decref(object);
	return count;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct label *)a)->key, ((const struct label *)b)->key);
}

static int store_join(struct coordinator *c, const struct store_node *record,
		      const struct store_token *token, struct err *err)
{
	int r = shell_begin(c, err);

	if (r < 0)
		return r;
	r = c->store->ops->node_put(c->store, record, err);
	if (r == 0)
		r = c->store->ops->token_put(c->store, token, err);
	return shell_end(c, r, err);
}

static int join(struct coordinator *c, const char *from, const struct msg_enrol *enrol,
		struct store_token *token, const struct node_id *id, struct shell_node **ret_node,
		struct err *err)
{
	struct label labels[LIMIT_LABELS];
	struct store_token used = *token;
	struct store_node record = {.id = *id,
				    .link_key = enrol->link_key,
				    .sign_key = enrol->sign_key,
				    .pending = token->approval,
				    .joined_ms = shell_now(c),
				    .labels = labels,
				    .labels_count = token_labels(token, labels)};
	int r = check_token_life(c, token, err);

	if (r == 0 && c->nodes_count >= LIMIT_FLEET)
		r = err_set(err, -EDQUOT, "this coordinator has %d nodes, which is its limit",
			    LIMIT_FLEET);
	if (r < 0)
		return r;
	qsort(labels, record.labels_count, sizeof(labels[0]), by_key);
	choose_name(c, enrol, id, record.name);
	used.uses_left--;
	r = codec_encode(&codec_inventory, &enrol->inventory, LIMIT_ENROL_MESSAGE,
			 &record.inventory, err);
	if (r == 0)
		r = store_join(c, &record, &used, err);
	if (r == 0) {
		token->uses_left = used.uses_left;
		*ret_node = agents_insert(c, &record);
		c->fleet_changed = c->dirty = true;
		events_add(c, "node joined", NULL, NULL, record.name, "from %s with token %s%s",
			   from, token->id, record.pending ? "; waits for approval" : "");
	}
	free(record.inventory.data);
	return r;
}

int enrol_identity(struct coordinator *c, const struct shell_node *node, uint64_t life_ms,
		   struct bytes *ret_document, struct err *err)
{
	const struct store_node *record = &node->record;
	struct identity identity = {.id = record->id,
				    .link_key = record->link_key,
				    .sign_key = record->sign_key,
				    .labels = record->labels,
				    .labels_count = record->labels_count,
				    .issued_unix_ms = shell_now(c),
				    .expires_unix_ms = shell_now(c) + life_ms};
	struct envelope envelope = {0};
	int r;

	STR_CUT(identity.name, record->name);
	r = codec_encode(&codec_identity, &identity, IDENTITY_DOCUMENT_MAX, &envelope.payload, err);
	if (r == 0)
		r = c->world.sign_identity(c->world.user, &envelope, err);
	if (r == 0)
		r = codec_encode(&codec_envelope, &envelope, IDENTITY_DOCUMENT_MAX, ret_document,
				 err);
	codec_free(&codec_envelope, &envelope);
	return r;
}

static int enrol_node(struct coordinator *c, const char *from, const struct msg_enrol *enrol,
		      struct bytes *ret_identity, struct err *err)
{
	struct store_token *token = NULL;
	struct shell_node *node = NULL;
	struct node_id id;
	int r;

	if (too_many(c))
		return err_set(err, -EAGAIN, "too many nodes try to join: try again in a minute");
	if (enrol->protocol_version < PROTOCOL_VERSION_OLDEST)
		return err_set(err, -EPROTONOSUPPORT,
			       "this coordinator no longer speaks the agent's protocol: upgrade "
			       "the agent");
	r = check_token(c, enrol, &token, err);
	if (r < 0)
		return r;
	node_id_of_key(&id, &enrol->sign_key);
	r = check_keys(c, enrol, &id, &node, err);
	if (r == 0 && !node)
		r = join(c, from, enrol, token, &id, &node, err);
	return r == 0 ? enrol_identity(c, node, identity_life_ms, ret_identity, err) : r;
}

void coordinator_on_enrol(struct coordinator *c, const char *from, const void *data, size_t size,
			  struct bytes *ret_reply)
{
	struct msg_enrolled enrolled = {0};
	struct message message;
	struct err err = {0};
	int r = message_decode(data, size, CHANNEL_ENROL, FROM_STRANGER, &message, NULL);

	*ret_reply = (struct bytes){0};
	if (r < 0)
		return;
	r = enrol_node(c, from, message.body, &enrolled.identity, &err);
	if (r < 0) {
		STR_CUT(enrolled.error, err_text(&err, r));
	}
	if (r < 0 && r != -EAGAIN) { /* a flood must not fill the log */
		events_add(c, "join refused", NULL, NULL, NULL, "from %s: %s", from,
			   enrolled.error);
	} else if (r == 0) {
		enrolled.root = c->root_envelope;
	}
	r = message_encode(MESSAGE_ENROLLED, &enrolled, ret_reply, &err);
	if (r < 0)
		*ret_reply = (struct bytes){0};
	free(enrolled.identity.data);
	message_free(&message);
	shell_settle(c);
}
