/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the coordinator hears. A status is the whole truth and carries a sequence number that rises
 * when what it says has changed; it is sent again, ever more slowly, until an answer covers it, and
 * every few minutes anyway. Nothing is said that the journal does not have: a status waits, a
 * heartbeat tells the generation that is written. Whether something changed is not tracked but
 * seen: the reports are encoded after every turn and compared by digest. Progress of a transfer
 * alone is not news of its own: it travels at a few seconds' distance.
 */
#include "agent/shell.h"

#include "agent/core/backoff.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"
#include "protocol/message.h"

enum {
	RESEND_MIN_MS = 8000,
	RESEND_MAX_MS = 60000,
	PROGRESS_MS = 5000,
	SPREAD_MS = 100, /* changes that follow each other this fast travel together */
};

static uint64_t draw(const struct agent *agent, uint64_t below)
{
	return agent->world->random(agent->world->context) % below;
}

/* ---- the status ---- */

/* Where it comes from and how fast is the transfer's, not the core's. */
static void add_transfer(const struct agent *agent, struct deployment_report *report)
{
	const struct fetch_job *job = fetching_find(agent, &report->target);

	if (!job)
		return;
	report->bytes_from_peers = job->from_peers;
	report->fetch_rate = job->rate;
}

/* Reports borrow the texts of the core: free only the array. */
static void collect(const struct agent *agent, struct node_status *ret_status)
{
	struct node_status status = {.boot_epoch = agent->boot_epoch,
				     .sequence = agent->reporting.sequence};
	size_t count = node_core_count(agent->core);

	node_core_generation(agent->core, &status.epoch, &status.generation);
	status.deployments = mem_array(count + 1, sizeof(*status.deployments));
	for (size_t i = 0; i < count; i++) {
		const struct deploy *deploy = node_core_at(agent->core, i);

		if (deploy_is_gone(deploy))
			continue;
		deploy_report(deploy, &status.deployments[status.deployments_count]);
		add_transfer(agent, &status.deployments[status.deployments_count++]);
	}
	*ret_status = status;
}

/* Digest of what counts as news. */
static struct digest essence(const struct agent *agent, struct node_status status)
{
	AUTO_FREE struct deployment_report *plain =
		mem_array(status.deployments_count + 1, sizeof(*plain));
	struct bytes bytes = {0};
	struct digest digest = {0};

	status.sequence = 0;
	STR_CUT(status.inventory.runtime, agent->runtime);
	for (size_t i = 0; i < status.deployments_count; i++) {
		plain[i] = status.deployments[i];
		plain[i].bytes_done = plain[i].bytes_from_peers = plain[i].fetch_rate = 0;
	}
	status.deployments = plain;
	if (codec_encode(&codec_node_status, &status, LIMIT_AGENT_MESSAGE, &bytes, NULL) == 0)
		digest_of(&digest, bytes.data, bytes.size);
	free(bytes.data);
	return digest;
}

void agent_status(const struct agent *agent, struct node_status *ret_status)
{
	struct node_status status;

	collect(agent, &status);
	status.inventory = agent->inventory;
	STR_CUT(status.inventory.runtime, agent->runtime);
	codec_copy(&codec_node_status, ret_status, &status);
	free(status.deployments);
}

int reporting_send(const struct agent *agent, enum message_type type, const void *body)
{
	struct bytes bytes = {0};
	struct err err = {0};
	int r = message_encode(type, body, &bytes, &err);

	if (r < 0)
		shell_log(agent, LOG_LEVEL_ERR, "%s: %s", message_name(type), err_text(&err, r));
	else
		r = agent->world->send(agent->world->context, bytes.data, bytes.size);
	free(bytes.data);
	return r;
}

static void send_status(struct agent *agent, uint64_t now_ms)
{
	struct reporting *reporting = &agent->reporting;
	struct node_status status;

	agent->world->inventory(agent->world->context, &agent->inventory);
	collect(agent, &status);
	status.inventory = agent->inventory;
	STR_CUT(status.inventory.runtime, agent->runtime);
	/* Lost or not: it comes again until an answer covers it. */
	(void)!reporting_send(agent, MESSAGE_STATUS, &status);
	free(status.deployments);
	reporting->due = false;
	reporting->sent_ms = now_ms;
	reporting->sends++;
	reporting->progress_ms = now_ms + PROGRESS_MS;
	reporting->resend_ms = now_ms + backoff_ms(RESEND_MIN_MS, RESEND_MAX_MS, reporting->sends,
						   agent->world->random(agent->world->context));
}

/* ---- exchange ---- */

static size_t collect_complaints(const struct agent *agent, struct peer_complaint *complaints)
{
	const struct exchange *exchange = agent->peering.exchange;
	size_t count = 0;

	for (size_t i = 0; exchange && i < LIMIT_NEIGHBOURS; i++) {
		const struct peer_state *peer = &exchange->peers[i];

		if (!peer->used || !peer->complaint[0])
			continue;
		complaints[count] =
			(struct peer_complaint){.node = peer->of.id, .fault = peer->fault};
		STR_CUT(complaints[count++].text, peer->complaint);
	}
	return count;
}

void reporting_peers(struct agent *agent)
{
	const struct peering *peering = &agent->peering;
	const struct agent_peering *options = &peering->options;
	struct peer_complaint complaints[LIMIT_NEIGHBOURS];
	struct msg_peer_report report = {.off = !options->on || !peering->open,
					 .complaints = complaints};

	if (!agent->world->peers.set || !agent->link_up || agent->leaving)
		return;
	agent->peering.report_due = false;
	STR_CUT(report.address, options->address);
	report.port = report.off || peering->problem[0] ? 0 : options->port;
	STR_CUT(report.text, !options->on	? "peer: off in agent.conf"
			     : !peering->open	? "outside of its window"
			     : peering->problem[0] ? peering->problem
			     : options->port == 0	? "peer_port: 0 in agent.conf"
						: "");
	report.complaints_count = collect_complaints(agent, complaints);
	(void)!reporting_send(agent, MESSAGE_PEER_REPORT, &report); /* said anew with the next link */
}

/* ---- when ---- */

static bool may_report(const struct agent *agent, uint64_t now_ms)
{
	/* Before the helper has listed what runs, we would report slots as down that are up. */
	return agent->link_up && !agent->leaving &&
	       (agent->resumed || now_ms >= agent->start_ms + SHELL_HELPER_WAIT_MS);
}

static bool is_fetching(const struct agent *agent)
{
	return agent->jobs != NULL;
}

static uint64_t status_at(const struct agent *agent)
{
	const struct reporting *reporting = &agent->reporting;
	uint64_t at = reporting->sent_ms + LIMIT_STATUS_MS;

	if (reporting->due)
		return reporting->sent_ms + SPREAD_MS;
	if (reporting->acked < reporting->sequence)
		at = shell_min(at, reporting->resend_ms);
	if (is_fetching(agent))
		at = shell_min(at, reporting->progress_ms);
	return at;
}

/* Repeated as a heartbeat is: it may get lost. */
static void say_leave(struct agent *agent)
{
	struct msg_leave leave = {.boot_epoch = agent->boot_epoch};

	(void)!reporting_send(agent, MESSAGE_LEAVE, &leave);
}

static void heartbeat(struct agent *agent, uint64_t now_ms)
{
	struct msg_heartbeat beat = {.boot_epoch = agent->boot_epoch,
				     .sequence = agent->reporting.sequence,
				     .epoch = agent->epoch,
				     .generation = agent->generation};

	agent->reporting.heartbeat_ms =
		now_ms + LIMIT_HEARTBEAT_MS * 4 / 5 + draw(agent, LIMIT_HEARTBEAT_MS * 2 / 5);
	if (agent->world->memory_is_short(agent->world->context))
		shell_tell_all(agent,
			       (struct deploy_event){.kind = DEPLOY_EVENT_MEMORY_PRESSURE});
	if (!agent->link_up)
		return;
	if (agent->leaving) {
		say_leave(agent);
		return;
	}
	(void)!reporting_send(agent, MESSAGE_HEARTBEAT, &beat);
	if (now_ms - agent->reporting.heard_ms >= LIMIT_SILENCE_MS) {
		agent->reporting.heard_ms = now_ms;
		agent->world->relink(agent->world->context);
	}
}

static void look_for_news(struct agent *agent)
{
	struct reporting *reporting = &agent->reporting;
	struct node_status status;
	struct digest now;

	if (reporting->sequence > 0 && !agent->heard)
		return; /* time alone changes nothing that we say */
	agent->heard = false;
	collect(agent, &status);
	now = essence(agent, status);
	free(status.deployments);
	if (reporting->sequence > 0 && digest_equal(&now, &reporting->told))
		return;
	reporting->told = now;
	reporting->sequence++;
	reporting->sends = 0;
	reporting->due = true;
}

void reporting_update(struct agent *agent, uint64_t now_ms)
{
	look_for_news(agent);
	if (may_report(agent, now_ms) && now_ms >= status_at(agent))
		send_status(agent, now_ms);
}

/* Beats also without a link: memory is looked at with it. */
void reporting_tick(struct agent *agent, uint64_t now_ms)
{
	if (now_ms >= agent->reporting.heartbeat_ms)
		heartbeat(agent, now_ms);
}

uint64_t reporting_deadline(const struct agent *agent)
{
	if (!agent->link_up || agent->leaving)
		return agent->reporting.heartbeat_ms;
	if (!may_report(agent, agent_now(agent)))
		return shell_min(agent->reporting.heartbeat_ms,
				 agent->start_ms + SHELL_HELPER_WAIT_MS);
	return shell_min(status_at(agent), agent->reporting.heartbeat_ms);
}

/* ---- the link ---- */

void reporting_link_up(struct agent *agent)
{
	struct msg_subscribe subscribe = {.protocol_version = PROTOCOL_VERSION,
					  .boot_epoch = agent->boot_epoch,
					  .epoch = agent->epoch,
					  .generation = agent->generation};

	STR_CUT(subscribe.agent_version, COVEY_VERSION);
	STR_CUT(subscribe.name, agent->name);
	if (agent->leaving)
		say_leave(agent);
	else
		(void)!reporting_send(agent, MESSAGE_SUBSCRIBE, &subscribe);
	reporting_peers(agent);
	agent->reporting.due = true;
	agent->reporting.sends = 0;
	agent->reporting.heartbeat_ms = agent_now(agent) + draw(agent, LIMIT_HEARTBEAT_MS);
	agent->reporting.heard_ms = agent_now(agent);
}

void reporting_heard(struct agent *agent)
{
	agent->reporting.heard_ms = agent_now(agent);
}

void reporting_ack(struct agent *agent, const struct msg_ack *ack)
{
	struct reporting *reporting = &agent->reporting;

	if (ack->boot_epoch == agent->boot_epoch && ack->sequence <= reporting->sequence &&
	    ack->sequence > reporting->acked)
		reporting->acked = ack->sequence;
	if (ack->send_status)
		reporting->due = true;
}

void reporting_logs(struct agent *agent, uint64_t id, const char *text, const char *error)
{
	struct msg_logs logs = {.id = id, .text = text ? mem_str(text) : NULL};

	STR_CUT(logs.error, error);
	(void)!reporting_send(agent, MESSAGE_LOGS, &logs);
	free(logs.text);
}
