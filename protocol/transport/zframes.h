/* SPDX-License-Identifier: Apache-2.0 */
/* Inside transport: one whole multipart message of ZeroMQ, with a bound on its parts. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <zmq.h>

enum { ZFRAMES_MAX = 10 };

struct zframes {
	zmq_msg_t parts[ZFRAMES_MAX];
	size_t count;
};

/* Reads one whole message without waiting. 0; -EAGAIN: none; -EBADMSG: more parts than
 * ZFRAMES_MAX, all read and forgotten. After a failure nothing is owned. */
int zframes_receive(void *zmq_socket, struct zframes *ret_frames) COVEY_MUST_CHECK;
void zframes_free(struct zframes *frames);

#define AUTO_ZFRAMES COVEY_CLEANUP(zframes_free)

const void *zframes_data(const struct zframes *frames, size_t index);
size_t zframes_size(const struct zframes *frames, size_t index);
/* Is that part exactly this text? */
bool zframes_is(const struct zframes *frames, size_t index, const char *text);
