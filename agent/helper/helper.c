/* SPDX-License-Identifier: Apache-2.0 */
/*
 * covey-helper: the resident privileged process. It decides nothing and knows little: it lets the
 * agent in, hands requests to workers in the right order, answers what /proc and the disk can tell
 * (LIST, LOGS, CONNECTIONS), notices when containers end, carries their output to the journal, and
 * has the firewall's rules restored when somebody flushed them. All state is on disk or in the
 * kernel, so it may be killed at any point. Heavy libraries stay out (docs/adr/0005).
 */
#include "agent/helper/clients.h"
#include "agent/helper/jobs.h"
#include "agent/helper/logs.h"
#include "agent/helper/notify.h"
#include "agent/helper/rules.h"
#include "agent/helper/sockets.h"
#include "agent/helper/watch.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/log_ids.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
	RESTORE_SOON_MS = 100,   /* a flush often comes in several transactions */
	RESTORE_AGAIN_MS = 2000, /* somebody works against us: not in a tight loop */
	LOG_LINES_MAX = 10000,
	LISTEN_FD = 3, /* systemd's first socket */
};

struct helper {
	struct agent_config config;
	char folder[PATHS_MAX]; /* of our own program: the workers lie beside it */
	struct loop loop;
	struct notify notify;
	struct loop_source signals;
	struct rules rules;
	struct clients *clients;
	struct jobs *jobs;
	struct watch *watch;
	uint64_t restore_ms; /* when to restore the rules; 0: they stand */
	bool rules_stand;
	char rules_text[LIMIT_REASON_TEXT + 1]; /* why they do not */
};

static void reply_error(struct helper *helper, uint64_t client,
                        const struct helper_request *request, int error, const char *check,
                        const char *text)
{
	struct helper_reply reply = {.id = request->id, .error = (uint32_t)error};

	STR_CUT(reply.check, check);
	STR_CUT(reply.text, text);
	clients_reply(helper->clients, client, &reply);
}

/* ---- what needs no worker ---- */

struct listing {
	struct helper *helper;
	struct helper_reply *reply;
	size_t cap;
};

static int list_one(void *context, const struct slot_name *slot, const struct record *record)
{
	struct listing *listing = context;
	struct helper_reply *reply = listing->reply;
	struct helper_slot *item;

	if (reply->slots_count == WATCH_MAX)
		return 0;
	MEM_GROW(reply->slots, &listing->cap, reply->slots_count);
	item = &reply->slots[reply->slots_count++];
	if (record) {
		record_describe(&listing->helper->config, record, item);
		return 0;
	}
	*item = (struct helper_slot){.state = HELPER_SLOT_BROKEN};
	if (!paths_slot_parse(slot->text, item->deployment, &item->colour))
		reply->slots_count--;
	return 0;
}

static int answer_list(struct helper *helper, const struct helper_request *request,
                       struct helper_reply *reply, struct err *err)
{
	struct listing listing = {.helper = helper, .reply = reply};

	(void)request;
	return record_each(&helper->config, list_one, &listing, err);
}

static int answer_logs(struct helper *helper, const struct helper_request *request,
                       struct helper_reply *reply, struct err *err)
{
	char path[PATHS_MAX];
	struct slot_name slot;
	uint32_t lines = request->lines < LOG_LINES_MAX ? request->lines : LOG_LINES_MAX;
	int r = paths_slot(request->deployment, request->colour, &slot, err);

	if (r == 0)
		reply->logs =
		    logs_tail(paths_log(&helper->config, &slot, path, "/log"),
		              lines ? lines : LIMIT_LOG_TAIL_LINES, LIMIT_HELPER_MESSAGE / 2 - 1);
	return r;
}

static int answer_connections(struct helper *helper, const struct helper_request *request,
                              struct helper_reply *reply, struct err *err)
{
	struct record record;
	struct slot_name slot;
	int r = paths_slot(request->deployment, request->colour, &slot, err);

	if (r == 0)
		r = record_read(&helper->config, &slot, &record, err);
	if (r < 0 || !record_alive(&record.container))
		return r == -ENOENT ? 0 : r; /* nothing runs, so nobody is connected */
	return sockets_count(record.host_network ? 0 : record.container.pid, record.port,
	                     SOCKETS_ESTABLISHED, &reply->connections, err);
}

static bool answer_here(struct helper *helper, uint64_t client,
                        const struct helper_request *request)
{
	static int (*const answers[HELPER_OP_COUNT])(
	    struct helper * helper, const struct helper_request *request,
	    struct helper_reply *reply, struct err *err) = {
	    [HELPER_LIST] = answer_list,
	    [HELPER_LOGS] = answer_logs,
	    [HELPER_CONNECTIONS] = answer_connections,
	};
	struct helper_reply reply = {.id = request->id};
	struct err err = {0};
	int r;

	if (!answers[request->op])
		return false;
	r = answers[request->op](helper, request, &reply, &err);
	if (r < 0) {
		reply.error = (uint32_t)-r;
		STR_CUT(reply.text, err_text(&err, r));
	}
	clients_reply(helper->clients, client, &reply);
	codec_free(&codec_helper_reply, &reply);
	return true;
}

static void on_request(void *context, uint64_t client, struct helper_request *request)
{
	struct helper *helper = context;
	struct err err = {0};
	int r;

	if (answer_here(helper, client, request))
		return;
	if (request->op == HELPER_START && helper->rules_text[0]) {
		reply_error(helper, client, request, EIO, "nftables", helper->rules_text);
		return;
	}
	r = jobs_add(helper->jobs, request, "", client, &err);
	if (r < 0)
		reply_error(helper, client, request, -r, "", err_text(&err, r));
}

/* ---- rules ---- */

static void want_restore(void *context)
{
	struct helper *helper = context;

	if (!helper->restore_ms) {
		log_event(
		    &(struct log_event){.id = LOG_ID_RULES_CHANGED, .level = LOG_LEVEL_WARNING},
		    "the firewall's rules were changed by somebody else");
		helper->restore_ms = clock_mono_ms() + RESTORE_SOON_MS;
	}
}

/* The request that was applied last; an empty map where there is none. */
static void remembered(struct helper *helper, struct helper_request *ret_request)
{
	AUTO_FREE uint8_t *data = NULL;
	struct bytes packet = {0};
	char path[PATHS_MAX];

	*ret_request = (struct helper_request){.op = HELPER_TRAFFIC};
	if (paths_read(paths_run(&helper->config, path, "/traffic"), LIMIT_HELPER_MESSAGE, &packet,
	               NULL))
		return;
	data = packet.data;
	if (codec_decode(&codec_helper_request, data, packet.size, ret_request, NULL) ||
	    ret_request->op != HELPER_TRAFFIC) {
		codec_free(&codec_helper_request, ret_request);
		*ret_request = (struct helper_request){.op = HELPER_TRAFFIC};
	}
}

static void restore(struct helper *helper)
{
	struct helper_request request;
	struct err err = {0};
	int r;

	helper->restore_ms = clock_mono_ms() + RESTORE_AGAIN_MS;
	if (jobs_has_traffic(helper->jobs))
		return;
	remembered(helper, &request);
	r = jobs_add(helper->jobs, &request, "restore", 0, &err);
	if (r < 0)
		log_error("the firewall's rules are not restored: %s", err_text(&err, r));
	codec_free(&codec_helper_request, &request);
}

static void rules_result(struct helper *helper, const struct jobs_done *done)
{
	if (done->error) {
		snprintf(helper->rules_text, sizeof(helper->rules_text),
		         "the node's firewall rules cannot be set: %s", done->text);
		log_event(&(struct log_event){.id = LOG_ID_RULES_FAILED, .level = LOG_LEVEL_ERR},
		          "%s", helper->rules_text);
		return; /* restore_ms is set: it will be tried again */
	}
	if (!helper->rules_stand || helper->rules_text[0])
		log_info("the firewall's rules stand");
	helper->restore_ms = 0;
	helper->rules_text[0] = 0;
	helper->rules_stand = true;
	jobs_set_rules(helper->jobs, true);
}

/* ---- results ---- */

static void on_done(void *context, const struct jobs_done *done)
{
	struct helper *helper = context;
	const struct helper_request *request = done->request;
	struct slot_name slot;

	if (request->op == HELPER_TRAFFIC && (!done->client || !done->error))
		rules_result(helper, done);
	if (done->client && done->packet)
		clients_send(helper->clients, done->client, done->packet, done->size);
	else if (done->client)
		reply_error(helper, done->client, request, (int)done->error, "", done->text);
	if ((request->op == HELPER_START || request->op == HELPER_STOP) &&
	    paths_slot(request->deployment, request->colour, &slot, NULL) == 0)
		watch_refresh(helper->watch, &slot);
}

static void on_ended(void *context, struct watch_ended *ended)
{
	struct helper *helper = context;
	struct helper_slot slot;
	struct helper_reply reply = {
	    .event = HELPER_EXITED, .slots = &slot, .slots_count = 1, .logs = ended->logs};

	if (jobs_is_changing(helper->jobs, ended->record->deployment, ended->record->colour))
		return;
	record_describe(&helper->config, ended->record, &slot);
	slot.state = HELPER_SLOT_EXITED;
	slot.exit_code = ended->exit_code;
	snprintf(reply.text, sizeof(reply.text), "the container ended with exit code %u",
	         (unsigned)ended->exit_code);
	log_info("%s (%s): %s", ended->record->deployment, paths_colour(ended->record->colour),
	         reply.text);
	clients_reply(helper->clients, 0, &reply);
}

/* ---- the process ---- */

static void on_signal(struct loop_source *source)
{
	struct helper *helper = source->owner;
	struct signalfd_siginfo info;

	if (read(source->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		jobs_reap(helper->jobs);
	else
		helper->loop.quit = true;
}

static int open_signals(struct helper *helper, struct err *err)
{
	sigset_t set;
	int fd, r;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_errno(err, -errno, "signals");
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_errno(err, -errno, "signals");
	r = loop_add(&helper->loop, &helper->signals, fd, on_signal, helper);
	return r < 0 ? err_errno(err, r, "signals") : 0;
}

/* The socket that systemd opened for us, or -1. */
static int inherited_socket(void)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	uint64_t value;
	bool ours = pid && count && str_parse_u64(pid, INT32_MAX, &value) == 0 &&
	            (pid_t)value == getpid() && str_equal(count, "1");

	unsetenv("LISTEN_PID"); /* not for what we start */
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (!ours)
		return -1;
	return fcntl(LISTEN_FD, F_SETFD, FD_CLOEXEC) < 0 ? -1 : LISTEN_FD;
}

static int open_socket(const struct agent_config *config, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = inherited_socket(), r = 0;
	uint32_t gid;

	if (fd >= 0)
		return fd;
	r = config_group_id(config->helper.group, &gid, err);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(err, -errno, "socket");
	STR_CUT(address.sun_path, config->helper.socket);
	unlink(config->helper.socket);
	umask(0777); /* nobody connects before owner and mode are right */
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chown(config->helper.socket, 0, gid) < 0 || chmod(config->helper.socket, 0660) < 0 ||
	    listen(fd, 16) < 0)
		r = err_errno(err, -errno, "socket %s", config->helper.socket);
	umask(022);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

static int find_folder(char dst[PATHS_MAX], struct err *err)
{
	ssize_t size = readlink("/proc/self/exe", dst, PATHS_MAX - 1);

	if (size <= 0)
		return err_errno(err, -errno, "/proc/self/exe");
	dst[size] = 0;
	*strrchr(dst, '/') = 0;
	return 0;
}

static int set_up(struct helper *helper, const char *config, struct err *err)
{
	struct clients_options clients = {.request = on_request, .context = helper};
	struct jobs_options jobs = {
	    .config = config, .folder = helper->folder, .done = on_done, .context = helper};
	char table[TABLE_MAX];
	int fd = -1, r = config_load(config, &helper->config, err);

	if (r == 0)
		r = config_user_id(helper->config.user, &clients.uid, err);
	if (r == 0)
		r = paths_prepare(&helper->config, err);
	if (r == 0)
		r = find_folder(helper->folder, err);
	if (r == 0)
		r = loop_open(&helper->loop, err);
	if (r == 0)
		r = open_signals(helper, err);
	if (r < 0)
		return r;
	jobs.identity = paths_identity(&helper->config);
	helper->jobs = jobs_create(&helper->loop, &jobs);
	r = watch_create(&helper->loop, &helper->config, on_ended, helper, &helper->watch, err);
	if (r == 0)
		r = fd = open_socket(&helper->config, err);
	if (r >= 0)
		r = clients_create(&helper->loop, fd, &clients, &helper->clients, err);
	if (r == 0)
		r = watch_adopt(helper->watch, err);
	paths_table(&helper->config, table);
	return r == 0 ? rules_open(&helper->rules, &helper->loop, table, "covey-worker-tr",
	                           want_restore, helper, err)
	              : r;
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int run(struct helper *helper)
{
	int r = 0;

	restore(helper); /* the rules stand before the first slot starts */
	notify_ready(&helper->notify);
	while (r == 0 && !helper->loop.quit) {
		uint64_t deadline = helper->restore_ms ? helper->restore_ms : UINT64_MAX, now;

		deadline = earliest(deadline, jobs_deadline(helper->jobs));
		deadline = earliest(deadline, watch_deadline(helper->watch));
		deadline = earliest(deadline, notify_tick(&helper->notify, clock_mono_ms()));
		r = loop_step(&helper->loop, deadline);
		now = clock_mono_ms();
		jobs_tick(helper->jobs, now);
		watch_tick(helper->watch, now);
		if (helper->restore_ms && helper->restore_ms <= now)
			restore(helper);
	}
	return r;
}

/* Only an error comes back. */
static int become_clear(char *config, struct err *err)
{
	char folder[PATHS_MAX];
	AUTO_FREE char *program = NULL;
	int r = find_folder(folder, err);

	if (r < 0)
		return r;
	program = mem_format("%s/covey-worker-clear", folder);
	execv(program, (char *[]){program, config, NULL});
	return err_errno(err, -errno, "%s", program);
}

int main(int argc, char **argv)
{
	static struct helper helper;
	const char *path = CONFIG_DEFAULT_PATH;
	AUTO_FREE char *config = NULL;
	struct err err = {0};
	bool clear = argc > 1 && str_equal(argv[argc - 1], "--clear");
	int r;

	log_open("covey-helper", LOG_LEVEL_INFO);
	argc -= clear;
	if (argc == 3 && str_equal(argv[1], "--config"))
		path = argv[2];
	else if (argc != 1) {
		fprintf(stderr, "usage: covey-helper [--config FILE] [--clear]\n");
		return 2;
	}
	notify_open(&helper.notify);
	config = realpath(path, NULL);
	if (clear && config)
		r = become_clear(config, &err);
	else
		r = config ? set_up(&helper, config, &err)
		           : err_errno(&err, -errno, "configuration %s", path);
	if (r == 0)
		r = run(&helper);
	if (r < 0) {
		log_error("%s", err_text(&err, r));
		return 1;
	}
	rules_close(&helper.rules, &helper.loop);
	clients_free(helper.clients);
	watch_free(helper.watch);
	jobs_free(helper.jobs);
	loop_remove(&helper.loop, &helper.signals);
	loop_close(&helper.loop);
	notify_close(&helper.notify);
	return 0;
}
