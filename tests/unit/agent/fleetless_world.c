/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of world.h. What asks for an answer puts it into the queue, for later: nothing here
 * calls back into the agent.
 */
#include "fleetless_inside.h"

#include "base/mem.h"
#include "base/str.h"
#include "evidence/record.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

#include <assert.h>
#include <stdio.h>

static const uint64_t unix_start_ms = 1750000000000;

uint64_t node_unix_ms(void)
{
	return unix_start_ms;
}

static struct answer *enqueue(struct node *node, enum answer_kind kind, uint64_t delay_ms)
{
	struct answer *answer;

	assert(node->queued < NODE_QUEUE);
	answer = &node->queue[node->queued++];
	*answer = (struct answer){
		.kind = kind, .at_ms = node->now_ms + delay_ms, .order = node->order++};
	return answer;
}

static uint64_t world_now(void *context)
{
	return ((struct node *)context)->now_ms;
}

static uint64_t world_unix(void *context)
{
	return unix_start_ms + ((struct node *)context)->now_ms;
}

static uint64_t world_random(void *context)
{
	struct node *node = context;

	node->random = node->random * 6364136223846793005u + 1442695040888963407u;
	return node->random >> 11;
}

static void world_boot_id(void *context, char ret_text[BOOT_ID_TEXT_MAX])
{
	str_cut(ret_text, BOOT_ID_TEXT_MAX, ((struct node *)context)->boot_id);
}

static void world_inventory(void *context, struct inventory *ret)
{
	*ret = (struct inventory){.cpus = 2, .hostname = "n1", .os = "linux", .arch = "amd64"};
}

/* As the coordinator does: what is not above the mark was counted already. */
static void take_observed(struct node *node, struct msg_observed *message)
{
	struct msg_observed_ack ack;

	node->observed_messages++;
	for (size_t i = 0; i < message->records_count; i++) {
		struct observation_record *record = &message->records[i];

		if (i > 0)
			assert(record_order(&record[-1], record->boot_epoch, record->sequence) < 0);
		if (record_order(record, node->mark_boot_epoch, node->mark_sequence) <= 0)
			continue;
		node->mark_boot_epoch = record->boot_epoch;
		node->mark_sequence = record->sequence;
		node->observations++;
		record_add(&node->observed, record);
		codec_free(&codec_observation_record, &node->newest);
		codec_copy(&codec_observation_record, &node->newest, record);
	}
	if (message->proposals_count > 0) {
		free(node->proposal.data);
		node->proposal = message->proposals[0].baseline;
		message->proposals[0].baseline = (struct bytes){0};
	}
	ack = (struct msg_observed_ack){node->mark_boot_epoch, node->mark_sequence};
	if (!node->no_observed_acks)
		enqueue(node, ANSWER_OBSERVED_ACK, 10)->ack = ack;
}

static int world_send(void *context, const void *data, size_t size)
{
	struct node *node = context;
	struct message message;

	if (!node->link_up)
		return -ENOTCONN;
	assert(message_decode(data, size, CHANNEL_AGENTS, FROM_AGENT, &message, NULL) == 0);
	switch ((int)message.type) {
	case MESSAGE_SUBSCRIBE:
		node->subscribes++;
		node->subscribed = *(struct msg_subscribe *)message.body;
		break;
	case MESSAGE_HEARTBEAT:
		node->heartbeats++;
		node->beat = *(struct msg_heartbeat *)message.body;
		break;
	case MESSAGE_STATUS:
		node->statuses++;
		codec_free(&codec_node_status, &node->status);
		codec_copy(&codec_node_status, &node->status, message.body);
		break;
	case MESSAGE_OBSERVED:
		take_observed(node, message.body);
		break;
	case MESSAGE_PEER_REPORT:
		node->peer_reports++;
		codec_free(&codec_msg_peer_report, &node->peers_said);
		codec_copy(&codec_msg_peer_report, &node->peers_said, message.body);
		break;
	case MESSAGE_LEAVE:
		node->leaves++;
		break;
	case MESSAGE_LOGS:
		node->log_answers++;
		free(node->logs);
		node->logs = TAKE_PTR(((struct msg_logs *)message.body)->text);
		break;
	default:
		abort(); /* a message that agents do not send */
	}
	message_free(&message);
	return 0;
}

static int world_helper(void *context, const struct helper_request *request)
{
	struct node *node = context;
	struct answer *answer;

	if (!node->helper_up)
		return -ENOTCONN;
	node->asked[request->op]++;
	answer = enqueue(node, ANSWER_HELPER, 20);
	codec_copy(&codec_helper_request, &answer->request, request);
	return 0;
}

static void world_probe(void *context, const struct agent_probe *probe)
{
	struct answer *answer = enqueue(context, ANSWER_PROBE, 2);

	answer->probe = *probe;
	answer->id = probe->id;
	STR_CUT(answer->address, probe->address);
}

static void world_smoke(void *context, const struct agent_smoke *smoke)
{
	struct answer *answer = enqueue(context, ANSWER_SMOKE, 100);

	answer->smoke = *smoke;
	answer->id = smoke->id;
	STR_CUT(answer->address, smoke->address);
}

static void world_cancel(void *context, uint64_t id)
{
	struct node *node = context;

	for (size_t i = 0; i < node->queued;)
		if ((node->queue[i].kind == ANSWER_PROBE || node->queue[i].kind == ANSWER_SMOKE) &&
		    node->queue[i].id == id)
			node->queue[i] = node->queue[--node->queued];
		else
			i++;
}

static int world_get(void *context, uint32_t source, const struct wanted_object *object)
{
	struct node *node = context;

	if (!node->origin_up) {
		if (!node->origin_cut)
			enqueue(node, ANSWER_SOURCE_UP, 30);
		return -ENOTCONN;
	}
	if (node->busy_gets > 0 && node->random % 2 == 0) {
		node->busy_gets--;
		return -EAGAIN;
	}
	node->gets++;
	node->chunk_gets += object->kind == OBJECT_CHUNK;
	enqueue(node, ANSWER_OBJECT, 5)->object = *object;
	return 0;
}

static void world_get_idle(void *context)
{
	((struct node *)context)->origin_up = false;
}

static void world_relink(void *context)
{
	((struct node *)context)->relinks++;
}

static void world_refused(void *context, const char *text)
{
	(void)context;
	(void)text;
}

static void world_scrape(void *context, const struct agent_probe *probe)
{
	struct node *node = context;

	assert(str_equal(probe->http_path, "/metrics") && probe->port == 8000);
	node->scrapes++;
	enqueue(node, ANSWER_SCRAPE, 5)->id = probe->id;
}

static struct node_socket *find_socket(struct node *node, uint64_t handle)
{
	for (size_t i = 0; i < NODE_SLOTS; i++)
		if (node->sockets[i].handle == handle)
			return &node->sockets[i];
	return NULL;
}

static int world_observe_open(void *context, const char *deployment, enum colour colour,
			      uint64_t handle)
{
	struct node_socket *s = find_socket(context, 0);

	assert(s);
	*s = (struct node_socket){.handle = handle, .colour = colour};
	STR_CUT(s->deployment, deployment);
	return 0;
}

static ssize_t world_observe_read(void *context, uint64_t handle, void *data, size_t size)
{
	struct node_socket *s = find_socket(context, handle);
	ssize_t got;

	if (!s || s->count == 0)
		return -EAGAIN;
	got = s->waiting[0].size > size ? -EMSGSIZE : (ssize_t)s->waiting[0].size;
	if (got > 0)
		memcpy(data, s->waiting[0].data, (size_t)got);
	free(s->waiting[0].data);
	s->count--;
	memmove(s->waiting, s->waiting + 1, s->count * sizeof(s->waiting[0]));
	return got;
}

static void world_observe_close(void *context, uint64_t handle)
{
	struct node_socket *s = find_socket(context, handle);

	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++)
		free(s->waiting[i].data);
	*s = (struct node_socket){0};
}

static bool world_memory_is_short(void *context)
{
	return ((struct node *)context)->is_short;
}

static void world_arm(void *context, uint64_t at_ms)
{
	((struct node *)context)->armed_ms = at_ms;
}

static void world_log(void *context, enum log_level level, const char *text)
{
	struct node *node = context;

	node->errors += level == LOG_LEVEL_ERR;
	if (node->verbose || getenv("NODE_VERBOSE"))
		fprintf(stderr, "%8llu <%d> %s\n", (unsigned long long)node->now_ms, (int)level,
			text);
}

void fleetless_world(struct node *node, struct agent_world *ret_world)
{
	*ret_world = (struct agent_world){
		.context = node,
		.now_ms = world_now,
		.unix_ms = world_unix,
		.random = world_random,
		.boot_id = world_boot_id,
		.inventory = world_inventory,
		.send = world_send,
		.helper = world_helper,
		.probe = world_probe,
		.smoke = world_smoke,
		.cancel = world_cancel,
		.get = world_get,
		.get_idle = world_get_idle,
		.relink = world_relink,
		.refused = world_refused,
		.scrape = world_scrape,
		.observe_open = world_observe_open,
		.observe_read = world_observe_read,
		.observe_close = world_observe_close,
		.memory_is_short = world_memory_is_short,
		.arm = world_arm,
		.log = world_log,
	};
}
