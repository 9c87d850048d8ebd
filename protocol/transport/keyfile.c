/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key file is a few short lines of text, so that an administrator sees at a glance what it is and
 * a wrong file is named as such. It is written beside its place and renamed into it, without ever
 * replacing anything: a key that was lost to a crash or an overwrite cannot be made again. Every
 * buffer that held a secret is wiped.
 */
#include "protocol/transport/keyfile.h"

#include "base/mem.h"
#include "base/str.h"

#include <assert.h>
#include <fcntl.h>
#include <libgen.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_MAX = 512, SIGN_SECRET_SIZE = 64 };
enum key_kind { KIND_LINK, KIND_SIGN, KIND_PUBLIC, KIND_COUNT };

static const struct {
	const char *title;
	size_t secret_size;
	mode_t mode;
} kinds[KIND_COUNT] = {
	[KIND_LINK] = {"covey link key 1", KEY_SIZE, 0600},
	[KIND_SIGN] = {"covey sign key 1", SIGN_SECRET_SIZE, 0600},
	[KIND_PUBLIC] = {"covey public key 1", 0, 0644},
};

struct key_text { /* a file's content; wiped when its scope ends */
	char data[FILE_MAX];
};

struct key_parts {
	enum key_kind kind;
	struct public_key public_key;
	uint8_t secret[SIGN_SECRET_SIZE];
};

static void key_text_wipe(struct key_text *text)
{
	sodium_memzero(text, sizeof(*text));
}

static void key_parts_wipe(struct key_parts *parts)
{
	sodium_memzero(parts, sizeof(*parts));
}

static void sodium_ready(void)
{
	int r = sodium_init();

	assert(r >= 0);
	(void)r;
}

/* ---- keys ---- */

void link_key_generate(struct link_key *ret_key)
{
	sodium_ready();
	crypto_box_keypair(ret_key->public_key.bytes, ret_key->secret);
}

void link_key_wipe(struct link_key *key)
{
	sodium_memzero(key, sizeof(*key));
}

void sign_key_wipe(struct sign_key *key)
{
	sodium_memzero(key, sizeof(*key));
}

void public_key_text(char dst[KEY_TEXT_MAX], const struct public_key *key)
{
	str_hex(dst, key->bytes, KEY_SIZE);
}

int public_key_parse(const char *text, struct public_key *ret_key)
{
	struct public_key key;
	int r = str_unhex(key.bytes, KEY_SIZE, text);

	if (r == 0)
		*ret_key = key;
	return r;
}

/* ---- create ---- */

static void format(const struct key_parts *parts, struct key_text *ret_text)
{
	char public_hex[KEY_TEXT_MAX], secret_hex[2 * SIGN_SECRET_SIZE + 1];
	size_t secret_size = kinds[parts->kind].secret_size;

	public_key_text(public_hex, &parts->public_key);
	str_hex(secret_hex, parts->secret, secret_size);
	snprintf(ret_text->data, sizeof(ret_text->data), "%s\npublic %s\n%s%s%s",
		 kinds[parts->kind].title, public_hex, secret_size > 0 ? "secret " : "", secret_hex,
		 secret_size > 0 ? "\n" : "");
	sodium_memzero(secret_hex, sizeof(secret_hex));
}

static int sync_folder_of(const char *path)
{
	AUTO_FREE char *copy = mem_str(path);
	AUTO_CLOSE int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

static int write_durably(int fd, const char *data, mode_t mode)
{
	for (size_t left = strlen(data); left > 0;) {
		ssize_t n = write(fd, data, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		left -= (size_t)n;
	}
	if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

static int create(const char *path, const struct key_parts *parts, struct err *err)
{
	COVEY_CLEANUP(key_text_wipe) struct key_text text;
	AUTO_FREE char *temporary = mem_format("%s.new-XXXXXX", path);
	AUTO_CLOSE int fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
	int r;

	if (fd < 0)
		return err_errno(err, -errno, "cannot create the key file %s", path);
	format(parts, &text);
	r = write_durably(fd, text.data, kinds[parts->kind].mode);
	if (r == 0 && renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
		r = -errno;
	if (r < 0)
		unlink(temporary);
	else
		r = sync_folder_of(path);
	if (r == -EEXIST)
		return err_set(err, r, "the key file %s exists already and is not overwritten",
			       path);
	return r < 0 ? err_errno(err, r, "cannot write the key file %s", path) : 0;
}

int keyfile_create_link(const char *path, const struct link_key *key, struct err *err)
{
	COVEY_CLEANUP(key_parts_wipe)
	struct key_parts parts = {.kind = KIND_LINK, .public_key = key->public_key};

	memcpy(parts.secret, key->secret, sizeof(key->secret));
	return create(path, &parts, err);
}

int keyfile_create_sign(const char *path, const struct sign_key *key, struct err *err)
{
	COVEY_CLEANUP(key_parts_wipe)
	struct key_parts parts = {.kind = KIND_SIGN, .public_key = key->public_key};

	memcpy(parts.secret, key->secret, sizeof(key->secret));
	return create(path, &parts, err);
}

int keyfile_create_public(const char *path, const struct public_key *key, struct err *err)
{
	struct key_parts parts = {.kind = KIND_PUBLIC, .public_key = *key};

	return create(path, &parts, err);
}

/* ---- load ---- */

/* The next line, without its end, or NULL. */
static char *take_line(char **rest)
{
	char *line = *rest, *end = strchr(line, '\n');

	if (!end)
		return NULL;
	*end = '\0';
	*rest = end + 1;
	return line;
}

static int parse(struct key_text *text, struct key_parts *ret_parts)
{
	char *rest = text->data, *title = take_line(&rest), *line;
	enum key_kind kind = KIND_LINK;

	while (kind < KIND_COUNT && (!title || strcmp(title, kinds[kind].title) != 0))
		kind++;
	if (kind == KIND_COUNT)
		return -EBADMSG;
	ret_parts->kind = kind;
	line = take_line(&rest);
	if (!line || !str_starts(line, "public ") ||
	    public_key_parse(line + strlen("public "), &ret_parts->public_key) < 0)
		return -EBADMSG;
	if (kinds[kind].secret_size > 0) {
		line = take_line(&rest);
		if (!line || !str_starts(line, "secret ") ||
		    str_unhex(ret_parts->secret, kinds[kind].secret_size,
			      line + strlen("secret ")) < 0)
			return -EBADMSG;
	}
	return *rest == '\0' ? 0 : -EBADMSG;
}

/* Does the public half belong to the secret half? Someone may have edited the file. */
static bool halves_match(const struct key_parts *parts)
{
	struct public_key expected = parts->public_key;
	uint8_t seed[crypto_sign_SEEDBYTES], secret[SIGN_SECRET_SIZE];
	bool same = true;

	if (parts->kind == KIND_LINK) {
		if (crypto_scalarmult_base(expected.bytes, parts->secret) < 0)
			return false;
	} else if (parts->kind == KIND_SIGN) {
		crypto_sign_ed25519_sk_to_seed(seed, parts->secret);
		crypto_sign_seed_keypair(expected.bytes, secret, seed);
		same = sodium_memcmp(secret, parts->secret, sizeof(secret)) == 0;
		sodium_memzero(seed, sizeof(seed));
		sodium_memzero(secret, sizeof(secret));
	}
	return same && memcmp(expected.bytes, parts->public_key.bytes, KEY_SIZE) == 0;
}

static int read_text(int fd, struct key_text *ret_text)
{
	size_t size = 0;

	while (size < FILE_MAX) {
		ssize_t n = read(fd, ret_text->data + size, FILE_MAX - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) {
			ret_text->data[size] = '\0';
			return strlen(ret_text->data) == size ? 0 : -EBADMSG;
		}
		size += (size_t)n;
	}
	return -EBADMSG; /* longer than any key file */
}

static int check_private(int fd, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(err, -errno, "cannot examine the key file %s", path);
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return err_set(err, -EPERM,
			       "the key file %s can be accessed by others (mode %04o); if nobody "
			       "has read it, run: chmod 600 %s",
			       path, (unsigned)(st.st_mode & 07777), path);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return err_set(err, -EPERM, "the key file %s belongs to another user (uid %u)",
			       path, (unsigned)st.st_uid);
	return 0;
}

/* Reads any key file; a secret one must be private. */
static int load(const char *path, struct key_parts *ret_parts, struct err *err)
{
	COVEY_CLEANUP(key_text_wipe) struct key_text text;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int r;

	if (fd < 0)
		return err_errno(err, -errno, "cannot open the key file %s", path);
	sodium_ready();
	r = read_text(fd, &text);
	if (r == 0)
		r = parse(&text, ret_parts);
	if (r == -EBADMSG)
		return err_set(err, r, "%s is not a key file of Covey", path);
	if (r < 0)
		return err_errno(err, r, "cannot read the key file %s", path);
	if (kinds[ret_parts->kind].secret_size > 0) {
		r = check_private(fd, path, err);
		if (r < 0)
			return r;
	}
	if (!halves_match(ret_parts))
		return err_set(err, -EBADMSG,
			       "the key file %s is damaged: its two halves do not match", path);
	return 0;
}

static int load_kind(const char *path, enum key_kind kind, struct key_parts *ret_parts,
		     struct err *err)
{
	int r = load(path, ret_parts, err);

	if (r == 0 && ret_parts->kind != kind)
		r = err_set(err, -EBADMSG, "%s holds a \"%s\", but a \"%s\" is needed", path,
			    kinds[ret_parts->kind].title, kinds[kind].title);
	return r;
}

int keyfile_load_link(const char *path, struct link_key *ret_key, struct err *err)
{
	COVEY_CLEANUP(key_parts_wipe) struct key_parts parts = {0};
	int r = load_kind(path, KIND_LINK, &parts, err);

	*ret_key = (struct link_key){0};
	if (r == 0) {
		ret_key->public_key = parts.public_key;
		memcpy(ret_key->secret, parts.secret, sizeof(ret_key->secret));
	}
	return r;
}

int keyfile_load_sign(const char *path, struct sign_key *ret_key, struct err *err)
{
	COVEY_CLEANUP(key_parts_wipe) struct key_parts parts = {0};
	int r = load_kind(path, KIND_SIGN, &parts, err);

	*ret_key = (struct sign_key){0};
	if (r == 0) {
		ret_key->public_key = parts.public_key;
		memcpy(ret_key->secret, parts.secret, sizeof(ret_key->secret));
	}
	return r;
}

int keyfile_load_public(const char *path, struct public_key *ret_key, struct err *err)
{
	COVEY_CLEANUP(key_parts_wipe) struct key_parts parts = {0};
	int r = load(path, &parts, err);

	*ret_key = (struct public_key){0};
	if (r == 0)
		*ret_key = parts.public_key;
	return r;
}

/* ---- ensure: whoever comes second uses the first one's key ---- */

int keyfile_ensure_link(const char *path, struct link_key *ret_key, struct err *err)
{
	struct link_key key;
	int r = keyfile_load_link(path, ret_key, err);

	if (r != -ENOENT)
		return r;
	link_key_generate(&key);
	r = keyfile_create_link(path, &key, err);
	link_key_wipe(&key);
	return r < 0 && r != -EEXIST ? r : keyfile_load_link(path, ret_key, err);
}

int keyfile_ensure_sign(const char *path, struct sign_key *ret_key, struct err *err)
{
	struct sign_key key;
	int r = keyfile_load_sign(path, ret_key, err);

	if (r != -ENOENT)
		return r;
	sodium_ready();
	crypto_sign_keypair(key.public_key.bytes, key.secret);
	r = keyfile_create_sign(path, &key, err);
	sign_key_wipe(&key);
	return r < 0 && r != -EEXIST ? r : keyfile_load_sign(path, ret_key, err);
}
