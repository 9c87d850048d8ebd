/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world of fixture.h. Messages to nodes are queued and delivered after the entry point has
 * returned, as sockets would; nodes carry out their desired state at once, except that a bake takes
 * its time.
 */
#include "fixture.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "coordinator/store/store.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"
#include "protocol/enrol.h"
#include "protocol/spec.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <sodium.h>

/* ---- the world ---- */

static uint64_t world_now(void *user)
{
	return ((struct fixture *)user)->now_ms;
}

static void world_random(void *user, void *data, size_t size)
{
	struct rng rng = {.state = ++((struct fixture *)user)->random};
	uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)rng_next(&rng);
}

static int world_send_data(void *user, const struct node_id *node, void *data, size_t size)
{
	struct fixture *f = user;

	if (f->data_fails)
		return -EHOSTUNREACH;
	assert_true(f->data_count < ARRAY_SIZE(f->data));
	f->data[f->data_count++] = (struct packet){*node, {data, size}};
	return 0;
}

static void world_send(void *user, const struct node_id *node, const void *data, size_t size)
{
	struct fixture *f = user;

	assert_true(f->queue_count < ARRAY_SIZE(f->queue));
	f->queue[f->queue_count++] = (struct packet){*node, {mem_copy(data, size), size}};
}

static void world_reply(void *user, uint64_t client, const void *data, size_t size)
{
	struct fixture *f = user;
	struct message message;

	assert_int_equal(message_decode(data, size, CHANNEL_OPERATORS, FROM_COORDINATOR, &message,
					NULL),
			 0);
	codec_free(&codec_msg_control_reply, &f->reply);
	json_decref(f->body);
	f->reply = *(struct msg_control_reply *)message.body;
	free(message.body);
	f->reply_client = client;
	f->body = f->reply.body ? json_loads(f->reply.body, JSON_DECODE_ANY, NULL) : NULL;
	f->replies++;
}

static void world_arm(void *user, uint64_t at_ms)
{
	((struct fixture *)user)->armed_ms = at_ms;
}

static int world_sign(void *user, struct envelope *envelope, struct err *err)
{
	struct fixture *f = user;
	struct sign_key key = {.public_key = f->sign_public};

	memcpy(key.secret, f->sign_secret, sizeof(key.secret));
	envelope_sign(envelope, SIGNED_IDENTITY, &key);
	return 0;
}

static struct fake_object *find_object(struct fixture *f, const struct digest *digest)
{
	for (size_t i = 0; i < f->objects_count; i++) {
		if (digest_equal(&f->objects[i].digest, digest))
			return &f->objects[i];
	}
	return NULL;
}

static bool world_has(void *user, const struct digest *digest)
{
	struct fixture *f = user;
	struct fake_object *object = find_object(f, digest);

	if (object)
		object->changed_ms = f->now_ms;
	return object != NULL;
}

static int world_put(void *user, const struct digest *digest, const void *data, size_t size,
		     struct err *err)
{
	struct fixture *f = user;

	if (world_has(user, digest))
		return 0;
	if (f->disk_full)
		return err_set(err, -ENOSPC, "the disk is full");
	assert_true(f->objects_count < ARRAY_SIZE(f->objects));
	f->objects[f->objects_count++] =
		(struct fake_object){*digest, {mem_copy(data, size), size}, f->now_ms};
	return 0;
}

static int world_get(void *user, const struct digest *digest, struct bytes *ret_data,
		     struct err *err)
{
	const struct fake_object *object = find_object(user, digest);

	if (!object)
		return err_set(err, -ENOENT, "there is no such object");
	ret_data->data = mem_copy(object->data.data, object->data.size);
	ret_data->size = object->data.size;
	return 0;
}

static int world_peek(void *user, const struct digest *digest, void *buffer, size_t size)
{
	const struct fake_object *object = find_object(user, digest);

	if (!object || object->data.size != size)
		return -ENOENT;
	memcpy(buffer, object->data.data, size);
	return 0;
}

static int world_remove(void *user, const struct digest *digest, struct err *err)
{
	struct fixture *f = user;
	struct fake_object *object = find_object(f, digest);

	if (object) {
		free(object->data.data);
		*object = f->objects[--f->objects_count];
	}
	return 0;
}

static int world_each(void *user, world_object_fn *fn, void *arg, struct err *err)
{
	struct fixture *f = user;

	for (size_t i = f->objects_count; i-- > 0;) {
		struct fake_object object = f->objects[i];
		int r = fn(arg, &object.digest, object.data.size, object.changed_ms);

		if (r != 0)
			return r;
	}
	return 0;
}

/* ---- life ---- */

static void make_root(struct fixture *f)
{
	struct sign_key key;
	struct root_document root = {.version = 1, .release_threshold = 1, .root_threshold = 1};
	struct envelope envelope = {0};
	struct public_key release_key;

	sign_key_generate(&key);
	f->sign_public = release_key = key.public_key;
	memcpy(f->sign_secret, key.secret, sizeof(f->sign_secret));
	randombytes_buf(f->server_key.bytes, KEY_SIZE);
	root.release_keys = root.root_keys = &release_key;
	root.release_keys_count = root.root_keys_count = 1;
	root.server_key = f->server_key;
	root.online_key = key.public_key;
	STR_CUT(root.endpoint, "tcp://127.0.0.1:7400");
	assert_int_equal(codec_encode(&codec_root_document, &root, LIMIT_ROOT_DOCUMENT,
				      &envelope.payload, NULL),
			 0);
	envelope_sign(&envelope, SIGNED_ROOT, &key);
	assert_int_equal(codec_encode(&codec_envelope, &envelope, LIMIT_ROOT_DOCUMENT,
				      &f->config.root, NULL),
			 0);
	codec_free(&codec_envelope, &envelope);
}

static int world_hook(void *user, const char *json, struct err *err)
{
	struct fixture *f = user;

	if (f->hook_is_deaf)
		return err_set(err, -ENOENT, "nobody listens");
	free(f->hooked);
	f->hooked = mem_str(json);
	f->hooks++;
	return 0;
}

void fixture_start(struct fixture *f)
{
	const struct coordinator_world world = {
		.user = f,
		.now_ms = world_now,
		.random = world_random,
		.send_to_agent = world_send,
		.send_data = world_send_data,
		.control_reply = world_reply,
		.arm_timer = world_arm,
		.hook = world_hook,
		.sign_identity = world_sign,
		.object_has = world_has,
		.object_put = world_put,
		.object_get = world_get,
		.object_peek = world_peek,
		.object_remove = world_remove,
		.object_each = world_each,
	};
	struct err err = {0};
	int r = coordinator_new(&f->config, &world, f->store, &f->coordinator, &err);

	if (r < 0)
		fail_msg("coordinator_new: %s", err_text(&err, r));
}

struct fixture *fixture_new(const char *database)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	struct err err = {0};

	assert_true(sodium_init() >= 0);
	f->now_ms = UINT64_C(1800000000000);
	make_root(f);
	if (store_sqlite_open(database ? database : ":memory:", &f->store, &err) < 0)
		fail_msg("store: %s", err.text);
	fixture_start(f);
	return f;
}

static void drop_queue(struct fixture *f)
{
	for (size_t i = 0; i < f->queue_count; i++)
		free(f->queue[i].data.data);
	f->queue_count = 0;
}

void fixture_crash(struct fixture *f)
{
	coordinator_free(f->coordinator);
	f->coordinator = NULL;
	drop_queue(f);
}

void fixture_free(struct fixture *f)
{
	struct err err = {0};

	if (f->coordinator) {
		if (coordinator_check(f->coordinator, &err) < 0)
			fail_msg("self-check: %s", err.text);
		coordinator_close(f->coordinator);
	}
	store_close(f->store);
	free(f->hooked);
	drop_queue(f);
	for (size_t i = 0; i < f->objects_count; i++)
		free(f->objects[i].data.data);
	for (size_t i = 0; i < f->nodes_count; i++) {
		codec_free(&codec_desired_state, &f->nodes[i].desired);
		codec_free(&codec_node_status, &f->nodes[i].status);
		free(f->nodes[i].baseline.data);
		codec_free(&codec_msg_neighbours, &f->nodes[i].neighbours);
	}
	for (size_t i = 0; i < f->data_count; i++)
		free(f->data[i].data.data);
	codec_free(&codec_msg_control_reply, &f->reply);
	json_decref(f->body);
	free(f->config.root.data);
	free(f);
}

/* ---- nodes ---- */

void fixture_send(struct fixture *f, struct fake_node *node, enum message_type type,
		  const void *body)
{
	struct bytes data;
	struct err err = {0};

	if (node->off)
		return;
	if (message_encode(type, body, &data, &err) < 0)
		fail_msg("%s", err.text);
	coordinator_on_agent(f->coordinator, &node->id, "192.0.2.1", data.data, data.size);
	free(data.data);
}

void fixture_send_data(struct fixture *f, struct fake_node *node, enum message_type type,
		       const void *body)
{
	struct bytes data, reply = {0};

	assert_int_equal(message_encode(type, body, &data, NULL), 0);
	coordinator_on_data(f->coordinator, &node->id, data.data, data.size, &reply);
	assert_null(reply.data);
	free(data.data);
}

void fixture_send_status(struct fixture *f, struct fake_node *node)
{
	node->status.boot_epoch = node->boot_epoch;
	node->status.sequence = ++node->sequence;
	node->status.epoch = node->desired.epoch;
	node->status.generation = node->desired.generation;
	fixture_send(f, node, MESSAGE_STATUS, &node->status);
}

static void beat(struct fixture *f, struct fake_node *node)
{
	struct msg_heartbeat heartbeat = {.epoch = node->desired.epoch,
					  .generation = node->desired.generation,
					  .boot_epoch = node->boot_epoch,
					  .sequence = node->sequence};

	node->beat_ms = f->now_ms + LIMIT_HEARTBEAT_MS;
	fixture_send(f, node, MESSAGE_HEARTBEAT, &heartbeat);
}

static void subscribe(struct fixture *f, struct fake_node *node)
{
	struct msg_subscribe message = {.protocol_version = PROTOCOL_VERSION,
					.agent_version = "0.1.0",
					.epoch = node->desired.epoch,
					.generation = node->desired.generation,
					.boot_epoch = node->boot_epoch};

	STR_CUT(message.name, node->name);
	fixture_send(f, node, MESSAGE_SUBSCRIBE, &message);
}

static void serve(struct fixture *f, struct fake_node *node, size_t i, const struct assignment *a,
		  struct deployment_report *report)
{
	bool blocked = digest_equal(&node->vetoed, &a->next) && node->vetoed_attempt >= a->attempt;

	if (digest_equal(&a->next, &f->bad) || blocked) {
		node->vetoed = a->next;
		node->vetoed_attempt = a->attempt;
		report->state = NODE_STATE_ROLLED_BACK;
		report->release = a->base;
		report->healthy = !digest_is_zero(&a->base);
		report->last.kind = OUTCOME_ROLLED_BACK;
		report->last.at_unix_ms = f->now_ms;
		report->last.rollout = a->rollout;
		report->last.release = a->next;
		report->last.attempt = a->attempt;
		STR_CUT(report->last.reason.phase, "bake");
		STR_CUT(report->last.reason.check, "health");
		STR_CUT(report->last.reason.text, "GET /healthz answered 500");
		free(report->last.reason.log);
		report->last.reason.log = mem_str("Traceback\nValueError\n");
		return;
	}
	if (digest_equal(&report->release, &a->next) && report->state == NODE_STATE_SERVING)
		return;
	report->release = a->next;
	report->healthy = report->staged = report->proven = true;
	report->state = NODE_STATE_BAKING;
	if (!node->baking[i]) {
		node->baking[i] = true;
		node->bake_ends_ms[i] = f->now_ms + a->bake_ms;
	}
}

static void carry_out(struct fixture *f, struct fake_node *node, size_t i,
		      const struct assignment *a, struct deployment_report *report)
{
	report->target = digest_is_zero(&a->next) ? a->base : a->next;
	report->rollout = a->rollout;
	report->attempt = a->attempt;
	if (a->goal != GOAL_SERVE || a->revert)
		node->baking[i] = false;
	if (a->revert || (a->goal == GOAL_NONE && !digest_equal(&report->release, &a->base))) {
		report->state = a->revert ? NODE_STATE_ROLLED_BACK : NODE_STATE_SERVING;
		report->release = a->base;
		report->healthy = !digest_is_zero(&a->base);
		report->staged = report->proven = false;
	} else if (a->goal == GOAL_SERVE) {
		serve(f, node, i, a, report);
	} else if (a->goal == GOAL_FETCH || a->goal == GOAL_PREPARE) {
		report->staged = true;
		report->proven = a->goal == GOAL_PREPARE;
		report->state = NODE_STATE_STAGED;
	} else if (report->state != NODE_STATE_ROLLED_BACK) {
		report->state = NODE_STATE_SERVING;
	}
	report->slots[0] = (struct slot_report){
		COLOUR_BLUE, digest_is_zero(&report->release) ? SLOT_STATE_EMPTY
							      : SLOT_STATE_SERVING,
		report->release};
	report->slots[1] = (struct slot_report){COLOUR_GREEN, SLOT_STATE_EMPTY, {{0}}};
}

static struct deployment_report *report_of(struct node_status *status, const char *deployment)
{
	for (size_t i = 0; i < status->deployments_count; i++) {
		if (str_equal(status->deployments[i].deployment, deployment))
			return &status->deployments[i];
	}
	return NULL;
}

void fixture_obey(struct fixture *f, struct fake_node *node)
{
	struct node_status fresh = {.inventory = node->status.inventory};
	const struct desired_state *desired = &node->desired;

	fresh.deployments = mem_array(desired->assignments_count + 1, sizeof(*fresh.deployments));
	fresh.deployments_count = desired->assignments_count;
	for (size_t i = 0; i < desired->assignments_count; i++) {
		const struct assignment *a = &desired->assignments[i];
		const struct deployment_report *old = report_of(&node->status, a->deployment);

		if (old)
			codec_copy(&codec_deployment_report, &fresh.deployments[i], old);
		STR_CUT(fresh.deployments[i].deployment, a->deployment);
		carry_out(f, node, i, a, &fresh.deployments[i]);
	}
	codec_free(&codec_node_status, &node->status);
	node->status = fresh;
	STR_CUT(node->status.inventory.arch, "amd64");
	fixture_send_status(f, node);
}

static void hear_desired(struct fixture *f, struct fake_node *node,
			 const struct desired_state *desired)
{
	node->desired_count++;
	if (desired->epoch < node->desired.epoch ||
	    (desired->epoch == node->desired.epoch &&
	     desired->generation < node->desired.generation))
		return;
	codec_free(&codec_desired_state, &node->desired);
	codec_copy(&codec_desired_state, &node->desired, desired);
	if (!node->lazy)
		fixture_obey(f, node);
}

static struct fake_node *node_of(struct fixture *f, const struct node_id *id)
{
	for (size_t i = 0; i < f->nodes_count; i++) {
		if (node_id_equal(&f->nodes[i].id, id))
			return &f->nodes[i];
	}
	return NULL;
}

static void hear(struct fixture *f, struct fake_node *node, const struct bytes *data)
{
	struct message message;

	assert_int_equal(message_decode(data->data, data->size, CHANNEL_AGENTS, FROM_COORDINATOR,
					&message, NULL),
			 0);
	if (message.type == MESSAGE_DESIRED) {
		hear_desired(f, node, message.body);
	} else if (message.type == MESSAGE_ACK) {
		node->ack = *(struct msg_ack *)message.body;
		if (node->ack.send_status)
			fixture_send_status(f, node);
	} else if (message.type == MESSAGE_OBSERVED_ACK) {
		node->observed = *(struct msg_observed_ack *)message.body;
	} else if (message.type == MESSAGE_NEIGHBOURS) {
		codec_free(&codec_msg_neighbours, &node->neighbours);
		codec_copy(&codec_msg_neighbours, &node->neighbours, message.body);
		node->neighbours_count++;
	} else if (message.type == MESSAGE_BASELINE) {
		struct msg_baseline *baseline = message.body;

		free(node->baseline.data);
		node->baseline = baseline->baseline;
		baseline->baseline = (struct bytes){0};
	} else if (message.type == MESSAGE_REFUSED) {
		node->refused = true;
	} else if (message.type == MESSAGE_LOGS_WANTED) {
		const struct msg_logs_wanted *wanted = message.body;
		struct msg_logs logs = {.id = wanted->id, .text = (char *)"hello\nworld\n"};

		fixture_send(f, node, MESSAGE_LOGS, &logs);
	}
	message_free(&message);
}

/* The timer of a real loop fires when no message is waiting. */
static bool turn(struct fixture *f)
{
	if (f->queue_count == 0 && f->armed_ms <= f->now_ms)
		coordinator_tick(f->coordinator);
	return f->queue_count > 0;
}

void fixture_deliver(struct fixture *f)
{
	for (size_t round = 0; turn(f); round++) {
		struct packet packet = f->queue[0];
		struct fake_node *node = node_of(f, &packet.node);

		assert_true(round < 100000);
		f->queue_count--;
		memmove(f->queue, f->queue + 1, f->queue_count * sizeof(*f->queue));
		if (node && !node->off)
			hear(f, node, &packet.data);
		free(packet.data.data);
	}
}

static void end_bakes(struct fixture *f, struct fake_node *node)
{
	bool ended = false;

	for (size_t i = 0; i < node->desired.assignments_count; i++) {
		struct deployment_report *report = &node->status.deployments[i];

		if (!node->baking[i] || f->now_ms < node->bake_ends_ms[i])
			continue;
		node->baking[i] = false;
		report->state = NODE_STATE_SERVING;
		report->last.kind = OUTCOME_COMPLETED;
		report->last.rollout = report->rollout;
		report->last.release = report->release;
		report->last.at_unix_ms = f->now_ms;
		report->last.reason.phase[0] = '\0';
		ended = true;
	}
	if (ended)
		fixture_send_status(f, node);
}

void fixture_pass(struct fixture *f, uint64_t ms)
{
	for (uint64_t end = f->now_ms + ms; f->now_ms < end;) {
		f->now_ms += 1000;
		for (size_t i = 0; i < f->nodes_count; i++) {
			end_bakes(f, &f->nodes[i]);
			if (f->now_ms >= f->nodes[i].beat_ms)
				beat(f, &f->nodes[i]);
		}
		if (f->now_ms >= f->armed_ms)
			coordinator_tick(f->coordinator);
		fixture_deliver(f);
	}
}

/* ---- operators ---- */

int fixture_ask(struct fixture *f, enum operator_role role, const char *verb, json_t *body,
		const struct bytes *blob)
{
	AUTO_FREE char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct msg_control message = {.id = 7, .body = text};
	uint64_t before = f->replies;
	struct bytes data;

	STR_CUT(message.verb, verb);
	if (blob)
		message.blob = *blob;
	json_decref(body);
	assert_int_equal(message_encode(MESSAGE_CONTROL, &message, &data, NULL), 0);
	coordinator_on_control(f->coordinator, ++f->client, role, "alice", "127.0.0.1", data.data,
			       data.size);
	free(data.data);
	if (f->replies == before)
		return -1;
	assert_int_equal(f->replies, before + 1);
	assert_int_equal(f->reply_client, f->client);
	assert_int_equal(f->reply.id, 7);
	return (int)f->reply.exit_code;
}

int fixture_admin(struct fixture *f, const char *verb, json_t *body)
{
	int code = fixture_ask(f, ROLE_ADMIN, verb, body, NULL);

	fixture_deliver(f);
	return code;
}

const char *fixture_text(const json_t *object, const char *path)
{
	AUTO_FREE char *copy = mem_str(path);
	char *state = NULL;

	for (char *key = strtok_r(copy, ".", &state); key; key = strtok_r(NULL, ".", &state)) {
		if (json_is_array(object))
			object = json_array_get(object, (size_t)atoi(key));
		else
			object = json_object_get(object, key);
	}
	return json_is_string(object) ? json_string_value(object) : "";
}

/* ---- joining ---- */

struct bytes fixture_enrol_request(const char *join, const char *name,
				   const struct public_key *link_key,
				   const struct public_key *sign_key)
{
	struct msg_enrol enrol = {.protocol_version = PROTOCOL_VERSION,
				  .link_key = *link_key,
				  .sign_key = *sign_key};
	struct join_string parsed;
	struct bytes data;

	assert_int_equal(join_string_parse(join, &parsed, NULL), 0);
	STR_CUT(enrol.token_id, parsed.token_id);
	STR_CUT(enrol.name, name);
	STR_CUT(enrol.inventory.arch, "amd64");
	enrol_proof(enrol.proof, parsed.secret, link_key, sign_key, &parsed.server_key);
	assert_int_equal(message_encode(MESSAGE_ENROL, &enrol, &data, NULL), 0);
	return data;
}

struct fake_node *fixture_join(struct fixture *f, const char *name, json_t *labels)
{
	struct fake_node *node = &f->nodes[f->nodes_count++];
	struct bytes request, reply;
	struct message message;
	const struct msg_enrolled *enrolled;

	assert_int_equal(fixture_admin(f, "token.create",
				       labels ? json_pack("{so}", "labels", labels)
					      : json_object()),
			 0);
	STR_CUT(node->name, name);
	world_random(f, node->link_key.bytes, KEY_SIZE);
	world_random(f, node->sign_key.bytes, KEY_SIZE);
	node_id_of_key(&node->id, &node->sign_key);
	node->boot_epoch = 1;
	request = fixture_enrol_request(fixture_text(f->body, "join"), name, &node->link_key,
					&node->sign_key);
	coordinator_on_enrol(f->coordinator, "10.0.0.1", request.data, request.size, &reply);
	assert_int_equal(message_decode(reply.data, reply.size, CHANNEL_ENROL, FROM_COORDINATOR,
					&message, NULL),
			 0);
	enrolled = message.body;
	assert_string_equal(enrolled->error, "");
	message_free(&message);
	free(request.data);
	free(reply.data);
	subscribe(f, node);
	fixture_deliver(f);
	beat(f, node);
	fixture_deliver(f);
	return node;
}

struct fake_node *fixture_node(struct fixture *f, const char *name)
{
	for (size_t i = 0; i < f->nodes_count; i++) {
		if (str_equal(f->nodes[i].name, name))
			return &f->nodes[i];
	}
	fail_msg("no node %s", name);
	return NULL;
}

/* ---- releases ---- */

static void put_object(struct fixture *f, const void *data, size_t size, struct digest *ret_digest)
{
	struct bytes blob = {(uint8_t *)data, size};
	char text[DIGEST_TEXT_MAX];

	digest_of(ret_digest, data, size);
	digest_text(text, ret_digest);
	assert_int_equal(fixture_ask(f, ROLE_OPERATOR, "object.put",
				     json_pack("{ss}", "digest", text), &blob),
			 0);
}

static void make_blob(struct fixture *f, const char *content, bool put,
		      struct release_blob *ret_blob)
{
	struct chunk_ref chunk = {.size = strlen(content)};
	struct chunk_index index = {.chunks = &chunk, .chunks_count = 1};
	struct bytes encoded;

	digest_of(&chunk.digest, content, strlen(content));
	assert_int_equal(codec_encode(&codec_chunk_index, &index, LIMIT_OBJECT, &encoded, NULL), 0);
	digest_of(&ret_blob->index, encoded.data, encoded.size);
	if (put) {
		put_object(f, content, strlen(content), &chunk.digest);
		put_object(f, encoded.data, encoded.size, &ret_blob->index);
	}
	ret_blob->index_size = encoded.size;
	ret_blob->size = chunk.size;
	ret_blob->content = chunk.digest;
	free(encoded.data);
}

struct bytes fixture_manifest(struct fixture *f, const char *model, const char *version,
			      bool put_objects, const void *other_key)
{
	struct release_blob blobs[2] = {{.kind = BLOB_LAYER},
					{.kind = BLOB_FILE, .path = (char *)"m.bin", .mode = 0644}};
	struct text_item argv = {(char *)"/server"};
	struct release release = {.os = "linux",
				  .arch = "amd64",
				  .blobs = blobs,
				  .blobs_count = 2,
				  .argv = &argv,
				  .argv_count = 1,
				  .serve = {.port = 8080, .container_port = 8000},
				  .health = {.kind = HEALTH_TCP,
					     .interval_ms = 2000,
					     .timeout_ms = 1000,
					     .failures = 3,
					     .start_period_ms = 30000}};
	AUTO_FREE char *content = mem_format("model %s version %s", model, version);
	struct sign_key key = {.public_key = f->sign_public};
	struct envelope envelope = {0};
	struct digest digest;
	struct bytes signed_bytes;
	struct err err = {0};

	STR_CUT(release.model, model);
	STR_CUT(release.version, version);
	make_blob(f, "the layer that all share", put_objects, &blobs[0]);
	memset(blobs[0].diff_id, 1, sizeof(blobs[0].diff_id));
	make_blob(f, content, put_objects, &blobs[1]);
	memcpy(key.secret, f->sign_secret, sizeof(key.secret));
	if (release_encode(&release, &envelope.payload, &digest, &err) < 0)
		fail_msg("%s", err.text);
	envelope_sign(&envelope, SIGNED_RELEASE, other_key ? other_key : &key);
	assert_int_equal(codec_encode(&codec_envelope, &envelope, LIMIT_MANIFEST, &signed_bytes,
				      NULL),
			 0);
	codec_free(&codec_envelope, &envelope);
	return signed_bytes;
}

struct digest fixture_push(struct fixture *f, const char *model, const char *version)
{
	struct bytes manifest = fixture_manifest(f, model, version, true, NULL);
	struct digest digest;
	int code = fixture_ask(f, ROLE_OPERATOR, "release.put", NULL, &manifest);

	free(manifest.data);
	if (code != 0)
		fail_msg("release.put: %s", f->reply.error);
	assert_int_equal(digest_parse(fixture_text(f->body, "digest"), &digest), 0);
	return digest;
}

/* ---- rollouts ---- */

void fixture_spec(struct deployment_spec *spec, const char *name, const char *model,
		  const char *version)
{
	deployment_spec_defaults(spec);
	STR_CUT(spec->name, name);
	STR_CUT(spec->model, model);
	STR_CUT(spec->version, version);
	STR_CUT(spec->selector, "all");
	spec->stages[0].bake_ms = 10000;
	spec->batch = (struct share){.percent = true, .value = 100};
	spec->batch_bake_ms = 10000;
	spec->max_unavailable = (struct share){.percent = true, .value = 100};
}

int fixture_apply(struct fixture *f, const struct deployment_spec *spec, bool supersede,
		  bool allow_removal)
{
	struct bytes blob;
	int code;

	assert_int_equal(codec_encode(&codec_deployment_spec, spec, LIMIT_MANIFEST, &blob, NULL),
			 0);
	code = fixture_ask(f, ROLE_OPERATOR, "apply",
			   json_pack("{sbsb}", "supersede", supersede, "allow_removal",
				     allow_removal),
			   &blob);
	free(blob.data);
	fixture_deliver(f);
	return code;
}

const char *fixture_state(struct fixture *f, const char *rollout)
{
	AUTO_FREE char *id = mem_str(rollout);

	if (fixture_ask(f, ROLE_VIEWER, "rollout.show", json_pack("{ss}", "rollout", id), NULL) != 0)
		fail_msg("rollout.show %s: %s", id, f->reply.error);
	return fixture_text(f->body, "state");
}
