/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A document is opened in a fixed order: its size, its envelope, its signatures, then its content,
 * so that only the envelope's decoder sees bytes that nobody signed. The root document is the one
 * exception: its own keys are in its content. What the content says is checked last, because a
 * good signature does not make a bad path good.
 */
#include "protocol/manifest.h"
#include "base/mem.h"
#include "base/selector.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"
#include "protocol/enrol.h"

#include <assert.h>
#include <sodium.h>

enum { ENVELOPE_OVERHEAD = 64 + 128 * LIMIT_SIGNATURES };

/* ---- keys and signatures ---- */

void sign_key_generate(struct sign_key *ret_key)
{
	static_assert(sizeof(ret_key->secret) == crypto_sign_SECRETKEYBYTES, "Ed25519 secret key");
	static_assert(SIGNATURE_SIZE == crypto_sign_BYTES, "Ed25519 signature");
	static_assert(KEY_SIZE == crypto_sign_PUBLICKEYBYTES, "Ed25519 public key");
	crypto_sign_keypair(ret_key->public_key.bytes, ret_key->secret);
}

static void key_id_of(struct digest *ret_id, const struct public_key *key)
{
	digest_of(ret_id, key->bytes, KEY_SIZE);
}

/* "covey/<purpose>/1\0" and the payload. */
static struct bytes signed_text(const struct envelope *envelope, enum signed_purpose purpose)
{
	static const char *const names[SIGNED_PURPOSE_COUNT] = {
	    [SIGNED_RELEASE] = "covey/release/1",
	    [SIGNED_ROOT] = "covey/root/1",
	    [SIGNED_IDENTITY] = "covey/identity/1",
	};
	size_t head = strlen(names[purpose]) + 1;
	struct bytes text = {.size = head + envelope->payload.size};

	text.data = mem_alloc(text.size);
	memcpy(text.data, names[purpose], head);
	if (envelope->payload.size)
		memcpy(text.data + head, envelope->payload.data, envelope->payload.size);
	return text;
}

void envelope_sign(struct envelope *envelope, enum signed_purpose purpose,
                   const struct sign_key *key)
{
	struct bytes text = signed_text(envelope, purpose);
	size_t count = envelope->signatures_count;
	struct signature *signature;

	envelope->signatures =
	    mem_resize(envelope->signatures, count + 1, sizeof(*envelope->signatures));
	envelope->signatures_count++;
	signature = &envelope->signatures[count];
	key_id_of(&signature->key_id, &key->public_key);
	crypto_sign_detached(signature->bytes, NULL, text.data, text.size, key->secret);
	free(text.data);
}

static bool signed_by(const struct envelope *envelope, const struct bytes *text,
                      const struct public_key *key)
{
	struct digest id;

	key_id_of(&id, key);
	for (size_t i = 0; i < envelope->signatures_count; i++) {
		const struct signature *s = &envelope->signatures[i];

		if (digest_equal(&s->key_id, &id) &&
		    crypto_sign_verify_detached(s->bytes, text->data, text->size, key->bytes) == 0)
			return true;
	}
	return false;
}

static bool is_repeated(const struct public_key *keys, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (memcmp(keys[k].bytes, keys[i].bytes, KEY_SIZE) == 0)
			return true;
	return false;
}

int envelope_verify(const struct envelope *envelope, enum signed_purpose purpose,
                    const struct public_key *keys, size_t keys_count, uint32_t threshold,
                    struct err *err)
{
	struct bytes text;
	uint32_t good = 0;

	if (!threshold)
		return err_set(err, -EKEYREJECTED, "a threshold of no signatures is refused");
	text = signed_text(envelope, purpose);
	for (size_t i = 0; i < keys_count && good < threshold; i++)
		if (!is_repeated(keys, i) && signed_by(envelope, &text, &keys[i]))
			good++;
	free(text.data);
	if (good >= threshold)
		return 0;
	return err_set(err, -EKEYREJECTED,
	               "%u valid signatures of keys that this fleet believes, %u are needed", good,
	               threshold);
}

/* ---- opening ---- */

static void envelope_free(struct envelope *envelope)
{
	codec_free(&codec_envelope, envelope);
}

static int envelope_decode(const void *data, size_t size, size_t max, struct envelope *ret,
                           struct err *err)
{
	int r;

	if (size > max + ENVELOPE_OVERHEAD)
		return err_set(err, -EMSGSIZE, "%zu bytes, at most %zu are allowed", size,
		               max + ENVELOPE_OVERHEAD);
	r = codec_decode(&codec_envelope, data, size, ret, err);
	if (r < 0)
		return r;
	if (ret->payload.size <= max)
		return 0;
	r = err_set(err, -EMSGSIZE, "a payload of %zu bytes, at most %zu are allowed",
	            ret->payload.size, max);
	envelope_free(ret);
	return r;
}

static int payload_decode(const struct envelope *envelope, const struct codec_struct *type,
                          void *object, struct err *err)
{
	return codec_decode(type, envelope->payload.data, envelope->payload.size, object, err);
}

int release_encode(const struct release *release, struct bytes *ret_payload,
                   struct digest *ret_digest, struct err *err)
{
	int r;

	r = release_check(release, err);
	if (r == 0)
		r = codec_encode(&codec_release, release, LIMIT_MANIFEST, ret_payload, err);
	if (r == 0)
		digest_of(ret_digest, ret_payload->data, ret_payload->size);
	return r;
}

static int check_digest(const struct envelope *envelope, const struct digest *expected,
                        struct err *err)
{
	char wanted[DIGEST_TEXT_MAX], got[DIGEST_TEXT_MAX];
	struct digest digest;

	if (!expected)
		return 0;
	digest_of(&digest, envelope->payload.data, envelope->payload.size);
	if (digest_equal(&digest, expected))
		return 0;
	digest_text(wanted, expected);
	digest_text(got, &digest);
	return err_set(err, -EBADMSG, "this manifest is %s, not %s", got, wanted);
}

int release_open(const void *data, size_t size, const struct root_document *root,
                 const struct digest *expected, struct release *ret_release, struct err *err)
{
	COVEY_CLEANUP(envelope_free) struct envelope envelope = {0};
	struct release release;
	int r;

	r = envelope_decode(data, size, LIMIT_MANIFEST, &envelope, err);
	if (r == 0)
		r = check_digest(&envelope, expected, err);
	if (r == 0)
		r = envelope_verify(&envelope, SIGNED_RELEASE, root->release_keys,
		                    root->release_keys_count, root->release_threshold, err);
	if (r == 0)
		r = payload_decode(&envelope, &codec_release, &release, err);
	if (r < 0)
		return err_prefix(err, r, "release manifest");
	r = release_check(&release, err);
	if (r < 0) {
		release_free(&release);
		return err_prefix(err, r, "release manifest");
	}
	*ret_release = release;
	return 0;
}

/* ---- the root document ---- */

static size_t count_distinct(const struct public_key *keys, size_t count)
{
	size_t distinct = 0;

	for (size_t i = 0; i < count; i++)
		distinct += !is_repeated(keys, i);
	return distinct;
}

static int root_check(const struct root_document *root, struct err *err)
{
	char endpoint[LIMIT_ENDPOINT + 1];

	if (!root->version)
		return err_set(err, -EINVAL, "version 0");
	if (!root->root_threshold ||
	    root->root_threshold > count_distinct(root->root_keys, root->root_keys_count))
		return err_set(err, -EINVAL, "the root keys cannot reach a threshold of %u",
		               root->root_threshold);
	if (!root->release_threshold ||
	    root->release_threshold > count_distinct(root->release_keys, root->release_keys_count))
		return err_set(err, -EINVAL, "the release keys cannot reach a threshold of %u",
		               root->release_threshold);
	return endpoint_channel(root->endpoint, PORT_OFFSET_OPERATORS, endpoint, err);
}

static int verify_root(const struct envelope *envelope, const struct root_document *keys,
                       struct err *err)
{
	return envelope_verify(envelope, SIGNED_ROOT, keys->root_keys, keys->root_keys_count,
	                       keys->root_threshold, err);
}

/* Old and new keys both sign a successor; the same version may come again, if it is the same. */
static int root_follows(const struct envelope *envelope, const struct root_document *root,
                        const struct root_document *previous, struct err *err)
{
	if (root->version < previous->version)
		return err_set(err, -ESTALE, "version %llu is older than version %llu, known here",
		               (unsigned long long)root->version,
		               (unsigned long long)previous->version);
	if (root->version == previous->version)
		return codec_equal(&codec_root_document, root, previous)
		           ? 0
		           : err_set(err, -ESTALE, "another version %llu is known here",
		                     (unsigned long long)root->version);
	return verify_root(envelope, previous, err);
}

int root_open(const void *data, size_t size, const struct root_document *previous,
              struct root_document *ret_root, struct err *err)
{
	COVEY_CLEANUP(envelope_free) struct envelope envelope = {0};
	struct root_document root = {0};
	int r;

	r = envelope_decode(data, size, LIMIT_ROOT_DOCUMENT, &envelope, err);
	if (r == 0)
		r = payload_decode(&envelope, &codec_root_document, &root, err);
	if (r == 0)
		r = root_check(&root, err);
	if (r == 0)
		r = verify_root(&envelope, &root, err);
	if (r == 0 && previous)
		r = root_follows(&envelope, &root, previous, err);
	if (r < 0) {
		codec_free(&codec_root_document, &root);
		return err_prefix(err, r, "root document");
	}
	*ret_root = root;
	return 0;
}

/* ---- identity records ---- */

static int identity_check(const struct identity *identity, struct err *err)
{
	struct node_id id;
	int r;

	node_id_of_key(&id, &identity->sign_key);
	if (!node_id_equal(&id, &identity->id))
		return err_set(err, -EBADMSG, "the node's id is not that of its key");
	if (!name_is_valid(identity->name))
		return err_set(err, -EINVAL, "name: not a node's name");
	for (size_t i = 0; i < identity->labels_count; i++) {
		const struct label *label = &identity->labels[i];

		r = selector_check_label(label->key, label->value, err);
		if (r < 0)
			return err_prefix(err, r, "label %zu", i);
	}
	return 0;
}

int identity_open(const void *data, size_t size, const struct root_document *root,
                  struct identity *ret_identity, struct err *err)
{
	COVEY_CLEANUP(envelope_free) struct envelope envelope = {0};
	struct identity identity = {0};
	int r;

	r = envelope_decode(data, size, LIMIT_ROOT_DOCUMENT, &envelope, err);
	if (r == 0)
		r = envelope_verify(&envelope, SIGNED_IDENTITY, &root->online_key, 1, 1, err);
	if (r == 0)
		r = payload_decode(&envelope, &codec_identity, &identity, err);
	if (r == 0)
		r = identity_check(&identity, err);
	if (r < 0) {
		codec_free(&codec_identity, &identity);
		return err_prefix(err, r, "identity record");
	}
	*ret_identity = identity;
	return 0;
}
