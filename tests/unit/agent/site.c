/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything here answers from the test's own event loop, so a test that turns it sees what the
 * agent asked before anything else happens. The model server is a process: probes of it are real.
 */
#include "site.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"
#include "protocol/transport/zap.h"
#include "protocol/transport/zcontext.h"

#include <arpa/inet.h>
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
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

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

void site_root(struct site *site, const struct public_key *server_key)
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

void site_join(struct site *site, const struct public_key *server_key, uint32_t port)
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

int site_setup(void **state)
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
	site_root(site, &site->server_key.public_key);
	site_join(site, &site->server_key.public_key, site->port);
	write_config(site);
	open_helper(site);
	*state = site;
	return 0;
}

int site_teardown(void **state)
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
