/* SPDX-License-Identifier: Apache-2.0 */
/* Join strings, the proof of a token, and the addresses of the channels. */
#include "base/str.h"
#include "protocol/enrol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define TOKEN "0123456789abcdef"
#define SECRET "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

static void test_there_and_back(void **state)
{
	static const char *const texts[] = {
	    "covey1:coordinator.example:7400:" KEY ":" TOKEN ":" SECRET,
	    "covey1:10.0.0.1:1:" KEY ":" TOKEN ":" SECRET,
	    "covey1:[::1]:65532:" KEY ":" TOKEN ":" SECRET,
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct join_string join;
		char text[JOIN_STRING_MAX];
		struct err err;

		if (join_string_parse(texts[i], &join, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(join.server_key.bytes[31], 31);
		assert_string_equal(join.token_id, TOKEN);
		assert_int_equal(join.secret[0], 0xff);
		assert_true(str_starts(join.endpoint, "tcp://"));
		assert_int_equal(join_string_format(&join, text), 0);
		assert_string_equal(text, texts[i]);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
	    {"", "begins with covey1:"},
	    {"covey2:h:7400:" KEY ":" TOKEN ":" SECRET, "begins with covey1:"},
	    {"covey1:", "missing"},
	    {"covey1:h:7400:" KEY ":" TOKEN, "missing"},
	    {"covey1::" KEY ":" TOKEN ":" SECRET, "missing"},
	    {"covey1:h:" KEY ":" TOKEN ":" SECRET, "tcp://host:port"},
	    {"covey1:h:0:" KEY ":" TOKEN ":" SECRET, "port"},
	    {"covey1:h:65533:" KEY ":" TOKEN ":" SECRET, "port"},
	    {"covey1:h:74x0:" KEY ":" TOKEN ":" SECRET, "port"},
	    {"covey1:h/x:7400:" KEY ":" TOKEN ":" SECRET, "tcp://host:port"},
	    {"covey1:[::1:7400:" KEY ":" TOKEN ":" SECRET, "tcp://host:port"},
	    {"covey1:h:7400:" KEY ":" TOKEN ":" SECRET "0", "hex"},
	    {"covey1:h:7400:" KEY ":" TOKEN ":" SECRET " ", "hex"},
	    {"covey1:h:7400:" KEY ":0123456789abcdeg:" SECRET, "token's id"},
	    {"covey1:h:7400:x" KEY ":" TOKEN ":" SECRET, "key"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct join_string join;
		struct err err = {0};

		if (join_string_parse(cases[i].text, &join, &err) != -EINVAL)
			fail_msg("accepted: %s", cases[i].text);
		if (!strstr(err.text, cases[i].says))
			fail_msg("%s: %s", cases[i].text, err.text);
		assert_null(strstr(err.text, "ffeedd")); /* never the secret */
	}
}

static void test_every_cut_is_refused(void **state)
{
	static const char whole[] = "covey1:coordinator.example:7400:" KEY ":" TOKEN ":" SECRET;
	struct join_string join;

	for (size_t size = 0; size + 1 < sizeof(whole); size++) {
		char *text = strndup(whole, size);

		assert_int_equal(join_string_parse(text, &join, NULL), -EINVAL);
		free(text);
	}
}

static void test_format_refuses_what_does_not_parse(void **state)
{
	struct join_string join = {.endpoint = "tcp://h:7400", .token_id = TOKEN};
	char text[JOIN_STRING_MAX];

	assert_int_equal(join_string_format(&join, text), 0);
	STR_CUT(join.token_id, "12");
	assert_int_not_equal(join_string_format(&join, text), 0);
	STR_CUT(join.token_id, TOKEN);
	STR_CUT(join.endpoint, "h:7400");
	assert_int_not_equal(join_string_format(&join, text), 0);
}

static void test_proof_covers_everything(void **state)
{
	uint8_t secret[TOKEN_SECRET_SIZE] = {1}, proof[DIGEST_SIZE], other[DIGEST_SIZE];
	struct public_key link = {{2}}, sign = {{3}}, server = {{4}};

	enrol_proof(proof, secret, &link, &sign, &server);
	enrol_proof(other, secret, &link, &sign, &server);
	assert_true(enrol_proof_equal(proof, other));
	uint8_t *const parts[] = {secret, link.bytes, sign.bytes, server.bytes};
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		parts[i][31] ^= 1;
		enrol_proof(other, secret, &link, &sign, &server);
		assert_false(enrol_proof_equal(proof, other));
		parts[i][31] ^= 1;
	}
	enrol_proof(other, secret, &sign, &link, &server); /* keys in each other's place */
	assert_false(enrol_proof_equal(proof, other));
}

static void test_channels(void **state)
{
	static const char *const bad[] = {
	    "",
	    "h:7400",
	    "ipc://x:1",
	    "tcp://",
	    "tcp://h",
	    "tcp://:7400",
	    "tcp://h:",
	    "tcp://h:0",
	    "tcp://h:65536",
	    "tcp://h:7400 ",
	    "tcp://h:+1",
	    "tcp://h;x:1",
	    "tcp://*:7400",
	    "tcp://[]:1",
	    "tcp://[x]:1",
	    "tcp://a:b:1",
	};
	char endpoint[LIMIT_ENDPOINT + 1], longest[LIMIT_ENDPOINT + 2] = "tcp://";

	assert_int_equal(endpoint_channel("tcp://h:7400", PORT_OFFSET_DATA, endpoint, NULL), 0);
	assert_string_equal(endpoint, "tcp://h:7401");
	assert_int_equal(
	    endpoint_channel("tcp://[fe80::1]:9", PORT_OFFSET_OPERATORS, endpoint, NULL), 0);
	assert_string_equal(endpoint, "tcp://[fe80::1]:12");
	assert_int_equal(endpoint_channel("tcp://h:65535", 0, endpoint, NULL), 0);
	assert_int_equal(endpoint_channel("tcp://h:65535", 1, endpoint, NULL), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (endpoint_channel(bad[i], 0, endpoint, NULL) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
	memset(longest + 6, 'h', LIMIT_ENDPOINT - 6);
	memcpy(longest + LIMIT_ENDPOINT - 4, ":999", 4);
	assert_int_equal(endpoint_channel(longest, 0, endpoint, NULL), 0);
	assert_int_equal(endpoint_channel(longest, 1, endpoint, NULL),
	                 -EINVAL); /* one digit more */
	longest[LIMIT_ENDPOINT] = '9';
	assert_int_equal(endpoint_channel(longest, 0, endpoint, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_there_and_back),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_every_cut_is_refused),
	    cmocka_unit_test(test_format_refuses_what_does_not_parse),
	    cmocka_unit_test(test_proof_covers_everything),
	    cmocka_unit_test(test_channels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
