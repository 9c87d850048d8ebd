/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources of chunks. A source is asked for objects by digest and answers later; who asks decides
 * what (agent/core/fetch.h). The first kind of source is the coordinator's data channel: a link of
 * its own beside the agents' channel, opened by the first request and closed when idle, because an
 * idle connection costs memory on both ends.
 */
#pragma once

#include "covey/message.h"
#include "protocol/transport/link.h"

enum chunk_source_state { CHUNK_SOURCE_CLOSED, CHUNK_SOURCE_OPENING, CHUNK_SOURCE_UP };

struct chunk_source { /* what every kind of source can do */
	void *context;
	/* 0: asked; -ENOTCONN: opens the way, `up` follows; -EAGAIN: its queue is full. */
	int (*request)(void *context, const struct msg_get *get);
	/* Any other message of the channel, encoded. As request(). */
	int (*tell)(void *context, const void *data, size_t size);
	/* Whatever was asked for is of no interest any more: close the way. */
	void (*cancel)(void *context);
	enum chunk_source_state (*state)(void *context);
};

struct chunk_source_events {
	void (*up)(void *context);
	void (*down)(void *context, const char *text); /* requests under way are lost */
	void (*object)(void *context, const struct msg_object *object); /* not verified yet */
	void (*message)(void *context, const void *data, size_t size);	/* about numbered chunks */
};

struct origin; /* the coordinator's data channel */

struct origin_config { /* all copied */
	const char *endpoint; /* of the data channel */
	const struct link_key *key;
	const struct public_key *server_key;
};

struct origin *origin_new(struct zhub *hub, const struct origin_config *config,
			  const struct chunk_source_events *events, void *context);
void origin_free(struct origin *origin); /* NULL is fine */
struct chunk_source origin_source(struct origin *origin);
