/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every message, from every sender on every channel: at most one pair may send it, and what is
 * accepted must come back from message_encode() the same.
 */
#include "fuzz.h"
#include "protocol/chunk_data.h"
#include "protocol/codec_tables.h"
#include "protocol/message.h"

#include <string.h>

static const struct codec_struct *body_of(enum message_type type)
{
#define X(name, of, number, sender, channel, max)                                                  \
	if (type == MESSAGE_##name)                                                                \
		return &codec_##of;
	MESSAGES(X)
#undef X
	assert(false); /* decoded, so it is in the table */
	return NULL;
}

static void round_trip(const struct message *message, enum message_channel channel,
		       enum message_sender sender)
{
	struct bytes once = {0}, twice = {0};
	struct message again = {0};
	int r = message_encode(message->type, message->body, &once, NULL);

	assert(r == 0);
	r = message_decode(once.data, once.size, channel, sender, &again, NULL);
	assert(r == 0 && again.type == message->type);
	assert(codec_equal(body_of(again.type), again.body, message->body));
	r = message_encode(again.type, again.body, &twice, NULL);
	assert(r == 0 && once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
	message_free(&again);
	free(once.data);
	free(twice.data);
}

/* A chunk is looked at where it lies; the shortcut and the codec must be of one mind. */
static void check_shortcut(const uint8_t *data, size_t size, const struct message *message)
{
	struct chunk_data chunk;
	const struct msg_chunk *body = message ? message->body : NULL;
	bool is_chunk = message && (message->type == MESSAGE_PEER_CHUNK ||
				    message->type == MESSAGE_SEED_CHUNK);
	int r = chunk_data_open(data, size, &chunk, NULL);

	assert((r == 0) == is_chunk);
	if (is_chunk)
		assert(chunk.chunk == body->chunk && chunk.size == body->data.size &&
		       digest_equal(&chunk.release, &body->release) &&
		       (!chunk.size || memcmp(chunk.data, body->data.data, chunk.size) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned accepted = 0;

	for (unsigned channel = CHANNEL_AGENTS; channel <= CHANNEL_PEERS; channel++)
		for (unsigned sender = FROM_AGENT; sender <= FROM_PEER; sender++) {
			struct message message = {0};
			struct err err = {0};

			if (message_decode(data, size, channel, sender, &message, &err) < 0) {
				assert(!message.body && err.text[0]);
				continue;
			}
			accepted++;
			check_shortcut(data, size, &message);
			round_trip(&message, channel, sender);
			message_free(&message);
		}
	assert(accepted <= 1);
	if (!accepted)
		check_shortcut(data, size, NULL);
	return 0;
}
