/* SPDX-License-Identifier: Apache-2.0 */
/* The socket is connected once, so that telling is one send() that never waits. */
#include "agent/helper/notify.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static void tell(const struct notify *notify, const char *text)
{
	if (notify->fd >= 0 && send(notify->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return; /* the watchdog's next turn comes soon */
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || STR_SET(address.sun_path, path) < 0)
		return -1;
	if (path[0] == '@') /* an abstract name */
		address.sun_path[0] = '\0';
	return connect(fd, (const struct sockaddr *)&address, size) < 0 ? -1 : TAKE_FD(fd);
}

void notify_open(struct notify *notify)
{
	const char *path = getenv("NOTIFY_SOCKET"), *every = getenv("WATCHDOG_USEC");
	uint64_t every_us;

	*notify = (struct notify){.fd = path && path[0] ? connect_to(path) : -1};
	if (every && str_parse_u64(every, UINT64_MAX, &every_us) == 0)
		notify->every_ms = every_us / 2000;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void notify_close(struct notify *notify)
{
	if (notify->fd >= 0)
		close(notify->fd);
	notify->fd = -1;
}

void notify_ready(const struct notify *notify)
{
	tell(notify, "READY=1");
}

uint64_t notify_tick(struct notify *notify, uint64_t now_ms)
{
	if (notify->fd < 0 || notify->every_ms == 0)
		return UINT64_MAX;
	if (notify->next_ms <= now_ms) {
		tell(notify, "WATCHDOG=1");
		notify->next_ms = now_ms + notify->every_ms;
	}
	return notify->next_ms;
}
