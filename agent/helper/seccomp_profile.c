/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An allow-list, as container engines have it by default, tighter in a few places: a model server
 * makes no namespaces, mounts nothing, has no business with keyrings, the kernel log or io_uring.
 * What is not in the list fails with EPERM. clone3 hides its flags behind a pointer that a filter
 * cannot follow: it fails with ENOSYS, and the C library falls back to clone, whose namespace flags
 * are checked. Names that an architecture does not have are skipped by the runtime.
 */
#include "agent/helper/seccomp_profile.h"

#include "base/mem.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

static const char allowed[] =
    "_llseek _newselect accept accept4 access alarm arch_prctl arm_fadvise64_64 "
    "arm_sync_file_range bind breakpoint brk cacheflush capget capset chdir chmod chown "
    "chown32 clock_getres clock_getres_time64 clock_gettime clock_gettime64 "
    "clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range "
    "creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 "
    "epoll_wait eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 "
    "fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchown fchown32 fchownat "
    "fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat "
    "fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_time64 "
    "futex_waitv futimesat get_mempolicy get_robust_list get_thread_area getcpu getcwd "
    "getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups "
    "getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority "
    "getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid "
    "getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr "
    "inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy "
    "io_getevents io_setup io_submit ioctl ioprio_get ioprio_set ipc kill "
    "landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 "
    "lgetxattr link linkat listen listxattr llistxattr lremovexattr lseek lsetxattr lstat "
    "lstat64 madvise mbind membarrier memfd_create memfd_secret mincore mkdir mkdirat "
    "mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify "
    "mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 "
    "mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock munlockall munmap "
    "name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_getfd "
    "pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll "
    "ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_vm_readv "
    "process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 read "
    "readahead readdir readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 "
    "recvmsg remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir "
    "rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn "
    "rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo "
    "sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr "
    "sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 "
    "sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield "
    "seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile "
    "sendfile64 sendmmsg sendmsg sendto set_mempolicy set_robust_list set_thread_area "
    "set_tid_address set_tls setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 "
    "setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid "
    "setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt "
    "setuid setuid32 setxattr shmat shmctl shmdt shmget shutdown sigaction sigaltstack "
    "signal signalfd signalfd4 sigpending sigprocmask sigreturn sigsuspend socketcall "
    "socketpair splice stat stat64 statfs statfs64 statx symlink symlinkat sync "
    "sync_file_range sync_file_range2 syncfs sysinfo tee tgkill time timer_create "
    "timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime "
    "timer_settime64 timerfd timerfd_create timerfd_gettime timerfd_gettime64 "
    "timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask "
    "uname unlink unlinkat utime utimensat utimensat_time64 utimes vfork wait4 waitid "
    "waitpid write writev ";

/* The native architecture first, then those whose binaries it also runs. */
static const char *const architectures[] = {
#if defined(__x86_64__)
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X86",
#elif defined(__aarch64__)
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
#elif defined(__arm__)
    "SCMP_ARCH_ARM",
#elif defined(__riscv)
    "SCMP_ARCH_RISCV64",
#elif defined(__powerpc64__)
    "SCMP_ARCH_PPC64LE",
#elif defined(__s390x__)
    "SCMP_ARCH_S390X",
#elif defined(__i386__)
    "SCMP_ARCH_X86",
#else
#error "Say here which architectures the system call filter is for."
#endif
};

#define NAMESPACES                                                                     \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
	 CLONE_NEWPID | CLONE_NEWNET)

static json_t *names_of(const char *text)
{
	AUTO_FREE char *copy = mem_str(text);
	json_t *names = json_array();
	char *rest = copy, *name;

	while ((name = strsep(&rest, " ")))
		if (*name)
			json_array_append_new(names, json_string(name));
	return names;
}

static void allow_first(json_t *calls, const char *name, const char *compare, json_int_t value)
{
	json_array_append_new(calls, json_pack("{s:[s], s:s, s:[{s:i, s:I, s:s}]}", "names", name,
	                                       "action", "SCMP_ACT_ALLOW", "args", "index", 0,
	                                       "value", value, "op", compare));
}

json_t *seccomp_profile(void)
{
	static const json_int_t personalities[] = {0, 8, 0x20000, 0x20008, 0xffffffff};
	json_t *calls = json_array(), *machines = json_array();
#if defined(__s390x__)
	const int flags = 1; /* clone's arguments are swapped there */
#else
	const int flags = 0;
#endif

	for (size_t i = 0; i < ARRAY_SIZE(architectures); i++)
		json_array_append_new(machines, json_string(architectures[i]));
	json_array_append_new(
	    calls, json_pack("{s:o, s:s}", "names", names_of(allowed), "action", "SCMP_ACT_ALLOW"));
	json_array_append_new(calls, json_pack("{s:[s], s:s, s:[{s:i, s:I, s:I, s:s}]}", "names",
	                                       "clone", "action", "SCMP_ACT_ALLOW", "args", "index",
	                                       flags, "value", (json_int_t)NAMESPACES, "valueTwo",
	                                       (json_int_t)0, "op", "SCMP_CMP_MASKED_EQ"));
	json_array_append_new(calls, json_pack("{s:[s], s:s, s:i}", "names", "clone3", "action",
	                                       "SCMP_ACT_ERRNO", "errnoRet", ENOSYS));
	for (size_t i = 0; i < ARRAY_SIZE(personalities); i++)
		allow_first(calls, "personality", "SCMP_CMP_EQ", personalities[i]);
	/* AF_ALG and the ones after it (AF_VSOCK, AF_XDP, ...) reach kernel code nobody here needs.
	 */
	allow_first(calls, "socket", "SCMP_CMP_LT", AF_ALG);
	return json_pack("{s:s, s:i, s:o, s:o}", "defaultAction", "SCMP_ACT_ERRNO",
	                 "defaultErrnoRet", EPERM, "architectures", machines, "syscalls", calls);
}
