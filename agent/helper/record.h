/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a slot is, on disk: written by the worker that started it, read by whoever comes later, so
 * that a killed helper knows nothing less after its restart. A record alone proves nothing: the
 * processes that it names are checked by process id, start time and boot.
 */
#pragma once

#include "agent/helper/paths.h"

#include <sys/types.h>

struct record_process {
	pid_t pid;
	uint64_t
	    started; /* clock ticks after boot: tells a process from a later one of its number */
};

struct record {
	char boot[40];
	char deployment[LIMIT_NAME + 1];
	enum colour colour;
	struct digest release;
	bool host_network;
	bool egress;
	char interface[INTERFACE_MAX]; /* "" with network: host */
	char address[16];              /* "" with network: host */
	char address6[46];             /* "" without IPv6 */
	uint32_t port; /* where the server listens: container port, or PORT on the host */
	struct record_process container, supervisor;
};

int record_write(const struct agent_config *config, const struct record *record,
                 struct err *err) COVEY_MUST_CHECK;
/* -ENOENT: no slot there; -ESTALE: of an earlier boot; -EBADMSG: a slot without a valid record. */
int record_read(const struct agent_config *config, const struct slot_name *slot,
                struct record *ret_record, struct err *err) COVEY_MUST_CHECK;

/* Start time of a process; -ESRCH when there is none. */
int record_process_of(pid_t pid, struct record_process *ret_process) COVEY_MUST_CHECK;
/* Is it still that process, and not a zombie? */
bool record_alive(const struct record_process *process);
/* The container's exit code as its supervisor wrote it; -ENOENT when it did not (yet). */
int record_exit_code(const struct agent_config *config, const struct slot_name *slot,
                     uint32_t *ret_code) COVEY_MUST_CHECK;
void record_boot_id(char dst[40]);

/* The slot as the agent hears of it; exit code and state are asked from the system. */
void record_describe(const struct agent_config *config, const struct record *record,
                     struct helper_slot *ret_slot);
/* Calls visit() for every slot directory of this boot; record NULL: broken. */
int record_each(const struct agent_config *config,
                int (*visit)(void *context, const struct slot_name *slot,
                             const struct record *record),
                void *context, struct err *err) COVEY_MUST_CHECK;
