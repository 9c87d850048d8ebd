/* SPDX-License-Identifier: Apache-2.0 */
/* What is watched of each deployment, in memory: watching.c keeps it, control_drift.c shows it. */
#pragma once

#include "coordinator/judge/record.h"
#include "coordinator/shell.h"

#include <jansson.h>

struct shell_watch {
	char deployment[LIMIT_NAME + 1];
	struct lookout watch;
	struct baseline baseline; /* that watch.baseline names; empty: none */
	uint64_t seen;		  /* id of the newest observation in it */
	const char *owed;	  /* why the hook must be called, and was not yet; NULL */
	bool hook_failed;	  /* ... though it was tried, and an event says so */
};

/* NULL: nothing was observed of it yet. */
struct shell_watch *watching_of(const struct coordinator *c, const char *deployment);
/* The value of the label by which nodes are grouped, "" without. */
const char *watching_site(const struct shell_node *node);
/* As a word of JSON and of the hook: what drifts, where, and the labels. */
json_t *show_watch(const struct coordinator *c, const struct shell_watch *watch);
