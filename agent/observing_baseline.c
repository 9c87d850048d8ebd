/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Against what a slot is counted: the baseline that the coordinator orders, from whichever release
 * on the disk brought it or from the journal, where it is kept when the coordinator had to send it.
 * A release without any is watched while it serves well, until enough is known to propose one.
 */
#include "agent/shell.h"

#include "base/mem.h"
#include "base/str.h"
#include "evidence/build.h"
#include "protocol/baseline.h"
#include "protocol/manifest.h"

/* ---- baselines ---- */

static bool decode_if(const struct bytes *bytes, const struct digest *wanted,
		      struct baseline *ret_baseline)
{
	struct digest id;

	if (bytes->size == 0)
		return false;
	baseline_id(bytes->data, bytes->size, &id);
	return digest_equal(&id, wanted) &&
	       baseline_decode(bytes->data, bytes->size, ret_baseline, NULL) == 0;
}

static bool from_release(struct agent *agent, const struct digest *release,
			 const struct digest *wanted, struct baseline *ret_baseline)
{
	const struct chunk_store_ops *store = &agent->world->store;
	const struct release_facts *facts;
	struct release opened = {0};
	bool found;

	if (digest_is_zero(release))
		return false;
	facts = shell_facts(agent, release);
	if (!facts || !digest_equal(&facts->baseline, wanted) ||
	    store->release(store->context, release, &opened, NULL) < 0)
		return false;
	found = decode_if(&opened.baseline, wanted, ret_baseline);
	release_free(&opened);
	return found;
}

struct search {
	const char *deployment;
	const struct digest *wanted;
	struct baseline *ret_baseline;
};

static int search_journal(void *context, const char *deployment, const void *data, size_t size,
			  struct err *err)
{
	const struct search *search = context;
	struct bytes bytes = {(uint8_t *)(uintptr_t)data, size};

	return str_equal(deployment, search->deployment) &&
	       decode_if(&bytes, search->wanted, search->ret_baseline);
}

static bool find_baseline(struct agent *agent, const struct deploy *deploy,
			  const struct digest *wanted, struct baseline *ret_baseline)
{
	struct search search = {deploy->record.name, wanted, ret_baseline};

	for (enum colour c = 0; c < COLOUR_COUNT; c++)
		if (from_release(agent, &deploy->record.slots[c].release.digest, wanted,
				 ret_baseline))
			return true;
	return journal_each_baseline(agent->journal, search_journal, &search, NULL) == 1;
}

struct digest observing_choose(struct agent *agent, const struct deploy *deploy,
			       struct watch *watch, struct baseline *ret_baseline)
{
	static const struct digest none;
	const struct digest *ordered = &deploy->record.assignment.observe.baseline;
	const struct release_facts *facts = shell_facts(agent, &watch->release);
	struct digest own = facts ? facts->baseline : none;

	watch->wanted = *ordered;
	if (!digest_is_zero(ordered) && find_baseline(agent, deploy, ordered, ret_baseline))
		return *ordered;
	if (!digest_is_zero(&own) && find_baseline(agent, deploy, &own, ret_baseline))
		return own;
	return none;
}

void observing_baseline(struct agent *agent, const struct msg_baseline *message)
{
	const struct deploy *deploy = node_core_find(agent->core, message->deployment);
	struct baseline baseline = {0};
	struct err err = {0};
	int r;

	if (!deploy || !decode_if(&message->baseline,
				  &deploy->record.assignment.observe.baseline, &baseline))
		return; /* of an older order */
	build_free(&baseline);
	r = journal_save_baseline(agent->journal, message->deployment, message->baseline.data,
				  message->baseline.size, &err);
	if (r < 0)
		shell_log(agent, LOG_LEVEL_WARNING, "baseline of %s: %s", message->deployment,
			  err_text(&err, r));
	for (enum colour c = 0; c < COLOUR_COUNT; c++) {
		struct watch *watch = shell_work(agent, message->deployment)->slots[c].watch;

		if (watch) /* looked for again with this turn */
			memset(&watch->wanted, 0xff, sizeof(watch->wanted));
	}
}

/* ---- learning ---- */

static bool may_learn(const struct deploy *deploy, const struct watch *watch, enum colour colour)
{
	return digest_is_zero(&watch->baseline) && !watch->proposal.data &&
	       digest_is_zero(&deploy->record.assignment.observe.baseline) &&
	       deploy->record.phase == DEPLOY_IDLE && deploy->record.serves &&
	       deploy->record.serving == colour && deploy->slots[colour].healthy &&
	       digest_equal(&deploy->record.committed.digest, &watch->release);
}

static void propose(struct agent *agent, const struct deploy *deploy, struct watch *watch)
{
	struct baseline baseline = {0};
	struct err err = {0};
	int r = learn_finish(watch->learn, &baseline, &err);

	if (r == 0)
		r = baseline_encode(&baseline, &watch->proposal, &err);
	build_free(&baseline);
	if (r < 0) {
		learn_restart(watch->learn);
		return;
	}
	learn_free(TAKE_PTR(watch->learn));
	shell_log(agent, LOG_LEVEL_INFO, "%s: a baseline was learned from %d observations",
		  deploy->record.name, LEARN_OBSERVATIONS);
}

void observing_learn(struct agent *agent, const struct deploy *deploy, struct watch *watch,
		     enum colour colour)
{
	if (!digest_is_zero(&deploy->record.assignment.observe.baseline)) {
		free(watch->proposal.data);
		watch->proposal = (struct bytes){0};
	}
	if (!may_learn(deploy, watch, colour)) {
		if (watch->learn)
			learn_free(TAKE_PTR(watch->learn));
		return;
	}
	if (!watch->learn)
		watch->learn = learn_create();
	if (learn_is_done(watch->learn))
		propose(agent, deploy, watch);
}

/* ---- proposals ---- */

static bool has_proposal(const struct baseline_proposal *proposals, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (str_equal(proposals[i].deployment, name))
			return true;
	return false;
}

void observing_propose(const struct agent *agent, struct msg_observed *message)
{
	message->proposals = mem_array(LIMIT_DEPLOYMENTS_PER_NODE, sizeof(*message->proposals));
	for (size_t i = 0; i < agent->works_count; i++)
		for (enum colour c = 0; c < COLOUR_COUNT; c++) {
			const struct work *work = agent->works[i];
			const struct watch *watch = work->slots[c].watch;
			struct baseline_proposal *proposal =
				&message->proposals[message->proposals_count];

			if (!watch || !watch->proposal.data ||
			    message->proposals_count == LIMIT_DEPLOYMENTS_PER_NODE ||
			    has_proposal(message->proposals, message->proposals_count,
					 work->deployment))
				continue;
			STR_CUT(proposal->deployment, work->deployment);
			proposal->release = watch->release;
			proposal->baseline = (struct bytes){
				mem_copy(watch->proposal.data, watch->proposal.size),
				watch->proposal.size};
			message->proposals_count++;
		}
}
