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

#include <jansson.h>
#include <sodium.h>

enum { JOIN_EVERY_MS = 120 }; /* below LIMIT_ENROL_PER_MINUTE */

const char *const sim_deployments[SIM_DEPLOYMENTS] = {"m", "k"};

static const struct {
	uint32_t deployment;
	const char *version;
	enum sim_behaviour behaviour;
} version_table[SIM_VERSIONS] = {
	{0, "1.0.0", SIM_GOOD},	       {0, "2.0.0", SIM_GOOD},
	{0, "2.1.0", SIM_PARTLY},      {0, "3.0.0", SIM_SMOKE_FAILS},
	{0, "3.1.0", SIM_CRASHES},     {0, "3.2.0", SIM_NEVER_READY},
	{0, "3.3.0", SIM_SOURS},       {0, "3.4.0", SIM_NO_PREFLIGHT},
	{1, "1.0.0", SIM_GOOD},	       {1, "2.0.0", SIM_GOOD},
	{1, "2.1.0", SIM_PARTLY},      {1, "3.0.0", SIM_CRASHES},
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

/* ---- versions ---- */

static size_t chunk_size(const struct sim *sim)
{
	return sim->options.dir ? SIM_CHUNK_SIZE_ON_DISK / SIM_CHUNK_SIZE * SIM_CHUNK_SIZE
				: SIM_CHUNK_SIZE;
}

/* One layer of two chunks; the first is the same in all versions of a model. */
static int make_objects(struct sim *sim, uint32_t v)
{
	struct sim_version *version = &sim->versions[v];
	struct chunk_ref chunks[SIM_CHUNKS];
	struct chunk_index index = {.chunks = chunks, .chunks_count = SIM_CHUNKS};
	int r;

	for (unsigned i = 0; i < SIM_CHUNKS; i++) {
		struct bytes *chunk = &version->chunks[i];

		*chunk = (struct bytes){mem_alloc(chunk_size(sim)), chunk_size(sim)};
		for (size_t at = 0; at < chunk->size; at += SIM_CHUNK_SIZE)
			snprintf((char *)chunk->data + at, SIM_CHUNK_SIZE, "%s %u, byte %zu",
				 i ? "layer of version" : "base of model",
				 i ? v : version->deployment, at);
		digest_of(&version->chunk_digests[i], chunk->data, chunk->size);
		chunks[i] = (struct chunk_ref){version->chunk_digests[i], chunk->size};
	}
	r = codec_encode(&codec_chunk_index, &index, LIMIT_OBJECT, &version->index, NULL);
	if (r < 0)
		return r;
	digest_of(&version->index_digest, version->index.data, version->index.size);
	return 0;
}

static void fill_blob(const struct sim_version *version, struct release_blob *blob)
{
	uint8_t whole[SIM_CHUNK_SIZE_ON_DISK * SIM_CHUNKS];
	size_t size = 0;

	for (unsigned i = 0; i < SIM_CHUNKS; i++) {
		memcpy(whole + size, version->chunks[i].data, version->chunks[i].size);
		size += version->chunks[i].size;
	}
	*blob = (struct release_blob){.kind = BLOB_LAYER,
				      .size = size,
				      .index = version->index_digest,
				      .index_size = version->index.size};
	digest_of(&blob->content, whole, size);
	crypto_hash_sha256(blob->diff_id, whole, size);
}

static void fill_release(struct sim *sim, uint32_t v)
{
	struct sim_version *version = &sim->versions[v];
	struct release *release = &version->release;

	STR_CUT(release->model, sim_deployments[version->deployment]);
	STR_CUT(release->version, version_table[v].version);
	STR_CUT(release->os, "linux");
	STR_CUT(release->arch, "amd64");
	release->blobs = mem_alloc(sizeof(*release->blobs));
	release->blobs_count = 1;
	fill_blob(version, release->blobs);
	release->argv = mem_alloc(sizeof(*release->argv));
	release->argv[0].text = mem_str("/server");
	release->argv_count = 1;
	release->user = mem_str("");
	release->workdir = mem_str("/");
	release->serve = (struct release_serve){.port = 8080 + version->deployment,
						.container_port = 8000};
	release->health = (struct release_health){.kind = HEALTH_TCP,
						  .interval_ms = 10000,
						  .timeout_ms = 1000,
						  .failures = 2,
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
	int r;

	version->deployment = version_table[v].deployment;
	version->behaviour = version_table[v].behaviour;
	version->after_ms = sim_between(sim, 2000, 42000);
	snprintf(version->name, sizeof(version->name), "%s@%s",
		 sim_deployments[version->deployment], version_table[v].version);
	r = make_objects(sim, v);
	if (r < 0)
		return r;
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

static uint32_t put_object(struct sim *sim, const struct digest *digest, const struct bytes *data)
{
	char hex[DIGEST_TEXT_MAX], body[256];

	digest_text(hex, digest);
	snprintf(body, sizeof(body), "{\"digest\":\"%s\"}", hex);
	return sim_control(sim, "object.put", body, data);
}

static int push_version(struct sim *sim, const struct sim_version *version)
{
	uint32_t code = put_object(sim, &version->index_digest, &version->index);

	for (unsigned i = 0; i < SIM_CHUNKS; i++)
		code |= put_object(sim, &version->chunk_digests[i], &version->chunks[i]);
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

/* ---- nodes ---- */

static int by_node_id(const void *a, const void *b)
{
	const struct sim_node *const *x = a, *const *y = b;

	return memcmp((*x)->id.bytes, (*y)->id.bytes, NODE_ID_SIZE);
}

struct sim_node *sim_node_of(const struct sim *sim, const struct node_id *id)
{
	struct sim_node key = {.id = *id}, *wanted = &key, **found;

	found = bsearch(&wanted, sim->by_id, sim->nodes_count, sizeof(struct sim_node *), by_node_id);
	return found ? *found : NULL;
}

static int make_nodes(struct sim *sim)
{
	int r = 0;

	sim->nodes = mem_array(sim->nodes_count, sizeof(*sim->nodes));
	sim->by_id = mem_array(sim->nodes_count, sizeof(*sim->by_id));
	for (uint32_t i = 0; i < sim->nodes_count && r == 0; i++) {
		struct sim_node *node = &sim->nodes[i];

		node->sim = sim;
		node->index = i;
		snprintf(node->name, sizeof(node->name), "n%u", i);
		key_from(sim, &node->sign_key);
		for (size_t k = 0; k < KEY_SIZE; k++)
			node->link_key.bytes[k] = (uint8_t)rng_next(&sim->rng);
		node_id_of_key(&node->id, &node->sign_key.public_key);
		node->helper_up = true;
		for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++)
			node->places[d].out = SIM_NEVER_SERVED;
		sim->by_id[i] = node;
		r = sim->options.dir ? storage_of_node(node)
				     : journal_open(":memory:", &node->journal, NULL);
	}
	qsort(sim->by_id, sim->nodes_count, sizeof(struct sim_node *), by_node_id);
	return r;
}

static bool make_token(struct sim *sim, uint32_t node, struct join_string *ret_token)
{
	static const char *const sites[] = {"lyon", "paris", "turin"};
	char body[128];
	json_t *reply;
	int r;

	snprintf(body, sizeof(body),
		 "{\"labels\":{\"site\":\"%s\",\"ring\":\"%u\"},\"ttl_ms\":3600000,\"uses\":1}",
		 sites[node % 3], node % 4);
	if (sim_control(sim, "token.create", body, NULL))
		return false;
	reply = json_loads(sim->reply.body, 0, NULL);
	r = join_string_parse(json_string_value(json_object_get(reply, "join")), ret_token, NULL);
	json_decref(reply);
	return r == 0;
}

/* An answer that is lost in a crash is asked for again, with another token. */
static bool enrol(struct sim *sim, const struct sim_node *node, const struct join_string *token)
{
	struct msg_enrol enrol = {.protocol_version = PROTOCOL_VERSION,
				  .link_key = node->link_key,
				  .sign_key = node->sign_key.public_key};
	struct bytes request = {0}, answer = {0};
	struct message message;
	int r;

	STR_CUT(enrol.token_id, token->token_id);
	STR_CUT(enrol.name, node->name);
	enrol_proof(enrol.proof, token->secret, &enrol.link_key, &enrol.sign_key,
		    &token->server_key);
	if (message_encode(MESSAGE_ENROL, &enrol, &request, NULL) < 0)
		return false;
	coordinator_on_enrol(sim->coordinator, "here", request.data, request.size, &answer);
	free(request.data);
	r = message_decode(answer.data, answer.size, CHANNEL_ENROL, FROM_COORDINATOR, &message, NULL);
	free(answer.data);
	if (r < 0)
		return false;
	r = ((struct msg_enrolled *)message.body)->error[0] ? -EACCES : 0;
	if (r < 0)
		sim_trace(sim, "%s: join: %s", node->name,
			  ((struct msg_enrolled *)message.body)->error);
	message_free(&message);
	if (sim_coordinator_settle(sim))
		r = -EIO;
	return r == 0;
}

bool sim_join(struct sim *sim)
{
	struct sim_node *node = &sim->nodes[sim->joined_count];
	struct join_string token;

	if (sim->joined_count == sim->nodes_count)
		return true;
	if (!make_token(sim, node->index, &token) || !sim->coordinator ||
	    !enrol(sim, node, &token))
		return false;
	sim->joined_count++;
	node->joined = true;
	sim_trace(sim, "%s joins", node->name);
	sim_node_start(node);
	return true;
}

void sim_join_again(struct sim_node *node)
{
	struct sim *sim = node->sim;
	struct join_string token;

	if (!node->retired && make_token(sim, node->index, &token) && sim->coordinator)
		(void)!enrol(sim, node, &token);
}

/* ---- life ---- */

static int make_fleet(struct sim *sim, uint32_t late)
{
	int r = make_root(sim);

	if (r == 0)
		r = sim->options.dir ? storage_of_coordinator(sim)
				     : store_sqlite_open(":memory:", &sim->store, NULL);
	if (r == 0)
		r = store_sqlite_open(":memory:", &sim->backup, NULL);
	if (r < 0)
		return r;
	sim_coordinator_start(sim);
	for (uint32_t v = 0; v < SIM_VERSIONS && r == 0 && sim->coordinator; v++) {
		r = make_version(sim, v);
		if (r == 0)
			r = push_version(sim, &sim->versions[v]);
	}
	if (r == 0)
		r = make_nodes(sim);
	while (r == 0 && sim->joined_count + late < sim->nodes_count) {
		r = sim_join(sim) ? 0 : -EIO;
		sim->now_ms += JOIN_EVERY_MS;
	}
	return r;
}

int sim_create(const struct sim_options *options, struct sim **ret_sim)
{
	static const char *const all[] = {"all", "all", "ring!=3"};
	static const char *const some[] = {"all", "site in (lyon,paris)", "ring in (0,1)"};
	struct sim *sim = mem_alloc(sizeof(*sim));
	uint32_t late;

	*ret_sim = sim;
	sim->options = *options;
	sim->rng.state = options->seed;
	sim->now_ms = SIM_EPOCH_MS;
	sim->quiet = true;
	sim->nodes_count = options->nodes ? options->nodes : (uint32_t)sim_between(sim, 3, 100);
	late = (uint32_t)rng_below(&sim->rng, 1 + sim->nodes_count / 10);
	sim->selectors[0] = all[rng_below(&sim->rng, ARRAY_SIZE(all))];
	sim->selectors[1] = some[rng_below(&sim->rng, ARRAY_SIZE(some))];
	sim_weather_draw(sim);
	watch_create(sim);
	return make_fleet(sim, late);
}

static void free_version(struct sim_version *version)
{
	release_free(&version->release);
	free(version->envelope.data);
	free(version->index.data);
	for (unsigned i = 0; i < SIM_CHUNKS; i++)
		free(version->chunks[i].data);
}

static void free_node(struct sim_node *node)
{
	if (node->storage)
		storage_close_node(node, PLATTER_KILL);
	else if (node->agent)
		agent_free(node->agent);
	if (node->journal)
		journal_close(node->journal);
	storage_free(node->storage);
}

void sim_free(struct sim *sim)
{
	for (uint32_t i = 0; sim->nodes && i < sim->nodes_count; i++)
		free_node(&sim->nodes[i]);
	free(sim->nodes);
	free(sim->by_id);
	if (sim->storage && sim->store)
		storage_close_coordinator(sim, PLATTER_KILL);
	if (sim->coordinator)
		coordinator_free(sim->coordinator);
	storage_free(sim->storage);
	if (sim->store)
		store_close(sim->store);
	if (sim->backup)
		store_close(sim->backup);
	watch_free(sim);
	for (uint32_t v = 0; v < SIM_VERSIONS; v++)
		free_version(&sim->versions[v]);
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
