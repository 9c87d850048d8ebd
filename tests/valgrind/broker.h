/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between shim.c, in a program under valgrind, and broker.c, outside: one packet with the question
 * (the descriptor that it speaks of rides along), one with the answer (a new descriptor, too).
 */
#pragma once

#include <linux/openat2.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define BROKER_ENV "COVEY_SYSCALL_BROKER" /* path of its socket */

struct broker_question {
	long number; /* of the system call */
	int pid, signal;
	struct open_how how;
	char path[4096];
};

struct broker_answer {
	long result; /* 0 or -errno; a new descriptor comes with 0 */
};

/* fd: goes with the packet, or -1. */
static inline ssize_t broker_send(int peer, const void *data, size_t size, int fd)
{
	_Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof(fd))] = {0};
	struct iovec piece = {(void *)data, size};
	struct msghdr m = {.msg_iov = &piece, .msg_iovlen = 1};

	if (fd >= 0) {
		m.msg_control = room;
		m.msg_controllen = sizeof(room);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
						      .cmsg_type = SCM_RIGHTS,
						      .cmsg_len = CMSG_LEN(sizeof(fd))};
		*(int *)(void *)CMSG_DATA(CMSG_FIRSTHDR(&m)) = fd;
	}
	return sendmsg(peer, &m, MSG_NOSIGNAL);
}

/* ret_fd: what came with it, close-on-exec, or -1. */
static inline ssize_t broker_receive(int peer, void *data, size_t size, int *ret_fd)
{
	_Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec piece = {data, size};
	struct msghdr m = {.msg_iov = &piece,
			   .msg_iovlen = 1,
			   .msg_control = room,
			   .msg_controllen = sizeof(room)};
	ssize_t got = recvmsg(peer, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&m) : NULL;

	*ret_fd = header && header->cmsg_type == SCM_RIGHTS ? *(int *)(void *)CMSG_DATA(header) : -1;
	return got;
}
