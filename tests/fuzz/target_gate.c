/* SPDX-License-Identifier: Apache-2.0 */
/* `covey gate replay FILE`: counts that somebody wrote down. The answer is JSON or one sentence. */
#include "base/mem.h"
#include "coordinator/cli/cmd.h"
#include "fuzz.h"

#include <math.h>
#include <stdio.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_jail();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE struct cli *cli = mem_alloc(sizeof(*cli));
	AUTO_FREE char *text = NULL;
	size_t text_size = 0;
	json_t *answer;
	int code;

	options_init(&cli->options);
	cli->options.output = OUTPUT_JSON;
	cli->options.args[0] = fuzz_file("evidence.json", data, size);
	cli->options.args_count = 1;
	output_init(&cli->out, &cli->options);
	cli->out.file = open_memstream(&text, &text_size);
	assert(cli->out.file);
	code = cmd_gate_replay(cli);
	fclose(cli->out.file);
	if (code != EXIT_DONE) {
		assert(code == EXIT_USAGE && cli->err.text[0] && !text_size);
		return 0;
	}
	answer = json_loads(text, 0, NULL);
	assert(json_is_object(answer));
	json_decref(answer);
	return 0;
}
