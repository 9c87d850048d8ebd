/* SPDX-License-Identifier: Apache-2.0 */
/* Rollouts under way and past: to look at, and the operator's six words for them. */
#include "base/clock.h"
#include "coordinator/cli/cmd.h"
#include "coordinator/cli/follow.h"
#include "coordinator/cli/tree.h"

#include <string.h>

const struct column cmd_rollout_columns[] = {
    {"ID", "id", COLUMN_SHORT, false},        {"DEPLOYMENT", "deployment", COLUMN_TEXT, false},
    {"STATE", "state", COLUMN_STATE, false},  {"FROM", "from", COLUMN_TEXT, false},
    {"TO", "to", COLUMN_TEXT, false},         {"STARTED", "started_at", COLUMN_AGE, false},
    {"ENDED", "ended_at", COLUMN_AGE, false},
    {0},
};

static const struct column details[] = {
    {"started", "started_at", COLUMN_TEXT, false},
    {"ended", "ended_at", COLUMN_TEXT, false},
    {"paused for", "paused_seconds", COLUMN_TEXT, true},
    {"failed on", "reason.node", COLUMN_TEXT, false},
    {0},
};

int cmd_rollout_ls(struct cli *cli)
{
	json_t *body = cli->options.args_count ? cmd_body_of_arg(cli, "deployment") : NULL;

	return cmd_list(cli, "rollout.ls", body, cmd_rollout_columns,
	                "there was no rollout; `covey apply -f FILE` starts one");
}

/* The last lines of a failed node's container, below the tree. */
static void print_logs(struct cli *cli, const json_t *rollout)
{
	const json_t *nodes = output_member(rollout, "nodes");

	for (size_t i = 0; i < json_array_size(nodes); i++) {
		const json_t *node = json_array_get(nodes, i);
		const char *name = output_text(node, "name");
		const char *log = output_text(node, "reason.log");
		AUTO_STR struct str text = {0};

		if (!*log)
			continue;
		str_add(&text, "\nlast lines on ");
		output_safe(&text, *name ? name : output_text(node, "node"), false);
		str_add(&text, ":\n");
		output_safe(&text, log, true);
		fprintf(cli->out.file, "%s%s", str_get(&text),
		        text.data[text.size - 1] == '\n' ? "" : "\n");
	}
}

int cmd_rollout_show(struct cli *cli)
{
	COVEY_CLEANUP(tree_free_p) struct tree *tree = NULL;
	AUTO_JSON json_t *rollout = NULL;
	AUTO_STR struct str text = {0};
	int code = client_simple(cli, "rollout.show", cmd_body_of_arg(cli, "rollout"), &rollout);

	if (code != EXIT_DONE)
		return code;
	if (cli->options.output == OUTPUT_JSON) {
		output_json(&cli->out, rollout);
		return EXIT_DONE;
	}
	tree = tree_new(cli->out.file, false, cli->out.color);
	tree_draw(tree, rollout, clock_unix_ms(), 1000, 1000000, &text);
	fputs(str_get(&text), cli->out.file);
	output_object(&cli->out, details, rollout);
	print_logs(cli, rollout);
	return EXIT_DONE;
}

int cmd_rollout_watch(struct cli *cli)
{
	return follow_rollout(cli, cli->options.args[0],
	                      cli->options.output == OUTPUT_JSON ? FOLLOW_STREAM : FOLLOW_PEOPLE);
}

static int act(struct cli *cli, const char *verb, json_t *body, const char *done)
{
	return cmd_act(cli, verb, body, "rollout %s %s", cli->options.args[0], done);
}

int cmd_rollout_pause(struct cli *cli)
{
	return act(cli, "rollout.pause", cmd_body_of_arg(cli, "rollout"),
	           "is paused; `covey rollout resume` lets it go on");
}

int cmd_rollout_resume(struct cli *cli)
{
	return act(cli, "rollout.resume", cmd_body_of_arg(cli, "rollout"), "goes on");
}

int cmd_rollout_promote(struct cli *cli)
{
	return act(cli, "rollout.promote",
	           json_pack("{sssb}", "rollout", cli->options.args[0], "full", cli->options.full),
	           cli->options.full ? "goes to all nodes now" : "goes to the next stage now");
}

int cmd_rollout_abort(struct cli *cli)
{
	if (!cli_confirm(cli, "abort the rollout and take every changed node back?"))
		return cli_fail(cli, EXIT_ERROR, "nothing was changed");
	return act(cli, "rollout.abort", cmd_body_of_arg(cli, "rollout"),
	           "is aborted; changed nodes go back now");
}

int cmd_rollout_retry(struct cli *cli)
{
	json_t *body = cmd_body_of_arg(cli, "rollout");
	AUTO_JSON json_t *answer = NULL;
	int code;

	if (cli->options.args_count > 1)
		json_object_set_new(body, "node", json_string(cli->options.args[1]));
	code = client_simple(cli, "rollout.retry", body, &answer);
	if (code == EXIT_DONE)
		cmd_print_begun(cli, answer);
	return code;
}

int cmd_rollout_undo(struct cli *cli)
{
	AUTO_JSON json_t *answer = NULL;
	char id[ROLLOUT_ID_TEXT_MAX];
	int code;

	if (!cli_confirm(cli, "roll out the release before this rollout again?"))
		return cli_fail(cli, EXIT_ERROR, "nothing was changed");
	code = client_simple(cli, "rollout.undo", cmd_body_of_arg(cli, "rollout"), &answer);
	if (code != EXIT_DONE)
		return code;
	STR_CUT(id, output_text(answer, "rollout"));
	if (!cli->options.detach)
		return follow_rollout(
		    cli, id, cli->options.output == OUTPUT_JSON ? FOLLOW_RESULT : FOLLOW_PEOPLE);
	cmd_print_begun(cli, answer);
	return EXIT_DONE;
}
