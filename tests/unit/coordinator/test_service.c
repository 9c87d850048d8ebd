/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real service over loopback: who gets in at which door, revocation of a live connection, a
 * changed list of operators, one process for a folder, a clean stop and what is left after kill -9.
 * argv[1] is the program.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"
#include "protocol/enrol.h"
#include "protocol/message.h"
#include "protocol/transport/zclient.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <sodium.h>

enum { WAIT_MS = 30000, PORT_FIRST = 23400 };

static const char *program;

struct place {
	char dir[64], config[96], socket[96];
	unsigned port;
	pid_t pid;
	struct link_key link_key, admin_key, viewer_key;
};

/* ---- files ---- */

static void write_text(const struct place *place, const char *name, const char *text)
{
	AUTO_FREE char *path = mem_format("%s/%s", place->dir, name);
	AUTO_FCLOSE FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
}

static void write_operators(const struct place *place, bool with_viewer)
{
	char admin[KEY_TEXT_MAX], viewer[KEY_TEXT_MAX];

	public_key_text(admin, &place->admin_key.public_key);
	public_key_text(viewer, &place->viewer_key.public_key);
	AUTO_FREE char *text = mem_format("admin %s alice\n%sviewer %s screen\n", admin,
					  with_viewer ? "" : "#", viewer);
	write_text(place, "state/operators", text);
}

static void write_root(const struct place *place, const struct sign_key *key)
{
	AUTO_FREE char *path = mem_format("%s/state/root.doc", place->dir);
	struct public_key public_key = key->public_key;
	struct root_document root = {.version = 1,
				     .release_threshold = 1,
				     .release_keys = &public_key,
				     .release_keys_count = 1,
				     .root_threshold = 1,
				     .root_keys = &public_key,
				     .root_keys_count = 1,
				     .server_key = place->link_key.public_key,
				     .online_key = key->public_key};
	struct envelope envelope = {0};
	struct bytes data;

	snprintf(root.endpoint, sizeof(root.endpoint), "tcp://127.0.0.1:%u", place->port);
	assert_int_equal(codec_encode(&codec_root_document, &root, LIMIT_ROOT_DOCUMENT,
				      &envelope.payload, NULL),
			 0);
	envelope_sign(&envelope, SIGNED_ROOT, key);
	assert_int_equal(codec_encode(&codec_envelope, &envelope, LIMIT_ROOT_DOCUMENT, &data, NULL),
			 0);
	AUTO_FCLOSE FILE *file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(data.data, 1, data.size, file), data.size);
	free(data.data);
	codec_free(&codec_envelope, &envelope);
}

static void make_state(struct place *place)
{
	AUTO_FREE char *state = mem_format("%s/state", place->dir);
	AUTO_FREE char *link = mem_format("%s/state/link.key", place->dir);
	AUTO_FREE char *online = mem_format("%s/state/online.key", place->dir);
	AUTO_FREE char *config =
		mem_format("state_dir = %s\nlisten = 127.0.0.1\nport = %u\nsocket = %s\n", state,
			   place->port, place->socket);
	struct sign_key key;

	assert_int_equal(mkdir(state, 0700), 0);
	link_key_generate(&place->link_key);
	link_key_generate(&place->admin_key);
	link_key_generate(&place->viewer_key);
	sign_key_generate(&key);
	assert_int_equal(keyfile_create_link(link, &place->link_key, NULL), 0);
	assert_int_equal(keyfile_create_sign(online, &key, NULL), 0);
	write_root(place, &key);
	write_operators(place, true);
	write_text(place, "c.conf", config);
}

/* ---- the process ---- */

static pid_t spawn(const struct place *place)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		AUTO_FREE char *log = mem_format("%s/log", place->dir);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!freopen(log, "a", stderr))
			_exit(99);
		execl(program, program, "--config", place->config, (char *)NULL);
		_exit(98);
	}
	return pid;
}

static int wait_exit(pid_t pid)
{
	uint64_t end = clock_mono_ms() + WAIT_MS;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (clock_mono_ms() > end) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			fail_msg("the coordinator did not stop");
		}
		usleep(10000);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static struct zclient *connect_local(const struct place *place)
{
	AUTO_FREE char *endpoint = mem_format("ipc://%s", place->socket);
	struct zclient_config config = {.endpoint = endpoint,
					.max_message_size = LIMIT_CONTROL_MESSAGE};
	struct zclient *client = NULL;

	return zclient_new(NULL, &config, WAIT_MS, &client, NULL) == 0 ? client : NULL;
}

static void start(struct place *place)
{
	struct zclient *client = NULL;
	uint64_t end = clock_mono_ms() + WAIT_MS;

	place->pid = spawn(place);
	while (!client && clock_mono_ms() < end) {
		usleep(50000);
		client = connect_local(place);
	}
	assert_non_null(client);
	zclient_free(client);
}

static int setup(void **state)
{
	struct place *place = mem_alloc(sizeof(*place));

	STR_CUT(place->dir, "/tmp/covey-service-XXXXXX");
	assert_non_null(mkdtemp(place->dir));
	snprintf(place->config, sizeof(place->config), "%s/c.conf", place->dir);
	snprintf(place->socket, sizeof(place->socket), "%s/run/c.sock", place->dir);
	place->port = PORT_FIRST + (unsigned)(getpid() % 1000) * 8;
	make_state(place);
	start(place);
	*state = place;
	return 0;
}

static int teardown(void **state)
{
	struct place *place = *state;
	AUTO_FREE char *command = mem_format("rm -rf %s", place->dir);

	if (place->pid > 0) {
		kill(place->pid, SIGKILL);
		waitpid(place->pid, NULL, 0);
	}
	assert_int_equal(system(command), 0);
	free(place);
	return 0;
}

/* ---- clients ---- */

static int try_connect(const struct place *place, int offset, const struct link_key *key,
		       size_t max, struct zclient **ret_client)
{
	AUTO_FREE char *endpoint =
		mem_format("tcp://127.0.0.1:%u", place->port + (unsigned)offset);
	struct zclient_config config = {.endpoint = endpoint,
					.key = key,
					.server_key = &place->link_key.public_key,
					.max_message_size = max};

	*ret_client = NULL;
	return zclient_new(NULL, &config, WAIT_MS, ret_client, NULL);
}

static struct zclient *must_connect(const struct place *place, int offset,
				    const struct link_key *key, size_t max)
{
	struct zclient *client;

	assert_int_equal(try_connect(place, offset, key, max, &client), 0);
	return client;
}

static void receive(struct zclient *client, enum message_channel channel,
		    struct message *ret_message)
{
	struct bytes data;

	assert_int_equal(zclient_receive(client, WAIT_MS, &data, NULL), 0);
	assert_int_equal(message_decode(data.data, data.size, channel, FROM_COORDINATOR,
					ret_message, NULL),
			 0);
	free(data.data);
}

static void send_message(struct zclient *client, enum message_type type, const void *body)
{
	struct bytes data;

	assert_int_equal(message_encode(type, body, &data, NULL), 0);
	assert_int_equal(zclient_send(client, data.data, data.size, WAIT_MS, NULL), 0);
	free(data.data);
}

/* The exit code of a verb; its JSON in ret_body when not NULL. */
static uint32_t ask(struct zclient *client, const char *verb, const char *body, char **ret_body)
{
	struct msg_control control = {.id = 1, .body = (char *)body};
	const struct msg_control_reply *reply;
	struct message message;
	uint32_t code;

	STR_CUT(control.verb, verb);
	send_message(client, MESSAGE_CONTROL, &control);
	receive(client, CHANNEL_OPERATORS, &message);
	reply = message.body;
	code = reply->exit_code;
	if (ret_body)
		*ret_body = mem_str(reply->body ? reply->body : "");
	message_free(&message);
	return code;
}

static void enrol(struct place *place, struct zclient *admin, const struct link_key *link,
		  const struct public_key *sign)
{
	struct link_key anybody;
	struct msg_enrol request = {.protocol_version = PROTOCOL_VERSION,
				    .link_key = link->public_key,
				    .sign_key = *sign};
	struct join_string join;
	struct message message;
	struct zclient *client;
	AUTO_FREE char *body = NULL;
	char *at;

	assert_int_equal(ask(admin, "token.create", "{}", &body), 0);
	at = strstr(body, "covey1:");
	assert_non_null(at);
	at[strcspn(at, "\"")] = '\0';
	assert_int_equal(join_string_parse(at, &join, NULL), 0);
	STR_CUT(request.token_id, join.token_id);
	STR_CUT(request.name, "edge");
	enrol_proof(request.proof, join.secret, &request.link_key, &request.sign_key,
		    &join.server_key);
	link_key_generate(&anybody);
	client = must_connect(place, PORT_OFFSET_ENROL, &anybody, LIMIT_ENROL_MESSAGE);
	send_message(client, MESSAGE_ENROL, &request);
	receive(client, CHANNEL_ENROL, &message);
	assert_string_equal(((struct msg_enrolled *)message.body)->error, "");
	message_free(&message);
	zclient_free(client);
}

/* ---- tests ---- */

static void test_strangers_stay_outside(void **state)
{
	static const int doors[] = {PORT_OFFSET_AGENTS, PORT_OFFSET_DATA, PORT_OFFSET_OPERATORS};
	struct place *place = *state;
	struct zclient *client;
	struct link_key stranger;

	link_key_generate(&stranger);
	for (size_t i = 0; i < ARRAY_SIZE(doors); i++) {
		assert_int_equal(try_connect(place, doors[i], &stranger, 1 << 20, &client),
				 -EKEYREJECTED);
		assert_null(client);
	}
	/* A key for one door does not open another. */
	assert_int_equal(try_connect(place, PORT_OFFSET_AGENTS, &place->admin_key, 1 << 20,
				     &client),
			 -EKEYREJECTED);
}

static void test_roles_and_reload(void **state)
{
	struct place *place = *state;
	struct zclient *viewer = must_connect(place, PORT_OFFSET_OPERATORS, &place->viewer_key,
					      LIMIT_CONTROL_MESSAGE);
	struct zclient *local = connect_local(place), *again;
	struct bytes data;

	assert_int_equal(ask(viewer, "status", "{}", NULL), 0);
	assert_int_equal(ask(viewer, "token.create", "{}", NULL), 1);
	assert_int_equal(ask(local, "token.create", "{}", NULL), 0);
	/* Taken from the list: the connection that is up is worth nothing from then on. */
	write_operators(place, false);
	kill(place->pid, SIGHUP);
	usleep(300000);
	struct msg_control control = {.id = 2, .verb = "status"};
	send_message(viewer, MESSAGE_CONTROL, &control);
	assert_int_equal(zclient_receive(viewer, 500, &data, NULL), -ETIMEDOUT);
	assert_int_equal(try_connect(place, PORT_OFFSET_OPERATORS, &place->viewer_key,
				     LIMIT_CONTROL_MESSAGE, &again),
			 -EKEYREJECTED);
	zclient_free(viewer);
	zclient_free(local);
}

/* spec: TRUST-7 */
static void test_revoked_while_connected(void **state)
{
	struct place *place = *state;
	struct zclient *local = connect_local(place), *agent, *data, *again;
	struct link_key link;
	struct public_key sign;
	struct msg_subscribe subscribe = {.protocol_version = PROTOCOL_VERSION, .boot_epoch = 1};
	struct msg_get get = {.kind = OBJECT_MANIFEST};
	struct message message;

	link_key_generate(&link);
	randombytes_buf(sign.bytes, KEY_SIZE);
	assert_int_equal(try_connect(place, PORT_OFFSET_AGENTS, &link, 1 << 20, &agent),
			 -EKEYREJECTED);
	enrol(place, local, &link, &sign);
	agent = must_connect(place, PORT_OFFSET_AGENTS, &link, LIMIT_DESIRED_MESSAGE);
	data = must_connect(place, PORT_OFFSET_DATA, &link, LIMIT_DATA_MESSAGE);
	send_message(agent, MESSAGE_SUBSCRIBE, &subscribe);
	receive(agent, CHANNEL_AGENTS, &message);
	assert_int_equal(message.type, MESSAGE_DESIRED);
	message_free(&message);
	send_message(data, MESSAGE_GET, &get);
	receive(data, CHANNEL_DATA, &message);
	assert_true(((struct msg_object *)message.body)->missing);
	message_free(&message);
	assert_int_equal(ask(local, "node.revoke", "{\"node\":\"edge\"}", NULL), 0);
	receive(agent, CHANNEL_AGENTS, &message);
	assert_int_equal(message.type, MESSAGE_REFUSED);
	message_free(&message);
	send_message(agent, MESSAGE_SUBSCRIBE, &subscribe);
	receive(agent, CHANNEL_AGENTS, &message);
	assert_int_equal(message.type, MESSAGE_REFUSED);
	message_free(&message);
	assert_int_equal(try_connect(place, PORT_OFFSET_AGENTS, &link, 1 << 20, &again),
			 -EKEYREJECTED);
	zclient_free(agent);
	zclient_free(data);
	zclient_free(local);
}

static void test_garbage_at_every_door(void **state)
{
	struct place *place = *state;
	struct zclient *local = connect_local(place), *admin, *enrolment;
	uint8_t garbage[512];

	admin = must_connect(place, PORT_OFFSET_OPERATORS, &place->admin_key,
			     LIMIT_CONTROL_MESSAGE);
	enrolment = must_connect(place, PORT_OFFSET_ENROL, &place->admin_key,
				 LIMIT_ENROL_MESSAGE);
	for (size_t i = 0; i < 200; i++) {
		struct bytes reply;

		randombytes_buf(garbage, sizeof(garbage));
		assert_int_equal(zclient_send(enrolment, garbage, 1 + i, WAIT_MS, NULL), 0);
		/* An operator is told that this was no request. */
		assert_int_equal(zclient_request(admin, garbage, 1 + i, WAIT_MS, &reply, NULL), 0);
		free(reply.data);
	}
	assert_int_equal(ask(admin, "status", "{}", NULL), 0);
	zclient_free(admin);
	zclient_free(enrolment);
	zclient_free(local);
}

static void test_stop_kill_and_start(void **state)
{
	struct place *place = *state;
	struct zclient *local = connect_local(place);
	struct link_key link;
	struct public_key sign;
	AUTO_FREE char *nodes = NULL;

	link_key_generate(&link);
	randombytes_buf(sign.bytes, KEY_SIZE);
	enrol(place, local, &link, &sign);
	zclient_free(local);
	assert_int_equal(wait_exit(spawn(place)), 1); /* a second one for the same folder */
	kill(place->pid, SIGKILL);
	waitpid(place->pid, NULL, 0);
	start(place);
	local = connect_local(place);
	assert_int_equal(ask(local, "node.ls", "{}", &nodes), 0);
	assert_non_null(strstr(nodes, "\"edge\""));
	zclient_free(local);
	kill(place->pid, SIGTERM);
	assert_int_equal(wait_exit(place->pid), 0);
	place->pid = 0;
	assert_int_equal(access(place->socket, F_OK), -1);
}

/* Keys that are not those of the root document would cut every node off: refused at the start. */
static void test_wrong_keys_do_not_start(void **state)
{
	struct place *place = *state;
	AUTO_FREE char *path = mem_format("%s/state/link.key", place->dir);
	struct link_key other;

	kill(place->pid, SIGTERM);
	assert_int_equal(wait_exit(place->pid), 0);
	place->pid = 0;
	assert_int_equal(unlink(path), 0);
	assert_int_equal(wait_exit(spawn(place)), 1);
	link_key_generate(&other);
	assert_int_equal(keyfile_create_link(path, &other, NULL), 0);
	assert_int_equal(wait_exit(spawn(place)), 1);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_strangers_stay_outside), T(test_roles_and_reload),
		T(test_revoked_while_connected), T(test_garbage_at_every_door),
		T(test_stop_kill_and_start), T(test_wrong_keys_do_not_start),
	};

	if (argc != 2 || sodium_init() < 0)
		return 2;
	program = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
