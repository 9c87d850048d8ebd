/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helper as the shell sees it: requests carry a number, answers find their way back through
 * it, and a lost connection forgets them all, because the next round of decisions asks again for
 * what still matters. After every (re)connect the helper is asked for its slots first: at the
 * start that list is adopted, later it corrects what the core believes.
 */
#include "agent/shell.h"

#include "agent/core/backoff.h"
#include "base/mem.h"
#include "base/str.h"

/* ---- requests ---- */

int helping_send(struct agent *agent, struct helper_request *request, const struct pending *about,
		 uint64_t *ret_id)
{
	struct pending *pending;
	int r;

	if (!agent->helper_up)
		return -ENOTCONN;
	request->id = ++agent->last_id;
	r = agent->world->helper(agent->world->context, request);
	if (r < 0)
		return r;
	MEM_GROW(agent->pending, &agent->pending_cap, agent->pending_count);
	pending = &agent->pending[agent->pending_count++];
	*pending = *about;
	pending->id = request->id;
	pending->op = request->op;
	pending->colour = request->colour;
	pending->release = request->release;
	STR_CUT(pending->deployment, request->deployment);
	*ret_id = request->id;
	return 0;
}

bool helping_under_way(const struct agent *agent, uint64_t id)
{
	for (size_t i = 0; id != 0 && i < agent->pending_count; i++)
		if (agent->pending[i].id == id)
			return true;
	return false;
}

static bool take_pending(struct agent *agent, uint64_t id, struct pending *ret_pending)
{
	for (size_t i = 0; i < agent->pending_count; i++)
		if (agent->pending[i].id == id) {
			*ret_pending = agent->pending[i];
			agent->pending[i] = agent->pending[--agent->pending_count];
			return true;
		}
	return false;
}

static void ask_plain(struct agent *agent, enum helper_op op)
{
	struct helper_request request = {.op = op};
	struct pending about = {0};
	uint64_t id;

	if (helping_send(agent, &request, &about, &id) < 0 && op == HELPER_LIST)
		agent->list_at_ms = agent_now(agent) + SHELL_RETRY_MIN_MS;
}

void helping_up(struct agent *agent)
{
	agent->helper_up = true;
	agent->pending_count = 0;
	agent->traffic.repeat = agent->traffic.count > 0;
	agent->list_at_ms = UINT64_MAX;
	ask_plain(agent, HELPER_HELLO);
	ask_plain(agent, HELPER_LIST);
}

void helping_down(struct agent *agent)
{
	agent->helper_up = false;
	agent->list_at_ms = UINT64_MAX;
	for (size_t i = 0; i < agent->pending_count; i++)
		if (agent->pending[i].op == HELPER_LOGS && agent->pending[i].logs_id != 0)
			reporting_logs(agent, agent->pending[i].logs_id, NULL,
				       "the node's helper went away");
	for (size_t i = 0; i < agent->works_count; i++)
		for (enum colour c = 0; c < COLOUR_COUNT; c++) {
			struct slot_work *slot = &agent->works[i]->slots[c];

			slot->stop_at_ms = 0;
			if (helping_under_way(agent, slot->probe_id)) /* by a command */
				slot->probe_id = slot->probe_at_ms = 0;
		}
	agent->pending_count = 0;
}

void helping_tick(struct agent *agent, uint64_t now_ms)
{
	if (!agent->helper_up || now_ms < agent->list_at_ms)
		return;
	agent->list_at_ms = UINT64_MAX;
	ask_plain(agent, HELPER_LIST);
}

/* ---- slots ---- */

static struct slot_work *slot_work(struct agent *agent, const char *deployment, enum colour colour)
{
	if (!node_core_find(agent->core, deployment))
		return NULL;
	return &shell_work(agent, deployment)->slots[colour];
}

static void note_address(struct slot_work *work, const struct helper_slot *slot)
{
	STR_CUT(work->address, slot->address);
	work->probe_port = slot->probe_port;
}

static void tell_exited(struct agent *agent, const char *deployment, enum colour colour,
			const struct digest *release, const char *text, const char *log)
{
	observing_exited(agent, deployment, colour, release);
	shell_tell(agent, deployment,
		   (struct deploy_event){.kind = DEPLOY_EVENT_SLOT_EXITED,
					 .colour = colour,
					 .release = *release,
					 .check = "exited",
					 .text = text,
					 .log = log});
}

static void on_exited(struct agent *agent, const struct helper_reply *reply)
{
	for (size_t i = 0; i < reply->slots_count; i++) {
		const struct helper_slot *slot = &reply->slots[i];
		AUTO_FREE char *text =
			reply->text[0] != '\0'
				? mem_str(reply->text)
				: mem_format("the container exited with code %u", slot->exit_code);

		if (node_core_find(agent->core, slot->deployment))
			tell_exited(agent, slot->deployment, slot->colour, &slot->release, text,
				    reply->logs);
	}
}

/* The disk gave back something else than it was given: a further attempt fetches it again. */
static void note_damage(struct agent *agent, const struct pending *about,
			const struct helper_reply *reply)
{
	const struct chunk_store_ops *store = &agent->world->store;

	if (reply->error == EBADMSG)
		store->suspect(store->context, &about->release);
}

static void on_started(struct agent *agent, const struct pending *about,
		       const struct helper_reply *reply)
{
	struct deploy_event event = {.kind = DEPLOY_EVENT_SLOT_STARTED,
				     .colour = about->colour,
				     .release = about->release};
	struct slot_work *work = slot_work(agent, about->deployment, about->colour);

	if (reply->error == 0 && reply->slots_count > 0 && work) {
		note_address(work, &reply->slots[0]);
		work->probe_at_ms = 0;
	}
	note_damage(agent, about, reply);
	if (reply->error != 0) {
		event.kind = DEPLOY_EVENT_START_FAILED;
		event.check = reply->check;
		event.text = reply->text;
		event.log = reply->logs;
	}
	shell_tell(agent, about->deployment, event);
}

static void on_stopped(struct agent *agent, const struct pending *about,
		       const struct helper_reply *reply)
{
	struct slot_work *work = slot_work(agent, about->deployment, about->colour);

	if (reply->error == 0) {
		if (work)
			work->stop_failures = 0;
		shell_tell(agent, about->deployment,
			   (struct deploy_event){.kind = DEPLOY_EVENT_SLOT_STOPPED,
						 .colour = about->colour,
						 .release = about->release});
		return;
	}
	shell_log(agent, LOG_LEVEL_ERR, "%s: the %s slot could not be emptied: %s",
		  about->deployment, about->colour == COLOUR_BLUE ? "blue" : "green", reply->text);
	if (!work)
		return;
	work->stop_failures++;
	work->stop_at_ms = agent_now(agent) +
			   backoff_ms(SHELL_RETRY_MIN_MS, SHELL_RETRY_MAX_MS, work->stop_failures,
				      agent->world->random(agent->world->context));
}

/* A release that the helper forgot (its folder was emptied) is unpacked before its slot starts. */
static bool unpack_first(struct agent *agent, const struct pending *about,
			 const struct helper_reply *reply)
{
	struct helper_request request = {
		.op = HELPER_UNPACK, .colour = about->colour, .release = about->release};
	struct pending then = {.then_start = true};
	struct slot_work *work = slot_work(agent, about->deployment, about->colour);

	if (reply->error != ENOENT || about->then_start || !work ||
	    work->request_id != about->id)
		return false;
	STR_CUT(request.deployment, about->deployment);
	if (agent->journal_broken || helping_send(agent, &request, &then, &work->request_id) < 0)
		return true; /* asked for again, from the start, when it can be done */
	work->op = HELPER_UNPACK;
	return true;
}

static void start_after_unpack(struct agent *agent, const struct pending *about,
			       const struct helper_reply *reply)
{
	struct helper_request request = {
		.op = HELPER_START, .colour = about->colour, .release = about->release};
	struct pending then = {.then_start = true};
	struct slot_work *work = slot_work(agent, about->deployment, about->colour);

	if (!work || work->request_id != about->id || agent->journal_broken)
		return;
	STR_CUT(request.deployment, about->deployment);
	if (reply->error != 0)
		on_started(agent, about, reply);
	else if (helping_send(agent, &request, &then, &work->request_id) == 0)
		work->op = HELPER_START;
}

/* ---- the list ---- */

static void adopt(struct agent *agent, const struct helper_slot *slot)
{
	struct slot_work *work = slot_work(agent, slot->deployment, slot->colour);

	if (!work)
		return;
	note_address(work, slot);
	shell_tell(agent, slot->deployment,
		   (struct deploy_event){.kind = DEPLOY_EVENT_ADOPT,
					 .colour = slot->colour,
					 .release = slot->release,
					 .running = slot->state == HELPER_SLOT_RUNNING});
}

static const struct helper_slot *listed(const struct helper_reply *reply, const char *deployment,
					enum colour colour)
{
	for (size_t i = 0; i < reply->slots_count; i++)
		if (reply->slots[i].colour == colour &&
		    str_equal(reply->slots[i].deployment, deployment))
			return &reply->slots[i];
	return NULL;
}

/* After a reconnect: what the core believes to run must run. */
static void correct(struct agent *agent, const char *deployment, enum colour colour,
		    const struct helper_reply *reply)
{
	const struct helper_slot *slot = listed(reply, deployment, colour);
	const struct deploy *deploy = node_core_find(agent->core, deployment);
	struct digest release;

	if (!deploy || deploy->slots[colour].fact != DEPLOY_SLOT_RUNNING)
		return;
	if (shell_work(agent, deployment)->slots[colour].request_id > reply->id)
		return; /* asked for after the list was: it may not be in it */
	release = deploy->record.slots[colour].release.digest;
	if (slot && slot->state == HELPER_SLOT_RUNNING && digest_equal(&slot->release, &release))
		note_address(&shell_work(agent, deployment)->slots[colour], slot);
	else
		tell_exited(agent, deployment, colour, &release,
			    "the container ended while the helper was away", NULL);
}

/* A slot that no deployment of desired state knows: left over from a journal that was lost. */
static void empty_stray(struct agent *agent, const struct helper_slot *slot)
{
	const struct deploy *deploy = node_core_find(agent->core, slot->deployment);
	struct helper_request request = {.op = HELPER_STOP,
					 .colour = slot->colour,
					 .release = slot->release,
					 .grace_ms = LIMIT_STOP_GRACE_MS};
	struct pending about = {0};
	uint64_t epoch, generation, id;

	if (deploy && (!digest_is_zero(&deploy->record.slots[slot->colour].release.digest) ||
		       deploy->record.phase != DEPLOY_IDLE || !deploy->record.serves))
		return;
	agent->list_at_ms = agent_now(agent) + SHELL_STRAYS_MS;
	node_core_generation(agent->core, &epoch, &generation);
	if (epoch == 0 && generation == 0)
		return;
	STR_CUT(request.deployment, slot->deployment);
	shell_log(agent, LOG_LEVEL_WARNING, "%s: the %s slot runs something that nobody asked for, "
					    "emptying it",
		  slot->deployment, slot->colour == COLOUR_BLUE ? "blue" : "green");
	if (helping_send(agent, &request, &about, &id) < 0)
		return;
}

static void on_list(struct agent *agent, const struct helper_reply *reply)
{
	if (reply->error != 0) {
		shell_log(agent, LOG_LEVEL_ERR, "the helper cannot list its slots: %s",
			  reply->text);
		agent->list_at_ms = agent_now(agent) + SHELL_RETRY_MIN_MS;
		return;
	}
	if (!agent->resumed) {
		for (size_t i = 0; i < reply->slots_count; i++)
			adopt(agent, &reply->slots[i]);
		agent->resumed = true;
		shell_tell_all(agent, (struct deploy_event){.kind = DEPLOY_EVENT_RESUMED,
							    .rebooted = agent->rebooted});
	} else {
		for (size_t i = 0; i < agent->works_count; i++)
			for (enum colour c = 0; c < COLOUR_COUNT; c++)
				correct(agent, agent->works[i]->deployment, c, reply);
	}
	for (size_t i = 0; i < reply->slots_count; i++)
		empty_stray(agent, &reply->slots[i]);
}

/* ---- traffic ---- */

static void tell_routed(struct agent *agent, const char *deployment,
			const struct helper_reply *reply)
{
	const struct traffic *traffic = &agent->traffic;
	struct deploy_event event = {.kind = DEPLOY_EVENT_ROUTED};

	for (size_t i = 0; i < traffic->count; i++) {
		if (!str_equal(traffic->routes[i].deployment, deployment))
			continue;
		event.open = true;
		event.colour = traffic->routes[i].colour;
		event.release = traffic->routes[i].release;
	}
	if (reply->error != 0) {
		event.kind = DEPLOY_EVENT_ROUTE_FAILED;
		event.check = reply->check;
		event.text = reply->text;
	}
	shell_tell(agent, deployment, event);
}

/* A map that was asked for earlier may be in force only now, when something else is wished: the
 * core must know what is, not only what it still waits for. */
static bool map_is_news(const struct agent *agent, const struct deploy *deploy)
{
	const struct traffic *traffic = &agent->traffic;

	for (size_t i = 0; i < traffic->count; i++)
		if (str_equal(traffic->routes[i].deployment, deploy->record.name))
			return deploy->route != DEPLOY_ROUTE_OPEN ||
			       deploy->route_colour != traffic->routes[i].colour;
	return deploy->route != DEPLOY_ROUTE_CLOSED;
}

static void on_traffic(struct agent *agent, const struct helper_reply *reply)
{
	struct deploy_effects effects;
	uint64_t now = agent_now(agent);

	if (reply->error != 0)
		shell_log(agent, LOG_LEVEL_ERR, "the traffic map could not be changed: %s",
			  reply->text);
	for (size_t i = 0; i < node_core_count(agent->core); i++) {
		const struct deploy *deploy = node_core_at(agent->core, i);

		deploy_decide(deploy, now, &effects);
		if (effects.route != DEPLOY_ROUTE_LEAVE ||
		    (reply->error == 0 && map_is_news(agent, deploy)))
			tell_routed(agent, deploy->record.name, reply);
	}
}

/* ---- answers ---- */

static void on_release_answer(struct agent *agent, const struct pending *about,
			      const struct helper_reply *reply, enum deploy_event_kind good,
			      enum deploy_event_kind bad)
{
	shell_tell(agent, about->deployment,
		   (struct deploy_event){.kind = reply->error == 0 ? good : bad,
					 .release = about->release,
					 .colour = about->colour,
					 .check = reply->check,
					 .text = reply->text,
					 .log = reply->logs});
}

/* A disk that forgot is not the release's fault; when what was fetched anew is wrong as well, it is
 * not the disk's. */
static bool fetch_again(struct agent *agent, const struct pending *about,
			const struct helper_reply *reply)
{
	struct work *work = shell_work(agent, about->deployment);

	if (digest_equal(&work->mended, &about->release))
		return false;
	work->mended = about->release;
	shell_log(agent, LOG_LEVEL_WARNING, "%s: %s: the release is fetched again",
		  about->deployment, reply->text);
	shell_tell(agent, about->deployment,
		   (struct deploy_event){.kind = DEPLOY_EVENT_DAMAGED, .release = about->release});
	return true;
}

static void on_unpacked(struct agent *agent, const struct pending *about,
			const struct helper_reply *reply)
{
	if (about->then_start) {
		start_after_unpack(agent, about, reply);
		return;
	}
	note_damage(agent, about, reply);
	if (reply->error == EBADMSG && fetch_again(agent, about, reply))
		return;
	on_release_answer(agent, about, reply, DEPLOY_EVENT_UNPACKED,
			  DEPLOY_EVENT_UNPACK_FAILED);
}

static void on_exec(struct agent *agent, const struct pending *about,
		    const struct helper_reply *reply)
{
	enum probe_answer answer = PROBE_BAD;
	AUTO_FREE char *text = NULL;

	if (reply->error != 0)
		text = mem_str(reply->text);
	else
		text = mem_format("the health command exited with code %u", reply->exit_code);
	if (probe_is_lost((int)reply->error))
		answer = PROBE_LOST;
	else if (reply->error == 0 && reply->exit_code == 0)
		answer = PROBE_GOOD;
	perform_probed(agent, about->id, answer, text);
}

static void on_connections(struct agent *agent, const struct pending *about,
			   const struct helper_reply *reply)
{
	if (reply->error == 0)
		shell_tell(agent, about->deployment,
			   (struct deploy_event){.kind = DEPLOY_EVENT_CONNECTIONS,
						 .colour = about->colour,
						 .release = about->release,
						 .connections = reply->connections});
}

/* Asked for by an operator, or by the node itself before it empties a slot that failed. */
static void on_logs(struct agent *agent, const struct pending *about,
		    const struct helper_reply *reply)
{
	if (about->logs_id != 0)
		reporting_logs(agent, about->logs_id, reply->logs,
			       reply->error != 0 ? reply->text : "");
	else if (reply->error == 0 && reply->logs)
		shell_tell(agent, about->deployment,
			   (struct deploy_event){.kind = DEPLOY_EVENT_SLOT_LOG,
						 .colour = about->colour,
						 .release = about->release,
						 .log = reply->logs});
}

static void dispatch(struct agent *agent, const struct pending *about,
		     const struct helper_reply *reply)
{
	switch (about->op) {
	case HELPER_HELLO:
		STR_CUT(agent->runtime, reply->runtime);
		agent->heard = true;
		break;
	case HELPER_PREFLIGHT:
		on_release_answer(agent, about, reply, DEPLOY_EVENT_PREFLIGHT_OK,
				  DEPLOY_EVENT_PREFLIGHT_FAILED);
		break;
	case HELPER_UNPACK:
		on_unpacked(agent, about, reply);
		break;
	case HELPER_START:
		if (!unpack_first(agent, about, reply))
			on_started(agent, about, reply);
		break;
	case HELPER_STOP:
		on_stopped(agent, about, reply);
		break;
	case HELPER_TRAFFIC:
		on_traffic(agent, reply);
		break;
	case HELPER_LIST:
		on_list(agent, reply);
		break;
	case HELPER_EXEC:
		on_exec(agent, about, reply);
		break;
	case HELPER_LOGS:
		on_logs(agent, about, reply);
		break;
	case HELPER_CONNECTIONS:
		on_connections(agent, about, reply);
		break;
	case HELPER_CLOSE: /* however many there were, none is left; failing at it is no reason to
			      try for ever */
		shell_tell(agent, about->deployment,
			   (struct deploy_event){.kind = DEPLOY_EVENT_CONNECTIONS,
						 .colour = about->colour,
						 .release = about->release});
		break;
	case HELPER_PRUNE:
	case HELPER_OP_COUNT:
		break;
	}
}

void helping_reply(struct agent *agent, const struct helper_reply *reply)
{
	struct pending about;

	if (reply->event == HELPER_EXITED)
		on_exited(agent, reply);
	else if (take_pending(agent, reply->id, &about))
		dispatch(agent, &about, reply);
}
