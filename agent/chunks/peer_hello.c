/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CURVE proves who holds the link key, the coordinator's list says whose key it is. The record adds
 * what a list alone cannot: it was signed for this fleet's pinned root, and it ends by itself. A
 * coordinator that was taken over at its links but not at its online key cannot make neighbours.
 */
#include "agent/chunks/peer_hello.h"

#include "base/cleanup.h"
#include "protocol/codec_tables.h"
#include "protocol/message.h"

int peer_hello_make(const struct bytes *identity, const struct peer_hello *about,
		    struct bytes *ret_bytes, struct err *err)
{
	const struct msg_peer_hello hello = {.protocol_version = PROTOCOL_VERSION,
					     .identity = *identity,
					     .session = about->session,
					     .data = about->data};

	return message_encode(MESSAGE_PEER_HELLO, &hello, ret_bytes, err);
}

static int check_identity(const struct msg_peer_hello *hello, const struct root_document *root,
			  const struct msg_neighbour *expected, uint64_t unix_ms, struct err *err)
{
	struct identity identity = {0};
	int r = identity_open(hello->identity.data, hello->identity.size, root, &identity, err);

	if (r < 0)
		return -EKEYREJECTED;
	if (!node_id_equal(&identity.id, &expected->id) ||
	    memcmp(identity.link_key.bytes, expected->link_key.bytes, KEY_SIZE) != 0)
		r = err_set(err, -EKEYREJECTED, "the record is another node's");
	else if (identity.expires_unix_ms != 0 && identity.expires_unix_ms <= unix_ms)
		r = err_set(err, -EKEYREJECTED, "the record has expired");
	codec_free(&codec_identity, &identity);
	return r;
}

int peer_hello_check(const void *data, size_t size, const struct root_document *root,
		     const struct msg_neighbour *expected, uint64_t unix_ms,
		     struct peer_hello *ret_hello, struct err *err)
{
	struct message message = {0};
	const struct msg_peer_hello *hello;
	int r = message_decode(data, size, CHANNEL_PEERS, FROM_PEER, &message, err);

	if (r < 0)
		return -EBADMSG;
	hello = message.body;
	if (message.type != MESSAGE_PEER_HELLO)
		r = err_set(err, -EBADMSG, "%s came before a greeting", message_name(message.type));
	else if (hello->protocol_version < PROTOCOL_VERSION_OLDEST)
		r = err_set(err, -EPROTONOSUPPORT, "it speaks protocol %u, %d is the oldest here",
			    hello->protocol_version, PROTOCOL_VERSION_OLDEST);
	else
		r = check_identity(hello, root, expected, unix_ms, err);
	if (r == 0)
		*ret_hello = (struct peer_hello){hello->session, hello->data};
	message_free(&message);
	return r;
}
