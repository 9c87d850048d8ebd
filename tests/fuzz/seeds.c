/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz-seeds FOLDER: the seeds that are encodings, one folder for each target, made by the codec
 * itself from random values (the same in every run) and from things that pass every check.
 * seeds.py makes those that are texts and archives.
 */
#include "tests/unit/protocol/sample.h"

#include "agent/helper/api.h"
#include "agent/record_codec.h"
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/core/record.h"
#include "covey/delta.h"
#include "fuzz.h"
#include "evidence/build.h"
#include "protocol/baseline.h"
#include "protocol/codec_tables.h"
#include "protocol/delta_set.h"
#include "protocol/digest.h"
#include "protocol/message.h"
#include "protocol/spec.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { SAMPLES = 3 };

static const char *folder;

static void save(const char *target, const char *name, const char *head, size_t head_size,
		 struct bytes data)
{
	AUTO_FREE char *path = mem_format("%s/%s", folder, target);
	AUTO_FREE char *file = mem_format("%s/%s/%s", folder, target, name);
	AUTO_FCLOSE FILE *out = NULL;

	mkdir(path, 0755);
	out = fopen(file, "we");
	assert(out && fwrite(head, 1, head_size, out) == head_size);
	assert(fwrite(data.data, 1, data.size, out) == data.size);
	free(data.data);
}

static struct bytes encode(const struct codec_struct *type, const void *object)
{
	struct bytes bytes = {0};
	int r = codec_encode(type, object, LIMIT_OBJECT, &bytes, NULL);

	assert(r == 0);
	return bytes;
}

/* SAMPLES random values of a table, behind one byte where which >= 0. */
static void samples(const char *target, const struct codec_struct *type, int which)
{
	AUTO_FREE void *object = mem_alloc(type->size);
	const char head = (char)which;

	for (unsigned i = 0; i < SAMPLES; i++) {
		struct rng rng = {.state = 100 + i};
		AUTO_FREE char *name = mem_format("%s-%u", type->name, i);

		sample_fill(&rng, type, object);
		save(target, name, &head, which >= 0, encode(type, object));
		codec_free(type, object);
	}
}

struct row {
	enum message_type type;
	const struct codec_struct *body;
	const char *name;
	enum message_channel channel;
	enum message_sender sender;
};

static void save_copy(const char *target, const char *name, const char *head, struct bytes data)
{
	save(target, name, head, strlen(head),
	     (struct bytes){mem_copy(data.data, data.size), data.size});
}

/* A message of random values, for the codec and for whoever may get it. */
static void make_message(const struct row *row, unsigned number)
{
	AUTO_FREE void *body = mem_alloc(row->body->size);
	AUTO_FREE char *name = mem_format("%s-%u", row->name, number);
	struct rng rng = {.state = 200 + number};
	struct bytes bytes = {0};

	sample_fill(&rng, row->body, body);
	if (message_encode(row->type, body, &bytes, NULL) == 0) {
		if (number == 0 && row->channel == CHANNEL_AGENTS && row->sender == FROM_AGENT)
			save_copy("control", name, "agent\n", bytes);
		if (number == 0 && row->channel == CHANNEL_DATA && row->sender == FROM_AGENT)
			save_copy("control", name, "data\n", bytes);
		if (number == 0 && row->channel == CHANNEL_AGENTS &&
		    row->sender == FROM_COORDINATOR)
			save_copy("node", name, "m", bytes);
		save("message", name, "", 0, bytes);
	}
	codec_free(row->body, body);
}

static void make_messages(void)
{
	static const struct row rows[] = {
#define X(name, of, number, sender, channel, max) \
	{MESSAGE_##name, &codec_##of, #name, channel, sender},
		MESSAGES(X)
#undef X
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (unsigned k = 0; k < SAMPLES; k++)
			make_message(&rows[i], k);
}

static void make_releases(void)
{
	struct release release;
	struct bytes payload, copy;
	struct digest digest;
	int r;

	sample_release(&release);
	for (int i = 0; i < 2; i++) {
		release.serve.network = i ? SERVE_NETWORK_HOST : SERVE_NETWORK_SLOT;
		release.serve.egress = i;
		release.health.kind = i ? HEALTH_TCP : HEALTH_HTTP;
		if (i) {
			free(release.health.http_path);
			release.health.http_path = NULL;
		}
		r = release_encode(&release, &payload, &digest, NULL);
		assert(r == 0);
		copy = (struct bytes){mem_copy(payload.data, payload.size), payload.size};
		save("envelope", i ? "release-host" : "release", "", 0,
		     fuzz_sign(payload, SIGNED_RELEASE, 0));
		save("bundle", i ? "host" : "slot", "", 0, copy);
		save("release", i ? "host" : "slot", "", 0, payload);
	}
	release_free(&release);
}

static void make_documents(void)
{
	struct root_document root = *fuzz_root();
	struct label label = {"site", "lyon"};
	struct identity identity = {.name = "edge-1",
				    .sign_key = fuzz_key(1)->public_key,
				    .labels = &label,
				    .labels_count = 1,
				    .issued_unix_ms = 1};
	struct bytes bytes = encode(&codec_root_document, &root);

	save("envelope", "root", "", 0, fuzz_sign(bytes, SIGNED_ROOT, 0));
	save("root", "first", "", 0, bytes);
	root.version = 2;
	save("root", "second", "", 0, encode(&codec_root_document, &root));
	node_id_of_key(&identity.id, &identity.sign_key);
	bytes = encode(&codec_identity, &identity);
	save("envelope", "identity", "", 0, fuzz_sign(bytes, SIGNED_IDENTITY, 0));
	save("identity", "edge-1", "", 0, bytes);
}

static void make_records(void)
{
	static const struct codec_struct *const types[] = {
		&codec_deploy_record,	&codec_rollout_event, &codec_plan,
		&codec_deployment_spec, &codec_outcome,	      &codec_inventory,
	};
	struct deploy_record record = {.name = "ocr", .assigned = true, .serves = true};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		samples("records", types[i], (int)i);
	STR_CUT(record.assignment.deployment, "ocr");
	memset(record.assignment.base.bytes, 1, DIGEST_SIZE);
	memset(record.slots[0].release.digest.bytes, 1, DIGEST_SIZE);
	memset(record.committed.digest.bytes, 1, DIGEST_SIZE);
	record.slots[0].want = DEPLOY_WANT_COUNT - 1;
	for (enum deploy_phase phase = 0; phase < DEPLOY_PHASE_COUNT; phase++) {
		AUTO_FREE char *name = mem_format("phase-%d", (int)phase);

		record.phase = phase;
		save("records", name, "", 1, encode(&codec_deploy_record, &record));
	}
}

/* ---- a rollout's journal ---- */

static void add_event(struct str *journal, const struct rollout_event *event)
{
	struct bytes bytes = encode(&codec_rollout_event, event);

	str_add_bytes(journal, bytes.data, bytes.size);
	str_add(journal, "\n%%\n");
	free(bytes.data);
}

static void add_report(struct str *journal, uint64_t at_ms, uint32_t node, enum node_state state)
{
	struct rollout_event event = rollout_event_make(EVENT_NODE_REPORT, at_ms, node);

	event.state = state;
	event.rollout.bytes[0] = 7;
	memset(event.target.bytes, 2, DIGEST_SIZE);
	memset(event.release.bytes, state == NODE_STATE_ROLLED_BACK ? 1 : 2, DIGEST_SIZE);
	event.attempt = 1;
	event.staged = event.proven = event.healthy = event.current = true;
	add_event(journal, &event);
}

static void make_rollouts(void)
{
	static const enum node_state ends[] = {NODE_STATE_SERVING, NODE_STATE_ROLLED_BACK,
					       NODE_STATE_BAKING};

	for (size_t strategy = 0; strategy < STRATEGY_COUNT; strategy++)
		for (size_t end = 0; end < ARRAY_SIZE(ends); end++) {
			AUTO_STR struct str journal = {0};
			AUTO_FREE char *name = mem_format("strategy-%zu-%zu", strategy, end);
			struct rollout_event event =
				rollout_event_make(EVENT_START, 1000000, ROLLOUT_NO_NODE);
			char head = (char)strategy;

			add_event(&journal, &event);
			for (uint32_t node = 0; node < 4; node++) {
				event = rollout_event_make(EVENT_TICK, 1400000 + node * 400000,
							   ROLLOUT_NO_NODE);
				add_report(&journal, event.at_ms - 1, node, ends[end]);
				add_event(&journal, &event);
			}
			for (unsigned kind = EVENT_NODE_UNREACHABLE; kind < EVENT_COUNT; kind++) {
				event = rollout_event_make(kind, 4000000 + kind, kind % 4);
				add_event(&journal, &event);
			}
			save("rollout", name, &head, 1,
			     (struct bytes){mem_copy(journal.data, journal.size), journal.size});
		}
}

/* ---- the helper ---- */

static void make_helper(void)
{
	static const char record[] =
		"\n%%\nboot=@boot\nrelease=01010101010101010101010101010101010101010101010101010101"
		"01010101\nhost=0\negress=0\ninterface=cvaaaaaad1\naddress=10.213.0.6\n"
		"address6=fd00::2\nport=8000\ncontainer=1 1\nsupervisor=1 1\nend=\n";
	struct helper_route routes[] = {{"a", 8080, COLOUR_BLUE, {{0}}},
					{"b", 8081, COLOUR_GREEN, {{0}}}};
	struct helper_request request = {.id = 1, .op = HELPER_TRAFFIC, .routes = routes};

	samples("helper", &codec_helper_request, -1);
	samples("helper", &codec_helper_reply, -1);
	memset(routes[0].release.bytes, 1, DIGEST_SIZE);
	memset(routes[1].release.bytes, 2, DIGEST_SIZE);
	for (size_t count = 0; count <= ARRAY_SIZE(routes); count++) {
		AUTO_FREE char *name = mem_format("traffic-%zu", count);
		struct bytes bytes;

		request.routes_count = count;
		bytes = encode(&codec_helper_request, &request);
		bytes.data = mem_resize(bytes.data, bytes.size + sizeof(record), 1);
		memcpy(bytes.data + bytes.size, record, sizeof(record) - 1);
		bytes.size += sizeof(record) - 1;
		save("helper", name, "", 0, bytes);
	}
}

/* ---- operators and nodes ---- */

static void add_object(struct str *text, const void *data, size_t size, struct digest *ret_digest)
{
	char shown[DIGEST_TEXT_MAX];

	digest_of(ret_digest, data, size);
	digest_text(shown, ret_digest);
	str_addf(text, "object.put\n{\"digest\":\"%s\"}\n", shown);
	str_add_bytes(text, data, size);
	str_add(text, "\n%%\n");
}

static void make_push(void)
{
	struct chunk_ref chunk = {.size = 5};
	struct chunk_index index = {.chunks = &chunk, .chunks_count = 1};
	AUTO_STR struct str text = {0};
	struct release release;
	struct bytes encoded;
	struct digest digest;
	int r;

	sample_release(&release);
	add_object(&text, "hello", 5, &chunk.digest);
	encoded = encode(&codec_chunk_index, &index);
	save("index", "one", "", 0,
	     (struct bytes){mem_copy(encoded.data, encoded.size), encoded.size});
	for (size_t i = 0; i < release.blobs_count; i++) {
		release.blobs[i].size = 5;
		release.blobs[i].content = chunk.digest;
		release.blobs[i].index_size = encoded.size;
		digest_of(&release.blobs[i].index, encoded.data, encoded.size);
	}
	add_object(&text, encoded.data, encoded.size, &digest);
	free(encoded.data);
	r = release_encode(&release, &encoded, &digest, NULL);
	assert(r == 0);
	str_add(&text, "release.put\n\n");
	str_add_bytes(&text, encoded.data, encoded.size);
	free(encoded.data);
	release_free(&release);
	save("control", "push", "", 0, (struct bytes){mem_copy(text.data, text.size), text.size});
}

static void make_apply(const char *name, const char *verb, enum strategy_kind strategy)
{
	AUTO_STR struct str text = {0};
	struct deployment_spec spec;
	struct bytes encoded;

	deployment_spec_defaults(&spec);
	STR_CUT(spec.name, "reader");
	STR_CUT(spec.model, "ocr");
	STR_CUT(spec.version, "2.0.0");
	STR_CUT(spec.selector, "all");
	spec.strategy = strategy;
	spec.max_unavailable = (struct share){.percent = true, .value = 100};
	encoded = encode(&codec_deployment_spec, &spec);
	str_addf(&text, "%s\n{\"supersede\":true,\"allow_removal\":true}\n", verb);
	str_add_bytes(&text, encoded.data, encoded.size);
	str_add(&text, "\n%%\nwait\n\n%%\nrollout.ls\n{}\n%%\nrollout.abort\n{\"rollout\":\"2\"}");
	free(encoded.data);
	deployment_spec_free(&spec);
	save("control", name, "", 0, (struct bytes){mem_copy(text.data, text.size), text.size});
}

static void make_node_messages(void)
{
	struct msg_subscribe subscribe = {.protocol_version = PROTOCOL_VERSION, .boot_epoch = 2};
	struct msg_heartbeat heartbeat = {.epoch = 1, .generation = 1, .boot_epoch = 1};
	struct deployment_report report = {.deployment = "reader", .state = NODE_STATE_FAILED};
	struct node_status status = {.boot_epoch = 1, .sequence = 99, .epoch = 1, .generation = 1,
				     .deployments = &report, .deployments_count = 1};
	struct msg_get get = {.kind = OBJECT_MANIFEST};
	struct msg_leave leave = {.boot_epoch = 1};
	struct msg_enrol enrol = {.protocol_version = PROTOCOL_VERSION, .token_id = "00"};
	const struct {
		const char *head;
		enum message_type type;
		const void *body;
	} all[] = {
		{"agent\n", MESSAGE_SUBSCRIBE, &subscribe},
		{"agent\n", MESSAGE_HEARTBEAT, &heartbeat},
		{"agent\n", MESSAGE_STATUS, &status},
		{"agent\n", MESSAGE_LEAVE, &leave},
		{"data\n", MESSAGE_GET, &get},
		{"enrol\n", MESSAGE_ENROL, &enrol},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		AUTO_FREE char *name = mem_format("message-%s", message_name(all[i].type));
		struct bytes bytes = {0};
		int r = message_encode(all[i].type, all[i].body, &bytes, NULL);

		assert(r == 0);
		save("control", name, all[i].head, strlen(all[i].head), bytes);
	}
}

/* ---- a node ---- */

static void add_part(struct str *text, char what, struct bytes data)
{
	str_addf(text, "%s%c", text->size ? "\n%%\n" : "", what);
	str_add_bytes(text, data.data, data.size);
	free(data.data);
}

static struct bytes message_of(enum message_type type, const void *body)
{
	struct bytes bytes = {0};
	int r = message_encode(type, body, &bytes, NULL);

	assert(r == 0);
	return bytes;
}

static void make_node(const char *name, enum goal goal, bool revert, char after)
{
	struct assignment assignment = {.deployment = "ocr", .goal = goal, .revert = revert,
					.attempt = 1, .bake_ms = 5000, .rollout = {{7}}};
	struct desired_state desired = {1, 2, &assignment, 1};
	struct helper_reply reply = {.id = 9, .error = EIO, .check = "disk", .text = "full"};
	struct msg_logs_wanted logs = {.id = 5, .deployment = "ocr", .lines = 10};
	struct msg_object object = {.kind = OBJECT_CHUNK, .data = {(uint8_t *)"hello", 5}};
	AUTO_STR struct str text = {0};

	memset(assignment.base.bytes, 1, DIGEST_SIZE);
	memset(assignment.next.bytes, 2, DIGEST_SIZE);
	add_part(&text, 'm', message_of(MESSAGE_DESIRED, &desired));
	add_part(&text, after, (struct bytes){0});
	add_part(&text, 'h', encode(&codec_helper_reply, &reply));
	add_part(&text, 'o', message_of(MESSAGE_OBJECT, &object));
	add_part(&text, 'm', message_of(MESSAGE_LOGS_WANTED, &logs));
	desired.generation = 3;
	memset(assignment.next.bytes, 3, DIGEST_SIZE);
	add_part(&text, 'm', message_of(MESSAGE_DESIRED, &desired));
	desired.generation = 4;
	desired.assignments_count = 0;
	add_part(&text, 'm', message_of(MESSAGE_DESIRED, &desired));
	add_part(&text, 'w', (struct bytes){0});
	save("node", name, "", 0, (struct bytes){mem_copy(text.data, text.size), text.size});
}

static void make_delta_set(void)
{
	struct delta_item items[] = {{.size = 5}, {.size = 7}, {.size = 9}};
	struct delta_object objects[] = {{.size = 12, .items = 2}, {.size = 9, .items = 1}};
	const struct delta_set set = {.objects = objects, .objects_count = 2,
				      .items = items, .items_count = 3};

	save("delta_set", "three", "", 0, encode(&codec_delta_set, &set));
}

static void make_baseline(void)
{
	double numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
	struct build_value words[] = {{"lyon", 5}, {"paris", 3}};
	struct baseline baseline = {.observations = 10,
				    .features = mem_array(2, sizeof(*baseline.features)),
				    .features_count = 2};
	struct bytes bytes = {0};
	int r = build_numeric("ink", numbers, ARRAY_SIZE(numbers), 4, &baseline.features[0], NULL);

	assert(r == 0);
	r = build_categorical("site", words, ARRAY_SIZE(words), &baseline.features[1], NULL);
	assert(r == 0);
	build_finish(&baseline);
	r = baseline_encode(&baseline, &bytes, NULL);
	assert(r == 0);
	save("baseline", "two", "", 0, bytes);
	build_free(&baseline);
}

/* Once as it goes over the wire, once as the record that the target signs. */
static void make_greeting(void)
{
	struct identity identity = {.name = "edge-1", .sign_key = fuzz_key(1)->public_key};
	struct msg_peer_hello hello = {.protocol_version = PROTOCOL_VERSION, .session = 7};
	struct bytes bytes;

	node_id_of_key(&identity.id, &identity.sign_key);
	bytes = encode(&codec_identity, &identity);
	hello.identity = fuzz_sign(bytes, SIGNED_IDENTITY, 0);
	save("hello", "record", "", 0, bytes);
	save("hello", "greeting", "", 0, message_of(MESSAGE_PEER_HELLO, &hello));
	free(hello.identity.data);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: fuzz-seeds FOLDER\n", stderr);
		return 2;
	}
	folder = argv[1];
	make_messages();
	make_releases();
	make_documents();
	make_records();
	make_rollouts();
	make_helper();
	make_push();
	make_apply("apply-canary", "apply", STRATEGY_CANARY);
	make_apply("apply-rolling", "apply", STRATEGY_ROLLING);
	make_apply("apply-blue-green", "apply", STRATEGY_BLUE_GREEN);
	make_apply("plan", "plan", STRATEGY_CANARY);
	make_node_messages();
	make_node("fetch", GOAL_FETCH, false, 'a');
	make_node("prepare", GOAL_PREPARE, false, 'w');
	make_node("serve", GOAL_SERVE, false, 'w');
	make_node("restart", GOAL_SERVE, false, 'a');
	make_node("revert", GOAL_NONE, true, 'l');
	samples("delta_set", &codec_delta_set, -1);
	make_delta_set();
	samples("baseline", &codec_baseline, -1);
	make_baseline();
	make_greeting();
	samples("release", &codec_release, -1);
	samples("bundle", &codec_release, -1);
	samples("index", &codec_chunk_index, -1);
	samples("identity", &codec_identity, -1);
	samples("root", &codec_root_document, -1);
	return 0;
}
