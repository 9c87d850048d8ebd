/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Join tokens. `create` prints the join string and nothing else, so that it can be piped into
 * `covey-agent join -` without ever being an argument of a process.
 */
#include "coordinator/cli/cmd.h"

static const struct column columns[] = {
    {"ID", "id", COLUMN_TEXT, false},
    {"LABELS", "labels", COLUMN_LABELS, false},
    {"USES LEFT", "uses_left", COLUMN_TEXT, false},
    {"EXPIRES", "expires_at", COLUMN_AGE, false},
    {"APPROVAL", "approval", COLUMN_TEXT, true},
    {0},
};

int cmd_token_create(struct cli *cli)
{
	const struct options *o = &cli->options;
	AUTO_JSON json_t *labels = json_object();
	AUTO_JSON json_t *answer = NULL;
	AUTO_STR struct str join = {0};
	int code = cmd_parse_labels(cli, o->labels.items, o->labels.count, labels);

	if (code != EXIT_DONE)
		return code;
	if (!o->uses || !o->ttl_ms)
		return cli_fail(
		    cli, EXIT_USAGE,
		    "a token with --uses 0 or --ttl 0 lets nobody join; write at least 1 and 1s");
	code =
	    client_simple(cli, "token.create",
	                  json_pack("{sOsIsIsb}", "labels", labels, "ttl_ms", (json_int_t)o->ttl_ms,
	                            "uses", (json_int_t)o->uses, "approval", o->approval),
	                  &answer);
	if (code != EXIT_DONE)
		return code;
	if (o->output == OUTPUT_JSON) {
		output_json(&cli->out, answer);
		return EXIT_DONE;
	}
	output_safe(&join, output_text(answer, "join"), false);
	fprintf(cli->out.file, "%s\n", str_get(&join));
	return EXIT_DONE;
}

int cmd_token_ls(struct cli *cli)
{
	return cmd_list(cli, "token.ls", NULL, columns,
	                "there is no token; `covey token create` makes one");
}

int cmd_token_rm(struct cli *cli)
{
	return cmd_act(cli, "token.rm", cmd_body_of_arg(cli, "id"), "token %s is no longer good",
	               cli->options.args[0]);
}
