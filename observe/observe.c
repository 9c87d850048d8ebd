/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text into a buffer, and one sendto() that does not wait. The socket is not connected: the node's
 * agent may start later than the server, or restart, and then it listens at the same name again.
 *
 * The kernel queues few datagrams. When its queue is full, observations wait in a buffer of ours
 * and go, many in one datagram, with the next one that is told; so a busy server needs fewer
 * datagrams the busier it is. What was lost for all that is told with the next datagram that gets
 * through, and the node knows what it has not seen.
 */
#include "covey/observe.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	WORD_MAX = 63,
	LOST_ROOM = 32, /* for "lost=" and a number, at the end */
	/* 90 ms of 50,000 observations a second with 100 features each: so long a node may be
	 * busy with something else. Untouched memory costs nothing. */
	WAITING_MAX = 8 << 20,
};

struct covey_observer {
	int fd; /* -1: nobody wants to know */
	struct sockaddr_un address;
	atomic_uint_fast64_t lost, told;
	atomic_flag busy; /* a thread is at what waits; no other waits for it */
	/* A ring of whole lines: what waits lies from begin to end; or, after a turn, from begin to
	 * turn and then from 0 to end. */
	size_t begin, end, turn; /* turn 0: none */
	char waiting[WAITING_MAX];
};

struct covey_observer *covey_observer_open(void)
{
	struct covey_observer *observer = calloc(1, sizeof(*observer));
	const char *path = getenv("COVEY_OBSERVE");

	if (!observer)
		return NULL;
	observer->fd = -1;
	observer->address.sun_family = AF_UNIX;
	if (!path || !*path || strlen(path) >= sizeof(observer->address.sun_path))
		return observer;
	memcpy(observer->address.sun_path, path, strlen(path) + 1);
	observer->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return observer;
}

uint64_t covey_observer_lost(const struct covey_observer *observer)
{
	return atomic_load(&observer->lost);
}

void covey_observation_clear(struct covey_observation *o)
{
	o->size = o->line = 0;
	o->cut = false;
}

/* ---- fields ---- */

__attribute__((format(printf, 2, 3))) static void add(struct covey_observation *o,
						      const char *format, ...)
{
	size_t room = sizeof(o->text) - LOST_ROOM - o->size;
	va_list args;
	int size;

	va_start(args, format);
	size = vsnprintf(o->text + o->size, room, format, args);
	va_end(args);
	if (size < 0 || (size_t)size >= room)
		o->cut = true;
	else
		o->size += (size_t)size;
}

/* A word of the text: what would end it becomes _. */
static const char *word(char dst[WORD_MAX + 1], const char *text)
{
	size_t size = 0;

	for (; text[size] != '\0' && size < WORD_MAX; size++)
		dst[size] = (unsigned char)text[size] <= ' ' || text[size] == '=' ? '_' : text[size];
	dst[size] = '\0';
	return dst;
}

void covey_observation_begin(struct covey_observation *o)
{
	add(o, "begin ");
}

void covey_observation_end(struct covey_observation *o)
{
	add(o, "end ");
}

void covey_observation_latency_us(struct covey_observation *o, uint64_t us)
{
	add(o, "latency_us=%llu ", (unsigned long long)us);
}

void covey_observation_status(struct covey_observation *o, unsigned status)
{
	add(o, "status=%u ", status);
}

void covey_observation_outcome(struct covey_observation *o, const char *outcome)
{
	char text[WORD_MAX + 1];

	add(o, "outcome=%s ", word(text, outcome));
}

void covey_observation_class(struct covey_observation *o, const char *name)
{
	char text[WORD_MAX + 1];

	add(o, "class=%s ", word(text, name));
}

void covey_observation_score(struct covey_observation *o, double score)
{
	add(o, "score=%.7g ", score);
}

void covey_observation_number(struct covey_observation *o, const char *name, double value)
{
	char text[WORD_MAX + 1];

	add(o, "x.%s=%.7g ", word(text, name), value);
}

void covey_observation_text(struct covey_observation *o, const char *name, const char *value)
{
	char left[WORD_MAX + 1], right[WORD_MAX + 1];

	add(o, "x.%s=%s ", word(left, name), word(right, value));
}

void covey_observation_label(struct covey_observation *o, bool right)
{
	add(o, "label=%s ", right ? "right" : "wrong");
}

void covey_observation_times(struct covey_observation *o, uint64_t times)
{
	add(o, "n=%llu ", (unsigned long long)times);
}

/* ---- sending ---- */

bool covey_observation_next(struct covey_observation *o)
{
	size_t line = o->size - o->line;

	add(o, "\n");
	o->line = o->size;
	return !o->cut && sizeof(o->text) - LOST_ROOM - o->size > 2 * line;
}

static uint64_t count_lines(const char *text, size_t size)
{
	uint64_t lines = 0;

	for (size_t i = 0; i < size; i++)
		lines += text[i] == '\n' || i + 1 == size;
	return lines;
}

static int send_text(const struct covey_observer *observer, const char *text, size_t size)
{
	ssize_t sent = sendto(observer->fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL,
			      (const struct sockaddr *)&observer->address,
			      sizeof(observer->address));

	return sent < 0 ? -errno : 0;
}

/* As many whole lines as a datagram holds. */
static size_t next_part(const struct covey_observer *observer)
{
	const char *text = observer->waiting + observer->begin;
	size_t size = (observer->turn ? observer->turn : observer->end) - observer->begin;

	if (size <= COVEY_OBSERVATION_MAX)
		return size;
	for (size = COVEY_OBSERVATION_MAX; text[size - 1] != '\n'; size--)
		;
	return size;
}

/* 0: nothing waits any more. What a node that is not there would get is lost. */
static int send_waiting(struct covey_observer *observer)
{
	while (observer->turn || observer->begin < observer->end) {
		size_t size = next_part(observer);
		int r = send_text(observer, observer->waiting + observer->begin, size);

		if (r == -EAGAIN)
			return r;
		if (r < 0)
			atomic_fetch_add(&observer->lost,
					 count_lines(observer->waiting + observer->begin, size));
		observer->begin += size;
		if (observer->turn && observer->begin == observer->turn)
			observer->begin = observer->turn = 0;
	}
	observer->begin = observer->end = 0;
	return 0;
}

static int let_wait(struct covey_observer *observer, const struct covey_observation *o)
{
	size_t size = o->size + 1; /* with a newline, if it has none */

	if (o->size == 0)
		return 0;
	if (!observer->turn && observer->end + size > WAITING_MAX && size < observer->begin) {
		observer->turn = observer->end;
		observer->end = 0;
	}
	if (observer->end + size > (observer->turn ? observer->begin - 1 : WAITING_MAX))
		return -EAGAIN;
	memcpy(observer->waiting + observer->end, o->text, o->size);
	observer->end += o->size;
	if (observer->waiting[observer->end - 1] != '\n')
		observer->waiting[observer->end++] = '\n';
	return 0;
}

/* Tells what was lost since it was last told; returns how much of it this datagram speaks of. */
static uint64_t add_lost(struct covey_observer *observer, struct covey_observation *o)
{
	uint64_t told = atomic_load(&observer->told), lost = atomic_load(&observer->lost);

	if (lost <= told || !atomic_compare_exchange_strong(&observer->told, &told, lost))
		return 0; /* nothing, or another thread tells it */
	o->size += (size_t)snprintf(o->text + o->size, LOST_ROOM, "\nlost=%llu",
				    (unsigned long long)(lost - told));
	return lost - told;
}

/* Behind what waits already, or else at once, or else it waits as well. */
static int send_or_wait(struct covey_observer *observer, const struct covey_observation *o)
{
	bool mine = !atomic_flag_test_and_set(&observer->busy);
	int r = mine ? send_waiting(observer) : 0;

	if (r == 0 && o->size > 0)
		r = send_text(observer, o->text, o->size);
	if (mine && r == -EAGAIN)
		r = let_wait(observer, o);
	if (mine)
		atomic_flag_clear(&observer->busy);
	return r;
}

int covey_observe(struct covey_observer *observer, struct covey_observation *o)
{
	uint64_t lines = count_lines(o->text, o->size), told;
	int r = o->cut ? -EMSGSIZE : 0;

	if (observer->fd < 0) {
		covey_observation_clear(o);
		return 0;
	}
	told = r == 0 ? add_lost(observer, o) : 0;
	if (r == 0)
		r = send_or_wait(observer, o);
	if (r < 0) {
		atomic_fetch_add(&observer->lost, lines);
		atomic_fetch_sub(&observer->told, told);
	}
	covey_observation_clear(o);
	return r;
}

void covey_observer_close(struct covey_observer *observer)
{
	if (!observer)
		return;
	if (observer->fd >= 0) {
		(void)send_waiting(observer);
		close(observer->fd);
	}
	free(observer);
}
