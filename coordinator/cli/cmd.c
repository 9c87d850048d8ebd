/* SPDX-License-Identifier: Apache-2.0 */
/* Most verbs are one request and one table: this is the frame that they share. */
#include "coordinator/cli/cmd.h"
#include "base/selector.h"

#include <string.h>

int cmd_parse_labels(struct cli *cli, const char *const *items, size_t count, json_t *object)
{
	char key[LIMIT_LABEL_KEY + 1];

	for (size_t i = 0; i < count; i++) {
		const char *equals = strchr(items[i], '=');
		size_t size = equals ? (size_t)(equals - items[i]) : 0;

		if (!equals || size >= sizeof(key))
			return cli_fail(cli, EXIT_USAGE, "`%s` is not a label; write KEY=VALUE",
			                items[i]);
		memcpy(key, items[i], size);
		key[size] = 0;
		if (selector_check_label(key, equals + 1, &cli->err) < 0) {
			err_prefix(&cli->err, -EINVAL, "`%s`", items[i]);
			return EXIT_USAGE;
		}
		json_object_set_new(object, key, json_string(equals + 1));
	}
	return EXIT_DONE;
}

json_t *cmd_body_of_arg(const struct cli *cli, const char *name)
{
	return json_pack("{ss}", name, cli->options.args[0]);
}

int cmd_list(struct cli *cli, const char *verb, json_t *body, const struct column *columns,
             const char *none)
{
	AUTO_JSON json_t *answer = NULL;
	int code = client_simple(cli, verb, body, &answer);

	if (code != EXIT_DONE)
		return code;
	if (cli->options.output == OUTPUT_JSON)
		output_json(&cli->out, answer);
	else
		output_table(&cli->out, columns, answer, none);
	return EXIT_DONE;
}

int cmd_object(struct cli *cli, const char *verb, json_t *body, const struct column *columns)
{
	AUTO_JSON json_t *answer = NULL;
	int code = client_simple(cli, verb, body, &answer);

	if (code != EXIT_DONE)
		return code;
	if (cli->options.output == OUTPUT_JSON)
		output_json(&cli->out, answer);
	else
		output_object(&cli->out, columns, answer);
	return EXIT_DONE;
}

int cmd_act(struct cli *cli, const char *verb, json_t *body, const char *format, ...)
{
	AUTO_JSON json_t *answer = NULL;
	AUTO_STR struct str text = {0};
	char done[256];
	va_list args;
	int code = client_simple(cli, verb, body, &answer);

	if (code != EXIT_DONE)
		return code;
	if (cli->options.output == OUTPUT_JSON) {
		output_json(&cli->out, answer);
		return EXIT_DONE;
	}
	va_start(args, format);
	vsnprintf(done, sizeof(done), format, args);
	va_end(args);
	output_safe(&text, done, false);
	fprintf(cli->out.file, "%s\n", str_get(&text));
	return EXIT_DONE;
}

void cmd_print_begun(struct cli *cli, const json_t *answer)
{
	const char *id = output_text(answer, "rollout");
	AUTO_STR struct str text = {0};

	if (cli->options.output == OUTPUT_JSON) {
		output_json(&cli->out, answer);
		return;
	}
	output_safe(&text, *id ? id : output_text(answer, "id"), false);
	fprintf(cli->out.file, "rollout %.12s %s; `covey rollout watch %.12s` follows it\n",
	        str_get(&text), *id ? "has begun" : "goes on", str_get(&text));
}
