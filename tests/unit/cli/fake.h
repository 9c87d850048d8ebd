/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A coordinator that keeps objects, releases and a script of rollout states, in a thread of its
 * own, over the real transport (ipc, or TCP with CURVE and ZAP). It speaks docs/PROTOCOL.md and
 * nothing of the coordinator's own code. Also: running the real `covey` and keeping what it
 * printed.
 */
#pragma once

#include "base/mem.h"
#include "base/str.h"
#include "covey/ids.h"
#include "protocol/transport/keyfile.h"

#include <jansson.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <sys/types.h>

enum { FAKE_STATES_MAX = 32 };

struct fake;

struct fake_setup {
	const char *folder;         /* ipc: FOLDER/socket; NULL with curve */
	bool curve;                 /* on a free port of loopback */
	int base_port;              /* curve: operators' channel at base_port + 3 */
	struct link_key server;     /* curve */
	struct public_key admitted; /* curve: the operator's key */
};

struct fake *fake_start(const struct fake_setup *setup);
void fake_stop(struct fake *fake);

/* How often a verb was asked. */
unsigned fake_count(struct fake *fake, const char *verb);
/* The body of the last request of a verb; owned by the caller; NULL: never. */
json_t *fake_last(struct fake *fake, const char *verb);
/* A canned answer for a verb from now on; exit_code 0: body is JSON text, else the error. */
void fake_answer(struct fake *fake, const char *verb, int exit_code, const char *text);
/* rollout.show goes through these states one by one (JSON texts); the last one stays. */
void fake_script(struct fake *fake, const char *const *states, size_t count);
/* rollout.show with nothing new is not answered, like a long poll that waits. */
void fake_hold(struct fake *fake, bool hold);
/* After so many object.put the fake answers no more, as if it had died; 0: never. */
void fake_mute_after_puts(struct fake *fake, unsigned count);
size_t fake_objects(struct fake *fake);
uint64_t fake_object_bytes(struct fake *fake);
/* Flips a bit in the largest object. */
void fake_damage(struct fake *fake);
/* Replaces the stored manifest by another's bytes: offset byte flipped. */
void fake_damage_manifest(struct fake *fake);

/* ---- the program ---- */

struct ran {
	int code;
	char *out, *err;
};

/* Runs covey with the arguments (split at blanks; no quoting) in an environment that holds only
 * PATH, COVEY_HOME=home, LC_ALL and the extra `NAME=value` (may be NULL). */
struct ran run_covey(const char *home, const char *extra_env, const char *arguments, ...)
    __attribute__((format(printf, 3, 4)));
/* The same in two halves; between them the caller may signal the process. terminal: a descriptor of
 * a pseudo terminal that becomes stdin, stdout and stderr, -1: none; what it shows stays there. */
struct running {
	pid_t pid;
	int out, err;
};
struct running start_covey(const char *home, const char *extra_env, int terminal,
                           const char *arguments, ...) __attribute__((format(printf, 4, 5)));
struct ran finish_covey(struct running *running);
void ran_free(struct ran *ran);
/* The exit code is `code`, and stderr holds `text` (NULL: is empty). */
#define assert_ran(ran, wanted, text) check_ran(&(ran), (wanted), (text), __FILE__, __LINE__)
void check_ran(const struct ran *ran, int code, const char *text, const char *file, int line);

/* ---- folders and files of a test ---- */

char *temp_folder(void);
void remove_folder(char *folder); /* frees the name, too */
void write_file(const char *path, const void *data, size_t size);
void write_textf(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));
