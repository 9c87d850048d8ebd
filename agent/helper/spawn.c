/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child gets a process group of its own, so that a time limit ends all of it. Standard input is
 * a memory file (a writer could block), output one pipe that is read until the program ends; what
 * daemons behind it keep open does not hold us up, because the end is seen by pidfd, not by EOF.
 */
#include "agent/helper/spawn.h"

#include "base/clock.h"
#include "base/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int input_file(const char *text)
{
	int fd =
	    text ? memfd_create("input", MFD_CLOEXEC) : open("/dev/null", O_RDONLY | O_CLOEXEC);
	size_t size = text ? strlen(text) : 0;

	if (fd < 0)
		return -errno;
	if (size && (write(fd, text, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) < 0)) {
		close(fd);
		return -EIO;
	}
	return fd;
}

static _Noreturn void child(const struct spawn *spawn, const char *program, int input,
                            int output)
{
	char path[64];
	int fd;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_DFL);
	if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
		_exit(126);
	if (spawn->netns) {
		snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)spawn->netns);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) {
			dprintf(2, "cannot enter the network namespace: %s\n", strerror(errno));
			_exit(126);
		}
	}
	for (size_t i = 0; spawn->env && spawn->env[i]; i++)
		putenv((char *)spawn->env[i]);
	execv(program, (char *const *)spawn->argv);
	dprintf(2, "cannot run %s: %s\n", program, strerror(errno));
	_exit(127);
}

static void keep_output(int fd, size_t max, struct str *output)
{
	char data[4096];
	ssize_t got;

	while ((got = read(fd, data, sizeof(data))) > 0)
		if (output && output->size < max)
			str_add_bytes(output, data,
			              (size_t)got < max - output->size ? (size_t)got
			                                               : max - output->size);
}

/* 0 when the child ended, -ETIMEDOUT. */
static int wait_end(int pidfd, int output, const struct spawn *spawn, struct str *text)
{
	uint64_t end = clock_mono_ms() + spawn->timeout_ms;

	for (;;) {
		struct pollfd fds[] = {{pidfd, POLLIN, 0}, {output, POLLIN, 0}};
		uint64_t now = clock_mono_ms();

		if (now >= end)
			return -ETIMEDOUT;
		if (poll(fds, 2, (int)(end - now)) < 0 && errno != EINTR)
			return -errno;
		keep_output(output, spawn->output_max, text);
		if (fds[0].revents)
			return 0;
		if (fds[1].revents & POLLHUP) /* nothing more comes: do not spin */
			output = -1;
	}
}

int spawn_run(const struct spawn *spawn, int *ret_code, struct str *ret_output, struct err *err)
{
	AUTO_CLOSE int input = input_file(spawn->input), from = -1, to = -1, pidfd = -1;
	AUTO_STR struct str text = {0};
	char program[4096];
	int ends[2], status, r;
	pid_t pid;

	r = spawn_find(spawn->argv[0], program, sizeof(program), err);
	if (r < 0)
		return r;
	if (input < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, input < 0 ? input : -errno, "cannot run %s", spawn->argv[0]);
	from = ends[0];
	to = ends[1];
	if (fcntl(from, F_SETFL, O_NONBLOCK) < 0)
		return err_errno(err, -errno, "cannot run %s", spawn->argv[0]);
	pid = fork();
	if (pid < 0)
		return err_errno(err, -errno, "cannot run %s", spawn->argv[0]);
	if (pid == 0)
		child(spawn, program, input, to);
	close(TAKE_FD(to));
	pidfd = pidfd_open(pid, 0);
	r = pidfd < 0 ? -errno : wait_end(pidfd, from, spawn, &text);
	if (r < 0) {
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return err_errno(err, r, "%s did not end in %llu ms", spawn->argv[0],
		                 (unsigned long long)spawn->timeout_ms);
	*ret_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (ret_output) {
		str_free(ret_output);
		*ret_output = text;
		text = (struct str){0};
	}
	return 0;
}

int spawn_check(const struct spawn *spawn, struct str *ret_output, struct err *err)
{
	AUTO_STR struct str text = {0};
	char line[256];
	int code, r = spawn_run(spawn, &code, &text, err);

	if (r < 0)
		return r;
	if (code != 0) {
		spawn_last_line(str_get(&text), line, sizeof(line));
		return err_set(err, -EIO, "%s failed (%d): %s", spawn->argv[0], code, line);
	}
	if (ret_output) {
		str_free(ret_output);
		*ret_output = text;
		text = (struct str){0};
	}
	return 0;
}

int spawn_find(const char *program, char *dst, size_t dst_size, struct err *err)
{
	static const char places[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	AUTO_FREE char *copy = mem_str(program[0] == '/' ? "" : places);
	char *rest = copy, *place;

	while ((place = strsep(&rest, ":"))) {
		int size = snprintf(dst, dst_size, "%s%s%s", place, *place ? "/" : "", program);

		if (size > 0 && (size_t)size < dst_size && access(dst, X_OK) == 0)
			return 0;
	}
	return err_set(err, -ENOENT, "program `%s` is not installed on this node", program);
}

void spawn_last_line(const char *text, char *dst, size_t dst_size)
{
	size_t end = strlen(text), start;

	while (end && strchr("\n\r ", text[end - 1]))
		end--;
	for (start = end; start && text[start - 1] != '\n'; start--)
		;
	if (end - start >= dst_size)
		end = start + dst_size - 1;
	memcpy(dst, text + start, end - start);
	dst[end - start] = 0;
	for (char *c = dst; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
}
