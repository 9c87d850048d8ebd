/* SPDX-License-Identifier: Apache-2.0 */
/* The first message between neighbours: who they are, in the coordinator's words. */
#pragma once

#include "covey/message.h"
#include "protocol/manifest.h"

struct peer_hello { /* what is left of one that was checked */
	uint64_t session;
	bool data;
};

/* An encoded PEER_HELLO that shows the record; ret_bytes is owned by the caller. */
int peer_hello_make(const struct bytes *identity, const struct peer_hello *about,
		    struct bytes *ret_bytes, struct err *err) COVEY_MUST_CHECK;

/*
 * Is this message a PEER_HELLO of that neighbour? Its record must be signed as root says, name the
 * neighbour's id and the key that its connection proved, and not have expired. -EKEYREJECTED;
 * -EPROTONOSUPPORT: too old a protocol; -EBADMSG.
 */
int peer_hello_check(const void *data, size_t size, const struct root_document *root,
		     const struct msg_neighbour *expected, uint64_t unix_ms,
		     struct peer_hello *ret_hello, struct err *err) COVEY_MUST_CHECK;
