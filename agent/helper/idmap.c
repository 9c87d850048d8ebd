/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A user namespace comes with a process: a child makes one and waits until its maps are written and
 * a descriptor is held, then it ends. The mount is a private copy of the tree, changed before it is
 * put anywhere, so nobody sees it half made.
 */
#include "agent/helper/idmap.h"

#include "base/mem.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static _Noreturn void be_namespace(int ready)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWUSER) < 0 || write(ready, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static int write_map(pid_t pid, const char *name, uint32_t first)
{
	AUTO_FREE char *path = mem_format("/proc/%d/%s", (int)pid, name);
	AUTO_FREE char *line = mem_format("0 %u %d\n", first, IDMAP_SIZE);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, line, strlen(line)) == (ssize_t)strlen(line) ? 0 : -errno;
}

static int fill(pid_t pid, uint32_t first)
{
	AUTO_FREE char *path = mem_format("/proc/%d/ns/user", (int)pid);
	int fd, r = write_map(pid, "uid_map", first);

	if (r == 0)
		r = write_map(pid, "gid_map", first);
	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int idmap_open(uint32_t first, struct err *err)
{
	AUTO_CLOSE int from = -1, to = -1;
	int ends[2], r;
	char byte;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "no pipe");
	from = ends[0];
	to = ends[1];
	pid = fork();
	if (pid < 0)
		return err_errno(err, -errno, "no process");
	if (pid == 0)
		be_namespace(to);
	close(TAKE_FD(to));
	r = read(from, &byte, 1) == 1 ? fill(pid, first) : -EPERM;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return r < 0 ? err_errno(err, r, "the kernel gives no user namespace") : r;
}

int idmap_bind(int space, const char *source, const char *target, struct err *err)
{
	AUTO_CLOSE int tree = open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	struct mount_attr change = {.attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY |
	                                        MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID,
	                            .propagation = MS_PRIVATE,
	                            .userns_fd = (unsigned)space};

	if (tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &change, sizeof(change)) < 0)
		return err_errno(err, -errno, "the owners of %s cannot be mapped", source);
	if (move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(err, -errno, "%s", target);
	return 0;
}
