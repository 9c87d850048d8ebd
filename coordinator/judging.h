/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judge of a rollout inside the shell: its journal in the store, the records it has read, what
 * it told the rollout's machine. judging_start.c settles what is frozen before the first period,
 * judging.c feeds and concludes, judging_show.c prints. Private.
 */
#pragma once

#include "coordinator/judge/history.h"
#include "coordinator/judge/record.h"
#include "coordinator/shell.h"

#include <jansson.h>

struct shell_judging {
	struct judge_start start; /* as it was written down */
	struct baseline baseline;
	struct judge_policy policy;
	struct gather_node *nodes;
	int64_t *clocks; /* of each member: how far its clock is behind ours, as best seen so far */
	struct gather *gather;
	struct judge *judge;
	struct judge_period *periods; /* all that were closed; owned */
	size_t periods_count, periods_cap;
	uint64_t sequence;     /* of the newest entry */
	uint64_t seen;	       /* id of the newest observation that was taken */
	uint64_t closed_at[2]; /* what `seen` was at the last closings, newest first */
	uint64_t quarantined;  /* bits of canary nodes */
	struct judge_verdict verdict; /* newest that was written down */
	bool paused;	       /* the pause was asked for; a person's word stands after it */
};

/* What is frozen, from the history of the deployment; nothing is written. Caller:
 * codec_free(&codec_judge_entry). */
int judging_settle(struct coordinator *c, const struct shell_rollout *ro,
		   struct judge_entry *ret_entry, struct err *err) COVEY_MUST_CHECK;
/* The records of a deployment that history is learned from: for judging_settle() and for plans.
 * release: that served then. ret_seen: id of the newest observation; ret_window_ms: how far back
 * the records go. */
int judging_history(struct coordinator *c, const char *deployment, const struct digest *release,
		    const struct node_id *nodes, size_t nodes_count, struct history *history,
		    uint64_t *ret_seen, uint64_t *ret_window_ms, struct err *err) COVEY_MUST_CHECK;

/* The declared gates can be judged, and in time. */
int judging_check(const struct coordinator *c, const struct deployment_spec *spec,
		  struct err *err) COVEY_MUST_CHECK;
/* `evidence` of a plan: for each gate how long it takes at recent traffic. */
int judging_forecast(struct coordinator *c, const struct deployment_spec *spec,
		     const struct plan *plan, json_t *answer, struct err *err) COVEY_MUST_CHECK;

/* From its journal; *ret_judging NULL: it has none. */
int judging_read(struct coordinator *c, const struct shell_rollout *ro,
		 struct shell_judging **ret_judging, struct err *err) COVEY_MUST_CHECK;
/* Applies one entry; -EUCLEAN: it does not follow. */
int judging_apply(struct shell_judging *j, const struct rollout *machine,
		  struct judge_entry *entry) COVEY_MUST_CHECK;
/* When a record ended, in fleet time, by the smallest delay that its node ever had. */
uint64_t judging_ended_at(int64_t *clock, uint64_t received_ms,
			  const struct observation_record *record);
