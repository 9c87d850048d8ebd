/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets share. A target is one file with LLVMFuzzerTestOneInput(): it hands the
 * input to one parser as the product does, and asserts what must hold of whatever the parser
 * accepts. meson builds it for libFuzzer, for AFL++, or as a program that replays files
 * (tests/fuzz/README.md).
 */
#pragma once

#include "base/cleanup.h"
#include "covey/ids.h"
#include "protocol/manifest.h"

#include <assert.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An input of several parts has them separated by a line of its own that holds only %%. */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

struct bytes fuzz_part(struct fuzz_input *input); /* borrowed; empty at the end */
/* The next part as a text, cut at its first NUL. Owned by the caller. */
char *fuzz_text(struct fuzz_input *input);
/* One byte off the front; 0 at the end. */
uint8_t fuzz_byte(struct fuzz_input *input);

/*
 * Puts the process into namespaces of its own (user where it is not root's, mounts, network) with
 * an empty tmpfs on FUZZ_DIR, so that whatever a target writes is gone with it. Call it from
 * LLVMFuzzerInitialize(). Where that is not allowed the program ends with 77: skipped.
 */
#define FUZZ_DIR "/mnt"
void fuzz_jail(void);
/* Makes or replaces FUZZ_DIR/name with mode 0600 and returns its path, valid until the next call
 * with this name. */
const char *fuzz_file(const char *name, const void *data, size_t size);

/* From now on libsodium's random numbers are the same whenever an input is tried. */
void fuzz_fixed_random(void);

/* The same keys in every run: number 0 signs roots, releases and identities of fuzz_root(). */
const struct sign_key *fuzz_key(unsigned number);
const struct root_document *fuzz_root(void);
/* An encoded envelope over the payload, signed by that key. Owned by the caller. */
struct bytes fuzz_sign(struct bytes payload, enum signed_purpose purpose, unsigned key);

/* Decodes; what is accepted must encode, and decode to the same again. */
void fuzz_round_trip(const struct codec_struct *type, const void *data, size_t size, size_t max);
/* The same for an object that is there already. */
void fuzz_encodes(const struct codec_struct *type, const void *object, size_t max);
