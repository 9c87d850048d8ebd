/* SPDX-License-Identifier: Apache-2.0 */
/* Of the service's wiring, the part between the shell and the sockets for neighbours. */
#pragma once

#include "agent/agent.h"
#include "agent/chunks/peers.h"
#include "agent/config.h"
#include "agent/joined.h"

/* agent: where the shell will be before the loop turns; borrowed, as the others. */
int daemon_peers_open(struct zhub *hub, const struct agent_config *config,
		      const struct joined *joined, struct agent **agent, struct peers **ret_peers,
		      struct err *err) COVEY_MUST_CHECK;
void daemon_peers_options(const struct agent_config *config, struct agent_peering *ret_options);
