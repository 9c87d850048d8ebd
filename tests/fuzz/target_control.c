/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A coordinator with its store in memory, three nodes, two releases and a deployment, to which the
 * parts of the input happen one after the other:
 *
 *	VERB newline JSON newline BLOB	an operator's request (an administrator's)
 *	agent newline BYTES		a message of the first node; also data, enrol
 *	wait newline			ten seconds pass
 *
 * The manifest of release.put is signed here. At the end memory must equal the store, and every
 * rollout its invariants (coordinator_check() in fixture_free()).
 */
#include "tests/unit/coordinator/fixture.h"

#include "base/mem.h"
#include "base/str.h"
#include "fuzz.h"
#include "protocol/spec.h"

#include <string.h>

enum { REQUESTS_MAX = 16, WAIT_MS = 10000 };

static struct fixture *prepare(void)
{
	struct deployment_spec spec;
	struct fixture *f;

	fuzz_fixed_random(); /* keys and ids */
	f = fixture_new(NULL);
	for (int i = 0; i < 3; i++) {
		AUTO_FREE char *name = mem_format("edge-%d", i + 1);

		fixture_join(f, name, json_pack("{ss}", "site", i ? "lyon" : "paris"));
	}
	fixture_push(f, "ocr", "1.0.0");
	fixture_push(f, "ocr", "2.0.0");
	fixture_spec(&spec, "reader", "ocr", "1.0.0");
	assert(fixture_apply(f, &spec, false, false) == 0);
	deployment_spec_free(&spec);
	return f;
}

/* The line at the front, as a text; the rest stays. */
static char *take_line(struct bytes *rest)
{
	const uint8_t *end = rest->size ? memchr(rest->data, '\n', rest->size) : NULL;
	size_t size = end ? (size_t)(end - rest->data) : rest->size;
	char *line = mem_alloc(size + 1);

	if (size)
		memcpy(line, rest->data, size);
	rest->data += size + (end != NULL);
	rest->size -= size + (end != NULL);
	return line;
}

static struct bytes sign(struct fixture *f, const struct bytes *payload)
{
	struct envelope envelope = {.payload = *payload};
	struct sign_key key = {.public_key = f->sign_public};
	struct bytes encoded = {0};
	int r;

	memcpy(key.secret, f->sign_secret, sizeof(key.secret));
	envelope_sign(&envelope, SIGNED_RELEASE, &key);
	r = codec_encode(&codec_envelope, &envelope, LIMIT_OBJECT, &encoded, NULL);
	free(envelope.signatures);
	return r == 0 ? encoded : (struct bytes){0};
}

static void ask(struct fixture *f, const char *verb, struct bytes rest)
{
	AUTO_FREE char *body = take_line(&rest);
	AUTO_FREE uint8_t *manifest = NULL;
	struct msg_control message = {.id = 7, .body = body, .blob = rest};
	uint64_t before = f->replies;
	struct bytes data;

	if (str_equal(verb, "release.put")) {
		message.blob = sign(f, &rest);
		manifest = message.blob.data;
	}
	STR_CUT(message.verb, verb);
	if (message_encode(MESSAGE_CONTROL, &message, &data, NULL) < 0)
		return; /* not UTF-8: the codec's own affair */
	coordinator_on_control(f->coordinator, ++f->client, ROLE_ADMIN, "alice", "127.0.0.1",
			       data.data, data.size);
	free(data.data);
	assert(f->replies <= before + 1);
	if (f->replies > before) {
		assert(f->reply.id == 7 && f->reply.exit_code <= 7);
		assert((f->reply.exit_code == 0) == !f->reply.error[0]);
	}
}

static void happen(struct fixture *f, struct bytes rest)
{
	AUTO_FREE char *what = take_line(&rest);
	struct bytes reply = {0};

	if (str_equal(what, "agent"))
		coordinator_on_agent(f->coordinator, &f->nodes[0].id, "10.0.0.9", rest.data,
				     rest.size);
	else if (str_equal(what, "data"))
		coordinator_on_data(f->coordinator, &f->nodes[0].id, rest.data, rest.size, &reply);
	else if (str_equal(what, "enrol"))
		coordinator_on_enrol(f->coordinator, "10.0.0.9", rest.data, rest.size, &reply);
	else if (str_equal(what, "wait"))
		fixture_pass(f, WAIT_MS);
	else
		ask(f, what, rest);
	free(reply.data);
	fixture_deliver(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct fixture *f = prepare();

	for (int i = 0; i < REQUESTS_MAX && input.left; i++)
		happen(f, fuzz_part(&input));
	fixture_free(f);
	return 0;
}
