/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ZeroMQ context of a process, set up once: I/O threads and sockets, as few as it needs. One
 * thread of the program owns all its sockets.
 */
#pragma once

#include "base/err.h"

struct zcontext_config {
	int io_threads;	 /* 0: 1, as an agent and a command line need; coordinator: 2-4 */
	int max_sockets; /* 0: 64; sockets of this process, not connections */
};

/* config may be NULL: every default. */
int zcontext_new(const struct zcontext_config *config, void **ret_zmq_context,
		 struct err *err) COVEY_MUST_CHECK;
/* Every socket must be closed (zhub_free, link_free, zclient_free, ...); all have LINGER 0, so that
 * this does not wait for any peer. NULL is fine. */
void zcontext_free(void *zmq_context);
