/* SPDX-License-Identifier: Apache-2.0 */
/* The fleet at a glance: status, events, logs, the brake for everything, versions. */
#include "coordinator/cli/cmd.h"

#include <string.h>

enum { EVENTS_RETRIES = 60, EVENTS_RETRY_MS = 1000 };

static const struct column event_columns[] = {
    {"AT", "at", COLUMN_TEXT, false},
    {"KIND", "kind", COLUMN_TEXT, false},
    {"DEPLOYMENT", "deployment", COLUMN_TEXT, false},
    {"NODE", "node", COLUMN_TEXT, false},
    {"ROLLOUT", "rollout", COLUMN_SHORT, true},
    {"TEXT", "text", COLUMN_TEXT, false},
    {0},
};

int cmd_status(struct cli *cli)
{
	AUTO_JSON json_t *status = NULL;
	const json_t *nodes;
	int code = client_simple(cli, "status", NULL, &status);

	if (code != EXIT_DONE)
		return code;
	if (cli->options.output == OUTPUT_JSON) {
		output_json(&cli->out, status);
		return EXIT_DONE;
	}
	nodes = output_member(status, "nodes");
	fprintf(cli->out.file, "nodes: %lld, %lld online, %lld unreachable\n",
	        (long long)json_integer_value(output_member(nodes, "total")),
	        (long long)json_integer_value(output_member(nodes, "online")),
	        (long long)json_integer_value(output_member(nodes, "unreachable")));
	if (json_is_true(output_member(status, "frozen")))
		fputs("frozen: no rollout goes on; `covey unfreeze` ends that\n", cli->out.file);
	fputc('\n', cli->out.file);
	output_table(&cli->out, cmd_deployment_columns, output_member(status, "deployments"),
	             "there is no deployment");
	fputc('\n', cli->out.file);
	output_table(&cli->out, cmd_rollout_columns, output_member(status, "rollouts"),
	             "no rollout is under way");
	return EXIT_DONE;
}

/* ---- events ---- */

static void print_event(struct cli *cli, const json_t *event)
{
	if (cli->options.output == OUTPUT_JSON) {
		output_json_line(&cli->out, event);
		return;
	}
	for (const struct column *c = event_columns; c->title; c++) {
		AUTO_STR struct str cell = {0};

		if (c->wide && cli->options.output != OUTPUT_WIDE)
			continue;
		output_cell(&cell, event, c, true);
		if (cell.size)
			fprintf(cli->out.file, "%s%s", c == event_columns ? "" : "  ",
			        str_get(&cell));
	}
	fputc('\n', cli->out.file);
	fflush(cli->out.file);
}

static json_int_t print_events(struct cli *cli, const json_t *events, json_int_t since)
{
	for (size_t i = 0; i < json_array_size(events); i++) {
		print_event(cli, json_array_get(events, i));
		since = json_integer_value(output_member(json_array_get(events, i), "seq"));
	}
	return since;
}

/* The next events; with *client NULL it connects first. */
static int poll_events(struct cli *cli, struct client **client, json_int_t since,
                       struct reply *ret_reply)
{
	int r = *client ? 0 : client_open(cli, client, &cli->err);

	if (r < 0)
		return r;
	return client_call(
	    *client, "events",
	    json_pack("{sIsI}", "since", since, "wait_ms", (json_int_t)LIMIT_POLL_WAIT_MS), NULL, 0,
	    LIMIT_POLL_WAIT_MS, ret_reply, &cli->err);
}

/* Until the coordinator is away for a minute: a restart of it is not the end of a log. */
static int follow_events(struct cli *cli, const json_t *first)
{
	COVEY_CLEANUP(client_free_p) struct client *client = NULL;
	json_int_t since = print_events(cli, first, 0);
	unsigned failures = 0;
	int r;

	while (failures < EVENTS_RETRIES) {
		AUTO_REPLY struct reply reply = {0};

		r = poll_events(cli, &client, since, &reply);
		if (r == 0 && reply.exit_code != EXIT_DONE)
			return client_reply_code(cli, &reply);
		if (r < 0 && client_exit_code(r) != EXIT_UNREACHABLE)
			return (int)client_exit_code(r);
		if (r == 0) {
			since = print_events(cli, reply.body, since);
			failures = 0;
			continue;
		}
		client_free(client);
		client = NULL;
		failures++;
		usleep(EVENTS_RETRY_MS * 1000);
	}
	return EXIT_UNREACHABLE;
}

int cmd_events(struct cli *cli)
{
	AUTO_JSON json_t *events = NULL;
	json_int_t lines = cli->options.lines ? (json_int_t)cli->options.lines : 100;
	int code = client_simple(cli, "events", json_pack("{sI}", "limit", lines), &events);

	if (code != EXIT_DONE)
		return code;
	if (cli->options.follow)
		return follow_events(cli, events);
	if (cli->options.output == OUTPUT_JSON)
		output_json(&cli->out, events);
	else
		output_table(&cli->out, event_columns, events, "nothing has happened yet");
	return EXIT_DONE;
}

/* ---- logs ---- */

int cmd_logs(struct cli *cli)
{
	const struct options *o = &cli->options;
	AUTO_JSON json_t *answer = NULL;
	AUTO_STR struct str text = {0};
	json_int_t lines = o->lines ? (json_int_t)o->lines : LIMIT_LOG_TAIL_LINES;
	int code = client_simple(
	    cli, "logs",
	    json_pack("{sssssI}", "node", o->args[0], "deployment", o->args[1], "lines", lines),
	    &answer);

	if (code != EXIT_DONE)
		return code;
	if (o->output == OUTPUT_JSON) {
		output_json(&cli->out, answer);
		return EXIT_DONE;
	}
	output_safe(&text, output_text(answer, "text"), true);
	if (text.size && text.data[text.size - 1] != '\n')
		str_add(&text, "\n");
	fputs(str_get(&text), cli->out.file);
	return EXIT_DONE;
}

/* ---- the brake ---- */

int cmd_freeze(struct cli *cli)
{
	return cmd_act(cli, "freeze", NULL,
	               "every rollout stands still; `covey unfreeze` ends that");
}

int cmd_unfreeze(struct cli *cli)
{
	return cmd_act(cli, "unfreeze", NULL, "rollouts go on");
}

/* A version is worth knowing without a coordinator, too; scripts use this verb to see whether it
 * answers, so the exit code still says that it did not. */
int cmd_version(struct cli *cli)
{
	AUTO_JSON json_t *answer = NULL;
	AUTO_JSON json_t *both = NULL;
	int code = client_simple(cli, "version", NULL, &answer);

	both = json_pack("{ssso?}", "version", COVEY_VERSION, "coordinator",
	                 code == EXIT_DONE ? json_incref(answer) : NULL);
	if (cli->options.output == OUTPUT_JSON)
		output_json(&cli->out, both);
	else
		fprintf(cli->out.file, "covey %s\n", COVEY_VERSION);
	if (code == EXIT_DONE && cli->options.output != OUTPUT_JSON) {
		AUTO_STR struct str text = {0};

		output_safe(&text, output_text(answer, "version"), false);
		fprintf(cli->out.file, "coordinator %s, protocol %lld\n", str_get(&text),
		        (long long)json_integer_value(output_member(answer, "protocol")));
	}
	return code;
}
