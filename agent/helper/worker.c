/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker ends by itself at its deadline (alarm), also when the helper that started it was killed:
 * it then still holds its slot's lock, so the helper's next life waits for it instead of working
 * against it. Locks are flock()s on files that stay: removing a lock file is how two processes
 * come to hold the same lock.
 */
#include "agent/helper/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

int worker_fail(struct worker *worker, int code, const char *check)
{
	STR_CUT(worker->reply.check, check);
	return code;
}

uint64_t worker_left_ms(const struct worker *worker)
{
	uint64_t now = clock_mono_ms();

	return now + 1 < worker->end_ms ? worker->end_ms - now : 1;
}

int worker_lock(struct worker *worker, const char *name, bool shared, struct err *err)
{
	AUTO_FREE char *tail = mem_format("/%s.lock", name);
	const struct timespec pause = {0, 5000000};
	char path[PATHS_MAX];
	int fd = open(paths_run(&worker->config, path, tail),
	              O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_errno(err, -errno, "%s", path);
	while (flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK || worker_left_ms(worker) < 10) {
			close(fd);
			return err_set(err, -ETIMEDOUT, "somebody else works on %s", name);
		}
		nanosleep(&pause, NULL);
	}
	return fd;
}

static int read_request(struct worker *worker, struct err *err)
{
	AUTO_FREE uint8_t *data = mem_alloc(LIMIT_HELPER_MESSAGE);
	ssize_t size = recv(WORKER_FD, data, LIMIT_HELPER_MESSAGE, 0);

	if (size <= 0)
		return err_set(err, -EPROTO, "no request");
	return codec_decode(&codec_helper_request, data, (size_t)size, &worker->request, err);
}

static int run(struct worker *worker, const struct worker_op *ops, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++)
		if (ops[i].op == worker->request.op)
			return ops[i].run(worker, err);
	return err_set(err, -ENOTSUP, "this worker does not carry out operation %d",
	               (int)worker->request.op);
}

static int answer(struct worker *worker)
{
	struct bytes packet = {0};
	struct err err = {0};
	int r =
	    codec_encode(&codec_helper_reply, &worker->reply, LIMIT_HELPER_MESSAGE, &packet, &err);

	if (r == 0 && send(WORKER_FD, packet.data, packet.size, MSG_NOSIGNAL) < 0)
		r = -errno;
	if (r < 0)
		log_error("cannot answer: %s", err_text(&err, r));
	free(packet.data);
	return r;
}

int worker_main(int argc, char **argv, const struct worker_op *ops, size_t ops_count)
{
	static struct worker worker;
	struct err err = {0};
	uint64_t deadline, identity;
	int r;

	log_open(program_invocation_short_name, LOG_LEVEL_INFO);
	if (argc < 4 || str_parse_u64(argv[2], UINT32_MAX, &deadline) ||
	    str_parse_u64(argv[3], UINT64_MAX, &identity)) {
		log_error("covey-helper starts this program, nobody else");
		return 2;
	}
	if (fcntl(WORKER_FD, F_SETFD, FD_CLOEXEC) < 0)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	umask(022);
	worker.mode = argc > 4 ? argv[4] : "";
	worker.end_ms = clock_mono_ms() + deadline;
	alarm((unsigned)(deadline / 1000) + 1);
	r = read_request(&worker, &err); /* first: the reply carries its id */
	if (r == 0)
		r = config_load(argv[1], &worker.config, &err);
	if (r == 0 && paths_identity(&worker.config) != identity)
		r = err_set(&err, -ESTALE, "%s was changed where it matters: restart covey-helper",
		            argv[1]);
	if (r == 0)
		r = run(&worker, ops, ops_count, &err);
	worker.reply.id = worker.request.id;
	worker.reply.error = r < 0 ? (uint32_t)-r : 0;
	if (r < 0)
		STR_CUT(worker.reply.text, err_text(&err, r));
	_exit(answer(&worker) < 0 ? 1 : 0);
}
