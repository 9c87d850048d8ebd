/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One parser for every verb's options, driven by one table: name, letter, kind, place in struct
 * options, help. Each option is also an environment variable: COVEY_ and its name in capitals
 * (--allow-removal: COVEY_ALLOW_REMOVAL); what is written on the command line wins.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_id {
	OPTION_COORDINATOR,
	OPTION_HOME,
	OPTION_OUTPUT,
	OPTION_COLOR,
	OPTION_TIMEOUT,
	OPTION_HELP,
	OPTION_SELECTOR,
	OPTION_YES,
	OPTION_DETACH,
	OPTION_FILE,
	OPTION_FOLLOW,
	OPTION_ARCH,
	OPTION_DIR,
	OPTION_ENDPOINT,
	OPTION_LABEL,
	OPTION_TTL,
	OPTION_USES,
	OPTION_APPROVAL,
	OPTION_LINES,
	OPTION_FULL,
	OPTION_SUPERSEDE,
	OPTION_ALLOW_REMOVAL,
	OPTION_RATE,
	OPTION_ORIGIN_RATE,
	OPTION_OUT,
	OPTION_SCHEMA,
	OPTION_BINS,
	OPTION_COUNT
};

#define OPT(name) (UINT64_C(1) << OPTION_##name)
#define OPTIONS_COMMON \
	(OPT(COORDINATOR) | OPT(HOME) | OPT(OUTPUT) | OPT(COLOR) | OPT(TIMEOUT) | OPT(HELP))

enum output_format { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON };
enum color_when { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

enum { OPTION_LIST_MAX = 64, OPTION_ARGS_MAX = 256 };

struct option_list {
	const char *items[OPTION_LIST_MAX];
	size_t count;
};

struct options {                 /* texts are borrowed from argv and the environment */
	const char *coordinator; /* NULL: from fleet.conf, else the local socket */
	const char *home;
	enum output_format output;
	enum color_when color;
	uint64_t timeout_ms; /* 0: not given */
	bool help;
	const char *selector;
	bool yes;
	bool detach;
	const char *file;
	bool follow;
	const char *arch;
	const char *dir;
	const char *endpoint;
	struct option_list labels; /* "key=value" each */
	uint64_t ttl_ms;
	uint64_t uses;
	bool approval;
	uint64_t lines;
	bool full;
	bool supersede;
	bool allow_removal;
	uint64_t rate, origin_rate; /* bytes a second; 0: not given */
	const char *out; /* NULL: standard output */
	const char *schema;
	uint64_t bins;
	const char *args[OPTION_ARGS_MAX]; /* what is not an option, in order */
	size_t args_count;
};

/* Every default. */
void options_init(struct options *options);
/* Takes the environment variables of the accepted options. */
int options_environment(struct options *options, uint64_t accepted,
                        struct err *err) COVEY_MUST_CHECK;
/*
 * Reads argv[*at ...]; with stop_at_word it ends before the first word that is not an option, and
 * *at says where. Values as `-o json`, `-ojson`, `--output json`, `--output=json`; `--` ends the
 * options. -EINVAL with a sentence that names the option and what it takes.
 */
int options_parse(struct options *options, uint64_t accepted, bool stop_at_word, int argc,
                  char **argv, int *at, struct err *err) COVEY_MUST_CHECK;
/* One line for each accepted option, for --help. */
void options_describe(uint64_t accepted, FILE *out);
