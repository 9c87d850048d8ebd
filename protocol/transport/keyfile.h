/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys in files. Text, mode 0600, written atomically and durably (temporary file, fsync, rename,
 * fsync of the folder):
 *
 *   covey link key 1            Curve25519, for the encrypted links (CurveZMQ)
 *   public <64 hex>
 *   secret <64 hex>
 *
 *   covey sign key 1            Ed25519; the secret is libsodium's 64 bytes: 128 hex
 *   covey public key 1          only the line `public`, may be read by everybody
 *
 * A secret file that group or others can access is refused, and so is one whose public half does
 * not belong to its secret half.
 */
#pragma once

#include "base/err.h"
#include "covey/ids.h"
#include "protocol/manifest.h" /* struct sign_key */

struct link_key { /* wipe with link_key_wipe */
	uint8_t secret[KEY_SIZE];
	struct public_key public_key;
};

enum { KEY_TEXT_MAX = 2 * KEY_SIZE + 1 };

void link_key_generate(struct link_key *ret_key);
void link_key_wipe(struct link_key *key);
void sign_key_wipe(struct sign_key *key);

/* Create: -EEXIST when the file is there; it is never overwritten. The sentence names the file. */
int keyfile_create_link(const char *path, const struct link_key *key,
			struct err *err) COVEY_MUST_CHECK;
int keyfile_create_sign(const char *path, const struct sign_key *key,
			struct err *err) COVEY_MUST_CHECK;
int keyfile_create_public(const char *path, const struct public_key *key, /* mode 0644 */
			  struct err *err) COVEY_MUST_CHECK;

/* Load: -ENOENT; -EPERM (others may read it, or it is another user's); -EBADMSG (not such a key).
 * *ret_key is zero on failure. */
int keyfile_load_link(const char *path, struct link_key *ret_key, struct err *err) COVEY_MUST_CHECK;
int keyfile_load_sign(const char *path, struct sign_key *ret_key, struct err *err) COVEY_MUST_CHECK;
/* The public half of any of the three kinds; a secret half is not kept. */
int keyfile_load_public(const char *path, struct public_key *ret_key,
			struct err *err) COVEY_MUST_CHECK;

/* Loads the file; makes it with a fresh key first when it is not there. */
int keyfile_ensure_link(const char *path, struct link_key *ret_key,
			struct err *err) COVEY_MUST_CHECK;
int keyfile_ensure_sign(const char *path, struct sign_key *ret_key,
			struct err *err) COVEY_MUST_CHECK;

/* 64 hex digits. The hex of a link key is also the ZAP user id of its owner. */
void public_key_text(char dst[KEY_TEXT_MAX], const struct public_key *key);
int public_key_parse(const char *text, struct public_key *ret_key) COVEY_MUST_CHECK;
