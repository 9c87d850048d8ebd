/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all workers have in common: a worker is started by the resident helper for one request,
 *
 *   covey-worker-NAME CONFIG DEADLINE_MS IDENTITY [MODE]
 *
 * with a SOCK_SEQPACKET pair on descriptor 3 that holds the request as the agent sent it. It does
 * the work, answers with one helper_reply packet and exits. A killed worker leaves nothing that the
 * next one for the same request does not put right.
 */
#pragma once

#include "agent/helper/paths.h"

enum { WORKER_FD = 3 };

struct worker {
	struct agent_config config;
	struct helper_request request;
	const char *mode; /* "" for requests of the agent */
	uint64_t end_ms;  /* clock_mono_ms() by which the answer must be out */
	struct helper_reply reply;
};

/* One function for each operation that this program carries out. 0 or -errno and err; check names
 * the part that failed and goes into the reply. */
struct worker_op {
	enum helper_op op;
	int (*run)(struct worker *worker, struct err *err);
};

/* A worker's whole main(). */
int worker_main(int argc, char **argv, const struct worker_op *ops, size_t ops_count);

/* Names the check that failed (reply.check) and returns code. */
int worker_fail(struct worker *worker, int code, const char *check);
uint64_t worker_left_ms(const struct worker *worker); /* at least 1 */

/* Lock on a name below the run directory: a descriptor that holds it until it is closed or the
 * process ends; children do not inherit it. Waits until the worker's deadline. -ETIMEDOUT. */
int worker_lock(struct worker *worker, const char *name, bool shared,
                struct err *err) COVEY_MUST_CHECK;
