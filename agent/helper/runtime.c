/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conmon is told everything on its command line and reports the container's process id, or why
 * there is none, as one line of JSON on a pipe. Where systemd runs it gets a scope of its own, so
 * that stopping or upgrading Covey's services leaves it alone; when the node goes down it ends
 * after them, for a container that ends under the agent's eyes counts against its release. The
 * helper keeps no hold on it: pid files, the record and /proc say what there is.
 */
#include "agent/helper/runtime.h"

#include "agent/helper/spawn.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#define RUNTIME_LOG "/runtime.log"

enum {
	LOG_SIZE_MAX = 8 << 20,
	RUNTIME_TIMEOUT_MS = 30000,
	ARGS_MAX = 40,
	ARG_SIZE = PATHS_MAX + 32,
};

struct args { /* a command line under construction; texts are owned */
	char *items[ARGS_MAX + 1];
	size_t count;
};

static void args_add(struct args *args, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void args_add(struct args *args, const char *format, ...)
{
	char text[ARG_SIZE];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	if (args->count < ARGS_MAX)
		args->items[args->count++] = mem_str(text);
}

static void args_free(struct args *args)
{
	for (size_t i = 0; i < args->count; i++)
		free(args->items[i]);
}

#define AUTO_ARGS COVEY_CLEANUP(args_free)

/* runc --root DIR ... */
static void args_runtime(struct args *args, const struct agent_config *config)
{
	char path[PATHS_MAX];

	args_add(args, "%s", config->helper.runtime);
	args_add(args, "--root");
	args_add(args, "%s", paths_run(config, path, "/runtime"));
}

static int run_runtime(struct worker *worker, const struct args *args, struct err *err)
{
	const struct spawn spawn = {.argv = (const char *const *)args->items,
	                            .output_max = 4096,
	                            .timeout_ms = worker_left_ms(worker) < RUNTIME_TIMEOUT_MS
	                                              ? worker_left_ms(worker)
	                                              : RUNTIME_TIMEOUT_MS};

	return spawn_check(&spawn, NULL, err);
}

static void args_conmon(struct args *args, const struct agent_config *config,
                        const struct slot_name *slot, const char *conmon, const char *runtime)
{
	char path[PATHS_MAX];

	if (access("/run/systemd/system", F_OK) == 0) {
		args_add(args, "systemd-run");
		args_add(args, "--scope");
		args_add(args, "--quiet");
		args_add(args, "--collect");
		args_add(args, "--property=Before=covey-agent.service covey-helper.service");
		args_add(args, "--unit=covey-%s-%s-%" PRIx64, config->helper.instance, slot->text,
		         clock_mono_ms());
	}
	args_add(args, "%s", conmon);
	args_add(args, "--api-version=1");
	args_add(args, "--cid=%s", slot->text);
	args_add(args, "--cuuid=%s", slot->text);
	args_add(args, "--name=%s", slot->text);
	args_add(args, "--runtime=%s", runtime);
	args_add(args, "--bundle=%s", paths_slot_run(config, slot, path, ""));
	args_add(args, "--container-pidfile=%s", paths_slot_run(config, slot, path, "/pid"));
	args_add(args, "--conmon-pidfile=%s", paths_slot_run(config, slot, path, "/supervisor"));
	args_add(args, "--socket-dir-path=%s", paths_slot_run(config, slot, path, ""));
	args_add(args, "--exit-dir=%s", paths_run(config, path, "/exits"));
	args_add(args, "--log-path=k8s-file:%s", paths_log(config, slot, path, "/log"));
	args_add(args, "--log-size-max=%d", LOG_SIZE_MAX);
	args_add(args, "--log-level=error");
	args_add(args, "--runtime-arg=--root=%s", paths_run(config, path, "/runtime"));
	args_add(args, "--runtime-arg=--log=%s", paths_slot_run(config, slot, path, RUNTIME_LOG));
}

/* What the runtime wrote into its log last, or what conmon says about it. */
static int blame_runtime(const struct agent_config *config, const struct slot_name *slot,
                         const char *message, struct err *err)
{
	AUTO_FREE uint8_t *data = NULL;
	char path[PATHS_MAX], line[384];
	struct bytes text = {0};

	if (paths_read(paths_slot_run(config, slot, path, RUNTIME_LOG), 64 << 10, &text, NULL) == 0)
		data = text.data;
	spawn_last_line(data && strstr((char *)data, "level=error") ? (char *)data
	                : message                                   ? message
	                                                            : "it ended without a word",
	                line, sizeof(line));
	return err_set(err, -EIO, "the runtime could not make the container: %s", line);
}

/* conmon's report: {"data": pid} or {"data": -1, "message": "..."} */
static int read_report(const struct agent_config *config, const struct slot_name *slot, int fd,
                       uint64_t timeout_ms, pid_t *ret_pid, struct err *err)
{
	uint64_t end = clock_mono_ms() + timeout_ms;
	char text[4096] = "";
	size_t size = 0;
	json_t *report;
	json_int_t pid;
	int r = 0;

	while (!strchr(text, '\n') && size < sizeof(text) - 1) {
		struct pollfd wait = {fd, POLLIN, 0};
		uint64_t now = clock_mono_ms();
		ssize_t got;

		if (now >= end || poll(&wait, 1, (int)(end - now)) == 0)
			return err_set(err, -ETIMEDOUT, "conmon did not answer in time");
		got = read(fd, text + size, sizeof(text) - 1 - size);
		if (got <= 0)
			break;
		size += (size_t)got;
		text[size] = 0;
	}
	report = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
	pid = json_integer_value(json_object_get(report, "data"));
	if (pid <= 0 || pid > INT32_MAX)
		r = blame_runtime(config, slot,
		                  json_string_value(json_object_get(report, "message")), err);
	else
		*ret_pid = (pid_t)pid;
	json_decref(report);
	return r;
}

static int supervisor_of(const struct agent_config *config, const struct slot_name *slot,
                         struct record_process *ret_process, struct err *err)
{
	AUTO_FREE uint8_t *data = NULL;
	char path[PATHS_MAX];
	struct bytes text = {0};
	uint64_t pid;
	int r = paths_read(paths_slot_run(config, slot, path, "/supervisor"), 16, &text, err);

	data = text.data;
	if (r < 0)
		return r;
	data[strcspn((char *)data, "\n")] = 0;
	if (str_parse_u64((char *)data, INT32_MAX, &pid) ||
	    record_process_of((pid_t)pid, ret_process))
		return err_set(err, -ESRCH, "conmon is gone already");
	return 0;
}

static int start_conmon(struct worker *worker, const struct args *args, int report, struct err *err)
{
	AUTO_FREE char *variable = mem_format("_OCI_SYNCPIPE=%d", report);
	const char *const env[] = {variable, NULL};
	const struct spawn spawn = {.argv = (const char *const *)args->items,
	                            .env = env,
	                            .output_max = 2048,
	                            .timeout_ms = worker_left_ms(worker)};

	return spawn_check(&spawn, NULL, err);
}

int runtime_create(struct worker *worker, const struct slot_name *slot,
                   struct record_process *ret_container, struct record_process *ret_supervisor,
                   struct err *err)
{
	const struct agent_config *config = &worker->config;
	char conmon[PATHS_MAX], runtime[PATHS_MAX];
	AUTO_CLOSE int from = -1, to = -1;
	AUTO_ARGS struct args args = {0};
	int ends[2], r;
	pid_t pid = 0;

	r = spawn_find(config->helper.conmon, conmon, sizeof(conmon), err);
	if (r == 0)
		r = spawn_find(config->helper.runtime, runtime, sizeof(runtime), err);
	if (r < 0)
		return r;
	args_conmon(&args, config, slot, conmon, runtime);
	if (pipe(ends) < 0)
		return err_errno(err, -errno, "no pipe");
	from = ends[0];
	to = ends[1]; /* inherited on purpose */
	if (fcntl(from, F_SETFD, FD_CLOEXEC) < 0)
		return err_errno(err, -errno, "no pipe");
	r = start_conmon(worker, &args, to, err);
	close(TAKE_FD(to));
	if (r == 0)
		r = read_report(config, slot, from, worker_left_ms(worker), &pid, err);
	if (r == 0 && record_process_of(pid, ret_container))
		r = err_set(err, -ESRCH, "the container ended while it was made");
	return r == 0 ? supervisor_of(config, slot, ret_supervisor, err) : r;
}

int runtime_try(struct worker *worker, const struct slot_name *slot, struct err *err)
{
	char path[PATHS_MAX];
	AUTO_ARGS struct args args = {0};

	args_runtime(&args, &worker->config);
	args_add(&args, "create");
	args_add(&args, "--bundle");
	args_add(&args, "%s", paths_slot_run(&worker->config, slot, path, ""));
	args_add(&args, "%s", slot->text);
	return run_runtime(worker, &args, err);
}

/* The container's own process, but for its command: runtimes differ in what else they take over. */
static int write_process(const struct agent_config *config, const struct slot_name *slot,
                         const struct text_item *command, size_t count, char path[PATHS_MAX],
                         struct err *err)
{
	char config_path[PATHS_MAX];
	json_t *all = json_load_file(paths_slot_run(config, slot, config_path, "/config.json"), 0,
	                             NULL);
	json_t *process = json_object_get(all, "process"), *argv = json_array();
	AUTO_FREE char *text = NULL;

	for (size_t i = 0; i < count; i++)
		json_array_append_new(argv, json_string(command[i].text));
	if (json_object_set_new(process, "args", argv) == 0)
		text = json_dumps(process, JSON_COMPACT);
	json_decref(all);
	paths_slot_run(config, slot, path, "/exec.json");
	return text ? paths_write(path, text, strlen(text), 0600, err)
	            : err_set(err, -EIO, "%s is not readable", config_path);
}

int runtime_start(struct worker *worker, const struct slot_name *slot, struct err *err)
{
	AUTO_ARGS struct args args = {0};
	int r;

	args_runtime(&args, &worker->config);
	args_add(&args, "start");
	args_add(&args, "%s", slot->text);
	r = run_runtime(worker, &args, err);
	return r < 0 ? err_prefix(err, r, "the container does not start") : 0;
}

int runtime_exec(struct worker *worker, const struct slot_name *slot,
                 const struct text_item *command, size_t count, uint64_t timeout_ms, int *ret_code,
                 struct str *ret_output, struct err *err)
{
	AUTO_ARGS struct args args = {0};
	struct spawn spawn = {.output_max = 4096, .timeout_ms = timeout_ms};
	char pid_file[PATHS_MAX], process[PATHS_MAX];
	struct bytes text = {0};
	uint64_t pid;
	int r;

	if (count == 0 || count > LIMIT_ARGV)
		return err_set(err, -E2BIG, "a health command has 1 to %d words", LIMIT_ARGV);
	r = write_process(&worker->config, slot, command, count, process, err);
	if (r < 0)
		return r;
	paths_slot_run(&worker->config, slot, pid_file, "/exec");
	unlink(pid_file);
	args_runtime(&args, &worker->config);
	args_add(&args, "exec");
	args_add(&args, "--pid-file");
	args_add(&args, "%s", pid_file);
	args_add(&args, "--process");
	args_add(&args, "%s", process);
	args_add(&args, "%s", slot->text);
	spawn.argv = (const char *const *)args.items;
	r = spawn_run(&spawn, ret_code, ret_output, err);
	/* The runtime is gone, the command in the container may not be. */
	if (r == -ETIMEDOUT && paths_read(pid_file, 16, &text, NULL) == 0 &&
	    str_parse_u64((char *)text.data, INT32_MAX, &pid) == 0 && pid > 0)
		kill((pid_t)pid, SIGKILL);
	free(text.data);
	return r;
}

int runtime_version(struct worker *worker, char *dst, size_t dst_size, struct err *err)
{
	const char *const argv[] = {worker->config.helper.runtime, "--version", NULL};
	const struct spawn spawn = {.argv = argv, .output_max = 1024, .timeout_ms = 10000};
	const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	AUTO_STR struct str text = {0};
	const char *version;
	int r = spawn_check(&spawn, &text, err);

	if (r < 0)
		return r;
	version = strstr(str_get(&text), "version ");
	version = version ? version + strlen("version ") : "";
	snprintf(dst, dst_size, "%s %.*s", name, (int)strcspn(version, " \n"), version);
	return 0;
}

void runtime_signal(const struct record_process *process, int signal_number)
{
	AUTO_CLOSE int fd = process->pid > 0 ? pidfd_open(process->pid, 0) : -1;

	if (fd >= 0 && record_alive(process)) /* the descriptor holds the number for us */
		pidfd_send_signal(fd, signal_number, NULL, 0);
}

bool runtime_wait(const struct record_process *process, uint64_t timeout_ms)
{
	AUTO_CLOSE int fd = process->pid > 0 ? pidfd_open(process->pid, 0) : -1;
	struct pollfd wait = {fd, POLLIN, 0};
	uint64_t end = clock_mono_ms() + timeout_ms, now;

	while (fd >= 0 && record_alive(process)) {
		now = clock_mono_ms();
		if (now >= end)
			return false;
		poll(&wait, 1, (int)(end - now));
	}
	return true;
}
