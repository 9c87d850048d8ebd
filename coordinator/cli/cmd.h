/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs' run functions (cli.h says what they return), and what their families share. */
#pragma once

#include "coordinator/cli/client.h"

int cmd_init(struct cli *cli);
int cmd_lint(struct cli *cli);
int cmd_version(struct cli *cli);

int cmd_token_create(struct cli *cli);
int cmd_token_ls(struct cli *cli);
int cmd_token_rm(struct cli *cli);

int cmd_node_ls(struct cli *cli);
int cmd_node_show(struct cli *cli);
int cmd_node_label(struct cli *cli);
int cmd_node_cordon(struct cli *cli);
int cmd_node_uncordon(struct cli *cli);
int cmd_node_approve(struct cli *cli);
int cmd_node_revoke(struct cli *cli);
int cmd_node_rm(struct cli *cli);

int cmd_release_push(struct cli *cli);
int cmd_release_ls(struct cli *cli);
int cmd_release_show(struct cli *cli);
int cmd_release_verify(struct cli *cli);
int cmd_release_rm(struct cli *cli);

int cmd_plan(struct cli *cli);
int cmd_apply(struct cli *cli);

int cmd_rollout_ls(struct cli *cli);
int cmd_rollout_show(struct cli *cli);
int cmd_rollout_watch(struct cli *cli);
int cmd_rollout_pause(struct cli *cli);
int cmd_rollout_resume(struct cli *cli);
int cmd_rollout_promote(struct cli *cli);
int cmd_rollout_abort(struct cli *cli);
int cmd_rollout_undo(struct cli *cli);
int cmd_rollout_retry(struct cli *cli);

int cmd_deployment_ls(struct cli *cli);
int cmd_deployment_show(struct cli *cli);
int cmd_deployment_history(struct cli *cli);
int cmd_deployment_rm(struct cli *cli);

int cmd_baseline_build(struct cli *cli);

int cmd_observations(struct cli *cli);

int cmd_drift_show(struct cli *cli);
int cmd_gate_replay(struct cli *cli);

int cmd_status(struct cli *cli);
int cmd_events(struct cli *cli);
int cmd_logs(struct cli *cli);
int cmd_freeze(struct cli *cli);
int cmd_unfreeze(struct cli *cli);

/* What apply, undo or retry began, `rollout`, or else that `id` goes on. */
void cmd_print_begun(struct cli *cli, const json_t *answer);
/* key=value pairs into a JSON object of texts; the exit code. */
int cmd_parse_labels(struct cli *cli, const char *const *items, size_t count, json_t *object);
/* {name: args[0]}, the body of most verbs. */
json_t *cmd_body_of_arg(const struct cli *cli, const char *name);
/* One call whose answer is a list or an object: printed as JSON or by columns; the exit code. */
int cmd_list(struct cli *cli, const char *verb, json_t *body, const struct column *columns,
             const char *none);
int cmd_object(struct cli *cli, const char *verb, json_t *body, const struct column *columns);
/* A call whose answer matters to machines only: people read `done`. */
int cmd_act(struct cli *cli, const char *verb, json_t *body, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Columns of a rollout's head, shared by status, rollout ls and deployment history. */
extern const struct column cmd_rollout_columns[];
extern const struct column cmd_deployment_columns[];
