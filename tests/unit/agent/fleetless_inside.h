/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the made-up node know of each other. */
#pragma once

#include "fleetless.h"

void fleetless_world(struct node *node, struct agent_world *ret_world);
/* NULL: nothing was started there. */
struct node_slot *fleetless_slot(struct node *node, const char *deployment, enum colour colour);
/* Is it the release that the node's bad_... speak of? */
bool fleetless_is_bad(const struct node *node, const struct digest *release);
void fleetless_describe(struct helper_slot *ret, const struct node_slot *slot);
/* Carries a request out. */
void fleetless_help(struct node *node, const struct helper_request *request,
		    struct helper_reply *reply);
/* The same, and tells the agent. */
void fleetless_answer_helper(struct node *node, struct answer *answer);
