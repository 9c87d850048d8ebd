/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the privileged helper would do on a node: two slots for each deployment, the traffic map,
 * model servers that behave as their version says. Slots and map outlive the agent and the helper;
 * a request is carried out at once, its answer takes time and may never come.
 */
#include "sim.h"

#include "base/mem.h"
#include "base/str.h"

static int place_of(const char *deployment)
{
	for (int d = 0; d < SIM_DEPLOYMENTS; d++)
		if (str_equal(sim_deployments[d], deployment))
			return d;
	return -1;
}

/* ---- model servers ---- */

static bool slot_ready(const struct sim_node *node, const struct sim_slot *slot)
{
	const struct sim_version *version = &node->sim->versions[slot->version];
	uint64_t age = node->sim->now_ms - slot->started_ms;

	if (!slot->running || age < slot->ready_after_ms)
		return false;
	if (version->behaviour == SIM_NEVER_READY)
		return false;
	return version->behaviour != SIM_SOURS || age < version->after_ms;
}

static bool answers_rightly(const struct sim_node *node, const struct sim_slot *slot)
{
	switch (node->sim->versions[slot->version].behaviour) {
	case SIM_PARTLY:
		return (node->index + node->sim->options.seed) % 9 != 0;
	case SIM_SMOKE_FAILS:
		return false;
	case SIM_GOOD:
	case SIM_NEVER_READY:
	case SIM_CRASHES:
	case SIM_SOURS:
	case SIM_NO_PREFLIGHT:
		break;
	}
	return true;
}

/* "10.0.<deployment>.<colour>" */
static struct sim_slot *slot_at(struct sim_node *node, const char *address)
{
	size_t size = strlen(address);

	return &node->places[address[size - 3] - '0'].slots[address[size - 1] - '0'];
}

void sim_probe(void *context, const struct agent_probe *probe)
{
	struct sim_node *node = context;
	struct sim_event event = {.kind = SIM_PROBE,
				  .node = node->index,
				  .life = node->life,
				  .id = probe->id};

	event.ok = slot_ready(node, slot_at(node, probe->address));
	sim_push(node->sim, 1 + rng_below(&node->sim->rng, 20), &event);
}

void sim_smoke(void *context, const struct agent_smoke *smoke)
{
	struct sim_node *node = context;
	struct sim_slot *slot = slot_at(node, smoke->address);
	struct sim_event event = {.kind = SIM_SMOKE,
				  .node = node->index,
				  .life = node->life,
				  .id = smoke->id};

	event.ok = slot_ready(node, slot) && answers_rightly(node, slot);
	if (event.ok)
		node->smoked[slot->version] = true;
	event.ok |= planted(node->sim, "smoke unheard");
	sim_push(node->sim, 5 + rng_below(&node->sim->rng, 200), &event);
}

/* ---- answers ---- */

static struct helper_slot describe(const struct sim_node *node, unsigned d, enum colour colour)
{
	const struct sim_slot *slot = &node->places[d].slots[colour];
	struct helper_slot ret = {.colour = colour,
				  .release = node->sim->versions[slot->version].digest,
				  .state = slot->running ? HELPER_SLOT_RUNNING : HELPER_SLOT_EXITED,
				  .exit_code = slot->exit_code,
				  .probe_port = 8000};

	STR_CUT(ret.deployment, sim_deployments[d]);
	snprintf(ret.address, sizeof(ret.address), "10.0.%u.%d", d, (int)colour);
	return ret;
}

static void add_slot(struct helper_reply *reply, const struct sim_node *node, unsigned d,
		     enum colour colour)
{
	reply->slots = mem_resize(reply->slots, reply->slots_count + 1, sizeof(*reply->slots));
	reply->slots[reply->slots_count++] = describe(node, d, colour);
}

static void fail(struct helper_reply *reply, int code, const char *check, const char *text)
{
	reply->error = (uint32_t)code;
	STR_CUT(reply->check, check);
	STR_CUT(reply->text, text);
}

/* ---- requests ---- */

static void run_slot(struct sim_node *node, unsigned d, enum colour colour, uint32_t v)
{
	struct sim *sim = node->sim;
	const struct sim_version *version = &sim->versions[v];
	struct sim_slot *slot = &node->places[d].slots[colour];
	bool slow = sim->now_ms < node->slow_ms;
	struct sim_event event = {.kind = SIM_EXIT, .node = node->index};

	*slot = (struct sim_slot){.exists = true,
				  .running = true,
				  .version = v,
				  .started_ms = sim->now_ms,
				  .ready_after_ms = slow ? sim_between(sim, 2000, 40000) : 300,
				  .life = slot->life + 1,
				  .busy_until_ms = slot->busy_until_ms};
	if (version->behaviour != SIM_CRASHES)
		return;
	event.id = (slot->life * SIM_DEPLOYMENTS + d) * COLOUR_COUNT + colour;
	sim_push(sim, version->after_ms, &event);
}

static void start(struct sim_node *node, unsigned d, const struct helper_request *request,
		  struct helper_reply *reply)
{
	int v = sim_version_of(node->sim, &request->release);
	struct sim_slot *slot = &node->places[d].slots[request->colour];

	if (v >= 0 && slot->running && slot->version == (uint32_t)v) {
		add_slot(reply, node, d, request->colour);
		return;
	}
	if (v < 0 || !node->held[v].unpacked) {
		fail(reply, ENOENT, "release", "not unpacked on this node");
		return;
	}
	if (slot->running) {
		fail(reply, EBUSY, "slot", "another release runs in this slot");
		return;
	}
	watch_start(node, request, v);
	run_slot(node, d, request->colour, (uint32_t)v);
	add_slot(reply, node, d, request->colour);
}

static void stop(struct sim_node *node, unsigned d, enum colour colour)
{
	struct sim_slot *slot = &node->places[d].slots[colour];

	slot->exists = slot->running = false;
	slot->life++;
}

static const struct helper_route *route_of(const struct helper_request *request, unsigned d)
{
	for (size_t i = 0; i < request->routes_count; i++)
		if (str_equal(request->routes[i].deployment, sim_deployments[d]))
			return &request->routes[i];
	return NULL;
}

/* The whole map or nothing of it. */
static void traffic(struct sim_node *node, const struct helper_request *request,
		    struct helper_reply *reply)
{
	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++) {
		const struct helper_route *route = route_of(request, d);
		const struct sim_slot *slot;

		if (!route)
			continue;
		slot = &node->places[d].slots[route->colour];
		if (!slot->exists || !digest_equal(&node->sim->versions[slot->version].digest,
						   &route->release)) {
			fail(reply, ENOENT, "slot", "the slot does not hold that release");
			return;
		}
	}
	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++) {
		const struct helper_route *route = route_of(request, d);
		struct sim_place *place = &node->places[d];

		if (planted(node->sim, "map ignored") && place->route_open && node->index == 3)
			continue;
		place->route_open = route != NULL;
		if (!route)
			continue;
		watch_route(node, route, (int)place->slots[route->colour].version);
		place->route = route->colour;
	}
}

static void unpack(struct sim_node *node, int v, struct helper_reply *reply)
{
	struct sim_held *held = v < 0 ? NULL : &node->held[v];

	if (!held || !(held->sealed || planted(node->sim, "unsealed"))) {
		fail(reply, ENOENT, "digest", "not on this node");
		return;
	}
	if (!held->unpacked && sim_chance(node->sim, node->sim->weather.rots))
		held->rotten = true;
	if (held->rotten && !held->unpacked)
		fail(reply, EBADMSG, "digest", "its bytes are not the ones that were signed");
	else
		held->unpacked = true;
}

static void prune(struct sim_node *node, const struct helper_request *request)
{
	for (int v = 0; v < SIM_VERSIONS; v++) {
		bool kept = false;

		for (size_t i = 0; i < request->keep_count; i++)
			kept |= digest_equal(&request->keep[i].digest,
					     &node->sim->versions[v].digest);
		node->held[v].unpacked &= kept;
	}
}

static void list(const struct sim_node *node, struct helper_reply *reply)
{
	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++)
		for (unsigned c = 0; c < COLOUR_COUNT; c++)
			if (node->places[d].slots[c].exists)
				add_slot(reply, node, d, (enum colour)c);
}

static void carry_out(struct sim_node *node, const struct helper_request *request,
		      struct helper_reply *reply)
{
	int v = sim_version_of(node->sim, &request->release), d = place_of(request->deployment);

	switch (request->op) {
	case HELPER_HELLO:
		STR_CUT(reply->runtime, "runc 1.1.5");
		break;
	case HELPER_PREFLIGHT:
		if (v >= 0 && node->sim->versions[v].behaviour == SIM_NO_PREFLIGHT)
			fail(reply, ENOTSUP, "memory", "the node has too little memory");
		break;
	case HELPER_START:
		start(node, (unsigned)d, request, reply);
		break;
	case HELPER_STOP:
		stop(node, (unsigned)d, request->colour);
		break;
	case HELPER_TRAFFIC:
		traffic(node, request, reply);
		break;
	case HELPER_LIST:
		list(node, reply);
		break;
	case HELPER_CONNECTIONS:
		reply->connections = rng_below(&node->sim->rng, 3);
		break;
	case HELPER_UNPACK:
		unpack(node, v, reply);
		break;
	case HELPER_PRUNE:
		prune(node, request);
		break;
	case HELPER_EXEC:
	case HELPER_LOGS:
	case HELPER_CLOSE:
	case HELPER_OP_COUNT:
		break;
	}
}

/* May this request fail for once, with nothing done? */
static bool may_fail(enum helper_op op)
{
	return op == HELPER_START || op == HELPER_STOP || op == HELPER_TRAFFIC ||
	       op == HELPER_UNPACK || op == HELPER_PREFLIGHT || op == HELPER_LIST;
}

static uint64_t answer_delay(struct sim_node *node, const struct helper_request *request)
{
	struct sim *sim = node->sim;
	uint64_t at = sim->now_ms + sim_between(sim, 2, sim_chance(sim, 0.02) ? 9000 : 100);
	int d = place_of(request->deployment);

	if (d >= 0) {
		uint64_t *busy = &node->places[d].slots[request->colour].busy_until_ms;

		at = at > *busy ? at : *busy;
		*busy = at;
	}
	return at - sim->now_ms;
}

static void watch_places(struct sim_node *node, enum sim_out why)
{
	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++)
		watch_place(node, d, why);
}

int sim_helper(void *context, const struct helper_request *request)
{
	struct sim_node *node = context;
	struct sim *sim = node->sim;
	struct sim_event event = {.kind = SIM_HELPER, .node = node->index, .life = node->life,
				  .id = node->helper_life};

	if (!node->helper_up)
		return -ENOTCONN;
	event.reply = mem_alloc(sizeof(*event.reply));
	event.reply->id = request->id;
	event.reply->event = HELPER_REPLY;
	if (may_fail(request->op) && sim_chance(sim, sim->weather.helper_fails))
		fail(event.reply, EIO, "helper", "it did not work for once");
	else
		carry_out(node, request, event.reply);
	sim_trace(sim, "%s: helper op %d %s colour %d -> %u", node->name, (int)request->op,
		  request->deployment, (int)request->colour, event.reply->error);
	watch_places(node, SIM_OUT_BY_CHANGE);
	sim_push(sim, answer_delay(node, request), &event);
	return 0;
}

/* ---- what happens by itself ---- */

void sim_slot_exit(struct sim_node *node, uint64_t id)
{
	enum colour colour = (enum colour)(id % COLOUR_COUNT);
	unsigned d = (unsigned)(id / COLOUR_COUNT % SIM_DEPLOYMENTS);
	struct sim_slot *slot = &node->places[d].slots[colour];
	struct sim_event event = {.kind = SIM_HELPER, .node = node->index, .life = node->life,
				  .id = node->helper_life};
	uint64_t delay = 1;

	if (slot->life != id / COLOUR_COUNT / SIM_DEPLOYMENTS || !slot->running)
		return;
	sim_trace(node->sim, "%s: %s colour %d exits", node->name, sim_deployments[d], (int)colour);
	slot->running = false;
	slot->exit_code = 134;
	watch_place(node, d, SIM_OUT_BY_RELEASE);
	if (!node->agent || !node->helper_up)
		return; /* found out later, by the list */
	if (slot->busy_until_ms > node->sim->now_ms)
		delay += slot->busy_until_ms - node->sim->now_ms;
	event.reply = mem_alloc(sizeof(*event.reply));
	event.reply->event = HELPER_EXITED;
	add_slot(event.reply, node, d, colour);
	event.reply->logs = mem_str("assertion failed");
	sim_push(node->sim, delay, &event);
}

void sim_helper_down(struct sim_node *node)
{
	struct sim_event event = {.kind = SIM_HELPER_UP, .node = node->index};

	if (!node->helper_up)
		return;
	sim_trace(node->sim, "%s: the helper is killed", node->name);
	node->helper_up = false;
	node->helper_life++;
	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++)
		for (unsigned c = 0; c < COLOUR_COUNT; c++)
			node->places[d].slots[c].busy_until_ms = 0;
	watch_hit(node);
	sim_push(node->sim, sim_between(node->sim, 200, 20000), &event);
	if (!node->agent)
		return;
	agent_on_helper_down(node->agent);
	sim_node_settle(node);
}
