/* SPDX-License-Identifier: Apache-2.0 */
/* Signed documents: who signed, for what, how often, and what was changed on the way. */
#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"
#include "sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct sign_key keys[3], root_key, new_root_key, online_key, stranger;

static int make_keys(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		sign_key_generate(&keys[i]);
	sign_key_generate(&root_key);
	sign_key_generate(&new_root_key);
	sign_key_generate(&online_key);
	sign_key_generate(&stranger);
	return 0;
}

/* Believes keys[0..2], `threshold` of them. */
static struct root_document make_root(uint32_t threshold)
{
	struct root_document root = {
	    .version = 1,
	    .release_threshold = threshold,
	    .release_keys_count = 3,
	    .root_threshold = 1,
	    .root_keys_count = 1,
	    .online_key = online_key.public_key,
	    .endpoint = "tcp://coordinator.example:7400",
	};

	root.release_keys = mem_array(3, sizeof(*root.release_keys));
	for (size_t i = 0; i < 3; i++)
		root.release_keys[i] = keys[i].public_key;
	root.root_keys = mem_array(1, sizeof(*root.root_keys));
	root.root_keys[0] = root_key.public_key;
	return root;
}

static void root_free(struct root_document *root)
{
	codec_free(&codec_root_document, root);
}

static struct bytes release_payload(struct digest *ret_digest)
{
	struct release release;
	struct bytes payload;
	struct err err;

	sample_release(&release);
	if (release_encode(&release, &payload, ret_digest, &err) < 0)
		fail_msg("%s", err.text);
	release_free(&release);
	return payload;
}

static int open_release(struct bytes data, const struct root_document *root,
                        const struct digest *expected)
{
	struct release release = {0};
	struct err err = {0};
	int r = release_open(data.data, data.size, root, expected, &release, &err);

	assert_true(r == 0 || err.text[0]);
	if (r == 0) {
		assert_string_equal(release.model, "ocr");
		assert_int_equal(release_size(&release), 4000);
	} else {
		assert_null(release.blobs);
	}
	release_free(&release);
	return r;
}

/* Signs with the keys of the list and opens; the data is freed. */
static int open_signed_by(const struct sign_key *const *signers, size_t count, uint32_t threshold)
{
	COVEY_CLEANUP(root_free) struct root_document root = make_root(threshold);
	struct digest digest;
	struct bytes data = release_payload(&digest);
	int r;

	data = sample_signed(data, SIGNED_RELEASE, signers, count);
	r = open_release(data, &root, &digest);
	free(data.data);
	return r;
}

static void test_open(void **state)
{
	const struct sign_key *one[] = {&keys[0]}, *last[] = {&keys[2]};

	assert_int_equal(open_signed_by(one, 1, 1), 0);
	assert_int_equal(open_signed_by(last, 1, 1), 0);
}

/* spec: TRUST-1 */
static void test_unsigned_and_strangers(void **state)
{
	const struct sign_key *none[] = {NULL}, *other[] = {&stranger}, *online[] = {&online_key},
	                      *root[] = {&root_key};

	assert_int_equal(open_signed_by(none, 0, 1), -EKEYREJECTED);
	assert_int_equal(open_signed_by(other, 1, 1), -EKEYREJECTED);
	assert_int_equal(open_signed_by(online, 1, 1), -EKEYREJECTED); /* a stolen coordinator */
	assert_int_equal(open_signed_by(root, 1, 1), -EKEYREJECTED);
}

/* spec: TRUST-1 */
static void test_threshold_counts_distinct_keys(void **state)
{
	const struct sign_key *two[] = {&keys[0], &keys[1]}, *twice[] = {&keys[0], &keys[0]},
	                      *mixed[] = {&stranger, &keys[2], &stranger, &keys[1]};

	assert_int_equal(open_signed_by(two, 2, 2), 0);
	assert_int_equal(open_signed_by(mixed, 4, 2), 0);
	assert_int_equal(open_signed_by(two, 1, 2), -EKEYREJECTED);
	assert_int_equal(open_signed_by(twice, 2, 2), -EKEYREJECTED);
	assert_int_equal(open_signed_by(two, 2, 3), -EKEYREJECTED);
	assert_int_equal(open_signed_by(two, 2, 0), -EKEYREJECTED);
}

static void test_a_key_listed_twice_counts_once(void **state)
{
	const struct public_key listed[] = {keys[0].public_key, keys[0].public_key};
	struct envelope envelope = {.payload = {.data = (uint8_t *)"x", .size = 1}};

	envelope_sign(&envelope, SIGNED_ROOT, &keys[0]);
	envelope_sign(&envelope, SIGNED_ROOT, &keys[0]);
	assert_int_equal(envelope_verify(&envelope, SIGNED_ROOT, listed, 2, 1, NULL), 0);
	assert_int_equal(envelope_verify(&envelope, SIGNED_ROOT, listed, 2, 2, NULL),
	                 -EKEYREJECTED);
	/* A signature under another key's id. */
	digest_of(&envelope.signatures[1].key_id, keys[1].public_key.bytes, KEY_SIZE);
	const struct public_key both[] = {keys[0].public_key, keys[1].public_key};
	assert_int_equal(envelope_verify(&envelope, SIGNED_ROOT, both, 2, 2, NULL), -EKEYREJECTED);
	free(envelope.signatures);
}

static void test_purposes_are_apart(void **state)
{
	struct envelope envelope = {.payload = {.data = (uint8_t *)"x", .size = 1}};

	for (int signed_for = 0; signed_for < SIGNED_PURPOSE_COUNT; signed_for++) {
		envelope_sign(&envelope, (enum signed_purpose)signed_for, &keys[0]);
		for (int used = 0; used < SIGNED_PURPOSE_COUNT; used++) {
			int r = envelope_verify(&envelope, (enum signed_purpose)used,
			                        &keys[0].public_key, 1, 1, NULL);

			assert_int_equal(r, used == signed_for ? 0 : -EKEYREJECTED);
		}
		free(envelope.signatures);
		envelope.signatures = NULL;
		envelope.signatures_count = 0;
	}
}

/* spec: TRUST-2 */
static void test_digest_must_be_the_expected(void **state)
{
	COVEY_CLEANUP(root_free) struct root_document root = make_root(1);
	const struct sign_key *signers[] = {&keys[0]};
	struct digest digest, other;
	struct bytes data = sample_signed(release_payload(&digest), SIGNED_RELEASE, signers, 1);

	assert_int_equal(open_release(data, &root, &digest), 0);
	assert_int_equal(open_release(data, &root, NULL), 0);
	other = digest;
	other.bytes[31] ^= 1;
	assert_int_equal(open_release(data, &root, &other), -EBADMSG);
	memset(&other, 0, sizeof(other));
	assert_int_equal(open_release(data, &root, &other), -EBADMSG);
	free(data.data);
}

/* Any changed or missing byte of a signed manifest. */
/* spec: TRUST-2 */
static void test_no_byte_may_change(void **state)
{
	COVEY_CLEANUP(root_free) struct root_document root = make_root(1);
	const struct sign_key *signers[] = {&keys[0]};
	struct digest digest;
	struct bytes data = sample_signed(release_payload(&digest), SIGNED_RELEASE, signers, 1);
	struct rng rng = {.state = 9};

	for (size_t i = 0; i < data.size; i += 1 + (size_t)rng_below(&rng, 3)) {
		uint8_t old = data.data[i];

		data.data[i] ^= (uint8_t)(1 << rng_below(&rng, 8));
		assert_int_not_equal(open_release(data, &root, NULL), 0);
		data.data[i] = old;
		assert_int_not_equal(open_release((struct bytes){data.data, i}, &root, NULL), 0);
	}
	assert_int_equal(open_release(data, &root, &digest), 0);
	free(data.data);
}

/* Signed by the right key, and still not something to run. */
static void test_signed_nonsense_is_refused(void **state)
{
	COVEY_CLEANUP(root_free) struct root_document root = make_root(1);
	const struct sign_key *signers[] = {&keys[0]};
	struct release release;
	struct bytes data;

	sample_release(&release);
	free(release.blobs[2].path);
	release.blobs[2].path = mem_str("../etc/passwd");
	assert_int_equal(release_encode(&release, &data, &(struct digest){0}, NULL), -EINVAL);
	assert_int_equal(codec_encode(&codec_release, &release, LIMIT_MANIFEST, &data, NULL), 0);
	release_free(&release);
	data = sample_signed(data, SIGNED_RELEASE, signers, 1);
	assert_int_equal(open_release(data, &root, NULL), -EINVAL);
	free(data.data);
	data = sample_signed((struct bytes){mem_copy("\x81", 1), 1}, SIGNED_RELEASE, signers, 1);
	assert_int_equal(open_release(data, &root, NULL), -EBADMSG);
	free(data.data);
}

static void test_endless_data(void **state)
{
	COVEY_CLEANUP(root_free) struct root_document root = make_root(1);
	AUTO_FREE uint8_t *large = mem_alloc(LIMIT_OBJECT);

	assert_int_equal(open_release((struct bytes){large, LIMIT_OBJECT}, &root, NULL), -EMSGSIZE);
}

/* ---- root documents ---- */

static struct bytes sign_root(const struct root_document *root,
                              const struct sign_key *const *signers, size_t count)
{
	struct bytes payload;

	assert_int_equal(
	    codec_encode(&codec_root_document, root, LIMIT_ROOT_DOCUMENT, &payload, NULL), 0);
	return sample_signed(payload, SIGNED_ROOT, signers, count);
}

static int open_root(const struct root_document *root, const struct root_document *previous,
                     const struct sign_key *const *signers, size_t count)
{
	struct bytes data = sign_root(root, signers, count);
	struct root_document opened = {0};
	struct err err = {0};
	int r = root_open(data.data, data.size, previous, &opened, &err);

	assert_true(r == 0 || err.text[0]);
	if (r == 0)
		assert_true(codec_equal(&codec_root_document, root, &opened));
	root_free(&opened);
	free(data.data);
	return r;
}

static void test_root_signs_itself(void **state)
{
	COVEY_CLEANUP(root_free) struct root_document root = make_root(1);
	const struct sign_key *good[] = {&root_key}, *bad[] = {&stranger}, *release[] = {&keys[0]};

	assert_int_equal(open_root(&root, NULL, good, 1), 0);
	assert_int_equal(open_root(&root, NULL, bad, 1), -EKEYREJECTED);
	assert_int_equal(open_root(&root, NULL, release, 1), -EKEYREJECTED);
	assert_int_equal(open_root(&root, NULL, NULL, 0), -EKEYREJECTED);
}

static void test_root_must_make_sense(void **state)
{
	COVEY_CLEANUP(root_free) struct root_document root = make_root(1);
	const struct sign_key *signers[] = {&root_key};

	root.version = 0;
	assert_int_equal(open_root(&root, NULL, signers, 1), -EINVAL);
	root.version = 1;
	root.root_threshold = 0;
	assert_int_equal(open_root(&root, NULL, signers, 1), -EINVAL);
	root.root_threshold = 2; /* of one key */
	assert_int_equal(open_root(&root, NULL, signers, 1), -EINVAL);
	root.root_threshold = 1;
	root.release_threshold = 0;
	assert_int_equal(open_root(&root, NULL, signers, 1), -EINVAL);
	root.release_threshold = 3;
	root.release_keys[2] = root.release_keys[0]; /* two distinct keys */
	assert_int_equal(open_root(&root, NULL, signers, 1), -EINVAL);
	root.release_threshold = 2;
	STR_CUT(root.endpoint, "ipc:///tmp/x");
	assert_int_equal(open_root(&root, NULL, signers, 1), -EINVAL);
}

/* spec: TRUST-4 */
static void test_root_only_goes_up(void **state)
{
	COVEY_CLEANUP(root_free) struct root_document first = make_root(1), second = make_root(2);
	const struct sign_key *signers[] = {&root_key};

	second.version = 2;
	assert_int_equal(open_root(&second, &first, signers, 1), 0);
	assert_int_equal(open_root(&first, &second, signers, 1), -ESTALE);
	assert_int_equal(open_root(&first, &first, signers, 1), 0);
	second.version = 1; /* the same version, another content */
	assert_int_equal(open_root(&second, &first, signers, 1), -ESTALE);
}

/* spec: TRUST-4 */
static void test_root_rotation_needs_old_and_new_keys(void **state)
{
	COVEY_CLEANUP(root_free) struct root_document first = make_root(1), second = make_root(1);
	const struct sign_key *old[] = {&root_key}, *new[] = {&new_root_key},
	                      *both[] = {&new_root_key, &root_key};

	second.version = 2;
	second.root_keys[0] = new_root_key.public_key;
	assert_int_equal(open_root(&second, &first, old, 1), -EKEYREJECTED);
	assert_int_equal(open_root(&second, &first, new, 1), -EKEYREJECTED);
	assert_int_equal(open_root(&second, &first, both, 2), 0);
}

/* ---- identity records ---- */

static int open_identity(const struct identity *identity, const struct sign_key *signer,
                         enum signed_purpose purpose)
{
	COVEY_CLEANUP(root_free) struct root_document root = make_root(1);
	struct identity opened = {0};
	struct err err = {0};
	struct bytes data;
	int r;

	assert_int_equal(codec_encode(&codec_identity, identity, 10000, &data, NULL), 0);
	data = sample_signed(data, purpose, &signer, 1);
	r = identity_open(data.data, data.size, &root, &opened, &err);
	assert_true(r == 0 || err.text[0]);
	if (r == 0)
		assert_true(codec_equal(&codec_identity, identity, &opened));
	codec_free(&codec_identity, &opened);
	free(data.data);
	return r;
}

static void test_identity(void **state)
{
	struct label labels[] = {{"site", "lyon"}, {"gpu", ""}};
	struct identity identity = {
	    .name = "edge-1", .sign_key = keys[0].public_key, .labels = labels, .labels_count = 2};

	node_id_of_key(&identity.id, &identity.sign_key);
	assert_int_equal(open_identity(&identity, &online_key, SIGNED_IDENTITY), 0);
	assert_int_equal(open_identity(&identity, &root_key, SIGNED_IDENTITY), -EKEYREJECTED);
	assert_int_equal(open_identity(&identity, &online_key, SIGNED_ROOT), -EKEYREJECTED);
	STR_CUT(labels[1].value, "\x1b[2J");
	assert_int_equal(open_identity(&identity, &online_key, SIGNED_IDENTITY), -EINVAL);
	STR_CUT(labels[1].value, "");
	STR_CUT(identity.name, "Edge 1");
	assert_int_equal(open_identity(&identity, &online_key, SIGNED_IDENTITY), -EINVAL);
	STR_CUT(identity.name, "edge-1");
	identity.id.bytes[0] ^= 1; /* somebody else's id */
	assert_int_equal(open_identity(&identity, &online_key, SIGNED_IDENTITY), -EBADMSG);
}

/* ---- digests ---- */

static void test_digests(void **state)
{
	/* BLAKE2b-256 of "abc", from b2sum -l 256. */
	static const char abc[] =
	    "blake2b:bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319";
	struct digest whole, parts, parsed;
	struct digest_state hash;
	char text[DIGEST_TEXT_MAX];

	digest_of(&whole, "abc", 3);
	digest_text(text, &whole);
	assert_string_equal(text, abc);
	digest_init(&hash);
	digest_add(&hash, "a", 1);
	digest_add(&hash, "", 0);
	digest_add(&hash, "bc", 2);
	digest_end(&hash, &parts);
	assert_true(digest_equal(&whole, &parts));
	assert_int_equal(digest_parse(abc, &parsed), 0);
	assert_true(digest_equal(&whole, &parsed));
	assert_int_equal(digest_parse(abc + 8, &parsed), 0);
	assert_int_not_equal(digest_parse(abc + 9, &parsed), 0);
	assert_int_not_equal(digest_parse("sha256:00", &parsed), 0);
}

static void test_ids(void **state)
{
	struct node_id id, back;
	struct rollout_id rollout = {{1, 2, 3, 4, 5, 6, 7, 0xff}}, rollout_back;
	char text[NODE_ID_TEXT_MAX], rollout_text[ROLLOUT_ID_TEXT_MAX];

	node_id_of_key(&id, &keys[0].public_key);
	node_id_text(text, &id);
	assert_int_equal(node_id_parse(text, &back), 0);
	assert_true(node_id_equal(&id, &back));
	rollout_id_text(rollout_text, &rollout);
	assert_string_equal(rollout_text, "01020304050607ff");
	assert_int_equal(rollout_id_parse(rollout_text, &rollout_back), 0);
	assert_true(rollout_id_equal(&rollout, &rollout_back));
	assert_int_not_equal(rollout_id_parse("0102", &rollout_back), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_open),
	    cmocka_unit_test(test_unsigned_and_strangers),
	    cmocka_unit_test(test_threshold_counts_distinct_keys),
	    cmocka_unit_test(test_a_key_listed_twice_counts_once),
	    cmocka_unit_test(test_purposes_are_apart),
	    cmocka_unit_test(test_digest_must_be_the_expected),
	    cmocka_unit_test(test_no_byte_may_change),
	    cmocka_unit_test(test_signed_nonsense_is_refused),
	    cmocka_unit_test(test_endless_data),
	    cmocka_unit_test(test_root_signs_itself),
	    cmocka_unit_test(test_root_must_make_sense),
	    cmocka_unit_test(test_root_only_goes_up),
	    cmocka_unit_test(test_root_rotation_needs_old_and_new_keys),
	    cmocka_unit_test(test_identity),
	    cmocka_unit_test(test_digests),
	    cmocka_unit_test(test_ids),
	};

	return cmocka_run_group_tests(tests, make_keys, NULL);
}
