/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything here is the same in each run of an input: keys come from numbers, and no file of the
 * machine is read, so that a finding can be replayed anywhere.
 */
#include "fuzz.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec.h"

#include <fcntl.h>
#include <sched.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#define SEPARATOR "\n%%\n"

enum { KEYS = 3, SKIPPED = 77 };

struct bytes fuzz_part(struct fuzz_input *input)
{
	const size_t size = strlen(SEPARATOR);
	const uint8_t *end = input->left ? memmem(input->at, input->left, SEPARATOR, size) : NULL;
	struct bytes part = {(uint8_t *)(uintptr_t)input->at,
			     end ? (size_t)(end - input->at) : input->left};

	input->at += part.size + (end ? size : 0);
	input->left -= part.size + (end ? size : 0);
	return part;
}

char *fuzz_text(struct fuzz_input *input)
{
	struct bytes part = fuzz_part(input);
	size_t size = strnlen((const char *)part.data, part.size);
	char *text = mem_alloc(size + 1);

	if (size)
		memcpy(text, part.data, size);
	return text;
}

uint8_t fuzz_byte(struct fuzz_input *input)
{
	if (!input->left)
		return 0;
	input->left--;
	return *input->at++;
}

/* ---- files ---- */

static int write_text(const char *path, const char *text)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

/* In a user namespace of its own everybody is root; the ids outside do not matter. */
static int become_root(unsigned uid, unsigned gid)
{
	AUTO_FREE char *users = mem_format("0 %u 1", uid), *groups = mem_format("0 %u 1", gid);

	if (write_text("/proc/self/setgroups", "deny") < 0 ||
	    write_text("/proc/self/uid_map", users) < 0 ||
	    write_text("/proc/self/gid_map", groups) < 0)
		return -1;
	return 0;
}

void fuzz_jail(void)
{
	unsigned uid = getuid(), gid = getgid();
	int flags = CLONE_NEWNS | CLONE_NEWNET | (uid ? CLONE_NEWUSER : 0);

	if (unshare(flags) < 0 || (uid && become_root(uid, gid) < 0) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("fuzz", FUZZ_DIR, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=512m") < 0) {
		perror("no namespaces of our own, so nothing is tried");
		exit(SKIPPED);
	}
	setenv("TMPDIR", FUZZ_DIR, 1);
}

const char *fuzz_file(const char *name, const void *data, size_t size)
{
	static char path[256];
	AUTO_CLOSE int fd = -1;

	snprintf(path, sizeof(path), FUZZ_DIR "/%s", name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert(fd >= 0);
	assert(size == 0 || write(fd, data, size) == (ssize_t)size);
	return path;
}

/* ---- random numbers ---- */

static uint32_t random_state;

static const char *random_name(void)
{
	return "counter";
}

static uint32_t random_number(void)
{
	return random_state = random_state * 1664525u + 1013904223u;
}

static void random_bytes(void *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)data)[i] = (uint8_t)(random_number() >> 24);
}

void fuzz_fixed_random(void)
{
	static struct randombytes_implementation fixed = {
		.implementation_name = random_name, .random = random_number, .buf = random_bytes};
	int r = randombytes_set_implementation(&fixed);

	assert(r == 0);
	random_state = 1;
}

/* ---- signatures ---- */

const struct sign_key *fuzz_key(unsigned number)
{
	static struct sign_key keys[KEYS];

	assert(number < KEYS && sodium_init() >= 0);
	if (!keys[number].secret[0] && !keys[number].secret[1]) {
		uint8_t seed[crypto_sign_SEEDBYTES] = {(uint8_t)(number + 1)};

		crypto_sign_seed_keypair(keys[number].public_key.bytes, keys[number].secret, seed);
	}
	return &keys[number];
}

const struct root_document *fuzz_root(void)
{
	static struct public_key key;
	static struct root_document root = {.version = 1,
					    .release_threshold = 1,
					    .release_keys = &key,
					    .release_keys_count = 1,
					    .root_threshold = 1,
					    .root_keys = &key,
					    .root_keys_count = 1,
					    .endpoint = "tcp://127.0.0.1:7400"};

	key = root.online_key = fuzz_key(0)->public_key;
	memset(root.server_key.bytes, 7, sizeof(root.server_key.bytes));
	return &root;
}

struct bytes fuzz_sign(struct bytes payload, enum signed_purpose purpose, unsigned key)
{
	struct envelope envelope = {.payload = {mem_copy(payload.data, payload.size),
						payload.size}};
	struct bytes encoded = {0};
	int r;

	envelope_sign(&envelope, purpose, fuzz_key(key));
	r = codec_encode(&codec_envelope, &envelope, 2 * LIMIT_OBJECT, &encoded, NULL);
	assert(r == 0);
	codec_free(&codec_envelope, &envelope);
	return encoded;
}

/* ---- the codec ---- */

void fuzz_encodes(const struct codec_struct *type, const void *object, size_t max)
{
	AUTO_FREE void *again = mem_alloc(type->size);
	struct bytes once = {0}, twice = {0};
	struct err err = {0};
	int r = codec_encode(type, object, max, &once, &err);

	if (r == 0)
		r = codec_decode(type, once.data, once.size, again, &err);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", type->name, err.text);
		abort();
	}
	assert(codec_equal(type, object, again));
	r = codec_encode(type, again, max, &twice, NULL);
	assert(r == 0 && once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
	codec_free(type, again);
	free(once.data);
	free(twice.data);
}

void fuzz_round_trip(const struct codec_struct *type, const void *data, size_t size, size_t max)
{
	AUTO_FREE uint8_t *object = mem_alloc(type->size);

	if (size > max)
		return;
	if (codec_decode(type, data, size, object, NULL) == 0) {
		fuzz_encodes(type, object, 2 * max); /* floats may have come in four bytes */
		codec_free(type, object);
	}
	for (size_t i = 0; i < type->size; i++)
		assert(object[i] == 0);
}
