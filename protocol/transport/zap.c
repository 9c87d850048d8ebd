/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libzmq asks about every connection with a message of nine parts on a socket of a fixed name and
 * waits for the answer; a request that is anything but CURVE with one of our domains is refused
 * without asking further. The self-test opens a real server and real clients beside the loop and
 * answers their requests itself, through the same code: for its duration one key, made for it and
 * known to nobody else, counts as admitted.
 */
#include "protocol/transport/zap.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/transport/zframes.h"
#include "protocol/transport/zsocket.h"

#include <sodium.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"

enum {
	SELF_TEST_MS = 5000,
	RESERVE_MAX = 256, /* file descriptors; a quarter of the limit where that is less */
};

/* The parts of a request as a ROUTER sees it (rfc.zeromq.org/spec/27). */
enum zap_part {
	PART_ROUTING,
	PART_DELIMITER,
	PART_VERSION,
	PART_REQUEST_ID,
	PART_DOMAIN,
	PART_ADDRESS,
	PART_IDENTITY,
	PART_MECHANISM,
	PART_KEY,
	PART_COUNT
};

struct zap {
	struct zhub *hub;
	struct zhub_socket *socket;
	zap_admit_fn *admit;
	void *ctx;
	const struct public_key *test_key; /* admitted while the self-test runs */
	struct zap_stats stats;
};

enum verdict { VERDICT_ADMITTED, VERDICT_REFUSED, VERDICT_NO_ROOM };

static const struct {
	const char *status, *text;
} verdicts[] = {
	[VERDICT_ADMITTED] = {"200", "OK"},
	[VERDICT_REFUSED] = {"400", "key not known"},
	[VERDICT_NO_ROOM] = {"500", "no room"}, /* ZSOCKET_STATUS_FULL */
};

static const char *const domains[] = {ZAP_DOMAIN_AGENTS, ZAP_DOMAIN_DATA, ZAP_DOMAIN_ENROL,
				      ZAP_DOMAIN_OPERATORS, ZAP_DOMAIN_PEERS};

/* ---- requests ---- */

static const char *known_domain(const struct zframes *request)
{
	for (size_t i = 0; i < ARRAY_SIZE(domains); i++) {
		if (zframes_is(request, PART_DOMAIN, domains[i]))
			return domains[i];
	}
	return NULL;
}

static bool is_admitted(struct zap *zap, const struct zframes *request,
			char ret_user_id[ZAP_USER_ID_MAX])
{
	const char *domain = known_domain(request);
	struct public_key key;

	if (!domain || !zframes_is(request, PART_VERSION, "1.0") ||
	    !zframes_is(request, PART_MECHANISM, "CURVE") ||
	    zframes_size(request, PART_KEY) != KEY_SIZE) {
		zap->stats.malformed++;
		return false;
	}
	memcpy(key.bytes, zframes_data(request, PART_KEY), KEY_SIZE);
	public_key_text(ret_user_id, &key);
	if (zap->test_key && memcmp(zap->test_key->bytes, key.bytes, KEY_SIZE) == 0)
		return true;
	return zap->admit(zap->ctx, domain, &key, ret_user_id) && *ret_user_id;
}

/* A new descriptor has the lowest free number: that tells how many are left. */
static bool has_room(void)
{
	struct rlimit limit;
	AUTO_CLOSE int fd = eventfd(0, EFD_CLOEXEC);
	rlim_t reserve;

	if (fd < 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return false;
	reserve = limit.rlim_cur / 4 < RESERVE_MAX ? limit.rlim_cur / 4 : RESERVE_MAX;
	return (rlim_t)fd < limit.rlim_cur - reserve;
}

static void answer(void *zmq_socket, const struct zframes *request, enum verdict verdict,
		   const char *user_id)
{
	const struct {
		const void *data;
		size_t size;
	} parts[] = {
		{zframes_data(request, PART_ROUTING), zframes_size(request, PART_ROUTING)},
		{"", 0},
		{"1.0", 3},
		{zframes_data(request, PART_REQUEST_ID), zframes_size(request, PART_REQUEST_ID)},
		{verdicts[verdict].status, strlen(verdicts[verdict].status)},
		{verdicts[verdict].text, strlen(verdicts[verdict].text)},
		{user_id, verdict == VERDICT_ADMITTED ? strlen(user_id) : 0},
		{"", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int more = i + 1 < ARRAY_SIZE(parts) ? ZMQ_SNDMORE : 0;

		/* The client that is not answered is not admitted, and gone after a while. */
		if (zmq_send(zmq_socket, parts[i].data, parts[i].size, ZMQ_DONTWAIT | more) < 0)
			return;
	}
}

static enum verdict judge(struct zap *zap, const struct zframes *request,
			  char ret_user_id[ZAP_USER_ID_MAX])
{
	/* Other mechanisms have fewer or more parts of credentials than the one key. */
	if (request->count != PART_COUNT) {
		zap->stats.malformed++;
		zap->stats.refused++;
		return VERDICT_REFUSED;
	}
	if (!has_room()) {
		zap->stats.no_room++;
		return VERDICT_NO_ROOM;
	}
	if (!is_admitted(zap, request, ret_user_id)) {
		zap->stats.refused++;
		return VERDICT_REFUSED;
	}
	zap->stats.admitted++;
	return VERDICT_ADMITTED;
}

static int on_request(void *ctx, void *zmq_socket)
{
	struct zap *zap = ctx;
	AUTO_ZFRAMES struct zframes request = {.count = 0};
	char user_id[ZAP_USER_ID_MAX] = "";
	int r = zframes_receive(zmq_socket, &request);

	if (r < 0)
		return r;
	if (request.count < PART_MECHANISM + 1 || zframes_size(&request, PART_DELIMITER) != 0)
		return -EBADMSG;
	answer(zmq_socket, &request, judge(zap, &request, user_id), user_id);
	return 0;
}

/* ---- create, free ---- */

int zap_new(struct zhub *hub, zap_admit_fn *admit, void *ctx, struct zap **ret_zap, struct err *err)
{
	void *zmq_socket_ = zmq_socket(zhub_context(hub), ZMQ_ROUTER);
	struct zap *zap;
	int r = 0;

	if (!zmq_socket_)
		return err_errno(err, -errno, "cannot open the socket for authentication");
	r = zsocket_set_int(zmq_socket_, ZMQ_LINGER, 0);
	if (r == 0 && zmq_bind(zmq_socket_, ZAP_ENDPOINT) < 0)
		r = -errno;
	if (r < 0) {
		zmq_close(zmq_socket_);
		return err_errno(err, r, "cannot answer authentication requests");
	}
	zap = mem_alloc(sizeof(*zap));
	*zap = (struct zap){.hub = hub, .admit = admit, .ctx = ctx};
	r = zhub_add_reader(hub, zmq_socket_, on_request, zap, &zap->socket);
	if (r < 0) {
		free(zap);
		return err_errno(err, r, "cannot answer authentication requests");
	}
	*ret_zap = zap;
	return 0;
}

void zap_free(struct zap *zap)
{
	if (!zap)
		return;
	zhub_remove(zap->socket);
	free(zap);
}

/* ---- self-test ---- */

/* Tries to connect and answers the requests that this causes, until the end is known. */
static int try_key(struct zap *zap, const struct zsocket_client_config *config,
		   enum zsocket_event *ret_end, struct err *err)
{
	uint64_t deadline = clock_mono_ms() + SELF_TEST_MS;
	void *requests = zhub_zmq_socket(zap->socket);
	struct zclient_socket client;
	int r = zsocket_open_client(zhub_context(zap->hub), config, &client, err);

	if (r < 0)
		return r;
	*ret_end = ZSOCKET_NOTHING;
	while (r == 0 && (*ret_end == ZSOCKET_NOTHING || *ret_end == ZSOCKET_CONNECTED)) {
		zmq_pollitem_t items[] = {{requests, 0, ZMQ_POLLIN, 0},
					  {client.monitor, 0, ZMQ_POLLIN, 0}};
		uint64_t now = clock_mono_ms();

		if (now >= deadline) {
			r = err_set(err, -ETIMEDOUT, "the self-test of authentication hangs");
			break;
		}
		if (zmq_poll(items, 2, (long)(deadline - now)) < 0 && errno != EINTR)
			r = err_errno(err, -errno, "the self-test of authentication fails");
		while (on_request(zap, requests) == 0)
			;
		if (r == 0 && (items[1].revents & ZMQ_POLLIN) &&
		    zsocket_read_monitor(client.monitor, ret_end) < 0)
			*ret_end = ZSOCKET_NOTHING;
	}
	zsocket_close_client(&client);
	return r;
}

/* A server as the real ones are, on a port of its own, and two keys of which one is known. */
static int test_domain(struct zap *zap, const char *endpoint, const struct link_key *server_key,
		       struct link_key *known, struct link_key *unknown, struct err *err)
{
	struct zsocket_client_config client = {.endpoint = endpoint,
					       .server_key = &server_key->public_key,
					       .max_message_size = ZSOCKET_MESSAGE_MIN};
	enum zsocket_event end = ZSOCKET_NOTHING;
	int r;

	zap->test_key = &known->public_key;
	client.key = known;
	r = try_key(zap, &client, &end, err);
	zap->test_key = NULL;
	if (r < 0)
		return r;
	if (end != ZSOCKET_UP)
		return err_set(err, -EKEYREJECTED,
			       "authentication refuses a key that it was told to admit");
	client.key = unknown;
	r = try_key(zap, &client, &end, err);
	if (r == 0 && end != ZSOCKET_REFUSED)
		r = err_set(err, -EKEYREJECTED, "authentication does not refuse an unknown key");
	return r;
}

int zap_self_test(struct zap *zap, const char *domain, struct err *err)
{
	struct link_key server_key, known, unknown;
	struct server_config config = {.endpoint = "tcp://127.0.0.1:*",
				       .zap_domain = domain,
				       .key = &server_key,
				       .max_message_size = ZSOCKET_MESSAGE_MIN};
	char endpoint[ZSOCKET_ENDPOINT_MAX];
	struct zap_stats before = zap->stats;
	void *server = NULL;
	int r;

	link_key_generate(&server_key);
	link_key_generate(&known);
	link_key_generate(&unknown);
	r = zsocket_open_server(zhub_context(zap->hub), &config, &server, endpoint, err);
	if (r == 0) {
		r = test_domain(zap, endpoint, &server_key, &known, &unknown, err);
		zmq_close(server);
	}
	zap->stats = before;
	link_key_wipe(&server_key);
	link_key_wipe(&known);
	link_key_wipe(&unknown);
	return r;
}

struct zap_stats zap_stats(const struct zap *zap)
{
	return zap->stats;
}
