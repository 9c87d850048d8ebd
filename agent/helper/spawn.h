/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs another program and waits for it: no shell, no inherited descriptors beyond 0, 1 and 2, its
 * own time limit. For workers only: the resident helper never waits.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <sys/types.h>

enum { SPAWN_TIMED_OUT = -1000 };

struct spawn {
	const char *const *argv; /* argv[0] as spawn_find() takes it */
	const char *input;       /* text for its standard input, or NULL */
	const char *const *env;  /* "NAME=value" ... NULL, added to ours; or NULL */
	size_t output_max;   /* keep that many bytes of standard output and error, drop the rest */
	uint64_t timeout_ms; /* SIGKILL afterwards, whole process group */
	pid_t netns;         /* enters the network namespace of this process first; 0: stays */
};

/* Exit code (0..255, 128+n for signal n) in ret_code, what it printed in ret_output (may be NULL).
 * -ETIMEDOUT after the time limit; other errors: it could not be started. */
int spawn_run(const struct spawn *spawn, int *ret_code, struct str *ret_output,
              struct err *err) COVEY_MUST_CHECK;

/* As spawn_run; any exit code but 0 is -EIO with the last line of its output in the sentence. */
int spawn_check(const struct spawn *spawn, struct str *ret_output,
                struct err *err) COVEY_MUST_CHECK;

/* The absolute path of a program that is given by name or by path; names are looked up in the usual
 * folders, whatever our environment says. -ENOENT. */
int spawn_find(const char *program, char *dst, size_t dst_size, struct err *err) COVEY_MUST_CHECK;

/* The last line of a text that is not empty, as one printable line. */
void spawn_last_line(const char *text, char *dst, size_t dst_size);
