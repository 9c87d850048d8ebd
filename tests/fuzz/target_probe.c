/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a model server answers to a health probe, in pieces as a network would bring it: the parts
 * of the input. It runs the code that reads from the socket, over a pair of sockets; only the
 * connecting is left out, which is why the file itself is included.
 */
#include "agent/probe/health.c"

#include "fuzz.h"

struct heard {
	unsigned calls;
	bool ok;
};

static sd_event *loop;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	assert(sd_event_new(&loop) >= 0);
	return 0;
}

static void on_done(void *context, uint64_t id, enum probe_answer answer, const char *text)
{
	struct heard *heard = context;

	heard->calls++;
	heard->ok = answer == PROBE_GOOD;
	assert(heard->ok == !text[0]);
	for (; *text; text++)
		assert(*text >= ' ' && *text < 127); /* nothing of the server's own */
}

static struct probe *add_probe(struct health *health, int fd)
{
	struct probe *probe = mem_alloc(sizeof(*probe));

	*probe = (struct probe){.health = health, .fd = fd, .http = true, .sent = true,
				.deadline_ms = UINT64_MAX, .next = health->probes};
	health->probes = probe;
	health->count++;
	return probe;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct heard heard = {0};
	struct health *health = NULL;
	struct probe *probe;
	int pair[2];

	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	assert(health_new(loop, on_done, &heard, &health, NULL) == 0);
	probe = add_probe(health, pair[0]);
	while (!heard.calls && input.left) {
		struct bytes piece = fuzz_part(&input);

		if (piece.size > 0 && send(pair[1], piece.data, piece.size, MSG_NOSIGNAL) > 0)
			for (int i = 0; i < 8 && !heard.calls; i++)
				receive(probe);
	}
	close(pair[1]);
	if (!heard.calls)
		receive(probe);
	assert(heard.calls == 1);
	assert(!heard.ok || (size > 12 && memcmp(data, "HTTP/1.", 7) == 0) ||
	       (size > 0 && memmem(data, size, "\n%%\n", 4)));
	health_free(health);
	return 0;
}
