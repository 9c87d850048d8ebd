/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which step a system call is. A database: the fdatasync of its log, named by what the transaction
 * changes. Files: what is synced or gets its final name, named by the folder. The helper: packets
 * that come, go to a worker, come back. A worker: its calls that change something outside, counted.
 */
#include "tests/integration/strike/strike.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

const char *const moment_names[MOMENT_COUNT] = {"lost", "torn", "written", "after", "acted",
						"before"};

/* In the order of enum helper_op. */
static const char *const op_names[HELPER_OP_COUNT] = {
	"hello", "preflight", "unpack", "start", "stop",	"traffic",
	"list",	 "exec",      "logs",	"connections", "prune", "close"};

int steps_open(pid_t pid, const char *database, struct steps *ret_steps, struct err *err)
{
	struct steps steps = {.pid = pid};
	int r = 0;

	if (database) {
		snprintf(steps.wal, sizeof(steps.wal), "%s-wal", database);
		r = names_open(database, &steps.names, err);
	}
	if (r == 0)
		*ret_steps = steps;
	return r;
}

void steps_close(struct steps *steps)
{
	if (steps->names)
		names_close(steps->names);
	steps->names = NULL;
}

/* ---- databases and files ---- */

static void name_file(const char *path, const char *verb, struct step *step)
{
	static const struct {
		const char *part, *name;
	} places[] = {{"/parts", "chunks"},	{"/blobs", "blob"},   {"/objects", "object"},
		      {"/manifests", "manifest"}, {"/tmp", "object"}, {"/slots", "record"}};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (strstr(path, places[i].part)) {
			str_addf(&step->names, "%s:%s ", verb, places[i].name);
			return;
		}
}

static int on_sync(struct steps *steps, const struct call *call, struct step *step,
		   struct err *err)
{
	char path[512];
	int r;

	trace_file(call->pid, (int)call->args[0], path, sizeof(path));
	if (!steps->names || !str_equal(path, steps->wal)) {
		name_file(path, "sync", step);
		return 0;
	}
	if (!steps->writing)
		return 0; /* of a checkpoint */
	steps->writing = false;
	step->durable = true;
	r = names_next(steps->names, &step->names, err);
	if (r == 0 && step->names.size == 0)
		str_add(&step->names, "rows ");
	return r;
}

static void on_write(struct steps *steps, const struct call *call)
{
	uint64_t size = call->args[2], at = call->args[3];
	char path[512];

	if (!steps->names ||
	    !str_equal(trace_file(call->pid, (int)call->args[0], path, sizeof(path)), steps->wal))
		return;
	if (!steps->writing) {
		steps->writing = true;
		steps->from = at;
		steps->to = at;
	}
	if (at < steps->from)
		steps->from = at;
	if (at + size > steps->to)
		steps->to = at + size;
}

static void on_rename(const struct call *call, struct step *step)
{
	char path[512];

	if (call->number == SYS_rename)
		trace_text(call->pid, call->args[1], path, sizeof(path));
	else
		trace_file(call->pid, (int)call->args[2], path, sizeof(path));
	name_file(path, "rename", step);
}

/* ---- the helper ---- */

static bool read_packet(const struct call *call, size_t size, const struct codec_struct *type,
			void *packet)
{
	AUTO_FREE uint8_t *data = mem_alloc(LIMIT_HELPER_MESSAGE);

	return size > 0 && size <= LIMIT_HELPER_MESSAGE &&
	       trace_read(call->pid, call->args[1], data, size) == size &&
	       codec_decode(type, data, size, packet, NULL) == 0;
}

static bool read_request(const struct call *call, size_t size, struct asked *ret_asked)
{
	struct helper_request request;

	if (!read_packet(call, size, &codec_helper_request, &request))
		return false;
	*ret_asked = (struct asked){request.id, request.op};
	codec_free(&codec_helper_request, &request);
	return true;
}

static const char *name_of_answer(const struct steps *steps, const struct call *call)
{
	struct helper_reply reply;
	uint64_t id;

	if (!read_packet(call, call->args[2], &codec_helper_reply, &reply))
		return "?";
	id = reply.id;
	codec_free(&codec_helper_reply, &reply);
	for (size_t i = 0; i < STEPS_ASKED_MAX; i++)
		if (id != 0 && steps->asked[i].id == id)
			return op_names[steps->asked[i].op];
	return "event";
}

/* Which sockets lead to workers: what comes from there is no request. */
static void note_sockets(struct steps *steps, const struct call *call)
{
	int ends[2];

	if (!call->entered && call->number == SYS_socketpair && call->result == 0 &&
	    trace_read(call->pid, call->args[3], ends, sizeof(ends)) == sizeof(ends) &&
	    ends[0] >= 0 && ends[0] < STEPS_FDS_MAX)
		steps->ours[ends[0]] = true;
	if (call->entered && call->number == SYS_close && call->args[0] < STEPS_FDS_MAX)
		steps->ours[call->args[0]] = false;
}

static void on_packet(struct steps *steps, const struct call *call, struct step *step)
{
	bool ours = call->args[0] < STEPS_FDS_MAX && steps->ours[call->args[0]];
	struct asked asked;

	if (!call->entered && call->number == SYS_recvfrom && call->result > 0 && !ours &&
	    read_request(call, (size_t)call->result, &asked)) {
		steps->asked[steps->asked_count++ % STEPS_ASKED_MAX] = asked;
		str_addf(&step->names, "received:%s ", op_names[asked.op]);
	} else if (call->entered && call->number == SYS_sendto && ours) {
		if (read_request(call, call->args[2], &asked))
			str_addf(&step->names, "hand:%s ", op_names[asked.op]);
	} else if (call->entered && call->number == SYS_sendto) {
		str_addf(&step->names, "answer:%s ", name_of_answer(steps, call));
	}
	note_sockets(steps, call);
}

static bool changes_something(long number)
{
	static const long numbers[] = {
		SYS_mount,   SYS_umount2,  SYS_unshare,	  SYS_setns,	SYS_mkdir,    SYS_mkdirat,
		SYS_rmdir,   SYS_unlink,   SYS_unlinkat,  SYS_rename,	SYS_renameat, SYS_renameat2,
		SYS_symlink, SYS_symlinkat, SYS_fsync,	  SYS_clone,	SYS_clone3,   SYS_fork,
		SYS_vfork,   SYS_sendto,   SYS_sendmsg,	  SYS_kill,	SYS_mknodat,  SYS_ftruncate,
		SYS_pidfd_send_signal};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (numbers[i] == number)
			return true;
	return false;
}

static struct worker_calls *worker_of(struct steps *steps, pid_t pid)
{
	struct worker_calls *worker;

	for (size_t i = 0; i < STEPS_WORKERS_MAX; i++)
		if (steps->workers[i].pid == pid)
			return &steps->workers[i];
	worker = &steps->workers[steps->workers_count++ % STEPS_WORKERS_MAX];
	*worker = (struct worker_calls){.pid = pid, .op = HELPER_OP_COUNT};
	return worker;
}

static void on_worker(struct steps *steps, const struct call *call, struct step *step)
{
	struct worker_calls *worker = worker_of(steps, call->pid);
	struct asked asked;

	if (worker->op == HELPER_OP_COUNT) {
		if (!call->entered && call->number == SYS_recvfrom && call->result > 0 &&
		    read_request(call, (size_t)call->result, &asked))
			worker->op = asked.op;
	} else if (call->entered && changes_something(call->number)) {
		str_addf(&step->names, "worker:%s:%u ", op_names[worker->op], ++worker->count);
	}
}

/* ---- all ---- */

int steps_of(struct steps *steps, const struct call *call, struct step *ret_step, struct err *err)
{
	*ret_step = (struct step){0};
	if (call->pid != steps->pid) {
		on_worker(steps, call, ret_step);
		return 0;
	}
	if (!steps->names)
		on_packet(steps, call, ret_step);
	if (!call->entered)
		return 0;
	switch (call->number) {
	case SYS_pwrite64:
		on_write(steps, call);
		return 0;
	case SYS_fsync:
	case SYS_fdatasync:
		return on_sync(steps, call, ret_step, err);
	case SYS_rename:
	case SYS_renameat:
	case SYS_renameat2:
		on_rename(call, ret_step);
		return 0;
	default:
		return 0;
	}
}

bool steps_sends(const struct steps *steps, const struct call *call)
{
	char path[64];

	if (call->pid != steps->pid)
		return false;
	if (call->number == SYS_sendto || call->number == SYS_sendmsg)
		return true;
	return call->number == SYS_write && /* wakes the thread that sends */
	       str_equal(trace_file(call->pid, (int)call->args[0], path, sizeof(path)),
			 "anon_inode:[eventfd]");
}
