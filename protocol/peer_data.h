/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chunk on its way between peers, without copies. On the wire it is PEER_DATA like any other
 * message (protocol/message.h decodes it); but the sender reads the chunk from its disk right behind
 * the head of the message, and the receiver looks at the bytes where they arrived.
 */
#pragma once

#include "covey/message.h"
#include "protocol/codec.h"

enum { PEER_DATA_HEAD_MAX = 64 };

struct peer_data { /* borrowed: lives as long as the message */
	struct digest release;
	uint32_t chunk;
	const uint8_t *data;
	size_t size;
};

/* Writes what stands before the size bytes of the chunk; returns how long that is. 1 <= size <=
 * LIMIT_CHUNK. */
size_t peer_data_head(uint8_t dst[PEER_DATA_HEAD_MAX], const struct digest *release, uint32_t chunk,
		      size_t size);

/* True: the bytes begin as PEER_DATA does, and peer_data_open() is to be asked. */
bool peer_data_is(const void *message, size_t size);
/* The same rules as message_decode(). -EBADMSG, -EMSGSIZE. */
int peer_data_open(const void *message, size_t size, struct peer_data *ret_data,
		   struct err *err) COVEY_MUST_CHECK;
