/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world's functions put their answers into a queue that node_run() hands over as virtual time
 * passes: so nothing calls back into the agent from inside a call, as world.h demands.
 */
#include "fleetless.h"

#include "base/mem.h"
#include "base/str.h"
#include "evidence/record.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

static const uint64_t unix_start_ms = 1750000000000;

/* ---- the queue ---- */

static struct answer *enqueue(struct node *node, enum answer_kind kind, uint64_t delay_ms)
{
	struct answer *answer;

	assert(node->queued < NODE_QUEUE);
	answer = &node->queue[node->queued++];
	*answer = (struct answer){
		.kind = kind, .at_ms = node->now_ms + delay_ms, .order = node->order++};
	return answer;
}

static bool take_due(struct node *node, struct answer *ret)
{
	size_t best = SIZE_MAX;

	for (size_t i = 0; i < node->queued; i++)
		if (node->queue[i].at_ms <= node->now_ms &&
		    (best == SIZE_MAX || node->queue[i].order < node->queue[best].order))
			best = i;
	if (best == SIZE_MAX)
		return false;
	*ret = node->queue[best];
	node->queue[best] = node->queue[--node->queued];
	return true;
}

static uint64_t next_due(const struct node *node)
{
	uint64_t at = node->armed_ms;

	for (size_t i = 0; i < node->queued; i++)
		if (node->queue[i].at_ms < at)
			at = node->queue[i].at_ms;
	return at;
}

/* ---- the world ---- */

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

/* ---- the helper ---- */

static struct node_slot *find_slot(struct node *node, const char *deployment, enum colour colour)
{
	for (size_t i = 0; i < NODE_SLOTS; i++)
		if (node->slots[i].used && node->slots[i].colour == colour &&
		    str_equal(node->slots[i].deployment, deployment))
			return &node->slots[i];
	return NULL;
}

static bool is_bad(const struct node *node, const struct digest *release)
{
	return digest_equal(&node->bad, release);
}

static void fill_slot(struct helper_slot *ret, const struct node_slot *slot)
{
	*ret = (struct helper_slot){.colour = slot->colour,
				    .release = slot->release,
				    .state = slot->exited ? HELPER_SLOT_EXITED
							  : HELPER_SLOT_RUNNING,
				    .exit_code = slot->exited ? 7 : 0,
				    .probe_port = 8000};
	STR_CUT(ret->deployment, slot->deployment);
	snprintf(ret->address, sizeof(ret->address), "10.0.0.%u", slot->number);
}

static void fail(struct helper_reply *reply, int error, const char *check, const char *text)
{
	reply->error = (uint32_t)error;
	STR_CUT(reply->check, check);
	STR_CUT(reply->text, text);
}

static void help_start(struct node *node, const struct helper_request *request,
		       struct helper_reply *reply)
{
	struct node_slot *slot = find_slot(node, request->deployment, request->colour);

	if (node->forgotten) {
		fail(reply, ENOENT, "unpacked", "the release is not unpacked");
		return;
	}
	if (node->bad_start && is_bad(node, &request->release)) {
		fail(reply, EIO, "start", "exec: no such file");
		reply->logs = mem_str("runc: exec failed\n");
		return;
	}
	for (size_t i = 0; !slot && i < NODE_SLOTS; i++)
		if (!node->slots[i].used)
			slot = &node->slots[i];
	assert(slot);
	slot->number = (uint32_t)(slot - node->slots) + 2;
	slot->used = true;
	slot->exited = false;
	slot->colour = request->colour;
	slot->release = request->release;
	STR_CUT(slot->deployment, request->deployment);
	reply->slots = mem_array(1, sizeof(*reply->slots));
	reply->slots_count = 1;
	fill_slot(&reply->slots[0], slot);
}

static void help_traffic(struct node *node, const struct helper_request *request,
			 struct helper_reply *reply)
{
	if (node->bad_traffic) {
		fail(reply, EIO, "nftables", "netlink: no");
		return;
	}
	node->map_changes++;
	node->map_count = request->routes_count;
	for (size_t i = 0; i < request->routes_count; i++) {
		const struct helper_route *route = &request->routes[i];
		struct node_slot *slot = find_slot(node, route->deployment, route->colour);

		node->map[i] = *route;
		if (!slot || slot->exited || !digest_equal(&slot->release, &route->release))
			node->unroutable++;
	}
}

static void help_list(struct node *node, struct helper_reply *reply)
{
	reply->slots = mem_array(NODE_SLOTS, sizeof(*reply->slots));
	for (size_t i = 0; i < NODE_SLOTS; i++)
		if (node->slots[i].used)
			fill_slot(&reply->slots[reply->slots_count++], &node->slots[i]);
}

static void help(struct node *node, const struct helper_request *request,
		 struct helper_reply *reply)
{
	struct node_slot *slot = find_slot(node, request->deployment, request->colour);

	switch (request->op) {
	case HELPER_HELLO:
		STR_CUT(reply->runtime, "runc 1.1.5");
		break;
	case HELPER_PREFLIGHT:
		if (node->bad_preflight && is_bad(node, &request->release))
			fail(reply, ENOMEM, "memory", "the release asks for more than there is");
		break;
	case HELPER_UNPACK:
		node->forgotten = false;
		if ((node->bad_unpack || node->damaged_once) && is_bad(node, &request->release))
			fail(reply, EBADMSG, "layer", "a layer is not what it should be");
		node->damaged_once = false;
		break;
	case HELPER_START:
		help_start(node, request, reply);
		break;
	case HELPER_STOP:
		if (slot)
			slot->used = false;
		break;
	case HELPER_TRAFFIC:
		help_traffic(node, request, reply);
		break;
	case HELPER_LIST:
		help_list(node, reply);
		break;
	case HELPER_EXEC:
		reply->exit_code = node->bad_probe && is_bad(node, &request->release) ? 1 : 0;
		break;
	case HELPER_LOGS:
		reply->logs = mem_str("line one\nline two\n");
		break;
	case HELPER_CONNECTIONS:
		reply->connections = node->connections;
		break;
	case HELPER_CLOSE:
	case HELPER_PRUNE:
	case HELPER_OP_COUNT:
		break;
	}
}

static void answer_helper(struct node *node, struct answer *answer)
{
	struct helper_reply reply = {.id = answer->request.id};

	if (node->helper_up) {
		help(node, &answer->request, &reply);
		agent_on_helper(node->agent, &reply);
	}
	codec_free(&codec_helper_reply, &reply);
	codec_free(&codec_helper_request, &answer->request);
}

/* ---- probes, objects ---- */

static struct node_slot *slot_at(struct node *node, const char *address)
{
	unsigned number = 0;

	if (sscanf(address, "10.0.0.%u", &number) != 1 || number < 2 || number >= 2 + NODE_SLOTS ||
	    !node->slots[number - 2].used)
		return NULL;
	return &node->slots[number - 2];
}

static void answer_probe(struct node *node, const struct answer *answer)
{
	const struct node_slot *slot = slot_at(node, answer->address);
	bool ok = slot && !slot->exited && !(node->bad_probe && is_bad(node, &slot->release));

	agent_on_probe(node->agent, answer->id, ok, ok ? "" : "status 500");
}

static void answer_smoke(struct node *node, const struct answer *answer)
{
	bool ok = !(node->bad_smoke && is_bad(node, &answer->smoke.release));

	agent_on_smoke(node->agent, answer->id, ok, ok ? "" : "seven",
		       ok ? "" : "expected label 7, got 1");
}

static void answer_object(struct node *node, const struct answer *answer)
{
	struct msg_object object = {.kind = answer->object.kind,
				    .digest = answer->object.digest,
				    .missing = true};
	AUTO_FREE uint8_t *spoiled = NULL;

	if (!node->origin_up)
		return;
	for (size_t i = 0; i < node->objects_count; i++) {
		const struct node_object *at = &node->objects[i];

		if (!digest_equal(&at->digest, &object.digest))
			continue;
		object.missing = false;
		object.data = at->data;
		if (at->corrupt) {
			spoiled = mem_copy(at->data.data, at->data.size);
			spoiled[at->data.size / 2] ^= 1;
			object.data.data = spoiled;
		}
	}
	agent_on_object(node->agent, SOURCE_ORIGIN, &object);
}

static void hand_over(struct node *node, struct answer *answer)
{
	switch (answer->kind) {
	case ANSWER_HELPER:
		answer_helper(node, answer);
		break;
	case ANSWER_PROBE:
		answer_probe(node, answer);
		break;
	case ANSWER_SMOKE:
		answer_smoke(node, answer);
		break;
	case ANSWER_OBJECT:
		answer_object(node, answer);
		break;
	case ANSWER_SCRAPE:
		agent_on_scraped(node->agent, answer->id, node->metrics,
				 node->metrics ? strlen(node->metrics) : 0);
		break;
	case ANSWER_OBSERVED_ACK:
		if (node->link_up)
			node_send(node, MESSAGE_OBSERVED_ACK, &answer->ack);
		break;
	case ANSWER_SOURCE_UP:
		if (node->origin_up || node->origin_cut)
			break;
		node->origin_up = true;
		agent_on_source(node->agent, SOURCE_ORIGIN, true);
		break;
	}
}

/* ---- time ---- */

static void acknowledge(struct node *node)
{
	struct msg_ack ack = {.boot_epoch = node->status.boot_epoch,
			      .sequence = node->status.sequence};

	if (node->link_up && !node->no_acks)
		node_send(node, MESSAGE_ACK, &ack);
}

void node_run(struct node *node, uint64_t ms)
{
	uint64_t end = node->now_ms + ms;
	size_t statuses = node->statuses;
	struct answer answer;

	while (next_due(node) <= end) {
		uint64_t at = next_due(node);

		if (at > node->now_ms)
			node->now_ms = at;
		if (take_due(node, &answer))
			hand_over(node, &answer);
		else
			agent_tick(node->agent, node->now_ms);
		if (statuses != node->statuses)
			acknowledge(node);
		statuses = node->statuses;
	}
	node->now_ms = end;
}

bool node_run_until(struct node *node, enum node_state state, uint64_t ms)
{
	for (uint64_t end = node->now_ms + ms; node->now_ms < end;) {
		struct node_status status;
		bool found = false;

		node_run(node, 10);
		agent_status(node->agent, &status);
		for (size_t i = 0; i < status.deployments_count; i++)
			found = found || status.deployments[i].state == state;
		codec_free(&codec_node_status, &status);
		if (found)
			return true;
	}
	return false;
}

/* ---- from outside ---- */

void node_send(struct node *node, enum message_type type, const void *body)
{
	struct bytes bytes = {0};

	assert(message_encode(type, body, &bytes, NULL) == 0);
	agent_on_message(node->agent, bytes.data, bytes.size);
	free(bytes.data);
}

struct assignment node_assignment(const struct digest *base, const struct digest *next,
				  enum goal goal)
{
	struct assignment a = {.deployment = "ocr",
			       .goal = goal,
			       .bake_ms = 10000,
			       .drain_ms = 5000,
			       .keep_warm_ms = 30000,
			       .node_deadline_ms = 600000};

	if (base)
		a.base = *base;
	if (next) {
		a.next = *next;
		memcpy(a.rollout.bytes, next->bytes, sizeof(a.rollout.bytes));
	}
	return a;
}

void node_desire(struct node *node, uint64_t generation, const struct assignment *assignments,
		 size_t count)
{
	struct desired_state desired = {.epoch = 1, .generation = generation};

	desired.assignments = mem_array(count + 1, sizeof(*assignments));
	for (size_t i = 0; i < count; i++)
		desired.assignments[i] = assignments[i];
	desired.assignments_count = count;
	node_send(node, MESSAGE_DESIRED, &desired);
	free(desired.assignments);
}

void node_link(struct node *node, bool up)
{
	node->link_up = up;
	if (up)
		agent_on_link_up(node->agent);
	else
		agent_on_link_down(node->agent);
}

void node_helper(struct node *node, bool up)
{
	node->helper_up = up;
	if (up)
		agent_on_helper_up(node->agent);
	else
		agent_on_helper_down(node->agent);
}

void node_observe(struct node *node, const struct digest *release, const char *text)
{
	for (size_t i = 0; i < NODE_SLOTS; i++) {
		struct node_socket *s = &node->sockets[i];
		const struct node_slot *slot =
			s->handle == 0 ? NULL : find_slot(node, s->deployment, s->colour);

		if (!slot || slot->exited || !digest_equal(&slot->release, release))
			continue;
		assert(s->count < ARRAY_SIZE(s->waiting));
		s->waiting[s->count++] = (struct bytes){mem_copy(text, strlen(text)), strlen(text)};
		while (s->count > 0 && agent_on_observed(node->agent, s->handle) == 0)
			;
		return;
	}
}

void node_exit_slot(struct node *node, const struct digest *release)
{
	for (size_t i = 0; i < NODE_SLOTS; i++) {
		struct helper_slot slot;
		struct helper_reply reply = {.event = HELPER_EXITED, .slots = &slot,
					     .slots_count = 1, .logs = (char *)"Segfault\n"};

		if (!node->slots[i].used || !digest_equal(&node->slots[i].release, release))
			continue;
		node->slots[i].exited = true;
		fill_slot(&slot, &node->slots[i]);
		if (node->helper_up)
			agent_on_helper(node->agent, &reply);
	}
}

const struct deployment_report *node_report(const struct node *node)
{
	for (size_t i = 0; i < node->status.deployments_count; i++)
		if (str_equal(node->status.deployments[i].deployment, "ocr"))
			return &node->status.deployments[i];
	return NULL;
}

struct digest node_reached(const struct node *node)
{
	struct digest none = {0};

	for (size_t i = 0; i < node->map_count; i++) {
		const struct helper_route *route = &node->map[i];
		struct node_slot *slot =
			find_slot((struct node *)node, route->deployment, route->colour);

		if (str_equal(route->deployment, "ocr") && slot && !slot->exited)
			return slot->release;
	}
	return none;
}

/* ---- releases ---- */

static struct digest put_object(struct node *node, const void *data, size_t size)
{
	struct node_object *object;
	struct digest digest;

	digest_of(&digest, data, size);
	for (size_t i = 0; i < node->objects_count; i++)
		if (digest_equal(&node->objects[i].digest, &digest))
			return digest;
	assert(node->objects_count < NODE_OBJECTS);
	object = &node->objects[node->objects_count++];
	object->digest = digest;
	object->data = (struct bytes){mem_copy(data, size), size};
	return digest;
}

static void make_blob(struct node *node, unsigned seed, size_t chunk_size, size_t chunks,
		      struct release_blob *blob)
{
	struct chunk_index index = {.chunks = mem_array(chunks, sizeof(struct chunk_ref)),
				    .chunks_count = chunks};
	AUTO_FREE uint8_t *content = mem_alloc(chunk_size * chunks);
	struct bytes bytes = {0};
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;

	for (size_t i = 0; i < chunk_size * chunks; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		content[i] = (uint8_t)x;
	}
	for (size_t i = 0; i < chunks; i++)
		index.chunks[i] = (struct chunk_ref){
			put_object(node, content + i * chunk_size, chunk_size), chunk_size};
	digest_of(&blob->content, content, chunk_size * chunks);
	blob->size = chunk_size * chunks;
	assert(codec_encode(&codec_chunk_index, &index, LIMIT_OBJECT, &bytes, NULL) == 0);
	blob->index = put_object(node, bytes.data, bytes.size);
	blob->index_size = bytes.size;
	free(bytes.data);
	free(index.chunks);
}

struct digest node_release(struct node *node, const char *version, unsigned seed,
			   size_t blobs_count, size_t chunk_size)
{
	struct release release = {.model = "ocr", .os = "linux", .arch = "amd64"};
	struct envelope envelope = {0};
	struct bytes bytes = {0};
	struct digest digest;
	struct err err = {0};

	STR_CUT(release.version, version);
	release.serve = (struct release_serve){.port = 8080, .container_port = 8000};
	release.health = (struct release_health){.kind = HEALTH_HTTP,
						 .http_path = mem_str("/healthz"),
						 .interval_ms = 2000,
						 .timeout_ms = 1000,
						 .failures = 3,
						 .start_period_ms = 3000};
	if (node->by_command) {
		release.health.kind = HEALTH_COMMAND;
		release.health.command = mem_array(1, sizeof(struct text_item));
		release.health.command[0].text = mem_str("/check");
		release.health.command_count = 1;
		free(release.health.http_path);
		release.health.http_path = NULL;
	}
	release.argv = mem_array(1, sizeof(*release.argv));
	release.argv[0].text = mem_str("/server");
	release.argv_count = 1;
	release.user = mem_str("");
	release.workdir = mem_str("/");
	release.smokes = mem_array(1, sizeof(*release.smokes));
	release.smokes_count = 1;
	release.smokes[0] = (struct release_smoke){
		.name = mem_str("seven"), .method = mem_str("GET"), .path = mem_str("/")};
	release.blobs = mem_array(blobs_count, sizeof(*release.blobs));
	release.blobs_count = blobs_count;
	if (node->with_metrics)
		release.observe = (struct release_observe){
			.metrics = mem_str("/metrics"),
			.requests = mem_str("requests_total"),
			.errors = mem_str("requests_total{code=\"5*\"}"),
			.latency = mem_str("seconds"),
		};
	if (node->baseline.size > 0)
		release.baseline = (struct bytes){mem_copy(node->baseline.data, node->baseline.size),
						  node->baseline.size};
	for (size_t i = 0; i < blobs_count; i++) {
		release.blobs[i].kind = i == 0 ? BLOB_LAYER : BLOB_FILE;
		if (i > 0) {
			release.blobs[i].path = mem_format("file-%03zu", i);
			release.blobs[i].mode = 0644;
		}
		make_blob(node, seed + (unsigned)i, chunk_size, 1 + i % 5, &release.blobs[i]);
	}
	memset(release.blobs[0].diff_id, 7, DIGEST_SIZE);
	if (release_encode(&release, &envelope.payload, &digest, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	envelope_sign(&envelope, SIGNED_RELEASE, &node->key);
	assert(codec_encode(&codec_envelope, &envelope, LIMIT_MANIFEST, &bytes, NULL) == 0);
	assert(node->objects_count < NODE_OBJECTS);
	node->objects[node->objects_count++] = (struct node_object){digest, bytes, false};
	codec_free(&codec_envelope, &envelope);
	release_free(&release);
	return digest;
}

/* ---- life and death ---- */

uint64_t node_unix_ms(void)
{
	return unix_start_ms;
}

static void open_all(struct node *node)
{
	struct err err = {0};
	AUTO_FREE char *path = mem_format("%s/journal.db", node->dir);
	struct agent_options options = {
		.name = "n1", .fetch_rate = node->fetch_rate, .peering = node->peering};
	struct chunk_store_config config = {.dir = node->dir,
					    .root = &node->root,
					    .free_percent = 0,
					    .unix_ms = node_unix_ms};
	int r = journal_open(path, &node->journal, &err);

	config.journal = node->journal;
	if (r == 0)
		r = chunk_store_open(&config, &node->store, &err);
	if (r == 0) {
		node->world.store = chunk_store_ops(node->store);
		r = agent_create(&options, &node->world, node->journal, &node->agent, &err);
	}
	if (r < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	node->armed_ms = UINT64_MAX;
}

void node_create(struct node *node)
{
	*node = (struct node){.now_ms = 1000000, .random = 42, .boot_id = "boot-1"};
	STR_CUT(node->dir, "/dev/shm/covey-agent-test-XXXXXX");
	assert(mkdtemp(node->dir));
	sign_key_generate(&node->key);
	node->root = (struct root_document){
		.version = 1, .release_threshold = 1, .release_keys_count = 1};
	node->root.release_keys = mem_array(1, sizeof(struct public_key));
	node->root.release_keys[0] = node->key.public_key;
	node->world = (struct agent_world){
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
	open_all(node);
}

void node_start(struct node *node)
{
	agent_start(node->agent);
	node_helper(node, true);
	node_link(node, true);
	node_run(node, 1000);
}

static void drop_queue(struct node *node)
{
	for (size_t i = 0; i < node->queued; i++)
		if (node->queue[i].kind == ANSWER_HELPER)
			codec_free(&codec_helper_request, &node->queue[i].request);
	node->queued = 0;
}

static void close_all(struct node *node)
{
	agent_free(node->agent);
	chunk_store_close(node->store);
	journal_close(node->journal);
	drop_queue(node);
	node->link_up = node->helper_up = node->origin_up = false;
}

void node_restart_agent(struct node *node)
{
	/* What the helper was asked for it does all the same. */
	for (size_t i = 0; i < node->queued; i++)
		if (node->queue[i].kind == ANSWER_HELPER) {
			struct helper_reply reply = {0};

			help(node, &node->queue[i].request, &reply);
			codec_free(&codec_helper_reply, &reply);
		}
	close_all(node);
	open_all(node);
}

void node_reboot(struct node *node)
{
	close_all(node);
	memset(node->slots, 0, sizeof(node->slots));
	node->map_count = 0;
	node->now_ms = 20000;
	node->boot_id[5]++;
	open_all(node);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void node_destroy(struct node *node)
{
	close_all(node);
	nftw(node->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	codec_free(&codec_node_status, &node->status);
	codec_free(&codec_msg_peer_report, &node->peers_said);
	codec_free(&codec_observation_record, &node->observed);
	codec_free(&codec_observation_record, &node->newest);
	free(node->proposal.data);
	free(node->logs);
	free(node->root.release_keys);
	for (size_t i = 0; i < node->objects_count; i++)
		free(node->objects[i].data.data);
}
