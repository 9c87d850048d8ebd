/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One node: the real agent, and a made-up helper with two slots, a route, model servers that behave
 * as their version says, and a disk. The disk and the slots outlive the agent.
 */
#include "sim.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"
#include "protocol/message.h"

#include <assert.h>

/* ---- clocks and chance ---- */

static uint64_t world_now(void *context)
{
	struct sim_node *node = context;

	return node->sim->now_ms - 1000 * (uint64_t)node->index;
}

static uint64_t world_unix(void *context)
{
	return ((struct sim_node *)context)->sim->now_ms;
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

static bool world_memory_is_short(void *context)
{
	return sim_chance(((struct sim_node *)context)->sim, 0.002);
}

/* ---- link ---- */

static int world_send(void *context, const void *data, size_t size)
{
	struct sim_node *node = context;
	struct sim *sim = node->sim;
	struct sim_event event = {.kind = SIM_TO_COORDINATOR, .node = node->index};

	if (!node->link_up)
		return -ENOTCONN;
	event.life = sim->coordinator_life;
	if (node->cut_from || sim_chance(sim, 0.03))
		return 0;
	event.data = (struct bytes){mem_copy(data, size), size};
	sim_push(sim, sim_delay(sim), &event);
	if (sim_chance(sim, 0.02)) {
		event.data.data = mem_copy(data, size);
		sim_push(sim, sim_delay(sim), &event);
	}
	return 0;
}

static int world_get(void *context, uint32_t source, const struct wanted_object *object)
{
	struct sim_node *node = context;
	struct msg_get get = {.kind = object->kind, .digest = object->digest};
	struct sim_event event = {.kind = SIM_DATA_GET, .node = node->index, .life = node->life};

	if (!node->link_up) {
		event.kind = SIM_SOURCE;
		event.ok = false;
		sim_push(node->sim, 1000, &event);
		return -ENOTCONN;
	}
	if (message_encode(MESSAGE_GET, &get, &event.data, NULL) < 0)
		return -EINVAL;
	sim_push(node->sim, sim_delay(node->sim), &event);
	return 0;
}

static void world_get_idle(void *context)
{
}

static void world_relink(void *context)
{
	struct sim_node *node = context;

	node->relink = true;
}

static void world_refused(void *context, const char *text)
{
	struct sim_node *node = context;

	sim_break(node->sim, "%s is refused: %s", node->name, text);
}

static void world_arm(void *context, uint64_t at_ms)
{
	struct sim_node *node = context;
	struct sim_event event = {.kind = SIM_AGENT_TICK, .node = node->index, .life = node->life};
	uint64_t now = world_now(node);

	if (at_ms == node->armed_ms)
		return;
	node->armed_ms = at_ms;
	event.id = at_ms;
	if (at_ms != UINT64_MAX)
		sim_push(node->sim, at_ms > now ? at_ms - now : 0, &event);
}

static void world_log(void *context, enum log_level level, const char *text)
{
	struct sim_node *node = context;

	sim_trace(node->sim, "%s: %s", node->name, text);
}

/* ---- disk ---- */

static int store_missing(void *context, const struct digest *release,
			 struct wanted_object *ret_items, size_t max, size_t *ret_count,
			 struct stage_progress *ret_progress, struct err *err)
{
	struct sim_node *node = context;
	int v = sim_version_of(node->sim, release);
	struct sim_version *version;
	struct sim_held *held;

	*ret_count = 0;
	if (v < 0)
		return err_set(err, -ENOENT, "no such release");
	version = &node->sim->versions[v];
	held = &node->held[v];
	*ret_progress = (struct stage_progress){.manifest = held->manifest,
						.complete = held->manifest && held->index &&
							    held->chunk,
						.bytes_total = version->chunk.size};
	ret_progress->bytes_done = held->chunk ? version->chunk.size : 0;
	if (ret_progress->complete || max == 0)
		return 0;
	if (!held->manifest)
		ret_items[0] = (struct wanted_object){OBJECT_MANIFEST, *release, 0};
	else if (!held->index)
		ret_items[0] = (struct wanted_object){OBJECT_CHUNK, version->index_digest,
						      version->index.size};
	else
		ret_items[0] = (struct wanted_object){OBJECT_CHUNK, version->chunk_digest,
						      version->chunk.size};
	*ret_count = 1;
	return 0;
}

static int store_put(void *context, const struct digest *release, enum object_kind kind,
		     const struct digest *digest, const void *data, size_t size, struct err *err)
{
	struct sim_node *node = context;
	int v = sim_version_of(node->sim, release);
	struct digest found;
	struct release opened;
	int r;

	if (v < 0)
		return -ENOENT;
	if (sim_chance(node->sim, 0.01))
		return err_set(err, -EIO, "the disk does not write");
	if (kind == OBJECT_MANIFEST) {
		r = release_open(data, size, &node->sim->root_document, release, &opened, err);
		if (r < 0)
			return r;
		release_free(&opened);
		node->held[v].manifest = true;
		return 0;
	}
	digest_of(&found, data, size);
	if (!digest_equal(&found, digest))
		return err_set(err, -EBADMSG, "the bytes are not what the digest says");
	if (digest_equal(digest, &node->sim->versions[v].index_digest))
		node->held[v].index = true;
	if (digest_equal(digest, &node->sim->versions[v].chunk_digest))
		node->held[v].chunk = true;
	return 0;
}

static int store_seal(void *context, const struct digest *release, struct err *err)
{
	struct sim_node *node = context;
	int v = sim_version_of(node->sim, release);
	struct sim_held *held = v < 0 ? NULL : &node->held[v];

	if (!held || !held->manifest || !held->index || !held->chunk)
		return err_set(err, -EBADMSG, "incomplete");
	held->sealed = true;
	return 0;
}

static int store_release(void *context, const struct digest *release, struct release *ret_release,
			 struct err *err)
{
	struct sim_node *node = context;
	int v = sim_version_of(node->sim, release);

	if (v < 0 || !node->held[v].manifest)
		return err_set(err, -ENOENT, "no manifest");
	codec_copy(&codec_release, ret_release, &node->sim->versions[v].release);
	return 0;
}

static bool store_sealed(void *context, const struct digest *release)
{
	struct sim_node *node = context;
	int v = sim_version_of(node->sim, release);

	return v >= 0 && node->held[v].sealed;
}

static int store_prune(void *context, const struct digest_item *keep, size_t keep_count,
		       bool *ret_dropped, struct err *err)
{
	struct sim_node *node = context;

	*ret_dropped = false;
	if (!sim_chance(node->sim, 0.1))
		return 0;
	for (uint32_t v = 0; v < SIM_VERSIONS; v++) {
		bool kept = false;

		for (size_t i = 0; i < keep_count; i++)
			kept |= digest_equal(&keep[i].digest, &node->sim->versions[v].digest);
		if (kept || !node->held[v].manifest)
			continue;
		node->held[v] = (struct sim_held){0};
		*ret_dropped = true;
		for (int c = 0; c < COLOUR_COUNT; c++)
			if (node->slots[c].running && node->slots[c].version == v)
				sim_break(node->sim, "%s pruned a release that a slot runs",
					  node->name);
	}
	return 0;
}

static void store_idle(void *context)
{
}

/* ---- model servers ---- */

static bool slot_ready(const struct sim_node *node, const struct sim_slot *slot)
{
	const struct sim_version *version = &node->sim->versions[slot->version];
	uint64_t age = node->sim->now_ms - slot->started_ms;

	if (!slot->running || age < 300)
		return false;
	if (version->behaviour == SIM_NEVER_READY)
		return false;
	return version->behaviour != SIM_SOURS || age < version->after_ms;
}

static struct sim_slot *slot_at(struct sim_node *node, const char *address)
{
	return &node->slots[address[strlen(address) - 1] == '1' ? COLOUR_GREEN : COLOUR_BLUE];
}

static void world_probe(void *context, const struct agent_probe *probe)
{
	struct sim_node *node = context;
	struct sim_event event = {.kind = SIM_PROBE,
				  .node = node->index,
				  .life = node->life,
				  .id = probe->id};

	event.ok = slot_ready(node, slot_at(node, probe->address));
	sim_push(node->sim, 1 + rng_below(&node->sim->rng, 20), &event);
}

static void world_smoke(void *context, const struct agent_smoke *smoke)
{
	struct sim_node *node = context;
	struct sim_slot *slot = slot_at(node, smoke->address);
	struct sim_event event = {.kind = SIM_SMOKE,
				  .node = node->index,
				  .life = node->life,
				  .id = smoke->id};

	event.ok = slot_ready(node, slot) &&
		   node->sim->versions[slot->version].behaviour != SIM_SMOKE_FAILS;
	if (event.ok)
		node->smoked[slot->version] = true;
	sim_push(node->sim, 5 + rng_below(&node->sim->rng, 200), &event);
}

static void world_cancel(void *context, uint64_t id)
{
}

/* ---- helper ---- */

static struct helper_slot describe(const struct sim_node *node, enum colour colour)
{
	const struct sim_slot *slot = &node->slots[colour];
	struct helper_slot ret = {.colour = colour,
				  .release = node->sim->versions[slot->version].digest,
				  .state = slot->running ? HELPER_SLOT_RUNNING : HELPER_SLOT_EXITED,
				  .exit_code = slot->exit_code,
				  .probe_port = 8000};

	STR_CUT(ret.deployment, "m");
	snprintf(ret.address, sizeof(ret.address), "10.0.0.%d", colour == COLOUR_GREEN ? 1 : 2);
	return ret;
}

static void add_slot(struct helper_reply *reply, const struct sim_node *node, enum colour colour)
{
	reply->slots = mem_resize(reply->slots, reply->slots_count + 1, sizeof(*reply->slots));
	reply->slots[reply->slots_count++] = describe(node, colour);
}

static void helper_fail(struct helper_reply *reply, int code, const char *check, const char *text)
{
	reply->error = (uint32_t)code;
	STR_CUT(reply->check, check);
	STR_CUT(reply->text, text);
}

/* Starting what the node rolled back is the one thing that a node must never do. */
static void check_start(struct sim_node *node, const struct helper_request *request, int v)
{
	if (!node->held[v].sealed)
		sim_break(node->sim, "%s starts %s, which is not sealed", node->name,
			  node->sim->versions[v].name);
	if (node->vetoed[v] && request->attempt < node->vetoed[v])
		sim_break(node->sim, "%s starts %s again, which it rolled back", node->name,
			  node->sim->versions[v].name);
}

static void helper_start(struct sim_node *node, const struct helper_request *request,
			 struct helper_reply *reply)
{
	int v = sim_version_of(node->sim, &request->release);
	struct sim_slot *slot = &node->slots[request->colour];
	const struct sim_version *version;
	struct sim_event event = {.kind = SIM_EXIT, .node = node->index};

	if (v < 0 || !node->held[v].sealed) {
		helper_fail(reply, ENOENT, "release", "not on this node");
		return;
	}
	if (slot->running && slot->version == (uint32_t)v) {
		add_slot(reply, node, request->colour);
		return;
	}
	check_start(node, request, v);
	version = &node->sim->versions[v];
	*slot = (struct sim_slot){.exists = true,
				  .running = true,
				  .version = (uint32_t)v,
				  .started_ms = node->sim->now_ms,
				  .life = slot->life + 1};
	if (version->behaviour == SIM_CRASHES) {
		event.id = slot->life * 2 + request->colour;
		sim_push(node->sim, version->after_ms, &event);
	}
	add_slot(reply, node, request->colour);
}

static void helper_traffic(struct sim_node *node, const struct helper_request *request,
			   struct helper_reply *reply)
{
	const struct helper_route *route = request->routes;
	struct sim_slot *slot;

	if (request->routes_count == 0) {
		node->route_open = false;
		return;
	}
	slot = &node->slots[route->colour];
	if (!slot->exists) {
		helper_fail(reply, ENOENT, "slot", "no such slot");
		return;
	}
	if (!node->smoked[slot->version])
		sim_break(node->sim, "%s routes to %s, which never passed its smoke tests here",
			  node->name, node->sim->versions[slot->version].name);
	node->route_open = true;
	node->route = route->colour;
}

static void helper_carry_out(struct sim_node *node, const struct helper_request *request,
			     struct helper_reply *reply)
{
	int v = sim_version_of(node->sim, &request->release);

	switch (request->op) {
	case HELPER_HELLO:
		STR_CUT(reply->runtime, "runc 1.1.5");
		break;
	case HELPER_PREFLIGHT:
		if (v >= 0 && node->sim->versions[v].behaviour == SIM_NO_PREFLIGHT)
			helper_fail(reply, ENOTSUP, "memory", "the node has too little memory");
		break;
	case HELPER_START:
		helper_start(node, request, reply);
		break;
	case HELPER_STOP:
		if (node->route_open && node->route == request->colour && !node->sim->quiet)
			sim_trace(node->sim, "%s stops the slot that is routed to", node->name);
		node->slots[request->colour].exists = false;
		node->slots[request->colour].running = false;
		break;
	case HELPER_TRAFFIC:
		helper_traffic(node, request, reply);
		break;
	case HELPER_LIST:
		for (int c = 0; c < COLOUR_COUNT; c++)
			if (node->slots[c].exists)
				add_slot(reply, node, (enum colour)c);
		break;
	case HELPER_CONNECTIONS:
		reply->connections = rng_below(&node->sim->rng, 3);
		break;
	case HELPER_UNPACK:
		if (v < 0 || !node->held[v].sealed)
			helper_fail(reply, ENOENT, "digest", "not on this node");
		break;
	case HELPER_EXEC:
	case HELPER_LOGS:
	case HELPER_PRUNE:
	case HELPER_OP_COUNT:
		break;
	}
}

static int world_helper(void *context, const struct helper_request *request)
{
	struct sim_node *node = context;
	struct helper_reply *reply = mem_alloc(sizeof(*reply));
	struct sim_event event = {.kind = SIM_HELPER,
				  .node = node->index,
				  .life = node->life,
				  .reply = reply};

	reply->id = request->id;
	reply->event = HELPER_REPLY;
	helper_carry_out(node, request, reply);
	sim_trace(node->sim, "%s helper op %d colour %d -> %u", node->name, (int)request->op,
		  (int)request->colour, reply->error);
	sim_push(node->sim, 2 + rng_below(&node->sim->rng, 100), &event);
	return 0;
}

/* ---- life ---- */

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
		.probe = world_probe,
		.smoke = world_smoke,
		.cancel = world_cancel,
		.get = world_get,
		.get_idle = world_get_idle,
		.relink = world_relink,
		.refused = world_refused,
		.memory_is_short = world_memory_is_short,
		.arm = world_arm,
		.log = world_log,
		.store = {.context = node,
			  .missing = store_missing,
			  .put = store_put,
			  .seal = store_seal,
			  .release = store_release,
			  .sealed = store_sealed,
			  .prune = store_prune,
			  .idle = store_idle},
	};
}

static void link_soon(struct sim_node *node)
{
	struct sim_event event = {.kind = SIM_LINK_UP, .node = node->index, .life = node->life};

	sim_push(node->sim, 200 + rng_below(&node->sim->rng, 3000), &event);
}

void sim_node_start(struct sim_node *node)
{
	struct agent_options options = {.name = node->name};
	struct err err = {0};
	int r;

	if (node->agent)
		return;
	node->life++;
	node->armed_ms = UINT64_MAX;
	node->world = node_world(node);
	r = agent_create(&options, &node->world, node->journal, &node->agent, &err);
	if (r < 0) {
		sim_break(node->sim, "%s does not start: %s", node->name, err_text(&err, r));
		return;
	}
	agent_start(node->agent);
	agent_on_helper_up(node->agent);
	link_soon(node);
}

void sim_node_crash(struct sim_node *node)
{
	struct sim_event event = {.kind = SIM_AGENT_START, .node = node->index};

	if (!node->agent)
		return;
	sim_trace(node->sim, "%s: the agent is killed", node->name);
	agent_free(node->agent);
	node->agent = NULL;
	node->link_up = false;
	node->life++;
	journal_abandon(node->journal);
	sim_push(node->sim, 200 + rng_below(&node->sim->rng, 15000), &event);
}

void sim_node_reboot(struct sim_node *node)
{
	sim_trace(node->sim, "%s reboots", node->name);
	sim_node_crash(node);
	node->boots++;
	node->route_open = false;
	for (int c = 0; c < COLOUR_COUNT; c++) {
		node->slots[c].exists = false;
		node->slots[c].running = false;
		node->slots[c].life++;
	}
}

static void slot_exit(struct sim_node *node, uint64_t id)
{
	enum colour colour = (enum colour)(id % 2);
	struct sim_slot *slot = &node->slots[colour];
	struct helper_reply *reply;
	struct sim_event event = {.kind = SIM_HELPER, .node = node->index, .life = node->life};

	if (slot->life != id / 2 || !slot->running)
		return;
	slot->running = false;
	slot->exit_code = 134;
	if (!node->agent)
		return;
	reply = mem_alloc(sizeof(*reply));
	reply->event = HELPER_EXITED;
	add_slot(reply, node, colour);
	reply->logs = mem_str("assertion failed");
	event.reply = reply;
	sim_push(node->sim, 1, &event);
}

static void link_up(struct sim_node *node)
{
	struct sim *sim = node->sim;
	struct sim_event event = {.kind = SIM_SOURCE, .node = node->index, .life = node->life};

	if (!sim->coordinator || (node->cut_to && node->cut_from)) {
		link_soon(node);
		return;
	}
	node->link_up = true;
	agent_on_link_up(node->agent);
	event.ok = true;
	sim_push(sim, 50, &event);
}

static void deliver_object(struct sim_node *node, struct sim_event *event)
{
	struct message message;

	if (message_decode(event->data.data, event->data.size, CHANNEL_DATA, FROM_COORDINATOR,
			   &message, NULL) < 0) {
		sim_break(node->sim, "an object does not decode");
		return;
	}
	agent_on_object(node->agent, 0, message.body);
	message_free(&message);
}

void sim_node_event(struct sim_node *node, struct sim_event *event)
{
	if (event->kind == SIM_AGENT_START) {
		sim_node_start(node);
		return;
	}
	if (event->kind == SIM_EXIT) {
		slot_exit(node, event->id);
		return;
	}
	if (!node->agent || event->life != node->life)
		return;
	if (event->kind == SIM_TO_NODE && node->link_up)
		agent_on_message(node->agent, event->data.data, event->data.size);
	else if (event->kind == SIM_OBJECT && node->link_up)
		deliver_object(node, event);
	else if (event->kind == SIM_HELPER)
		agent_on_helper(node->agent, event->reply);
	else if (event->kind == SIM_PROBE)
		agent_on_probe(node->agent, event->id, event->ok, event->ok ? "" : "status 503");
	else if (event->kind == SIM_SMOKE)
		agent_on_smoke(node->agent, event->id, event->ok, event->ok ? "" : "seven",
			       event->ok ? "" : "label is 3 and not 7");
	else if (event->kind == SIM_SOURCE)
		agent_on_source(node->agent, 0, event->ok && node->link_up);
	else if (event->kind == SIM_LINK_UP && !node->link_up)
		link_up(node);
	else if (event->kind == SIM_AGENT_TICK && event->id == node->armed_ms) {
		node->armed_ms = UINT64_MAX;
		agent_tick(node->agent, world_now(node));
	}
}
