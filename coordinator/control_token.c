/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs about join tokens. The secret is shown once, in the join string. */
#include "coordinator/control.h"

#include "base/mem.h"
#include "base/selector.h"
#include "base/str.h"

#include <sodium.h>

enum { TTL_DEFAULT_MS = 3600 * 1000, USES_MAX = LIMIT_FLEET };
static const uint64_t ttl_max_ms = UINT64_C(365) * 24 * 3600 * 1000;

static int check_labels(struct control_call *call, const json_t *labels)
{
	const char *key;
	json_t *value;

	if (!labels)
		return 0;
	if (!json_is_object(labels) || json_object_size(labels) > LIMIT_LABELS)
		return err_set(&call->err, -EINVAL, "`labels` is an object of at most %d labels",
			       LIMIT_LABELS);
	json_object_foreach((json_t *)labels, key, value) {
		const char *text = json_string_value(value);
		int r = text ? selector_check_label(key, text, &call->err)
			     : err_set(&call->err, -EINVAL, "label %.60s: a text is needed", key);

		if (r < 0)
			return -EINVAL;
	}
	return 0;
}

/* Dead tokens go when a new one is made; they stay a while, for answers that say what happened to
 * them. Used ones make room when there are many. */
static bool is_dead(const struct coordinator *c, const struct store_token *token, bool many)
{
	if (token->uses_left == 0 && many)
		return true;
	return token->expires_ms + TTL_DEFAULT_MS < shell_now(c);
}

static int drop_dead(struct control_call *call)
{
	struct coordinator *c = call->c;
	bool many = c->tokens_count >= LIMIT_TOKENS / 2;
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->tokens_count; i++) {
		if (is_dead(c, &c->tokens[i], many))
			r = c->store->ops->token_remove(c->store, c->tokens[i].id, &call->err);
	}
	return r;
}

static void forget_token(struct coordinator *c, size_t at)
{
	free(c->tokens[at].secret.data);
	free(c->tokens[at].labels.data);
	c->tokens[at] = c->tokens[--c->tokens_count];
}

static void forget_dead(struct coordinator *c)
{
	bool many = c->tokens_count >= LIMIT_TOKENS / 2;

	for (size_t i = c->tokens_count; i-- > 0;) {
		if (is_dead(c, &c->tokens[i], many))
			forget_token(c, i);
	}
}

static json_t *show_token(const struct store_token *token)
{
	return json_pack("{ss so so so sb}", "id", token->id, "labels",
			 json_loadb((const char *)token->labels.data, token->labels.size, 0, NULL),
			 "uses_left", json_u64(token->uses_left), "expires_at",
			 json_time(token->expires_ms), "approval", token->approval);
}

static int store_token(struct control_call *call, const struct store_token *token)
{
	struct coordinator *c = call->c;
	int r = shell_begin(c, &call->err);

	if (r < 0)
		return r;
	r = drop_dead(call);
	if (r == 0)
		r = c->store->ops->token_put(c->store, token, &call->err);
	r = control_end(call, r);
	if (r == 0)
		forget_dead(c);
	return r;
}

static int answer_token(struct control_call *call, const struct store_token *token)
{
	struct join_string join = {.server_key = call->c->root.server_key};
	char text[JOIN_STRING_MAX];
	int r;

	STR_CUT(join.endpoint, call->c->root.endpoint);
	STR_CUT(join.token_id, token->id);
	memcpy(join.secret, token->secret.data, TOKEN_SECRET_SIZE);
	r = join_string_format(&join, text);
	sodium_memzero(&join, sizeof(join));
	if (r < 0)
		return err_set(&call->err, r, "the root document's endpoint %s makes no join "
			       "string", call->c->root.endpoint);
	call->answer = show_token(token);
	json_object_set_new(call->answer, "join", json_string(text));
	json_object_set_new(call->answer, "uses", json_u64(token->uses_left));
	sodium_memzero(text, sizeof(text));
	return 0;
}

static void make_token(struct control_call *call, struct store_token *token, uint64_t ttl,
		       uint64_t uses)
{
	struct coordinator *c = call->c;
	const json_t *labels = json_object_get(call->args, "labels");
	uint8_t id[TOKEN_ID_SIZE];
	char *text = labels ? json_dumps(labels, JSON_COMPACT | JSON_SORT_KEYS) : mem_str("{}");

	c->world.random(c->world.user, id, sizeof(id));
	str_hex(token->id, id, sizeof(id));
	token->secret = (struct bytes){mem_alloc(TOKEN_SECRET_SIZE), TOKEN_SECRET_SIZE};
	c->world.random(c->world.user, token->secret.data, TOKEN_SECRET_SIZE);
	token->labels = (struct bytes){(uint8_t *)text, strlen(text)};
	token->uses_left = (uint32_t)uses;
	token->approval = control_bool(call, "approval");
	token->created_ms = shell_now(c);
	token->expires_ms = shell_now(c) + ttl;
}

int verb_token_create(struct control_call *call)
{
	struct coordinator *c = call->c;
	struct store_token token = {0};
	uint64_t ttl = control_u64(call, "ttl_ms", TTL_DEFAULT_MS);
	uint64_t uses = control_u64(call, "uses", 1);
	int r = check_labels(call, json_object_get(call->args, "labels"));

	if (r == 0 && (ttl == 0 || ttl > ttl_max_ms))
		r = err_set(&call->err, -EINVAL, "`ttl_ms` is between 1 ms and 365 days");
	if (r == 0 && (uses == 0 || uses > USES_MAX))
		r = err_set(&call->err, -EINVAL, "`uses` is between 1 and %d", USES_MAX);
	if (r == 0 && c->tokens_count >= LIMIT_TOKENS)
		r = err_set(&call->err, -EDQUOT, "there are %d tokens already: remove some with "
			    "`covey token rm`", LIMIT_TOKENS);
	if (r < 0)
		return r;
	make_token(call, &token, ttl, uses);
	r = store_token(call, &token);
	if (r == 0)
		r = answer_token(call, &token);
	if (r == 0) {
		MEM_GROW(c->tokens, &c->tokens_cap, c->tokens_count);
		c->tokens[c->tokens_count++] = token;
		return 0;
	}
	free(token.secret.data);
	free(token.labels.data);
	return r;
}

int verb_token_ls(struct control_call *call)
{
	call->answer = json_array();
	for (size_t i = 0; i < call->c->tokens_count; i++)
		json_array_append_new(call->answer, show_token(&call->c->tokens[i]));
	return 0;
}

int verb_token_rm(struct control_call *call)
{
	struct coordinator *c = call->c;
	const char *id = NULL;
	size_t at = 0, matches = 0;
	int r = control_need(call, "id", &id);

	if (r < 0)
		return r;
	for (size_t i = 0; i < c->tokens_count; i++) {
		if (str_starts(c->tokens[i].id, id)) {
			at = i;
			matches++;
		}
	}
	if (matches != 1)
		return err_set(&call->err, -ENOENT, matches ? "token %.40s fits %zu of them: write "
			       "more of it" : "there is no token %.40s", id, matches);
	r = shell_begin(c, &call->err);
	if (r == 0)
		r = control_end(call, c->store->ops->token_remove(c->store, c->tokens[at].id,
								  &call->err));
	if (r == 0)
		forget_token(c, at);
	return r;
}
