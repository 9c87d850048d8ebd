/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only the main thread of a daemon is followed: it alone decides and writes. Each stop is handled
 * before the next is asked for, so at most one process stands still because of us, except new ones
 * that wait for their first turn.
 */
#include "tests/integration/strike/strike.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/ptrace.h>

enum { TRACEES_MAX = 64, LOOK_US = 20000 };

static struct call calls[TRACEES_MAX]; /* the last entry of each process that we follow */
static size_t calls_count;
static pid_t stopped; /* 0: none */
static int signal_due;

static struct call *call_of(pid_t pid)
{
	for (size_t i = 0; i < calls_count; i++)
		if (calls[i].pid == pid)
			return &calls[i];
	if (calls_count == TRACEES_MAX)
		return &calls[TRACEES_MAX - 1];
	calls[calls_count] = (struct call){.pid = pid, .number = -1};
	return &calls[calls_count++];
}

static void forget(pid_t pid)
{
	for (size_t i = 0; i < calls_count; i++)
		if (calls[i].pid == pid)
			calls[i] = calls[--calls_count];
}

static void on_alarm(int number)
{
	(void)number; /* waitpid() comes back with EINTR */
}

int trace_begin(pid_t pid, bool children, struct err *err)
{
	const struct itimerval look = {{0, LOOK_US}, {0, LOOK_US}};
	const struct sigaction action = {.sa_handler = on_alarm};
	unsigned long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC;

	if (children)
		options |= PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &look, NULL);
	if (ptrace(PTRACE_SEIZE, pid, NULL, options) < 0 ||
	    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0)
		return err_errno(err, -errno, "attach to process %d", (int)pid);
	call_of(pid);
	return 0;
}

static bool read_call(pid_t pid, struct call *ret_call)
{
	struct ptrace_syscall_info info;
	struct call *call = call_of(pid);

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) < 0)
		return false;
	call->entered = info.op == PTRACE_SYSCALL_INFO_ENTRY;
	if (call->entered) {
		call->number = (long)info.entry.nr;
		for (size_t i = 0; i < 6; i++)
			call->args[i] = info.entry.args[i];
	} else if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
		call->result = info.exit.rval;
	} else {
		return false;
	}
	*ret_call = *call;
	return call->number >= 0;
}

static void go_on(void)
{
	if (stopped)
		ptrace(PTRACE_SYSCALL, stopped, NULL, signal_due);
	stopped = 0;
	signal_due = 0;
}

/* True: this stop is news. */
static bool take_stop(pid_t pid, int status, enum trace_news *ret_news, struct call *ret_call)
{
	int event = status >> 16, number = WSTOPSIG(status);

	stopped = pid;
	*ret_call = (struct call){.pid = pid, .number = -1};
	if (number == (SIGTRAP | 0x80)) {
		*ret_news = TRACE_CALL;
		return read_call(pid, ret_call);
	}
	if (event == PTRACE_EVENT_STOP && number != SIGTRAP) { /* stays stopped until SIGCONT */
		ptrace(PTRACE_LISTEN, pid, NULL, NULL);
		stopped = 0;
		return false;
	}
	if (event == 0)
		signal_due = number;
	*ret_news = TRACE_EXEC;
	return event == PTRACE_EVENT_EXEC;
}

int trace_next(uint64_t deadline_ms, enum trace_news *ret_news, struct call *ret_call)
{
	int status;
	pid_t pid;

	go_on();
	for (;;) {
		pid = waitpid(-1, &status, __WALL);
		if (pid < 0 && errno != EINTR)
			return -errno;
		if (clock_mono_ms() >= deadline_ms && pid < 0)
			return -ETIMEDOUT;
		if (pid < 0)
			continue;
		if (WIFSTOPPED(status)) {
			if (take_stop(pid, status, ret_news, ret_call))
				return 0;
			go_on();
			continue;
		}
		forget(pid);
		*ret_news = TRACE_GONE;
		*ret_call = (struct call){.pid = pid, .number = -1};
		return 0;
	}
}

void trace_detach(pid_t pid)
{
	ptrace(PTRACE_DETACH, pid, NULL, signal_due);
	forget(pid);
	stopped = 0;
	signal_due = 0;
}

void trace_end(void)
{
	int status;

	if (stopped)
		trace_detach(stopped);
	while (calls_count > 0) {
		pid_t pid = calls[0].pid;

		if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0 &&
		    waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
			ptrace(PTRACE_DETACH, pid, NULL,
			       (status >> 16) == 0 && WSTOPSIG(status) < SIGTRAP ? WSTOPSIG(status)
										 : 0);
		forget(pid);
	}
}

size_t trace_read(pid_t pid, uint64_t address, void *dst, size_t size)
{
	struct iovec here = {dst, size}, there = {(void *)(uintptr_t)address, size};
	ssize_t n = process_vm_readv(pid, &here, 1, &there, 1, 0);

	return n < 0 ? 0 : (size_t)n;
}

const char *trace_text(pid_t pid, uint64_t address, char *dst, size_t size)
{
	size_t got = 0;

	while (got + 1 < size && trace_read(pid, address + got, dst + got, 1) == 1 && dst[got])
		got++;
	dst[got] = 0;
	return dst;
}

const char *trace_file(pid_t pid, int fd, char *dst, size_t size)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)pid, fd);
	n = readlink(link, dst, size - 1);
	dst[n > 0 ? n : 0] = 0;
	return dst;
}
