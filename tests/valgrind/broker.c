/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a system call for somebody who cannot. Debian 12's valgrind answers ENOSYS to openat2,
 * pidfds and the newer calls for mounts, without which the helper and its workers do nothing;
 * descriptors can be handed over and namespaces entered, so this process, which runs outside
 * valgrind, makes these calls and gives back what they opened. One question a connection, each in a
 * child; argv[1] is the socket. Ends with its parent.
 */
#include "broker.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* *ret_fd: what was opened, or -1. */
static long perform(struct broker_question *q, const int fds[BROKER_FDS], int *ret_fd)
{
	long result = -1;

	errno = ENOSYS;
	q->path[sizeof(q->path) - 1] = '\0';
	q->attr.userns_fd = (unsigned)fds[1];
	if (q->number == SYS_openat2)
		result = *ret_fd =
			(int)syscall(SYS_openat2, fds[0], q->path, &q->how, sizeof(q->how));
	else if (q->number == SYS_pidfd_open)
		result = *ret_fd = pidfd_open(q->pid, 0);
	else if (q->number == SYS_pidfd_send_signal)
		result = pidfd_send_signal(fds[0], q->signal, NULL, 0);
	else if (q->number == SYS_open_tree)
		result = *ret_fd = open_tree(AT_FDCWD, q->path, q->flags);
	else if (q->number == SYS_mount_setattr)
		result = mount_setattr(fds[0], "", q->flags, &q->attr, sizeof(q->attr));
	else if (q->number == SYS_move_mount)
		result = move_mount(fds[0], "", AT_FDCWD, q->path, q->flags);
	return result < 0 ? -errno : 0;
}

/* Where the asker sees its files: paths mean what they mean there. */
static int enter_mounts(int peer)
{
	struct ucred asker;
	socklen_t size = sizeof(asker);
	char path[64];
	int fd, r;

	if (getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &asker, &size) < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)asker.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	r = fd < 0 ? -1 : setns(fd, CLONE_NEWNS);
	if (fd >= 0)
		close(fd);
	return r;
}

static void serve(int peer)
{
	struct broker_question question;
	struct broker_answer answer;
	int given[BROKER_FDS], opened[BROKER_FDS] = {-1, -1};

	if (broker_receive(peer, &question, sizeof(question), given) == sizeof(question) &&
	    enter_mounts(peer) == 0) {
		answer.result = perform(&question, given, &opened[0]);
		(void)!broker_send(peer, &answer, sizeof(answer), opened);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (argc != 2 || strlen(argv[1]) >= sizeof(address.sun_path))
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGCHLD, SIG_IGN);
	memcpy(address.sun_path, argv[1], strlen(argv[1]));
	unlink(argv[1]);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(argv[1], 0777) < 0 || listen(fd, 128) < 0) {
		perror(argv[1]);
		return 1;
	}
	for (;;) {
		int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (peer >= 0 && fork() == 0) {
			serve(peer);
			_exit(0);
		}
		if (peer >= 0)
			close(peer);
	}
}
