/* SPDX-License-Identifier: Apache-2.0 */
/* The resident helper's event loop: epoll over file descriptors and one deadline. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct loop_source { /* embedded in its owner, which outlives its registration */
	int fd;      /* -1: not registered */
	void (*ready)(struct loop_source *source);
	void *owner;
};

struct loop {
	int epoll;
	bool quit;
};

int loop_open(struct loop *loop, struct err *err) COVEY_MUST_CHECK;
void loop_close(struct loop *loop);

/* Takes fd over (closes it when that fails). Level-triggered, readable or hung up. */
int loop_add(struct loop *loop, struct loop_source *source, int fd,
             void (*ready)(struct loop_source *source), void *owner) COVEY_MUST_CHECK;
/* Unregisters and closes; may be called inside ready(). Fine on a source that is not registered. */
void loop_remove(struct loop *loop, struct loop_source *source);

/* Waits for one event or until deadline_ms (clock_mono_ms; UINT64_MAX: none), handles it. */
int loop_step(struct loop *loop, uint64_t deadline_ms) COVEY_MUST_CHECK;
