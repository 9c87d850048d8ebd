/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node gone bad: it has a node's real keys and record, speaks the protocol as it should, says
 * that it has all of every release, and then gives what it likes.
 *   rogue_peer AGENT.CONF bad    sends bytes that are not the chunk
 *   rogue_peer AGENT.CONF lie    refuses what it said it has
 *   rogue_peer AGENT.CONF stall  never answers
 *   rogue_peer AGENT.CONF hoard  asks everybody for everything, confirms nothing, gives nothing
 * It prints a line for each neighbour that connects and for each request.
 */
#include "agent/chunks/peers.h"
#include "agent/joined.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/chunk_data.h"
#include "protocol/codec_tables.h"
#include "protocol/enrol.h"
#include "protocol/message.h"
#include "protocol/transport/link.h"
#include "protocol/transport/zcontext.h"

#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

enum { BEAT_US = 5000000, GARBAGE_SIZE = 256 << 10, HOARD_REQUESTS = 64 };

struct rogue {
	struct agent_config config;
	struct joined joined;
	const char *mode;
	sd_event *event;
	struct link *link;
	struct peers *peers;
	struct peer_ops ops;
	struct msg_neighbours neighbours;
};

/* ---- to the coordinator ---- */

static void tell(struct rogue *rogue, enum message_type type, const void *body)
{
	struct bytes bytes = {0};

	if (message_encode(type, body, &bytes, NULL) == 0)
		(void)!link_send(rogue->link, bytes.data, bytes.size);
	free(bytes.data);
}

static void on_link_up(void *context)
{
	struct rogue *rogue = context;
	struct msg_subscribe subscribe = {.protocol_version = PROTOCOL_VERSION,
					  .agent_version = COVEY_VERSION,
					  .boot_epoch = UINT32_MAX};
	const struct msg_peer_report report = {.port = rogue->config.peers.port};

	STR_CUT(subscribe.name, rogue->joined.identity.name);
	tell(rogue, MESSAGE_SUBSCRIBE, &subscribe);
	tell(rogue, MESSAGE_PEER_REPORT, &report);
}

static void on_link_down(void *context, enum link_cause cause, const char *text)
{
	printf("coordinator: %s\n", text);
}

static void take_neighbours(struct rogue *rogue)
{
	const struct msg_neighbours *list = &rogue->neighbours;
	struct peer_place places[LIMIT_NEIGHBOURS];
	struct peer_links links = {
		.identity = list->identity, .places = places, .count = list->neighbours_count};

	for (uint32_t i = 0; i < links.count; i++)
		places[i] = (struct peer_place){i + 1, &list->neighbours[i]};
	printf("neighbours %zu\n", links.count);
	rogue->ops.set(rogue->ops.context, &links);
}

static void on_link_message(void *context, const void *data, size_t size)
{
	struct rogue *rogue = context;
	struct message message = {0};

	if (message_decode(data, size, CHANNEL_AGENTS, FROM_COORDINATOR, &message, NULL) < 0)
		return;
	if (message.type == MESSAGE_NEIGHBOURS) {
		codec_free(&codec_msg_neighbours, &rogue->neighbours);
		codec_copy(&codec_msg_neighbours, &rogue->neighbours, message.body);
		take_neighbours(rogue);
	}
	message_free(&message);
}

static int on_beat(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct rogue *rogue = userdata;
	const struct msg_heartbeat beat = {.boot_epoch = UINT32_MAX};

	tell(rogue, MESSAGE_HEARTBEAT, &beat);
	sd_event_source_set_time_relative(source, BEAT_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* ---- to neighbours ---- */

static void say(struct rogue *rogue, uint32_t peer, enum message_type type, const void *body)
{
	struct bytes bytes = {0};

	if (message_encode(type, body, &bytes, NULL) == 0)
		(void)!rogue->ops.send(rogue->ops.context, peer, PEER_NEWS, bytes.data, bytes.size);
	free(bytes.data);
}

static void on_up(void *context, uint32_t peer)
{
	printf("up %u\n", peer);
}

static void on_down(void *context, uint32_t peer, enum peer_fault fault, const char *text)
{
	printf("down %u: %s\n", peer, text);
}

static void hoard(struct rogue *rogue, uint32_t peer, const struct msg_offer *offer)
{
	for (uint32_t i = 0; i < offer->chunks && i < HOARD_REQUESTS; i++) {
		const struct msg_request request = {.release = offer->release, .chunk = i};

		say(rogue, peer, MESSAGE_PEER_REQUEST, &request);
	}
}

/* Whatever a neighbour has, it has, too. */
static void on_offer(struct rogue *rogue, uint32_t peer, const struct msg_offer *theirs)
{
	size_t size = (theirs->chunks + 7) / 8;
	AUTO_FREE uint8_t *bits = mem_alloc(size + 1);
	struct msg_offer offer = *theirs;

	memset(bits, 0xff, size);
	offer.bitmap = (struct bytes){bits, size};
	if (str_equal(rogue->mode, "hoard"))
		hoard(rogue, peer, theirs);
	else
		say(rogue, peer, MESSAGE_PEER_OFFER, &offer);
}

static void give_garbage(struct rogue *rogue, uint32_t peer, const struct msg_request *request)
{
	uint8_t *message = mem_alloc(CHUNK_DATA_HEAD_MAX + GARBAGE_SIZE);
	size_t head = chunk_data_head(message, MESSAGE_PEER_CHUNK, &request->release,
				      request->chunk, GARBAGE_SIZE);

	if (rogue->ops.send_owned(rogue->ops.context, peer, PEER_DATA, message,
				  head + GARBAGE_SIZE) < 0)
		free(message);
}

static void on_request(struct rogue *rogue, uint32_t peer, const struct msg_request *request)
{
	const struct msg_refuse refusal = {.reason = REFUSAL_MISSING,
					   .release = request->release,
					   .chunk = request->chunk};

	printf("asked %u\n", request->chunk);
	if (str_equal(rogue->mode, "bad"))
		give_garbage(rogue, peer, request);
	else if (str_equal(rogue->mode, "lie"))
		say(rogue, peer, MESSAGE_PEER_REFUSE, &refusal);
}

static void on_message(void *context, uint32_t peer, enum peer_way way, const void *data,
		       size_t size)
{
	struct rogue *rogue = context;
	struct message message = {0};

	if (way == PEER_DATA) {
		printf("got %zu\n", size);
		return;
	}
	if (message_decode(data, size, CHANNEL_PEERS, FROM_PEER, &message, NULL) < 0)
		return;
	if (message.type == MESSAGE_PEER_OFFER)
		on_offer(rogue, peer, message.body);
	else if (message.type == MESSAGE_PEER_REQUEST)
		on_request(rogue, peer, message.body);
	message_free(&message);
}

static void on_listens(void *context, const char *problem)
{
	printf("listens %s\n", problem);
}

/* ---- start ---- */

static int open_all(struct rogue *rogue, struct err *err)
{
	const struct link_events link_events = {
		.up = on_link_up, .down = on_link_down, .message = on_link_message};
	const struct peers_events events = {
		.up = on_up, .down = on_down, .message = on_message, .listens = on_listens};
	const struct zcontext_config sockets = {.max_sockets = 256};
	AUTO_FREE char *listen = mem_format("tcp://[::]:%u", rogue->config.peers.port);
	const struct peers_config peers = {.listen = listen,
					   .key = &rogue->joined.link_key,
					   .root = &rogue->joined.root,
					   .unix_ms = clock_unix_ms};
	struct link_config link = {.endpoint = rogue->joined.root.endpoint,
				   .key = &rogue->joined.link_key,
				   .server_key = &rogue->joined.root.server_key,
				   .max_message_size = LIMIT_DESIRED_MESSAGE};
	void *context;
	struct zhub *hub;
	int r = zcontext_new(&sockets, &context, err);

	if (r == 0 && (sd_event_default(&rogue->event) < 0 ||
		       zhub_new(rogue->event, context, &hub) < 0))
		r = -ENOMEM;
	if (r == 0)
		r = peers_new(hub, &peers, &events, rogue, &rogue->peers, err);
	if (r < 0)
		return r;
	rogue->ops = peers_ops(rogue->peers);
	if (sd_event_add_time_relative(rogue->event, NULL, CLOCK_MONOTONIC, BEAT_US, 0, on_beat,
				       rogue) < 0)
		return -ENOMEM;
	return link_new(hub, &link, &link_events, rogue, &rogue->link, err);
}

int main(int argc, char **argv)
{
	static struct rogue rogue;
	struct err err = {0};
	int r;

	if (argc != 3 || sodium_init() < 0)
		return 2;
	setlinebuf(stdout);
	rogue.mode = argv[2];
	r = config_load(argv[1], &rogue.config, &err);
	if (r == 0)
		r = joined_load(&rogue.config, &rogue.joined, &err);
	if (r == 0)
		r = open_all(&rogue, &err);
	if (r < 0) {
		fprintf(stderr, "rogue_peer: %s\n", err_text(&err, r));
		return 1;
	}
	return sd_event_loop(rogue.event) < 0;
}
