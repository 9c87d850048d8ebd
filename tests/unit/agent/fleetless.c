/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world's functions put their answers into a queue that node_run() hands over as virtual time
 * passes: so nothing calls back into the agent from inside a call, as world.h demands.
 */
#include "fleetless_inside.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"

#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

/* ---- the queue ---- */

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
	bool ok = slot && !slot->exited &&
		  !(node->bad_probe && fleetless_is_bad(node, &slot->release));

	agent_on_probe(node->agent, answer->id, ok, ok ? "" : "status 500");
}

static void answer_smoke(struct node *node, const struct answer *answer)
{
	bool ok = !(node->bad_smoke && fleetless_is_bad(node, &answer->smoke.release));

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
		fleetless_answer_helper(node, answer);
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
			s->handle == 0 ? NULL : fleetless_slot(node, s->deployment, s->colour);

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
		fleetless_describe(&slot, &node->slots[i]);
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
			fleetless_slot((struct node *)node, route->deployment, route->colour);

		if (str_equal(route->deployment, "ocr") && slot && !slot->exited)
			return slot->release;
	}
	return none;
}

/* ---- life and death ---- */

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
	fleetless_world(node, &node->world);
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

			fleetless_help(node, &node->queue[i].request, &reply);
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
