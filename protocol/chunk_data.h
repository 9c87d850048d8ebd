/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chunk on its way, without copies. On the wire PEER_CHUNK and SEED_CHUNK are messages like any
 * other (protocol/message.h decodes them); but the sender reads the chunk from its disk right behind
 * the head of the message, and the receiver looks at the bytes where they arrived.
 */
#pragma once

#include "covey/message.h"
#include "protocol/codec.h"
#include "protocol/coding/coding.h"

enum { CHUNK_DATA_HEAD_MAX = 64 };

struct chunk_data { /* borrowed: lives as long as the message */
	struct digest release;
	uint32_t chunk;
	const uint8_t *data;
	size_t size;
	bool coded; /* data is a coded form */
};

/* Writes what stands before the size bytes of the chunk; returns how long that is. type: PEER_CHUNK
 * or SEED_CHUNK; 1 <= size <= LIMIT_CHUNK. */
size_t chunk_data_head(uint8_t dst[CHUNK_DATA_HEAD_MAX], enum message_type type,
		       const struct digest *release, uint32_t chunk, size_t size);

/* The same rules as message_decode(). -EBADMSG, -EMSGSIZE. */
int chunk_data_open(const void *message, size_t size, struct chunk_data *ret_data,
		    struct err *err) COVEY_MUST_CHECK;

/* A whole message, head and chunk, takes the chunk's coded form where that is smaller. head: how
 * long what chunk_data_head() wrote is. */
void chunk_data_shrink(struct coding *coding, enum message_type type,
		       const struct chunk_data *about, size_t head, struct bytes *message);
/* Data that is coded becomes what it stands for, in memory that the caller frees (*ret_owned, NULL
 * where nothing was to be done). -EBADMSG, -EMSGSIZE. */
int chunk_data_restore(struct coding *coding, struct chunk_data *data,
		       uint8_t **ret_owned) COVEY_MUST_CHECK;
