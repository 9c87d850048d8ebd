/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into programs under valgrind: system calls that it does not know go to the broker, all
 * others to libc's syscall(). See broker.c. What such a program starts, a runtime say, may find
 * itself with this library and without valgrind: then everything goes to the kernel.
 */
#include "broker.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include <valgrind/valgrind.h>

long syscall(long number, ...);

static long kernel(long number, long a, long b, long c, long d, long e, long f)
{
	long (*libc)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");

	return libc(number, a, b, c, d, e, f);
}

static int broker(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = getenv(BROKER_ENV);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (!path || strlen(path) >= sizeof(address.sun_path))
		abort();
	memcpy(address.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		abort();
	return fd;
}

/* The new descriptor, or 0 for a call that opens none. */
static long ask(const struct broker_question *question, int fd, int other)
{
	const int fds[BROKER_FDS] = {fd, other};
	struct broker_answer answer = {-ENOSYS};
	int peer = broker(), opened[BROKER_FDS];

	if (broker_send(peer, question, sizeof(*question), fds) < 0)
		abort();
	if (broker_receive(peer, &answer, sizeof(answer), opened) != sizeof(answer))
		abort();
	close(peer);
	if (answer.result < 0) {
		errno = (int)-answer.result;
		return -1;
	}
	return opened[0] >= 0 ? opened[0] : 0;
}

int pidfd_open(pid_t pid, unsigned flags)
{
	struct broker_question question = {.number = SYS_pidfd_open, .pid = pid};

	if (!RUNNING_ON_VALGRIND)
		return (int)kernel(SYS_pidfd_open, pid, (long)flags, 0, 0, 0, 0);
	return (int)ask(&question, -1, -1);
}

int pidfd_send_signal(int pidfd, int signal, siginfo_t *info, unsigned flags)
{
	struct broker_question question = {.number = SYS_pidfd_send_signal, .signal = signal};

	if (!RUNNING_ON_VALGRIND)
		return (int)kernel(SYS_pidfd_send_signal, pidfd, signal, (long)info, (long)flags,
				   0, 0);
	return (int)ask(&question, pidfd, -1);
}

/* From and to a path of the asker's own; that is all that Covey does with them. */
int open_tree(int dir, const char *path, unsigned flags)
{
	struct broker_question question = {.number = SYS_open_tree, .flags = flags};

	if (!RUNNING_ON_VALGRIND)
		return (int)kernel(SYS_open_tree, dir, (long)path, (long)flags, 0, 0, 0);
	strncpy(question.path, path, sizeof(question.path) - 1);
	return (int)ask(&question, -1, -1);
}

int mount_setattr(int tree, const char *path, unsigned flags, struct mount_attr *attr, size_t size)
{
	struct broker_question question = {
		.number = SYS_mount_setattr, .flags = flags, .attr = *attr};

	if (!RUNNING_ON_VALGRIND)
		return (int)kernel(SYS_mount_setattr, tree, (long)path, (long)flags, (long)attr,
				   (long)size, 0);
	return (int)ask(&question, tree, (int)attr->userns_fd);
}

int move_mount(int tree, const char *path, int dir, const char *target, unsigned flags)
{
	struct broker_question question = {.number = SYS_move_mount, .flags = flags};

	if (!RUNNING_ON_VALGRIND)
		return (int)kernel(SYS_move_mount, tree, (long)path, dir, (long)target, (long)flags,
				   0);
	strncpy(question.path, target, sizeof(question.path) - 1);
	return (int)ask(&question, tree, -1);
}

long syscall(long number, ...)
{
	struct broker_question question = {.number = number};
	long a[6];
	va_list args;

	va_start(args, number);
	for (size_t i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (!RUNNING_ON_VALGRIND)
		return kernel(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (number == SYS_pidfd_open)
		return pidfd_open((pid_t)a[0], 0);
	if (number == SYS_pidfd_send_signal)
		return pidfd_send_signal((int)a[0], (int)a[1], NULL, 0);
	if (number != SYS_openat2)
		return kernel(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	question.how = *(const struct open_how *)a[2];
	strncpy(question.path, (const char *)a[1], sizeof(question.path) - 1);
	return ask(&question, (int)a[0], -1);
}
