/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what must be true (deploy_effects) to what is asked of the helper, the probes and the chunk
 * store. Everything here compares a wish with what is under way (struct work) and closes the gap;
 * a wish that stands still costs nothing. As soon as something told the core news (`again`), the
 * rest waits for the next round, because its record is not written yet.
 */
#include "agent/shell.h"

#include "agent/core/backoff.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/window.h"
#include "protocol/codec_tables.h"

#include <stdlib.h>
#include <time.h>

/* ---- time windows ---- */

enum { MINUTE_MS = 60000 };

/* The wall clock of a time zone. The zone is the process's only for the length of this call. */
static struct tm local_time(const char *timezone, uint64_t unix_ms)
{
	bool plain = timezone[0] != '\0' && timezone[0] != '/' && !strstr(timezone, "..");
	AUTO_FREE char *zone = mem_format(":%s", plain ? timezone : "UTC");
	const char *before = getenv("TZ");
	AUTO_FREE char *saved = before ? mem_str(before) : NULL;
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm = {0};

	setenv("TZ", zone, 1);
	tzset();
	localtime_r(&seconds, &tm);
	if (saved)
		setenv("TZ", saved, 1);
	else
		unsetenv("TZ");
	tzset();
	return tm;
}

/* A window that nobody can read stays closed. */
static bool is_open(const char *window, const struct tm *tm)
{
	return window_check(window, NULL) == 0 &&
	       window_is_open(window, (unsigned)tm->tm_wday,
			      (unsigned)(60 * tm->tm_hour + tm->tm_min));
}

bool perform_window(const char *window, const char *timezone, uint64_t unix_ms)
{
	struct tm tm = local_time(timezone, unix_ms);

	return is_open(window, &tm);
}

static void tell_windows(struct agent *agent, const struct deploy *deploy, struct work *work)
{
	const struct window_spec *windows = &deploy->record.assignment.windows;
	uint64_t unix_ms = agent->world->unix_ms(agent->world->context);
	bool download = true, swap = true, told = work->windows_told;

	work->windows_of = *windows;
	work->windows_told = true;
	work->windows_at_ms = UINT64_MAX;
	if (windows->download[0] != '\0' || windows->swap[0] != '\0') {
		struct tm tm = local_time(windows->timezone, unix_ms);

		download = is_open(windows->download, &tm);
		swap = is_open(windows->swap, &tm);
		work->windows_at_ms = agent_now(agent) + MINUTE_MS - unix_ms % MINUTE_MS;
	}
	if (told && work->download_open == download && work->switch_open == swap)
		return;
	work->download_open = download;
	work->switch_open = swap;
	shell_tell(agent, work->deployment,
		   (struct deploy_event){.kind = DEPLOY_EVENT_WINDOWS,
					 .download_open = download,
					 .switch_open = swap});
}

static void all_windows(struct agent *agent)
{
	uint64_t now = agent_now(agent);

	for (size_t i = 0; i < node_core_count(agent->core); i++) {
		const struct deploy *deploy = node_core_at(agent->core, i);
		struct work *work = shell_work(agent, deploy->record.name);

		if (!work->windows_told || now >= work->windows_at_ms ||
		    !codec_equal(&codec_window_spec, &work->windows_of,
				 &deploy->record.assignment.windows))
			tell_windows(agent, deploy, work);
	}
}

/* ---- fetch, preflight, unpack ---- */

static void perform_fetch(struct agent *agent, struct work *work, const struct digest *release)
{
	const struct chunk_store_ops *store = &agent->world->store;
	const struct release_facts *facts;

	if (digest_is_zero(release))
		return;
	if (!store->sealed(store->context, release)) {
		fetching_want(agent, release);
		return;
	}
	facts = shell_facts(agent, release);
	if (facts)
		shell_tell(agent, work->deployment,
			   (struct deploy_event){.kind = DEPLOY_EVENT_FETCH_DONE,
						 .release = *release,
						 .health = facts->health});
	else
		shell_tell(agent, work->deployment,
			   (struct deploy_event){.kind = DEPLOY_EVENT_FETCH_FAILED,
						 .release = *release,
						 .permanent = true,
						 .check = "signature",
						 .text = "the manifest on this node's disk is not "
							 "signed by a key that it trusts"});
}

/* One request about a release for the whole deployment: PREFLIGHT or UNPACK. */
static void ask_once(struct agent *agent, const struct work *work, enum helper_op op,
		     const struct deploy_effects *e, const struct digest *release, uint64_t *id,
		     struct digest *under_way)
{
	struct helper_request request = {
		.op = op, .colour = e->idle, .release = *release, .attempt = e->attempt};
	struct pending about = {0};

	if (digest_is_zero(release)) {
		*id = 0;
		return;
	}
	if (*id != 0 && helping_under_way(agent, *id) && digest_equal(under_way, release))
		return;
	STR_CUT(request.deployment, work->deployment);
	*under_way = *release;
	if (helping_send(agent, &request, &about, id) < 0)
		*id = 0;
}

/* ---- one slot ---- */

static void ask_slot(struct agent *agent, const struct work *work, struct slot_work *slot,
		     struct helper_request *request)
{
	struct pending about = {0};

	STR_CUT(request->deployment, work->deployment);
	slot->op = request->op;
	slot->release = request->release;
	slot->kill = request->kill;
	if (helping_send(agent, request, &about, &slot->request_id) < 0)
		slot->request_id = 0;
}

static void perform_run(struct agent *agent, const struct deploy *deploy, struct work *work,
			enum colour colour, const struct deploy_effects *e)
{
	const struct digest *release = &e->slots[colour].release;
	struct slot_work *slot = &work->slots[colour];
	struct helper_request request = {.op = HELPER_START,
					 .colour = colour,
					 .release = *release,
					 .attempt = e->attempt};

	if (deploy->slots[colour].fact == DEPLOY_SLOT_RUNNING)
		return;
	if (helping_under_way(agent, slot->request_id) && slot->op != HELPER_STOP &&
	    digest_equal(&slot->release, release))
		return;
	ask_slot(agent, work, slot, &request);
}

/* A release that failed without ending has said why in its log, which goes with the slot. The helper
 * does one slot's requests in order: this one comes before the stop. */
static void ask_last_words(struct agent *agent, const struct deploy *deploy,
			   const struct work *work, const struct helper_request *stop)
{
	struct helper_request request = {.op = HELPER_LOGS,
					 .colour = stop->colour,
					 .release = stop->release,
					 .lines = LIMIT_LOG_TAIL_LINES};
	struct pending about = {0};
	uint64_t id;

	if (!stop->kill || !deploy_lacks_log(deploy, &stop->release))
		return;
	STR_CUT(request.deployment, work->deployment);
	if (helping_send(agent, &request, &about, &id) < 0)
		return; /* the outcome stands without them */
}

static void perform_empty(struct agent *agent, const struct deploy *deploy, struct work *work,
			  enum colour colour, const struct deploy_effects *e)
{
	struct slot_work *slot = &work->slots[colour];
	struct helper_request request = {.op = HELPER_STOP,
					 .colour = colour,
					 .release = e->slots[colour].release,
					 .attempt = e->attempt,
					 .kill = e->slots[colour].kill,
					 .grace_ms = e->slots[colour].grace_ms};

	if (deploy->slots[colour].fact == DEPLOY_SLOT_EMPTY &&
	    !helping_under_way(agent, slot->request_id))
		return;
	if (helping_under_way(agent, slot->request_id) && slot->op == HELPER_STOP &&
	    (slot->kill || !request.kill))
		return;
	if (agent_now(agent) < slot->stop_at_ms)
		return;
	ask_last_words(agent, deploy, work, &request);
	ask_slot(agent, work, slot, &request);
}

/* ---- probes and smoke tests ---- */

static void probe_by_command(struct agent *agent, const struct work *work, enum colour colour,
			     struct slot_work *slot)
{
	struct helper_request request = {
		.op = HELPER_EXEC, .colour = colour, .release = slot->probed};
	struct pending about = {0};

	STR_CUT(request.deployment, work->deployment);
	if (helping_send(agent, &request, &about, &slot->probe_id) < 0)
		slot->probe_id = 0;
}

static void probe_by_net(struct agent *agent, struct slot_work *slot,
			 const struct release_facts *facts)
{
	struct agent_probe probe = {
		.id = ++agent->last_id,
		.kind = facts->kind,
		.address = slot->address[0] != '\0' ? slot->address : "127.0.0.1",
		.port = slot->probe_port,
		.http_path = facts->http_path,
		.timeout_ms = facts->health.timeout_ms,
	};

	slot->probe_id = probe.id;
	agent->world->probe(agent->world->context, &probe);
}

static void drop_probe(struct agent *agent, struct slot_work *slot)
{
	if (slot->probe_id != 0)
		agent->world->cancel(agent->world->context, slot->probe_id);
	slot->probe_id = 0;
	slot->probe_at_ms = 0;
}

static void perform_probe(struct agent *agent, const struct deploy *deploy, struct work *work,
			  enum colour colour, const struct deploy_slot_effects *e)
{
	struct slot_work *slot = &work->slots[colour];
	const struct release_facts *facts = NULL;
	uint64_t now = agent_now(agent), interval;
	bool late = slot->probe_id != 0 && now >= slot->probe_late_ms;

	if (e->probe == DEPLOY_PROBE_NONE || late || !digest_equal(&slot->probed, &e->release))
		drop_probe(agent, slot);
	if (e->probe == DEPLOY_PROBE_NONE || slot->probe_id != 0 || now < slot->probe_at_ms)
		return;
	slot->probed = e->release;
	facts = shell_facts(agent, &e->release);
	if (!facts || slot->probe_port == 0) {
		slot->probe_at_ms = now + SHELL_RETRY_MIN_MS;
		return;
	}
	interval = facts->health.interval_ms;
	if (!deploy->slots[colour].ready)
		interval = shell_min(interval, SHELL_PROBE_STARTING_MS);
	slot->probe_at_ms = now + interval;
	slot->probe_late_ms = now + facts->health.timeout_ms + SHELL_PROBE_SLACK_MS;
	if (facts->kind == HEALTH_COMMAND)
		probe_by_command(agent, work, colour, slot);
	else
		probe_by_net(agent, slot, facts);
}

/* Said once, until somebody can be asked again. */
static void note_blindness(struct agent *agent, const char *deployment, struct slot_work *slot,
			   enum probe_answer answer, const char *text)
{
	if (answer == PROBE_LOST && !slot->blind)
		shell_log(agent, LOG_LEVEL_WARNING,
			  "%s: its health cannot be asked: %s; nothing is decided about it meanwhile",
			  deployment, text);
	slot->blind = answer == PROBE_LOST;
}

void perform_probed(struct agent *agent, uint64_t id, enum probe_answer answer, const char *text)
{
	static const enum deploy_event_kind kinds[] = {
		[PROBE_BAD] = DEPLOY_EVENT_PROBE_FAILED,
		[PROBE_GOOD] = DEPLOY_EVENT_PROBE_OK,
		[PROBE_LOST] = DEPLOY_EVENT_PROBE_LOST,
	};

	for (size_t i = 0; id != 0 && i < agent->works_count; i++)
		for (enum colour c = 0; c < COLOUR_COUNT; c++) {
			struct slot_work *slot = &agent->works[i]->slots[c];

			if (slot->probe_id != id)
				continue;
			slot->probe_id = 0;
			note_blindness(agent, agent->works[i]->deployment, slot, answer, text);
			shell_tell(agent, agent->works[i]->deployment,
				   (struct deploy_event){.kind = kinds[answer],
							 .colour = c,
							 .release = slot->probed,
							 .check = "health",
							 .text = text});
			return;
		}
}

static void perform_smoke(struct agent *agent, struct work *work, enum colour colour,
			  const struct deploy_slot_effects *e)
{
	struct slot_work *slot = &work->slots[colour];
	const struct release_facts *facts;
	struct agent_smoke smoke;

	if (!e->smoke) {
		if (slot->smoke_id != 0)
			agent->world->cancel(agent->world->context, slot->smoke_id);
		slot->smoke_id = 0;
		return;
	}
	facts = shell_facts(agent, &e->release);
	if (slot->smoke_id != 0 || !facts)
		return;
	if (facts->smokes == 0) {
		shell_tell(agent, work->deployment,
			   (struct deploy_event){.kind = DEPLOY_EVENT_SMOKE_PASSED,
						 .colour = colour,
						 .release = e->release});
		return;
	}
	smoke = (struct agent_smoke){
		.id = ++agent->last_id,
		.release = e->release,
		.address = slot->address[0] != '\0' ? slot->address : "127.0.0.1",
		.port = slot->probe_port,
		.timeout_ms = SHELL_SMOKE_MS * facts->smokes,
	};
	slot->smoke_id = smoke.id;
	slot->probed = e->release;
	agent->world->smoke(agent->world->context, &smoke);
}

/* The drain is over and the slot stays warm: what clients still hold to it is closed, and told
 * apart from what was served. */
static void close_drained(struct agent *agent, const struct deploy *deploy, enum colour colour,
			  struct slot_work *slot, const struct deploy_slot_effects *e)
{
	struct helper_request request = {
		.op = HELPER_CLOSE, .colour = colour, .release = e->release};
	struct pending about = {0};

	if (!e->close || helping_under_way(agent, slot->close_id))
		return;
	STR_CUT(request.deployment, deploy->record.name);
	if (helping_send(agent, &request, &about, &slot->close_id) < 0)
		return;
	shell_log(agent, LOG_LEVEL_INFO,
		  "%s: %llu connections outlived the drain of the old slot and are closed",
		  deploy->record.name, (unsigned long long)deploy->slots[colour].connections);
}

static void perform_connections(struct agent *agent, const struct work *work, enum colour colour,
				struct slot_work *slot, const struct deploy_slot_effects *e)
{
	struct helper_request request = {
		.op = HELPER_CONNECTIONS, .colour = colour, .release = e->release};
	struct pending about = {0};
	uint64_t now = agent_now(agent);

	if (!e->connections) {
		slot->connections_at_ms = 0;
		return;
	}
	if (helping_under_way(agent, slot->connections_id) || now < slot->connections_at_ms)
		return;
	STR_CUT(request.deployment, work->deployment);
	slot->connections_at_ms = now + SHELL_CONNECTIONS_MS;
	if (helping_send(agent, &request, &about, &slot->connections_id) < 0)
		slot->connections_id = 0;
}

static void perform_slot(struct agent *agent, const struct deploy *deploy, struct work *work,
			 enum colour colour, const struct deploy_effects *e)
{
	switch (e->slots[colour].slot) {
	case DEPLOY_SLOT_LEAVE:
		break;
	case DEPLOY_SLOT_RUN:
		perform_run(agent, deploy, work, colour, e);
		break;
	case DEPLOY_SLOT_EMPTY_IT:
		perform_empty(agent, deploy, work, colour, e);
		break;
	case DEPLOY_SLOT_EFFECT_COUNT:
		break;
	}
	perform_probe(agent, deploy, work, colour, &e->slots[colour]);
	perform_connections(agent, work, colour, &work->slots[colour], &e->slots[colour]);
	close_drained(agent, deploy, colour, &work->slots[colour], &e->slots[colour]);
	if (!agent->again)
		perform_smoke(agent, work, colour, &e->slots[colour]);
}

/* ---- the traffic map ---- */

/* Where a deployment's clients go when the map is written anew; false: nowhere. */
static bool route_of(const struct deploy *deploy, const struct deploy_effects *e,
		     enum colour *ret_colour, struct digest *ret_release)
{
	switch (e->route) {
	case DEPLOY_ROUTE_TO:
		*ret_colour = e->route_colour;
		*ret_release = e->route_release;
		return true;
	case DEPLOY_ROUTE_CLOSE:
		return false;
	case DEPLOY_ROUTE_LEAVE:
	case DEPLOY_ROUTE_EFFECT_COUNT:
		break;
	}
	*ret_colour = deploy->route == DEPLOY_ROUTE_UNKNOWN ? deploy->record.serving
							    : deploy->route_colour;
	*ret_release = deploy->record.slots[*ret_colour].release.digest;
	return !digest_is_zero(ret_release) &&
	       (deploy->route == DEPLOY_ROUTE_OPEN ||
		(deploy->route == DEPLOY_ROUTE_UNKNOWN && deploy->record.serves));
}

static void add_route(struct agent *agent, const struct deploy *deploy,
		      const struct deploy_effects *e, struct helper_request *map)
{
	struct helper_route route = {0};
	const struct release_facts *facts;

	if (!route_of(deploy, e, &route.colour, &route.release) ||
	    map->routes_count == LIMIT_DEPLOYMENTS_PER_NODE)
		return;
	facts = shell_facts(agent, &route.release);
	if (!facts) {
		shell_log(agent, LOG_LEVEL_ERR, "%s: no manifest of the release that serves",
			  deploy->record.name);
		return;
	}
	STR_CUT(route.deployment, deploy->record.name);
	route.port = facts->port;
	map->routes[map->routes_count++] = route;
}

static void perform_traffic(struct agent *agent, struct helper_request *map, bool wanted)
{
	struct traffic *traffic = &agent->traffic;
	struct pending about = {0};

	if (helping_under_way(agent, traffic->request_id) || !agent->resumed ||
	    (!wanted && !traffic->repeat))
		return;
	memcpy(traffic->routes, map->routes, map->routes_count * sizeof(*map->routes));
	traffic->count = map->routes_count;
	if (helping_send(agent, map, &about, &traffic->request_id) == 0)
		traffic->repeat = false;
}

/* ---- all of it ---- */

static void perform_one(struct agent *agent, const struct deploy *deploy,
			const struct deploy_effects *e)
{
	struct work *work = shell_work(agent, deploy->record.name);

	perform_fetch(agent, work, &e->fetch);
	if (agent->again)
		return;
	ask_once(agent, work, HELPER_PREFLIGHT, e, &e->preflight, &work->preflight_id,
		 &work->preflight);
	ask_once(agent, work, HELPER_UNPACK, e, &e->unpack, &work->unpack_id, &work->unpack);
	for (enum colour c = 0; !agent->again && c < COLOUR_COUNT; c++)
		perform_slot(agent, deploy, work, c, e);
}

void perform_all(struct agent *agent)
{
	struct helper_route routes[LIMIT_DEPLOYMENTS_PER_NODE];
	struct helper_request map = {.op = HELPER_TRAFFIC, .routes = routes};
	uint64_t now = agent_now(agent);
	bool reroute = false;

	all_windows(agent);
	if (agent->again)
		return;
	fetching_begin(agent);
	for (size_t i = 0; i < node_core_count(agent->core); i++) {
		const struct deploy *deploy = node_core_at(agent->core, i);
		struct deploy_effects effects;

		deploy_decide(deploy, now, &effects);
		perform_one(agent, deploy, &effects);
		if (agent->again)
			return;
		add_route(agent, deploy, &effects, &map);
		reroute = reroute || effects.route == DEPLOY_ROUTE_TO ||
			  effects.route == DEPLOY_ROUTE_CLOSE;
	}
	perform_traffic(agent, &map, reroute);
	fetching_end(agent);
	fetching_prune(agent, false);
}

/* Looking is no change: probes go on while the journal cannot be written. Without them a server that
 * is well would count as one that does not answer, and be started anew. */
void perform_probes(struct agent *agent)
{
	uint64_t now = agent_now(agent);

	for (size_t i = 0; i < node_core_count(agent->core); i++) {
		const struct deploy *deploy = node_core_at(agent->core, i);
		struct work *work = shell_work(agent, deploy->record.name);
		struct deploy_effects effects;

		deploy_decide(deploy, now, &effects);
		for (enum colour c = 0; c < COLOUR_COUNT; c++)
			perform_probe(agent, deploy, work, c, &effects.slots[c]);
	}
}

uint64_t perform_probes_deadline(const struct agent *agent)
{
	uint64_t at = UINT64_MAX;

	for (size_t i = 0; i < agent->works_count; i++)
		for (enum colour c = 0; c < COLOUR_COUNT; c++) {
			const struct slot_work *slot = &agent->works[i]->slots[c];

			if (slot->probe_at_ms > 0)
				at = shell_min(at, slot->probe_id == 0 ? slot->probe_at_ms
								       : slot->probe_late_ms);
		}
	return at;
}

uint64_t perform_deadline(const struct agent *agent)
{
	uint64_t at = perform_probes_deadline(agent);

	for (size_t i = 0; i < agent->works_count; i++) {
		const struct work *work = agent->works[i];

		at = shell_min(at, work->windows_at_ms);
		for (enum colour c = 0; c < COLOUR_COUNT; c++) {
			const struct slot_work *slot = &work->slots[c];

			if (slot->connections_at_ms > 0 &&
			    !helping_under_way(agent, slot->connections_id))
				at = shell_min(at, slot->connections_at_ms);
			if (slot->stop_at_ms > agent_now(agent))
				at = shell_min(at, slot->stop_at_ms);
		}
	}
	return at;
}
