/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run is a child process, the read end of its standard output and a timer that ends it when
 * it outlives its own time-out. The line that it prints fits into a pipe, so it is read once, when
 * the child has ended. The form of the line is ours and fixed: it is read by looking for the two
 * members, with JSON's escapes, and anything else counts as a failed run.
 */
#include "agent/probe/smoke.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { LINE_MAX_BYTES = 16 << 10, SLACK_MS = 2000, ACCURACY_US = 100000 };

struct run {
	struct run *next;
	struct smoke *smoke;
	struct agent_smoke wanted; /* its address is the next field */
	char address[64];
	pid_t pid; /* 0: never started */
	int pidfd, output;
	sd_event_source *child, *timer;
	bool late;
	bool again; /* the first worker was killed */
	char error[LIMIT_SHORT_TEXT + 1];
};

struct smoke {
	sd_event *event;
	struct smoke_config config;
	smoke_done_fn *done;
	void *context;
	struct run *runs;
};

int smoke_new(sd_event *event, const struct smoke_config *config, smoke_done_fn *done,
	      void *context, struct smoke **ret_smoke, struct err *err)
{
	struct smoke *smoke = mem_alloc(sizeof(*smoke));

	if (access(config->worker, X_OK) < 0) {
		int r = err_errno(err, -errno, "smoke test worker %s", config->worker);

		free(smoke);
		return r;
	}
	smoke->event = sd_event_ref(event);
	smoke->config = *config;
	smoke->done = done;
	smoke->context = context;
	*ret_smoke = smoke;
	return 0;
}

/* Ends the worker, if there is one, and forgets what belonged to it. */
static void end_worker(struct run *run)
{
	run->child = sd_event_source_disable_unref(run->child);
	if (run->pid > 0) { /* not reaped yet */
		kill(run->pid, SIGKILL);
		waitpid(run->pid, NULL, 0);
	}
	if (run->pidfd >= 0)
		close(run->pidfd);
	if (run->output >= 0)
		close(run->output);
	run->pid = 0;
	run->pidfd = run->output = -1;
}

static void run_free(struct run *run)
{
	struct run **at = &run->smoke->runs;

	while (*at != run)
		at = &(*at)->next;
	*at = run->next;
	sd_event_source_disable_unref(run->timer);
	end_worker(run);
	free(run);
}

void smoke_free(struct smoke *smoke)
{
	if (!smoke)
		return;
	while (smoke->runs)
		run_free(smoke->runs);
	sd_event_unref(smoke->event);
	free(smoke);
}

/* ---- the worker's line ---- */

static size_t put_utf8(char *dst, unsigned code)
{
	if (code < 0x80) {
		dst[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		dst[0] = (char)(0xc0 | code >> 6);
		dst[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	dst[0] = (char)(0xe0 | code >> 12);
	dst[1] = (char)(0x80 | (code >> 6 & 0x3f));
	dst[2] = (char)(0x80 | (code & 0x3f));
	return 3;
}

/* One escape after its backslash; returns how many characters it took, 0: none. */
static size_t unescape(const char *at, char dst[4], size_t *ret_size)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	const char *name = *at ? strchr(names, *at) : NULL;
	unsigned code;

	if (name) {
		dst[0] = values[name - names];
		*ret_size = 1;
		return 1;
	}
	if (*at != 'u' || strlen(at) < 5 || sscanf(at + 1, "%4x", &code) != 1)
		return 0;
	*ret_size = put_utf8(dst, code >= 0xd800 && code < 0xe000 ? '?' : code);
	return 5;
}

/* The value of a string member, cut to size. */
static bool member(const char *line, const char *name, char *dst, size_t size)
{
	AUTO_FREE char *key = mem_format("\"%s\":\"", name);
	const char *at = strstr(line, key);
	size_t used = 0;

	if (!at)
		return false;
	for (at += strlen(key); *at != '"';) {
		char bytes[4] = {*at};
		size_t count = 1, taken = 1;

		if (*at == '\0')
			return false;
		if (*at == '\\') {
			taken = unescape(at + 1, bytes, &count);
			if (taken++ == 0)
				return false;
		}
		at += taken;
		if (used + count < size) {
			memcpy(dst + used, bytes, count);
			used += count;
		}
	}
	dst[used] = '\0';
	return true;
}

bool smoke_parse(const char *line, bool *ret_ok, char ret_test[LIMIT_SHORT_TEXT + 1],
		 char ret_text[LIMIT_REASON_TEXT + 1])
{
	ret_test[0] = ret_text[0] = '\0';
	*ret_ok = str_starts(line, "{\"ok\":true}");
	if (*ret_ok)
		return true;
	return str_starts(line, "{\"ok\":false,") &&
	       member(line, "test", ret_test, LIMIT_SHORT_TEXT + 1) &&
	       member(line, "text", ret_text, LIMIT_REASON_TEXT + 1);
}

/* ---- the end of a run ---- */

/* The callback comes last: it may start and cancel runs. */
static void finish(struct run *run, bool ok, const char *test, const char *text)
{
	struct smoke *smoke = run->smoke;
	uint64_t id = run->wanted.id;

	run_free(run);
	smoke->done(smoke->context, id, ok, test, text);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct run *run = userdata;

	if (run->pid == 0) {
		char error[sizeof(run->error)];

		str_cut(error, sizeof(error), run->error);
		finish(run, false, "", error);
		return 0;
	}
	run->late = true;
	kill(run->pid, SIGKILL);
	return 0;
}

/* ---- the beginning ---- */

static int spawn(struct run *run, char *const argv[])
{
	static char *const environment[] = {(char *)"PATH=/usr/bin:/bin", NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	run->output = fds[0];
	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
	r = -posix_spawn(&run->pid, argv[0], &actions, &attributes, argv, environment);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	close(fds[1]);
	if (r < 0)
		run->pid = 0;
	return r;
}

static int on_child(sd_event_source *source, int fd, uint32_t revents, void *userdata);

static int begin(struct run *run)
{
	const struct agent_smoke *wanted = &run->wanted;
	char hex[2 * DIGEST_SIZE + 1];
	AUTO_FREE char *manifest = NULL, *port = NULL, *timeout = NULL;
	int r;

	str_hex(hex, wanted->release.bytes, DIGEST_SIZE);
	manifest = mem_format("%s/releases/%s.manifest", run->smoke->config.state_dir, hex);
	port = mem_format("%u", wanted->port);
	timeout = mem_format("%llu", (unsigned long long)wanted->timeout_ms);
	r = spawn(run, (char *[]){(char *)run->smoke->config.worker, manifest, hex,
				  run->address, port, timeout, NULL});
	if (r < 0)
		return r;
	run->pidfd = (int)syscall(SYS_pidfd_open, run->pid, 0);
	if (run->pidfd < 0)
		return -errno;
	/* A pidfd is readable when its process has ended: no signal has to be blocked for that. */
	r = sd_event_add_io(run->smoke->event, &run->child, run->pidfd, EPOLLIN, on_child, run);
	return r < 0 ? r : 0;
}

/* A worker that somebody killed, the kernel for want of memory most of all, says nothing about the
 * release: once more. */
static bool run_again(struct run *run, int status)
{
	if (run->again || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		return false;
	run->again = true;
	end_worker(run);
	return begin(run) == 0;
}

static int on_child(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct run *run = userdata;
	AUTO_FREE char *line = mem_alloc(LINE_MAX_BYTES);
	char test[LIMIT_SHORT_TEXT + 1], text[LIMIT_REASON_TEXT + 1];
	ssize_t size;
	bool ok = false;
	int status = 0;

	waitpid(run->pid, &status, 0);
	run->pid = 0;
	size = read(run->output, line, LINE_MAX_BYTES - 1);
	line[size > 0 ? size : 0] = '\0';
	if (run->late)
		finish(run, false, "", "the smoke tests did not end in time");
	else if (!smoke_parse(line, &ok, test, text) && !run_again(run, status))
		finish(run, false, "", "the program that runs the smoke tests failed");
	else if (run->pid == 0)
		finish(run, ok, test, text);
	return 0;
}

void smoke_start(struct smoke *smoke, const struct agent_smoke *wanted)
{
	struct run *run = mem_alloc(sizeof(*run));
	uint64_t at_ms = clock_mono_ms() + wanted->timeout_ms + SLACK_MS;
	int r;

	run->smoke = smoke;
	run->wanted = *wanted;
	STR_CUT(run->address, wanted->address);
	run->wanted.address = run->address;
	run->pidfd = run->output = -1;
	run->next = smoke->runs;
	smoke->runs = run;
	r = begin(run);
	if (r < 0) {
		end_worker(run);
		snprintf(run->error, sizeof(run->error), "starting the smoke tests: %s",
			 strerror(-r));
		at_ms = 0; /* told from the loop */
	}
	/* Without a timer a hanging worker would hang the step; the node deadline ends that too. */
	(void)!sd_event_add_time(smoke->event, &run->timer, CLOCK_BOOTTIME, at_ms * 1000,
				 ACCURACY_US, on_timer, run);
}

void smoke_cancel(struct smoke *smoke, uint64_t id)
{
	for (struct run *run = smoke->runs; run; run = run->next)
		if (run->wanted.id == id) {
			run_free(run);
			return;
		}
}
