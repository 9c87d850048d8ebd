/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole messages: [type, body] in msgpack. The table of include/covey/message.h says who may send
 * what on which channel; message_decode() enforces it, so a shell only sees legal messages.
 */
#pragma once

#include "covey/message.h"
#include "protocol/codec.h"

struct message {
	enum message_type type;
	void *body; /* heap, the struct of the type; owned */
};

/* body: the struct that MESSAGES names for type. ret_bytes is owned by the caller. */
int message_encode(enum message_type type, const void *body, struct bytes *ret_bytes,
		   struct err *err) COVEY_MUST_CHECK;

/* Refuses what the sender may not send on this channel (-EPERM), what is larger than the type's
 * bound (-EMSGSIZE) and what is not that message (-EBADMSG); -ENOTSUP: a type from the future,
 * to be ignored. */
int message_decode(const void *data, size_t size, enum message_channel channel,
		   enum message_sender sender, struct message *ret_message,
		   struct err *err) COVEY_MUST_CHECK;

/* Do the bytes begin as a message of this type does? Says nothing about the rest. */
bool message_is(const void *data, size_t size, enum message_type type);

void message_free(struct message *message);
const char *message_name(enum message_type type);
