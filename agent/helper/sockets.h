/* SPDX-License-Identifier: Apache-2.0 */
/* TCP sockets as /proc/PID/net/tcp and tcp6 list them, without entering the namespace. */
#pragma once

#include "base/err.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum sockets_state { SOCKETS_ESTABLISHED = 0x01, SOCKETS_LISTEN = 0x0A };

/* Sockets with this local port and state in the network namespace of pid (0: ours). */
int sockets_count(pid_t pid, uint32_t port, enum sockets_state state, uint64_t *ret_count,
                  struct err *err) COVEY_MUST_CHECK;
/* The same for one open table; the heading line is skipped. */
uint64_t sockets_count_in(FILE *table, uint32_t port, enum sockets_state state);
