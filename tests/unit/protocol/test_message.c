/* SPDX-License-Identifier: Apache-2.0 */
/* Who may say what to whom: every type from every role on every channel. */
#include "base/mem.h"
#include "protocol/codec_tables.h"
#include "protocol/message.h"
#include "sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	enum message_type type;
	const struct codec_struct *body;
	enum message_sender sender;
	enum message_channel channel;
	size_t max;
} types[] = {
#define X(name, of, number, sender, channel, max) \
	{MESSAGE_##name, &codec_##of, sender, channel, max},
    MESSAGES(X)
#undef X
};

/* spec: TRUST-12 */
static void test_every_role_on_every_channel(void **state)
{
	struct rng rng = {.state = 1};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		AUTO_FREE void *body = mem_alloc(types[i].body->size);
		struct bytes bytes;

		sample_fill(&rng, types[i].body, body);
		assert_int_equal(message_encode(types[i].type, body, &bytes, NULL), 0);
		for (int channel = CHANNEL_AGENTS; channel <= CHANNEL_PEERS; channel++) {
			for (int sender = FROM_AGENT; sender <= FROM_PEER; sender++) {
				bool legal = channel == (int)types[i].channel &&
				             sender == (int)types[i].sender;
				struct message message = {0};
				int r = message_decode(bytes.data, bytes.size,
				                       (enum message_channel)channel,
				                       (enum message_sender)sender, &message, NULL);

				assert_int_equal(r, legal ? 0 : -EPERM);
				if (!legal) {
					assert_null(message.body);
					continue;
				}
				assert_int_equal(message.type, types[i].type);
				assert_true(codec_equal(types[i].body, message.body, body));
				message_free(&message);
			}
		}
		codec_free(types[i].body, body);
		free(bytes.data);
	}
}

static int decode(const void *data, size_t size)
{
	AUTO_FREE void *exact = mem_copy(data, size);
	struct message message = {0};
	struct err err = {0};
	int r = message_decode(exact, size, CHANNEL_AGENTS, FROM_AGENT, &message, &err);

	assert_true(r == 0 || err.text[0]);
	message_free(&message);
	return r;
}

static void test_refused(void **state)
{
	assert_int_equal(decode("", 0), -EBADMSG);
	assert_int_equal(decode("\x92\x02\x80", 3), 0);
	assert_int_equal(decode("\x92\x02\x80\x80", 4), -EBADMSG);
	assert_int_equal(decode("\x92\x02", 2), -EBADMSG);
	assert_int_equal(decode("\x91\x02", 2), -EBADMSG);
	assert_int_equal(decode("\x93\x02\x80\x80", 4), -EBADMSG);
	assert_int_equal(decode("\x82\x02\x80\x02\x80", 5), -EBADMSG);
	assert_int_equal(decode("\x92\xa1x\x80", 4), -EBADMSG);
	assert_int_equal(decode("\x92\xff\x80", 3), -EBADMSG);
	assert_int_equal(decode("\x92\x02\x90", 3), -EBADMSG);
	assert_int_equal(decode("\x92\x7f\x80", 3), -ENOTSUP);
	assert_int_equal(decode("\x92\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x80", 11), -ENOTSUP);
	/* 2^32 + 2 is not 2. */
	assert_int_equal(decode("\x92\xcf\0\0\0\1\0\0\0\2\x80", 11), -ENOTSUP);
}

/* spec: TRUST-12 */
static void test_size_of_the_type(void **state)
{
	/* GET may have 4 KiB; an unknown field makes it larger. */
	static uint8_t data[LIMIT_DATA_REQUEST + 100] = {0x92, 32, 0x81, 100, 0xc5, 0x10, 0x5d};
	struct message message;

	assert_int_equal(message_decode(data, LIMIT_DATA_REQUEST + 100, CHANNEL_DATA, FROM_AGENT,
	                                &message, NULL),
	                 -EMSGSIZE);
	data[5] = 0x00; /* 93 bytes */
	assert_int_equal(message_decode(data, 100, CHANNEL_DATA, FROM_AGENT, &message, NULL), 0);
	message_free(&message);
}

static void test_encode_is_bounded(void **state)
{
	AUTO_FREE struct msg_control *control = mem_alloc(sizeof(*control));
	struct bytes bytes = {0};

	control->blob.size = LIMIT_CONTROL_MESSAGE;
	control->blob.data = mem_alloc(control->blob.size);
	assert_int_equal(message_encode(MESSAGE_CONTROL, control, &bytes, NULL), -EMSGSIZE);
	assert_null(bytes.data);
	free(control->blob.data);
}

static void test_largest_object_fits(void **state)
{
	struct msg_object object = {.data = {.size = LIMIT_OBJECT}};
	struct bytes bytes;

	object.data.data = mem_alloc(LIMIT_OBJECT);
	assert_int_equal(message_encode(MESSAGE_OBJECT, &object, &bytes, NULL), 0);
	free(object.data.data);
	free(bytes.data);
}

/* A full status and a full desired state stay within their channels. */
static void test_fullest_messages_fit(void **state)
{
	struct node_status status = {.deployments_count = LIMIT_DEPLOYMENTS_PER_NODE};
	struct bytes bytes;

	status.deployments = mem_array(status.deployments_count, sizeof(*status.deployments));
	for (size_t i = 0; i < status.deployments_count; i++) {
		struct reason *reason = &status.deployments[i].last.reason;

		memset(reason->text, 'x', LIMIT_REASON_TEXT);
		reason->log = mem_alloc(LIMIT_LOG_TAIL + 1);
		memset(reason->log, 'x', LIMIT_LOG_TAIL);
	}
	assert_int_equal(message_encode(MESSAGE_STATUS, &status, &bytes, NULL), 0);
	free(bytes.data);
	codec_free(&codec_node_status, &status);
}

static void test_names(void **state)
{
	assert_string_equal(message_name(MESSAGE_LOGS_WANTED), "LOGS_WANTED");
	assert_string_equal(message_name((enum message_type)200), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_role_on_every_channel),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_size_of_the_type),
	    cmocka_unit_test(test_encode_is_bounded),
	    cmocka_unit_test(test_largest_object_fits),
	    cmocka_unit_test(test_fullest_messages_fit),
	    cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
