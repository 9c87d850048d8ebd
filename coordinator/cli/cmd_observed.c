/* SPDX-License-Identifier: Apache-2.0 */
/* What model servers say about their requests. */
#include "coordinator/cli/cmd.h"

static const struct column columns[] = {
    {"RECEIVED", "received_at", COLUMN_AGE, false},
    {"NODE", "node", COLUMN_TEXT, false},
    {"RELEASE", "release", COLUMN_TEXT, false},
    {"SLOT", "slot", COLUMN_TEXT, false},
    {"ATTEMPTED", "attempted", COLUMN_TEXT, false},
    {"OK", "ok", COLUMN_TEXT, false},
    {"ERRORS", "errors", COLUMN_TEXT, false},
    {"TIMEOUTS", "timeouts", COLUMN_TEXT, false},
    {"CRASHES", "crashes", COLUMN_TEXT, false},
    {"INVALID", "invalid", COLUMN_TEXT, false},
    {"WRONG", "labels_wrong", COLUMN_TEXT, false},
    {"FEATURES", "features", COLUMN_COUNT, true},
    {"RUBBISH", "rubbish", COLUMN_TEXT, true},
    {"DROPPED", "dropped", COLUMN_TEXT, true},
    {"PERIODS", "periods", COLUMN_TEXT, true},
    {"BASELINE", "baseline", COLUMN_SHORT, true},
    {0},
};

int cmd_observations(struct cli *cli)
{
	json_t *body = cmd_body_of_arg(cli, "deployment");

	if (cli->options.lines)
		json_object_set_new(body, "limit", json_integer((json_int_t)cli->options.lines));
	return cmd_list(cli, "observations", body, columns,
	                "its servers have said nothing yet: covey-observe(7) shows how they do");
}
