/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets are named through the open folder (/proc/self/fd), so a deployment's name may be as long
 * as it likes and a link in the way is not followed. Whoever is inside the container may send,
 * whatever its user: the file is for all, the folder above it is not. They are served after
 * everything else that the loop knows; a socket that sends too much is switched off for a moment,
 * and the kernel's short queue holds what comes meanwhile.
 */
#include "agent/observe_sockets.h"

#include "base/clock.h"
#include "base/mem.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { PRIORITY = SD_EVENT_PRIORITY_IDLE, PAUSE_ACCURACY_US = 5000 };

struct observe_socket {
	struct observe_sockets *all;
	struct observe_socket *next;
	uint64_t handle;
	int fd;
	sd_event_source *io, *pause;
};

struct observe_sockets {
	sd_event *event;
	char *run_dir;
	observe_ready_fn *fn;
	void *context;
	struct observe_socket *first;
};

int observe_sockets_new(sd_event *event, const char *run_dir, observe_ready_fn *fn, void *context,
			struct observe_sockets **ret_sockets, struct err *err)
{
	struct observe_sockets *all = mem_alloc(sizeof(*all));

	all->event = sd_event_ref(event);
	all->run_dir = mem_str(run_dir);
	all->fn = fn;
	all->context = context;
	*ret_sockets = all;
	return 0;
}

static void socket_free(struct observe_socket *s)
{
	sd_event_source_disable_unref(s->io);
	sd_event_source_disable_unref(s->pause);
	close(s->fd);
	free(s);
}

void observe_sockets_free(struct observe_sockets *all)
{
	if (!all)
		return;
	while (all->first) {
		struct observe_socket *s = all->first;

		all->first = s->next;
		socket_free(s);
	}
	sd_event_unref(all->event);
	free(all->run_dir);
	free(all);
}

/* ---- the loop ---- */

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct observe_socket *s = userdata;
	uint64_t pause_ms = s->all->fn(s->all->context, s->handle);

	if (pause_ms == 0)
		return 0;
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	sd_event_source_set_time(s->pause, (clock_mono_ms() + pause_ms) * 1000);
	return sd_event_source_set_enabled(s->pause, SD_EVENT_ONESHOT);
}

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct observe_socket *s = userdata;

	return sd_event_source_set_enabled(s->io, SD_EVENT_ON);
}

static int listen_to(struct observe_socket *s)
{
	sd_event *event = s->all->event;
	int r = sd_event_add_io(event, &s->io, s->fd, EPOLLIN, on_readable, s);

	if (r >= 0)
		r = sd_event_source_set_priority(s->io, PRIORITY);
	if (r >= 0)
		r = sd_event_add_time(event, &s->pause, CLOCK_BOOTTIME, 0, PAUSE_ACCURACY_US,
				      on_pause_over, s);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->pause, SD_EVENT_OFF);
	return r < 0 ? r : 0;
}

/* ---- sockets ---- */

static int bind_in(const char *folder)
{
	AUTO_CLOSE int dir = open(folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (dir < 0 || fd < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/observe.sock", dir);
	if (unlinkat(dir, "observe.sock", 0) < 0 && errno != ENOENT)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    fchmodat(dir, "observe.sock", 0666, 0) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int observe_sockets_open(struct observe_sockets *all, const char *deployment, enum colour colour,
			 uint64_t handle)
{
	AUTO_FREE char *folder = mem_format("%s/observe/%s-%s", all->run_dir, deployment,
					    colour == COLOUR_BLUE ? "blue" : "green");
	struct observe_socket *s;
	int fd = bind_in(folder), r;

	if (fd < 0)
		return fd;
	s = mem_alloc(sizeof(*s));
	*s = (struct observe_socket){
		.all = all, .next = all->first, .handle = handle, .fd = fd};
	r = listen_to(s);
	if (r < 0) {
		socket_free(s);
		return r;
	}
	all->first = s;
	return 0;
}

ssize_t observe_sockets_read(struct observe_sockets *all, uint64_t handle, void *data, size_t size)
{
	struct observe_socket *s = all->first;
	ssize_t got;

	while (s && s->handle != handle)
		s = s->next;
	if (!s)
		return -EAGAIN;
	do
		got = recv(s->fd, data, size, MSG_TRUNC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -EAGAIN;
	return (size_t)got > size ? -EMSGSIZE : got;
}

void observe_sockets_close(struct observe_sockets *all, uint64_t handle)
{
	for (struct observe_socket **at = &all->first; *at; at = &(*at)->next) {
		struct observe_socket *s = *at;

		if (s->handle != handle)
			continue;
		*at = s->next;
		socket_free(s);
		return;
	}
}
