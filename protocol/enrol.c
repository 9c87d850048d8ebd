/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A join string is taken apart from its end: the last three parts have fixed lengths in hex, and
 * what is left is the address, which may contain colons of its own ([::1]:7400).
 */
#include "protocol/enrol.h"
#include "base/str.h"

#include <sodium.h>

static const char prefix[] = "covey1:";
static const char scheme[] = "tcp://";

enum {
	KEY_HEX = 2 * KEY_SIZE,
	TOKEN_HEX = 2 * TOKEN_ID_SIZE,
	SECRET_HEX = 2 * TOKEN_SECRET_SIZE,
	TAIL_SIZE = 1 + KEY_HEX + 1 + TOKEN_HEX + 1 + SECRET_HEX,
};

static bool host_is_valid(const char *host, size_t size)
{
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";

	if (size > 2 && host[0] == '[' && host[size - 1] == ']')
		return strspn(host + 1, "0123456789abcdefABCDEF:.") == size - 2;
	return size && strspn(host, letters) >= size;
}

/* Finds the port of tcp://host:port. */
static int endpoint_split(const char *endpoint, size_t *ret_host_size, uint64_t *ret_port,
                          struct err *err)
{
	const char *host = endpoint + sizeof(scheme) - 1, *colon;

	if (strlen(endpoint) > LIMIT_ENDPOINT)
		return err_set(err, -EINVAL, "an address has at most %d characters",
		               LIMIT_ENDPOINT);
	if (!str_starts(endpoint, scheme))
		return err_set(err, -EINVAL, "an address is written tcp://host:port");
	colon = strrchr(host, ':');
	if (!colon || !host_is_valid(host, (size_t)(colon - host)))
		return err_set(err, -EINVAL, "an address is written tcp://host:port");
	if (str_parse_u64(colon + 1, UINT16_MAX, ret_port) < 0 || !*ret_port)
		return err_set(err, -EINVAL, "the port of an address must be 1 to 65535");
	*ret_host_size = (size_t)(colon - host);
	return 0;
}

int endpoint_channel(const char *endpoint, int offset, char dst[LIMIT_ENDPOINT + 1],
                     struct err *err)
{
	uint64_t port = 0;
	size_t host = 0;
	int r, used;

	r = endpoint_split(endpoint, &host, &port, err);
	if (r < 0)
		return r;
	if ((int)port + offset < 1 || (int)port + offset > UINT16_MAX)
		return err_set(err, -EINVAL, "the ports beside the address's go beyond 65535");
	used = snprintf(dst, LIMIT_ENDPOINT + 1, "%s%.*s:%d", scheme, (int)host,
	                endpoint + sizeof(scheme) - 1, (int)port + offset);
	return used > LIMIT_ENDPOINT ? err_set(err, -EINVAL, "the address is too long") : 0;
}

static int check_base(const char *endpoint, struct err *err)
{
	char last[LIMIT_ENDPOINT + 1];

	return endpoint_channel(endpoint, PORT_OFFSET_OPERATORS, last, err);
}

/* One hex part of the tail: what is between two colons. */
static int parse_hex(const char **at, uint8_t *dst, size_t size)
{
	char hex[SECRET_HEX + 1];
	int r;

	if (*(*at)++ != ':')
		return -EINVAL;
	memcpy(hex, *at, 2 * size);
	hex[2 * size] = 0;
	*at += 2 * size;
	r = str_unhex(dst, size, hex);
	sodium_memzero(hex, sizeof(hex));
	return r;
}

static int parse_tail(const char *tail, struct join_string *join, struct err *err)
{
	uint8_t token[TOKEN_ID_SIZE];

	if (parse_hex(&tail, join->server_key.bytes, KEY_SIZE) < 0)
		return err_set(err, -EINVAL, "the server's key must be %d hex digits", KEY_HEX);
	if (parse_hex(&tail, token, TOKEN_ID_SIZE) < 0)
		return err_set(err, -EINVAL, "the token's id must be %d hex digits", TOKEN_HEX);
	if (parse_hex(&tail, join->secret, TOKEN_SECRET_SIZE) < 0)
		return err_set(err, -EINVAL, "the token's secret must be %d hex digits",
		               SECRET_HEX);
	str_hex(join->token_id, token, TOKEN_ID_SIZE);
	return 0;
}

static int parse_address(const char *address, size_t size, struct join_string *join,
                         struct err *err)
{
	int used;

	used =
	    snprintf(join->endpoint, sizeof(join->endpoint), "%s%.*s", scheme, (int)size, address);
	if (used > LIMIT_ENDPOINT)
		return err_set(err, -EINVAL, "the address is too long");
	return check_base(join->endpoint, err);
}

int join_string_parse(const char *text, struct join_string *ret_join, struct err *err)
{
	struct join_string join = {0};
	size_t size = strnlen(text, JOIN_STRING_MAX), head = sizeof(prefix) - 1;
	int r;

	if (!str_starts(text, prefix))
		return err_set(err, -EINVAL, "a join string begins with %s", prefix);
	if (size >= JOIN_STRING_MAX)
		return err_set(err, -EINVAL, "the join string is too long");
	if (size <= head + TAIL_SIZE)
		return err_set(err, -EINVAL,
		               "the join string is too short: a part of it is missing");
	r = parse_tail(text + size - TAIL_SIZE, &join, err);
	if (r == 0)
		r = parse_address(text + head, size - TAIL_SIZE - head, &join, err);
	if (r == 0)
		*ret_join = join;
	sodium_memzero(&join, sizeof(join));
	return r < 0 ? err_prefix(err, r, "join string") : 0;
}

int join_string_format(const struct join_string *join, char dst[JOIN_STRING_MAX])
{
	char key[KEY_HEX + 1], secret[SECRET_HEX + 1];
	int r, used;

	r = check_base(join->endpoint, NULL);
	if (r < 0)
		return r;
	str_hex(key, join->server_key.bytes, KEY_SIZE);
	str_hex(secret, join->secret, TOKEN_SECRET_SIZE);
	used = snprintf(dst, JOIN_STRING_MAX, "%s%s:%s:%s:%s", prefix,
	                join->endpoint + sizeof(scheme) - 1, key, join->token_id, secret);
	sodium_memzero(secret, sizeof(secret));
	return used < JOIN_STRING_MAX && strlen(join->token_id) == TOKEN_HEX ? 0 : -EINVAL;
}

void enrol_proof(uint8_t ret_proof[DIGEST_SIZE], const uint8_t secret[TOKEN_SECRET_SIZE],
                 const struct public_key *link_key, const struct public_key *sign_key,
                 const struct public_key *server_key)
{
	static const char context[] = "covey/enrol/1"; /* with its NUL */
	crypto_generichash_state state;

	crypto_generichash_init(&state, secret, TOKEN_SECRET_SIZE, DIGEST_SIZE);
	crypto_generichash_update(&state, (const uint8_t *)context, sizeof(context));
	crypto_generichash_update(&state, link_key->bytes, KEY_SIZE);
	crypto_generichash_update(&state, sign_key->bytes, KEY_SIZE);
	crypto_generichash_update(&state, server_key->bytes, KEY_SIZE);
	crypto_generichash_final(&state, ret_proof, DIGEST_SIZE);
	sodium_memzero(&state, sizeof(state));
}

bool enrol_proof_equal(const uint8_t a[DIGEST_SIZE], const uint8_t b[DIGEST_SIZE])
{
	return sodium_memcmp(a, b, DIGEST_SIZE) == 0;
}
