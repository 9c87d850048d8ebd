/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slot's container: made by the OCI runtime under conmon, which outlives us, keeps its output and
 * notes its exit code. Everything of one slot is found again by the path of its bundle.
 */
#pragma once

#include "agent/helper/record.h"
#include "agent/helper/worker.h"
#include "base/str.h"

/* Starts conmon, which makes the container; it waits then, with namespaces and control group but
 * without having run anything of the image. The bundle (config.json, mounted rootfs) must be there.
 */
int runtime_create(struct worker *worker, const struct slot_name *slot,
                   struct record_process *ret_container, struct record_process *ret_supervisor,
                   struct err *err) COVEY_MUST_CHECK;
/* The same without conmon and without reports: can this bundle be made into a container? */
int runtime_try(struct worker *worker, const struct slot_name *slot,
                struct err *err) COVEY_MUST_CHECK;
/* Lets a created container run. */
int runtime_start(struct worker *worker, const struct slot_name *slot,
                  struct err *err) COVEY_MUST_CHECK;
/* The runtime forgets the container; processes that are left, supervisors and control groups go
 * too. 0 also when nothing was there. */
int runtime_delete(struct worker *worker, const struct slot_name *slot,
                   struct err *err) COVEY_MUST_CHECK;
/* Runs a command in the container; after timeout_ms it is killed there: -ETIMEDOUT. */
int runtime_exec(struct worker *worker, const struct slot_name *slot,
                 const struct text_item *command, size_t count, uint64_t timeout_ms, int *ret_code,
                 struct str *ret_output, struct err *err) COVEY_MUST_CHECK;
/* "runc 1.1.5" */
int runtime_version(struct worker *worker, char *dst, size_t dst_size,
                    struct err *err) COVEY_MUST_CHECK;

/* Sends a signal to that very process, never to a later one of the same number. */
void runtime_signal(const struct record_process *process, int signal_number);
/* Waits until the process is gone. False: it still runs after timeout_ms. */
bool runtime_wait(const struct record_process *process, uint64_t timeout_ms);

struct runtime_limits { /* controllers that this node can enforce */
	bool memory, cpu, pids;
	bool unified; /* cgroup v2 */
};
void runtime_limits(struct runtime_limits *ret_limits);
