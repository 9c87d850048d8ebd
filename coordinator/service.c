/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator's world as it really is. Five sockets: agents, data, enrolment and operators over
 * TCP with CURVE, where ZAP lets in only keys that are known, and a local socket whose file mode
 * says who is an administrator. Everything runs in one loop; the shell decides, this file carries.
 */
#include "coordinator/hook_socket.h"
#include "coordinator/service.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/coordinator.h"
#include "coordinator/object_files.h"
#include "coordinator/operators.h"
#include "coordinator/routes.h"
#include "protocol/digest.h"
#include "protocol/transport/keyfile.h"
#include "protocol/transport/notify.h"
#include "protocol/transport/server.h"
#include "protocol/transport/zap.h"
#include "protocol/transport/zcontext.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sodium.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { TIMER_SLACK_US = 1000, DATA_QUEUE = 16 * LIMIT_FETCH_REQUESTS, CONTROL_QUEUE = 16 };

struct asker { /* a request that has no answer yet */
	uint64_t client;
	struct server *server;
	uint8_t routing[ROUTE_SIZE_MAX + 1];
	size_t routing_size;
};

struct service {
	struct config config;
	sd_event *event;
	sd_event_source *timer;
	void *zmq_context;
	struct zhub *hub;
	struct zap *zap;
	struct server *agents, *data, *enrol, *operators_tcp, *operators_local;
	struct link_key link_key;
	struct sign_key online_key;
	struct bytes root;
	struct operators operators;
	struct routes *routes, *data_routes; /* agents' channel, data channel */
	struct store *store;
	struct object_files *objects;
	struct coordinator *coordinator;
	uint64_t start_unix_ms, start_mono_ms;
	uint64_t client; /* counts requests */
	struct asker *askers;
	size_t askers_count, askers_cap;
};

/* ---- the world ---- */

static uint64_t world_now(void *user)
{
	const struct service *s = user;

	return s->start_unix_ms + (clock_mono_ms() - s->start_mono_ms);
}

static void world_random(void *user, void *data, size_t size)
{
	randombytes_buf(data, size);
}

static void world_send_to_agent(void *user, const struct node_id *node, const void *data,
				size_t size)
{
	struct service *s = user;
	const void *routing;
	size_t routing_size;
	int r;

	if (!s->agents || !routes_get(s->routes, node, &routing, &routing_size))
		return;
	r = server_send(s->agents, routing, routing_size, data, size);
	if (r < 0)
		log_debug("a message for a node was not sent: %s", strerror(-r));
}

static void release_data(void *data, void *hint)
{
	free(data);
}

static int world_send_data(void *user, const struct node_id *node, void *data, size_t size)
{
	struct service *s = user;
	const void *routing;
	size_t routing_size;

	if (!routes_get(s->data_routes, node, &routing, &routing_size))
		return -EHOSTUNREACH;
	return server_send_owned(s->data, routing, routing_size, data, size, release_data, NULL);
}

static void world_control_reply(void *user, uint64_t client, const void *data, size_t size)
{
	struct service *s = user;

	for (size_t i = 0; i < s->askers_count; i++) {
		const struct asker *asker = &s->askers[i];
		int r;

		if (asker->client != client)
			continue;
		r = server_send(asker->server, asker->routing, asker->routing_size, data, size);
		if (r < 0)
			log_debug("an answer was not sent: %s", strerror(-r));
		s->askers[i] = s->askers[--s->askers_count];
		return;
	}
}

static void world_arm_timer(void *user, uint64_t at_ms)
{
	struct service *s = user;
	uint64_t now = world_now(s), wait = at_ms > now ? at_ms - now : 0;

	/* Far enough for UINT64_MAX to mean never. */
	if (wait > UINT64_C(86400000))
		wait = UINT64_C(86400000);
	sd_event_source_set_time(s->timer, (clock_mono_ms() + wait) * 1000);
	sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

static int world_sign_identity(void *user, struct envelope *envelope, struct err *err)
{
	struct service *s = user;

	envelope_sign(envelope, SIGNED_IDENTITY, &s->online_key);
	return 0;
}

static bool world_object_has(void *user, const struct digest *digest)
{
	return object_files_has(((struct service *)user)->objects, digest);
}

static int world_object_put(void *user, const struct digest *digest, const void *data, size_t size,
			    struct err *err)
{
	return object_files_put(((struct service *)user)->objects, digest, data, size, err);
}

static int world_object_get(void *user, const struct digest *digest, struct bytes *ret_data,
			    struct err *err)
{
	return object_files_get(((struct service *)user)->objects, digest, ret_data, err);
}

static int world_object_peek(void *user, const struct digest *digest, void *buffer, size_t size)
{
	return object_files_peek(((struct service *)user)->objects, digest, buffer, size);
}

static int world_object_remove(void *user, const struct digest *digest, struct err *err)
{
	return object_files_remove(((struct service *)user)->objects, digest, err);
}

static int world_object_each(void *user, world_object_fn *fn, void *arg, struct err *err)
{
	return object_files_each(((struct service *)user)->objects, fn, arg, err);
}

static int world_hook(void *user, const char *json, struct err *err)
{
	return hook_socket_call(((struct service *)user)->config.hook_socket, json, err);
}

static struct coordinator_world world_of(struct service *s)
{
	return (struct coordinator_world){
		.user = s,
		.now_ms = world_now,
		.random = world_random,
		.send_to_agent = world_send_to_agent,
		.send_data = world_send_data,
		.control_reply = world_control_reply,
		.arm_timer = world_arm_timer,
		.hook = world_hook,
		.sign_identity = world_sign_identity,
		.object_has = world_object_has,
		.object_put = world_object_put,
		.object_get = world_object_get,
		.object_peek = world_object_peek,
		.object_remove = world_object_remove,
		.object_each = world_object_each,
	};
}

/* ---- from the sockets ---- */

static bool admit(void *ctx, const char *domain, const struct public_key *key,
		  char ret_user_id[ZAP_USER_ID_MAX])
{
	struct service *s = ctx;
	struct node_id node;

	if (str_equal(domain, ZAP_DOMAIN_ENROL))
		return true;
	if (str_equal(domain, ZAP_DOMAIN_OPERATORS))
		return operators_find(&s->operators, key) != NULL;
	if (!coordinator_node_of_key(s->coordinator, key, &node))
		return false;
	node_id_text(ret_user_id, &node);
	return true;
}

static void on_agent(void *ctx, const struct zmessage *message)
{
	struct service *s = ctx;
	struct node_id node;

	if (node_id_parse(message->user_id, &node) < 0)
		return;
	routes_set(s->routes, &node, message->routing, message->routing_size);
	coordinator_on_agent(s->coordinator, &node, message->peer_address, message->data,
			     message->size);
}

static void on_data(void *ctx, const struct zmessage *message)
{
	struct service *s = ctx;
	struct bytes reply;
	struct node_id node;
	int r;

	if (node_id_parse(message->user_id, &node) < 0)
		return;
	routes_set(s->data_routes, &node, message->routing, message->routing_size);
	coordinator_on_data(s->coordinator, &node, message->data, message->size, &reply);
	if (!reply.data)
		return;
	r = server_send_owned(s->data, message->routing, message->routing_size, reply.data,
			      reply.size, release_data, NULL);
	if (r < 0)
		free(reply.data); /* it does not read, or is gone: it asks again */
}

static void on_enrol(void *ctx, const struct zmessage *message)
{
	struct service *s = ctx;
	struct bytes reply;
	int r;

	coordinator_on_enrol(s->coordinator, message->peer_address, message->data, message->size,
			     &reply);
	if (!reply.data)
		return;
	r = server_send(s->enrol, message->routing, message->routing_size, reply.data, reply.size);
	if (r < 0)
		log_debug("an answer to a node that joins was not sent: %s", strerror(-r));
	free(reply.data);
}

static void forward(struct service *s, struct server *server, const struct zmessage *message,
		    enum operator_role role, const char *who, const char *from)
{
	struct asker *asker;

	if (message->routing_size > sizeof(asker->routing))
		return;
	MEM_GROW(s->askers, &s->askers_cap, s->askers_count);
	asker = &s->askers[s->askers_count++];
	*asker = (struct asker){.client = ++s->client,
				.server = server,
				.routing_size = message->routing_size};
	memcpy(asker->routing, message->routing, message->routing_size);
	coordinator_on_control(s->coordinator, s->client, role, who, from, message->data,
			       message->size);
}

static void on_operator(void *ctx, const struct zmessage *message)
{
	struct service *s = ctx;
	struct public_key key;
	const struct operator_entry *entry;

	if (public_key_parse(message->user_id, &key) < 0)
		return;
	entry = operators_find(&s->operators, &key);
	if (entry) /* else it was taken from the list while the connection was up */
		forward(s, s->operators_tcp, message, entry->role, entry->name,
			message->peer_address);
}

static void on_local(void *ctx, const struct zmessage *message)
{
	struct service *s = ctx;

	forward(s, s->operators_local, message, ROLE_ADMIN, "local", "socket");
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct service *s = ctx;

	coordinator_tick(s->coordinator);
	return 0;
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *ctx)
{
	struct service *s = ctx;
	AUTO_FREE char *path = mem_format("%s/operators", s->config.state_dir);
	struct err err = {0};
	int r = operators_load(path, &s->operators, &err);

	if (r < 0)
		log_error("the list of operators stays as it was: %s", err_text(&err, r));
	else
		log_info("%zu operators", s->operators.count);
	return 0;
}

/* ---- opening ---- */

static int read_file(const char *path, size_t max, struct bytes *ret_data, struct err *err)
{
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	AUTO_FREE uint8_t *data = NULL;
	size_t size;

	if (!file && errno == ENOENT)
		return err_set(err, -ENOENT, "%s: there is no such file; `covey init` makes it",
			       path);
	if (!file)
		return err_errno(err, -errno, "%s", path);
	data = mem_alloc(max + 1);
	size = fread(data, 1, max + 1, file);
	if (ferror(file) || size > max)
		return err_set(err, -EFBIG, "%s cannot be read, or is too large", path);
	ret_data->size = size;
	ret_data->data = TAKE_PTR(data);
	return 0;
}

/* The keys must be those that nodes were told in the root document. */
static int check_keys(const struct service *s, struct err *err)
{
	struct root_document root;
	int r = root_open(s->root.data, s->root.size, NULL, &root, err);

	if (r < 0)
		return err_prefix(err, r, "%s/root.doc", s->config.state_dir);
	if (memcmp(root.server_key.bytes, s->link_key.public_key.bytes, KEY_SIZE) != 0)
		r = err_set(err, -EKEYREJECTED, "%s/link.key is not the key of root.doc: restore "
			    "the right one, or no node will talk to this coordinator",
			    s->config.state_dir);
	else if (memcmp(root.online_key.bytes, s->online_key.public_key.bytes, KEY_SIZE) != 0)
		r = err_set(err, -EKEYREJECTED, "%s/online.key is not the key of root.doc: "
			    "restore the right one", s->config.state_dir);
	codec_free(&codec_root_document, &root);
	return r;
}

static int load_keys(struct service *s, struct err *err)
{
	AUTO_FREE char *link = mem_format("%s/link.key", s->config.state_dir);
	AUTO_FREE char *online = mem_format("%s/online.key", s->config.state_dir);
	AUTO_FREE char *root = mem_format("%s/root.doc", s->config.state_dir);
	AUTO_FREE char *operators = mem_format("%s/operators", s->config.state_dir);
	int r = read_file(root, LIMIT_ROOT_DOCUMENT, &s->root, err);

	if (r == 0)
		r = keyfile_load_link(link, &s->link_key, err);
	if (r == 0)
		r = keyfile_load_sign(online, &s->online_key, err);
	if (r == 0)
		r = check_keys(s, err);
	if (r == 0)
		r = operators_load(operators, &s->operators, err);
	return r;
}

static int open_state(struct service *s, struct err *err)
{
	AUTO_FREE char *database = mem_format("%s/coordinator.db", s->config.state_dir);
	AUTO_FREE char *objects = mem_format("%s/objects", s->config.state_dir);
	int r = load_keys(s, err);

	if (r == 0)
		r = store_sqlite_open(database, &s->store, err);
	if (r == 0)
		r = object_files_open(objects, &s->objects, err);
	return r;
}

static void raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int open_loop(struct service *s, struct err *err)
{
	struct zcontext_config context = {.io_threads = (int)s->config.io_threads};
	int r = sd_event_default(&s->event);

	raise_files();
	if (r >= 0)
		r = sd_event_add_time(s->event, &s->timer, CLOCK_BOOTTIME, 0, TIMER_SLACK_US,
				      on_timer, s);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_signal(s->event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(s->event, NULL, SIGINT, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(s->event, NULL, SIGHUP, on_hangup, s);
	if (r < 0)
		return err_errno(err, r, "event loop");
	r = zcontext_new(&context, &s->zmq_context, err);
	if (r == 0)
		r = zhub_new(s->event, s->zmq_context, &s->hub);
	return r;
}

static int open_tcp(struct service *s, int offset, const char *domain, size_t max, int queue,
		    server_receive_fn *receive, struct server **ret_server, struct err *err)
{
	bool v6 = strchr(s->config.listen, ':') != NULL;
	AUTO_FREE char *endpoint = mem_format("tcp://%s%s%s:%u", v6 ? "[" : "", s->config.listen,
					      v6 ? "]" : "", s->config.port + (unsigned)offset);
	struct server_config config = {.endpoint = endpoint,
				       .zap_domain = domain,
				       .key = &s->link_key,
				       .max_message_size = max,
				       .send_queue = queue};

	return server_new(s->hub, &config, receive, s, ret_server, err);
}

static int open_local(struct service *s, struct err *err)
{
	AUTO_FREE char *endpoint = mem_format("ipc://%s", s->config.socket);
	AUTO_FREE char *folder = mem_str(s->config.socket);
	const struct group *group = getgrnam(s->config.group);
	struct server_config config = {.endpoint = endpoint,
				       .max_message_size = LIMIT_CONTROL_MESSAGE,
				       .send_queue = CONTROL_QUEUE,
				       .ipc_group = group ? group->gr_gid
							  : (gid_t)SERVER_KEEP_GROUP};

	if (!group)
		log_warning("there is no group %s: the local socket belongs to the group of this "
			    "process", s->config.group);
	if (strrchr(folder, '/') && strrchr(folder, '/') != folder) {
		*strrchr(folder, '/') = '\0';
		if (mkdir(folder, 0755) < 0 ? errno != EEXIST : chmod(folder, 0755) < 0)
			return err_errno(err, -errno, "%s", folder);
	}
	return server_new(s->hub, &config, on_local, s, &s->operators_local, err);
}

/* The doors are proved to be shut before anybody can come to them. */
static int open_doors(struct service *s, struct err *err)
{
	static const char *const shut[] = {ZAP_DOMAIN_AGENTS, ZAP_DOMAIN_DATA,
					   ZAP_DOMAIN_OPERATORS};
	int r = zap_new(s->hub, admit, s, &s->zap, err);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(shut); i++)
		r = zap_self_test(s->zap, shut[i], err);
	if (r == 0)
		r = open_tcp(s, PORT_OFFSET_AGENTS, ZAP_DOMAIN_AGENTS, LIMIT_AGENT_MESSAGE, 0,
			     on_agent, &s->agents, err);
	if (r == 0)
		r = open_tcp(s, PORT_OFFSET_DATA, ZAP_DOMAIN_DATA, LIMIT_OFFER, DATA_QUEUE,
			     on_data, &s->data, err);
	if (r == 0)
		r = open_tcp(s, PORT_OFFSET_ENROL, ZAP_DOMAIN_ENROL, LIMIT_ENROL_MESSAGE,
			     CONTROL_QUEUE, on_enrol, &s->enrol, err);
	if (r == 0)
		r = open_tcp(s, PORT_OFFSET_OPERATORS, ZAP_DOMAIN_OPERATORS, LIMIT_CONTROL_MESSAGE,
			     CONTROL_QUEUE, on_operator, &s->operators_tcp, err);
	return r == 0 ? open_local(s, err) : r;
}

static int open_all(struct service *s, struct err *err)
{
	struct coordinator_world world = world_of(s);
	struct coordinator_config config;
	int r = open_state(s, err);

	if (r == 0)
		r = open_loop(s, err);
	if (r < 0)
		return r;
	config = (struct coordinator_config){.root = s->root,
					     .observe_period_ms = s->config.observe_period_ms,
					     .drift = s->config.drift};
	r = coordinator_new(&config, &world, s->store, &s->coordinator, err);
	return r == 0 ? open_doors(s, err) : r;
}

int service_open(const struct config *config, struct service **ret_service, struct err *err)
{
	COVEY_CLEANUP(service_close_p) struct service *s = mem_alloc(sizeof(*s));
	int r;

	s->config = *config;
	s->routes = routes_new();
	s->data_routes = routes_new();
	s->start_unix_ms = clock_unix_ms();
	s->start_mono_ms = clock_mono_ms();
	umask(0077);
	r = open_all(s, err);
	if (r < 0)
		return r;
	*ret_service = TAKE_PTR(s);
	return 0;
}

int service_run(struct service *s, struct err *err)
{
	int r = notify_start(s->event, err);

	if (r < 0)
		return r;
	log_info("listening on %s and the three ports after it, and on %s",
		 server_endpoint(s->agents), s->config.socket);
	notify_ready("serving");
	r = sd_event_loop(s->event);
	notify_stopping("stopping");
	return r < 0 ? err_errno(err, r, "event loop") : 0;
}

void service_close(struct service *s)
{
	if (s->coordinator)
		coordinator_close(s->coordinator);
	server_free(s->agents);
	server_free(s->data);
	server_free(s->enrol);
	server_free(s->operators_tcp);
	server_free(s->operators_local);
	zap_free(s->zap);
	zhub_free(s->hub);
	zcontext_free(s->zmq_context);
	sd_event_source_unref(s->timer);
	sd_event_unref(s->event);
	if (s->objects)
		object_files_close(s->objects);
	if (s->store)
		store_close(s->store);
	link_key_wipe(&s->link_key);
	sign_key_wipe(&s->online_key);
	operators_free(&s->operators);
	routes_free(s->routes);
	routes_free(s->data_routes);
	free(s->root.data);
	free(s->askers);
	free(s);
}
