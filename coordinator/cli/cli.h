/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line as a whole: one invocation (`struct cli`), and what a verb is. A verb's run()
 * returns an exit code of the operator's contract; where that is not 0 it has left one sentence in
 * cli->err, which cli_main() prints once. Nothing else writes to stderr but progress and questions.
 */
#pragma once

#include "base/err.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/output.h"

#include <jansson.h>

enum exit_code {
	EXIT_DONE = 0, /* done and healthy */
	EXIT_ERROR = 1,
	EXIT_USAGE = 2, /* bad usage or bad file */
	EXIT_ROLLED_BACK = 3,
	EXIT_ABORTED = 4,     /* by an operator */
	EXIT_WAITING = 5,     /* for a person: paused, stuck */
	EXIT_TIMEOUT = 6,     /* while following */
	EXIT_UNREACHABLE = 7, /* no coordinator */
};

struct cli {
	struct options options;
	struct output out;
	struct err err;
};

struct verb {
	const char *words; /* "node ls", "plan" */
	const char *args;  /* for people: "NODE KEY=VALUE... KEY-..." */
	unsigned args_min, args_max;
	uint64_t options; /* OPT() of what it takes beyond OPTIONS_COMMON */
	int (*run)(struct cli *cli);
	const char *help; /* one line */
};

/* Ends with words == NULL. */
extern const struct verb verbs[];

/* Everything from the arguments to the exit code. */
int cli_main(int argc, char **argv);

/* Leaves the sentence and returns the code, so that a verb can say `return cli_fail(...)`. */
int cli_fail(struct cli *cli, enum exit_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Asks on a terminal; true without a question with -y or where there is no terminal. */
bool cli_confirm(struct cli *cli, const char *question);

/* The folder of this operator's keys: COVEY_HOME or ~/.config/covey. Owned by the caller. */
char *cli_home(const struct cli *cli);
/* A file in it. Owned by the caller. */
char *cli_home_file(const struct cli *cli, const char *name);
