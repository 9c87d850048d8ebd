/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multipart messages, by parts of the input: as a request for authentication (ZAP) when the first
 * byte is even, and as a message to a server otherwise. Over sockets inside the process, through
 * the loop and the code that real ones go through.
 */
#include "fuzz.h"
#include "protocol/transport/zap.h"
#include "protocol/transport/zcontext.h"
#include "protocol/transport/zframes.h"
#include "protocol/transport/zhub.h"

#include <string.h>
#include <zmq.h>

enum { PARTS_MAX = 16, TURNS = 50 };

static struct {
	sd_event *loop;
	void *context;
	struct zhub *hub;
	struct zap *zap;
	void *zap_client, *server_client;
	struct zhub_socket *server;
} world;

/* Keys that begin with an a may come in. */
static bool admit(void *ctx, const char *domain, const struct public_key *key,
		  char ret_user_id[ZAP_USER_ID_MAX])
{
	assert(strcmp(domain, ZAP_DOMAIN_AGENTS) == 0 || strcmp(domain, ZAP_DOMAIN_DATA) == 0 ||
	       strcmp(domain, ZAP_DOMAIN_ENROL) == 0 || strcmp(domain, ZAP_DOMAIN_OPERATORS) == 0);
	assert(strlen(ret_user_id) == 2 * KEY_SIZE);
	return key->bytes[0] == 'a';
}

static void hear(void *ctx, const struct zmessage *message)
{
	assert(message->routing_size <= ZHUB_ROUTING_MAX);
	assert(zhub_send(world.server, message->routing, message->routing_size, message->data,
			 message->size) == 0);
}

static void *client(const char *endpoint)
{
	void *socket = zmq_socket(world.context, ZMQ_DEALER);
	int zero = 0;

	assert(socket && zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof(zero)) == 0);
	assert(zmq_connect(socket, endpoint) == 0);
	return socket;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	void *router;

	assert(sd_event_new(&world.loop) >= 0 && zcontext_new(NULL, &world.context, NULL) == 0);
	assert(zhub_new(world.loop, world.context, &world.hub) == 0);
	assert(zap_new(world.hub, admit, NULL, &world.zap, NULL) == 0);
	router = zmq_socket(world.context, ZMQ_ROUTER);
	assert(router && zmq_bind(router, "inproc://server") == 0);
	assert(zhub_add(world.hub, router, hear, NULL, &world.server) == 0);
	world.zap_client = client("inproc://zeromq.zap.01");
	world.server_client = client("inproc://server");
	return 0;
}

static void send_all(void *socket, struct fuzz_input *input)
{
	size_t count = 0;
	bool more = true;

	while (more) {
		struct bytes part = fuzz_part(input);

		more = input->left > 0 && ++count < PARTS_MAX;
		assert(zmq_send(socket, part.data, part.size, more ? ZMQ_SNDMORE : 0) >= 0);
	}
}

/* Inside one process a message is there when it was sent. */
static void run_loop(void)
{
	int r = 1;

	for (int i = 0; i < TURNS && r > 0; i++)
		r = sd_event_run(world.loop, 0);
	assert(r == 0);
}

static void check_zap_answer(const struct zframes *answer, uint64_t admitted)
{
	bool ok = zframes_is(answer, 3, "200");

	assert(answer->count == 7 && zframes_size(answer, 0) == 0);
	assert(ok == (zap_stats(world.zap).admitted == admitted + 1));
	assert(!ok || zframes_size(answer, 5) == 2 * KEY_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	bool zap = (fuzz_byte(&input) & 1) == 0;
	void *socket = zap ? world.zap_client : world.server_client;
	uint64_t admitted = zap_stats(world.zap).admitted;
	AUTO_ZFRAMES struct zframes answer = {.count = 0};

	send_all(socket, &input);
	run_loop();
	if (zframes_receive(socket, &answer) == 0 && zap)
		check_zap_answer(&answer, admitted);
	return 0;
}
