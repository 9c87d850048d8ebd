/* SPDX-License-Identifier: Apache-2.0 */
/* `covey lint`: every check of a file that needs no coordinator and no network. */
#include "coordinator/cli/cmd.h"
#include "coordinator/cli/yml_files.h"
#include "coordinator/judge/policy.h"
#include "evidence/build.h"
#include "protocol/spec.h"

static int lint_release(struct cli *cli)
{
	struct release_file file = {0};
	int r = release_file_read(cli->options.file, false, &file, &cli->err);

	if (r == 0)
		release_file_free(&file);
	return r;
}

static int lint_baseline(struct cli *cli)
{
	struct baseline baseline = {0};
	int r = baseline_file_read(cli->options.file, &baseline, &cli->err);

	if (r == 0)
		build_free(&baseline);
	return r;
}

static int lint_deployment(struct cli *cli)
{
	struct deployment_spec spec = {0};
	int r = deployment_file_read(cli->options.file, &spec, &cli->err);

	if (r < 0)
		return r;
	r = judge_deadlines_check(&spec, OBSERVE_PERIOD_MS, &cli->err);
	if (r < 0)
		err_prefix(&cli->err, r, "%s", cli->options.file);
	deployment_spec_free(&spec);
	return r;
}

int cmd_lint(struct cli *cli)
{
	static const char *const words[] = {"release", "deployment", "baseline"};
	static int (*const lints[])(struct cli *) = {lint_release, lint_deployment, lint_baseline};
	enum file_kind kind = FILE_RELEASE;
	AUTO_JSON json_t *result = NULL;
	int r;

	if (!cli->options.file)
		return cli_fail(cli, EXIT_USAGE,
		                "covey lint needs a file; write `covey lint -f FILE`");
	r = yml_file_kind(cli->options.file, &kind, &cli->err);
	if (r == 0)
		r = lints[kind](cli);
	if (r < 0)
		return EXIT_USAGE;
	result = json_pack("{ssssso}", "file", cli->options.file, "kind",
	                   words[kind], "ok", json_true());
	if (cli->options.output == OUTPUT_JSON)
		output_json(&cli->out, result);
	else
		fprintf(cli->out.file, "%s: this %s is fine\n", cli->options.file,
		        output_text(result, "kind"));
	return EXIT_DONE;
}
