/* SPDX-License-Identifier: Apache-2.0 */
/* The made-up helper: slots that start and end at once, and what the test wants to go wrong. */
#include "fleetless_inside.h"

#include "base/mem.h"
#include "base/str.h"

#include <assert.h>
#include <stdio.h>

struct node_slot *fleetless_slot(struct node *node, const char *deployment, enum colour colour)
{
	for (size_t i = 0; i < NODE_SLOTS; i++)
		if (node->slots[i].used && node->slots[i].colour == colour &&
		    str_equal(node->slots[i].deployment, deployment))
			return &node->slots[i];
	return NULL;
}

bool fleetless_is_bad(const struct node *node, const struct digest *release)
{
	return digest_equal(&node->bad, release);
}

void fleetless_describe(struct helper_slot *ret, const struct node_slot *slot)
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
	struct node_slot *slot = fleetless_slot(node, request->deployment, request->colour);

	if (node->forgotten) {
		fail(reply, ENOENT, "unpacked", "the release is not unpacked");
		return;
	}
	if (node->bad_start && fleetless_is_bad(node, &request->release)) {
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
	fleetless_describe(&reply->slots[0], slot);
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
		struct node_slot *slot = fleetless_slot(node, route->deployment, route->colour);

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
			fleetless_describe(&reply->slots[reply->slots_count++], &node->slots[i]);
}

void fleetless_help(struct node *node, const struct helper_request *request,
		    struct helper_reply *reply)
{
	struct node_slot *slot = fleetless_slot(node, request->deployment, request->colour);

	switch (request->op) {
	case HELPER_HELLO:
		STR_CUT(reply->runtime, "runc 1.1.5");
		break;
	case HELPER_PREFLIGHT:
		if (node->bad_preflight && fleetless_is_bad(node, &request->release))
			fail(reply, ENOMEM, "memory", "the release asks for more than there is");
		break;
	case HELPER_UNPACK:
		node->forgotten = false;
		if ((node->bad_unpack || node->damaged_once) &&
		    fleetless_is_bad(node, &request->release))
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
		reply->exit_code = node->bad_probe && fleetless_is_bad(node, &request->release);
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

void fleetless_answer_helper(struct node *node, struct answer *answer)
{
	struct helper_reply reply = {.id = answer->request.id};

	if (node->helper_up) {
		fleetless_help(node, &answer->request, &reply);
		agent_on_helper(node->agent, &reply);
	}
	codec_free(&codec_helper_reply, &reply);
	codec_free(&codec_helper_request, &answer->request);
}
