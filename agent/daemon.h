/* SPDX-License-Identifier: Apache-2.0 */
/* The agent as a service: the real world behind agent/world.h, around one sd-event loop. */
#pragma once

#include "agent/config.h"

/* What a node knows after it joined. */
enum { DAEMON_NOT_JOINED = 78 }; /* exit code, EX_CONFIG: a restart will not help */

/* Runs until SIGTERM or SIGINT; the program's exit code. Says on stderr what it cannot do. */
int daemon_run(const struct agent_config *config);

/* Takes the node out of its fleet, in the place of the service, which must not run: drains and
 * removes every deployment, has the helper forget what it unpacked, tells the coordinator. Files
 * stay. ret_told: the coordinator knows; it was waited for in vain otherwise. -ENOENT: not joined;
 * -ETIMEDOUT: something is still there, the sentence says what is in the way; -EINTR. */
int daemon_leave(const struct agent_config *config, bool *ret_told,
		 struct err *err) COVEY_MUST_CHECK;
