/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One probe is a small state machine on a non-blocking socket: connect, send one request, read
 * until the first line is complete. The request is sent right after connect() because a connection
 * on the same machine is up by then: an idle agent wakes up for the answer only. One timer for all
 * probes fires at the earliest time-out. Whatever the server sends, at most a line of it is looked
 * at, and it is never shown as it is.
 */
#include "agent/probe/health.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { TIMER_ACCURACY_US = 20000 };

struct probe {
	struct probe *next;
	struct health *health;
	uint64_t id, deadline_ms;
	bool http, sent;
	bool failed; /* to start: told from the timer, as `answer` and `text` */
	enum probe_answer answer;
	int fd;
	sd_event_source *io;
	char *request;
	size_t request_size;
	char line[HEALTH_LINE_MAX];
	size_t line_size;
	char text[LIMIT_SHORT_TEXT + 1];
};

struct health {
	sd_event *event;
	sd_event_source *timer;
	health_done_fn *done;
	void *context;
	struct probe *probes;
	size_t count;
};

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata);

int health_new(sd_event *event, health_done_fn *done, void *context, struct health **ret_health,
	       struct err *err)
{
	struct health *health = mem_alloc(sizeof(*health));
	int r = sd_event_add_time(event, &health->timer, CLOCK_BOOTTIME, UINT64_MAX,
				  TIMER_ACCURACY_US, on_timer, health);

	if (r >= 0)
		r = sd_event_source_set_enabled(health->timer, SD_EVENT_OFF);
	if (r < 0) {
		sd_event_source_unref(health->timer);
		free(health);
		return err_errno(err, r, "make a timer for probes");
	}
	health->event = sd_event_ref(event);
	health->done = done;
	health->context = context;
	*ret_health = health;
	return 0;
}

static void probe_free(struct probe *probe)
{
	struct probe **at = &probe->health->probes;

	while (*at != probe)
		at = &(*at)->next;
	*at = probe->next;
	probe->health->count--;
	sd_event_source_disable_unref(probe->io);
	if (probe->fd >= 0)
		close(probe->fd);
	free(probe->request);
	free(probe);
}

void health_free(struct health *health)
{
	if (!health)
		return;
	while (health->probes)
		probe_free(health->probes);
	sd_event_source_disable_unref(health->timer);
	sd_event_unref(health->event);
	free(health);
}

static void rearm(struct health *health)
{
	uint64_t at = UINT64_MAX;

	for (const struct probe *probe = health->probes; probe; probe = probe->next)
		if (probe->deadline_ms < at)
			at = probe->deadline_ms;
	if (at != UINT64_MAX)
		sd_event_source_set_time(health->timer, at * 1000);
	sd_event_source_set_enabled(health->timer,
				    at == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

/* The callback may start and cancel probes: it comes last. */
static void finish(struct probe *probe, enum probe_answer answer, const char *text)
{
	struct health *health = probe->health;
	uint64_t id = probe->id;

	probe_free(probe);
	rearm(health);
	health->done(health->context, id, answer, text);
}

static void finish_errno(struct probe *probe, const char *what, int error)
{
	char text[LIMIT_SHORT_TEXT + 1];

	snprintf(text, sizeof(text), "%s: %s", what, strerror(error));
	finish(probe, probe_is_lost(error) ? PROBE_LOST : PROBE_BAD, text);
}

/* ---- the answer ---- */

static bool status_of(const char *line, unsigned *ret_status)
{
	const char *at = line + 8;

	if (strncmp(line, "HTTP/1.", 7) != 0 || !isdigit((unsigned char)line[7]) || *at != ' ')
		return false;
	at++;
	for (int i = 0; i < 3; i++)
		if (!isdigit((unsigned char)at[i]))
			return false;
	if (at[3] != '\0' && at[3] != ' ' && at[3] != '\r')
		return false;
	*ret_status = (unsigned)(100 * (at[0] - '0') + 10 * (at[1] - '0') + (at[2] - '0'));
	return true;
}

static void judge(struct probe *probe)
{
	char text[LIMIT_SHORT_TEXT + 1];
	unsigned status;

	if (!status_of(probe->line, &status)) {
		finish(probe, PROBE_BAD, "the answer is not HTTP");
		return;
	}
	if (status >= 200 && status < 400) {
		finish(probe, PROBE_GOOD, "");
		return;
	}
	snprintf(text, sizeof(text), "the health check answered with status %u", status);
	finish(probe, PROBE_BAD, text);
}

static void receive(struct probe *probe)
{
	ssize_t n = recv(probe->fd, probe->line + probe->line_size,
			 sizeof(probe->line) - 1 - probe->line_size, 0);
	char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		finish_errno(probe, "reading the answer of the health check", errno);
		return;
	}
	if (n == 0) {
		finish(probe, PROBE_BAD, "the connection was closed before an answer came");
		return;
	}
	probe->line_size += (size_t)n;
	probe->line[probe->line_size] = '\0';
	end = memchr(probe->line, '\n', probe->line_size);
	if (end) {
		*end = '\0';
		judge(probe);
	} else if (probe->line_size == sizeof(probe->line) - 1) {
		finish(probe, PROBE_BAD, "the answer is not HTTP: its first line does not end");
	}
}

/* ---- the request ---- */

/* 0: sent; -EAGAIN: not connected yet. The request fits any socket buffer. */
static int send_request(struct probe *probe)
{
	ssize_t n = send(probe->fd, probe->request, probe->request_size,
			 MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == ENOTCONN ? -EAGAIN : -errno;
	if ((size_t)n != probe->request_size)
		return -EMSGSIZE;
	probe->sent = true;
	return 0;
}

static void connected(struct probe *probe)
{
	int error = 0, r;
	socklen_t size = sizeof(error);

	if (getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error != 0) {
		finish_errno(probe, "connecting for the health check", error);
		return;
	}
	if (!probe->http) {
		finish(probe, PROBE_GOOD, "");
		return;
	}
	r = send_request(probe);
	if (r < 0 && r != -EAGAIN)
		finish_errno(probe, "sending the health check", -r);
	else if (r == 0)
		sd_event_source_set_io_events(probe->io, EPOLLIN);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct probe *probe = userdata;

	if (probe->http && probe->sent)
		receive(probe);
	else
		connected(probe);
	return 0;
}

/* Late, or are we? A loop that was held up by a slow disk finds the answer beside the time-out. */
static bool answer_waits(const struct probe *probe)
{
	struct pollfd fd = {.fd = probe->fd,
			    .events = probe->http && probe->sent ? POLLIN : POLLOUT};

	return probe->fd >= 0 && !probe->failed && poll(&fd, 1, 0) == 1;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct health *health = userdata;
	uint64_t now = clock_mono_ms();
	struct probe *probe = health->probes;

	/* finish() calls back, which may change the list: start over after each. */
	while (probe) {
		struct probe *next = probe->next;
		bool over = now >= probe->deadline_ms && !answer_waits(probe);

		if (over && probe->failed) {
			char text[sizeof(probe->text)];

			str_cut(text, sizeof(text), probe->text);
			finish(probe, probe->answer, text);
		} else if (over) {
			finish(probe, PROBE_BAD, "no answer within the health check's timeout");
		}
		probe = over ? health->probes : next;
	}
	rearm(health);
	return 0;
}

static int address_of(const struct agent_probe *probe, struct sockaddr_storage *ret_address,
		      socklen_t *ret_size)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)probe->port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
				  .sin6_port = htons((uint16_t)probe->port)};

	memset(ret_address, 0, sizeof(*ret_address));
	if (probe->port == 0 || probe->port > UINT16_MAX)
		return -EINVAL;
	if (inet_pton(AF_INET, probe->address, &v4.sin_addr) == 1) {
		memcpy(ret_address, &v4, sizeof(v4));
		*ret_size = sizeof(v4);
		return 0;
	}
	if (inet_pton(AF_INET6, probe->address, &v6.sin6_addr) == 1) {
		memcpy(ret_address, &v6, sizeof(v6));
		*ret_size = sizeof(v6);
		return 0;
	}
	return -EINVAL;
}

static int start(struct probe *probe, const struct agent_probe *wanted)
{
	struct sockaddr_storage address;
	socklen_t size;
	int r = address_of(wanted, &address, &size);

	if (r < 0)
		return r;
	probe->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (probe->fd < 0)
		return -errno;
	if (connect(probe->fd, (struct sockaddr *)&address, size) < 0 && errno != EINPROGRESS)
		return -errno;
	if (probe->http) {
		r = send_request(probe);
		if (r < 0 && r != -EAGAIN)
			return r;
	}
	r = sd_event_add_io(probe->health->event, &probe->io, probe->fd,
			    probe->sent ? EPOLLIN : EPOLLOUT, on_io, probe);
	return r < 0 ? r : 0;
}

void health_start(struct health *health, const struct agent_probe *wanted)
{
	struct probe *probe = mem_alloc(sizeof(*probe));
	int r = 0;

	probe->health = health;
	probe->id = wanted->id;
	probe->fd = -1;
	probe->http = wanted->kind == HEALTH_HTTP;
	probe->deadline_ms = clock_mono_ms() + wanted->timeout_ms;
	if (probe->http) {
		bool v6 = strchr(wanted->address, ':') != NULL;

		probe->request = mem_format(
			"GET %s HTTP/1.1\r\nHost: %s%s%s:%u\r\nUser-Agent: covey-agent\r\n"
			"Accept: */*\r\nConnection: close\r\n\r\n",
			wanted->http_path ? wanted->http_path : "/", v6 ? "[" : "",
			wanted->address, v6 ? "]" : "", wanted->port);
		probe->request_size = strlen(probe->request);
	}
	probe->next = health->probes;
	health->probes = probe;
	if (++health->count > HEALTH_PROBES_MAX)
		r = -EAGAIN;
	if (r == 0)
		r = start(probe, wanted);
	if (r < 0) {
		probe->failed = true;
		probe->answer = probe_is_lost(-r) ? PROBE_LOST : PROBE_BAD;
		probe->deadline_ms = 0; /* told from the loop, not from here */
		snprintf(probe->text, sizeof(probe->text), "connecting for the health check: %s",
			 strerror(-r));
	}
	rearm(health);
}

void health_cancel(struct health *health, uint64_t id)
{
	for (struct probe *probe = health->probes; probe; probe = probe->next)
		if (probe->id == id) {
			probe_free(probe);
			rearm(health);
			return;
		}
}
