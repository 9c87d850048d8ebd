/* SPDX-License-Identifier: Apache-2.0 */
/* The agent as a service: the real world behind agent/world.h, around one sd-event loop. */
#pragma once

#include "agent/config.h"

/* What a node knows after it joined. */
enum { DAEMON_NOT_JOINED = 78 }; /* exit code, EX_CONFIG: a restart will not help */

/* Runs until SIGTERM or SIGINT; the program's exit code. Says on stderr what it cannot do. */
int daemon_run(const struct agent_config *config);
