/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connect, send, read until the end; a timer for each bounds the whole. An answer that is larger
 * than the buffer is dropped as a whole: half of the series would be half of the truth.
 */
#include "agent/probe/scrape.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { READ_STEP = 16 << 10, TIMER_ACCURACY_US = 50000 };

struct job {
	struct scrape *all;
	struct job *next;
	uint64_t id;
	int fd;
	sd_event_source *io, *timer;
	char *request;
	bool sent;
	struct str answer;
};

struct scrape {
	sd_event *event;
	scrape_done_fn *done;
	void *context;
	struct job *jobs;
	size_t count;
};

struct scrape *scrape_new(sd_event *event, scrape_done_fn *done, void *context)
{
	struct scrape *all = mem_alloc(sizeof(*all));

	all->event = sd_event_ref(event);
	all->done = done;
	all->context = context;
	return all;
}

static void job_free(struct job *job)
{
	struct job **at = &job->all->jobs;

	while (*at && *at != job)
		at = &(*at)->next;
	if (*at) {
		*at = job->next;
		job->all->count--;
	}
	sd_event_source_disable_unref(job->io);
	sd_event_source_disable_unref(job->timer);
	if (job->fd >= 0)
		close(job->fd);
	free(job->request);
	str_free(&job->answer);
	free(job);
}

void scrape_free(struct scrape *all)
{
	if (!all)
		return;
	while (all->jobs)
		job_free(all->jobs);
	sd_event_unref(all->event);
	free(all);
}

/* The callback comes last. */
static void finish(struct job *job, bool ok)
{
	struct scrape *all = job->all;
	struct str answer = job->answer;
	uint64_t id = job->id;
	const char *body = ok ? strstr(str_get(&answer), "\r\n\r\n") : NULL;

	job->answer = (struct str){0};
	job_free(job);
	if (body && strncmp(answer.data, "HTTP/1.", 7) == 0 && answer.size > 12 &&
	    strncmp(answer.data + 8, " 200", 4) == 0)
		all->done(all->context, id, body + 4,
			  answer.size - (size_t)(body + 4 - answer.data));
	else
		all->done(all->context, id, NULL, 0);
	str_free(&answer);
}

static void receive(struct job *job)
{
	char part[READ_STEP];
	ssize_t got = recv(job->fd, part, sizeof(part), 0);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		finish(job, got == 0);
		return;
	}
	if (job->answer.size + (size_t)got > SCRAPE_BYTES_MAX) {
		finish(job, false);
		return;
	}
	str_add_bytes(&job->answer, part, (size_t)got);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct job *job = userdata;
	size_t size = strlen(job->request);

	if (job->sent) {
		receive(job);
		return 0;
	}
	if (send(fd, job->request, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size) {
		finish(job, false);
		return 0;
	}
	job->sent = true;
	return sd_event_source_set_io_events(source, EPOLLIN);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	finish(userdata, false);
	return 0;
}

static int connect_to(struct job *job, const struct agent_probe *wanted)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
				  .sin6_port = htons((uint16_t)wanted->port)};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)wanted->port)};
	bool six = inet_pton(AF_INET6, wanted->address, &v6.sin6_addr) == 1;
	const struct sockaddr *address = six ? (const void *)&v6 : (const void *)&v4;

	if (!six && inet_pton(AF_INET, wanted->address, &v4.sin_addr) != 1)
		return -EINVAL;
	job->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (job->fd < 0 || (connect(job->fd, address, six ? sizeof(v6) : sizeof(v4)) < 0 &&
			    errno != EINPROGRESS))
		return -errno;
	return 0;
}

void scrape_start(struct scrape *all, const struct agent_probe *wanted)
{
	uint64_t deadline_us = (clock_mono_ms() + wanted->timeout_ms) * 1000;
	struct job *job;
	int r;

	if (all->count == SCRAPES_MAX)
		return;
	job = mem_alloc(sizeof(*job));
	*job = (struct job){.all = all, .next = all->jobs, .id = wanted->id, .fd = -1};
	all->jobs = job;
	all->count++;
	job->request = mem_format("GET %s HTTP/1.0\r\nHost: %s:%u\r\nUser-Agent: covey-agent\r\n"
				  "Accept: text/plain\r\n\r\n",
				  wanted->http_path, wanted->address, wanted->port);
	r = connect_to(job, wanted);
	if (r == 0)
		r = sd_event_add_io(all->event, &job->io, job->fd, EPOLLOUT, on_io, job);
	/* A failure is told from the loop, not from here. */
	if (r < 0)
		deadline_us = 0;
	if (sd_event_add_time(all->event, &job->timer, CLOCK_BOOTTIME, deadline_us,
			      TIMER_ACCURACY_US, on_timer, job) < 0)
		job_free(job);
}

void scrape_cancel(struct scrape *all, uint64_t id)
{
	for (struct job *job = all->jobs; job; job = job->next)
		if (job->id == id) {
			job_free(job);
			return;
		}
}
