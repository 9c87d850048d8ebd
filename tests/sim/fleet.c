/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Setting a fleet up by the front door: a root document and keys from the seed, a join token, each
 * node enrolled with its proof, each version signed, its objects put, its manifest accepted.
 */
#include "sim.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"
#include "protocol/enrol.h"
#include "protocol/message.h"
#include "protocol/spec.h"

#include <jansson.h>
#include <sodium.h>

static const struct {
	const char *version;
	enum sim_behaviour behaviour;
} version_table[SIM_VERSIONS] = {
	{"1.0.0", SIM_GOOD},	 {"2.0.0", SIM_GOOD},	     {"3.0.0", SIM_SMOKE_FAILS},
	{"3.1.0", SIM_CRASHES}, {"3.2.0", SIM_NEVER_READY}, {"3.3.0", SIM_SOURS},
	{"3.4.0", SIM_NO_PREFLIGHT},
};

static void key_from(struct sim *sim, struct sign_key *ret_key)
{
	uint8_t seed[crypto_sign_SEEDBYTES];

	for (size_t i = 0; i < sizeof(seed); i++)
		seed[i] = (uint8_t)rng_next(&sim->rng);
	crypto_sign_seed_keypair(ret_key->public_key.bytes, ret_key->secret, seed);
}

static int make_root(struct sim *sim)
{
	struct root_document root = {.version = 1, .release_threshold = 1, .root_threshold = 1};
	struct envelope envelope = {0};
	int r;

	key_from(sim, &sim->release_key);
	key_from(sim, &sim->online_key);
	root.release_keys = mem_copy(&sim->release_key.public_key, sizeof(struct public_key));
	root.release_keys_count = 1;
	root.root_keys = mem_copy(&sim->release_key.public_key, sizeof(struct public_key));
	root.root_keys_count = 1;
	root.online_key = sim->online_key.public_key;
	memset(root.server_key.bytes, 7, sizeof(root.server_key.bytes));
	STR_CUT(root.endpoint, "tcp://10.0.0.1:7400");
	r = codec_encode(&codec_root_document, &root, LIMIT_ROOT_DOCUMENT, &envelope.payload, NULL);
	if (r < 0)
		return r;
	envelope_sign(&envelope, SIGNED_ROOT, &sim->release_key);
	r = codec_encode(&codec_envelope, &envelope, LIMIT_ROOT_DOCUMENT, &sim->root, NULL);
	codec_free(&codec_envelope, &envelope);
	sim->root_document = root;
	return r;
}

/* One layer of one chunk. */
static int make_objects(struct sim *sim, uint32_t v)
{
	struct sim_version *version = &sim->versions[v];
	struct chunk_ref chunk = {.size = 64};
	struct chunk_index index = {.chunks = &chunk, .chunks_count = 1};
	int r;

	version->chunk = (struct bytes){mem_alloc(64), 64};
	snprintf((char *)version->chunk.data, 64, "layer of version %u", v);
	digest_of(&version->chunk_digest, version->chunk.data, 64);
	chunk.digest = version->chunk_digest;
	r = codec_encode(&codec_chunk_index, &index, LIMIT_OBJECT, &version->index, NULL);
	if (r < 0)
		return r;
	digest_of(&version->index_digest, version->index.data, version->index.size);
	return 0;
}

static void fill_release(struct sim *sim, uint32_t v)
{
	struct sim_version *version = &sim->versions[v];
	struct release *release = &version->release;
	struct release_blob *blob = mem_alloc(sizeof(*blob));

	*blob = (struct release_blob){.kind = BLOB_LAYER,
				      .size = 64,
				      .content = version->chunk_digest,
				      .index = version->index_digest,
				      .index_size = version->index.size};
	crypto_hash_sha256(blob->diff_id, version->chunk.data, 64);
	STR_CUT(release->model, "m");
	STR_CUT(release->version, version_table[v].version);
	STR_CUT(release->os, "linux");
	STR_CUT(release->arch, "amd64");
	release->blobs = blob;
	release->blobs_count = 1;
	release->argv = mem_alloc(sizeof(*release->argv));
	release->argv[0].text = mem_str("/server");
	release->argv_count = 1;
	release->user = mem_str("");
	release->workdir = mem_str("/");
	release->serve = (struct release_serve){.port = 8080, .container_port = 8000};
	release->health = (struct release_health){.kind = HEALTH_TCP,
						  .interval_ms = 5000,
						  .timeout_ms = 1000,
						  .failures = 3,
						  .start_period_ms = 10000};
	release->smokes = mem_alloc(sizeof(*release->smokes));
	release->smokes[0] = (struct release_smoke){
		.name = mem_str("seven"), .method = mem_str("GET"), .path = mem_str("/")};
	release->smokes_count = 1;
}

static int make_version(struct sim *sim, uint32_t v)
{
	struct sim_version *version = &sim->versions[v];
	struct envelope envelope = {0};
	struct err err = {0};
	int r = make_objects(sim, v);

	if (r < 0)
		return r;
	version->behaviour = version_table[v].behaviour;
	version->after_ms = 2000 + rng_below(&sim->rng, 40000);
	snprintf(version->name, sizeof(version->name), "m@%s", version_table[v].version);
	fill_release(sim, v);
	r = release_encode(&version->release, &envelope.payload, &version->digest, &err);
	if (r < 0) {
		sim_break(sim, "release: %s", err_text(&err, r));
		return r;
	}
	envelope_sign(&envelope, SIGNED_RELEASE, &sim->release_key);
	r = codec_encode(&codec_envelope, &envelope, LIMIT_MANIFEST, &version->envelope, NULL);
	codec_free(&codec_envelope, &envelope);
	return r;
}

static int push_version(struct sim *sim, const struct sim_version *version)
{
	char hex[DIGEST_TEXT_MAX], body[256];
	uint32_t code = 0;

	digest_text(hex, &version->chunk_digest);
	snprintf(body, sizeof(body), "{\"digest\":\"%s\"}", hex);
	code |= sim_control(sim, "object.put", body, &version->chunk);
	digest_text(hex, &version->index_digest);
	snprintf(body, sizeof(body), "{\"digest\":\"%s\"}", hex);
	code |= sim_control(sim, "object.put", body, &version->index);
	code |= sim_control(sim, "release.put", "{}", &version->envelope);
	if (code)
		sim_break(sim, "push of %s: %s", version->name, sim->reply.error);
	return code ? -EIO : 0;
}

int sim_version_of(const struct sim *sim, const struct digest *release)
{
	for (int v = 0; v < SIM_VERSIONS; v++)
		if (digest_equal(&sim->versions[v].digest, release))
			return v;
	return -1;
}

uint32_t sim_control(struct sim *sim, const char *verb, const char *body, const struct bytes *blob)
{
	struct msg_control request = {.id = ++sim->sequence, .body = (char *)body};
	struct bytes data = {0};

	if (!sim->coordinator)
		return 7;
	STR_CUT(request.verb, verb);
	if (blob)
		request.blob = *blob;
	if (message_encode(MESSAGE_CONTROL, &request, &data, NULL) < 0)
		return 1;
	sim->reply.exit_code = 99; /* no answer */
	coordinator_on_control(sim->coordinator, 1, ROLE_ADMIN, "simulator", "here", data.data,
			       data.size);
	free(data.data);
	if (sim->crash_wanted)
		sim->reply.exit_code = 7;
	sim_trace(sim, "operator: %s %s -> %u %s", verb, body, sim->reply.exit_code,
		  sim->reply.exit_code ? sim->reply.error : "");
	sim_coordinator_settle(sim);
	return sim->reply.exit_code;
}

static int join(struct sim *sim, struct sim_node *node, const struct join_string *token)
{
	struct sign_key sign_key;
	struct msg_enrol enrol = {.protocol_version = PROTOCOL_VERSION};
	struct bytes request = {0}, answer = {0};
	struct message message;
	int r;

	key_from(sim, &sign_key);
	STR_CUT(enrol.token_id, token->token_id);
	STR_CUT(enrol.name, node->name);
	for (size_t i = 0; i < KEY_SIZE; i++)
		enrol.link_key.bytes[i] = (uint8_t)rng_next(&sim->rng);
	enrol.sign_key = sign_key.public_key;
	enrol_proof(enrol.proof, token->secret, &enrol.link_key, &enrol.sign_key,
		    &token->server_key);
	node_id_of_key(&node->id, &enrol.sign_key);
	r = message_encode(MESSAGE_ENROL, &enrol, &request, NULL);
	if (r < 0)
		return r;
	coordinator_on_enrol(sim->coordinator, "here", request.data, request.size, &answer);
	free(request.data);
	r = message_decode(answer.data, answer.size, CHANNEL_ENROL, FROM_COORDINATOR, &message, NULL);
	free(answer.data);
	if (r < 0)
		return r;
	if (((struct msg_enrolled *)message.body)->error[0]) {
		sim_break(sim, "join: %s", ((struct msg_enrolled *)message.body)->error);
		r = -EACCES;
	}
	message_free(&message);
	return r;
}

static int make_nodes(struct sim *sim)
{
	static const char *const sites[] = {"lyon", "paris", "turin"};
	struct join_string token;
	json_t *reply;
	int r = 0;

	sim->nodes = mem_array(sim->nodes_count, sizeof(*sim->nodes));
	for (uint32_t i = 0; i < sim->nodes_count && r == 0; i++) {
		struct sim_node *node = &sim->nodes[i];
		char body[128];

		node->sim = sim;
		node->index = i;
		snprintf(node->name, sizeof(node->name), "n%u", i);
		snprintf(body, sizeof(body),
			 "{\"labels\":{\"site\":\"%s\",\"ring\":\"%u\"},\"ttl_ms\":3600000,\"uses\":1}",
			 sites[i % 3], i % 4);
		if (sim_control(sim, "token.create", body, NULL))
			return -EIO;
		reply = json_loads(sim->reply.body, 0, NULL);
		r = join_string_parse(json_string_value(json_object_get(reply, "join")), &token, NULL);
		json_decref(reply);
		if (r == 0)
			r = join(sim, node, &token);
		if (r == 0)
			r = journal_open(":memory:", &node->journal, NULL);
		sim->now_ms += 150;
	}
	return r;
}

int sim_create(const struct sim_options *options, struct sim **ret_sim)
{
	struct sim *sim = mem_alloc(sizeof(*sim));
	int r;

	*ret_sim = sim;
	sim->options = *options;
	sim->rng.state = options->seed;
	sim->now_ms = UINT64_C(1800000000000);
	sim->quiet = true;
	sim->nodes_count = options->nodes ? options->nodes : 3 + (uint32_t)rng_below(&sim->rng, 98);
	r = make_root(sim);
	if (r == 0)
		r = store_sqlite_open(":memory:", &sim->store, NULL);
	if (r < 0)
		return r;
	sim_coordinator_start(sim);
	if (!sim->coordinator)
		return -EIO;
	for (uint32_t v = 0; v < SIM_VERSIONS && r == 0; v++) {
		r = make_version(sim, v);
		if (r == 0)
			r = push_version(sim, &sim->versions[v]);
	}
	if (r == 0)
		r = make_nodes(sim);
	for (uint32_t i = 0; i < sim->nodes_count && r == 0; i++)
		sim_node_start(&sim->nodes[i]);
	return r;
}

void sim_free(struct sim *sim)
{
	for (uint32_t i = 0; sim->nodes && i < sim->nodes_count; i++) {
		if (sim->nodes[i].agent)
			agent_free(sim->nodes[i].agent);
		if (sim->nodes[i].journal)
			journal_close(sim->nodes[i].journal);
	}
	free(sim->nodes);
	if (sim->coordinator)
		coordinator_free(sim->coordinator);
	if (sim->store)
		store_close(sim->store);
	for (uint32_t v = 0; v < SIM_VERSIONS; v++) {
		release_free(&sim->versions[v].release);
		free(sim->versions[v].envelope.data);
		free(sim->versions[v].index.data);
		free(sim->versions[v].chunk.data);
	}
	for (size_t i = 0; i < sim->objects_count; i++)
		free(sim->objects[i].data.data);
	free(sim->objects);
	codec_free(&codec_root_document, &sim->root_document);
	free(sim->root.data);
	free(sim->reply.body);
	free(sim->reply.blob.data);
	sim_queue_free(sim);
	free(sim);
}

/* ---- the operator's files ---- */

static void draw_stages(struct sim *sim, struct deployment_spec *spec)
{
	spec->strategy = rng_below(&sim->rng, 4) ? STRATEGY_CANARY
			 : rng_below(&sim->rng, 2) ? STRATEGY_ROLLING : STRATEGY_BLUE_GREEN;
	spec->stages_count = 0;
	if (spec->strategy != STRATEGY_CANARY)
		return;
	for (size_t i = 0; i < 1 + rng_below(&sim->rng, 2); i++) {
		struct stage_spec *stage = &spec->stages[spec->stages_count++];

		*stage = (struct stage_spec){.nodes = {i > 0, i ? 40 : 1},
					     .bake_ms = 5000 + rng_below(&sim->rng, 60000)};
	}
}

uint32_t sim_apply(struct sim *sim, uint32_t version, bool supersede)
{
	struct deployment_spec spec = {0};
	struct bytes blob = {0};
	uint32_t code;

	deployment_spec_defaults(&spec);
	STR_CUT(spec.name, "m");
	STR_CUT(spec.model, "m");
	STR_CUT(spec.version, version_table[version].version);
	STR_CUT(spec.selector, "all");
	free(spec.stages);
	spec.stages = mem_array(4, sizeof(*spec.stages));
	draw_stages(sim, &spec);
	spec.batch = (struct share){true, 25 + (uint32_t)rng_below(&sim->rng, 75)};
	spec.batch_bake_ms = 2000 + rng_below(&sim->rng, 20000);
	spec.swap = rng_below(&sim->rng, 3) ? SWAP_START_FIRST : SWAP_STOP_FIRST;
	spec.drain_ms = 3000;
	spec.keep_warm_ms = 20000;
	spec.max_unavailable = (struct share){true, 10 + (uint32_t)rng_below(&sim->rng, 60)};
	spec.deadlines = (struct deadline_spec){240000, 900000, 3600000};
	spec.failures.nodes = (uint32_t)rng_below(&sim->rng, 2);
	spec.failures.unreachable = (struct share){true, 30};
	if (codec_encode(&codec_deployment_spec, &spec, LIMIT_CONTROL_MESSAGE, &blob, NULL) < 0)
		return 1;
	code = sim_control(sim, "apply", supersede ? "{\"supersede\":true}" : "{}", &blob);
	if (code == 0)
		sim->to = version;
	free(blob.data);
	deployment_spec_free(&spec);
	return code;
}

void sim_rollout(struct sim *sim, char ret_state[32], char ret_id[ROLLOUT_ID_TEXT_MAX])
{
	json_t *list, *last = NULL, *one;
	size_t i;
	const char *best = "";

	ret_state[0] = 0;
	if (sim_control(sim, "rollout.ls", "{}", NULL))
		return;
	list = json_loads(sim->reply.body, 0, NULL);
	json_array_foreach(list, i, one) {
		const char *at = json_string_value(json_object_get(one, "started_at"));

		if (at && strcmp(at, best) >= 0) {
			best = at;
			last = one;
		}
	}
	if (last) {
		str_cut(ret_state, 32, json_string_value(json_object_get(last, "state")));
		if (ret_id)
			str_cut(ret_id, ROLLOUT_ID_TEXT_MAX,
				json_string_value(json_object_get(last, "id")));
	}
	json_decref(list);
}
