/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's shell with a real journal and chunk store, which serves release 1, to which the parts of
 * the input happen one after the other. The first byte says what:
 *
 *	m	a message of the coordinator; in a desired state a digest of 32 bytes 1 (or 2, 3)
 *		stands for release 1 (2, 3) of this fleet
 *	h	a reply of the helper		o	an object of the data channel
 *	w	ten seconds pass		l L	the link to the coordinator breaks, stands
 *	a	the agent is killed and starts anew
 *
 * The node may be told anything; it must go on, and start anew from what it wrote down.
 */
#include "tests/unit/agent/fleetless.h"

#include "base/mem.h"
#include "base/str.h"
#include "fuzz.h"

#include <string.h>

enum { PARTS_MAX = 12, RELEASES = 3, CHUNK = 700, WAIT_MS = 10000 };

static struct digest releases[RELEASES];

static struct node *prepare(void)
{
	static const char *const versions[] = {"1.0.0", "2.0.0", "3.0.0"};
	struct node *node = mem_alloc(sizeof(*node));
	struct assignment first;

	fuzz_fixed_random();
	node_create(node);
	for (unsigned i = 0; i < RELEASES; i++)
		releases[i] = node_release(node, versions[i], 10 * i, 2, CHUNK);
	node_start(node);
	first = node_assignment(&releases[0], &(struct digest){{0}}, GOAL_NONE);
	node_desire(node, 1, &first, 1);
	node_run(node, WAIT_MS);
	return node;
}

static void translate(struct digest *digest)
{
	uint8_t number = digest->bytes[0];

	for (size_t i = 1; i < DIGEST_SIZE; i++)
		if (digest->bytes[i] != number)
			return;
	if (number >= 1 && number <= RELEASES)
		*digest = releases[number - 1];
}

static void hear(struct node *node, const uint8_t *data, size_t size)
{
	struct message message = {0};
	struct desired_state *desired;

	if (message_decode(data, size, CHANNEL_AGENTS, FROM_COORDINATOR, &message, NULL) == 0 &&
	    message.type == MESSAGE_DESIRED) {
		desired = message.body;
		for (size_t i = 0; i < desired->assignments_count; i++) {
			translate(&desired->assignments[i].base);
			translate(&desired->assignments[i].next);
		}
		node_send(node, MESSAGE_DESIRED, desired);
	} else {
		agent_on_message(node->agent, data, size);
	}
	message_free(&message);
}

static void helper_says(struct node *node, const uint8_t *data, size_t size)
{
	struct helper_reply reply;

	if (codec_decode(&codec_helper_reply, data, size, &reply, NULL) < 0)
		return;
	agent_on_helper(node->agent, &reply);
	codec_free(&codec_helper_reply, &reply);
}

static void object_comes(struct node *node, const uint8_t *data, size_t size)
{
	struct message message = {0};

	if (message_decode(data, size, CHANNEL_DATA, FROM_COORDINATOR, &message, NULL) == 0)
		agent_on_object(node->agent, SOURCE_ORIGIN, message.body);
	message_free(&message);
}

static void start_anew(struct node *node)
{
	node_restart_agent(node);
	node_start(node);
}

static void happen(struct node *node, struct fuzz_input input)
{
	switch (fuzz_byte(&input)) {
	case 'm':
		hear(node, input.at, input.left);
		return;
	case 'h':
		helper_says(node, input.at, input.left);
		return;
	case 'o':
		object_comes(node, input.at, input.left);
		return;
	case 'l':
		node_link(node, false);
		return;
	case 'L':
		node_link(node, true);
		return;
	case 'a':
		start_anew(node);
		return;
	default:
		node_run(node, WAIT_MS);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct node *node = prepare();
	struct node_status status;

	for (int i = 0; i < PARTS_MAX && input.left; i++) {
		struct bytes part = fuzz_part(&input);

		happen(node, (struct fuzz_input){part.data, part.size});
		node_run(node, 100);
	}
	agent_status(node->agent, &status);
	fuzz_encodes(&codec_node_status, &status, LIMIT_AGENT_MESSAGE);
	codec_free(&codec_node_status, &status);
	start_anew(node);
	node_run(node, WAIT_MS);
	node_destroy(node);
	free(node);
	return 0;
}
