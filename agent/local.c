/* SPDX-License-Identifier: Apache-2.0 */
/*
 * There is no request: connecting is the question. The packet is sent without waiting, so a client
 * that does not read costs nothing; logs are left out, so that it fits into a socket's buffer.
 */
#include "agent/local.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_fields.h"
#include "protocol/codec_tables.h"

#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#define THIS struct peering_neighbour
static const struct codec_field peering_neighbour_fields[] = {
	F_STR(1, name),
	F_STR(2, node),
	F_STR(3, endpoint),
	F_BOOL(4, up),
	F_BOOL(5, far),
	F_U64(6, got),
	F_U64(7, given),
	F_PROSE(8, text),
};
static CODEC_STRUCT(peering_neighbour);
#undef THIS

#define THIS struct peering_view
static const struct codec_field peering_view_fields[] = {
	F_BOOL(1, on),
	F_BOOL(2, open),
	F_PROSE(3, text),
	F_U64(4, from_origin),
	F_U64(5, from_peers),
	F_U64(6, rate_down),
	F_U64(7, rate_up),
	F_LIST(8, neighbours, peering_neighbour, LIMIT_NEIGHBOURS),
};
static CODEC_STRUCT(peering_view);
#undef THIS

#define THIS struct local_status
static const struct codec_field local_status_fields[] = {
	F_STR(1, name),
	F_STR(2, node),
	F_STR(3, coordinator),
	F_BOOL(4, linked),
	F_BOOL(5, healthy),
	F_STRUCT(6, status, node_status),
	F_STRUCT(7, peers, peering_view),
};
CODEC_STRUCT(local_status);
#undef THIS

struct local {
	sd_event_source *io;
	int fd;
	struct sockaddr_un address;
	local_fill_fn *fill;
	void *context;
};

static int address_of(const char *run_dir, struct sockaddr_un *ret_address, struct err *err)
{
	int n;

	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "%s/%s", run_dir,
		     LOCAL_SOCKET_NAME);
	if (n < 0 || (size_t)n >= sizeof(ret_address->sun_path))
		return err_set(err, -ENAMETOOLONG, "run_dir %s: too long for a socket", run_dir);
	return 0;
}

static int connect_to(const struct sockaddr_un *address)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int on_connect(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct local *local = userdata;
	AUTO_CLOSE int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct local_status status = {0};
	struct bytes bytes = {0};

	if (peer < 0)
		return 0;
	local->fill(local->context, &status);
	for (size_t i = 0; i < status.status.deployments_count; i++) {
		struct reason *reason = &status.status.deployments[i].last.reason;

		free(reason->log);
		reason->log = NULL;
	}
	if (codec_encode(&codec_local_status, &status, LOCAL_PACKET_MAX, &bytes, NULL) == 0 &&
	    send(peer, bytes.data, bytes.size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		bytes.size = 0; /* the client sees the connection end without an answer */
	free(bytes.data);
	codec_free(&codec_local_status, &status);
	return 0;
}

/* systemd makes it for the service; here it is made for whoever starts the agent by hand. */
static int make_folder(const struct sockaddr_un *address, struct err *err)
{
	AUTO_FREE char *folder = mem_str(address->sun_path);

	*strrchr(folder, '/') = '\0';
	return mkdir(folder, 0755) < 0 && errno != EEXIST
		       ? err_errno(err, -errno, "folder %s", folder)
		       : 0;
}

static int listen_at(struct local *local, const char *run_dir, struct err *err)
{
	int other, r = address_of(run_dir, &local->address, err);

	if (r == 0)
		r = make_folder(&local->address, err);
	if (r < 0)
		return r;
	other = connect_to(&local->address);
	if (other >= 0) {
		close(other);
		return err_set(err, -EADDRINUSE, "another covey-agent runs here already (%s)",
			       local->address.sun_path);
	}
	unlink(local->address.sun_path);
	local->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (local->fd < 0 ||
	    bind(local->fd, (struct sockaddr *)&local->address, sizeof(local->address)) < 0 ||
	    chmod(local->address.sun_path, 0660) < 0 || listen(local->fd, 8) < 0)
		return err_errno(err, -errno, "status socket %s", local->address.sun_path);
	return 0;
}

int local_new(sd_event *event, const char *run_dir, local_fill_fn *fill, void *context,
	      struct local **ret_local, struct err *err)
{
	struct local *local = mem_alloc(sizeof(*local));
	int r;

	local->fd = -1;
	local->fill = fill;
	local->context = context;
	r = listen_at(local, run_dir, err);
	if (r == 0) {
		r = sd_event_add_io(event, &local->io, local->fd, EPOLLIN, on_connect, local);
		if (r < 0)
			err_errno(err, r, "status socket");
	}
	if (r < 0) {
		if (local->fd >= 0)
			close(local->fd);
		free(local);
		return r;
	}
	*ret_local = local;
	return 0;
}

void local_free(struct local *local)
{
	if (!local)
		return;
	unlink(local->address.sun_path);
	sd_event_source_disable_unref(local->io);
	close(local->fd);
	free(local);
}

int local_ask(const char *run_dir, struct local_status *ret_status, struct err *err)
{
	const struct timeval patience = {.tv_sec = 5};
	AUTO_FREE uint8_t *buffer = mem_alloc(LOCAL_PACKET_MAX);
	AUTO_CLOSE int fd = -1;
	struct sockaddr_un address;
	ssize_t size;
	int r = address_of(run_dir, &address, err);

	if (r < 0)
		return r;
	fd = connect_to(&address);
	if (fd < 0)
		return fd == -EACCES ? err_set(err, fd, "%s may not be read by this user",
					       address.sun_path)
				     : err_set(err, fd,
					       "the agent does not run (nobody answers at %s): "
					       "systemctl status covey-agent",
					       address.sun_path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	size = recv(fd, buffer, LOCAL_PACKET_MAX, 0);
	if (size <= 0)
		return err_set(err, -EIO, "the agent did not answer at %s", address.sun_path);
	return codec_decode(&codec_local_status, buffer, (size_t)size, ret_status, err);
}
