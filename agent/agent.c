/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The turn of the shell. Whatever happens outside ends as an event for the core (shell_tell); then
 * the same turn follows, always: write down what changed, in one transaction; only then ask the
 * core what must be true and make it so (perform.c); again, while that led to further events. A
 * crash anywhere in between costs nothing, because everything that is asked for may be asked for
 * again. When the journal cannot be written (disk full), nothing is performed until it can.
 */
#include "agent/shell.h"

#include "agent/record_codec.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/baseline.h"
#include "protocol/codec_tables.h"
#include "protocol/manifest.h"
#include "protocol/message.h"

#include <assert.h>
#include <stdio.h>

enum { FETCH_BURST_MS = 1000 }; /* of the rate limit that may be used at once */

static void turn(struct agent *agent);
static void forget_works(struct agent *agent);

/* ---- create, free ---- */

static struct work *find_work(const struct agent *agent, const char *deployment)
{
	for (size_t i = 0; i < agent->works_count; i++)
		if (str_equal(agent->works[i]->deployment, deployment))
			return agent->works[i];
	return NULL;
}

struct work *shell_work(struct agent *agent, const char *deployment)
{
	struct work *work = find_work(agent, deployment);

	if (work)
		return work;
	if (agent->works_count == ARRAY_SIZE(agent->works))
		forget_works(agent);
	assert(agent->works_count < ARRAY_SIZE(agent->works));
	work = mem_alloc(sizeof(*work));
	STR_CUT(work->deployment, deployment);
	agent->works[agent->works_count++] = work;
	return work;
}

static int restore_record(void *context, const char *deployment, const void *data, size_t size,
			  struct err *err)
{
	struct agent *agent = context;
	AUTO_FREE struct deploy_record *record = mem_alloc(sizeof(*record));
	int r = codec_decode(&codec_deploy_record, data, size, record, err);

	if (r < 0)
		return err_prefix(err, r, "journal, deployment %s", deployment);
	r = node_core_restore(agent->core, record);
	if (r < 0)
		return err_set(err, r, "journal, deployment %s: the record breaks a bound",
			       deployment);
	recording_note(shell_work(agent, deployment), &record->last);
	return 0;
}

static int load(struct agent *agent, struct err *err)
{
	struct journal_node node;
	char boot_id[BOOT_ID_TEXT_MAX];
	int r = journal_load_node(agent->journal, &node, err);

	if (r < 0)
		return r;
	agent->world->boot_id(agent->world->context, boot_id);
	agent->boot_epoch = node.boot_epoch + 1;
	agent->rebooted = node.boot_id[0] != '\0' && !str_equal(node.boot_id, boot_id);
	node_core_restore_generation(agent->core, node.epoch, node.generation);
	agent->epoch = node.epoch;
	agent->generation = node.generation;
	r = journal_each_record(agent->journal, restore_record, agent, err);
	if (r < 0)
		return r;
	return journal_save_boot(agent->journal, agent->boot_epoch, boot_id, err);
}

int agent_create(const struct agent_options *options, const struct agent_world *world,
		 struct journal *journal, struct agent **ret_agent, struct err *err)
{
	COVEY_CLEANUP(agent_free_p) struct agent *agent = mem_alloc(sizeof(*agent));
	int r;

	agent->world = world;
	agent->journal = journal;
	STR_CUT(agent->name, options->name);
	agent->core = node_core_create(LIMIT_DEPLOYMENTS_PER_NODE);
	agent->list_at_ms = UINT64_MAX;
	agent->armed_ms = UINT64_MAX;
	agent->start_ms = agent_now(agent);
	bucket_set(&agent->fetch_bucket, options->fetch_rate, FETCH_BURST_MS, agent->start_ms);
	exchanging_start(agent, &options->peering);
	r = load(agent, err);
	if (r == 0)
		r = observing_open(agent, err);
	if (r < 0)
		return r;
	world->inventory(world->context, &agent->inventory);
	*ret_agent = TAKE_PTR(agent);
	return 0;
}

static void facts_free(struct release_facts *facts)
{
	free(facts->http_path);
	codec_free(&codec_release_observe, &facts->observe);
}

void agent_free(struct agent *agent)
{
	fetching_free(agent);
	exchanging_free(agent);
	for (size_t i = 0; i < agent->works_count; i++) {
		observing_forget(agent, agent->works[i]);
		free(agent->works[i]);
	}
	observing_free(agent);
	coded_idle(agent);
	for (size_t i = 0; i < agent->facts_count; i++)
		facts_free(&agent->facts[i]);
	free(agent->facts);
	free(agent->pending);
	if (agent->core)
		node_core_free(agent->core);
	free(agent);
}

/* ---- what the other parts of the shell use ---- */

uint64_t agent_now(const struct agent *agent)
{
	return agent->world->now_ms(agent->world->context);
}

void shell_log(const struct agent *agent, enum log_level level, const char *format, ...)
{
	char text[2 * LIMIT_REASON_TEXT];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	agent->world->log(agent->world->context, level, text);
}

void shell_event(const struct agent *agent, const struct log_event *event, const char *format, ...)
{
	char text[2 * LIMIT_REASON_TEXT];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (agent->world->event)
		agent->world->event(agent->world->context, event, text);
	else
		agent->world->log(agent->world->context, event->level, text);
}

static void stamp(const struct agent *agent, struct deploy_event *event)
{
	const struct agent_world *world = agent->world;

	event->now_ms = world->now_ms(world->context);
	event->unix_ms = world->unix_ms(world->context);
	event->random = world->random(world->context);
}

static void apply(struct agent *agent, struct node_event *event)
{
	stamp(agent, &event->event);
	if (!node_core_admits(agent->core, event))
		shell_log(agent, LOG_LEVEL_DEBUG, "%s: event %s does not fit, ignored",
			  event->deployment ? event->deployment : "node",
			  deploy_event_texts[event->event.kind]);
	/* Applying what is not admitted is harmless, and the core says so: one path for both. */
	if (node_core_apply(agent->core, event) == -ENOSPC)
		shell_log(agent, LOG_LEVEL_ERR, "more than %d deployments for this node: the rest "
						"is left out",
			  LIMIT_DEPLOYMENTS_PER_NODE);
	agent->again = agent->heard = true;
}

void shell_tell(struct agent *agent, const char *deployment, struct deploy_event event)
{
	struct node_event node_event = {
		.kind = NODE_DEPLOYMENT, .deployment = deployment, .event = event};

	apply(agent, &node_event);
}

void shell_tell_all(struct agent *agent, struct deploy_event event)
{
	struct node_event node_event = {.kind = NODE_ALL, .event = event};

	apply(agent, &node_event);
}

const struct release_facts *shell_facts(struct agent *agent, const struct digest *digest)
{
	const struct chunk_store_ops *store = &agent->world->store;
	struct release_facts *facts;
	struct release release = {0};
	struct err err = {0};

	for (size_t i = 0; i < agent->facts_count; i++)
		if (digest_equal(&agent->facts[i].digest, digest))
			return &agent->facts[i];
	if (store->release(store->context, digest, &release, &err) < 0)
		return NULL;
	MEM_GROW(agent->facts, &agent->facts_cap, agent->facts_count);
	facts = &agent->facts[agent->facts_count++];
	*facts = (struct release_facts){
		.digest = *digest,
		.health = {.failures = release.health.failures > 0 ? release.health.failures : 1,
			   .interval_ms = release.health.interval_ms,
			   .timeout_ms = release.health.timeout_ms,
			   .start_period_ms = release.health.start_period_ms},
		.kind = release.health.kind,
		.http_path = TAKE_PTR(release.health.http_path),
		.port = release.serve.port,
		.smokes = release.smokes_count,
		.observe = release.observe,
	};
	release.observe = (struct release_observe){0};
	if (release.baseline.size > 0)
		baseline_id(release.baseline.data, release.baseline.size, &facts->baseline);
	release_free(&release);
	return facts;
}

/* Releases that nobody keeps any more need no facts. */
static void forget_facts(struct agent *agent)
{
	for (size_t i = 0; i < agent->facts_count;) {
		struct release_facts *facts = &agent->facts[i];

		if (node_core_keeps(agent->core, &facts->digest)) {
			i++;
			continue;
		}
		facts_free(facts);
		*facts = agent->facts[--agent->facts_count];
	}
}

static void forget_works(struct agent *agent)
{
	for (size_t i = 0; i < agent->works_count;) {
		if (node_core_find(agent->core, agent->works[i]->deployment)) {
			i++;
			continue;
		}
		observing_forget(agent, agent->works[i]);
		free(agent->works[i]);
		agent->works[i] = agent->works[--agent->works_count];
	}
}

/* ---- the turn ---- */

static uint64_t next_deadline(const struct agent *agent)
{
	uint64_t at = shell_min(node_core_deadline(agent->core), agent->reporting.heartbeat_ms);

	at = shell_min(at, perform_probes_deadline(agent));
	if (agent->journal_broken) /* nothing else is done before it can be written */
		return shell_min(at, agent->journal_at_ms);
	at = shell_min(at, reporting_deadline(agent));
	at = shell_min(at, fetching_deadline(agent));
	at = shell_min(at, exchanging_deadline(agent));
	at = shell_min(at, perform_deadline(agent));
	at = shell_min(at, observing_deadline(agent));
	return shell_min(at, agent->list_at_ms);
}

static void arm(struct agent *agent)
{
	uint64_t at = next_deadline(agent);

	if (at == agent->armed_ms)
		return;
	agent->armed_ms = at;
	agent->world->arm(agent->world->context, at);
}

static void turn(struct agent *agent)
{
	unsigned rounds = 0;

	if (!agent->started)
		return;
	do {
		agent->again = false;
		if (!recording_write(agent)) {
			perform_probes(agent);
			break;
		}
		perform_all(agent);
		if (++rounds == SHELL_ROUNDS) {
			shell_log(agent, LOG_LEVEL_ERR,
				  "the decisions do not settle: frozen until the next event");
			break;
		}
	} while (agent->again);
	forget_facts(agent);
	forget_works(agent);
	exchanging_step(agent, agent_now(agent));
	if (!agent->journal_broken && !agent->again) /* nothing is said that a crash could undo */
		reporting_update(agent, agent_now(agent));
	observing_update(agent, agent_now(agent));
	arm(agent);
}

void agent_start(struct agent *agent)
{
	agent->started = true;
	turn(agent);
}

/* ---- what happens outside ---- */

void agent_on_link_up(struct agent *agent)
{
	agent->link_up = true;
	reporting_link_up(agent);
	observing_link(agent, true);
	turn(agent);
}

void agent_on_link_down(struct agent *agent)
{
	agent->link_up = false;
	observing_link(agent, false);
	turn(agent);
}

static void on_desired(struct agent *agent, const struct desired_state *desired)
{
	struct node_event event = {.kind = NODE_DESIRED, .desired = desired};

	stamp(agent, &event.event);
	switch (node_core_apply(agent->core, &event)) {
	case 0:
		break;
	case -ESTALE:
		shell_log(agent, LOG_LEVEL_WARNING,
			  "refused desired state %llu.%llu: it is older than what this node knows",
			  (unsigned long long)desired->epoch,
			  (unsigned long long)desired->generation);
		return;
	case -ENOSPC:
		shell_log(agent, LOG_LEVEL_ERR, "more than %d deployments for this node",
			  LIMIT_DEPLOYMENTS_PER_NODE);
		break;
	default:
		return;
	}
	agent->again = agent->heard = true;
}

void agent_leave(struct agent *agent)
{
	struct desired_state nothing = {0};

	agent->leaving = true;
	node_core_generation(agent->core, &nothing.epoch, &nothing.generation);
	on_desired(agent, &nothing);
	turn(agent);
}

static void on_logs_wanted(struct agent *agent, const struct msg_logs_wanted *wanted)
{
	const struct deploy *deploy = node_core_find(agent->core, wanted->deployment);
	struct pending about = {.logs_id = wanted->id};
	struct helper_request request = {.op = HELPER_LOGS, .lines = wanted->lines};
	uint64_t id;

	if (!deploy) {
		reporting_logs(agent, wanted->id, NULL, "this node does not have that deployment");
		return;
	}
	STR_CUT(request.deployment, wanted->deployment);
	request.colour = deploy->record.serving;
	if (!deploy->record.serves)
		request.colour = digest_is_zero(&deploy->record.slots[0].release.digest)
					 ? COLOUR_GREEN
					 : COLOUR_BLUE;
	request.release = deploy->record.slots[request.colour].release.digest;
	if (helping_send(agent, &request, &about, &id) < 0)
		reporting_logs(agent, wanted->id, NULL, "the node's helper is not reachable");
}

void agent_on_message(struct agent *agent, const void *data, size_t size)
{
	struct message message = {0};
	struct err err = {0};
	int r = message_decode(data, size, CHANNEL_AGENTS, FROM_COORDINATOR, &message, &err);

	if (r < 0) {
		if (r != -ENOTSUP)
			shell_log(agent, LOG_LEVEL_WARNING, "message refused: %s",
				  err_text(&err, r));
		return;
	}
	reporting_heard(agent);
	switch ((int)message.type) { /* only these pass message_decode() */
	case MESSAGE_DESIRED:
		if (!agent->leaving)
			on_desired(agent, message.body);
		break;
	case MESSAGE_ACK:
		reporting_ack(agent, message.body);
		break;
	case MESSAGE_OBSERVED_ACK:
		observing_acknowledged(agent, message.body);
		break;
	case MESSAGE_BASELINE:
		observing_baseline(agent, message.body);
		break;
	case MESSAGE_LOGS_WANTED:
		on_logs_wanted(agent, message.body);
		break;
	case MESSAGE_NEIGHBOURS:
		exchanging_neighbours(agent, message.body);
		break;
	case MESSAGE_REFUSED:
		agent->link_up = false; /* the link goes without a further word */
		agent->let_go = agent->leaving;
		if (agent->leaving)
			break;
		agent->world->refused(agent->world->context,
				      ((const struct msg_refused *)message.body)->text);
		break;
	default:
		break;
	}
	message_free(&message);
	turn(agent);
}

void agent_on_helper_up(struct agent *agent)
{
	helping_up(agent);
	turn(agent);
}

void agent_on_helper_down(struct agent *agent)
{
	helping_down(agent);
	turn(agent);
}

void agent_on_helper(struct agent *agent, const struct helper_reply *reply)
{
	helping_reply(agent, reply);
	turn(agent);
}

void agent_on_probe(struct agent *agent, uint64_t id, enum probe_answer answer, const char *text)
{
	perform_probed(agent, id, answer, text);
	turn(agent);
}

void agent_on_smoke(struct agent *agent, uint64_t id, bool ok, const char *test, const char *text)
{
	for (size_t i = 0; i < agent->works_count; i++)
		for (enum colour c = 0; c < COLOUR_COUNT; c++) {
			struct slot_work *slot = &agent->works[i]->slots[c];

			if (id == 0 || slot->smoke_id != id)
				continue;
			slot->smoke_id = 0;
			observing_smoked(agent, agent->works[i], c, ok);
			shell_tell(agent, agent->works[i]->deployment,
				   (struct deploy_event){.kind = ok ? DEPLOY_EVENT_SMOKE_PASSED
								    : DEPLOY_EVENT_SMOKE_FAILED,
							 .colour = c,
							 .release = slot->probed,
							 .check = test,
							 .text = text});
			id = 0;
		}
	turn(agent);
}

void agent_on_source(struct agent *agent, uint32_t source, bool up)
{
	if (source == SOURCE_ORIGIN)
		fetching_source(agent, up);
	turn(agent);
}

void agent_on_object(struct agent *agent, uint32_t source, const struct msg_object *object)
{
	if (source == SOURCE_ORIGIN)
		fetching_object(agent, object);
	turn(agent);
}

uint64_t agent_on_observed(struct agent *agent, uint64_t handle)
{
	uint64_t pause_ms = 0;

	if (observing_read(agent, handle, &pause_ms)) /* no turn: nothing was decided */
		arm(agent);
	return pause_ms;
}

void agent_on_scraped(struct agent *agent, uint64_t id, const char *data, size_t size)
{
	if (observing_scraped(agent, id, data, size))
		arm(agent);
}

void agent_stop(struct agent *agent)
{
	observing_stop(agent);
}

/* Chunks and the talk about them come by the hundred: the core is asked only when it heard news. */
void shell_exchange_turn(struct agent *agent)
{
	uint64_t now_ms = agent_now(agent);

	fetching_step(agent, now_ms);
	if (agent->again) {
		turn(agent);
		return;
	}
	exchanging_step(agent, now_ms);
	arm(agent);
}

void agent_tick(struct agent *agent, uint64_t now_ms)
{
	agent->armed_ms = UINT64_MAX - 1; /* it fired: the next one is armed in any case */
	helping_tick(agent, now_ms);
	reporting_tick(agent, now_ms);
	fetching_step(agent, now_ms);
	exchanging_step(agent, now_ms);
	if (node_core_deadline(agent->core) <= now_ms)
		shell_tell_all(agent, (struct deploy_event){.kind = DEPLOY_EVENT_TICK});
	turn(agent);
}

/* ---- asking ---- */

uint64_t agent_deadline(const struct agent *agent)
{
	return agent->armed_ms;
}

bool agent_is_healthy(const struct agent *agent)
{
	if (!agent->resumed)
		return false;
	for (size_t i = 0; i < node_core_count(agent->core); i++) {
		const struct deploy *deploy = node_core_at(agent->core, i);

		if (!digest_is_zero(&deploy->record.committed.digest) &&
		    deploy->record.assigned &&
		    (!deploy->record.serves || !deploy->slots[deploy->record.serving].healthy))
			return false;
	}
	return true;
}

bool agent_is_empty(const struct agent *agent)
{
	for (size_t i = 0; i < node_core_count(agent->core); i++) {
		const struct deploy *deploy = node_core_at(agent->core, i);

		if (!deploy_is_gone(deploy) || deploy->record.assigned)
			return false;
	}
	return !agent->journal_broken;
}

bool agent_was_let_go(const struct agent *agent)
{
	return agent->let_go;
}

bool agent_link_is_up(const struct agent *agent)
{
	return agent->link_up;
}
