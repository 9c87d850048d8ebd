/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From arguments to exit code: options before the verb, the verb's one or two words, its options
 * and arguments, the environment for what was not given. The one place that prints a failure.
 */
#include "coordinator/cli/cli.h"
#include "base/mem.h"
#include "base/str.h"

#include <pwd.h>
#include <string.h>

int cli_fail(struct cli *cli, enum exit_code code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(cli->err.text, sizeof(cli->err.text), format, args);
	va_end(args);
	return (int)code;
}

bool cli_confirm(struct cli *cli, const char *question)
{
	char line[16];

	if (cli->options.yes || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return true;
	fprintf(stderr, "%s [y/N] ", question);
	return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

char *cli_home(const struct cli *cli)
{
	const char *home = getenv("HOME");
	const struct passwd *user;

	if (cli->options.home)
		return mem_str(cli->options.home);
	if (!home || !*home) {
		user = getpwuid(getuid());
		home = user ? user->pw_dir : "/";
	}
	return mem_format("%s/.config/covey", home);
}

char *cli_home_file(const struct cli *cli, const char *name)
{
	AUTO_FREE char *home = cli_home(cli);

	return mem_format("%s/%s", home, name);
}

/* ---- verbs ---- */

/* How many of the words at hand make the verb: 0 means that it is another one. */
static int match(const struct verb *verb, int argc, char **argv)
{
	const char *space = strchr(verb->words, ' ');
	size_t first = space ? (size_t)(space - verb->words) : strlen(verb->words);

	if (argc < 1 || strlen(argv[0]) != first || strncmp(argv[0], verb->words, first) != 0)
		return 0;
	if (!space)
		return 1;
	return argc > 1 && str_equal(argv[1], space + 1) ? 2 : 0;
}

static const struct verb *find_verb(int argc, char **argv, int *ret_words)
{
	for (const struct verb *v = verbs; v->words; v++) {
		*ret_words = match(v, argc, argv);
		if (*ret_words)
			return v;
	}
	return NULL;
}

/* A verb whose product is a file says with -o where that goes, not how to print. */
static uint64_t accepted_by(const struct verb *verb)
{
	uint64_t common = verb->options & OPT(OUT) ? OPTIONS_COMMON & ~OPT(OUTPUT) : OPTIONS_COMMON;

	return verb->options | common;
}

static void print_verb_help(const struct verb *verb, FILE *out)
{
	fprintf(out, "usage: covey %s%s%s [OPTION...]\n\n%s\n\n", verb->words,
	        *verb->args ? " " : "", verb->args, verb->help);
	options_describe(accepted_by(verb), out);
	fputs("\nEvery option is also an environment variable: --allow-removal is "
	      "COVEY_ALLOW_REMOVAL.\n",
	      out);
}

static void print_help(FILE *out)
{
	fputs("usage: covey VERB [ARGUMENT...] [OPTION...]\n\n", out);
	for (const struct verb *v = verbs; v->words; v++) {
		char left[80];

		snprintf(left, sizeof(left), "%s %s", v->words, v->args);
		fprintf(out, "  %-42s %s\n", left, v->help);
	}
	fputs("\n`covey VERB --help` lists the options of a verb. Exit codes: 0 done, 1 error, 2 "
	      "bad usage or file,\n3 rolled back, 4 aborted, 5 waiting for a person, 6 time-out "
	      "while following, 7 no coordinator.\n",
	      out);
}

/* "covey node": say what could follow. */
static int unknown_verb(struct cli *cli, int argc, char **argv)
{
	AUTO_STR struct str could = {0};

	for (const struct verb *v = verbs; v->words; v++) {
		size_t size = strlen(argv[0]);

		if (strncmp(v->words, argv[0], size) == 0 && v->words[size] == ' ')
			str_addf(&could, "%s`covey %s`", could.size ? ", " : "", v->words);
	}
	if (could.size)
		return cli_fail(cli, EXIT_USAGE, "`covey %s` needs one more word: %s", argv[0],
		                str_get(&could));
	return cli_fail(cli, EXIT_USAGE, "there is no verb `%s`; `covey help` lists the verbs",
	                argv[0]);
}

static int check_args(struct cli *cli, const struct verb *verb)
{
	size_t count = cli->options.args_count;

	if (count < verb->args_min)
		return cli_fail(cli, EXIT_USAGE,
		                "covey %s needs more arguments; write `covey %s %s`", verb->words,
		                verb->words, verb->args);
	if (count > verb->args_max)
		return cli_fail(cli, EXIT_USAGE,
		                "covey %s does not take `%s`; write `covey %s%s%s`", verb->words,
		                cli->options.args[verb->args_max], verb->words,
		                *verb->args ? " " : "", verb->args);
	return EXIT_DONE;
}

static int bad_usage(struct cli *cli, const char *words)
{
	err_prefix(&cli->err, -EINVAL, "covey %s", words);
	return EXIT_USAGE;
}

static int run_verb(struct cli *cli, const struct verb *verb, int argc, char **argv, int at)
{
	uint64_t accepted = accepted_by(verb);
	struct options given = cli->options;
	int code;

	options_init(&cli->options);
	if (options_environment(&cli->options, accepted, &cli->err) < 0)
		return EXIT_USAGE;
	/* the options before the verb are read again, now on top of the environment */
	if (options_parse(&cli->options, OPTIONS_COMMON, true, argc, argv, &(int){1}, &cli->err) <
	    0)
		return EXIT_USAGE;
	if (options_parse(&cli->options, accepted, false, argc, argv, &at, &cli->err) < 0)
		return bad_usage(cli, verb->words);
	if (given.help || cli->options.help) {
		print_verb_help(verb, stdout);
		return EXIT_DONE;
	}
	output_init(&cli->out, &cli->options);
	code = check_args(cli, verb);
	return code == EXIT_DONE ? verb->run(cli) : code;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const struct verb *verb;
	int at = 1, words = 0;

	options_init(&cli->options);
	if (options_parse(&cli->options, OPTIONS_COMMON, true, argc, argv, &at, &cli->err) < 0)
		return bad_usage(cli, "(before the verb)");
	if (at == argc && !cli->options.help) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (at == argc || str_equal(argv[at], "help")) {
		print_help(stdout);
		return EXIT_DONE;
	}
	verb = find_verb(argc - at, argv + at, &words);
	if (!verb)
		return unknown_verb(cli, argc - at, argv + at);
	return run_verb(cli, verb, argc, argv, at + words);
}

int cli_main(int argc, char **argv)
{
	struct cli *cli = mem_alloc(sizeof(*cli));
	AUTO_STR struct str text = {0};
	int code;

	output_init(&cli->out, &cli->options);
	code = run(cli, argc, argv);
	fflush(stdout);
	if (code != EXIT_DONE && cli->err.text[0]) {
		output_safe(&text, cli->err.text, false);
		fprintf(stderr, "covey: %s\n", str_get(&text));
	}
	if (code == EXIT_DONE && ferror(stdout)) {
		fputs("covey: the output could not be written; is the disk full?\n", stderr);
		code = EXIT_ERROR;
	}
	free(cli);
	return code;
}
