/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An operator's request on its way through the shell. A verb is a function that answers at once,
 * or says CONTROL_WAIT: then it is asked again whenever something changed, and a last time with
 * `expired` when its time is over. Private to this folder.
 */
#pragma once

#include "coordinator/json.h"
#include "coordinator/shell.h"

enum { CONTROL_WAIT = 1 };

enum exit_code { /* product.md */
	EXIT_CODE_ERROR = 1,
	EXIT_CODE_USAGE = 2,
	EXIT_CODE_WAITING = 5,
};

struct control_verb {
	const char *name;
	enum operator_role role;
	bool audited; /* changes something that an operator answers for */
	int (*run)(struct control_call *call);
};

struct control_call {
	struct coordinator *c;
	const struct control_verb *verb;
	uint64_t client, id;
	enum operator_role role;
	char who[LIMIT_SHORT_TEXT + 1], from[LIMIT_SHORT_TEXT + 1];
	json_t *args; /* always an object */
	struct bytes blob;
	bool waited;	      /* asked again */
	bool expired;	      /* must answer now */
	uint64_t arrived_ms;
	uint64_t deadline_ms;	/* while waiting */
	uint64_t not_before_ms; /* while waiting: an answer is not worth its price earlier */
	uint64_t logs_id;     /* waiting for a node's logs */
	char *logs_text;
	bool logs_done;
	/* the answer */
	json_t *answer;
	struct bytes answer_blob;
	uint32_t exit_code; /* 0: from the verb's result */
	struct err err;
	bool audit_written;
};

/* ---- arguments; the sentence names the member ---- */
const char *control_str(const struct control_call *call, const char *key); /* NULL: absent */
int control_need(struct control_call *call, const char *key,
		 const char **ret_text) COVEY_MUST_CHECK;
uint64_t control_u64(const struct control_call *call, const char *key, uint64_t otherwise);
bool control_bool(const struct control_call *call, const char *key);

/* ---- what a request names: a name, an id or a unique prefix of one ---- */
int control_node(struct control_call *call, struct shell_node **ret_node) COVEY_MUST_CHECK;
int control_release(struct control_call *call,
		    const struct store_release **ret_release) COVEY_MUST_CHECK;
int control_rollout(struct control_call *call,
		    const struct store_rollout **ret_head) COVEY_MUST_CHECK;
int control_deployment(struct control_call *call,
		       struct shell_deployment **ret_deployment) COVEY_MUST_CHECK;
/* The live rollout with that head, or the one that *read_back then owns. */
int control_open_rollout(struct control_call *call, const struct rollout_id *id,
			 struct shell_rollout **ret_rollout,
			 struct shell_rollout **read_back) COVEY_MUST_CHECK;

/* Ends the transaction that shell_begin() opened for this call: as shell_end(), with the call's
 * entry in the audit log. */
int control_end(struct control_call *call, int r) COVEY_MUST_CHECK;
/* Parks the call for at most its `wait_ms`; CONTROL_WAIT, or 0 when there is nothing to wait. */
int control_wait(struct control_call *call, uint64_t wait_ms);

/* ---- JSON of things, used by several verbs ---- */
json_t *show_node(const struct coordinator *c, const struct shell_node *node, bool full);
json_t *show_gates(const struct coordinator *c, const struct shell_rollout *ro);
json_t *show_verdict(const struct shell_rollout *ro); /* null: nothing was judged */
json_t *show_rollout(const struct coordinator *c, const struct shell_rollout *ro);
json_t *show_rollout_head(const struct coordinator *c, const struct store_rollout *head);
json_t *show_deployment(const struct coordinator *c, const struct shell_deployment *deployment,
			bool full);
json_t *show_spec(const struct deployment_spec *spec);

/* ---- the verbs, by file ---- */
int verb_version(struct control_call *call); /* control_fleet.c */
int verb_status(struct control_call *call);
int verb_events(struct control_call *call);
int verb_logs(struct control_call *call);
int verb_freeze(struct control_call *call);
int verb_unfreeze(struct control_call *call);
int verb_token_create(struct control_call *call); /* control_token.c */
int verb_token_ls(struct control_call *call);
int verb_token_rm(struct control_call *call);
int verb_node_ls(struct control_call *call); /* control_node.c */
int verb_node_show(struct control_call *call);
int verb_node_label(struct control_call *call);
int verb_node_cordon(struct control_call *call);
int verb_node_uncordon(struct control_call *call);
int verb_node_approve(struct control_call *call);
int verb_node_revoke(struct control_call *call);
int verb_node_rm(struct control_call *call);
int verb_object_missing(struct control_call *call); /* control_release.c */
int verb_object_put(struct control_call *call);
int verb_object_get(struct control_call *call);
int verb_release_put(struct control_call *call);
int verb_release_get(struct control_call *call);
int verb_release_ls(struct control_call *call);
int verb_release_show(struct control_call *call);
int verb_release_rm(struct control_call *call);
int verb_drift_show(struct control_call *call);
int verb_drift_show(struct control_call *call); /* control_drift.c */
int verb_plan(struct control_call *call); /* control_plan.c */
int verb_apply(struct control_call *call);
int verb_rollout_ls(struct control_call *call); /* control_rollout.c */
int verb_rollout_show(struct control_call *call);
int verb_rollout_pause(struct control_call *call);
int verb_rollout_resume(struct control_call *call);
int verb_rollout_promote(struct control_call *call);
int verb_rollout_abort(struct control_call *call);
int verb_rollout_retry(struct control_call *call);
int verb_rollout_undo(struct control_call *call);
int verb_observations(struct control_call *call); /* control_observed.c */
int verb_deployment_ls(struct control_call *call); /* control_deployment.c */
int verb_deployment_show(struct control_call *call);
int verb_deployment_history(struct control_call *call);
int verb_deployment_rm(struct control_call *call);
