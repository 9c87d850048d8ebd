/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between shim.c, in a program under valgrind, and broker.c, outside: one packet with the question
 * (the descriptors that it speaks of ride along), one with the answer (a new descriptor, too).
 */
#pragma once

#include <linux/openat2.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define BROKER_ENV "COVEY_SYSCALL_BROKER" /* path of its socket */

enum { BROKER_FDS = 2 };

struct broker_question {
	long number; /* of the system call */
	int pid, signal;
	unsigned flags;
	struct open_how how;
	struct mount_attr attr;
	char path[4096];
};

struct broker_answer {
	long result; /* 0 or -errno; a new descriptor comes with 0 */
};

/* fds: go with the packet, as far as they are not negative. */
static inline ssize_t broker_send(int peer, const void *data, size_t size,
				  const int fds[BROKER_FDS])
{
	size_t count = fds[0] < 0 ? 0 : fds[1] < 0 ? 1 : 2;
	_Alignas(struct cmsghdr) char room[CMSG_SPACE(BROKER_FDS * sizeof(int))] = {0};
	struct iovec piece = {(void *)data, size};
	struct msghdr m = {.msg_iov = &piece, .msg_iovlen = 1};

	if (count) {
		m.msg_control = room;
		m.msg_controllen = CMSG_SPACE(count * sizeof(int));
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
						      .cmsg_type = SCM_RIGHTS,
						      .cmsg_len = CMSG_LEN(count * sizeof(int))};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), fds, count * sizeof(int));
	}
	return sendmsg(peer, &m, MSG_NOSIGNAL);
}

/* ret_fds: what came with it, close-on-exec, else -1. */
static inline ssize_t broker_receive(int peer, void *data, size_t size, int ret_fds[BROKER_FDS])
{
	_Alignas(struct cmsghdr) char room[CMSG_SPACE(BROKER_FDS * sizeof(int))] = {0};
	struct iovec piece = {data, size};
	struct msghdr m = {.msg_iov = &piece,
			   .msg_iovlen = 1,
			   .msg_control = room,
			   .msg_controllen = sizeof(room)};
	ssize_t got = recvmsg(peer, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&m) : NULL;

	ret_fds[0] = ret_fds[1] = -1;
	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
	return got;
}
