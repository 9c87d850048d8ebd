/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One node: the real agent between a made-up link, clocks, and the fakes of disk.c and helper.c.
 * The journal is real, in memory; a crash of the agent abandons what it has not committed.
 */
#include "sim.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/message.h"

/* ---- clocks and chance ---- */

static uint64_t world_now(void *context)
{
	struct sim_node *node = context;

	return node->sim->now_ms - 1000 * (uint64_t)node->index;
}

static uint64_t world_unix(void *context)
{
	struct sim_node *node = context;

	return (uint64_t)((int64_t)node->sim->now_ms + node->skew_ms);
}

static uint64_t world_random(void *context)
{
	return rng_next(&((struct sim_node *)context)->sim->rng);
}

static void world_boot_id(void *context, char ret_text[BOOT_ID_TEXT_MAX])
{
	struct sim_node *node = context;

	snprintf(ret_text, BOOT_ID_TEXT_MAX, "boot-%u-%u", node->index, (unsigned)node->boots);
}

static void world_inventory(void *context, struct inventory *ret_inventory)
{
	*ret_inventory = (struct inventory){.cpus = 2, .memory_bytes = UINT64_C(1) << 32};
	STR_CUT(ret_inventory->arch, "amd64");
	STR_CUT(ret_inventory->os, "linux");
	STR_CUT(ret_inventory->hostname, ((struct sim_node *)context)->name);
}

static void world_scrape(void *context, const struct agent_probe *probe)
{
}

static bool world_memory_is_short(void *context)
{
	return sim_chance(((struct sim_node *)context)->sim, 0.002);
}

/* ---- link ---- */

/* What it does now reaches nobody: it died during this call. */
static bool is_dead(const struct sim_node *node)
{
	return point_passed(&node->doom, node->storage);
}

static void send_copy(struct sim_node *node, const void *data, size_t size, uint64_t delay,
		      uint64_t life)
{
	struct sim_event event = {.kind = SIM_TO_COORDINATOR,
				  .node = node->index,
				  .life = life,
				  .data = {mem_copy(data, size), size}};

	sim_push(node->sim, delay, &event);
}

static int world_send(void *context, const void *data, size_t size)
{
	struct sim_node *node = context;
	struct sim *sim = node->sim;

	if (!node->link_up)
		return -ENOTCONN;
	if (is_dead(node))
		return 0;
	if (sim->now_ms < node->cut_from_ms || sim_chance(sim, sim->weather.lost))
		return 0;
	send_copy(node, data, size, sim_delay(sim), sim->coordinator_life);
	if (sim_chance(sim, sim->weather.doubled))
		send_copy(node, data, size, sim_delay(sim), sim->coordinator_life);
	/* a queue on the way gives it out again much later, whoever listens then */
	if (sim_chance(sim, sim->weather.stale))
		send_copy(node, data, size, sim_between(sim, 30000, 400000), 0);
	return 0;
}

static int world_get(void *context, uint32_t source, const struct wanted_object *object)
{
	struct sim_node *node = context;
	struct msg_get get = {.kind = object->kind, .digest = object->digest};
	struct sim_event event = {.kind = SIM_DATA_GET, .node = node->index, .life = node->life};

	if (!node->link_up)
		return -ENOTCONN; /* the channel opens soon after the link */
	if (is_dead(node))
		return 0;
	if (message_encode(MESSAGE_GET, &get, &event.data, NULL) < 0)
		return -EINVAL;
	sim_push(node->sim, sim_delay(node->sim), &event);
	return 0;
}

static void push_to(struct sim_node *node, enum sim_event_kind kind, uint64_t delay_ms)
{
	struct sim_event event = {.kind = kind, .node = node->index, .life = node->life};

	sim_push(node->sim, delay_ms, &event);
}

static void world_relink(void *context)
{
	push_to(context, SIM_RELINK, 0);
}

static void world_refused(void *context, const char *text)
{
	struct sim_node *node = context;

	sim_trace(node->sim, "%s is refused: %s", node->name, text);
	if (!node->sim->has_backup)
		sim_break(node->sim, "%s is refused: %s", node->name, text);
	/* an old database does not know it: somebody joins it again */
	push_to(node, SIM_JOIN, 3000);
	node->link_up = false; /* the link closes for a long while */
	push_to(node, SIM_LINK_UP, sim_between(node->sim, 20000, 120000));
}

static void world_arm(void *context, uint64_t at_ms)
{
	struct sim_node *node = context;
	struct sim_event event = {.kind = SIM_AGENT_TICK, .node = node->index, .life = node->life,
				  .id = at_ms};
	uint64_t now = world_now(node);

	if (planted(node->sim, "no sleep") && !node->sim->quiet)
		at_ms = event.id = now;
	else if (at_ms == node->armed_ms)
		return;
	node->armed_ms = at_ms;
	if (at_ms != UINT64_MAX)
		sim_push(node->sim, at_ms > now ? at_ms - now : 0, &event);
}

static void world_log(void *context, enum log_level level, const char *text)
{
	struct sim_node *node = context;

	sim_trace(node->sim, "%s: %s", node->name, text);
}

static void world_nothing(void *context)
{
}

static void world_cancel(void *context, uint64_t id)
{
}

static int world_helper(void *context, const struct helper_request *request)
{
	return is_dead(context) ? -ENOTCONN : sim_helper(context, request);
}

static void world_smoke(void *context, const struct agent_smoke *smoke)
{
	if (!is_dead(context))
		sim_smoke(context, smoke);
}

static struct agent_world node_world(struct sim_node *node)
{
	return (struct agent_world){
		.context = node,
		.now_ms = world_now,
		.unix_ms = world_unix,
		.random = world_random,
		.boot_id = world_boot_id,
		.inventory = world_inventory,
		.send = world_send,
		.helper = world_helper,
		.probe = sim_probe,
		.smoke = world_smoke,
		.cancel = world_cancel,
		.get = world_get,
		.get_idle = world_nothing,
		.relink = world_relink,
		.refused = world_refused,
		.scrape = world_scrape,
		.observe_open = sim_observe_open,
		.observe_read = sim_observe_read,
		.observe_close = sim_observe_close,
		.memory_is_short = world_memory_is_short,
		.arm = world_arm,
		.log = world_log,
		.store = node->storage ? storage_ops(node) : sim_disk(node),
	};
}

/* ---- life ---- */

static int on_write(void *arg)
{
	struct sim_node *node = arg;

	return node->sim->now_ms < node->disk_full_ms ? -ENOSPC : 0;
}

/* The agent is gone; what it had not written down is lost. */
static void leave_journal(struct sim_node *node)
{
	if (node->storage) {
		storage_close_node(node, node->doom.cut);
	} else {
		if (node->agent)
			agent_free(node->agent);
		node->agent = NULL;
		journal_abandon(node->journal);
	}
	node->doom = (struct sim_doom){.cut = PLATTER_KILL};
}

static void link_soon(struct sim_node *node)
{
	push_to(node, SIM_LINK_UP, 200 + rng_below(&node->sim->rng, 3000));
}

void sim_node_link_down(struct sim_node *node)
{
	if (!node->link_up)
		return;
	node->link_up = false;
	node->link_life++;
	if (!node->agent)
		return;
	agent_on_link_down(node->agent);
	agent_on_source(node->agent, 0, false);
	link_soon(node);
	sim_node_settle(node);
}

void sim_node_start(struct sim_node *node)
{
	struct agent_options options = {.name = node->name};
	struct err err = {0};
	int r;

	if (node->agent || node->retired || !node->joined)
		return;
	node->life++;
	node->armed_ms = UINT64_MAX;
	node->world = node_world(node);
	r = node->storage ? storage_open_node(node, &err) : 0;
	if (r < 0) {
		sim_break(node->sim, "%s does not start: %s", node->name, err_text(&err, r));
		return;
	}
	journal_on_write(node->journal, on_write, node);
	r = agent_create(&options, &node->world, node->journal, &node->agent, &err);
	if (r == -ENOSPC || point_passed(&node->doom, node->storage)) {
		/* the supervisor tries again */
		leave_journal(node);
		push_to(node, SIM_AGENT_START, 5000);
		return;
	}
	if (r < 0) {
		sim_break(node->sim, "%s does not start: %s", node->name, err_text(&err, r));
		return;
	}
	agent_start(node->agent);
	if (node->helper_up)
		agent_on_helper_up(node->agent);
	link_soon(node);
	sim_node_settle(node);
}

static void kill_agent(struct sim_node *node)
{
	leave_journal(node);
	node->link_up = false;
	node->link_life++;
	node->life++;
}

/* It was doomed to die in the call that has just ended, or watched. */
void sim_node_settle(struct sim_node *node)
{
	struct storage *s = node->storage;
	bool power = s && !node->doom.now && platter_is_dark(storage_platter(s));

	if (!node->doom.now && !power) {
		watch_node(node);
		storage_seen(node);
		return;
	}
	if (power) {
		node->sim->power_cuts++;
		sim_node_reboot(node);
	} else {
		sim_node_crash(node);
	}
}

void sim_node_crash(struct sim_node *node)
{
	if (!node->agent)
		return;
	sim_trace(node->sim, "%s: the agent is killed", node->name);
	kill_agent(node);
	watch_hit(node);
	push_to(node, SIM_AGENT_START, sim_between(node->sim, 200, 15000));
}

void sim_node_reboot(struct sim_node *node)
{
	if (node->retired || !node->joined)
		return;
	sim_trace(node->sim, "%s reboots", node->name);
	node->doom.cut = PLATTER_POWER;
	sim_node_crash(node);
	node->doom.cut = PLATTER_KILL;
	node->boots++;
	node->helper_life++;
	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++) {
		struct sim_place *place = &node->places[d];

		place->route_open = false;
		for (unsigned c = 0; c < COLOUR_COUNT; c++) {
			place->slots[c].exists = place->slots[c].running = false;
			place->slots[c].life++;
			place->slots[c].busy_until_ms = 0;
		}
		watch_place(node, d, SIM_OUT_BY_FAULT);
	}
}

void sim_node_retire(struct sim_node *node)
{
	sim_trace(node->sim, "%s is switched off for good", node->name);
	node->retired = true;
	if (node->agent)
		kill_agent(node);
	watch_hit(node);
}

/* ---- events ---- */

static void link_up(struct sim_node *node)
{
	struct sim *sim = node->sim;
	struct sim_event event = {.kind = SIM_SOURCE, .node = node->index, .life = node->life,
				  .ok = true};

	if (node->link_up)
		return;
	if (!sim->coordinator ||
	    (sim->now_ms < node->cut_to_ms && sim->now_ms < node->cut_from_ms)) {
		link_soon(node);
		return;
	}
	sim_trace(sim, "%s: linked", node->name);
	node->link_up = true;
	agent_on_link_up(node->agent);
	sim_push(sim, 50, &event);
}

static void deliver_object(struct sim_node *node, struct sim_event *event)
{
	struct sim *sim = node->sim;
	struct message message;
	struct msg_object *object;

	if (message_decode(event->data.data, event->data.size, CHANNEL_DATA, FROM_COORDINATOR,
			   &message, NULL) < 0) {
		sim_break(sim, "an object does not decode");
		return;
	}
	object = message.body;
	if (object->kind == OBJECT_CHUNK && object->data.size > 0 &&
	    sim_chance(sim, sim->weather.corrupt))
		object->data.data[rng_below(&sim->rng, object->data.size)] ^= 0x20;
	agent_on_object(node->agent, 0, object);
	message_free(&message);
}

static void helper_up(struct sim_node *node)
{
	if (node->helper_up)
		return;
	node->helper_up = true;
	if (!node->agent)
		return;
	agent_on_helper_up(node->agent);
	sim_node_settle(node);
}

/* What is meant for the agent as it lives now. */
static void to_agent(struct sim_node *node, struct sim_event *event)
{
	if (event->kind == SIM_TO_NODE && planted(node->sim, "stubborn node") &&
	    node->index == 3 && node->sim->has_trouble)
		return;
	if (event->kind == SIM_TO_NODE && node->link_up)
		agent_on_message(node->agent, event->data.data, event->data.size);
	else if (event->kind == SIM_OBJECT && node->link_up)
		deliver_object(node, event);
	else if (event->kind == SIM_HELPER && node->helper_up && event->id == node->helper_life)
		agent_on_helper(node->agent, event->reply);
	else if (event->kind == SIM_PROBE)
		agent_on_probe(node->agent, event->id, event->ok, event->ok ? "" : "status 503");
	else if (event->kind == SIM_SMOKE)
		agent_on_smoke(node->agent, event->id, event->ok, event->ok ? "" : "seven",
			       event->ok ? "" : "label is 3 and not 7");
	else if (event->kind == SIM_SOURCE)
		agent_on_source(node->agent, 0, event->ok && node->link_up);
	else if (event->kind == SIM_LINK_UP)
		link_up(node);
	else if (event->kind == SIM_AGENT_TICK && event->id == node->armed_ms) {
		node->armed_ms = UINT64_MAX;
		agent_tick(node->agent, world_now(node));
	}
	if (event->kind == SIM_PROBE)
		sim_talk(node);
}

void sim_node_event(struct sim_node *node, struct sim_event *event)
{
	if (event->kind == SIM_AGENT_START) {
		sim_node_start(node);
	} else if (event->kind == SIM_HELPER_UP) {
		helper_up(node);
	} else if (event->kind == SIM_EXIT) {
		sim_slot_exit(node, event->id);
	} else if (node->agent && event->life == node->life) {
		if (event->kind == SIM_RELINK) {
			sim_node_link_down(node);
			return;
		}
		point_of_node(node);
		to_agent(node, event);
		sim_node_settle(node);
	}
}
