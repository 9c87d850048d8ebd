/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that need a worker: from the packet that came in to the packet that goes out. Workers
 * are short-lived processes (worker.h); here they are started, watched, killed at their deadline,
 * and their answers handed on.
 */
#pragma once

#include "agent/helper/api.h"
#include "agent/helper/loop.h"
#include "agent/helper/queue.h"

struct jobs;

struct jobs_done { /* how a job ended */
	const struct helper_request *request;
	uint64_t client;    /* as given to jobs_add(); 0: our own */
	const void *packet; /* the worker's reply, encoded; NULL: there is none */
	size_t size;
	uint32_t error;   /* of the reply, or why there is none: a positive errno */
	const char *text; /* why there is none */
};

struct jobs_options {
	const char *config; /* path of agent.conf, for the workers */
	uint64_t identity;  /* paths_identity() of it */
	const char *folder; /* where the workers' programs are */
	void (*done)(void *context, const struct jobs_done *done);
	void *context;
};

/* The loop and the options' texts are borrowed. */
struct jobs *jobs_create(struct loop *loop, const struct jobs_options *options);
/* Workers go on: they end by themselves. */
void jobs_free(struct jobs *jobs);

/* Takes *request over on success (zeroed). mode: "" or "restore". -EBUSY: too many; -ENOTSUP: no
 * worker does this. A STOP with kill ends workers of its slot and drops requests waiting for it,
 * whose done() gets -ECANCELED. */
int jobs_add(struct jobs *jobs, struct helper_request *request, const char *mode, uint64_t client,
             struct err *err) COVEY_MUST_CHECK;
void jobs_set_rules(struct jobs *jobs, bool rules); /* the firewall's rules stand: START may run */
/* Is a START or STOP of this slot waiting or under way? Then its container's end is no news. */
bool jobs_is_changing(const struct jobs *jobs, const char *deployment, enum colour colour);
bool jobs_has_traffic(const struct jobs *jobs);

/* Call on SIGCHLD, and when jobs_deadline() (UINT64_MAX: none) is over. */
void jobs_reap(struct jobs *jobs);
void jobs_tick(struct jobs *jobs, uint64_t now_ms);
uint64_t jobs_deadline(const struct jobs *jobs);
