/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program itself: `covey-agent join` against a coordinator's enrolment port, then the service
 * with real links, a real chunk store, real probes and smoke tests, from desired state to a
 * committed release. Coordinator and helper are played by this test, over loopback. At the end the
 * idle agent is measured: memory, wake-ups, writes.
 */
#include "fleetless.h"

#include "agent/joined.h"
#include "agent/local.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"
#include "protocol/enrol.h"
#include "protocol/transport/server.h"
#include "protocol/transport/zap.h"
#include "protocol/transport/zcontext.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

static const char *agent_path;

struct site { /* a coordinator, a helper and a model server */
	struct node node; /* only its key, root and objects are used */
	sd_event *event;
	void *zmq_context;
	struct zhub *hub;
	struct zap *zap;
	struct link_key server_key;
	struct sign_key root_key, online_key;
	uint32_t port;
	char endpoint[LIMIT_ENDPOINT + 1];
	char join[JOIN_STRING_MAX];
	uint8_t secret[TOKEN_SECRET_SIZE];
	struct server *agents, *data, *enrol;
	struct bytes root; /* signed */
	bool other_root;   /* the root document names another server key */
	unsigned enrolled;

	uint8_t agent_routing[256];
	size_t agent_routing_size;
	struct node_status status;
	unsigned statuses, heartbeats, gets;
	bool spoil; /* send wrong chunks */

	int helper_fd;
	sd_event_source *helper_io;
	unsigned helper_asked[HELPER_OP_COUNT];
	struct helper_route route;
	bool routed;

	pid_t model;
	uint32_t model_port;
	char config[96];
};

/* ---- the model server ---- */

static void serve_model(struct site *site)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	site->model_port = ntohs(address.sin_port);
	site->model = fork();
	if (site->model == 0) {
		static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			int peer = accept(fd, NULL, NULL);
			char request[4096];

			if (recv(peer, request, sizeof(request), 0) > 0)
				(void)!send(peer, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
			close(peer);
		}
	}
	close(fd);
}

/* ---- the helper ---- */

static void help(struct site *site, const struct helper_request *request,
		 struct helper_reply *reply)
{
	site->helper_asked[request->op]++;
	if (request->op == HELPER_HELLO)
		STR_CUT(reply->runtime, "runc 1.1.5");
	if (request->op == HELPER_START) {
		reply->slots = mem_array(1, sizeof(*reply->slots));
		reply->slots_count = 1;
		reply->slots[0] = (struct helper_slot){.colour = request->colour,
						       .release = request->release,
						       .probe_port = site->model_port};
		STR_CUT(reply->slots[0].address, "127.0.0.1");
		STR_CUT(reply->slots[0].deployment, request->deployment);
	}
	if (request->op == HELPER_TRAFFIC) {
		site->routed = request->routes_count > 0;
		if (site->routed)
			site->route = request->routes[0];
	}
}

static int on_helper_request(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct site *site = userdata;
	AUTO_FREE uint8_t *buffer = mem_alloc(LIMIT_HELPER_MESSAGE);
	ssize_t n = recv(fd, buffer, LIMIT_HELPER_MESSAGE, MSG_DONTWAIT);
	struct helper_request request;
	struct helper_reply reply = {0};
	struct bytes bytes = {0};

	if (n <= 0) {
		sd_event_source_disable_unref(source);
		close(fd);
		site->helper_io = NULL;
		return 0;
	}
	assert_int_equal(codec_decode(&codec_helper_request, buffer, (size_t)n, &request, NULL), 0);
	reply.id = request.id;
	help(site, &request, &reply);
	assert_int_equal(codec_encode(&codec_helper_reply, &reply, LIMIT_HELPER_MESSAGE, &bytes,
				      NULL),
			 0);
	assert_int_equal(send(fd, bytes.data, bytes.size, MSG_NOSIGNAL), bytes.size);
	free(bytes.data);
	codec_free(&codec_helper_reply, &reply);
	codec_free(&codec_helper_request, &request);
	return 0;
}

static int on_helper_connect(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct site *site = userdata;
	int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	if (site->helper_io) { /* the agent before this one was killed */
		close(sd_event_source_get_io_fd(site->helper_io));
		sd_event_source_disable_unref(site->helper_io);
	}
	assert_true(sd_event_add_io(site->event, &site->helper_io, peer, EPOLLIN,
				    on_helper_request, site) >= 0);
	return 0;
}

static void open_helper(struct site *site)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/helper.sock", site->node.dir);
	site->helper_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(site->helper_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(site->helper_fd, 4), 0);
	assert_true(sd_event_add_io(site->event, NULL, site->helper_fd, EPOLLIN, on_helper_connect,
				    site) >= 0);
}

/* ---- the coordinator ---- */

static void answer(struct server *server, const struct zmessage *to, enum message_type type,
		   const void *body)
{
	struct bytes bytes = {0};

	int r;

	assert_int_equal(message_encode(type, body, &bytes, NULL), 0);
	r = server_send(server, to->routing, to->routing_size, bytes.data, bytes.size);
	assert_true(r == 0 || r == -EHOSTUNREACH); /* killed meanwhile */
	free(bytes.data);
}

static void acknowledge_observed(struct site *site, const struct zmessage *zmessage,
				 const struct msg_observed *observed)
{
	const struct observation_record *last = &observed->records[observed->records_count - 1];
	struct msg_observed_ack ack = {.boot_epoch = last->boot_epoch, .sequence = last->sequence};

	answer(site->agents, zmessage, MESSAGE_OBSERVED_ACK, &ack);
}

static void on_agent(void *context, const struct zmessage *zmessage)
{
	struct site *site = context;
	struct message message;
	struct msg_ack ack = {0};

	assert_int_equal(message_decode(zmessage->data, zmessage->size, CHANNEL_AGENTS, FROM_AGENT,
					&message, NULL),
			 0);
	memcpy(site->agent_routing, zmessage->routing, zmessage->routing_size);
	site->agent_routing_size = zmessage->routing_size;
	if (message.type == MESSAGE_STATUS) {
		site->statuses++;
		codec_free(&codec_node_status, &site->status);
		codec_copy(&codec_node_status, &site->status, message.body);
	}
	if (message.type == MESSAGE_HEARTBEAT)
		site->heartbeats++;
	if (message.type == MESSAGE_OBSERVED &&
	    ((const struct msg_observed *)message.body)->records_count > 0)
		acknowledge_observed(site, zmessage, message.body);
	ack.boot_epoch = site->status.boot_epoch;
	ack.sequence = site->status.sequence;
	if (message.type != MESSAGE_SUBSCRIBE)
		answer(site->agents, zmessage, MESSAGE_ACK, &ack);
	message_free(&message);
}

static void on_get(void *context, const struct zmessage *zmessage)
{
	struct site *site = context;
	struct msg_object object = {.missing = true};
	struct message message;
	const struct msg_get *get;
	uint8_t *spoiled = NULL;

	assert_int_equal(message_decode(zmessage->data, zmessage->size, CHANNEL_DATA, FROM_AGENT,
					&message, NULL),
			 0);
	get = message.body;
	site->gets++;
	object.kind = get->kind;
	object.digest = get->digest;
	for (size_t i = 0; i < site->node.objects_count; i++)
		if (digest_equal(&site->node.objects[i].digest, &get->digest)) {
			object.missing = false;
			object.data = site->node.objects[i].data;
		}
	if (site->spoil && object.kind == OBJECT_CHUNK) {
		spoiled = mem_copy(object.data.data, object.data.size);
		spoiled[0] ^= 1;
		object.data.data = spoiled;
	}
	answer(site->data, zmessage, MESSAGE_OBJECT, &object);
	free(spoiled);
	message_free(&message);
}

static void sign(const struct codec_struct *type, const void *document,
		 enum signed_purpose purpose, const struct sign_key *key, struct bytes *ret)
{
	struct envelope envelope = {0};

	assert_int_equal(codec_encode(type, document, LIMIT_ROOT_DOCUMENT, &envelope.payload, NULL),
			 0);
	envelope_sign(&envelope, purpose, key);
	assert_int_equal(codec_encode(&codec_envelope, &envelope, LIMIT_ROOT_DOCUMENT, ret, NULL),
			 0);
	codec_free(&codec_envelope, &envelope);
}

static void on_enrol(void *context, const struct zmessage *zmessage)
{
	struct site *site = context;
	struct msg_enrolled enrolled = {0};
	struct message message;
	const struct msg_enrol *enrol;
	uint8_t proof[DIGEST_SIZE];

	assert_int_equal(message_decode(zmessage->data, zmessage->size, CHANNEL_ENROL,
					FROM_STRANGER, &message, NULL),
			 0);
	enrol = message.body;
	enrol_proof(proof, site->secret, &enrol->link_key, &enrol->sign_key,
		    &site->server_key.public_key);
	if (!enrol_proof_equal(proof, enrol->proof)) {
		STR_CUT(enrolled.error, "this token is not known here, or it was used up");
	} else {
		struct identity identity = {.link_key = enrol->link_key,
					    .sign_key = enrol->sign_key,
					    .issued_unix_ms = clock_unix_ms(),
					    .expires_unix_ms = clock_unix_ms() + 86400000};

		node_id_of_key(&identity.id, &enrol->sign_key);
		STR_CUT(identity.name, enrol->name);
		sign(&codec_identity, &identity, SIGNED_IDENTITY, &site->online_key,
		     &enrolled.identity);
		enrolled.root = (struct bytes){mem_copy(site->root.data, site->root.size),
					       site->root.size};
		site->enrolled++;
	}
	answer(site->enrol, zmessage, MESSAGE_ENROLLED, &enrolled);
	free(enrolled.identity.data);
	free(enrolled.root.data);
	message_free(&message);
}

static bool admit(void *context, const char *domain, const struct public_key *key,
		  char ret_user_id[ZAP_USER_ID_MAX])
{
	return true;
}

static struct server *open_port(struct site *site, int offset, const char *domain, size_t size,
				server_receive_fn *receive)
{
	AUTO_FREE char *endpoint =
		mem_format("tcp://127.0.0.1:%u", site->port + (uint32_t)offset);
	struct server_config config = {.endpoint = endpoint,
				       .zap_domain = domain,
				       .key = &site->server_key,
				       .max_message_size = size};
	struct server *server = NULL;

	return server_new(site->hub, &config, receive, site, &server, NULL) == 0 ? server : NULL;
}

static void open_ports(struct site *site)
{
	for (int tries = 0; tries < 50; tries++) {
		site->port = 20000 + randombytes_uniform(20000);
		site->agents = open_port(site, PORT_OFFSET_AGENTS, ZAP_DOMAIN_AGENTS,
					 LIMIT_AGENT_MESSAGE, on_agent);
		site->data = open_port(site, PORT_OFFSET_DATA, ZAP_DOMAIN_DATA, LIMIT_DATA_REQUEST,
				       on_get);
		site->enrol = open_port(site, PORT_OFFSET_ENROL, ZAP_DOMAIN_ENROL,
					LIMIT_ENROL_MESSAGE, on_enrol);
		if (site->agents && site->data && site->enrol)
			return;
		server_free(site->agents);
		server_free(site->data);
		server_free(site->enrol);
	}
	fail_msg("no free ports");
}

static void make_root(struct site *site, const struct public_key *server_key)
{
	struct root_document root = {.version = 1,
				     .release_threshold = 1,
				     .release_keys = &site->node.key.public_key,
				     .release_keys_count = 1,
				     .root_threshold = 1,
				     .root_keys = &site->root_key.public_key,
				     .root_keys_count = 1,
				     .server_key = *server_key,
				     .online_key = site->online_key.public_key};

	free(site->root.data);
	STR_CUT(root.endpoint, site->endpoint);
	sign(&codec_root_document, &root, SIGNED_ROOT, &site->root_key, &site->root);
}

static void make_join(struct site *site, const struct public_key *server_key, uint32_t port)
{
	struct join_string join = {.server_key = *server_key};

	snprintf(join.endpoint, sizeof(join.endpoint), "tcp://127.0.0.1:%u", port);
	STR_CUT(join.token_id, "0123456789abcdef");
	memcpy(join.secret, site->secret, sizeof(join.secret));
	assert_int_equal(join_string_format(&join, site->join), 0);
}

static void write_config(struct site *site)
{
	FILE *file;

	snprintf(site->config, sizeof(site->config), "%s/agent.conf", site->node.dir);
	file = fopen(site->config, "we");
	fprintf(file,
		"[agent]\nname = n1\nstate_dir = %s/state\nrun_dir = %s\ntrust_dir = %s/trust\n"
		"[helper]\nsocket = %s/helper.sock\n",
		site->node.dir, site->node.dir, site->node.dir, site->node.dir);
	fclose(file);
}

static int setup(void **state)
{
	struct site *site = mem_alloc(sizeof(*site));

	node_create(&site->node);
	link_key_generate(&site->server_key);
	sign_key_generate(&site->root_key);
	sign_key_generate(&site->online_key);
	randombytes_buf(site->secret, sizeof(site->secret));
	assert_true(sd_event_new(&site->event) >= 0);
	assert_int_equal(zcontext_new(NULL, &site->zmq_context, NULL), 0);
	assert_int_equal(zhub_new(site->event, site->zmq_context, &site->hub), 0);
	assert_int_equal(zap_new(site->hub, admit, site, &site->zap, NULL), 0);
	serve_model(site);
	open_ports(site);
	snprintf(site->endpoint, sizeof(site->endpoint), "tcp://127.0.0.1:%u", site->port);
	make_root(site, &site->server_key.public_key);
	make_join(site, &site->server_key.public_key, site->port);
	write_config(site);
	open_helper(site);
	*state = site;
	return 0;
}

static int teardown(void **state)
{
	struct site *site = *state;

	kill(site->model, SIGKILL);
	waitpid(site->model, NULL, 0);
	server_free(site->agents);
	server_free(site->data);
	server_free(site->enrol);
	zap_free(site->zap);
	zhub_free(site->hub);
	zcontext_free(site->zmq_context);
	if (site->helper_io)
		close(sd_event_source_get_io_fd(site->helper_io));
	sd_event_source_disable_unref(site->helper_io);
	sd_event_unref(site->event);
	close(site->helper_fd);
	free(site->root.data);
	codec_free(&codec_node_status, &site->status);
	node_destroy(&site->node);
	free(site);
	return 0;
}

/* ---- running the program ---- */

static pid_t spawn(struct site *site, const char *verb, const char *const *more, int input,
		   const char *output)
{
	const char *argv[16] = {agent_path, "--config", site->config, verb};
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(output, O_WRONLY | O_CREAT | O_APPEND, 0600);

		for (size_t i = 4; more && *more; i++)
			argv[i] = *more++;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (input >= 0)
			dup2(input, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		execv(agent_path, (char *const *)argv);
		_exit(127);
	}
	return pid;
}

static void turn(struct site *site, uint64_t ms)
{
	uint64_t end = clock_mono_ms() + ms;

	while (clock_mono_ms() < end)
		sd_event_run(site->event, 10000);
}

/* Runs the program to its end while coordinator and helper go on; its exit code. */
static int run(struct site *site, const char *verb, const char *const *more, const char *input,
	       char output[4096])
{
	AUTO_FREE char *path = mem_format("%s/output", site->node.dir);
	AUTO_CLOSE int in = -1, out = -1;
	int status, fds[2];
	ssize_t n;
	pid_t pid;

	unlink(path);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	in = fds[0];
	assert_int_equal(write(fds[1], input, strlen(input)), strlen(input));
	close(fds[1]);
	pid = spawn(site, verb, more, in, path);
	while (waitpid(pid, &status, WNOHANG) == 0)
		sd_event_run(site->event, 10000);
	out = open(path, O_RDONLY | O_CLOEXEC);
	n = read(out, output, 4095);
	output[n > 0 ? n : 0] = '\0';
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int join(struct site *site, char output[4096])
{
	static const char *const more[] = {"-", NULL};

	return run(site, "join", more, site->join, output);
}

/* ---- joining ---- */

static void assert_says(const char *output, const char *text)
{
	if (!strstr(output, text))
		fail_msg("'%s' is not in '%s'", text, output);
}

/* spec: TRUST-9 */
static void joining_keeps_keys_identity_and_root(void **state)
{
	static const char *const again[] = {"--rejoin", "--name", "other", "-", NULL};
	struct site *site = *state;
	struct agent_config config;
	struct joined joined;
	char output[4096];
	struct stat st;
	AUTO_FREE char *root = mem_format("%s/trust/root.doc", site->node.dir);

	assert_int_equal(join(site, output), 0);
	assert_int_equal(site->enrolled, 1);
	assert_int_equal(stat(root, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(config_load(site->config, &config, NULL), 0);
	assert_int_equal(joined_load(&config, &joined, NULL), 0);
	assert_string_equal(joined.identity.name, "n1");
	joined_free(&joined);
	assert_int_equal(join(site, output), 1);
	assert_says(output, "has joined a fleet already");
	assert_says(output, "--rejoin");
	assert_int_equal(run(site, "join", again, site->join, output), 0);
	assert_int_equal(joined_load(&config, &joined, NULL), 0);
	assert_string_equal(joined.identity.name, "other");
	joined_free(&joined);
}

static void refusals_are_sentences(void **state)
{
	static const char *const nothing[] = {NULL};
	struct site *site = *state;
	struct link_key other;
	char output[4096];

	site->secret[0] ^= 1; /* the coordinator's idea of it */
	assert_int_equal(join(site, output), 1);
	assert_says(output, "this token is not known here, or it was used up");
	site->secret[0] ^= 1;

	link_key_generate(&other);
	make_join(site, &other.public_key, site->port);
	assert_int_equal(join(site, output), 1);
	assert_says(output, "does not have the key that the join string names");

	make_join(site, &site->server_key.public_key, 1);
	assert_int_equal(join(site, output), 1);
	assert_says(output, "nobody answers at tcp://127.0.0.1:1");

	STR_CUT(site->join, "covey1:nonsense");
	assert_int_equal(join(site, output), 1);
	assert_says(output, "covey-agent: join: ");
	STR_CUT(site->join, "");
	assert_int_equal(join(site, output), 1);
	assert_says(output, "empty");
	assert_int_equal(run(site, "join", nothing, "", output), 2);
	assert_int_equal(site->enrolled, 0);
}

/* spec: TRUST-9 */
static void root_of_another_server_is_not_pinned(void **state)
{
	struct site *site = *state;
	AUTO_FREE char *root = mem_format("%s/trust/root.doc", site->node.dir);
	struct link_key other;
	char output[4096];

	link_key_generate(&other);
	make_root(site, &other.public_key);
	assert_int_equal(join(site, output), 1);
	assert_says(output, "another server key");
	assert_int_equal(access(root, F_OK), -1);
}

static void verbs_without_an_agent_say_so(void **state)
{
	static const char *const json[] = {"-o", "json", NULL};
	struct site *site = *state;
	char output[4096];

	assert_int_equal(run(site, "run", NULL, "", output), 78);
	assert_says(output, "has not joined");
	assert_int_equal(run(site, "status", json, "", output), 1);
	assert_says(output, "does not run");
	assert_int_equal(run(site, "health", NULL, "", output), 1);
	assert_int_equal(run(site, "nonsense", NULL, "", output), 2);
	assert_int_equal(run(site, "version", NULL, "", output), 0);
	assert_says(output, "covey-agent ");
}

/* ---- the service ---- */

static void desire(struct site *site, uint64_t generation, const struct assignment *assignment)
{
	struct desired_state desired = {.epoch = 1, .generation = generation,
					.assignments = (struct assignment *)assignment,
					.assignments_count = assignment ? 1 : 0};
	struct bytes bytes = {0};

	assert_int_equal(message_encode(MESSAGE_DESIRED, &desired, &bytes, NULL), 0);
	assert_int_equal(server_send(site->agents, site->agent_routing, site->agent_routing_size,
				     bytes.data, bytes.size),
			 0);
	free(bytes.data);
}

static bool wait_state(struct site *site, enum node_state state, uint64_t ms)
{
	uint64_t end = clock_mono_ms() + ms;

	while (clock_mono_ms() < end) {
		turn(site, 20);
		if (site->status.deployments_count > 0 &&
		    site->status.deployments[0].state == state)
			return true;
	}
	return false;
}

static bool wait_status(struct site *site, uint64_t ms)
{
	unsigned before = site->statuses;
	uint64_t end = clock_mono_ms() + ms;

	while (clock_mono_ms() < end && site->statuses == before)
		turn(site, 20);
	return site->statuses > before;
}

static uint64_t number_in(const char *path, const char *key)
{
	FILE *file = fopen(path, "re");
	unsigned long long value = 0;
	char line[256];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (str_starts(line, key))
			sscanf(line + strlen(key), " %llu", &value);
	fclose(file);
	return value;
}

/* Wake-ups of all threads of a process. */
static uint64_t wakeups(pid_t pid)
{
	AUTO_FREE char *command = mem_format(
		"cat /proc/%d/task/*/status | awk '/^voluntary/ {n += $2} END {print n}'",
		(int)pid);
	FILE *pipe = popen(command, "re");
	unsigned long long value = 0;

	assert_int_equal(fscanf(pipe, "%llu", &value), 1);
	pclose(pipe);
	return value;
}

static void measure_idle(struct site *site, pid_t pid)
{
	AUTO_FREE char *smaps = mem_format("/proc/%d/smaps_rollup", (int)pid);
	AUTO_FREE char *io = mem_format("/proc/%d/io", (int)pid);
	uint64_t written, woken;

	turn(site, 6000); /* the data channel closes, memory is given back */
	written = number_in(io, "wchar:");
	woken = wakeups(pid);
	turn(site, 10000);
	woken = wakeups(pid) - woken;
	print_message("idle agent: PSS %llu KiB (anonymous %llu KiB), %.2f wake-ups a second\n",
		      (unsigned long long)number_in(smaps, "Pss:"),
		      (unsigned long long)number_in(smaps, "Pss_Anon:"), (double)woken / 10);
	/* two heartbeats at most go through a pipe of libzmq; files get nothing */
	assert_in_range(number_in(io, "wchar:") - written, 0, 2000);
}

static void service_brings_a_release_to_its_clients(void **state)
{
	static const char *const json[] = {"-o", "json", NULL};
	struct site *site = *state;
	AUTO_FREE char *log = mem_format("%s/log", site->node.dir);
	struct digest release = node_release(&site->node, "1.0.0", 1, 6, 300000);
	struct assignment assignment = node_assignment(NULL, &release, GOAL_SERVE);
	char output[4096];
	int status;
	pid_t pid;

	assignment.bake_ms = 1500;
	assert_int_equal(join(site, output), 0);
	pid = spawn(site, "run", NULL, -1, log);
	assert_true(wait_status(site, 20000));
	desire(site, 1, &assignment);
	assert_true(wait_state(site, NODE_STATE_SERVING, 30000));
	assert_true(site->routed);
	assert_true(digest_equal(&site->route.release, &release));
	assert_int_equal(site->route.port, 8080);
	assert_int_equal(site->status.deployments[0].last.kind, OUTCOME_COMPLETED);
	assert_int_equal(run(site, "health", NULL, "", output), 0);
	assert_int_equal(run(site, "status", json, "", output), 0);
	assert_says(output, "\"deployment\":\"ocr\",\"state\":\"serving\"");
	assert_says(output, "\"linked\":true");
	assert_int_equal(run(site, "status", NULL, "", output), 0);
	assert_says(output, "serving");
	assert_int_equal(run(site, "history", json, "", output), 0);
	assert_says(output, "\"outcome\":\"completed\"");
	measure_idle(site, pid);
	kill(site->model, SIGKILL); /* the model server dies without its container */
	turn(site, 9000);
	assert_int_equal(run(site, "health", NULL, "", output), 1);
	kill(pid, SIGTERM);
	while (waitpid(pid, &status, WNOHANG) == 0)
		turn(site, 10);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void killed_service_goes_on_where_it_was(void **state)
{
	struct site *site = *state;
	AUTO_FREE char *log = mem_format("%s/log", site->node.dir);
	struct digest release = node_release(&site->node, "1.0.0", 1, 12, 400000);
	size_t objects = site->node.objects_count;
	struct assignment assignment = node_assignment(NULL, &release, GOAL_FETCH);
	char output[4096];
	unsigned kills = 0;
	pid_t pid = 0;

	assert_int_equal(join(site, output), 0);
	for (;; kills++) {
		pid = spawn(site, "run", NULL, -1, log);
		assert_true(wait_status(site, 20000));
		desire(site, 1, &assignment);
		turn(site, 15 + 5 * kills);
		if (site->gets >= objects || kills == 20)
			break;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	assert_true(wait_state(site, NODE_STATE_STAGED, 30000));
	assert_in_range(site->gets, objects, objects + kills * LIMIT_FETCH_REQUESTS);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(joining_keeps_keys_identity_and_root),
		TEST(refusals_are_sentences),
		TEST(root_of_another_server_is_not_pinned),
		TEST(verbs_without_an_agent_say_so),
		TEST(service_brings_a_release_to_its_clients),
		TEST(killed_service_goes_on_where_it_was),
	};

	if (argc != 2) {
		fputs("usage: test-agent-program covey-agent\n", stderr);
		return 2;
	}
	agent_path = argv[1];
	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests_name("agent program", tests, NULL, NULL);
}
