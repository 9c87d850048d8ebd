/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A context's cost is its threads (one for I/O, one that reaps closed sockets) and a table of
 * socket slots. Both are kept as small as the program allows.
 */
#include "protocol/transport/zcontext.h"

#include <zmq.h>

enum { DEFAULT_IO_THREADS = 1, DEFAULT_MAX_SOCKETS = 64 };

int zcontext_new(const struct zcontext_config *config, void **ret_zmq_context, struct err *err)
{
	int threads = config && config->io_threads > 0 ? config->io_threads : DEFAULT_IO_THREADS;
	int sockets = config && config->max_sockets > 0 ? config->max_sockets : DEFAULT_MAX_SOCKETS;
	void *context;

	if (!zmq_has("curve"))
		return err_set(err, -ENOTSUP, "this libzmq was built without CURVE");
	context = zmq_ctx_new();
	if (!context)
		return err_errno(err, -errno, "cannot create a ZeroMQ context");
	if (zmq_ctx_set(context, ZMQ_IO_THREADS, threads) < 0 ||
	    zmq_ctx_set(context, ZMQ_MAX_SOCKETS, sockets) < 0 ||
	    zmq_ctx_set(context, ZMQ_BLOCKY, 0) < 0) {
		int r = -errno;

		zmq_ctx_term(context);
		return err_errno(err, r, "cannot have %d I/O threads and %d ZeroMQ sockets",
				 threads, sockets);
	}
	*ret_zmq_context = context;
	return 0;
}

void zcontext_free(void *zmq_context)
{
	if (!zmq_context)
		return;
	while (zmq_ctx_term(zmq_context) < 0 && errno == EINTR)
		;
}
