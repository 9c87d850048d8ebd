/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a model server answers when its /metrics are asked for, in pieces: the parts of the input.
 * As with the probes only the connecting is left out, which is why the file itself is included.
 */
#include "agent/probe/scrape.c"

#include "fuzz.h"

struct heard {
	unsigned calls;
	size_t size;
};

static sd_event *loop;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	assert(sd_event_new(&loop) >= 0);
	return 0;
}

/* All of the body is read, so that a sanitizer sees what is not there. */
static void on_done(void *context, uint64_t id, const char *data, size_t size)
{
	struct heard *heard = context;

	heard->calls++;
	heard->size = size;
	assert(data || size == 0);
	assert(!data || !data[size]);
	assert(!memchr(data ? data : "", '\f', size) || size < SCRAPE_BYTES_MAX);
}

static struct job *add_job(struct scrape *scrape, int fd)
{
	struct job *job = mem_alloc(sizeof(*job));

	*job = (struct job){.all = scrape, .next = scrape->jobs, .fd = fd, .sent = true,
			    .request = mem_str("GET")};
	scrape->jobs = job;
	scrape->count++;
	return job;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct heard heard = {0};
	struct scrape *scrape = scrape_new(loop, on_done, &heard);
	struct job *job;
	int pair[2];

	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	job = add_job(scrape, pair[0]);
	while (!heard.calls && input.left) {
		struct bytes piece = fuzz_part(&input);

		if (piece.size > 0 && send(pair[1], piece.data, piece.size, MSG_NOSIGNAL) > 0)
			for (int i = 0; i < 32 && !heard.calls; i++)
				receive(job);
	}
	close(pair[1]);
	while (!heard.calls)
		receive(job);
	assert(heard.calls == 1 && heard.size <= size);
	scrape_free(scrape);
	return 0;
}
