/* SPDX-License-Identifier: Apache-2.0 */
/* The node's own commands. Each verb is a function that parses its own arguments (argv[0] is the
 * verb) and returns the program's exit code: 0, 1 an error, 2 bad usage. */
#pragma once

#include "agent/config.h"
#include "base/str.h"
#include "covey/report.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

enum cli_output { CLI_TABLE, CLI_JSON };

struct cli_options { /* what verbs share */
	const char *config_path; /* NULL: the default, which may be missing */
	enum cli_output output;
	const char *file, *name; /* join */
	bool from_stdin, rejoin; /* join */
	bool keep; /* leave: root.doc stays */
};

int cli_join(const struct cli_options *options, const struct agent_config *config);
int cli_leave(const struct cli_options *options, const struct agent_config *config);
int cli_status(const struct cli_options *options, const struct agent_config *config);
int cli_health(const struct cli_options *options, const struct agent_config *config);
int cli_peers(const struct cli_options *options, const struct agent_config *config);
int cli_history(const struct cli_options *options, const struct agent_config *config);

/* One sentence on stderr; returns CLI_FAILED. */
int cli_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Text from outside, fit for a terminal: control characters become '?'. */
void cli_add_plain(struct str *out, const char *text);
/* A JSON string with its quotes. */
void cli_add_json(struct str *out, const char *text);
/* "null" for zero. */
void cli_add_digest_json(struct str *out, const struct digest *digest);
/* First 12 hex digits, "-" for zero. */
void cli_short_digest(char dst[16], const struct digest *digest);

extern const char *const cli_outcomes[], *const cli_node_states[], *const cli_slot_states[];

/* Joining without its output: tests use it with sockets of their own. */
int join_run(const char *join_text, const char *name, bool rejoin,
	     const struct agent_config *config, struct err *err) COVEY_MUST_CHECK;
/* Removes what joining and serving left in files; root.doc only when it is not to be kept. */
int leave_clean(const struct agent_config *config, bool keep_root,
		struct err *err) COVEY_MUST_CHECK;
