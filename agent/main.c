/* SPDX-License-Identifier: Apache-2.0 */
/*
 * covey-agent: without a verb the service, with one a command for the people on this node. The
 * table of verbs is the whole program; options are few enough to be shared.
 */
#include "agent/cli/cli.h"
#include "agent/daemon.h"

#include <getopt.h>
#include <sodium.h>
#include <stdio.h>

static int run_service(const struct cli_options *options, const struct agent_config *config)
{
	return daemon_run(config);
}

static int print_version(const struct cli_options *options, const struct agent_config *config)
{
	printf("covey-agent %s, protocol %d\n", COVEY_VERSION, PROTOCOL_VERSION);
	return CLI_OK;
}

struct verb {
	const char *name;
	int (*run)(const struct cli_options *options, const struct agent_config *config);
	bool without_config;
	const char *help;
};

static const struct verb VERBS[] = {
	{"run", run_service, false, "run the service (also without a verb)"},
	{"join", cli_join, false,
	 "join a fleet: join -, or join --file FILE; [--name N] [--rejoin]"},
	{"leave", cli_leave, false,
	 "leave the fleet, with the service stopped: drain, remove, forget the keys; [--keep]"},
	{"status", cli_status, false, "what this node serves; -o table|json"},
	{"health", cli_health, false, "exit code 0 when every committed deployment answers"},
	{"peers", cli_peers, false, "exchange of chunks with other nodes; -o table|json"},
	{"history", cli_history, false, "how changes on this node ended; -o table|json"},
	{"version", print_version, true, "version of program and protocol"},
};

static void print_help(FILE *out)
{
	fputs("usage: covey-agent [VERB] [OPTIONS]\n\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(VERBS); i++)
		fprintf(out, "  %-9s %s\n", VERBS[i].name, VERBS[i].help);
	fputs("\n  --keep         leave: the trust root stays, to join the same fleet again\n"
	      "  --config FILE  (COVEY_AGENT_CONFIG; default " CONFIG_DEFAULT_PATH ")\n"
	      "  -o, --output table|json\n  -h, --help\n  --version\n",
	      out);
}

enum { OPT_CONFIG = 256, OPT_FILE, OPT_NAME, OPT_REJOIN, OPT_KEEP, OPT_VERSION };

/* 0: go on; otherwise the exit code + 1 to end with. */
static int take_option(int option, struct cli_options *options)
{
	switch (option) {
	case OPT_CONFIG:
		options->config_path = optarg;
		return 0;
	case OPT_FILE:
		options->file = optarg;
		return 0;
	case OPT_NAME:
		options->name = optarg;
		return 0;
	case OPT_REJOIN:
		options->rejoin = true;
		return 0;
	case OPT_KEEP:
		options->keep = true;
		return 0;
	case 'o':
		if (str_equal(optarg, "json"))
			options->output = CLI_JSON;
		else if (!str_equal(optarg, "table"))
			return cli_fail("-o %s: table or json", optarg), CLI_USAGE + 1;
		return 0;
	case OPT_VERSION:
		return print_version(NULL, NULL) + 1;
	case 'h':
		print_help(stdout);
		return CLI_OK + 1;
	default:
		print_help(stderr);
		return CLI_USAGE + 1;
	}
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(VERBS); i++)
		if (str_equal(VERBS[i].name, name))
			return &VERBS[i];
	return NULL;
}

/* The default file may be missing; one that was named may not. */
static int load_config(const struct cli_options *options, struct agent_config *config)
{
	const char *path = options->config_path;
	struct err err = {0};
	int r;

	if (!path)
		path = getenv("COVEY_AGENT_CONFIG");
	config_defaults(config);
	r = config_load(path ? path : CONFIG_DEFAULT_PATH, config, &err);
	if (r == -ENOENT && !path)
		return CLI_OK;
	return r < 0 ? cli_fail("%s", err_text(&err, r)) : CLI_OK;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, OPT_CONFIG},
		{"file", required_argument, NULL, OPT_FILE},
		{"name", required_argument, NULL, OPT_NAME},
		{"rejoin", no_argument, NULL, OPT_REJOIN},
		{"keep", no_argument, NULL, OPT_KEEP},
		{"output", required_argument, NULL, 'o'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, OPT_VERSION},
		{0},
	};
	static struct agent_config config; /* large; lives as long as the program */
	struct cli_options options = {0};
	const struct verb *verb = &VERBS[0];
	int option, r;

	while ((option = getopt_long(argc, argv, "o:h", longs, NULL)) != -1) {
		r = take_option(option, &options);
		if (r != 0)
			return r - 1;
	}
	if (optind < argc) {
		verb = find_verb(argv[optind]);
		if (!verb) {
			cli_fail("unknown verb '%s' (covey-agent --help)", argv[optind]);
			return CLI_USAGE;
		}
		optind++;
	}
	if (optind < argc && str_equal(argv[optind], "-")) {
		options.from_stdin = true;
		optind++;
	}
	if (optind < argc) {
		cli_fail("%s: unexpected argument '%s'", verb->name, argv[optind]);
		return CLI_USAGE;
	}
	if (sodium_init() < 0)
		return cli_fail("libsodium does not start");
	r = verb->without_config ? CLI_OK : load_config(&options, &config);
	return r != CLI_OK ? r : verb->run(&options, &config);
}
