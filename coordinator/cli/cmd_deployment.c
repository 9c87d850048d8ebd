/* SPDX-License-Identifier: Apache-2.0 */
/* Deployments: what is declared, what serves, what changed. */
#include "coordinator/cli/cmd.h"

const struct column cmd_deployment_columns[] = {
    {"DEPLOYMENT", "deployment", COLUMN_TEXT, false},
    {"RELEASE", "release", COLUMN_TEXT, false},
    {"NODES", "nodes", COLUMN_TEXT, false},
    {"SELECTOR", "selector", COLUMN_TEXT, false},
    {"STRATEGY", "strategy", COLUMN_TEXT, false},
    {"ROLLOUT", "rollout", COLUMN_SHORT, false},
    {"CHANGED", "changed_at", COLUMN_AGE, false},
    {"DIGEST", "digest", COLUMN_SHORT, true},
    {0},
};

static const struct column details[] = {
    {"deployment", "deployment", COLUMN_TEXT, false},
    {"release", "release", COLUMN_TEXT, false},
    {"digest", "digest", COLUMN_TEXT, true},
    {"nodes", "nodes", COLUMN_TEXT, false},
    {"selector", "selector", COLUMN_TEXT, false},
    {"strategy", "strategy", COLUMN_TEXT, false},
    {"rollout", "rollout", COLUMN_TEXT, false},
    {"removing", "removing", COLUMN_TEXT, true},
    {"changed", "changed_at", COLUMN_AGE, false},
    {"declared", "spec", COLUMN_TEXT, true},
    {0},
};

int cmd_deployment_ls(struct cli *cli)
{
	return cmd_list(cli, "deployment.ls", NULL, cmd_deployment_columns,
	                "there is no deployment; `covey apply -f FILE` makes one");
}

int cmd_deployment_show(struct cli *cli)
{
	return cmd_object(cli, "deployment.show", cmd_body_of_arg(cli, "deployment"), details);
}

int cmd_deployment_history(struct cli *cli)
{
	return cmd_list(cli, "deployment.history", cmd_body_of_arg(cli, "deployment"),
	                cmd_rollout_columns, "this deployment had no rollout");
}

int cmd_deployment_rm(struct cli *cli)
{
	char question[256];

	snprintf(question, sizeof(question), "drain and remove deployment %.100s from every node?",
	         cli->options.args[0]);
	if (!cli_confirm(cli, question))
		return cli_fail(cli, EXIT_ERROR, "nothing was changed");
	return cmd_act(cli, "deployment.rm", cmd_body_of_arg(cli, "deployment"),
	               "deployment %s is being drained and removed", cli->options.args[0]);
}
