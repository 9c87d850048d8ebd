/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a system call for somebody who cannot. Debian 12's valgrind answers ENOSYS to openat2,
 * pidfd_open and pidfd_send_signal, without which the helper and its workers do nothing; descriptors
 * can be handed over, so this process, which runs outside valgrind, makes these calls and gives
 * back what they opened. One question a connection; argv[1] is the socket. Ends with its parent.
 */
#include "broker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* *ret_fd: what was opened, or -1. */
static long perform(struct broker_question *q, int fd, int *ret_fd)
{
	long result = -1;

	errno = ENOSYS;
	q->path[sizeof(q->path) - 1] = '\0';
	if (q->number == SYS_openat2)
		result = *ret_fd =
			(int)syscall(SYS_openat2, fd, q->path, &q->how, sizeof(q->how));
	else if (q->number == SYS_pidfd_open)
		result = *ret_fd = pidfd_open(q->pid, 0);
	else if (q->number == SYS_pidfd_send_signal)
		result = pidfd_send_signal(fd, q->signal, NULL, 0);
	return result < 0 ? -errno : 0;
}

static void serve(int peer)
{
	struct broker_question question;
	struct broker_answer answer;
	int given = -1, opened = -1;

	if (broker_receive(peer, &question, sizeof(question), &given) == sizeof(question)) {
		answer.result = perform(&question, given, &opened);
		(void)!broker_send(peer, &answer, sizeof(answer), opened);
	}
	if (given >= 0)
		close(given);
	if (opened >= 0)
		close(opened);
	close(peer);
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (argc != 2 || strlen(argv[1]) >= sizeof(address.sun_path))
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	memcpy(address.sun_path, argv[1], strlen(argv[1]));
	unlink(argv[1]);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(argv[1], 0777) < 0 || listen(fd, 128) < 0) {
		perror(argv[1]);
		return 1;
	}
	for (;;) {
		int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (peer >= 0)
			serve(peer);
	}
}
