/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that joining leaves (agent/cli/join.c) and the service reads:
 *
 *   <trust_dir>/root.doc       the pinned root document, 0644; the helper checks against it too
 *   <state_dir>/identity.doc   what the coordinator vouches for about this node
 *   <state_dir>/link.key       Curve25519 of the links
 *   <state_dir>/sign.key       Ed25519, from which the node's id comes
 */
#pragma once

#include "agent/config.h"
#include "protocol/transport/keyfile.h"

#define JOINED_ROOT "root.doc"
#define JOINED_IDENTITY "identity.doc"
#define JOINED_LINK_KEY "link.key"
#define JOINED_SIGN_KEY "sign.key"

struct joined {
	struct root_document root;
	struct identity identity;
	struct link_key link_key;
};

/* -ENOENT: this node has not joined; -EKEYREJECTED: the files do not belong together. */
int joined_load(const struct agent_config *config, struct joined *ret_joined,
		struct err *err) COVEY_MUST_CHECK;
void joined_free(struct joined *joined);
