/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job is over when its worker has exited, and not when it has answered: the next job of the same
 * slot must not meet the last one's process. A worker is its own process group; at its deadline the
 * group is killed, with everything that it started except containers, whose supervisors have
 * sessions of their own.
 */
#include "agent/helper/jobs.h"

#include "agent/helper/paths.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { EXTRA_MS = 2000, MINUTE_MS = 60000, FDS_BELOW = 4 };

struct job {
	struct helper_request request;
	const char *mode;
	uint64_t client;
	pid_t pid;
	int fd;
	uint64_t deadline_ms;
	bool over;             /* its end is being reported */
	bool late;             /* killed at its deadline */
	bool again;            /* its first worker was killed */
	const char *cancelled; /* why it was killed, or NULL */
};

struct jobs {
	struct loop *loop;
	struct jobs_options options;
	struct queue queue;
	bool rules;
	struct job items[QUEUE_MAX];
	uint8_t packet[LIMIT_HELPER_MESSAGE];
};

struct work {               /* how each operation is done */
	const char *worker; /* NULL: not by a worker */
	const char *key;    /* NULL: the slot's name */
	uint32_t limit_ms;
	bool needs_rules;
};

static const struct work works[HELPER_OP_COUNT] = {
    [HELPER_HELLO] = {"preflight", "@hello", 20000, false},
    [HELPER_PREFLIGHT] = {"preflight", "@preflight", 30000, false},
    [HELPER_UNPACK] = {"unpack", "@unpack", 30 * MINUTE_MS, false},
    [HELPER_START] = {"slot", NULL, MINUTE_MS, true},
    [HELPER_STOP] = {"slot", NULL, MINUTE_MS, false},
    [HELPER_TRAFFIC] = {"traffic", "@traffic", 20000, false},
    [HELPER_EXEC] = {"slot", NULL, 10000, false},
    [HELPER_CLOSE] = {"slot", NULL, 20000, false},
    [HELPER_PRUNE] = {"unpack", "@prune", 10 * MINUTE_MS, false},
};

struct jobs *jobs_create(struct loop *loop, const struct jobs_options *options)
{
	struct jobs *jobs = mem_alloc(sizeof(*jobs));

	jobs->loop = loop;
	jobs->options = *options;
	for (size_t i = 0; i < QUEUE_MAX; i++)
		jobs->items[i].fd = -1;
	return jobs;
}

static void forget(struct jobs *jobs, size_t place)
{
	struct job *job = &jobs->items[place];

	if (job->fd >= 0)
		close(job->fd);
	codec_free(&codec_helper_request, &job->request);
	*job = (struct job){.fd = -1};
	queue_remove(&jobs->queue, place);
}

void jobs_free(struct jobs *jobs)
{
	for (size_t i = 0; i < QUEUE_MAX; i++)
		if (jobs->queue.items[i].state != QUEUE_FREE)
			forget(jobs, i);
	free(jobs);
}

static uint64_t limit_of(const struct helper_request *request)
{
	uint64_t limit = works[request->op].limit_ms;

	if (request->op == HELPER_STOP && !request->kill)
		limit += request->grace_ms < 10 * MINUTE_MS ? request->grace_ms : 10 * MINUTE_MS;
	if (request->op == HELPER_EXEC) /* the release's own time limit is inside */
		limit += 5 * MINUTE_MS;
	return limit;
}

/* Between fork and exec: no allocation, nothing of ours is inherited but the socket. */
static _Noreturn void become_worker(char *const *argv, int fd)
{
	sigset_t none;

	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(fd, FDS_BELOW - 1) < 0)
		_exit(126);
	close_range(FDS_BELOW, ~0u, 0);
	execv(argv[0], argv);
	_exit(127);
}

/* The request waits in the socket before the worker runs. */
static int send_request(const struct job *job, int fd, struct err *err)
{
	const int size = 2 * LIMIT_HELPER_MESSAGE;
	struct bytes packet = {0};
	int r =
	    codec_encode(&codec_helper_request, &job->request, LIMIT_HELPER_MESSAGE, &packet, err);

	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	if (r == 0 && send(fd, packet.data, packet.size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		r = err_errno(err, -errno, "cannot hand the request on");
	free(packet.data);
	return r;
}

static int spawn_worker(struct jobs *jobs, struct job *job, struct err *err)
{
	AUTO_FREE char *program =
	    mem_format("%s/covey-worker-%s", jobs->options.folder, works[job->request.op].worker);
	uint64_t limit = limit_of(&job->request);
	AUTO_CLOSE int ours = -1, theirs = -1;
	const int size = 2 * LIMIT_HELPER_MESSAGE;
	char deadline[24], identity[24];
	char *argv[] = {
	    program, (char *)jobs->options.config, deadline, identity, (char *)job->mode, NULL};
	int ends[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return err_errno(err, -errno, "no socket for a worker");
	ours = ends[0];
	theirs = ends[1];
	setsockopt(theirs, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	r = send_request(job, ours, err);
	if (r < 0)
		return r;
	snprintf(deadline, sizeof(deadline), "%" PRIu64, limit);
	snprintf(identity, sizeof(identity), "%" PRIu64, jobs->options.identity);
	job->pid = fork();
	if (job->pid == 0)
		become_worker(argv, theirs);
	if (job->pid < 0) {
		job->pid = 0;
		return err_errno(err, -errno, "no process for a worker");
	}
	setpgid(job->pid, job->pid); /* whoever comes first */
	job->fd = TAKE_FD(ours);
	job->deadline_ms = clock_mono_ms() + limit + EXTRA_MS;
	return 0;
}

static void report(struct jobs *jobs, size_t place, const void *packet, size_t size, int error,
                   const char *text)
{
	struct job *job = &jobs->items[place];
	const struct jobs_done done = {.request = &job->request,
	                               .client = job->client,
	                               .packet = packet,
	                               .size = size,
	                               .error = (uint32_t)error,
	                               .text = text};

	job->over = true;
	jobs->options.done(jobs->options.context, &done);
}

static void run_next(struct jobs *jobs)
{
	size_t place;

	while (queue_next(&jobs->queue, jobs->rules, &place)) {
		struct job *job = &jobs->items[place];
		struct err err = {0};
		int r = spawn_worker(jobs, job, &err);

		if (r == 0)
			continue;
		report(jobs, place, NULL, 0, -r, err_text(&err, r));
		forget(jobs, place);
	}
}

/* A rollback does not wait for a start that hangs. */
static void cancel_slot(struct jobs *jobs, const char *key)
{
	for (size_t i = 0; i < QUEUE_MAX; i++) {
		struct job *job = &jobs->items[i];

		if (jobs->queue.items[i].state == QUEUE_FREE ||
		    !str_equal(jobs->queue.items[i].key, key) ||
		    (job->request.op == HELPER_STOP && job->request.kill))
			continue;
		if (jobs->queue.items[i].state == QUEUE_RUNNING) {
			job->cancelled = "the slot was stopped meanwhile";
			kill(-job->pid, SIGKILL);
			continue;
		}
		report(jobs, i, NULL, 0, ECANCELED, "the slot was stopped meanwhile");
		forget(jobs, i);
	}
}

int jobs_add(struct jobs *jobs, struct helper_request *request, const char *mode, uint64_t client,
             struct err *err)
{
	const struct work *work = &works[request->op];
	struct slot_name slot;
	const char *key = work->key;
	size_t place;
	int r;

	if (!work->worker)
		return err_set(err, -ENOTSUP, "operation %d has no worker", (int)request->op);
	if (!key) {
		r = paths_slot(request->deployment, request->colour, &slot, err);
		if (r < 0)
			return r;
		key = slot.text;
	}
	if (request->op == HELPER_STOP && request->kill)
		cancel_slot(jobs, key);
	r = queue_add(&jobs->queue, key, work->needs_rules, &place);
	if (r < 0)
		return err_set(err, r, "too many requests at once");
	jobs->items[place] =
	    (struct job){.request = *request, .mode = mode, .client = client, .fd = -1};
	*request = (struct helper_request){0};
	run_next(jobs);
	return 0;
}

void jobs_set_rules(struct jobs *jobs, bool rules)
{
	jobs->rules = rules;
	run_next(jobs);
}

static size_t find_pid(const struct jobs *jobs, pid_t pid)
{
	for (size_t i = 0; i < QUEUE_MAX; i++)
		if (jobs->queue.items[i].state == QUEUE_RUNNING && jobs->items[i].pid == pid)
			return i;
	return QUEUE_MAX;
}

/* A worker that somebody killed, the kernel for want of memory most of all, says nothing about what
 * was asked: a release must not be blamed for it. Once more, because every request may be repeated. */
static bool run_again(struct jobs *jobs, struct job *job, int status)
{
	struct err err = {0};

	if (job->again || job->late || job->cancelled || !WIFSIGNALED(status) ||
	    WTERMSIG(status) != SIGKILL)
		return false;
	job->again = true;
	close(TAKE_FD(job->fd));
	log_warning("covey-worker-%s was killed: its work is done once more",
	            works[job->request.op].worker);
	return spawn_worker(jobs, job, &err) == 0;
}

static void finish(struct jobs *jobs, size_t place, int status)
{
	struct job *job = &jobs->items[place];
	ssize_t size = recv(job->fd, jobs->packet, sizeof(jobs->packet), MSG_DONTWAIT);
	struct helper_reply reply = {0};
	char text[96];

	if (size <= 0 ||
	    codec_decode(&codec_helper_reply, jobs->packet, (size_t)size, &reply, NULL) < 0)
		size = 0;
	if (size <= 0 && run_again(jobs, job, status))
		return;
	if (size > 0 && reply.id == job->request.id) {
		report(jobs, place, jobs->packet, (size_t)size, (int)reply.error, reply.text);
	} else if (job->cancelled) {
		report(jobs, place, NULL, 0, ECANCELED, job->cancelled);
	} else if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGALRM)) {
		report(jobs, place, NULL, 0, ETIMEDOUT, "the work did not end in time");
	} else {
		snprintf(text, sizeof(text), "covey-worker-%s ended without an answer (%s %d)",
		         works[job->request.op].worker, WIFSIGNALED(status) ? "signal" : "exit",
		         WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		report(jobs, place, NULL, 0, EIO, text);
	}
	codec_free(&codec_helper_reply, &reply);
	forget(jobs, place);
}

void jobs_reap(struct jobs *jobs)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		size_t place = find_pid(jobs, pid);

		if (place < QUEUE_MAX)
			finish(jobs, place, status);
	}
	run_next(jobs);
}

void jobs_tick(struct jobs *jobs, uint64_t now_ms)
{
	for (size_t i = 0; i < QUEUE_MAX; i++)
		if (jobs->queue.items[i].state == QUEUE_RUNNING &&
		    jobs->items[i].deadline_ms <= now_ms) {
			jobs->items[i].deadline_ms = now_ms + EXTRA_MS;
			jobs->items[i].late = true;
			kill(-jobs->items[i].pid, SIGKILL);
		}
}

uint64_t jobs_deadline(const struct jobs *jobs)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < QUEUE_MAX; i++)
		if (jobs->queue.items[i].state == QUEUE_RUNNING &&
		    jobs->items[i].deadline_ms < next)
			next = jobs->items[i].deadline_ms;
	return next;
}

bool jobs_is_changing(const struct jobs *jobs, const char *deployment, enum colour colour)
{
	for (size_t i = 0; i < QUEUE_MAX; i++) {
		const struct job *job = &jobs->items[i];
		const struct helper_request *request = &job->request;

		if (jobs->queue.items[i].state != QUEUE_FREE && !job->over &&
		    (request->op == HELPER_STOP || request->op == HELPER_START) &&
		    request->colour == colour && str_equal(request->deployment, deployment))
			return true;
	}
	return false;
}

bool jobs_has_traffic(const struct jobs *jobs)
{
	return queue_has(&jobs->queue, works[HELPER_TRAFFIC].key);
}
