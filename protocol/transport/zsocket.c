/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every option that keeps a socket safe is set here and nowhere else, and a socket on which one of
 * them cannot be set is not opened. Facts about libzmq 4.3.4 behind the choices:
 *
 * - ZMTP heartbeats stay off: their timers cost O(n^2). TCP keep-alive finds the dead connections
 *   that nobody closed; the silence of a live one is for the application's heartbeats.
 * - Without ZMQ_ZAP_ENFORCE_DOMAIN a server lets everybody in when no ZAP handler runs.
 * - ROUTER_HANDOVER stays off: with it a client that claims another one's routing id takes its
 *   messages; without it such a client is ignored. Covey's own clients claim none.
 * - The handshake timer of a client stays off: when it fires, the monitor cannot tell it from a
 *   server that failed. link and zclient keep time themselves.
 * - MAXMSGSIZE bounds one part and RCVHWM counts whole messages; a message of endlessly many parts
 *   is kept in memory until its last one. Nothing in libzmq stops that: a service's memory limit
 *   has to, and doors for strangers are best open only while somebody is expected.
 * - A client that fails to resolve a name reports nothing at all. A name is tried with its first
 *   address only, so whoever connects to a name tries IPv6 and IPv4 in turn.
 */
#include "protocol/transport/zsocket.h"

#include "base/str.h"
#include "protocol/transport/zframes.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#ifndef ZMQ_ZAP_ENFORCE_DOMAIN /* stable in the library, still in zmq.h's draft section */
#define ZMQ_ZAP_ENFORCE_DOMAIN 93
#endif

enum {
	SERVER_QUEUE = 64,
	CLIENT_QUEUE = 16,
	BACKLOG = 4096, /* a whole fleet comes back at once */
	KEEPALIVE_IDLE_S = 60,
	KEEPALIVE_INTERVAL_S = 15,
	KEEPALIVE_COUNT = 4,
	EVENTS = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED |
		 ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
		 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH,
};

struct int_option {
	int option, value;
};

bool zsocket_is_ipc(const char *endpoint)
{
	return str_starts(endpoint, "ipc://");
}

int zsocket_set_int(void *zmq_socket, int option, int value)
{
	return zmq_setsockopt(zmq_socket, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int set_ints(void *zmq_socket, const struct int_option *options, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int r = zsocket_set_int(zmq_socket, options[i].option, options[i].value);

		if (r < 0)
			return r;
	}
	return 0;
}

static int set_bytes(void *zmq_socket, int option, const void *value, size_t size)
{
	return zmq_setsockopt(zmq_socket, option, value, size) < 0 ? -errno : 0;
}

/* The host of tcp://host:port; a copy without brackets. */
static void host_of(const char *endpoint, char ret_host[ZSOCKET_ENDPOINT_MAX])
{
	char *end;

	str_cut(ret_host, ZSOCKET_ENDPOINT_MAX, endpoint + strlen("tcp://"));
	end = strrchr(ret_host, ':');
	if (end)
		*end = '\0';
}

static bool is_ipv4(const char *endpoint)
{
	char host[ZSOCKET_ENDPOINT_MAX];
	struct in_addr address;

	host_of(endpoint, host);
	return inet_pton(AF_INET, host, &address) == 1;
}

bool zsocket_is_name(const char *endpoint)
{
	return !zsocket_is_ipc(endpoint) && endpoint[strlen("tcp://")] != '[' && !is_ipv4(endpoint);
}

static int set_common(void *zmq_socket, bool ipv6, size_t max_message_size, int send_queue,
		      int receive_queue)
{
	int64_t max = (int64_t)max_message_size;
	const struct int_option options[] = {
		{ZMQ_LINGER, 0},
		{ZMQ_IPV6, ipv6},
		{ZMQ_SNDHWM, send_queue},
		{ZMQ_RCVHWM, receive_queue},
		{ZMQ_TCP_KEEPALIVE, 1},
		{ZMQ_TCP_KEEPALIVE_IDLE, KEEPALIVE_IDLE_S},
		{ZMQ_TCP_KEEPALIVE_INTVL, KEEPALIVE_INTERVAL_S},
		{ZMQ_TCP_KEEPALIVE_CNT, KEEPALIVE_COUNT},
	};
	int r = set_ints(zmq_socket, options, ARRAY_SIZE(options));

	return r < 0 ? r : set_bytes(zmq_socket, ZMQ_MAXMSGSIZE, &max, sizeof(max));
}

static int explain_size(const char *endpoint, struct err *err)
{
	return err_set(err, -EINVAL, "%s needs a largest message size of at least %d bytes",
		       endpoint, ZSOCKET_MESSAGE_MIN);
}

/* ---- servers ---- */

static int set_curve_server(void *zmq_socket, const struct server_config *config)
{
	int r = zsocket_set_int(zmq_socket, ZMQ_CURVE_SERVER, 1);

	if (r == 0)
		r = set_bytes(zmq_socket, ZMQ_CURVE_PUBLICKEY, config->key->public_key.bytes,
			      KEY_SIZE);
	if (r == 0)
		r = set_bytes(zmq_socket, ZMQ_CURVE_SECRETKEY, config->key->secret, KEY_SIZE);
	if (r == 0)
		r = set_bytes(zmq_socket, ZMQ_ZAP_DOMAIN, config->zap_domain,
			      strlen(config->zap_domain));
	return r == 0 ? zsocket_set_int(zmq_socket, ZMQ_ZAP_ENFORCE_DOMAIN, 1) : r;
}

static int set_server(void *zmq_socket, const struct server_config *config)
{
	const struct int_option options[] = {
		{ZMQ_ROUTER_MANDATORY, 1},
		{ZMQ_HANDSHAKE_IVL,
		 config->handshake_ms > 0 ? config->handshake_ms : LIMIT_HANDSHAKE_MS},
		{ZMQ_BACKLOG, BACKLOG},
	};
	int r = set_common(zmq_socket, !is_ipv4(config->endpoint), config->max_message_size,
			   config->send_queue > 0 ? config->send_queue : SERVER_QUEUE,
			   config->receive_queue > 0 ? config->receive_queue : SERVER_QUEUE);

	if (r == 0)
		r = set_ints(zmq_socket, options, ARRAY_SIZE(options));
	return r == 0 && config->key ? set_curve_server(zmq_socket, config) : r;
}

static int check_server(const struct server_config *config, struct err *err)
{
	bool ipc = zsocket_is_ipc(config->endpoint);

	if (!ipc && !str_starts(config->endpoint, "tcp://"))
		return err_set(err, -EINVAL, "%s is neither tcp://... nor ipc://...",
			       config->endpoint);
	if (strlen(config->endpoint) > LIMIT_ENDPOINT)
		return err_set(err, -EINVAL, "the address %s is too long", config->endpoint);
	if (config->max_message_size < ZSOCKET_MESSAGE_MIN)
		return explain_size(config->endpoint, err);
	if (ipc ? config->key != NULL : !config->key || !config->zap_domain || !*config->zap_domain)
		return err_set(err, -EINVAL, "%s needs %s", config->endpoint,
			       ipc ? "no key"
				   : "a key and a ZAP domain: it would let strangers in");
	return 0;
}

/* A socket file of a server that is gone is in the way; one that answers is somebody's. */
static int remove_stale(const struct sockaddr_un *address, struct err *err)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (fd < 0)
		return err_errno(err, -errno, "cannot create a socket");
	if (lstat(address->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return 0; /* nothing there; or a file that is not ours, and bind() says so */
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
		return err_set(err, -EADDRINUSE, "another process serves %s", address->sun_path);
	if (errno == ECONNREFUSED && unlink(address->sun_path) < 0 && errno != ENOENT)
		return err_errno(err, -errno, "cannot remove the old socket %s", address->sun_path);
	return 0;
}

/*
 * The listening socket is made here, not by libzmq, so that its file has the wanted mode from its
 * first moment on (libzmq would chmod never) and so that it is ours to remove.
 */
static int listen_ipc(const struct server_config *config, int *ret_fd, struct err *err)
{
	const char *path = config->endpoint + strlen("ipc://");
	mode_t mode = config->ipc_mode ? config->ipc_mode : 0660, old;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	AUTO_CLOSE int fd = -1;
	int r;

	if (*path != '/' || STR_SET(address.sun_path, path) < 0)
		return err_set(err, -EINVAL, "%s is not an absolute path of at most %zu characters",
			       path, sizeof(address.sun_path) - 1);
	r = remove_stale(&address, err);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(err, -errno, "cannot create a socket");
	old = umask(0777); /* nobody until the group is right */
	r = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	umask(old);
	if (r < 0)
		return err_errno(err, r, "cannot create the socket %s", path);
	if ((config->ipc_group != (gid_t)SERVER_KEEP_GROUP &&
	     lchown(path, (uid_t)-1, config->ipc_group) < 0) ||
	    chmod(path, mode) < 0 || listen(fd, BACKLOG) < 0) {
		r = -errno;
		unlink(path);
		return err_errno(err, r, "cannot prepare the socket %s", path);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int bind_socket(void *zmq_socket, const struct server_config *config,
		       char ret_endpoint[ZSOCKET_ENDPOINT_MAX], struct err *err)
{
	size_t size = ZSOCKET_ENDPOINT_MAX;
	int r = 0;

	if (zsocket_is_ipc(config->endpoint)) {
		AUTO_CLOSE int fd = -1;

		r = listen_ipc(config, &fd, err);
		if (r < 0)
			return r;
		r = zsocket_set_int(zmq_socket, ZMQ_USE_FD, fd);
		if (r == 0 && zmq_bind(zmq_socket, config->endpoint) < 0)
			r = -errno;
		if (r < 0)
			unlink(config->endpoint + strlen("ipc://"));
		else
			(void)TAKE_FD(fd); /* closed with the ZeroMQ socket */
	} else if (zmq_bind(zmq_socket, config->endpoint) < 0) {
		r = -errno;
	}
	if (r == 0 && zmq_getsockopt(zmq_socket, ZMQ_LAST_ENDPOINT, ret_endpoint, &size) < 0)
		r = -errno;
	return r < 0 ? err_errno(err, r, "cannot listen on %s", config->endpoint) : 0;
}

int zsocket_open_server(void *zmq_context, const struct server_config *config, void **ret_socket,
			char ret_endpoint[ZSOCKET_ENDPOINT_MAX], struct err *err)
{
	void *zmq_socket_;
	int r = check_server(config, err);

	if (r < 0)
		return r;
	zmq_socket_ = zmq_socket(zmq_context, ZMQ_ROUTER);
	if (!zmq_socket_)
		return err_errno(err, -errno, "cannot open a socket for %s", config->endpoint);
	r = set_server(zmq_socket_, config);
	if (r < 0)
		err_errno(err, r, "cannot set up the socket for %s", config->endpoint);
	else
		r = bind_socket(zmq_socket_, config, ret_endpoint, err);
	if (r < 0) {
		zmq_close(zmq_socket_);
		return r;
	}
	*ret_socket = zmq_socket_;
	return 0;
}

/* ---- clients ---- */

int zsocket_check_client(const struct zsocket_client_config *config, struct err *err)
{
	bool ipc = zsocket_is_ipc(config->endpoint);

	if (!ipc && !str_starts(config->endpoint, "tcp://"))
		return err_set(err, -EINVAL, "%s is neither tcp://... nor ipc://...",
			       config->endpoint);
	if (strlen(config->endpoint) > LIMIT_ENDPOINT)
		return err_set(err, -EINVAL, "the address %s is too long", config->endpoint);
	if (config->max_message_size < ZSOCKET_MESSAGE_MIN)
		return explain_size(config->endpoint, err);
	if (!ipc && (!config->key || !config->server_key))
		return err_set(err, -EINVAL, "%s needs a key of ours and the server's key",
			       config->endpoint);
	if (ipc && (config->key || config->server_key))
		return err_set(err, -EINVAL, "%s needs no keys", config->endpoint);
	return 0;
}

static int set_client(void *zmq_socket, const struct zsocket_client_config *config)
{
	static const struct int_option options[] = {
		{ZMQ_RECONNECT_IVL, -1},
		{ZMQ_IMMEDIATE, 1},
		{ZMQ_HANDSHAKE_IVL, 0},
		{ZMQ_CONNECT_TIMEOUT, ZSOCKET_CONNECT_MS},
	};
	int r = set_common(zmq_socket, !config->ipv4_only && !is_ipv4(config->endpoint),
			   config->max_message_size,
			   config->send_queue > 0 ? config->send_queue : CLIENT_QUEUE,
			   config->receive_queue > 0 ? config->receive_queue : CLIENT_QUEUE);

	if (r == 0)
		r = set_ints(zmq_socket, options, ARRAY_SIZE(options));
	if (r < 0 || !config->key)
		return r;
	r = set_bytes(zmq_socket, ZMQ_CURVE_SERVERKEY, config->server_key->bytes, KEY_SIZE);
	if (r == 0)
		r = set_bytes(zmq_socket, ZMQ_CURVE_PUBLICKEY, config->key->public_key.bytes,
			      KEY_SIZE);
	return r == 0 ? set_bytes(zmq_socket, ZMQ_CURVE_SECRETKEY, config->key->secret, KEY_SIZE)
		      : r;
}

static int open_monitor(void *zmq_context, void *zmq_socket_, void **ret_monitor)
{
	char address[64];
	void *monitor;
	int r = 0;

	snprintf(address, sizeof(address), "inproc://covey-monitor-%p", zmq_socket_);
	if (zmq_socket_monitor(zmq_socket_, address, EVENTS) < 0)
		return -errno;
	monitor = zmq_socket(zmq_context, ZMQ_PAIR);
	if (!monitor)
		return -errno;
	r = zsocket_set_int(monitor, ZMQ_LINGER, 0);
	if (r == 0 && zmq_connect(monitor, address) < 0)
		r = -errno;
	if (r < 0)
		zmq_close(monitor);
	else
		*ret_monitor = monitor;
	return r;
}

int zsocket_open_client(void *zmq_context, const struct zsocket_client_config *config,
			struct zclient_socket *ret_client, struct err *err)
{
	struct zclient_socket client = {.zmq = zmq_socket(zmq_context, ZMQ_DEALER)};
	int r;

	if (!client.zmq)
		return err_errno(err, -errno, "cannot open a socket for %s", config->endpoint);
	r = set_client(client.zmq, config);
	if (r == 0)
		r = open_monitor(zmq_context, client.zmq, &client.monitor);
	if (r == 0 && zmq_connect(client.zmq, config->endpoint) < 0)
		r = -errno;
	if (r < 0) {
		zsocket_close_client(&client);
		return err_errno(err, r, "cannot connect to %s", config->endpoint);
	}
	*ret_client = client;
	return 0;
}

void zsocket_stop_monitor(void *zmq_socket)
{
	zmq_socket_monitor(zmq_socket, NULL, 0);
}

void zsocket_close_client(struct zclient_socket *client)
{
	if (client->zmq) {
		zsocket_stop_monitor(client->zmq);
		zmq_close(client->zmq);
	}
	if (client->monitor)
		zmq_close(client->monitor);
	*client = (struct zclient_socket){0};
}

/* ---- monitor ---- */

static enum zsocket_event meaning(uint16_t event, uint32_t value)
{
	switch (event) {
	case ZMQ_EVENT_CONNECTED:
		return ZSOCKET_CONNECTED;
	case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
		return ZSOCKET_UP;
	case ZMQ_EVENT_CLOSED: /* the connecting socket: no connection came about */
		return ZSOCKET_UNREACHABLE;
	case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
		return value == ZSOCKET_STATUS_FULL ? ZSOCKET_FULL : ZSOCKET_REFUSED;
	case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
		return ZSOCKET_NOT_PROVED;
	case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
		return ZSOCKET_OTHER_PROTOCOL;
	case ZMQ_EVENT_DISCONNECTED:
		return ZSOCKET_DISCONNECTED;
	default:
		return ZSOCKET_NOTHING;
	}
}

int zsocket_read_monitor(void *monitor, enum zsocket_event *ret_event)
{
	AUTO_ZFRAMES struct zframes frames = {.count = 0};
	const uint8_t *data;
	uint16_t event;
	uint32_t value;
	int r = zframes_receive(monitor, &frames);

	if (r < 0)
		return r;
	if (zframes_size(&frames, 0) < sizeof(event) + sizeof(value))
		return -EBADMSG;
	data = zframes_data(&frames, 0);
	memcpy(&event, data, sizeof(event));
	memcpy(&value, data + sizeof(event), sizeof(value));
	*ret_event = meaning(event, value);
	return 0;
}

/* ---- sentences ---- */

static const char *whom_of(const struct zsocket_client_config *config)
{
	return config->whom ? config->whom : "coordinator";
}

static int explain_unreachable(const struct zsocket_client_config *config,
			       char ret_text[ZSOCKET_TEXT_MAX])
{
	const char *endpoint = config->endpoint, *whom = whom_of(config);
	const char *path = zsocket_is_ipc(endpoint) ? endpoint + strlen("ipc://") : NULL;

	if (path && faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) < 0 && errno == EACCES) {
		snprintf(ret_text, ZSOCKET_TEXT_MAX,
			 "this user may not use %s (it is for root and the group covey)", path);
		return -EACCES;
	}
	if (path)
		snprintf(ret_text, ZSOCKET_TEXT_MAX, "no %s serves %s", whom, path);
	else
		snprintf(ret_text, ZSOCKET_TEXT_MAX, "cannot reach the %s at %s", whom, endpoint);
	return -ECONNREFUSED;
}

static int explain_not_proved(const struct zsocket_client_config *config,
			      char ret_text[ZSOCKET_TEXT_MAX])
{
	char key[KEY_TEXT_MAX];

	if (!config->server_key) {
		snprintf(ret_text, ZSOCKET_TEXT_MAX, "what serves %s is no %s", config->endpoint,
			 whom_of(config));
		return -EPROTO;
	}
	public_key_text(key, config->server_key);
	snprintf(ret_text, ZSOCKET_TEXT_MAX,
		 "the %s at %s did not prove the key %s: it has another key, is not a %s, or was "
		 "just stopping",
		 whom_of(config), config->endpoint, key, whom_of(config));
	return -EPROTO;
}

static int explain_refused(const struct zsocket_client_config *config,
			   char ret_text[ZSOCKET_TEXT_MAX])
{
	char key[KEY_TEXT_MAX] = "";

	if (config->key)
		public_key_text(key, &config->key->public_key);
	snprintf(ret_text, ZSOCKET_TEXT_MAX,
		 "the %s at %s does not admit our key %s (not joined, or revoked)",
		 whom_of(config), config->endpoint, key);
	return -EKEYREJECTED;
}

int zsocket_explain(enum zsocket_event event, bool was_up,
		    const struct zsocket_client_config *config, char ret_text[ZSOCKET_TEXT_MAX])
{
	switch (event) {
	case ZSOCKET_REFUSED:
		return explain_refused(config, ret_text);
	case ZSOCKET_FULL:
		snprintf(ret_text, ZSOCKET_TEXT_MAX,
			 "the %s at %s has no room for another connection", whom_of(config),
			 config->endpoint);
		return -EBUSY;
	case ZSOCKET_NOT_PROVED:
	case ZSOCKET_OTHER_PROTOCOL:
		return explain_not_proved(config, ret_text);
	case ZSOCKET_DISCONNECTED:
		if (!was_up)
			return explain_not_proved(config, ret_text);
		snprintf(ret_text, ZSOCKET_TEXT_MAX,
			 "the connection to the %s at %s broke", whom_of(config),
			 config->endpoint);
		return -ECONNRESET;
	case ZSOCKET_NOTHING:
	case ZSOCKET_CONNECTED:
	case ZSOCKET_UP:
	case ZSOCKET_UNREACHABLE:
		break;
	}
	return explain_unreachable(config, ret_text);
}
