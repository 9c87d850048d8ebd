/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wiring only. Each function of the world hands a wish to the module that does it, and each
 * module's callback hands the answer to the shell; no decision is taken here. Everything lives in
 * one thread and one loop; memory that was used for a transfer is given back after it.
 */
#include "agent/daemon_private.h"

#include "agent/daemon_peers.h"
#include "base/clock.h"
#include "base/log_ids.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"
#include "protocol/enrol.h"
#include "protocol/transport/notify.h"
#include "protocol/transport/zcontext.h"

#include <malloc.h>
#include <signal.h>
#include <sodium.h>

enum {
	TIMER_ACCURACY_US = 10000,
	SOCKETS = 8 + 6 * (LIMIT_NEIGHBOURS + 1), /* two links to each; each has a monitor */
};

/* ---- the world: from the shell to the modules ---- */

static uint64_t world_now(void *context)
{
	return clock_mono_ms();
}

static uint64_t world_unix(void *context)
{
	return clock_unix_ms();
}

static uint64_t world_random(void *context)
{
	uint64_t value;

	randombytes_buf(&value, sizeof(value));
	return value;
}

static void world_boot_id(void *context, char ret_text[BOOT_ID_TEXT_MAX])
{
	machine_boot_id(ret_text);
}

static void world_inventory(void *context, struct inventory *ret_inventory)
{
	struct daemon *d = context;

	machine_inventory(ret_inventory);
	ret_inventory->disk_free_bytes = chunk_store_free_bytes(d->store);
}

static int world_send(void *context, const void *data, size_t size)
{
	struct daemon *d = context;

	return link_send(d->link, data, size);
}

static int world_helper(void *context, const struct helper_request *request)
{
	struct daemon *d = context;

	return helper_client_send(d->helper, request);
}

static void world_probe(void *context, const struct agent_probe *probe)
{
	struct daemon *d = context;

	health_start(d->health, probe);
}

static void world_smoke(void *context, const struct agent_smoke *smoke)
{
	struct daemon *d = context;

	smoke_start(d->smoke, smoke);
}

static void world_scrape(void *context, const struct agent_probe *probe)
{
	struct daemon *d = context;

	scrape_start(d->scrape, probe);
}

static void world_cancel(void *context, uint64_t id)
{
	struct daemon *d = context;

	health_cancel(d->health, id);
	scrape_cancel(d->scrape, id);
	smoke_cancel(d->smoke, id);
}

static int world_get(void *context, uint32_t source, const struct wanted_object *object)
{
	struct daemon *d = context;
	struct chunk_source origin = origin_source(d->origin);
	struct held_release held[LIMIT_HELD];
	struct msg_get get = {.kind = object->kind, .digest = object->digest, .held = held};

	if (source != SOURCE_ORIGIN)
		return -EINVAL;
	if (get.kind == OBJECT_DELTAS)
		get.held_count = chunk_store_held(d->store, &get.digest, held);
	return origin.request(origin.context, &get);
}

static int world_tell_origin(void *context, const void *data, size_t size)
{
	struct daemon *d = context;
	struct chunk_source origin = origin_source(d->origin);

	return origin.tell(origin.context, data, size);
}

static void world_get_idle(void *context)
{
	struct daemon *d = context;
	struct chunk_source origin = origin_source(d->origin);

	origin.cancel(origin.context);
	malloc_trim(0);
}

static void world_relink(void *context)
{
	struct daemon *d = context;

	log_warning("the coordinator has been silent for too long: connecting anew");
	link_restart(d->link);
}

static void world_refused(void *context, const char *text)
{
	struct daemon *d = context;

	log_event(&(struct log_event){.id = LOG_ID_REFUSED,
				      .level = LOG_LEVEL_ERR,
				      .node = d->joined.identity.name},
		  "the coordinator refuses this node: %s", text);
	link_refuse(d->link);
}

static int world_observe_open(void *context, const char *deployment, enum colour colour,
			      uint64_t handle)
{
	struct daemon *d = context;

	return observe_sockets_open(d->observed, deployment, colour, handle);
}

static ssize_t world_observe_read(void *context, uint64_t handle, void *data, size_t size)
{
	struct daemon *d = context;

	return observe_sockets_read(d->observed, handle, data, size);
}

static void world_observe_close(void *context, uint64_t handle)
{
	struct daemon *d = context;

	observe_sockets_close(d->observed, handle);
}

static bool world_memory_is_short(void *context)
{
	return machine_memory_is_short();
}

static void world_arm(void *context, uint64_t at_ms)
{
	struct daemon *d = context;

	if (at_ms != UINT64_MAX)
		sd_event_source_set_time(d->timer, at_ms > UINT64_MAX / 1000 ? UINT64_MAX
									     : at_ms * 1000);
	sd_event_source_set_enabled(d->timer,
				    at_ms == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

static void world_log(void *context, enum log_level level, const char *text)
{
	log_line(level, "%s", text);
}

static void world_event(void *context, const struct log_event *event, const char *text)
{
	log_event(event, "%s", text);
}

static void make_world(struct daemon *d)
{
	d->world = (struct agent_world){
		.context = d,
		.now_ms = world_now,
		.unix_ms = world_unix,
		.random = world_random,
		.boot_id = world_boot_id,
		.inventory = world_inventory,
		.send = world_send,
		.helper = world_helper,
		.probe = world_probe,
		.smoke = world_smoke,
		.scrape = world_scrape,
		.cancel = world_cancel,
		.get = world_get,
		.tell_origin = world_tell_origin,
		.get_idle = world_get_idle,
		.relink = world_relink,
		.refused = world_refused,
		.observe_open = world_observe_open,
		.observe_read = world_observe_read,
		.observe_close = world_observe_close,
		.memory_is_short = world_memory_is_short,
		.arm = world_arm,
		.log = world_log,
		.event = world_event,
		.store = chunk_store_ops(d->store),
		.peers = peers_ops(d->peers),
	};
}

/* ---- from the modules to the shell ---- */

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct daemon *d = userdata;

	agent_tick(d->agent, clock_mono_ms());
	return 0;
}

static void on_link_up(void *context)
{
	struct daemon *d = context;

	log_info("linked to the coordinator at %s", link_endpoint(d->link));
	notify_status("linked to %s", link_endpoint(d->link));
	agent_on_link_up(d->agent);
}

static void on_link_down(void *context, enum link_cause cause, const char *text)
{
	struct daemon *d = context;

	log_warning("no link to the coordinator (%s): %s", link_cause_text(cause), text);
	notify_status("not linked: %s", text);
	if (agent_link_is_up(d->agent))
		agent_on_link_down(d->agent);
}

static void on_link_message(void *context, const void *data, size_t size)
{
	struct daemon *d = context;

	agent_on_message(d->agent, data, size);
}

static void on_origin_up(void *context)
{
	struct daemon *d = context;

	agent_on_source(d->agent, SOURCE_ORIGIN, true);
}

static void on_origin_down(void *context, const char *text)
{
	struct daemon *d = context;

	log_warning("the coordinator's data channel: %s", text);
	agent_on_source(d->agent, SOURCE_ORIGIN, false);
}

static void on_origin_object(void *context, const struct msg_object *object)
{
	struct daemon *d = context;

	agent_on_object(d->agent, SOURCE_ORIGIN, object);
}

static void on_origin_message(void *context, const void *data, size_t size)
{
	struct daemon *d = context;

	agent_on_origin(d->agent, data, size);
}

static void on_helper_up(void *context)
{
	struct daemon *d = context;

	log_info("connected to the helper");
	d->helper_known = true;
	agent_on_helper_up(d->agent);
}

static void on_helper_down(void *context, const char *text)
{
	struct daemon *d = context;

	log_event(&(struct log_event){.id = LOG_ID_HELPER_LOST, .level = LOG_LEVEL_WARNING}, "%s",
		  text);
	agent_on_helper_down(d->agent);
}

static void on_helper_reply(void *context, const struct helper_reply *reply)
{
	struct daemon *d = context;

	if (d->prune_id != 0 && reply->id == d->prune_id)
		d->pruned = true;
	else
		agent_on_helper(d->agent, reply);
}

static void on_probed(void *context, uint64_t id, enum probe_answer answer, const char *text)
{
	struct daemon *d = context;

	agent_on_probe(d->agent, id, answer, text);
}

static void on_scraped(void *context, uint64_t id, const char *data, size_t size)
{
	struct daemon *d = context;

	agent_on_scraped(d->agent, id, data, size);
}

static uint64_t on_observed(void *context, uint64_t handle)
{
	struct daemon *d = context;

	return agent_on_observed(d->agent, handle);
}

static void on_smoked(void *context, uint64_t id, bool ok, const char *test, const char *text)
{
	struct daemon *d = context;

	agent_on_smoke(d->agent, id, ok, test, text);
}

static void fill_local(void *context, struct local_status *ret_status)
{
	struct daemon *d = context;

	STR_CUT(ret_status->name, d->joined.identity.name);
	node_id_text(ret_status->node, &d->joined.identity.id);
	STR_CUT(ret_status->coordinator, d->joined.root.endpoint);
	ret_status->linked = agent_link_is_up(d->agent);
	ret_status->healthy = agent_is_healthy(d->agent);
	agent_status(d->agent, &ret_status->status);
	agent_peering(d->agent, &ret_status->peers);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	notify_stopping("stopping; containers go on");
	sd_event_exit(userdata, 0);
	return 0;
}

/* ---- start and end ---- */

static int open_loop(struct daemon *d, struct err *err)
{
	sigset_t signals;
	int r;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	r = sd_event_new(&d->event);
	if (r >= 0)
		r = sd_event_add_signal(d->event, NULL, SIGTERM, on_signal, d->event);
	if (r >= 0)
		r = sd_event_add_signal(d->event, NULL, SIGINT, on_signal, d->event);
	if (r >= 0)
		r = sd_event_add_time(d->event, &d->timer, CLOCK_BOOTTIME, 0, TIMER_ACCURACY_US,
				      on_timer, d);
	if (r >= 0)
		r = sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
	return r < 0 ? err_errno(err, r, "event loop") : 0;
}

static int open_files(struct daemon *d, struct err *err)
{
	AUTO_FREE char *journal = mem_format("%s/journal.db", d->config->state_dir);
	struct chunk_store_config config = {
		.dir = d->config->state_dir,
		.root = &d->joined.root,
		.quota_bytes = d->config->disk_quota_bytes,
		.free_percent = d->config->disk_reserve_percent,
		.unix_ms = clock_unix_ms,
	};
	int r = journal_open(journal, &d->journal, err);
	config.journal = d->journal;
	return r < 0 ? r : chunk_store_open(&config, &d->store, err);
}

static int open_links(struct daemon *d, struct err *err)
{
	const struct link_events events = {
		.up = on_link_up, .down = on_link_down, .message = on_link_message};
	const struct chunk_source_events data_events = {
		.up = on_origin_up,
		.down = on_origin_down,
		.object = on_origin_object,
		.message = on_origin_message};
	const struct zcontext_config context = {.max_sockets = SOCKETS};
	char agents[LIMIT_ENDPOINT + 1], data[LIMIT_ENDPOINT + 1];
	struct link_config config = {.endpoint = agents,
				     .key = &d->joined.link_key,
				     .server_key = &d->joined.root.server_key,
				     .max_message_size = LIMIT_DESIRED_MESSAGE};
	const struct origin_config origin = {.endpoint = data,
					     .key = &d->joined.link_key,
					     .server_key = &d->joined.root.server_key};
	int r = endpoint_channel(d->joined.root.endpoint, PORT_OFFSET_AGENTS, agents, err);

	if (r == 0)
		r = endpoint_channel(d->joined.root.endpoint, PORT_OFFSET_DATA, data, err);
	if (r == 0)
		r = zcontext_new(&context, &d->zmq_context, err);
	if (r == 0 && zhub_new(d->event, d->zmq_context, &d->hub) < 0)
		r = err_set(err, -ENOMEM, "the hub for sockets could not be made");
	if (r == 0)
		r = link_new(d->hub, &config, &events, d, &d->link, err);
	if (r == 0)
		d->origin = origin_new(d->hub, &origin, &data_events, d);
	return r == 0 ? daemon_peers_open(d->hub, d->config, &d->joined, &d->agent, &d->peers, err)
		      : r;
}

static int open_modules(struct daemon *d, struct err *err)
{
	const struct helper_client_events events = {
		.up = on_helper_up, .down = on_helper_down, .reply = on_helper_reply};
	const struct smoke_config smoke = {.worker = d->worker,
					   .state_dir = d->config->state_dir};
	int r = machine_sibling("covey-worker-smoke", d->worker, sizeof(d->worker), err);

	if (r == 0)
		r = health_new(d->event, on_probed, d, &d->health, err);
	d->scrape = scrape_new(d->event, on_scraped, d);
	if (r == 0)
		r = smoke_new(d->event, &smoke, on_smoked, d, &d->smoke, err);
	if (r == 0)
		r = observe_sockets_new(d->event, d->config->run_dir, on_observed, d, &d->observed,
					err);
	if (r == 0)
		r = local_new(d->event, d->config->run_dir, fill_local, d, &d->local, err);
	if (r == 0)
		r = helper_client_new(d->event, d->config->helper.socket, &events, d, &d->helper,
				      err);
	return r;
}

static int open_agent(struct daemon *d, struct err *err)
{
	struct agent_options options = {
		.name = d->joined.identity.name,
		.fetch_rate = d->config->fetch_rate,
	};

	daemon_peers_options(d->config, &options.peering);
	make_world(d);
	return agent_create(&options, &d->world, d->journal, &d->agent, err);
}

void daemon_close(struct daemon *d)
{
	if (d->agent)
		agent_free(d->agent);
	helper_client_free(d->helper);
	observe_sockets_free(d->observed);
	local_free(d->local);
	smoke_free(d->smoke);
	scrape_free(d->scrape);
	health_free(d->health);
	peers_free(d->peers);
	origin_free(d->origin);
	link_free(d->link);
	zhub_free(d->hub);
	zcontext_free(d->zmq_context);
	if (d->store)
		chunk_store_close(d->store);
	if (d->journal)
		journal_close(d->journal);
	sd_event_source_disable_unref(d->timer);
	sd_event_unref(d->event);
	joined_free(&d->joined);
}

int daemon_open(struct daemon *d, struct err *err)
{
	int r = open_loop(d, err);

	if (r == 0)
		r = open_files(d, err);
	if (r == 0)
		r = open_links(d, err);
	if (r == 0)
		r = open_modules(d, err);
	if (r == 0)
		r = open_agent(d, err);
	if (r == 0)
		r = notify_start(d->event, err);
	return r;
}

int daemon_run(const struct agent_config *config)
{
	struct daemon d = {.config = config};
	struct err err = {0};
	int r;

	/* One arena. Chunks come and go on the heap: to have each one's pages from the system costs
	 * more than its decryption. An agent mostly waits; malloc_trim() gives the heap back then. */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, LIMIT_CHUNK_MESSAGE + 1);
	mallopt(M_TRIM_THRESHOLD, LIMIT_CHUNK_MESSAGE);
	log_open("covey-agent", LOG_LEVEL_INFO);
	r = joined_load(config, &d.joined, &err);
	if (r < 0) {
		log_error("%s", err_text(&err, r));
		joined_free(&d.joined);
		return r == -ENOENT ? DAEMON_NOT_JOINED : 1;
	}
	r = daemon_open(&d, &err);
	if (r < 0) {
		log_event(&(struct log_event){.id = d.timer && !d.journal ? LOG_ID_NO_JOURNAL
									  : NULL,
					      .level = LOG_LEVEL_ERR},
			  "%s", err_text(&err, r));
		daemon_close(&d);
		return 1;
	}
	agent_start(d.agent);
	malloc_trim(0);
	notify_ready("started");
	r = sd_event_loop(d.event);
	agent_stop(d.agent);
	daemon_close(&d);
	return r < 0 ? 1 : 0;
}
