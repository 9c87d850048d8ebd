/* SPDX-License-Identifier: Apache-2.0 */
/*
 * covey-strike: kills a running daemon of Covey at a named step, found from outside. It attaches
 * with ptrace, stops the daemon at its system calls, and where one makes a step durable or hands it
 * on, asks what step that is: of a journal by reading a copy of it as it would be found after a
 * crash, of the helper by decoding its packets. Nothing in the daemons knows about it.
 *
 *	names.c   what a transaction of the agent's journal or the coordinator's store says
 *	trace.c   ptrace: system calls, memory, new processes
 *	steps.c   from a system call to the names of steps
 *	main.c    options, the loop, the kill
 */
#pragma once

#include "agent/helper/api.h"
#include "base/err.h"
#include "base/str.h"

#include <sys/types.h>

/* ---- names.c ---- */

struct names; /* what the database said last */

/* path: journal.db of an agent or coordinator.db of a coordinator; which one, its name says. */
int names_open(const char *path, struct names **ret_names, struct err *err) COVEY_MUST_CHECK;
void names_close(struct names *names);
COVEY_DEFINE_CLEANUP(struct names *, names_close)
/* Reads a copy of the files as they lie there now, and fills *ret_steps with what is new in them,
 * words with a blank after each: "baking", "outcome:completed", "report". */
int names_next(struct names *names, struct str *ret_steps, struct err *err) COVEY_MUST_CHECK;

/* ---- trace.c ---- */

struct call { /* a system call at its entry (entered) or at its exit */
	pid_t pid;
	bool entered;
	long number;
	uint64_t args[6];
	int64_t result; /* at its exit */
};

enum trace_news { TRACE_CALL, TRACE_EXEC, TRACE_GONE };

/* Attaches to the main thread of pid. children: to the processes that it starts as well. */
int trace_begin(pid_t pid, bool children, struct err *err) COVEY_MUST_CHECK;
/* Lets what stopped last go on, waits for the next stop. -ETIMEDOUT, -ECHILD: nobody is left. */
int trace_next(uint64_t deadline_ms, enum trace_news *ret_news, struct call *ret_call);
void trace_detach(pid_t pid); /* it is stopped */
/* Lets go of everybody. */
void trace_end(void);
size_t trace_read(pid_t pid, uint64_t address, void *dst, size_t size); /* bytes that were read */
const char *trace_text(pid_t pid, uint64_t address, char *dst, size_t size);
const char *trace_file(pid_t pid, int fd, char *dst, size_t size); /* "" : none */

/* ---- steps.c ---- */

enum moment { /* of a step */
	MOMENT_LOST,	/* its transaction was written but not synced: the disk never got it */
	MOMENT_TORN,	/* ... or got half of it */
	MOMENT_WRITTEN, /* the disk has it, the daemon does not know that */
	MOMENT_AFTER,	/* the call came back, nothing was done about it */
	MOMENT_ACTED,	/* ... and after the first thing that was sent because of it */
	MOMENT_BEFORE,	/* the call has not happened */
	MOMENT_COUNT
};
extern const char *const moment_names[MOMENT_COUNT];

enum { STEPS_FDS_MAX = 256, STEPS_WORKERS_MAX = 32, STEPS_ASKED_MAX = 256 };

struct asked { /* a request of the agent */
	uint64_t id;
	enum helper_op op;
};

struct worker_calls { /* of one worker */
	pid_t pid;
	enum helper_op op; /* HELPER_OP_COUNT: not read yet */
	unsigned count;	   /* calls that changed something */
};

struct steps { /* what is known of the daemon */
	pid_t pid;
	struct names *names;
	char wal[512];		/* of its database; "" : the helper */
	bool writing;		/* a transaction is under way, from this place in the log */
	uint64_t from, to;
	struct asked asked[STEPS_ASKED_MAX]; /* helper: the latest requests, a ring */
	size_t asked_count;
	bool ours[STEPS_FDS_MAX]; /* helper: sockets to its workers */
	struct worker_calls workers[STEPS_WORKERS_MAX]; /* a ring */
	size_t workers_count;
};

struct step { /* of one system call */
	struct str names; /* words with a blank after each; none: nothing worth a name */
	bool durable;	  /* a commit: LOST, TORN, WRITTEN, AFTER, ACTED; else BEFORE and AFTER */
};

int steps_open(pid_t pid, const char *database, struct steps *ret_steps,
	       struct err *err) COVEY_MUST_CHECK;
void steps_close(struct steps *steps);
int steps_of(struct steps *steps, const struct call *call, struct step *ret_step,
	     struct err *err) COVEY_MUST_CHECK;
/* Does this call hand something on to others? */
bool steps_sends(const struct steps *steps, const struct call *call);
