/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The datagram sockets by which model servers say what they observe: one for each slot, in the
 * folder that the helper made for it and that its container sees as /run/covey. Which slot a
 * datagram speaks of is known by the socket it came through.
 */
#pragma once

#include "base/err.h"
#include "covey/ids.h"

#include <sys/types.h>
#include <systemd/sd-event.h>

struct observe_sockets;

/* Something waits at that handle; returns for how many ms the socket is left alone, 0: not. */
typedef uint64_t observe_ready_fn(void *context, uint64_t handle);

int observe_sockets_new(sd_event *event, const char *run_dir, observe_ready_fn *fn, void *context,
			struct observe_sockets **ret_sockets, struct err *err) COVEY_MUST_CHECK;
void observe_sockets_free(struct observe_sockets *sockets); /* NULL is fine */

/* -ENOENT: there is no folder for that slot (yet). */
int observe_sockets_open(struct observe_sockets *sockets, const char *deployment,
			 enum colour colour, uint64_t handle) COVEY_MUST_CHECK;
/* One datagram: its size, -EAGAIN, or -EMSGSIZE for one that was larger. */
ssize_t observe_sockets_read(struct observe_sockets *sockets, uint64_t handle, void *data,
			     size_t size);
void observe_sockets_close(struct observe_sockets *sockets, uint64_t handle);
