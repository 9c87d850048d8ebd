/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed documents: release manifests, the root document, identity records. One envelope for all:
 * {payload bytes, list of (key id, Ed25519 signature)}. A signature covers
 * "covey/<purpose>/1\0" followed by the payload, so that one kind never passes for another.
 * Whom to believe is the root document's word (TUF's split of keys; thresholds count distinct
 * keys). Nothing here opens files or sockets.
 */
#pragma once

#include "covey/release.h"
#include "protocol/codec.h"

enum signed_purpose { SIGNED_RELEASE, SIGNED_ROOT, SIGNED_IDENTITY, SIGNED_PURPOSE_COUNT };

struct signature {
	struct digest key_id; /* BLAKE2b-256 of the public key */
	uint8_t bytes[SIGNATURE_SIZE];
};

struct envelope {
	struct bytes payload;
	struct signature *signatures;
	size_t signatures_count;
};

struct sign_key { /* Ed25519 secret in libsodium's 64-byte form; wipe with sodium_memzero */
	uint8_t secret[64];
	struct public_key public_key;
};

struct root_document { /* whom this fleet believes; pinned at joining, then only followed upwards */
	uint64_t version;
	uint64_t expires_unix_ms; /* 0: never */
	uint32_t release_threshold;
	struct public_key *release_keys; /* Ed25519 */
	size_t release_keys_count;
	uint32_t root_threshold;
	struct public_key *root_keys;
	size_t root_keys_count;
	struct public_key server_key;	/* Curve25519 of the coordinator */
	struct public_key online_key;	/* Ed25519 of the coordinator: identity records */
	char endpoint[LIMIT_ENDPOINT + 1]; /* tcp://host:port, base port */
};

struct identity { /* what the coordinator vouches for about a node */
	struct node_id id;
	char name[LIMIT_NAME + 1];
	struct public_key link_key, sign_key;
	struct label *labels;
	size_t labels_count;
	uint64_t issued_unix_ms, expires_unix_ms;
};

extern const struct codec_struct codec_envelope, codec_root_document, codec_identity;

/* Fresh keys from libsodium's generator. */
void sign_key_generate(struct sign_key *ret_key);

/* Adds key's signature over envelope->payload. */
void envelope_sign(struct envelope *envelope, enum signed_purpose purpose,
		   const struct sign_key *key);
/* 0 when at least `threshold` distinct keys of the list signed; -EKEYREJECTED otherwise. */
int envelope_verify(const struct envelope *envelope, enum signed_purpose purpose,
		    const struct public_key *keys, size_t keys_count, uint32_t threshold,
		    struct err *err) COVEY_MUST_CHECK;

/* Checks (release_check) and encodes a release; ret_digest is its identity, ret_payload what
 * envelope_sign covers. */
int release_encode(const struct release *release, struct bytes *ret_payload,
		   struct digest *ret_digest, struct err *err) COVEY_MUST_CHECK;
/* Opens a signed manifest: size, signatures against root, payload digest == expected, every field
 * valid (release_check). expected may be NULL: whatever release it is. ret_release is owned by the
 * caller: release_free(). -EKEYREJECTED, -EBADMSG, -EMSGSIZE, -EINVAL. */
int release_open(const void *data, size_t size, const struct root_document *root,
		 const struct digest *expected, struct release *ret_release,
		 struct err *err) COVEY_MUST_CHECK;
/* What decoding alone does not see: names, ports, paths without .., sums. Files are sorted by path
 * (strcmp), each once. The sentence names fields as release.yaml does. -EINVAL. */
int release_check(const struct release *release, struct err *err) COVEY_MUST_CHECK;
void release_free(struct release *release);
/* Bytes of all blobs. */
uint64_t release_size(const struct release *release);

/* Opens a signed root document: signed by the threshold of its own root keys and, where `previous`
 * is given, of its predecessor's too. -ESTALE: older than previous, or another document of the same
 * version. Expiry is the caller's to check: there is no clock here. */
int root_open(const void *data, size_t size, const struct root_document *previous,
	      struct root_document *ret_root, struct err *err) COVEY_MUST_CHECK;
/* Opens a signed identity record against the root's online key. Expiry is the caller's to check. */
int identity_open(const void *data, size_t size, const struct root_document *root,
		  struct identity *ret_identity, struct err *err) COVEY_MUST_CHECK;

/* A name as Covey allows it: [a-z0-9] first, then [a-z0-9.-], 1..63 characters. */
bool name_is_valid(const char *name);
bool version_is_valid(const char *version); /* [A-Za-z0-9][A-Za-z0-9._+-]* */
