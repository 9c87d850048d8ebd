/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs about deployments. Removing one takes it out of every node's desired state at once: nodes
 * that cannot be reached now learn it when they return. */
#include "coordinator/control.h"
#include "coordinator/rollouts.h"

#include "base/str.h"
#include "protocol/digest.h"

int verb_deployment_ls(struct control_call *call)
{
	const struct coordinator *c = call->c;

	call->answer = json_array();
	for (size_t i = 0; i < c->deployments_count; i++)
		json_array_append_new(call->answer, show_deployment(c, c->deployments[i], false));
	return 0;
}

int verb_deployment_show(struct control_call *call)
{
	struct shell_deployment *deployment = NULL;
	int r = control_deployment(call, &deployment);

	if (r == 0)
		call->answer = show_deployment(call->c, deployment, true);
	return r;
}

/* Also of a deployment that was removed. */
int verb_deployment_history(struct control_call *call)
{
	const struct coordinator *c = call->c;
	const char *name = NULL;
	int r = control_need(call, "deployment", &name);

	if (r < 0)
		return r;
	call->answer = json_array();
	for (size_t i = c->history_count; i-- > 0;) {
		if (str_equal(c->history[i].deployment, name))
			json_array_append_new(call->answer, show_rollout_head(c, &c->history[i]));
	}
	if (json_array_size(call->answer) == 0 && !deployments_find(c, name))
		return err_set(&call->err, -ENOENT, "there is no deployment %.80s, and never was",
			       name);
	return 0;
}

int verb_deployment_rm(struct control_call *call)
{
	struct coordinator *c = call->c;
	struct shell_deployment *deployment = NULL;
	const struct shell_rollout *ro;
	char name[LIMIT_NAME + 1], id[ROLLOUT_ID_TEXT_MAX];
	int r = control_deployment(call, &deployment);

	if (r < 0)
		return r;
	STR_CUT(name, deployment->record.name);
	ro = rollouts_of(c, name);
	if (ro && rollouts_under_way(ro)) {
		rollout_id_text(id, &ro->head.id);
		return err_set(&call->err, -EBUSY,
			       "rollout %s of %s is under way: `covey rollout abort %s` first", id,
			       name, id);
	}
	r = shell_begin(c, &call->err);
	if (r == 0)
		r = c->store->ops->baseline_remove(c->store, name, &call->err);
	if (r == 0)
		r = c->store->ops->watch_remove(c->store, name, &call->err);
	if (r == 0)
		r = c->store->ops->deployment_remove(c->store, name, &call->err);
	r = control_end(call, r);
	if (r < 0)
		return r;
	rollouts_drop(c, name);
	deployments_remove(c, name);
	baselines_drop(c, name);
	watching_drop(c, name);
	c->dirty = true;
	events_add(c, "deployment", name, NULL, NULL, "removed by %s: its nodes drain",
		   call->who);
	return 0;
}
