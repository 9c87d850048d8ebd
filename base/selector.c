/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One recursive-descent walk over the text serves both callers: with a visitor it matches, without
 * one it only checks. A selector is a comma-separated conjunction of requirements; the walk yields
 * one requirement at a time as slices of the text, so nothing is copied and nothing is allocated.
 *
 * Source of the grammar: Kubernetes, "Labels and Selectors" (apimachinery/pkg/labels). Left out are
 * the numeric operators `<` and `>`; added is the word "all" for the selector that Kubernetes
 * writes as the empty text, because a forgotten field must not select the whole fleet.
 */
#include "base/selector.h"

#include <string.h>

enum { NAME_MAX_LENGTH = 63 };

enum operator{ OP_EQUAL, OP_NOT_EQUAL, OP_IN, OP_NOT_IN, OP_EXISTS, OP_ABSENT };

struct slice {
	const char *at;
	size_t size;
};

struct requirement {
	struct slice key;
	enum operator op;
	struct slice value; /* EQUAL, NOT_EQUAL */
	const char *set;    /* IN, NOT_IN: the text after the opening bracket */
};

struct walk {
	const char *text;
	const char *at;
	struct err *err;
};

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_key_char(char c)
{
	return is_alnum(c) || c == '-' || c == '_' || c == '.' || c == '/';
}

static bool is_value_char(char c)
{
	return is_alnum(c) || c == '-' || c == '_' || c == '.';
}

static int fail(struct walk *w, const char *at, const char *what)
{
	return err_set(w->err, -EINVAL, "character %zu: %s", (size_t)(at - w->text) + 1, what);
}

static void skip_space(struct walk *w)
{
	while (*w->at == ' ' || *w->at == '\t')
		w->at++;
}

static bool skip_char(struct walk *w, char c)
{
	if (*w->at != c)
		return false;
	w->at++;
	return true;
}

static struct slice take(struct walk *w, bool (*belongs)(char))
{
	struct slice s = {.at = w->at};

	while (belongs(*w->at))
		w->at++;
	s.size = (size_t)(w->at - s.at);
	return s;
}

static bool slice_is(struct slice s, const char *word)
{
	return s.size == strlen(word) && memcmp(s.at, word, s.size) == 0;
}

/* A name part: 1..63 characters that begin and end with a letter or a digit. */
static bool is_name(const char *at, size_t size)
{
	if (!size || size > NAME_MAX_LENGTH || !is_alnum(at[0]) || !is_alnum(at[size - 1]))
		return false;
	for (size_t i = 0; i < size; i++)
		if (!is_value_char(at[i]))
			return false;
	return true;
}

/* [prefix/]name; Covey bounds the whole, Kubernetes each part. */
static bool is_key(struct slice key)
{
	const char *slash = memchr(key.at, '/', key.size);
	size_t prefix;

	if (key.size > NAME_MAX_LENGTH)
		return false;
	if (!slash)
		return is_name(key.at, key.size);
	prefix = (size_t)(slash - key.at);
	return is_name(key.at, prefix) && is_name(slash + 1, key.size - prefix - 1);
}

static bool is_value(struct slice value)
{
	return !value.size || is_name(value.at, value.size);
}

static int walk_key(struct walk *w, struct slice *ret_key)
{
	struct slice key;

	skip_space(w);
	key = take(w, is_key_char);
	if (!key.size)
		return fail(w, w->at, "a label's key is expected");
	if (!is_key(key))
		return fail(w, key.at, "this is not a label's key");
	*ret_key = key;
	return 0;
}

static int walk_value(struct walk *w, struct slice *ret_value)
{
	struct slice value;

	skip_space(w);
	value = take(w, is_value_char);
	if (!is_value(value))
		return fail(w, value.at, "this is not a label's value");
	skip_space(w);
	*ret_value = value;
	return 0;
}

static int walk_set(struct walk *w, const char **ret_set)
{
	struct slice value;
	int r;

	skip_space(w);
	if (!skip_char(w, '('))
		return fail(w, w->at, "( is expected");
	*ret_set = w->at;
	do {
		r = walk_value(w, &value);
		if (r < 0)
			return r;
	} while (skip_char(w, ','));
	if (!skip_char(w, ')'))
		return fail(w, w->at, "a value, a comma or ) is expected");
	return 0;
}

static int walk_operator(struct walk *w, struct requirement *req)
{
	struct slice word;

	if (*w->at == ',' || !*w->at) {
		req->op = OP_EXISTS;
		return 0;
	}
	if (skip_char(w, '=')) {
		skip_char(w, '=');
		req->op = OP_EQUAL;
		return walk_value(w, &req->value);
	}
	if (w->at[0] == '!' && w->at[1] == '=') {
		w->at += 2;
		req->op = OP_NOT_EQUAL;
		return walk_value(w, &req->value);
	}
	word = take(w, is_key_char);
	if (slice_is(word, "in"))
		req->op = OP_IN;
	else if (slice_is(word, "notin"))
		req->op = OP_NOT_IN;
	else
		return fail(w, word.at, "=, !=, in, notin or a comma is expected");
	return walk_set(w, &req->set);
}

/* Reads one requirement and the comma behind it; *ret_more says whether another one follows. */
static int walk_requirement(struct walk *w, struct requirement *req, bool *ret_more)
{
	int r;

	*req = (struct requirement){0};
	skip_space(w);
	if (skip_char(w, '!')) {
		req->op = OP_ABSENT;
		r = walk_key(w, &req->key);
		skip_space(w);
	} else {
		r = walk_key(w, &req->key);
		skip_space(w);
		if (r == 0)
			r = walk_operator(w, req);
	}
	if (r < 0)
		return r;
	skip_space(w);
	*ret_more = skip_char(w, ',');
	if (!*ret_more && *w->at)
		return fail(w, w->at, "a comma is expected");
	return 0;
}

static bool is_all(const char *text)
{
	return strcmp(text, "all") == 0;
}

int selector_check(const char *text, struct err *err)
{
	struct walk w = {.text = text, .at = text, .err = err};
	struct requirement req;
	bool more = true;
	int r;

	if (!text[strspn(text, " \t")])
		return err_set(err, -EINVAL, "the selector is empty; write all for every node");
	if (is_all(text))
		return 0;
	while (more) {
		r = walk_requirement(&w, &req, &more);
		if (r < 0)
			return r;
	}
	return 0;
}

static const char *find_value(const struct selector_label *labels, size_t count, struct slice key)
{
	for (size_t i = 0; i < count; i++)
		if (slice_is(key, labels[i].key))
			return labels[i].value;
	return NULL;
}

static bool set_has(const char *set, const char *value)
{
	struct walk w = {.text = set, .at = set};
	struct slice item;

	do {
		if (walk_value(&w, &item) < 0)
			return false;
		if (slice_is(item, value))
			return true;
	} while (skip_char(&w, ','));
	return false;
}

static bool requirement_holds(const struct requirement *req, const char *value)
{
	switch (req->op) {
	case OP_EQUAL:
		return value && slice_is(req->value, value);
	case OP_NOT_EQUAL:
		return !value || !slice_is(req->value, value);
	case OP_IN:
		return value && set_has(req->set, value);
	case OP_NOT_IN:
		return !value || !set_has(req->set, value);
	case OP_EXISTS:
		return value;
	case OP_ABSENT:
		return !value;
	}
	return false;
}

bool selector_matches(const char *text, const struct selector_label *labels, size_t count)
{
	struct walk w = {.text = text, .at = text};
	struct requirement req;
	bool more = true;

	if (is_all(text))
		return true;
	while (more) {
		if (walk_requirement(&w, &req, &more) < 0)
			return false;
		if (!requirement_holds(&req, find_value(labels, count, req.key)))
			return false;
	}
	return true;
}

int selector_check_label(const char *key, const char *value, struct err *err)
{
	if (!is_key((struct slice){key, strlen(key)}))
		return err_set(
		    err, -EINVAL,
		    "a label's key has 1 to 63 letters, digits, '-', '_', '.', at most one "
		    "'/', and begins and ends with a letter or a digit");
	if (!is_value((struct slice){value, strlen(value)}))
		return err_set(err, -EINVAL,
		               "a label's value has at most 63 letters, digits, '-', '_', '.', and "
		               "begins and ends with a letter or a digit");
	return 0;
}
