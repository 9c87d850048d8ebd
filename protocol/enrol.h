/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining a fleet. The join string holds address, server key and a one-time token; it travels by
 * hand. The token's secret never crosses the wire: the agent sends a keyed BLAKE2b-256 over
 * "covey/enrol/1\0", both of its public keys and the server's key.
 *
 *   covey1:<host:port>:<server key, 64 hex>:<token id, 16 hex>:<token secret, 64 hex>
 */
#pragma once

#include "base/err.h"
#include "covey/message.h"

enum { TOKEN_ID_SIZE = 8, TOKEN_SECRET_SIZE = 32, JOIN_STRING_MAX = 512 };

struct join_string {
	char endpoint[LIMIT_ENDPOINT + 1]; /* tcp://host:port, the base port */
	struct public_key server_key;
	char token_id[2 * TOKEN_ID_SIZE + 1];
	uint8_t secret[TOKEN_SECRET_SIZE];
};

/* Says which part is wrong, never what it was. The caller wipes ret_join (sodium_memzero). */
int join_string_parse(const char *text, struct join_string *ret_join,
		      struct err *err) COVEY_MUST_CHECK;
int join_string_format(const struct join_string *join, char dst[JOIN_STRING_MAX]) COVEY_MUST_CHECK;

void enrol_proof(uint8_t ret_proof[DIGEST_SIZE], const uint8_t secret[TOKEN_SECRET_SIZE],
		 const struct public_key *link_key, const struct public_key *sign_key,
		 const struct public_key *server_key);
bool enrol_proof_equal(const uint8_t a[DIGEST_SIZE], const uint8_t b[DIGEST_SIZE]);

/* The endpoint of one channel: endpoint_channel("tcp://h:7400", PORT_OFFSET_DATA) = tcp://h:7401 */
int endpoint_channel(const char *endpoint, int offset, char dst[LIMIT_ENDPOINT + 1],
		     struct err *err) COVEY_MUST_CHECK;
