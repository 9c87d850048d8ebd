/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operators' channel: who may do what, that docs/PROTOCOL.md says the same, releases and their
 * objects, the audit log.
 */
#include "fixture.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec.h"
#include "protocol/digest.h"
#include "protocol/manifest.h"
#include "protocol/spec.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- roles ---- */

static const struct {
	const char *verb;
	enum operator_role role;
} verbs[] = {
	{"version", ROLE_VIEWER},	   {"status", ROLE_VIEWER},
	{"events", ROLE_VIEWER},	   {"logs", ROLE_VIEWER},
	{"freeze", ROLE_OPERATOR},	   {"unfreeze", ROLE_OPERATOR},
	{"token.create", ROLE_ADMIN},	   {"token.ls", ROLE_ADMIN},
	{"token.rm", ROLE_ADMIN},	   {"node.ls", ROLE_VIEWER},
	{"node.show", ROLE_VIEWER},	   {"node.label", ROLE_OPERATOR},
	{"node.cordon", ROLE_OPERATOR},	   {"node.uncordon", ROLE_OPERATOR},
	{"node.approve", ROLE_ADMIN},	   {"node.revoke", ROLE_ADMIN},
	{"node.rm", ROLE_ADMIN},	   {"object.missing", ROLE_OPERATOR},
	{"object.put", ROLE_OPERATOR},	   {"object.get", ROLE_VIEWER},
	{"release.put", ROLE_OPERATOR},	   {"release.get", ROLE_VIEWER},
	{"release.ls", ROLE_VIEWER},	   {"release.show", ROLE_VIEWER},
	{"release.rm", ROLE_ADMIN},	   {"plan", ROLE_VIEWER},
	{"apply", ROLE_OPERATOR},	   {"rollout.ls", ROLE_VIEWER},
	{"rollout.show", ROLE_VIEWER},	   {"rollout.pause", ROLE_OPERATOR},
	{"rollout.resume", ROLE_OPERATOR}, {"rollout.promote", ROLE_OPERATOR},
	{"rollout.abort", ROLE_OPERATOR},  {"rollout.retry", ROLE_OPERATOR},
	{"rollout.undo", ROLE_OPERATOR},   {"deployment.ls", ROLE_VIEWER},
	{"deployment.show", ROLE_VIEWER},  {"deployment.history", ROLE_VIEWER},
	{"deployment.rm", ROLE_OPERATOR},
};

/* spec: TRUST-11 */
static void test_every_verb_checks_its_role(void **state)
{
	struct fixture *f = fixture_new(NULL);

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		for (enum operator_role role = ROLE_VIEWER; role <= ROLE_ADMIN; role++) {
			int code = fixture_ask(f, role, verbs[i].verb, NULL, NULL);
			bool refused = strstr(f->reply.error, "needs the role") != NULL;

			if (refused != (role < verbs[i].role))
				fail_msg("%s as role %d: %d %s", verbs[i].verb, (int)role, code,
					 f->reply.error);
			assert_true(!refused || code == 1);
		}
	}
	assert_int_equal(fixture_admin(f, "no.such.verb", NULL), 2);
	fixture_free(f);
}

/* Everybody who may not is in the log too, and the chain is whole. */
static int take_audit(void *arg, const struct store_audit *entry)
{
	struct store_audit *last = arg;

	assert_int_equal(entry->sequence, last->sequence + 1);
	*last = *entry;
	return 0;
}

/* spec: TRUST-11 */
static void test_audit(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct store_audit last = {0};

	fixture_join(f, "edge-01", NULL);
	assert_int_equal(fixture_ask(f, ROLE_VIEWER, "node.cordon",
				     json_pack("{ss}", "node", "edge-01"), NULL),
			 1);
	assert_int_equal(f->store->ops->audit_each(f->store, 0, take_audit, &last, NULL), 0);
	assert_string_equal(last.verb, "node.cordon");
	assert_string_equal(last.who, "alice");
	assert_string_equal(last.from, "127.0.0.1");
	assert_string_equal(last.what, "{\"node\":\"edge-01\"}");
	assert_non_null(strstr(last.outcome, "needs the role"));
	assert_int_equal(fixture_admin(f, "node.cordon", json_pack("{ss}", "node", "edge-01")), 0);
	memset(&last, 0, sizeof(last));
	assert_int_equal(f->store->ops->audit_each(f->store, 0, take_audit, &last, NULL), 0);
	assert_string_equal(last.outcome, "done");
	fixture_crash(f);
	fixture_start(f); /* checks the chain */
	fixture_free(f);
}

/* spec: TRUST-11 */
static void test_forged_audit_is_noticed(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct store_audit forged = {.sequence = 1, .who = "mallory", .verb = "apply"};
	struct coordinator *c = NULL;
	const struct coordinator_world world = {0};
	struct err err = {0};

	fixture_crash(f);
	assert_int_equal(f->store->ops->begin(f->store, NULL), 0);
	assert_int_equal(f->store->ops->audit_append(f->store, &forged, NULL), 0);
	assert_int_equal(f->store->ops->commit(f->store, NULL), 0);
	assert_int_equal(coordinator_new(&f->config, &world, f->store, &c, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, "audit"));
	fixture_free(f);
}

/* ---- what requests name ---- */

static void test_prefixes(void **state)
{
	struct fixture *f = fixture_new(NULL);
	char prefix[9];

	fixture_join(f, "edge-01", NULL);
	fixture_join(f, "edge-02", NULL);
	assert_int_equal(fixture_admin(f, "node.show", json_pack("{ss}", "node", "edge-02")), 0);
	str_cut(prefix, sizeof(prefix), fixture_text(f->body, "id"));
	assert_int_equal(fixture_admin(f, "node.show", json_pack("{ss}", "node", prefix)), 0);
	assert_string_equal(fixture_text(f->body, "name"), "edge-02");
	assert_int_equal(fixture_admin(f, "node.show", json_pack("{ss}", "node", "zz")), 1);
	assert_int_equal(fixture_admin(f, "node.show", NULL), 2);
	assert_int_equal(fixture_admin(f, "node.show", json_pack("{si}", "node", 3)), 2);
	fixture_free(f);
}

static void test_labels_and_selectors(void **state)
{
	struct fixture *f = fixture_new(NULL);

	fixture_join(f, "a", json_pack("{ss}", "site", "lyon"));
	fixture_join(f, "b", json_pack("{ss}", "site", "paris"));
	assert_int_equal(fixture_admin(f, "node.ls", json_pack("{ss}", "selector", "site=lyon")), 0);
	assert_int_equal(json_array_size(f->body), 1);
	assert_int_equal(fixture_admin(f, "node.ls", json_pack("{ss}", "selector", "site in (")), 2);
	assert_int_equal(fixture_admin(f, "node.label",
				       json_pack("{sss{ssss}s[s]}", "node", "b", "set", "site",
						 "lyon", "gpu", "yes", "remove", "gone")),
			 0);
	assert_string_equal(fixture_text(f->body, "labels.gpu"), "yes");
	assert_int_equal(fixture_admin(f, "node.label",
				       json_pack("{sss{ss}}", "node", "b", "set", "b@d key", "x")),
			 2);
	fixture_crash(f);
	fixture_start(f);
	assert_int_equal(fixture_admin(f, "node.ls",
				       json_pack("{ss}", "selector", "site=lyon,gpu")),
			 0);
	assert_int_equal(json_array_size(f->body), 1);
	assert_string_equal(fixture_text(f->body, "0.name"), "b");
	fixture_free(f);
}

/* ---- releases ---- */

/* spec: REL-10 */
static void test_release_must_be_complete_and_signed(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct bytes manifest = fixture_manifest(f, "ocr", "1.0.0", false, NULL);
	struct bytes garbage = {(uint8_t *)"nonsense", 8};
	struct sign_key stranger;
	struct bytes foreign;

	assert_int_equal(fixture_ask(f, ROLE_OPERATOR, "release.put", NULL, &garbage), 1);
	assert_int_equal(fixture_ask(f, ROLE_OPERATOR, "release.put", NULL, &manifest), 1);
	assert_non_null(strstr(f->reply.error, "chunk index"));
	sign_key_generate(&stranger);
	foreign = fixture_manifest(f, "ocr", "1.0.0", true, &stranger);
	assert_int_equal(fixture_ask(f, ROLE_OPERATOR, "release.put", NULL, &foreign), 1);
	assert_int_equal(fixture_ask(f, ROLE_OPERATOR, "release.put", NULL, &manifest), 0);
	assert_true(json_is_true(json_object_get(f->body, "created")));
	assert_int_equal(fixture_ask(f, ROLE_OPERATOR, "release.put", NULL, &manifest), 0);
	assert_true(json_is_false(json_object_get(f->body, "created")));
	assert_int_equal(fixture_admin(f, "release.show", json_pack("{ss}", "release", "ocr@1.0.0")),
			 0);
	assert_string_equal(fixture_text(f->body, "files.0.path"), "m.bin");
	assert_int_equal(json_array_size(json_object_get(f->body, "signatures")), 1);
	assert_int_equal(fixture_admin(f, "release.get", json_pack("{ss}", "release", "ocr@1.0.0")),
			 0);
	assert_int_equal(f->reply.blob.size, manifest.size);
	assert_memory_equal(f->reply.blob.data, manifest.data, manifest.size);
	free(manifest.data);
	free(foreign.data);
	fixture_free(f);
}

static void test_missing_chunk_is_named(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct bytes manifest = fixture_manifest(f, "ocr", "1.0.0", true, NULL);
	struct digest chunk;
	char text[DIGEST_TEXT_MAX];

	digest_of(&chunk, "model ocr version 1.0.0", 23);
	digest_text(text, &chunk);
	for (size_t i = 0; i < f->objects_count; i++) {
		if (digest_equal(&f->objects[i].digest, &chunk)) {
			free(f->objects[i].data.data);
			f->objects[i] = f->objects[--f->objects_count];
		}
	}
	assert_int_equal(fixture_ask(f, ROLE_OPERATOR, "release.put", NULL, &manifest), 1);
	assert_non_null(strstr(f->reply.error, text));
	assert_int_equal(fixture_ask(f, ROLE_OPERATOR, "object.missing",
				     json_pack("{s[s]}", "digests", text), NULL),
			 0);
	assert_string_equal(fixture_text(f->body, "missing.0"), text);
	free(manifest.data);
	fixture_free(f);
}

/* spec: REL-10 */
static void test_release_never_changes(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct bytes other;
	struct err err = {0};

	fixture_push(f, "ocr", "1.0.0");
	/* The same name with another content: sign ocr@1.0.0 anew from another release's payload. */
	other = fixture_manifest(f, "ocr", "2.0.0", true, NULL);
	struct envelope envelope;
	struct release release;
	struct digest digest;
	struct bytes payload, changed;
	struct sign_key key = {.public_key = f->sign_public};

	memcpy(key.secret, f->sign_secret, sizeof(key.secret));
	assert_int_equal(codec_decode(&codec_envelope, other.data, other.size, &envelope, &err), 0);
	assert_int_equal(codec_decode(&codec_release, envelope.payload.data, envelope.payload.size,
				      &release, &err),
			 0);
	STR_CUT(release.version, "1.0.0");
	assert_int_equal(release_encode(&release, &payload, &digest, &err), 0);
	codec_free(&codec_envelope, &envelope);
	envelope.payload = payload;
	envelope_sign(&envelope, SIGNED_RELEASE, &key);
	assert_int_equal(codec_encode(&codec_envelope, &envelope, LIMIT_MANIFEST, &changed, &err),
			 0);
	assert_int_equal(fixture_ask(f, ROLE_OPERATOR, "release.put", NULL, &changed), 1);
	assert_non_null(strstr(f->reply.error, "never changes"));
	release_free(&release);
	codec_free(&codec_envelope, &envelope);
	free(other.data);
	free(changed.data);
	fixture_free(f);
}

static void test_objects(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct bytes data = {(uint8_t *)"hello", 5};
	struct digest digest;
	char text[DIGEST_TEXT_MAX];

	digest_of(&digest, data.data, data.size);
	digest_text(text, &digest);
	assert_int_equal(fixture_ask(f, ROLE_OPERATOR, "object.put", json_pack("{ss}", "digest", text),
				     &(struct bytes){(uint8_t *)"hellO", 5}),
			 1);
	assert_int_equal(f->objects_count, 0);
	f->disk_full = true;
	assert_int_equal(fixture_ask(f, ROLE_OPERATOR, "object.put", json_pack("{ss}", "digest", text),
				     &data),
			 1);
	assert_non_null(strstr(f->reply.error, "full"));
	f->disk_full = false;
	assert_int_equal(fixture_ask(f, ROLE_OPERATOR, "object.put", json_pack("{ss}", "digest", text),
				     &data),
			 0);
	assert_int_equal(fixture_ask(f, ROLE_VIEWER, "object.get", json_pack("{ss}", "digest", text),
				     NULL),
			 0);
	assert_memory_equal(f->reply.blob.data, "hello", 5);
	fixture_free(f);
}

/* Objects of a push in progress stay for a day; those of a removed release go after that. */
static void test_sweep(void **state)
{
	struct fixture *f = fixture_new(NULL);
	size_t all;

	fixture_push(f, "ocr", "1.0.0");
	fixture_push(f, "ocr", "2.0.0");
	all = f->objects_count; /* a layer and two files, each with its index */
	assert_int_equal(all, 6);
	assert_int_equal(fixture_admin(f, "release.rm", json_pack("{ss}", "release", "ocr@1.0.0")),
			 0);
	assert_int_equal(f->objects_count, all);
	f->now_ms += 25 * 3600 * 1000;
	coordinator_tick(f->coordinator);
	assert_int_equal(f->objects_count, all - 2); /* the layer is shared */
	fixture_free(f);
}

/* spec: REL-9 */
static void test_release_in_use_stays(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct deployment_spec spec;

	fixture_join(f, "a", NULL);
	fixture_push(f, "ocr", "1.0.0");
	fixture_spec(&spec, "ocr", "ocr", "1.0.0");
	assert_int_equal(fixture_apply(f, &spec, false, false), 0);
	assert_int_equal(fixture_admin(f, "release.rm", json_pack("{ss}", "release", "ocr@1.0.0")),
			 1);
	assert_non_null(strstr(f->reply.error, "needs ocr@1.0.0"));
	fixture_pass(f, 60000);
	assert_int_equal(fixture_admin(f, "release.rm", json_pack("{ss}", "release", "ocr@1.0.0")),
			 1);
	assert_non_null(strstr(f->reply.error, "deployment ocr"));
	deployment_spec_free(&spec);
	fixture_free(f);
}

/* What a push says that need not travel again: by the slots of all nodes, each chunk once. */
static void test_push_knows_what_the_fleet_has(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct deployment_spec spec;
	json_t *fleet;

	fixture_join(f, "edge-0", NULL);
	fixture_join(f, "edge-1", json_pack("{ss}", "ring", "1"));
	fixture_push(f, "ocr", "1.0.0");
	fleet = json_object_get(f->body, "fleet");
	assert_int_equal(json_integer_value(json_object_get(fleet, "nodes")), 0);
	assert_int_equal(json_integer_value(json_object_get(fleet, "chunks")), 0);
	assert_int_equal(json_integer_value(json_object_get(fleet, "release_chunks")), 2);
	fixture_spec(&spec, "ocr", "ocr", "1.0.0");
	STR_CUT(spec.selector, "ring=1");
	assert_int_equal(fixture_apply(f, &spec, false, false), 0);
	fixture_pass(f, 90000);
	fixture_push(f, "ocr", "2.0.0");
	fleet = json_object_get(f->body, "fleet");
	assert_int_equal(json_integer_value(json_object_get(fleet, "nodes")), 1);
	assert_int_equal(json_integer_value(json_object_get(fleet, "chunks")), 1); /* the layer */
	assert_int_equal(json_integer_value(json_object_get(fleet, "release_chunks")), 2);
	assert_int_equal(json_integer_value(json_object_get(fleet, "release_bytes")) -
			 json_integer_value(json_object_get(fleet, "bytes")), 23);
	deployment_spec_free(&spec);
	fixture_free(f);
}

/* ---- plan ---- */

static json_int_t time_of(struct fixture *f, const char *name)
{
	const json_t *ms = json_object_get(json_object_get(f->body, "time"), name);

	return json_is_integer(ms) ? json_integer_value(ms) : -1;
}

static void test_plan(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct deployment_spec spec;
	struct bytes blob;
	json_t *bytes;

	for (size_t i = 0; i < 4; i++) {
		AUTO_FREE char *name = mem_format("edge-%zu", i);

		fixture_join(f, name, NULL);
	}
	fixture_push(f, "ocr", "1.0.0");
	fixture_push(f, "ocr", "2.0.0");
	fixture_spec(&spec, "ocr", "ocr", "1.0.0");
	assert_int_equal(fixture_apply(f, &spec, false, false), 0);
	fixture_pass(f, 90000);
	STR_CUT(spec.version, "2.0.0");
	assert_int_equal(codec_encode(&codec_deployment_spec, &spec, LIMIT_MANIFEST, &blob, NULL),
			 0);
	assert_int_equal(fixture_ask(f, ROLE_VIEWER, "plan", NULL, &blob), 0);
	assert_string_equal(fixture_text(f->body, "from"), "ocr@1.0.0");
	assert_true(json_is_true(json_object_get(f->body, "changed")));
	assert_int_equal(json_array_size(json_object_get(f->body, "stages")), 2);
	bytes = json_object_get(json_array_get(json_object_get(f->body, "nodes"), 0), "bytes");
	assert_int_equal(json_integer_value(bytes), 23); /* the shared layer does not move */
	assert_int_equal(time_of(f, "exchange_ms"), -1); /* nobody has fetched yet */
	assert_int_equal(time_of(f, "rates_unknown"), 4);
	fixture_ask(f, ROLE_VIEWER, "plan", json_pack("{si}", "rate", 23), &blob);
	assert_int_equal(time_of(f, "exchange_ms"), 1000);
	assert_int_equal(time_of(f, "alone_ms"), 4000);
	fixture_ask(f, ROLE_VIEWER, "plan", json_pack("{sisi}", "rate", 23, "origin_rate", 46),
		    &blob);
	assert_int_equal(time_of(f, "exchange_ms"), 1000);
	assert_int_equal(time_of(f, "alone_ms"), 2000);
	assert_int_equal(time_of(f, "origin_rate"), 46);
	free(blob.data);
	STR_CUT(spec.version, "9.9.9");
	assert_int_equal(fixture_apply(f, &spec, false, false), 1);
	assert_non_null(strstr(f->reply.error, "covey release push"));
	deployment_spec_free(&spec);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_verb_checks_its_role),
		cmocka_unit_test(test_audit),
		cmocka_unit_test(test_forged_audit_is_noticed),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_labels_and_selectors),
		cmocka_unit_test(test_release_must_be_complete_and_signed),
		cmocka_unit_test(test_missing_chunk_is_named),
		cmocka_unit_test(test_release_never_changes),
		cmocka_unit_test(test_objects),
		cmocka_unit_test(test_sweep),
		cmocka_unit_test(test_push_knows_what_the_fleet_has),
		cmocka_unit_test(test_release_in_use_stays),
		cmocka_unit_test(test_plan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
