/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator starts no programs and needs no rights for it: the one that listens (a unit with
 * a user of its own) does. A listener that does not take the text at once is too slow and missed
 * it; the event log says so.
 */
#include "coordinator/hook_socket.h"

#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static int open_socket(const char *path, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	AUTO_CLOSE int fd = -1;

	if (STR_SET(address.sun_path, path) < 0)
		return err_set(err, -EINVAL, "%s is too long for a socket", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(err, -errno, "socket");
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return err_set(err, -ENOENT,
			               "nobody listens at %s; enable covey-hook.socket", path);
		return err_errno(err, -errno, "%s", path);
	}
	return TAKE_FD(fd);
}

int hook_socket_call(const char *path, const char *json, struct err *err)
{
	AUTO_STR struct str text = {0};
	AUTO_CLOSE int fd = open_socket(path, err);
	int room;
	ssize_t sent;

	if (fd < 0)
		return fd;
	str_addf(&text, "%s\n", json);
	room = (int)text.size * 2;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	sent = send(fd, text.data, text.size, MSG_NOSIGNAL);
	if (sent < 0)
		return err_errno(err, -errno, "%s", path);
	if ((size_t)sent < text.size)
		return err_set(err, -EAGAIN, "%s: the listener is too slow", path);
	return 0;
}
