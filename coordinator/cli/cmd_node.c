/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes: who is there, what runs on them, and whether new work may come. */
#include "coordinator/cli/cmd.h"
#include "base/mem.h"
#include "base/selector.h"

#include <string.h>

static const struct column columns[] = {
    {"NAME", "name", COLUMN_TEXT, false},          {"STATE", "state", COLUMN_STATE, false},
    {"SLOTS", "slots", COLUMN_SLOTS, false},       {"LABELS", "labels", COLUMN_LABELS, false},
    {"LAST SEEN", "last_seen", COLUMN_AGE, false}, {"ID", "id", COLUMN_SHORT, true},
    {"AGENT", "agent_version", COLUMN_TEXT, true}, {0},
};

static const struct column details[] = {
    {"name", "name", COLUMN_TEXT, false},
    {"id", "id", COLUMN_TEXT, false},
    {"state", "state", COLUMN_STATE, false},
    {"labels", "labels", COLUMN_LABELS, false},
    {"last seen", "last_seen", COLUMN_AGE, false},
    {"joined", "joined_at", COLUMN_AGE, false},
    {"agent", "agent_version", COLUMN_TEXT, false},
    {"link key", "link_key", COLUMN_TEXT, true},
    {"host", "inventory.hostname", COLUMN_TEXT, false},
    {"system", "inventory.os", COLUMN_TEXT, false},
    {"architecture", "inventory.arch", COLUMN_TEXT, false},
    {"kernel", "inventory.kernel", COLUMN_TEXT, true},
    {"runtime", "inventory.runtime", COLUMN_TEXT, false},
    {"cpus", "inventory.cpus", COLUMN_TEXT, false},
    {"memory", "inventory.memory_bytes", COLUMN_BYTES, false},
    {"disk free", "inventory.disk_free_bytes", COLUMN_BYTES, false},
    {"slots", "slots", COLUMN_SLOTS, false},
    {"exchange", "peers.state", COLUMN_STATE, false},
    {"peer address", "peers.endpoint", COLUMN_TEXT, false},
    {"not open", "peers.problem", COLUMN_TEXT, false},
    {0},
};

static const struct column trouble_columns[] = {
    {"PEER", "by", COLUMN_TEXT, false},
    {"SAYS", "fault", COLUMN_STATE, false},
    {"WHEN", "at", COLUMN_AGE, false},
    {"TEXT", "text", COLUMN_TEXT, false},
    {0},
};

static const struct column deployment_columns[] = {
    {"DEPLOYMENT", "deployment", COLUMN_TEXT, false},
    {"STATE", "state", COLUMN_STATE, false},
    {"RELEASE", "release", COLUMN_TEXT, false},
    {"ROLLOUT", "rollout", COLUMN_SHORT, true},
    {"HEALTHY", "healthy", COLUMN_TEXT, false},
    {"REASON", "reason.text", COLUMN_TEXT, false},
    {0},
};

static int by_name(const void *a, const void *b)
{
	return strverscmp(output_text(*(json_t *const *)a, "name"),
	                  output_text(*(json_t *const *)b, "name"));
}

/* n2 before n10. */
static json_t *sorted_by_name(const json_t *nodes)
{
	size_t count = json_array_size(nodes);
	AUTO_FREE json_t **items = mem_array(count, sizeof(*items));
	json_t *sorted = json_array();

	for (size_t i = 0; i < count; i++)
		items[i] = json_array_get(nodes, i);
	if (count)
		qsort(items, count, sizeof(*items), by_name);
	for (size_t i = 0; i < count; i++)
		json_array_append(sorted, items[i]);
	return sorted;
}

int cmd_node_ls(struct cli *cli)
{
	AUTO_JSON json_t *nodes = NULL;
	AUTO_JSON json_t *sorted = NULL;
	json_t *body = json_object();
	int code;

	if (cli->options.selector) {
		if (selector_check(cli->options.selector, &cli->err) < 0) {
			json_decref(body);
			err_prefix(&cli->err, -EINVAL, "--selector `%s`", cli->options.selector);
			return EXIT_USAGE;
		}
		json_object_set_new(body, "selector", json_string(cli->options.selector));
	}
	code = client_simple(cli, "node.ls", body, &nodes);
	if (code != EXIT_DONE)
		return code;
	sorted = sorted_by_name(nodes);
	if (cli->options.output == OUTPUT_JSON)
		output_json(&cli->out, sorted);
	else
		output_table(&cli->out, columns, sorted,
		             cli->options.selector
		                 ? "no node has these labels"
		                 : "no node has joined; `covey token create` lets one in");
	return EXIT_DONE;
}

int cmd_node_show(struct cli *cli)
{
	AUTO_JSON json_t *node = NULL;
	const json_t *deployments, *troubles;
	int code = client_simple(cli, "node.show", cmd_body_of_arg(cli, "node"), &node);

	if (code != EXIT_DONE)
		return code;
	if (cli->options.output == OUTPUT_JSON) {
		output_json(&cli->out, node);
		return EXIT_DONE;
	}
	output_object(&cli->out, details, node);
	deployments = output_member(node, "deployments");
	if (json_array_size(deployments)) {
		fputc('\n', cli->out.file);
		output_table(&cli->out, deployment_columns, deployments, "");
	}
	troubles = output_member(node, "peers.troubles");
	if (json_array_size(troubles)) {
		fputc('\n', cli->out.file);
		output_table(&cli->out, trouble_columns, troubles, "");
	}
	return EXIT_DONE;
}

/* NODE site=lyon gpu- : sets the one, removes the other. */
int cmd_node_label(struct cli *cli)
{
	const struct options *o = &cli->options;
	const char *const *args = o->args + 1;
	const char *pairs[OPTION_ARGS_MAX];
	AUTO_JSON json_t *set = json_object();
	AUTO_JSON json_t *gone = json_array();
	size_t pairs_count = 0;
	int code;

	for (size_t i = 0; i + 1 < o->args_count; i++) {
		size_t size = strlen(args[i]);

		if (size > 1 && args[i][size - 1] == '-' && !strchr(args[i], '='))
			json_array_append_new(gone, json_stringn(args[i], size - 1));
		else
			pairs[pairs_count++] = args[i];
	}
	code = cmd_parse_labels(cli, pairs, pairs_count, set);
	if (code != EXIT_DONE)
		return code;
	return cmd_act(cli, "node.label",
	               json_pack("{sssOsO}", "node", o->args[0], "set", set, "remove", gone),
	               "node %s has its new labels", o->args[0]);
}

static int act(struct cli *cli, const char *verb, const char *done)
{
	return cmd_act(cli, verb, cmd_body_of_arg(cli, "node"), "node %s %s", cli->options.args[0],
	               done);
}

int cmd_node_cordon(struct cli *cli)
{
	return act(cli, "node.cordon",
	           "takes part in no new rollout; `covey node uncordon` ends that");
}

int cmd_node_uncordon(struct cli *cli)
{
	return act(cli, "node.uncordon", "takes part in rollouts again");
}

int cmd_node_approve(struct cli *cli)
{
	return act(cli, "node.approve", "is a member of the fleet");
}

static int confirmed_act(struct cli *cli, const char *verb, const char *what, const char *done)
{
	char question[256];

	snprintf(question, sizeof(question), "%s node %.100s?", what, cli->options.args[0]);
	if (!cli_confirm(cli, question))
		return cli_fail(cli, EXIT_ERROR, "nothing was changed");
	return act(cli, verb, done);
}

int cmd_node_revoke(struct cli *cli)
{
	return confirmed_act(cli, "node.revoke", "no longer trust the keys of",
	                     "is no longer trusted; it must join again with a new token");
}

int cmd_node_rm(struct cli *cli)
{
	return confirmed_act(cli, "node.rm", "forget", "is forgotten");
}
