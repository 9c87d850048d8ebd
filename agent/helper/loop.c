/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One event is taken per wait: a handler may then remove any other source without leaving a stale
 * event behind. The helper handles a few events a second, so the extra system calls cost nothing.
 */
#include "agent/helper/loop.h"

#include "base/clock.h"

#include <limits.h>
#include <sys/epoll.h>

int loop_open(struct loop *loop, struct err *err)
{
	*loop = (struct loop){.epoll = epoll_create1(EPOLL_CLOEXEC)};
	return loop->epoll < 0 ? err_errno(err, -errno, "no epoll") : 0;
}

void loop_close(struct loop *loop)
{
	close(loop->epoll);
	loop->epoll = -1;
}

int loop_add(struct loop *loop, struct loop_source *source, int fd,
             void (*ready)(struct loop_source *source), void *owner)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};

	*source = (struct loop_source){fd, ready, owner};
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		int code = -errno;

		close(fd);
		source->fd = -1;
		return code;
	}
	return 0;
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
	if (source->fd < 0 || !source->ready)
		return;
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
	close(source->fd);
	*source = (struct loop_source){.fd = -1};
}

int loop_step(struct loop *loop, uint64_t deadline_ms)
{
	struct loop_source *source;
	struct epoll_event event;
	uint64_t now = clock_mono_ms();
	int timeout = -1, got;

	if (deadline_ms != UINT64_MAX) {
		uint64_t left = deadline_ms > now ? deadline_ms - now : 0;

		timeout = left < INT_MAX ? (int)left : INT_MAX;
	}
	got = epoll_wait(loop->epoll, &event, 1, timeout);
	if (got < 0)
		return errno == EINTR ? 0 : -errno;
	if (got == 0)
		return 0;
	source = event.data.ptr;
	source->ready(source);
	return 0;
}
