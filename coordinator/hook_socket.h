/* SPDX-License-Identifier: Apache-2.0 */
/* Hands JSON to whoever listens on a UNIX socket: covey-hook.socket, or anything else. */
#pragma once

#include "base/err.h"

/* Connects, writes the text and a line feed, closes; never waits. -ENOENT: nobody listens there. */
int hook_socket_call(const char *path, const char *json, struct err *err) COVEY_MUST_CHECK;
