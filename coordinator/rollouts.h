/* SPDX-License-Identifier: Apache-2.0 */
/* What a rollout was created from, and the calls by which plans.c starts one. Private. */
#pragma once

#include "coordinator/shell.h"

struct rollout_seed {
	uint64_t attempt, created_ms;
	uint32_t spare; /* room for nodes that join while it runs */
	struct plan plan;
};

extern const struct codec_struct codec_rollout_seed;

/* A machine as it is before its first event; NULL when the record makes no sense. */
struct shell_rollout *rollouts_create(const struct store_rollout *record);
/* Reads stale machines anew; while one is stale nothing may be decided. */
int rollouts_reread(struct coordinator *c, struct err *err) COVEY_MUST_CHECK;
/* Becomes the live rollout of its deployment; the one before is forgotten (the store has it). */
void rollouts_adopt(struct coordinator *c, struct shell_rollout *ro);
void rollouts_drop(struct coordinator *c, const char *deployment);

/* Events of many nodes in one transaction, applied as they are written so that each is admitted by
 * what those before it made of the machine. If the transaction fails, the machines it touched are
 * read anew, and nothing was done outside. */
struct rollout_batch {
	struct coordinator *c;
	struct err *err;
	bool open; /* a transaction is under way */
};
int rollouts_batch_open(struct rollout_batch *batch) COVEY_MUST_CHECK; /* for other writes, too */
/* 1: written and applied; 0: not admitted. */
int rollouts_batch_feed(struct rollout_batch *batch, struct shell_rollout *ro,
			const struct rollout_event *event) COVEY_MUST_CHECK;
/* Tells each rollout which of its nodes others change now; the number of events, or an error. */
int rollouts_batch_busy(struct rollout_batch *batch) COVEY_MUST_CHECK;
/* Commits when r >= 0. */
int rollouts_batch_end(struct rollout_batch *batch, int r) COVEY_MUST_CHECK;

/* In memory, after rollout_end() was committed. deployment: whose base the rollout now is; NULL when
 * it did not complete. */
void rollouts_take_end(struct coordinator *c, struct shell_rollout *ro,
		       struct shell_deployment *deployment);

/* ---- deployments.c ---- */
struct shell_deployment *deployments_find(const struct coordinator *c, const char *name);
int deployments_load(struct coordinator *c, struct err *err) COVEY_MUST_CHECK;
void deployments_free_all(struct coordinator *c);
/* spec is copied. */
void deployments_insert(struct coordinator *c, const struct store_deployment *record,
			const struct deployment_spec *spec);
void deployments_remove(struct coordinator *c, const char *name);

/* ---- windows.c: base/window.h on the wall of a time zone ---- */
bool windows_is_open(const struct window_spec *windows, uint64_t unix_ms); /* for switching */
/* When the answer may be another one; UINT64_MAX: never. */
uint64_t windows_next_change(const struct window_spec *windows, uint64_t unix_ms);
/* -EINVAL: the time zone is not known here. */
int windows_check(const struct window_spec *windows, struct err *err) COVEY_MUST_CHECK;
