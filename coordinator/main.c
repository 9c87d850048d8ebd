/* SPDX-License-Identifier: Apache-2.0 */
/* covey-coordinator: reads its configuration, opens the service, runs until it is told to stop. */
#include "base/log_ids.h"
#include "base/str.h"
#include "coordinator/service.h"

#include <signal.h>
#include <sodium.h>

static const char usage[] =
	"usage: covey-coordinator [--config FILE]\n"
	"\n"
	"The service that keeps a fleet's state and drives its rollouts. FILE is\n"
	"/etc/covey/coordinator.conf by default; `covey init` prepares its folder.\n"
	"\n"
	"  --config FILE   another configuration\n"
	"  --version       print the version\n"
	"  --help          print this\n";

/* 0: go on; 1: done; -1: usage. */
static int parse(int argc, char **argv, const char **ret_config)
{
	for (int i = 1; i < argc; i++) {
		if (str_equal(argv[i], "--config") && i + 1 < argc) {
			*ret_config = argv[++i];
		} else if (str_equal(argv[i], "--version")) {
			printf("covey-coordinator %s\n", COVEY_VERSION);
			return 1;
		} else if (str_equal(argv[i], "--help")) {
			fputs(usage, stdout);
			return 1;
		} else {
			fprintf(stderr, "covey-coordinator: %s is not understood\n%s", argv[i],
				usage);
			return -1;
		}
	}
	return 0;
}

static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL); /* sd-event takes them from a descriptor */
	signal(SIGPIPE, SIG_IGN);
}

static int run(const char *path, struct err *err)
{
	COVEY_CLEANUP(service_close_p) struct service *service = NULL;
	struct config config;
	int r = config_load(path, &config, err);

	if (r < 0)
		return r;
	log_open("covey-coordinator", config.log_level);
	r = service_open(&config, &service, err);
	return r == 0 ? service_run(service, err) : r;
}

int main(int argc, char **argv)
{
	const char *config = NULL;
	struct err err = {0};
	int r = parse(argc, argv, &config);

	if (r != 0)
		return r < 0 ? 2 : 0;
	if (sodium_init() < 0) {
		fputs("covey-coordinator: libsodium does not start\n", stderr);
		return 1;
	}
	block_signals();
	r = run(config, &err);
	if (r == -EUCLEAN || r == -EBADMSG || r == -EKEYREJECTED)
		log_event(&(struct log_event){.id = LOG_ID_STATE_BROKEN, .level = LOG_LEVEL_ERR},
			  "%s", err_text(&err, r));
	else if (r < 0)
		log_error("%s", err_text(&err, r));
	return r < 0 ? 1 : 0;
}
