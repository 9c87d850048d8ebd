/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data channel as a source of chunks. It remembers no requests: an answer carries the digest
 * that it is for, and the scheduler above knows what it asked and when to ask again. A link that
 * is to be closed from inside one of its own callbacks waits for the next turn of the loop.
 */
#include "agent/chunks/client.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/chunk_data.h"
#include "protocol/coding/coding.h"
#include "protocol/message.h"

struct origin {
	struct zhub *hub;
	char endpoint[LIMIT_ENDPOINT + 1];
	struct link_key key;
	struct public_key server_key;
	struct chunk_source_events events;
	void *context;
	struct link *link;
	struct coding *coding; /* while the link is there */
	sd_event_source *closer;
};

static void close_link(struct origin *origin)
{
	link_free(origin->link);
	origin->link = NULL;
	coding_free(origin->coding);
	origin->coding = NULL;
}

static int on_close(sd_event_source *source, void *userdata)
{
	struct origin *origin = userdata;

	close_link(origin);
	return 0;
}

struct origin *origin_new(struct zhub *hub, const struct origin_config *config,
			  const struct chunk_source_events *events, void *context)
{
	struct origin *origin = mem_alloc(sizeof(*origin));

	origin->hub = hub;
	origin->key = *config->key;
	origin->server_key = *config->server_key;
	origin->events = *events;
	origin->context = context;
	STR_CUT(origin->endpoint, config->endpoint);
	return origin;
}

void origin_free(struct origin *origin)
{
	if (!origin)
		return;
	sd_event_source_disable_unref(origin->closer);
	close_link(origin);
	link_key_wipe(&origin->key);
	free(origin);
}

/* ---- the link ---- */

static void on_up(void *context)
{
	struct origin *origin = context;

	origin->events.up(origin->context);
}

static void on_down(void *context, enum link_cause cause, const char *text)
{
	struct origin *origin = context;

	origin->events.down(origin->context, text);
}

/* What cannot be decoded is handed on as nothing: its digest is then wrong, like that of any other
 * bad answer. */
static void decode(struct origin *origin, struct msg_object *object)
{
	if (!object->coded)
		return;
	if (!origin->coding)
		origin->coding = coding_create();
	if (coding_restore(origin->coding, &object->data, LIMIT_OBJECT) < 0)
		object->data.size = 0;
}

static void on_message(void *context, const void *data, size_t size)
{
	struct origin *origin = context;
	struct message message = {0};

	if (message_is(data, size, MESSAGE_SEED_CHUNK)) {
		origin->events.message(origin->context, data, size);
		return;
	}
	if (message_decode(data, size, CHANNEL_DATA, FROM_COORDINATOR, &message, NULL) < 0)
		return; /* asked for again when it does not come */
	if (message.type == MESSAGE_OBJECT) {
		decode(origin, message.body);
		origin->events.object(origin->context, message.body);
	} else {
		origin->events.message(origin->context, data, size);
	}
	message_free(&message);
}

static int open_link(struct origin *origin)
{
	const struct link_events events = {.up = on_up, .down = on_down, .message = on_message};
	const struct link_config config = {
		.endpoint = origin->endpoint,
		.key = &origin->key,
		.server_key = &origin->server_key,
		.max_message_size = LIMIT_DATA_MESSAGE,
		.send_queue = 16 * LIMIT_FETCH_REQUESTS,
		.receive_queue = 2 * LIMIT_FETCH_REQUESTS,
	};

	return link_new(origin->hub, &config, &events, origin, &origin->link, NULL);
}

/* ---- the source ---- */

static int origin_tell(void *context, const void *data, size_t size)
{
	struct origin *origin = context;
	int r;

	sd_event_source_disable_unref(origin->closer);
	origin->closer = NULL;
	if (!origin->link) {
		r = open_link(origin);
		return r < 0 ? r : -ENOTCONN;
	}
	return link_send(origin->link, data, size);
}

static int origin_request(void *context, const struct msg_get *wanted)
{
	struct msg_get get = *wanted;
	struct bytes bytes = {0};
	int r;

	get.takes_coded = true;
	r = message_encode(MESSAGE_GET, &get, &bytes, NULL);
	if (r == 0)
		r = origin_tell(context, bytes.data, bytes.size);
	free(bytes.data);
	return r;
}

static void origin_cancel(void *context)
{
	struct origin *origin = context;

	if (!origin->link || origin->closer)
		return;
	if (sd_event_add_defer(zhub_event(origin->hub), &origin->closer, on_close, origin) < 0)
		origin->closer = NULL; /* stays open: costs memory, nothing else */
}

static enum chunk_source_state origin_state(void *context)
{
	const struct origin *origin = context;

	if (!origin->link || origin->closer)
		return CHUNK_SOURCE_CLOSED;
	return link_is_up(origin->link) ? CHUNK_SOURCE_UP : CHUNK_SOURCE_OPENING;
}

struct chunk_source origin_source(struct origin *origin)
{
	return (struct chunk_source){.context = origin,
				     .request = origin_request,
				     .tell = origin_tell,
				     .cancel = origin_cancel,
				     .state = origin_state};
}
