/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `plan` asks what would change and shows it; `apply` does the same, asks the person, starts the
 * rollout and follows it. Both read and check the file here first, and send it as the encoded
 * struct: the coordinator never parses YAML.
 */
#include "coordinator/cli/cmd.h"
#include "coordinator/cli/follow.h"
#include "coordinator/cli/yml_files.h"
#include "protocol/spec.h"

#include <string.h>

static int read_spec(struct cli *cli, struct bytes *ret_blob)
{
	struct deployment_spec spec = {0};
	int r;

	if (!cli->options.file)
		return cli_fail(cli, EXIT_USAGE, "no file is given; write -f deployment.yaml");
	r = deployment_file_read(cli->options.file, &spec, &cli->err);
	if (r < 0)
		return EXIT_USAGE;
	r = codec_encode(&codec_deployment_spec, &spec, LIMIT_CONTROL_MESSAGE / 2, ret_blob,
	                 &cli->err);
	deployment_spec_free(&spec);
	return r < 0 ? EXIT_USAGE : EXIT_DONE;
}

static int ask_plan(struct cli *cli, struct client *client, const struct bytes *blob,
                    json_t **ret_plan)
{
	AUTO_REPLY struct reply reply = {0};
	int code = client_ask(cli, client, "plan",
	                      json_pack("{sbsIsI}", "allow_removal", cli->options.allow_removal,
	                                "rate", (json_int_t)cli->options.rate, "origin_rate",
	                                (json_int_t)cli->options.origin_rate),
	                      blob, &reply);

	if (code == EXIT_DONE)
		*ret_plan = json_incref(reply.body);
	return code;
}

/* ---- for people ---- */

enum { NAMES_SHOWN = 12 };

static void add_names(struct str *s, const json_t *nodes)
{
	size_t count = json_array_size(nodes);

	for (size_t i = 0; i < count && i < NAMES_SHOWN; i++) {
		const json_t *node = json_array_get(nodes, i);
		const char *name =
		    json_is_string(node) ? json_string_value(node) : output_text(node, "node");

		str_add(s, i ? ", " : "");
		output_safe(s, name, false);
	}
	if (count > NAMES_SHOWN)
		str_addf(s, " and %zu more", count - NAMES_SHOWN);
}

static void print_stages(FILE *file, const json_t *stages)
{
	for (size_t i = 0; i < json_array_size(stages); i++) {
		const json_t *stage = json_array_get(stages, i);
		const json_t *nodes = output_member(stage, "nodes");
		char bake[STR_DURATION_MAX];
		AUTO_STR struct str line = {0};

		str_format_duration(bake,
		                    (uint64_t)json_integer_value(output_member(stage, "bake_ms")));
		str_addf(&line, "  stage %zu ", i + 1);
		output_safe(&line, output_text(stage, "name"), false);
		str_addf(&line, ": %zu node%s, bake %s: ", json_array_size(nodes),
		         json_array_size(nodes) == 1 ? "" : "s", bake);
		add_names(&line, nodes);
		fprintf(file, "%s\n", str_get(&line));
	}
}

static void print_excluded(FILE *file, const json_t *excluded)
{
	for (size_t i = 0; i < json_array_size(excluded); i++) {
		const json_t *node = json_array_get(excluded, i);
		AUTO_STR struct str line = {0};

		str_add(&line, "  left out: ");
		output_safe(&line, output_text(node, "node"), false);
		str_add(&line, ": ");
		output_safe(&line, output_text(node, "why"), false);
		fprintf(file, "%s\n", str_get(&line));
	}
}

static uint64_t most_of(const json_t *nodes, const char *name)
{
	uint64_t most = 0;

	for (size_t i = 0; i < json_array_size(nodes); i++) {
		uint64_t value = output_number(json_array_get(nodes, i), name);

		most = value > most ? value : most;
	}
	return most;
}

/* "3s", or nothing where it is not known. */
static const char *duration(const json_t *time, const char *name, char text[STR_DURATION_MAX])
{
	const json_t *ms = output_member(time, name);

	if (!json_is_integer(ms))
		return NULL;
	str_format_duration(text, (uint64_t)json_integer_value(ms));
	return text;
}

/* At what rates: as the operator said, or as they were measured. */
static void add_rates(struct str *s, const struct options *options, uint64_t origin_rate)
{
	char text[STR_SIZE_MAX];

	if (options->rate) {
		str_format_size(text, options->rate);
		str_addf(s, " at %s/s a link", text);
	} else {
		str_add(s, " at the rates that nodes had last");
	}
	if (origin_rate && origin_rate != options->rate) {
		str_format_size(text, origin_rate);
		str_addf(s, ", %s/s of the coordinator's", text);
	}
}

static void print_time(FILE *file, const json_t *plan, const struct options *options)
{
	const json_t *time = output_member(plan, "time");
	char exchange_text[STR_DURATION_MAX], alone_text[STR_DURATION_MAX];
	const char *exchange = duration(time, "exchange_ms", exchange_text);
	const char *alone = duration(time, "alone_ms", alone_text);
	uint64_t unknown = output_number(time, "rates_unknown");
	AUTO_STR struct str line = {0};

	if (!time || output_number(plan, "bytes_total") == 0)
		return;
	if (!exchange) {
		fprintf(file, "  time: not known before nodes have fetched for some seconds; "
		              "--rate says what links carry\n");
		return;
	}
	add_rates(&line, options, output_number(time, "origin_rate"));
	if (alone)
		str_addf(&line, ": %s where nodes exchange, %s from the coordinator alone",
		         exchange, alone);
	else
		str_addf(&line, ": at least %s, for the slowest of them", exchange);
	if (unknown)
		str_addf(&line, " (the rates of %llu are not known)", (unsigned long long)unknown);
	fprintf(file, "  time%s\n", str_get(&line));
}

/* A line for each node where they differ, one for all where they do not. */
static void print_node_bytes(FILE *file, const json_t *nodes)
{
	uint64_t most = most_of(nodes, "bytes");
	bool alike = true;
	char text[STR_SIZE_MAX];

	for (size_t i = 0; i < json_array_size(nodes); i++)
		alike = alike && output_number(json_array_get(nodes, i), "bytes") == most;
	str_format_size(text, most);
	if (alike && json_array_size(nodes))
		fprintf(file, "    %s to each node\n", text);
	for (size_t i = 0; !alike && i < json_array_size(nodes) && i < NAMES_SHOWN; i++) {
		AUTO_STR struct str line = {0};

		str_format_size(text, output_number(json_array_get(nodes, i), "bytes"));
		str_addf(&line, "    %s to ", text);
		output_safe(&line, output_text(json_array_get(nodes, i), "node"), false);
		fprintf(file, "%s\n", str_get(&line));
	}
	if (!alike && json_array_size(nodes) > NAMES_SHOWN)
		fprintf(file, "    at most %s to each of %zu more\n", text,
		        json_array_size(nodes) - NAMES_SHOWN);
}

static void print_bytes(FILE *file, const json_t *plan, const struct options *options)
{
	const json_t *nodes = output_member(plan, "nodes");
	char total[STR_SIZE_MAX], most[STR_SIZE_MAX], saved[STR_SIZE_MAX], origin[STR_SIZE_MAX];
	uint64_t bytes = output_number(plan, "bytes_total"), chunks = output_number(plan, "chunk_bytes_total");

	str_format_size(total, bytes);
	str_format_size(most, most_of(nodes, "disk_bytes"));
	str_format_size(saved, chunks > bytes ? chunks - bytes : 0);
	str_format_size(origin, output_number(plan, "origin_bytes"));
	fprintf(file,
	        "  to move: %s (%s leave the coordinator, deltas save %s); disk needed: at most %s "
	        "a node\n",
	        total, origin, saved, most);
	if (json_is_true(output_member(plan, "deltas_pending")))
		fprintf(file, "    deltas are being made: plan again, and it is less\n");
	print_node_bytes(file, nodes);
	print_time(file, plan, options);
}

/* How long gates that require evidence will take; the guard rail waits for nothing. */
static void print_evidence(FILE *file, const json_t *gates)
{
	for (size_t i = 0; i < json_array_size(gates); i++) {
		const json_t *gate = json_array_get(gates, i);
		const json_t *expected = output_member(gate, "expected_ms");
		double traffic = json_number_value(output_member(gate, "canary_per_minute"));
		double rate = json_number_value(output_member(gate, "rate"));
		char time[STR_DURATION_MAX] = "more time than anybody knows";
		AUTO_STR struct str line = {0};

		if (!json_is_true(output_member(gate, "required")))
			continue;
		if (json_is_integer(expected))
			str_format_duration(time, (uint64_t)json_integer_value(expected) / 60000 *
			                                  60000 + 60000);
		str_add(&line, "  evidence: ");
		output_safe(&line, output_text(gate, "metric"), false);
		str_addf(&line,
		         " needs about %s at recent traffic (%.3g a minute on the first stage, "
		         "%.3g %% bad)",
		         time, traffic, rate * 100);
		if (json_is_true(output_member(gate, "too_late")))
			str_add(&line, ": its deadline comes first");
		fprintf(file, "%s\n", str_get(&line));
	}
}

static void print_plan(FILE *file, const json_t *plan, const struct options *options)
{
	const json_t *removed = output_member(plan, "removed");
	const char *from = output_text(plan, "from");
	AUTO_STR struct str head = {0}, gone = {0};

	output_safe(&head, output_text(plan, "deployment"), false);
	str_add(&head, ": ");
	output_safe(&head, *from ? from : "(nothing)", false);
	str_add(&head, " -> ");
	output_safe(&head, output_text(plan, "to"), false);
	if (json_is_false(output_member(plan, "changed"))) {
		fprintf(file, "%s: nothing changes\n", str_get(&head));
		return;
	}
	fprintf(file, "%s\n", str_get(&head));
	print_stages(file, output_member(plan, "stages"));
	print_excluded(file, output_member(plan, "excluded"));
	if (json_array_size(removed)) {
		add_names(&gone, removed);
		fprintf(file, "  removed from: %s\n", str_get(&gone));
	}
	print_bytes(file, plan, options);
	print_evidence(file, output_member(plan, "evidence"));
}

/* ---- verbs ---- */

int cmd_plan(struct cli *cli)
{
	COVEY_CLEANUP(client_free_p) struct client *client = NULL;
	AUTO_JSON json_t *plan = NULL;
	struct bytes blob = {0};
	int code = read_spec(cli, &blob);
	int r;

	if (code != EXIT_DONE)
		return code;
	r = client_open(cli, &client, &cli->err);
	code = r < 0 ? (int)client_exit_code(r) : ask_plan(cli, client, &blob, &plan);
	free(blob.data);
	if (code != EXIT_DONE)
		return code;
	if (cli->options.output == OUTPUT_JSON)
		output_json(&cli->out, plan);
	else
		print_plan(cli->out.file, plan, &cli->options);
	return EXIT_DONE;
}

/* From the plan to the started rollout; ret_answer stays NULL when the person said no. */
static int start(struct cli *cli, const struct bytes *blob, json_t **ret_answer)
{
	COVEY_CLEANUP(client_free_p) struct client *client = NULL;
	AUTO_JSON json_t *plan = NULL;
	AUTO_REPLY struct reply reply = {0};
	int r = client_open(cli, &client, &cli->err);
	int code = r < 0 ? (int)client_exit_code(r) : ask_plan(cli, client, blob, &plan);

	if (code != EXIT_DONE)
		return code;
	if (json_is_true(output_member(plan, "changed"))) {
		if (cli->options.output != OUTPUT_JSON)
			print_plan(cli->out.file, plan, &cli->options);
		fflush(cli->out.file);
		if (!cli_confirm(cli, "start this rollout?"))
			return cli_fail(cli, EXIT_ERROR, "nothing was changed");
	}
	code = client_ask(cli, client, "apply",
	                  json_pack("{sbsb}", "supersede", cli->options.supersede, "allow_removal",
	                            cli->options.allow_removal),
	                  blob, &reply);
	if (code == EXIT_DONE)
		*ret_answer = json_incref(reply.body);
	return code;
}

int cmd_apply(struct cli *cli)
{
	AUTO_JSON json_t *answer = NULL;
	bool json = cli->options.output == OUTPUT_JSON;
	struct bytes blob = {0};
	char id[ROLLOUT_ID_TEXT_MAX];
	int code = read_spec(cli, &blob);

	if (code == EXIT_DONE)
		code = start(cli, &blob, &answer);
	free(blob.data);
	if (code != EXIT_DONE)
		return code;
	STR_CUT(id, output_text(answer, "rollout"));
	if (id[0] && !cli->options.detach)
		return follow_rollout(cli, id, json ? FOLLOW_RESULT : FOLLOW_PEOPLE);
	if (id[0] || json)
		cmd_print_begun(cli, answer);
	else
		fprintf(cli->out.file, "nothing changes: this runs already\n");
	return EXIT_DONE;
}
