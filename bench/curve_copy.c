/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast CURVE alone carries frames of a size from one process to another: what the exchange of
 * chunks is held against (bench/exchange.sh). The receiver asks once, the sender's ROUTER sends that
 * many frames of the same bytes without copying them; nothing is read from a disk, written or
 * hashed.
 *
 *   curve-copy send ENDPOINT FRAMES SIZE     curve-copy receive ENDPOINT FRAMES SIZE
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdio.h>
#include <zmq.h>

enum { KEY_TEXT = 41, QUEUE = 16 };

/* Nothing secret: both ends of a benchmark know it. */
static const char server_secret[KEY_TEXT] = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";

static void check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "curve-copy: %s: %s\n", what, zmq_strerror(zmq_errno()));
	exit(1);
}

static void *open_socket(void *context, int type)
{
	void *socket = zmq_socket(context, type);
	const int queue = QUEUE, mandatory = 1;

	check(socket, "socket");
	zmq_setsockopt(socket, ZMQ_SNDHWM, &queue, sizeof(queue));
	zmq_setsockopt(socket, ZMQ_RCVHWM, &queue, sizeof(queue));
	if (type == ZMQ_ROUTER)
		zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof(mandatory));
	return socket;
}

static void keep(void *data, void *hint)
{
}

static void run_sender(void *context, const char *endpoint, long frames, size_t size)
{
	void *socket = open_socket(context, ZMQ_ROUTER);
	AUTO_FREE void *data = mem_alloc(size);
	const int server = 1;
	char from[256], go[8];
	int from_size;

	zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &server, sizeof(server));
	zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, server_secret, KEY_TEXT);
	check(zmq_bind(socket, endpoint) == 0, "bind");
	from_size = zmq_recv(socket, from, sizeof(from), 0);
	check(from_size > 0 && zmq_recv(socket, go, sizeof(go), 0) >= 0, "receive");
	for (long i = 0; i < frames; i++) {
		zmq_msg_t frame;

		zmq_msg_init_data(&frame, data, size, keep, NULL);
		check(zmq_send(socket, from, (size_t)from_size, ZMQ_SNDMORE) >= 0 &&
			      zmq_msg_send(&frame, socket, 0) >= 0,
		      "send");
	}
	zmq_recv(socket, from, sizeof(from), 0); /* it has them all */
	zmq_close(socket);
}

static void run_receiver(void *context, const char *endpoint, long frames, size_t size)
{
	void *socket = open_socket(context, ZMQ_DEALER);
	char public[KEY_TEXT], secret[KEY_TEXT], server[KEY_TEXT];
	uint64_t began = 0, span_ms;

	check(zmq_curve_keypair(public, secret) == 0, "keys");
	check(zmq_curve_public(server, server_secret) == 0, "keys");
	zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server, KEY_TEXT);
	zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, public, KEY_TEXT);
	zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret, KEY_TEXT);
	check(zmq_connect(socket, endpoint) == 0, "connect");
	zmq_send(socket, "go", 2, 0);
	for (long i = 0; i < frames; i++) {
		zmq_msg_t frame;

		zmq_msg_init(&frame);
		check(zmq_msg_recv(&frame, socket, 0) == (int)size, "receive");
		zmq_msg_close(&frame);
		if (i == 0)
			began = clock_mono_ms();
	}
	span_ms = clock_mono_ms() - began;
	zmq_send(socket, "end", 3, 0);
	printf("%.0f\n", (double)(frames - 1) * (double)size / 1000 / (double)(span_ms ? span_ms : 1));
	zmq_close(socket);
}

int main(int argc, char **argv)
{
	void *context = zmq_ctx_new();

	if (argc != 5) {
		fprintf(stderr, "usage: curve-copy send|receive ENDPOINT FRAMES SIZE\n");
		return 2;
	}
	if (str_equal(argv[1], "send"))
		run_sender(context, argv[2], atol(argv[3]), (size_t)atol(argv[4]));
	else
		run_receiver(context, argv[2], atol(argv[3]), (size_t)atol(argv[4]));
	zmq_ctx_term(context);
	return 0;
}
